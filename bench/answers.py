"""Whether answers are found and compared as a careful reader would: `python -m bench.answers`.

The pairs are ours: what a model wrote, the right answer, and whether the one says the other. The rules were made with both
lists in sight, so these rows say what still holds; what was wrong of each part of the lists when it was first read, by rules
that had not seen it, is in docs/log/2026-11-30-answers.md.
`--peers FOLDER` also lets math-verify and lm-eval's filters judge the pairs; the comparer of an earlier commit always does.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.environments import ROOT, Unavailable, environment
from bench.rows import Row, write_rows
from jielong.use.answers import groups, is_same

BEFORE = "81bc08e"
"""The last commit at which an answer was its last number, or its words."""

LISTS = {"pairs": "answer_pairs.jsonl", "more": "answer_pairs_more.jsonl"}

Pair = dict[str, Any]
Same = Callable[[str, str], bool]

VOTES: tuple[tuple[tuple[str, ...], int], ...] = (
    (("Answer: 11:30", "Answer: 12:30", "Answer: 11:30", "Answer: 09:30", *["Answer: 11:45"] * 3), 4),
    (("The correct answer is B.", "A", "选B", "正确答案为B。", "Therefore, the answer is C."), 0),
    (("Therefore, the answer is Paris.", "Lyon", "It is Paris.", "Paris or Lyon"), 0),
    (("\\boxed{\\frac{3}{4}}", "0.75", "The answer is 1/4", "So it is 3/4."), 0),
    (("2019-07-04", "1776-07-04", "July 4, 1776", "1776年7月4日"), 1),
    (("CO2", "H2O", "The formula is CO2."), 0),
    (("(5,4)", "(3,4)", "The point is (5, 4)."), 0),
    (("", "", "7"), 2),
    (("Lyon is the capital of France.", "The capital of France is Paris.", "Paris", "It is Paris."), 1),
)
"""The answers of voters, and the index of the first answer of the majority."""


def read_pairs(name: str) -> list[Pair]:
    """The pairs of a list; none where it is not there."""
    file = ROOT / "bench" / LISTS[name]
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def wrong(pairs: Sequence[Pair], verdicts: Sequence[bool]) -> tuple[list[Pair], list[Pair]]:
    """Pairs that are the same and were told apart, and pairs that differ and were taken for the same."""
    missed = [p for p, v in zip(pairs, verdicts, strict=True) if p["same"] and not v]
    taken = [p for p, v in zip(pairs, verdicts, strict=True) if v and not p["same"]]
    return missed, taken


def lists() -> Iterator[Row]:
    """Rows about each list, both ways of being wrong."""
    for name in LISTS:
        pairs = read_pairs(name)
        if not pairs:
            continue
        start_s = time.monotonic()
        missed, taken = wrong(pairs, [is_same(p["given"], p["right"]) for p in pairs])
        each_ms = 1000 * (time.monotonic() - start_s) / len(pairs)
        for words, found in (("the same, told apart", missed), ("different, taken for the same", taken)):
            num = sum(p["same"] is (found is missed) for p in pairs)
            share = len(found) / num
            yield Row(f"{name} ({len(pairs)} pairs): {words}", "at most 1%", 100 * share, share <= 0.01, f"% of {num}")
        for pair in missed + taken:
            print(
                f"  {'=' if pair['same'] else '#'} {pair['kind']}: {pair['given']!r} | {pair['right']!r}",
                file=sys.stderr,
            )
        yield Row(f"{name}: time of a pair", "told", each_ms, True, "ms")


def votes() -> Iterator[Row]:
    """Whether votes find who agrees."""
    right = 0
    for said, first in VOTES:
        firsts = [f for f in groups(said) if said[f]]
        most = max(dict.fromkeys(firsts), key=firsts.count)
        right += most == first
    yield Row("votes that go to whom most agree with", str(len(VOTES)), right, right == len(VOTES))


def before() -> Same:
    """The comparer of the earlier commit."""
    source = subprocess.run(
        ["git", "show", f"{BEFORE}:src/jielong/use/answers.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    module = types.ModuleType("answers_before")
    exec(compile(source, "answers_before.py", "exec"), module.__dict__)
    same: Same = module.is_same
    return same


def others(folder: Path | None) -> Iterator[Row]:
    """Errors on the same pairs of the earlier comparer and of graders of others."""
    pairs = [pair for name in LISTS for pair in read_pairs(name)]

    def row(name: str, verdicts: Sequence[bool]) -> Row:
        missed, taken = wrong(pairs, verdicts)
        told = f"told apart {len(missed)}, taken for the same {len(taken)}"
        return Row(
            f"wrong of all {len(pairs)}: {name} ({told})", "told", 100 * len(missed + taken) / len(pairs), True, "%"
        )

    same = before()
    yield row("ours", [is_same(p["given"], p["right"]) for p in pairs])
    yield row(f"ours at {BEFORE}", [same(p["given"], p["right"]) for p in pairs])
    if not folder:
        return
    try:
        peers = environment("graders", folder)
    except Unavailable as error:
        print(f"the graders of others cannot take part: {error}", file=sys.stderr)
        return
    asked = "".join(json.dumps([p["given"], p["right"]]) + "\n" for p in pairs)
    answered = subprocess.run(
        [str(peers.python), "-m", "bench.peers.graders"],
        input=asked,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=peers.variables(1),
    )
    for name, verdicts in json.loads(answered.stdout.splitlines()[-1]).items():
        yield row(name, verdicts)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="where environments of other graders are made")
    chosen = parser.parse_args(arguments)
    rows = [*lists(), *votes(), *others(chosen.peers)]
    write_rows("answers", rows)
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
