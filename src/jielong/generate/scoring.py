"""How likely given ids are after a prompt: one reading of many sequences, without slots, queue or draws."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
import torch

from jielong.generate.packed import PackedModel

Pair = tuple[Sequence[int], Sequence[int]]
"""A prompt, and the ids after it that are scored."""


def score_pairs(model: PackedModel, pairs: Sequence[Pair], tokens: int) -> list[list[float]]:
    """Log-probabilities at temperature 1 of the ids of each pair, in order; about `tokens` ids are read at a time."""
    out: list[list[float]] = [[] for _ in pairs]
    order = sorted((i for i, pair in enumerate(pairs) if pair[1]), key=lambda i: -len(pairs[i][0]) - len(pairs[i][1]))
    while order:
        longest = len(pairs[order[0]][0]) + len(pairs[order[0]][1]) - 1
        rows = max(1, tokens // longest)
        batch, order = order[:rows], order[rows:]
        for i, logprobs in zip(batch, _score([pairs[i] for i in batch], model, tokens), strict=True):
            out[i] = logprobs
    return out


def _score(pairs: Sequence[Pair], model: PackedModel, tokens: int) -> list[list[float]]:
    """Several pairs of together at most `tokens` ids, or one pair of any length, which is read in parts."""
    inputs = [np.array((*prompt, *ids)[:-1], np.int64) for prompt, ids in pairs]
    lengths = [len(row) for row in inputs]
    cache = model.new_cache(len(pairs), max(lengths))
    device, chunk = model.device, max(1, 2**23 // model.config.vocab_size)  # 32 MB of logits at a time
    scored: list[list[float]] = [[] for _ in pairs]
    for start in range(0, max(lengths), max(lengths) if len(pairs) > 1 else tokens):
        counts = [min(tokens, length - start) if len(pairs) == 1 else length for length in lengths]
        line = np.concatenate([row[start : start + n] for row, n in zip(inputs, counts, strict=True)])
        starts = [start] * len(pairs)
        hidden = model.read(cache, torch.from_numpy(line).to(device), range(len(pairs)), starts, counts, lengths)
        places: list[int] = []
        targets: list[int] = []
        nums: list[int] = []
        offset = 0
        for (prompt, ids), count in zip(pairs, counts, strict=True):
            first = max(len(prompt) - 1, start)  # the position at which the next id of interest is predicted
            places += range(offset + first - start, offset + count)
            wanted = ids[first - len(prompt) + 1 : start + count - len(prompt) + 1] if start + count > first else ()
            targets += wanted
            nums.append(len(wanted))
            offset += count
        logprobs: list[float] = []
        for at in range(0, len(places), chunk):
            logits = model.logits(hidden[torch.tensor(places[at : at + chunk], device=device)])
            target = torch.tensor(targets[at : at + chunk], device=device)
            logprobs += torch.log_softmax(logits, -1).gather(1, target[:, None]).squeeze(1).tolist()
        rest = iter(logprobs)
        for row, num in enumerate(nums):
            scored[row] += islice(rest, num)
    return scored
