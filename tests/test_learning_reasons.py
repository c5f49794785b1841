"""Reasons of learning in both languages: the same values in each sentence, kept as data, and said alike everywhere."""

from __future__ import annotations

import json
import string

import pytest
from tests.learning import pair, pairs, thumb

from jielong.learning import attempt as attempts
from jielong.learning import status
from jielong.learning.advice import plan
from jielong.learning.attempt import Attempt
from jielong.learning.gate import reason
from jielong.learning.judged import sort_judgements
from jielong.learning.reasons import ROWS, NotEnough, Reason, from_json, say, say_all, to_json
from jielong.learning.regression import PROPERTIES, fixed_prompts
from jielong.records import Judgement


def places(text: str) -> list[str]:
    """The names of the values in a sentence, each as often as it stands there."""
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


def has_chinese(text: str) -> bool:
    return any("\u4e00" <= sign <= "\u9fff" for sign in text)


def refusal(judgements: list[Judgement], method: str = "auto") -> Reason:
    with pytest.raises(NotEnough) as raised:
        plan(sort_judgements(judgements), method)
    assert str(raised.value) == say(raised.value.reason, "en")
    return raised.value.reason


def test_every_sentence_has_the_same_values_in_both_languages():
    for kind, (english, chinese) in ROWS.items():
        assert places(english) == places(chinese), kind
        assert kind == "said" or (has_chinese(chinese) and not has_chinese(english)), kind


@pytest.mark.parametrize(
    ("judgements", "kind"),
    [
        (pairs(12), "too_few"),
        ([pair(n % 3, f"better {n}", f"worse {n}") for n in range(100)], "too_few_prompts"),
        ([one for n in range(100) for one in (pair(n, "a", "b", at=1), pair(n, "b", "a", at=2))], "contradictory"),
        ([pair(n, "a", "b", left=1) for n in range(80)], "one_side"),
        ([thumb(n, "x", 1.0) for n in range(100)], "one_kind"),
    ],
)
def test_a_refusal_is_said_in_chinese_with_the_same_numbers(judgements, kind):
    found = refusal(judgements)
    assert found.kind == kind
    chinese = say(found, "zh")
    assert has_chinese(chinese) and "{" not in chinese and "Reason(" not in chinese

    def numbers(text: str) -> list[str]:
        return sorted("".join(c if c.isdigit() else " " for c in text).split())

    assert numbers(chinese) == numbers(say(found, "en"))


def test_a_reason_is_the_same_after_it_was_stored():
    for found in (refusal(pairs(12)), refusal([pair(n, "a", "b", left=1) for n in range(80)])):
        assert from_json(json.loads(json.dumps(to_json(found)))) == found


def test_what_another_version_stored_is_said_as_it_stands():
    assert say(from_json("it was cancelled"), "zh") == "it was cancelled"
    assert "unheard" in say(from_json({"kind": "unheard", "values": {}}), "en")


def test_an_attempt_of_an_earlier_version_keeps_its_sentence(tmp_path):
    begun = Attempt("0001-x", "tiny", str(tmp_path), "dpo", "auto", 1.0, "cancelled", reason=Reason("cancelled"))
    folder = attempts.begin(tmp_path, begun, pairs(3))
    stored = json.loads((folder / attempts.FILE).read_text())
    assert stored["why"] == "it was cancelled" and attempts.read(folder).reason == Reason("cancelled")
    (folder / attempts.FILE).write_text(json.dumps({**stored, "reason": None, "why": "as it was said"}))
    told = status.attempt_json(folder)
    assert told["why"] == told["why_told"]["zh"] == "as it was said"


def test_the_gate_has_a_sentence_for_every_fault():
    groups = {fixed.group for fixed in fixed_prompts()}
    for name in (*PROPERTIES, "unfinished", *(f"wrong_{group}" for group in groups)):
        fault = {"name": name, "before": 0.1, "after": 0.4, "count": 50, "is_worse": True}
        found = reason(
            {
                "fresh": {"answers": 160, "different": 160},
                "held_out": {"pairs": 0, "right": 0},
                "regression": {"faults": [fault]},
                "judge": {},
            }
        )
        assert found is not None
        assert "10%" in say(found, "zh") and "40%" in say(found, "en")


def test_several_reasons_are_parted_by_full_stops():
    both = [Reason("cancelled"), Reason.of("note.ties", count=3)]
    assert say_all(both, "en") == "it was cancelled. 3 ties teach nothing"
    assert say_all(both, "zh") == "它被取消了。3 个平手教不了什么"


def test_the_supply_is_told_in_both_languages():
    told = status.supply_json(pairs(12))
    assert told["advice"] == told["advice_told"]["en"] and "评判太少" in told["advice_told"]["zh"]
    assert "足以学习" in status.supply_json(pairs(80))["advice_told"]["zh"]
