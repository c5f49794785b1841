"""Prompt lookup decoding: drafts from earlier occurrences of the last few tokens, without a second model.

After Saxena 2023: summaries, code and answers about a text repeat it, and a pass over several tokens costs hardly more
than a pass over one. The engine samples every drafted position from its own distribution with its own uniform number,
and accepts a draft as far as it equals the samples. So drafts change the time and never the text (the acceptance rule
of Leviathan et al. 2022, arXiv 2211.17192, for a deterministic draft).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def draft_from_repetition(ids: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return `count` ids that followed the latest earlier occurrence of the last three of `ids`, or else of the last
    two; none without an occurrence.

    If fewer than `count` ids followed, the repeated part is continued periodically.
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
