"""Tasks read, answered, scored, and gone on with after a kill."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from bench.strategies.calibrated import Calibrated, Known

from jielong.errors import ConfigError, DataError
from jielong.evaluate.scoring import ScoringServices, f1, named_letter, pass_at_k, score_answer, score_items
from jielong.evaluate.summary import summarize
from jielong.evaluate.task_runner import System, answer_task
from jielong.evaluate.tasks import Item, Task, read_task
from jielong.records import Conversation, Message, Sample, Sampling
from jielong.use.port import Scored

KNOWN = [Known(f"What is {a} + 1?", str(a + 1), (str(a),)) for a in range(100, 140)]
MODEL = Calibrated(KNOWN, 0.6)


def sums(path: Path, count: int = 40) -> Task:
    lines = [{"id": k.question, "question": k.question, "answer": int(k.right)} for k in KNOWN[:count]]
    return written(path, *lines)


def written(path: Path, *lines: object) -> Task:
    file = path / "task.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return read_task(file)


def item(scorer: str, *answers: str, **more: object) -> Item:
    return Item("1", (Message("user", "q"),), scorer, answers, **more)  # type: ignore[arg-type]


def score(scorer: str, text: str, *answers: str) -> float:
    return asyncio.run(score_answer(item(scorer, *answers), text, ScoringServices())).score


def test_a_wrong_line_is_named_with_what_would_be_right(tmp_path: Path) -> None:
    wrong = {
        "task.jsonl:2: an item needs either 'question' or 'messages'": {"answer": "a"},
        "unknown field 'anwser' in an item; did you mean 'answer'": {"question": "q", "anwser": "a"},
        "needs one of answer, choices, checkers and tests": {"question": "q"},
        "'label' is 2; expected the place of one of the 2 choices": {
            "question": "q",
            "choices": ["a", "b"],
            "label": 2,
        },
        "'choices' need a 'label'": {"question": "q", "choices": ["a", "b"]},
        "unknown scorer 'f2'": {"question": "q", "answer": "a", "scorer": "f2"},
        "scorer 'logprob' needs 'choices'": {"question": "q", "answer": "a", "scorer": "logprob"},
        "unknown checker 'jsn'": {"question": "q", "checkers": [{"kind": "jsn"}]},
        "is no regular expression": {"question": "q", "answer": "(", "scorer": "regex"},
        "must be a user's turn": {"messages": [{"role": "system", "content": "s"}], "answer": "a"},
    }
    for sentence, line in wrong.items():
        with pytest.raises(DataError) as problem:
            written(tmp_path, {"question": "q", "answer": "a"}, line)
        assert sentence in str(problem.value)
    with pytest.raises(DataError, match="id 'x' stands there twice"):
        written(tmp_path, *[{"id": "x", "question": "q", "answer": "a"}] * 2)


def test_an_item_without_an_id_has_the_number_of_its_line(tmp_path: Path) -> None:
    task = written(tmp_path, {"question": "q", "answer": 3}, {"question": "q", "checkers": [{"kind": "json"}]})
    assert [(i.id, i.scorer, i.answers) for i in task.items] == [("1", "match", ("3",)), ("2", "instructions", ())]


def test_scorers_by_known_answers() -> None:
    assert score("match", "That makes 12 + 3 = 15.", "15") == 1.0 and score("match", "15 or 16", "15") == 0.0
    assert (
        score("exact", "So: paris!\nAnswer: Paris.", "paris") == 1.0 and score("exact", "Paris, Texas", "Paris") == 0.0
    )
    assert score("contains", "它是北京市。", "上海", "北京") == 1.0
    assert score("regex", "call +49 30", r"\+\d+", "x") == 1.0 and score("regex", "none", r"\d") == 0.0
    assert score("yes", "是的，可以。") == 1.0 and score("yes", "No.") == 0.0
    # said "red car", wanted "red house": one shared word of two and two
    assert f1("the red car", "a red house") == pytest.approx(0.5) and f1("红车", "红房") == pytest.approx(0.5)


def test_a_letter_is_found_or_the_choice_itself() -> None:
    choices = ["Paris", "Rome", "Bern"]
    for text in (
        "B",
        "(B)",
        "**B.** Rome",
        "Answer: B",
        "B. Rome",
        "Let me think.\nThe answer is B",
        "rome",
        "答案：B",
    ):
        assert named_letter(text, choices) == "B", text
    assert named_letter("A city in Italy", choices) == ""


class Likely(Calibrated):
    """Finds an answer the likelier the more of its letters are "a"; a token is two bytes."""

    async def score(self, prompt: Conversation | str, answers: Sequence[str]) -> list[Scored]:
        return [Scored(-float(len(a) - a.count("a")), len(a) // 2, len(a)) for a in answers]


def test_choices_by_log_probability_in_total_and_by_length(tmp_path: Path) -> None:
    # in total -2 beats -4; per byte -4/12 beats -2/4
    choices = {"question": "q", "choices": ["xxaa", "xxxxaaaaaaaa"], "label": 1, "scorer": "logprob"}
    task = written(tmp_path, choices, {**choices, "scorer": "share"})
    found = asyncio.run(answer_task(System(Likely([])), task, tmp_path / "out"))
    assert found[0].details == {"total": False, "per_token": True, "per_byte": True} and found[0].score == 1.0
    assert found[1].score == pytest.approx(1 / (1 + 7.389056), abs=1e-6)  # e^-4 of e^-2 and e^-4
    with pytest.raises(ConfigError, match="does not tell log-probabilities"):
        asyncio.run(answer_task(System(MODEL), task, tmp_path / "other"))


def test_pass_at_k_by_hand() -> None:
    # 2 right of 5: both of 2 draws wrong in 3 of 10 cases
    assert pass_at_k(5, 2, 2) == pytest.approx(0.7)
    assert pass_at_k(5, 0, 5) == 0.0 and pass_at_k(5, 1, 5) == 1.0
    with pytest.raises(ConfigError, match="pass@3"):
        pass_at_k(2, 1, 3)


def test_samples_of_an_item_give_pass_at_k(tmp_path: Path) -> None:
    system = System(MODEL, sampling=Sampling(max_tokens=8, temperature=1.0))
    task = sums(tmp_path)
    results = asyncio.run(answer_task(system, task, tmp_path / "out", samples=4))
    summary = summarize("x", task, results)
    # p = .6: pass@1 .6, pass@4 1 - .4^4 = .9744; 40 items of 4
    assert summary.more["pass@1"] == pytest.approx(0.6, abs=0.12)
    assert summary.more["pass@4"] == pytest.approx(0.9744, abs=0.08)
    assert summary.score.mean == pytest.approx(summary.more["pass@1"]) and summary.calls == 1.0


def test_the_tasks_own_scorer_serves_best_of_as_its_verifier(tmp_path: Path) -> None:
    system = System(MODEL, "best-of:9", given={"scorer": score_items})
    results = asyncio.run(answer_task(system, sums(tmp_path), tmp_path / "out"))
    # all nine of p = .6 wrong: .4^9 = .0003
    assert sum(r.score for r in results) >= 39 and all(r.usage.calls == 9 for r in results)
    with pytest.raises(ConfigError, match="'code' cannot judge"):
        score_items([(item("code"), Conversation((Message("assistant", "x"),)), Sample((), ()))])


def test_a_system_resumes_without_asking_again_and_asks_what_changed(tmp_path: Path) -> None:
    told: list[str] = []
    task, out, system = sums(tmp_path), tmp_path / "out", System(MODEL)

    def go(task: Task, system: System = system) -> list[float]:
        told.clear()
        return [r.score for r in asyncio.run(answer_task(system, task, out, on_result=lambda r: told.append(r.id)))]

    some = replace(task, items=task.items[:10])
    first = go(some)
    assert len(told) == 10
    with (out / "results.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id":"half')
    whole = go(task)
    assert len(told) == 30 and whole[:10] == first
    assert go(task) == whole and not told
    changed = [json.loads(line) for line in (tmp_path / "task.jsonl").read_text().splitlines()]
    changed[3]["answer"] = "0"
    assert go(written(tmp_path, *changed))[3] == 0.0 and told == [KNOWN[3].question]
    with pytest.raises(ConfigError, match="results of another strategy"):
        go(task, System(MODEL, "vote:3"))


SLOW = """
import asyncio, sys, time
from pathlib import Path
from tests.test_tasks import KNOWN, Calibrated, System, answer_task, read_task

