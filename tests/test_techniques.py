"""What techniques gain: tasks are drawn by their seed, votes cost what they are compared to, and a known model gives what it must."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from bench.strategies import gains as gaining
from bench.strategies.calibrated import Calibrated, Known
from bench.strategies.gains import Task, gains
from bench.strategies.line import Line
from bench.strategies.models import Ports
from bench.strategies.setting import Setting
from bench.strategies.techniques import ALONE, TECHNIQUES, capitals, chosen, sums

from jielong.errors import ConfigError


def known(task: Task) -> list[Known]:
    return [Known(q.question, f"= {q.answer}", (f"= {int(q.answer) + 1}",)) for q in (*task.questions, *task.train)]


def measured(task: Task, names: str, folder: Path, small: Calibrated, large: Calibrated | None = None) -> list[Line]:
    """With few draws for the votes of equal tokens, as in a quick run."""
    ports = Ports({"small": small} | ({"large": large} if large else {}))
    at = Setting("sums", folder, "small", "large" if large else "", is_quick=True, ports=ports)
    parts = asyncio.run(gains(at, task, {name: TECHNIQUES[name] for name in names.split(",")}))
    return [line for part in parts for line in part.lines]


def test_sums_and_capitals_are_drawn_by_their_seed_without_the_shots_and_the_training_questions() -> None:
    task = sums(60, 0)
    assert task == sums(60, 0) and task.questions != sums(60, 1).questions
    shots = task.given["examples"]
    assert len({*task.questions, *task.train}) == 72
    assert not {q.question for q in (*task.questions, *task.train)} & {s.question for s in shots}
    for question in task.questions:
        a, b = map(int, question.question[len("What is ") : -1].split(" + "))
        assert a + b == int(question.answer) <= 29
    assert "的首都是哪里？" in capitals(3, 0, "zh").questions[0].question


def test_a_known_model_gains_what_it_must_at_the_cost_it_must(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaining, "QUICK_DRAWS", 9)
    task = sums(100, 0)
    lines = measured(task, "vote-9,best-9-verifier,spell-tip", tmp_path, Calibrated(known(task), 0.6))
    once, vote, best, spell = (100 * line.mean for line in lines)
    # 100 questions: .6, .73, 1 - .4^9 and .6, each within four standard deviations
    assert abs(once - 60) < 20 and abs(vote - 73) < 18 and best >= 99 and abs(spell - 60) < 20
    costs = [line.cost for line in lines if line.cost]
    assert [cost.calls for cost in costs] == [1, 9, 9, 1]
    assert costs[1].tokens == 9 * costs[0].tokens
    # of nine samples, and of one that is a little longer
    assert [line.equal and line.equal.name for line in lines] == [None, "vote of 9", "vote of 9", "vote of 1"]
    assert lines[2].against == lines[0].beside and lines[2].p(lines[0].beside) < 0.001


def test_a_cascade_asks_the_large_model_where_the_small_one_is_unsure_and_chance_is_its_control(
    tmp_path: Path,
) -> None:
    task = sums(200, 0)
    easy = {q.question for q in task.questions[::2]}
    small = Calibrated(known(task), lambda k, said: 0.9 if k.question in easy else 0.3)
    _, by_doubt, by_chance = measured(task, "cascade,cascade-random", tmp_path, small, Calibrated(known(task), 0.95))
    # the hard half goes to the large model: (.9 + .95) / 2; any half does: ((.9 + .3) / 2 + .95) / 2; both within 4 deviations
    assert abs(by_doubt.mean - 0.925) < 0.075 and abs(by_chance.mean - 0.775) < 0.12
    with pytest.raises(ConfigError, match="technique cascade asks a second model where the first is unsure"):
        measured(task, "cascade", tmp_path, small)


@pytest.mark.parametrize("name", ["search-opro", "search-rewarded", "search-random"])
def test_a_search_pays_for_its_scorings_and_answers_with_the_best_instruction(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaining, "QUICK_SCORINGS", 5)
    task = sums(10, 0, num_train=4)
    asked: list[str] = []

    def proposing(said, of, dice) -> str | None:
        asked.append(said.messages[-1].text)
        return "<INS>Be right.</INS>" if "<INS>" in said.messages[-1].text else None

    helped = Calibrated(known(task), lambda k, said: float("\n\n" in said.messages[-1].text), react=proposing)
    once, found = measured(task, name, tmp_path, helped)
    assert once.mean == 0 and found.mean == 1, "any instruction makes it right, and none wrong"
    assert all(text.count("\n\n") for text in asked[-10:])
    assert found.cost
    # no instruction and four more, of which opro's are one and the same; its proposals are eight; then ten questions
    scorings, proposals = (2, 8) if name == "search-opro" else (5, 0)
    assert found.cost.calls * 10 == scorings * 4 + proposals + 10


def test_without_names_all_are_measured_that_need_nothing_but_the_model(tmp_path: Path) -> None:
    assert chosen(Setting("sums", tmp_path)) == ALONE
    assert list(chosen(Setting("sums", tmp_path, techniques=("tree", "vote-3")))) == ["tree", "vote-3"]
    needs: Callable[[str], bool] = lambda name: TECHNIQUES[name].needs_large or TECHNIQUES[name].method is not None  # noqa: E731
    assert not any(map(needs, ALONE)) and sum(map(needs, TECHNIQUES)) == 6
