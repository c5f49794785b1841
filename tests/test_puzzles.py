"""Puzzles of reasoning-gym: the right answer is right, the same seed gives the same puzzle, and no answer is ever run."""

from __future__ import annotations

import builtins
from dataclasses import replace

import pytest

from jielong.errors import ConfigError
from jielong.evaluate.puzzles import GENERATORS, make_puzzles, solves
from jielong.evaluate.puzzles import _dataset as dataset


@pytest.mark.parametrize("generator", GENERATORS)
def test_the_right_answer_is_right_and_another_puzzles_is_not(generator: str) -> None:
    task = make_puzzles(generator, 3, seed=1)
    made = dataset(generator, 1)
    for item in task.items:
        right = made[item.meta["number"]]["answer"]
        assert solves(item, f"Let me think.\n<answer>{right}</answer>") and solves(item, right)
        assert not solves(item, "") and not solves(item, "<answer>nonsense</answer>")


HOSTILE = ("__import__('os').getpid()", "[1, 2]", "(1).__class__", "[['1']]", "x + 1", "1/2", "3 1 2", "{}")


@pytest.mark.parametrize("generator", GENERATORS)
def test_what_an_answer_says_is_never_run(generator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    items = make_puzzles(generator, 2, seed=2).items
    ran: list[str] = []
    monkeypatch.setattr(builtins, "eval", lambda *_: ran.append("eval"))
    monkeypatch.setattr(builtins, "exec", lambda *_: ran.append("exec"))
    for item in items:
        for answer in HOSTILE:
            solves(item, answer)
    assert not ran


def test_a_puzzle_is_the_same_again_and_with_more_beside_it() -> None:
    few, many = make_puzzles("gcd", 3, 5), make_puzzles("gcd", 6, 5)
    assert few.items == many.items[:3] and few.items != make_puzzles("gcd", 3, 6).items
    assert not solves(replace(few.items[0], meta=few.items[1].meta), dataset("gcd", 5)[0]["answer"]) or (
        dataset("gcd", 5)[0]["answer"] == dataset("gcd", 5)[1]["answer"]
    )


def test_generators_that_are_slow_or_run_answers_are_not_offered() -> None:
    for name in ("zebra_puzzles", "knight_swap", "rubiks_cube", "countdown", "simple_integration", "spiral_matrix"):
        with pytest.raises(ConfigError, match="not offered"):
            make_puzzles(name, 1, 0)
    with pytest.raises(ConfigError, match="did you mean 'sudoku'"):
        make_puzzles("soduku", 1, 0)
    with pytest.raises(ConfigError, match="0 puzzles"):
        make_puzzles("gcd", 0, 0)