class Slow(Calibrated):
    async def ask(self, conversation, options):
        await asyncio.sleep(0.02)
        return self.say(conversation, options)

task, out = read_task(Path(sys.argv[1])), Path(sys.argv[2])
asyncio.run(answer_task(System(Slow(KNOWN, 0.6)), task, out, at_once=1))
"""


def test_a_kill_loses_at_most_what_was_under_way(tmp_path: Path) -> None:
    task, out = sums(tmp_path), tmp_path / "out"
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}"}
    process = subprocess.Popen([sys.executable, "-c", SLOW, tmp_path / "task.jsonl", out], env=environment)
    path, patience_s = out / "results.jsonl", time.monotonic() + 60
    while not (path.exists() and path.read_bytes().count(b"\n") >= 3):
        assert time.monotonic() < patience_s and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = path.read_bytes().count(b"\n")
    told: list[str] = []
    again = asyncio.run(answer_task(System(MODEL), task, out, on_result=lambda r: told.append(r.id)))
    straight = asyncio.run(answer_task(System(MODEL), task, tmp_path / "never stopped"))
    assert 3 <= done < 40 and len(told) == 40 - done
    assert [(r.id, r.text, r.score) for r in again] == [(r.id, r.text, r.score) for r in straight]


def test_an_answer_with_strange_line_ends_is_read_again(tmp_path: Path) -> None:
    task, told = written(tmp_path, {"question": "q", "answer": "a"}), []
    system = System(Calibrated([], react=lambda *_: "a\u2028b\x85c\r\nd"))
    first = asyncio.run(answer_task(system, task, tmp_path / "out"))
    assert asyncio.run(answer_task(system, task, tmp_path / "out", on_result=told.append)) == first and not told


def test_what_cannot_be_asked_is_an_error_of_the_item_alone(tmp_path: Path) -> None:
    task = written(
        tmp_path, {"question": "Who?", "answer": "x"}, {"question": KNOWN[0].question, "answer": KNOWN[0].right}
    )
    results = asyncio.run(answer_task(System(MODEL), task, tmp_path / "out"))
    assert "none of the 40 known questions" in results[0].error and not results[1].error
    assert summarize("x", task, results).errors == 1
    with pytest.raises(DataError, match="no item of task could be answered"):
        asyncio.run(answer_task(System(MODEL), replace(task, items=task.items[:1]), tmp_path / "none"))


def test_groups_and_pairs_in_the_summary(tmp_path: Path) -> None:
    sides = {"a": KNOWN[0], "b": KNOWN[1]}
    lines = [
        {"question": k.question, "answer": k.right, "meta": {"group": f"side {s}", "pair": "1", "side": s}}
        for s, k in sides.items()
    ]
    task = written(tmp_path, *lines)
    results = asyncio.run(
        answer_task(System(Calibrated(KNOWN, lambda k, _: float(k == KNOWN[0]))), task, tmp_path / "out")
    )
    summary = summarize("x", task, results)
    assert {g: found.mean for g, (_, found) in summary.groups.items()} == {"side a": 1.0, "side b": 0.0}
    assert (summary.pairs["match"].count, summary.pairs["match"].difference.mean, summary.pairs["match"].size) == (
        1,
        1.0,
        1.0,
    )
