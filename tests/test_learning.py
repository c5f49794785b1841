"""An attempt from the press to the end: trained by a child, compared, asked blind, promoted once, undone; ended at any moment."""

from __future__ import annotations

import dataclasses
import hashlib
import random
import shutil
import time
from pathlib import Path

import pytest
from tests.learning import child, pairs, until_over
from tests.serving import tiny_model

from jielong.errors import ConfigError, DataError, NotFoundError
from jielong.learning import asking, pressing, standing, status
from jielong.learning import attempt as attempts
from jielong.learning.deciding import LEAST


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("learning") / "tiny")


@pytest.fixture(scope="module")
def asked(base) -> Path:
    """An attempt about which a person is asked; tests take copies of its home."""
    folder = pressing.press(base.parent / "runs", "tiny", base, pairs(80))
    told = until_over(folder)
    assert told["state"] == "asking", (told["why"], (folder / "log.txt").read_text())
    return folder


@pytest.fixture
def copied(asked, tmp_path) -> Path:
    shutil.copytree(asked.parent, tmp_path / "home", symlinks=True)
    return tmp_path / "home" / asked.name


def digest_of(folder: Path) -> dict[str, str]:
    """The bytes of an adapter, by file."""
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted((folder / attempts.ADAPTER).iterdir())}


def vote_as(folder: Path, likes_candidate: float, seed: int = 0) -> attempts.Attempt:
    """Votes of somebody who takes the candidate's answer with this probability, until it is decided."""
    dice = random.Random(seed)
    while (found := asking.next_pair(folder)) is not None:
        n, pair = found
        is_candidate = dice.random() < likes_candidate
        asking.vote(folder.parent, folder, n, "left" if is_candidate == pair.is_candidate_left else "right")
    return attempts.read(folder)


def test_an_attempt_keeps_exactly_what_it_was_begun_with(asked):
    assert attempts.judgements_of(asked) == pairs(80)
    lineage = attempts.read(asked).lineage
    assert lineage["count"] == 80 and lineage["by"] == {"anna": 80} and len(lineage["ids"]) == 80


def test_the_gate_says_what_it_found(asked):
    figures = attempts.read(asked).figures
    assert figures["held_out"]["right"] == figures["held_out"]["pairs"] > 5
    judge = figures["judge"]
    assert judge["is_believed"] and judge["right"] == judge["held_out"]
    assert judge["won"] + judge["lost"] <= judge["prompts"] == figures["prompts"]["held_out"]
    assert figures["regression"]["prompts"] == 200
    flat = status.attempt_json(asked)["figures"]
    assert all(isinstance(value, bool | int | float | str) for value in flat.values()) and flat["empty"].endswith("%")


def test_sides_are_drawn_and_not_told(asked):
    sides = [pair.is_candidate_left for pair in asking.pairs_of(asked)]
    assert len(sides) == 100 and 30 <= sum(sides) <= 70
    told = status.attempt_json(asked)["pairs"]
    assert told == {"asked": 0, "least": 20, "most": 100, "won": None, "lost": None, "tied": 0}


def test_a_better_model_is_promoted_once_and_undone(copied):
    attempt = vote_as(copied, 1.0)
    assert attempt.state == "promoted" and len(asking.votes_of(copied)) == LEAST
    assert standing.standing(copied.parent) == attempt.id
    attempts.change(copied, state="asking")  # as if it had been killed between both files
    assert asking.settle(copied.parent, copied).state == "promoted"
    assert len(standing.promotions(copied.parent)) == 1
    standing.undo(copied.parent)
    assert standing.standing(copied.parent) == ""
    attempts.change(copied, state="asking")
    asking.settle(copied.parent, copied)
    assert standing.standing(copied.parent) == "", "what was undone stays undone"
    with pytest.raises(DataError, match="nothing to undo"):
        standing.undo(copied.parent)


def test_a_random_voter_has_it_refused_with_the_reason(copied):
    attempt = vote_as(copied, 0.5)
    assert attempt.state == "refused" and "not clearly better" in attempt.why
    assert status.attempt_json(copied)["pairs"]["won"] == attempt.figures["asking"]["won"]


def test_a_vote_counts_once_and_a_line_that_a_kill_cut_off_not_at_all(copied):
    asking.vote(copied.parent, copied, 0, "left")
    asking.vote(copied.parent, copied, 0, "right")
    with (copied / asking.VOTES).open("a") as file:
        file.write('{"n": 1, "outc')
    asking.vote(copied.parent, copied, 2, "tie")
    assert asking.votes_of(copied) == {0: "left", 2: "tie"}
    with pytest.raises(NotFoundError, match="no pair 100; this attempt has 100"):
        asking.vote(copied.parent, copied, 100, "left")


def test_each_press_that_got_a_vote_has_a_smaller_share_of_the_budget(copied):
    home = copied.parent
    assert asking.press_of(home, "") == 1
    asking.vote(home, copied, 0, "left")
    assert asking.press_of(home, "") == 2 and asking.press_of(home, "another") == 1


def test_while_one_attempt_is_open_no_other_begins(copied, base):
    begun = dataclasses.replace(attempts.read(copied), id="0002-x", state="training")
    with pytest.raises(ConfigError, match="still open; finish or cancel it first"):
        attempts.begin(copied.parent, begun, [])
    pressing.cancel(copied)
    assert attempts.read(copied).state == "cancelled"
    attempts.begin(copied.parent, begun, [])


def test_killed_at_any_moment_it_goes_on_to_the_same_adapter_bit_for_bit(base, asked, tmp_path):
    begun = dataclasses.replace(
        attempts.read(asked), state="training", press=0, figures={}, started=time.time(), id="0001-killed"
    )
    folder = attempts.begin(tmp_path / "home", begun, attempts.judgements_of(asked))
    dice = random.Random(4)
    for _ in range(3):
        process = child(folder)
        time.sleep(dice.uniform(4, 14))
        process.kill()
        process.wait()
        assert attempts.read(folder).state in attempts.OPEN
    pressing.resume(folder)
    assert until_over(folder)["state"] == "asking", (folder / "log.txt").read_text()
    assert digest_of(folder) == digest_of(asked)
    assert asking.pairs_of(folder) == asking.pairs_of(asked)


def test_a_paused_attempt_ends_its_child_and_goes_on(base, tmp_path):
    folder = pressing.press(tmp_path / "runs", "tiny", base, pairs(80))
    until_s = time.monotonic() + 60
    while not pressing.is_at_work(folder) and time.monotonic() < until_s:
        time.sleep(0.1)
    pressing.pause(folder)
    assert not pressing.is_at_work(folder) and status.attempt_json(folder)["is_paused"]
    pressing.resume(folder)
    assert not status.attempt_json(folder)["is_paused"]
    pressing.cancel(folder)
    assert status.attempt_json(folder)["state"] == "cancelled" and not pressing.is_at_work(folder)


def test_judgements_that_are_no_good_begin_nothing(base, tmp_path):
    with pytest.raises(DataError, match="too few"):
        pressing.press(tmp_path, "tiny", base, pairs(10))
    assert not list(tmp_path.iterdir())
