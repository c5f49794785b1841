"""Comparison of formulas by math-verify and sympy. Import it in the worker of `formulas` alone: sympy takes seconds to
load.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from math_verify import LatexExtractionConfig, parse, verify
from sympy import Eq, simplify

_USUAL = LatexExtractionConfig()
# a letter behind a number is a variable here, and no unit: 4t is not four tons
_CONFIG = replace(_USUAL, normalization_config=replace(_USUAL.normalization_config, units=False))


def is_same(given: str, right: str) -> bool:
    """Whether two formulas in LaTeX are equal. Returns False if algebra cannot read one."""
    logging.disable(logging.CRITICAL)
    try:
        return _is_same(_read(given), _read(right))
    except MemoryError:
        raise
    except Exception:  # of packages that raise anything
        return False


def _read(text: str) -> list[object]:
    return list(parse(f"${text}$", [_CONFIG], parsing_timeout=3, raise_on_error=False))


def _is_same(one: list[object], other: list[object]) -> bool:
    """Whether parsed formulas are equal, or equations of the same line."""
    if not one or not other:
        return False
    if verify(other, one, timeout_seconds=3, raise_on_error=False):
        return True
    if isinstance(one[0], Eq) and isinstance(other[0], Eq):  # the same line, whatever stands on which side
        ratio = simplify((one[0].lhs - one[0].rhs) / (other[0].lhs - other[0].rhs))
        return bool(ratio.is_number and ratio != 0 and ratio.is_finite)
    return False
