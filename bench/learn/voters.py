"""Voters who should change nothing: random ones, one who contradicts himself, and one who always likes the left.

They judge texts that a rule wrote, on a model of random weights: what is measured is the gate, and not what was learned.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.serving import tiny_model

from bench.learn.setting import Setting
from bench.rows import Row
from jielong.errors import DataError
from jielong.learning import asking, pressing, status
from jielong.learning import attempt as attempts
from jielong.records import Judgement, Message, Preference, Vote

NUM_PAIRS, POLL_S = 80, 0.2
MOST_PROMOTED = 2


def pairs_of(is_first_better: Callable[[int], bool], repeats: int = 1) -> list[Judgement]:
    """Blind votes on pairs of two kinds of answers; `is_first_better` decides the n-th vote, sides are at random."""
    sides = random.Random(0)
    made: list[Judgement] = []
    for n in range(NUM_PAIRS * repeats):
        number = n % NUM_PAIRS
        answers = [(Message("assistant", f"The capital is Lima {number}."),), (Message("assistant", f"秘鲁 {number}"),)]
        is_first_left = sides.random() < 0.5
        left, right = answers if is_first_left else answers[::-1]
        is_left = is_first_better(n)
        better, worse = (left, right) if is_left else (right, left)
        prompt = (Message("user", f"What is the capital of Peru? {number}"),)
        made.append(Preference(prompt, better, worse, by="voter", vote=Vote(f"{n}", 1000.0 + n, True, int(is_left))))
    return made


def attempt_of(tiny: Path, folder: Path, judgements: list[Judgement], seed: int) -> str:
    """The state that an attempt ends in when the deciding pairs are voted on at random; "refused at the press" before."""
    try:
        attempt = pressing.press(folder, "tiny", tiny, judgements, seed=seed)
    except DataError:
        return "refused at the press"
    while status.attempt_json(attempt)["state"] in attempts.AT_WORK:
        time.sleep(POLL_S)
    dice = random.Random(seed)
    while (found := asking.next_pair(attempt)) is not None:
        asking.vote(attempt.parent, attempt, found[0], dice.choice(("left", "right")))
    return attempts.read(attempt).state


def rows(setting: Setting) -> Iterator[Row]:
    """Rows of all voters."""
    tiny = tiny_model(setting.folder / "tiny")
    ends: list[str] = []
    for seed in range(setting.voters):
        dice = random.Random(seed)
        judgements = pairs_of(lambda _, dice=dice: dice.random() < 0.5)  # type: ignore[misc]
        ends.append(attempt_of(tiny, setting.folder / f"random-{seed}", judgements, seed))
        print(f"random voter {seed}: {ends[-1]}", flush=True)
    told = ", ".join(f"{ends.count(end)} {end}" for end in sorted(set(ends)))
    count = ends.count("promoted")
    seeds = tuple(range(setting.voters))
    yield Row(
        f"random voters promoted, of {len(ends)} ({told})",
        f"at most {MOST_PROMOTED}",
        count,
        count <= MOST_PROMOTED,
        "",
        seeds,
    )
    for name, is_left, repeats in (
        ("who contradicts himself", lambda n: (n // NUM_PAIRS) % 2 == 0, 2),
        ("who always likes the left", lambda _: True, 1),
    ):
        end = attempt_of(tiny, setting.folder / name.replace(" ", "-"), pairs_of(is_left, repeats), 0)
        yield Row(f"a voter {name}", "refused at the press", end, end == "refused at the press")
