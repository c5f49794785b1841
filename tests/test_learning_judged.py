"""Judgements sorted: a voter's last word, contradictions, sides, and whether there is enough to learn from."""

from __future__ import annotations

import random

import pytest
from tests.learning import pair, pairs, question, said, thumb, written

from jielong.errors import DataError
from jielong.evaluate.votes import prompt_key, text_of
from jielong.learning.advice import chance_of_side, plan, side_of, thumbs_of
from jielong.learning.judged import sort_judgements
from jielong.records import Ranking, Vote


def test_a_repeated_vote_counts_once_and_the_last_one_counts():
    found = sort_judgements([pair(1, "a", "b", at=5), pair(1, "b", "a", at=7), pair(1, "a", "b", by="bert", at=6)])
    assert [(p.by, text_of(p.better)) for p in found.pairs] == [("bert", "a"), ("anna", "b")]
    assert (found.num_repeated, found.num_contradicted) == (1, 1)


def test_the_order_of_votes_is_that_of_their_times_and_not_of_the_file():
    found = sort_judgements([pair(1, "b", "a", at=7), pair(1, "a", "b", at=5)])
    assert [text_of(p.better) for p in found.pairs] == ["b"]


def test_four_stars_are_liked_and_two_disliked_and_three_neither():
    found = sort_judgements([thumb(n, "x", score) for n, score in enumerate((1.0, 0.75, 0.5, 0.25, 0.0))])
    assert [t.is_liked for t in found.thumbs] == [True, True, False, False] and found.num_neither == 1


def test_siblings_rated_apart_by_one_voter_are_a_pair():
    found = sort_judgements([thumb(1, "good", 1.0), thumb(1, "bad", 0.0), thumb(1, "other", 0.0, by="bert")])
    assert [(text_of(p.better), text_of(p.worse)) for p in found.pairs] == [("good", "bad")]


def test_a_better_answer_that_was_written_is_a_demonstration_and_a_pair():
    found = sort_judgements([written(1, "mine", "its"), written(2, "mine")])
    assert len(found.written) == 2 and [text_of(p.worse) for p in found.pairs] == ["its"]


def test_a_ranking_is_all_its_pairs_and_equal_places_are_ties():
    answers = tuple(said("assistant", text) for text in "abc")
    found = sort_judgements([Ranking(question(1), answers, (1, 0, 1), "anna", Vote(at=1))])
    assert {(text_of(p.better), text_of(p.worse)) for p in found.pairs} == {("b", "a"), ("b", "c")}
    assert found.num_ties == 1


def test_a_circle_of_pairs_is_a_contradiction():
    found = sort_judgements([pair(1, "a", "b"), pair(1, "b", "c"), pair(1, "c", "a")])
    assert (found.num_repeated, found.num_contradicted) == (3, 3)
    straight = sort_judgements([pair(1, "a", "b"), pair(1, "b", "c"), pair(1, "a", "c")])
    assert (straight.num_repeated, straight.num_contradicted) == (3, 0)


def test_a_prompt_stays_on_its_side_when_judgements_are_added():
    sides = {prompt_key(question(n)): side_of(prompt_key(question(n))) for n in range(2000)}
    shares = {side: list(sides.values()).count(side) / 2000 for side in ("policy", "judge", "held_out")}
    assert shares == pytest.approx({"policy": 0.6, "judge": 0.2, "held_out": 0.2}, abs=0.03)
    few, many = plan(sort_judgements(pairs(80))), plan(sort_judgements(pairs(160)))
    assert few.held_out.prompts.keys() <= many.held_out.prompts.keys()
    assert not few.policy.prompts.keys() & many.held_out.prompts.keys()


def test_pairs_are_learned_by_dpo_thumbs_by_kto_and_written_answers_before_either():
    thumbs = [thumb(n, "x", n % 2) for n in range(80)]
    answers = [written(n, f"mine {n}") for n in range(80)]
    methods = [plan(sort_judgements(some)).method for some in (pairs(80), thumbs, answers, [*pairs(80), *answers])]
    assert methods == ["dpo", "kto", "sft", "sft+dpo"]
    assert plan(sort_judgements([*thumbs, *answers])).method == "sft+kto"


def test_kto_learns_from_both_answers_of_a_pair_too():
    found = plan(sort_judgements(pairs(80)), "kto")
    assert found.method == "kto" and len(thumbs_of(found.policy)) == 2 * len(found.policy.pairs)


def test_written_answers_alone_leave_the_judge_no_prompts_and_the_policy_all_of_them():
    found = plan(sort_judgements([written(n, "mine") for n in range(80)]))
    assert not found.judge.prompts and len(found.policy.prompts) + len(found.held_out.prompts) == 80


def test_too_few_are_refused_with_how_many_more():
    with pytest.raises(DataError, match=r"give about \d\d more comparisons of two answers, or about"):
        plan(sort_judgements(pairs(12)))
    with pytest.raises(DataError, match=r"too few judgements.* written answers"):
        plan(sort_judgements(pairs(80)), "sft")


def test_many_judgements_of_few_prompts_are_refused():
    some = [pair(n % 3, f"better {n}", f"worse {n}") for n in range(100)]
    with pytest.raises(DataError, match=r"judge answers to about .* other prompts"):
        plan(sort_judgements(some))


def test_thumbs_that_are_all_up_or_all_down_are_refused():
    for score, kind in ((1.0, "down"), (0.0, "up")):
        with pytest.raises(DataError, match=f"one-sided: 0 of .* are {kind}"):
            plan(sort_judgements([thumb(n, "x", score) for n in range(100)]))


def test_a_voter_who_contradicts_himself_is_refused():
    both_ways = [one for n in range(100) for one in (pair(n, "a", "b", at=1), pair(n, "b", "a", at=2))]
    with pytest.raises(DataError, match=r"of 100 pairs .* 100 \(100%\) were judged the other way"):
        plan(sort_judgements(both_ways))


def test_a_few_changes_of_mind_are_no_contradiction():
    some = [*pairs(80), *(pair(n, f"The capital is Lima {n}.", f"0123456789 {n} 秘鲁", at=9e8) for n in range(30))]
    turned = [pair(n, f"0123456789 {n} 秘鲁", f"The capital is Lima {n}.", at=9e8 + 1) for n in range(2)]
    assert plan(sort_judgements([*some, *turned])).method == "dpo"


def test_a_voter_who_always_likes_the_left_is_refused():
    with pytest.raises(DataError, match="in 80 of 80 blind pairs the left one won"):
        plan(sort_judgements([pair(n, "a", "b", left=1) for n in range(80)]))


def test_a_voter_who_votes_at_random_is_not_taken_for_one_who_likes_a_side():
    dice = random.Random(1)
    refused = 0
    for _ in range(50):
        try:
            plan(sort_judgements([pair(n, "a", "b", left=dice.randint(0, 1)) for n in range(80)]))
        except DataError:
            refused += 1
    assert refused == 0


def test_the_chance_of_a_side_is_the_binomial_one():
    assert chance_of_side(10, 10) == pytest.approx(2 / 1024)
    assert chance_of_side(9, 10) == pytest.approx(22 / 1024)
    assert chance_of_side(5, 10) == 1.0
