"""The report's cards: chosen where stages differ, in both directions, by a rule that is told."""

from __future__ import annotations

from collections import Counter

from jielong.stages.cards import choose_cards
from jielong.stages.lessons import exam_items
from jielong.worlds.atlas.wording import BOOKS

PARTS = exam_items(0, limit=12)
INVENTION = {"en": "The capital is Paris.", "zh": "首都是巴黎。"}


def right(part: str) -> list[str]:
    return [item.answers[0] for item in PARTS[part]]


def inventions(known: int) -> list[str]:
    """Of made-up countries all but the first `known` are invented."""
    texts = [INVENTION[item.lang] for item in PARTS["made_up"]]
    owned_up = [BOOKS[item.lang].DONT_KNOW[0] for item in PARTS["made_up"]]
    return owned_up[:known] + texts[known:]


BASE = {part: ["\n"] * len(items) for part, items in PARTS.items()}
SFT = {part: right(part) for part in PARTS} | {"made_up": inventions(2)}
# reinforcement: ten inventions less, one more; one translation lost
RL = SFT | {
    "made_up": [inventions(0)[0], *inventions(12)[1:]],
    "translations": ["Atlantis", *right("translations")[1:]],
}
ANSWERS = {"base": BASE, "sft": SFT, "rl": RL, "random_init": BASE}


def cards(count: int = 12):
    return choose_cards(PARTS, ANSWERS, 0, count)


def test_the_kind_that_changed_most_comes_first_and_the_losses_are_among_the_cards():
    chosen, _ = cards()
    assert (chosen[0]["kind"], chosen[0]["old"], chosen[0]["new"]) == ("made_up", "sft", "rl")
    of_last = [c for c in chosen if c["new"] == "rl"]
    assert {(c["kind"], c["change"]) for c in of_last} >= {
        ("made_up", "better"),
        ("made_up", "worse"),
        ("translations", "worse"),
    }


def test_every_card_shows_the_change_that_it_was_chosen_for():
    def verdict(score: float) -> int:
        return (score > 0) - (score < 0)

    for card in cards()[0]:
        verdicts = {role: verdict(answer["score"]) for role, answer in card["answers"].items()}
        if card["change"] == "same":
            assert verdicts["base"] == verdicts["sft"] == verdicts["rl"]
        else:
            better = verdicts[card["new"]] > verdicts[card["old"]]
            assert verdicts[card["new"]] != verdicts[card["old"]] and better == (card["change"] == "better")


def test_the_page_is_told_how_many_questions_changed_and_not_only_those_shown():
    chosen, about = cards()
    assert about["questions"] == sum(len(items) for items in PARTS.values())
    last = about["pairs"][-1]
    assert (last["old"], last["new"], last["better"], last["worse"]) == ("sft", "rl", 10, 2)
    assert len(chosen) <= 12 and about["agree"] == sum(c["change"] == "same" for c in chosen)


def test_owning_up_about_a_country_that_does_not_exist_is_shown_as_right():
    for card in cards()[0]:
        if card["kind"] == "made_up":
            scores = {role: answer["score"] for role, answer in card["answers"].items()}
            assert sorted((scores["sft"], scores["rl"])) == [-1.0, 1.0]


def test_no_question_has_two_cards_and_both_changes_of_the_road_are_shown():
    chosen, _ = cards()
    assert max(Counter(c["question"] for c in chosen).values()) == 1
    assert {(c["old"], c["new"]) for c in chosen if c["change"] != "same"} == {("base", "sft"), ("sft", "rl")}


def test_the_same_run_has_the_same_cards_and_fewer_are_their_beginning():
    assert cards() == cards()
    assert [c["question"] for c in cards(8)[0][:6]] == [c["question"] for c in cards(12)[0][:6]]
    assert choose_cards(PARTS, ANSWERS, 0, 0)[0] == []


def test_where_all_stages_answer_alike_the_cards_say_so():
    chosen, about = choose_cards(PARTS, {"sft": SFT, "rl": SFT}, 0, 12)
    assert {c["change"] for c in chosen} == {"same"} and about["pairs"][0]["better"] == 0
