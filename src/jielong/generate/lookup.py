"""Prompt look-up decoding: drafts, without a second model, from earlier occurrences of the last few tokens.

After Saxena 2023: summaries, code and answers about a text repeat it, and reading several tokens in one pass costs
hardly more than reading one. The engine draws every drafted position from its own distribution with its own uniform
number and keeps a draft only as far as it equals the draw, so drafts change the time and never the text (the acceptance
rule of Leviathan et al. 2022, arXiv 2211.17192, for a draft that is certain of itself).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def draft_from_repetition(ids: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return `count` ids that followed the latest earlier occurrence of the last three of `ids`, or else two; or none
    at all.

    Where the text ends before `count` ids have followed, it is taken to go round: a repetition goes on.
    """
    for n in (3, 2):
        if len(ids) <= n:
            continue
        is_same = ids[n - 1 : -1] == ids[-1]
        for back in range(1, n):
            is_same &= ids[n - 1 - back : -1 - back] == ids[-1 - back]
        found = np.flatnonzero(is_same)
        if len(found):
            after = int(found[-1]) + n
            return ids[after + np.arange(count) % (len(ids) - after)]
    return ids[:0]
