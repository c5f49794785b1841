"""Bits per byte of held-out text, a unit that does not depend on the tokenizer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jielong.use.port import LocalPort


def bits_per_byte(port: LocalPort, texts: Sequence[str]) -> float:
    """Return the bits the model needs for each UTF-8 byte of `texts`, the first token of each text given for free."""
    scored = port.score_many(texts)
    num_bytes = sum(b for _, b in scored)
    return -sum(s for s, _ in scored) / math.log(2) / num_bytes if num_bytes else math.nan
