"""The seed of a command that draws: the given one, or a random one, which is printed."""

from __future__ import annotations

import argparse
import secrets
import sys

SEED_HELP = "of the dice; without it they are thrown anew and the seed is printed (temperature 0 throws none)"

TOP_P_HELP = "draw from the likeliest tokens that together have this probability (default: 1, all)"


def seed_of(arguments: argparse.Namespace, *, draws: bool = False) -> int:
    """Return `--seed`, else 0 if nothing is drawn, else a random one, printed so that the answer can be had again.

    Something is drawn if the temperature is above 0, or if `draws` says so.
    """
    if arguments.seed is not None:
        return int(arguments.seed)
    if not arguments.temperature and not draws:
        return 0
    seed = secrets.randbelow(1_000_000)
    print(f"seed {seed}: give --seed {seed} for the same answer", file=sys.stderr)
    return seed
