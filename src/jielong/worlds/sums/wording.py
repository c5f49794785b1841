"""A short notation for many phrasings at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def cross(*lists: Sequence[str]) -> tuple[str, ...]:
    """Join one piece of each list, in every combination: cross(("a ", "b "), ("c", "d")) is a c, a d, b c, b d."""
    return tuple("".join(pieces) for pieces in itertools.product(*lists))
