"""The worker behind `formulas`: reads a pair of formulas a line, and says "same" or "other" of each."""

from __future__ import annotations

import json
import logging
import resource
import sys
from dataclasses import replace

MEMORY_BYTES = 4 << 30


def main() -> None:
    """Answer pairs until the input ends."""
    from math_verify import LatexExtractionConfig, parse, verify
    from sympy import Eq, simplify

    usual = LatexExtractionConfig()
    # a letter behind a number is a variable here, and no unit: 4t is not four tons
    config = replace(usual, normalization_config=replace(usual.normalization_config, units=False))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    logging.disable(logging.CRITICAL)

    def read(text: str) -> list[object]:
        return list(parse(f"${text}$", [config], parsing_timeout=3, raise_on_error=False))

    def is_same(given: str, right: str) -> bool:
        one, other = read(given), read(right)
        if not one or not other:
            return False
        if verify(other, one, timeout_seconds=3, raise_on_error=False):
            return True
        if isinstance(one[0], Eq) and isinstance(other[0], Eq):  # the same line, whatever stands on which side
            ratio = simplify((one[0].lhs - one[0].rhs) / (other[0].lhs - other[0].rhs))
            return bool(ratio.is_number and ratio != 0 and ratio.is_finite)
        return False

    for line in sys.stdin:
        try:
            same = is_same(*json.loads(line))
        except Exception:  # whatever algebra cannot read is not the same
            same = False
        sys.stdout.write("same\n" if same else "other\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
