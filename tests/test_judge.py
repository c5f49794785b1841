"""Models as judges: verdicts and marks read in both languages, and their bias shown by judges whose bias is known."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path

import pytest

from jielong.errors import DataError
from jielong.evaluate.judge import Pair, judge_pairs, judge_report, make_grader, read_mark, read_pairs, read_verdict
from jielong.records import Conversation, Message
from jielong.use.port import Answer, Ask, Options

PAIRS = [
    Pair(str(n), "Why?" if n % 2 else "为什么？", "x" * (5 + n % 7) + " good" * (n % 3 == 0), "y" * (3 + n % 5))
    for n in range(30)
]


def judge(prefers) -> Ask:  # type: ignore[no-untyped-def]
    """A judge by a function of the two shown answers to "A", "B", "tie" or anything."""

    async def ask(conversation: Conversation, options: Options = Options()) -> Answer:  # noqa: B008
        text = conversation.messages[-1].text
        is_chinese = "回答A：" in text
        first, second = (
            text.split("回答A：\n" if is_chinese else "Answer A:\n")[1].split("\n\n")[0],
            text.split("回答B：\n" if is_chinese else "Answer B:\n")[1].split("\n\n")[0],
        )
        verdict = prefers(first, second)
        said = f"因为。\n结论：{verdict.replace('tie', '平')}" if is_chinese else f"Because.\n**Verdict: {verdict}**"
        return Answer(Message("assistant", said))

    return ask


def judged(prefers):  # type: ignore[no-untyped-def]
    return judge_report(asyncio.run(judge_pairs(PAIRS, judge(prefers), Options())))


def test_a_judge_that_knows_what_is_good_is_consistent() -> None:
    found = judged(lambda first, second: "A" if "good" in first else "B" if "good" in second else "tie")
    assert (found.wins, found.losses, found.ties, found.unread) == (10, 0, 20, 0)
    assert found.consistency == 1.0 and found.first_place is None
    assert found.preference.mean == pytest.approx(20 / 30) and found.preference.low > 0.5
    assert found.p == pytest.approx(2 / 2**10)


def test_a_judge_that_takes_the_first_is_found_out_and_decides_nothing() -> None:
    found = judged(lambda first, second: "A")
    assert (found.wins, found.losses, found.ties) == (0, 0, 30) and found.consistency == 0.0
    assert found.first_place == 1.0 and found.preference.mean == 0.5 and found.p == 1.0
    assert judged(lambda first, second: "B").first_place == 0.0


def test_a_judge_that_takes_the_longer_is_found_out() -> None:
    found = judged(
        lambda first, second: "A" if len(first) > len(second) else "B" if len(first) < len(second) else "tie"
    )
    assert found.longer_wins == 1.0 and found.length_correlation is not None and found.length_correlation > 0.5
    fair = judged(lambda first, second: "A" if first < second else "B")
    assert fair.length_correlation is None and fair.consistency == 1.0  # x before y: a wins always


def test_what_says_no_verdict_is_unread_and_nobody_wins() -> None:
    found = judged(lambda first, second: "hm")
    assert found.unread == 30 and found.preference is None and found.p is None and found.consistency is None


def test_figures_are_of_the_pairs_that_could_be_read() -> None:
    found = judged(lambda first, second: "A" if "good" in first else "B" if "good" in second else "hm")
    assert (found.wins, found.losses, found.ties, found.unread) == (10, 0, 0, 20)
    assert found.preference.mean == 1.0 and found.consistency == 1.0


def test_verdicts_and_marks_are_read_in_both_languages() -> None:
    for text, value in (
        ("Verdict: B is tempting.\nVerdict: A", 1.0),
        ("verdict: Answer B", 0.0),
        ("**结论：平**", 0.5),
        ("结论：回答A", 1.0),
        ("Verdict: All are good", None),
        ("", None),
    ):
        assert read_verdict(text) == value, text
    assert (read_mark("Mark: 7/10"), read_mark("分数：10"), read_mark("Mark: 0"), read_mark("fine")) == (
        7,
        10,
        None,
        None,
    )


def test_a_mark_is_a_share_and_the_judge_is_asked_in_the_language_of_the_question() -> None:
    async def ask(conversation: Conversation, options: Options = Options()) -> Answer:  # noqa: B008
        return Answer(Message("assistant", "分数：10" if "请评判" in conversation.messages[-1].text else "Mark: 4"))

    grade = make_grader(ask, Options())
    assert asyncio.run(grade("为什么？", "a")) == 1.0 and asyncio.run(grade("Why?", "a")) == pytest.approx(1 / 3)


def test_two_result_files_are_paired_by_id_and_must_ask_the_same(tmp_path: Path) -> None:
    def written(name: str, *lines: object) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return path

    a = written("a.jsonl", {"id": "1", "question": "q", "text": "x"}, {"id": "2", "question": "r", "text": "only here"})
    b = written("b.jsonl", {"id": "1", "question": "q", "text": "y"})
    assert read_pairs(a, b) == [Pair("1", "q", "x", "y")]
    with pytest.raises(DataError, match="different questions under id '1'"):
        read_pairs(a, written("c.jsonl", {"id": "1", "question": "other", "text": "y"}))
    with pytest.raises(DataError, match="no id in common"):
        read_pairs(a, written("d.jsonl", {"id": "9", "question": "q", "text": "y"}))
    with pytest.raises(DataError, match=r"d\.jsonl:1: a result needs 'question'"):
        read_pairs(a, written("d.jsonl", {"id": "9", "text": "y"}))


def test_the_length_correlation_by_hand() -> None:
    from jielong.evaluate.judge import Verdict

    # values 1, 0, 0.5 and length ratios ln(4/2), ln(2/4), 0: a straight line
    verdicts = [
        Verdict(Pair("1", "q", "aaa", "b"), 1.0, 1.0),
        Verdict(Pair("2", "q", "a", "bbb"), 0.0, 0.0),
        Verdict(Pair("3", "q", "a", "b"), 1.0, 0.0),
    ]
    found = judge_report(verdicts)
    assert found.length_correlation == pytest.approx(1.0) and math.isclose(found.consistency or 0, 2 / 3)
