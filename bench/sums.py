"""Whether the calculator is right or refuses: `python -m bench.sums`.

Random expressions are made as trees, worked out with fractions, and written in many spellings (signs, words, superscripts,
products without a sign, percentages); the reference never reads a text. Known and refused expressions are those of the
tests. Hostile ones are as long as is read, and ask for as much work as that allows.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from tests.calculator_cases import HOSTILE, KNOWN, REFUSED
from tests.expressions import is_right, random_expressions

from bench.rows import Row, write_rows
from jielong.errors import DataError
from jielong.use.tools.calculator import calculate, value_of

COUNT, SEED = 10_000, 7


def answer(expression: str) -> str:
    """The calculator's answer; "" where it refuses."""
    try:
        return calculate(expression)
    except DataError:
        return ""


def random_rows(count: int = COUNT, seed: int = SEED) -> Iterator[Row]:
    """Random expressions against their trees."""
    num_defined = num_wrong = num_refused = 0
    for text, value in random_expressions(count, seed):
        shown = answer(text)
        num_defined += value is not None
        if not shown:
            num_refused += value is not None
        elif value is None or value_of(text) != value or not is_right(shown, value):
            num_wrong += 1
    yield Row(f"{count:,} random expressions, wrong", "0", num_wrong, num_wrong == 0, seeds=(seed,))
    share = num_refused / num_defined
    yield Row(f"{num_defined:,} of them with a value, refused", "0", share, share == 0, seeds=(seed,))


def sum_rows() -> Iterator[Row]:
    """All rows: random, known, refused and hostile expressions."""
    yield from random_rows()
    num_right = sum(answer(expression) == value for expression, value in KNOWN.items())
    yield Row("known expressions, right", f"{len(KNOWN)}", num_right, num_right == len(KNOWN))
    num_refused = sum(not answer(expression) for expression in REFUSED)
    yield Row(
        "expressions without a value or with two, refused", f"{len(REFUSED)}", num_refused, num_refused == len(REFUSED)
    )
    seconds = []
    for expression in HOSTILE:
        begin_s = time.perf_counter()
        answer(expression)
        seconds.append(time.perf_counter() - begin_s)
    yield Row(f"slowest of {len(HOSTILE)} hostile expressions", "below 0.5", max(seconds), max(seconds) < 0.5, "s")


def main() -> int:
    rows = list(sum_rows())
    write_rows("sums", rows)
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
