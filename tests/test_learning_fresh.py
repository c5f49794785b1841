"""Fresh answers for the blind pairs: equal ones are shown to nobody, and more are drawn where few differ."""

from __future__ import annotations

from tests.learning import pairs, question

from jielong.learning.advice import Plan, plan
from jielong.learning.deciding import MOST
from jielong.learning.fresh_answers import Written
from jielong.learning.gate import MOST_DRAWS, MOST_SPARE, SPARE, _draws, _Fresh, _more_draws
from jielong.learning.judged import sort_judgements


def known(count: int = 200) -> Plan:
    return plan(sort_judgements(pairs(count)))


def answers(texts: list[str]) -> list[Written]:
    return [Written(n, text, (), True) for n, text in enumerate(texts)]


def test_more_draws_go_on_where_the_first_ones_ended():
    few, many = _draws(known(), 3), _draws(known(), 3, MOST_SPARE)
    assert len(few) == SPARE * MOST and few == many[: len(few)]
    asked = {prompt[0].text for prompt in many}
    assert asked == {p[0].text for part in (known().held_out, known().judge) for p in part.prompts.values()}
    assert max(many.count(prompt) for prompt in set(many)) <= MOST_DRAWS


def test_as_many_more_are_drawn_as_give_enough_pairs_at_the_rate_of_the_first_ones():
    every = _draws(known(), 3, MOST_SPARE)
    assert _more_draws(every, 160, MOST) == []
    # of 160 answers 80 differ, so 100 pairs take 200, and with some to spare 320
    assert _more_draws(every, 160, 80) == every[160:320]
    assert _more_draws(every, 160, 1) == every[160:] == _more_draws(every, 160, 0)


def test_pairs_are_of_different_answers_each_two_once_and_the_first_ones_stay():
    prompts = [question(n % 3) for n in range(6)]
    first = _Fresh(prompts, answers(["a", "b", "c", "a", "b", "x"]), answers(["A", "b", "C", "A", "b", "y"]))
    shown = [(p.stands, p.candidate) for p in first.pairs(0)]
    assert shown == [("a", "A"), ("c", "C"), ("x", "y")]
    more = _Fresh([question(1), question(0)], answers(["b", "a"]), answers(["B", "A"]))
    both = first.with_more(more).pairs(0)
    assert both[:3] == first.pairs(0)
    assert [(p.prompt, p.stands, p.candidate) for p in both[3:]] == [(question(1), "b", "B")]
