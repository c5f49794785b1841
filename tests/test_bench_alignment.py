"""The benchmarks of feedback: no fact is on two sides, arms have the same pairs, and marks are crossed within a fold."""

from __future__ import annotations

import json
from pathlib import Path

from bench.alignment.real import judged_in
from bench.alignment.rlaif import arms_of, compared, items_of, preference, questions_of

from jielong.evaluate.ai_labels import Label
from jielong.evaluate.judge import Verdict


def test_a_fact_of_the_atlas_trains_the_judge_or_is_labelled_or_measures() -> None:
    facts = {
        part: {(i.country, i.relation) if i.country else i.subject or i.messages[-1].text for i in items_of(part)}
        for part in ("judge", "label", "test")
    }
    assert all(facts.values())
    assert not facts["judge"] & facts["label"] and not facts["judge"] & facts["test"]
    assert not facts["label"] & facts["test"]


def test_a_judged_pair_is_asked_in_both_orders_and_arms_have_the_same_answers() -> None:
    (item,) = [i for i in items_of("test") if i.kind == "question" and i.lang == "en"][:1]
    pair = compared(item, "I don't know.", item.answers[0])
    assert pair.gold == 0.0 and preference(pair, 0.0, "gold").chosen[0].text == item.answers[0]
    one, other = questions_of(pair)
    assert [chat["messages"][1]["content"] for chat in (one, other)] == ["B", "A"]  # type: ignore[index]
    tie = Label(pair, Verdict(pair.pair, 1.0, 0.0), (1.0, -1.0))
    arms = arms_of([pair] * 40, {"trained judge": [tie] * 40}, seed=0)
    assert {p.label for p in arms["trained judge"]} == {0.5} and {p.label for p in arms["gold"]} == {1.0}
    turned = sum(p.chosen[0].text != item.answers[0] for p in arms["shuffled labels"])
    assert 8 < turned < 32


def test_marks_are_crossed_between_answers_of_one_fold(tmp_path: Path) -> None:
    file = tmp_path / "marks.jsonl"
    lines = [
        {
            "messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}],
            "label": n % 2 == 0,
        }
        for n in range(40)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    judged = judged_in(file, 30)
    assert len(judged.answers) == 30 and judged.pairs
    for better, worse in judged.pairs:
        assert judged.folds[better] == judged.folds[worse]
        assert int(judged.answers[better][0][0].text[1:]) % 2 == 0 and int(judged.answers[worse][0][0].text[1:]) % 2
