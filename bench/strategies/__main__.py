"""All experiments with strategies, one after the other: `python -m bench.strategies`, from the root of the repository."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bench.strategies import (
    answers,
    arithmetic,
    calls,
    command,
    household,
    injections,
    known,
    retrieval,
    self_label,
    story,
    techniques,
    twentyfour,
)

EXPERIMENTS = {
    "known": known.measure,
    "arithmetic": arithmetic.measure,
    **techniques.EXPERIMENTS,
    "twentyfour": twentyfour.measure,
    "retrieval": retrieval.measure,
    **answers.EXPERIMENTS,
    "injections": injections.measure,
    "self_label": self_label.measure,
    "story": story.measure,
    "calls": calls.measure,
    "household": household.measure,
}


def main(arguments: Sequence[str] | None = None) -> int:
    return command.main(EXPERIMENTS, arguments, techniques=techniques.TECHNIQUES)


if __name__ == "__main__":
    sys.exit(main())
