"""Scoring of given ids after a prompt: batched passes over many sequences, without slots, queue or sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from jielong.generate.packed import PackedModel

Pair = tuple[Sequence[int], Sequence[int]]
"""A prompt, and the ids after it that are scored."""
T = TypeVar("T")


def logprobs(logits: Tensor, ids: Tensor) -> list[float]:
    """Return log-probabilities at temperature 1 of `ids` (N,) under `logits` (N, V)."""
    return torch.log_softmax(logits, -1).gather(1, ids[:, None]).squeeze(1).tolist()


def are_likeliest(logits: Tensor, ids: Tensor) -> list[bool]:
    """Whether each of `ids` (N,) has the largest of its `logits` (N, V)."""
    return (logits.argmax(-1) == ids).tolist()


def distributions(logits: Tensor, ids: Tensor) -> list[Tensor]:
    """Return log-probabilities at temperature 1 of all ids, a tensor (V,) for each row of `logits` (N, V)."""
    return list(torch.log_softmax(logits.float(), -1).cpu())


def score_pairs(
    model: PackedModel, pairs: Sequence[Pair], tokens: int, judge: Callable[[Tensor, Tensor], list[T]]
) -> list[list[T]]:
    """Apply `judge` to the logits and ids of each pair, in order, with about `tokens` ids in a pass."""
    out: list[list[T]] = [[] for _ in pairs]
    order = sorted((i for i, pair in enumerate(pairs) if pair[1]), key=lambda i: -len(pairs[i][0]) - len(pairs[i][1]))
    while order:
        longest = len(pairs[order[0]][0]) + len(pairs[order[0]][1]) - 1
        rows = max(1, tokens // longest)
        batch, order = order[:rows], order[rows:]
        for i, said in zip(batch, _score([pairs[i] for i in batch], model, tokens, judge), strict=True):
            out[i] = said
    return out


def _score(
    pairs: Sequence[Pair], model: PackedModel, tokens: int, judge: Callable[[Tensor, Tensor], list[T]]
) -> list[list[T]]:
    """Score several pairs with at most `tokens` ids in all, or one pair of any length, in chunks."""
    inputs = [np.array((*prompt, *ids)[:-1], np.int64) for prompt, ids in pairs]
    lengths = [len(row) for row in inputs]
    cache = model.new_cache(len(pairs), max(lengths))
    device, chunk = model.device, max(1, 2**23 // model.config.vocab_size)  # 32 MB of logits at a time
    scored: list[list[T]] = [[] for _ in pairs]
    for start in range(0, max(lengths), max(lengths) if len(pairs) > 1 else tokens):
        counts = [min(tokens, length - start) if len(pairs) == 1 else length for length in lengths]
        flat_ids = np.concatenate([row[start : start + n] for row, n in zip(inputs, counts, strict=True)])
        starts = [start] * len(pairs)
        hidden = model.prefill(cache, torch.from_numpy(flat_ids).to(device), range(len(pairs)), starts, counts, lengths)
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
        said: list[T] = []
        for at in range(0, len(places), chunk):
            logits = model.logits(hidden[torch.tensor(places[at : at + chunk], device=device)])
            target = torch.tensor(targets[at : at + chunk], device=device)
            said += judge(logits, target)
        rest = iter(said)
        for row, num in enumerate(nums):
            scored[row] += islice(rest, num)
    return scored
