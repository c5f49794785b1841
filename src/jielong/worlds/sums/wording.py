"""How phrase books write many phrasings down at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def cross(*lists: Sequence[str]) -> tuple[str, ...]:
    """Every choice of one piece from each list, joined: cross(("a ", "b "), ("c", "d")) is a c, a d, b c, b d."""
    return tuple("".join(pieces) for pieces in itertools.product(*lists))
