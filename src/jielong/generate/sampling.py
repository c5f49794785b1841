"""Sampling of next tokens from logits, for many rows at once, each with its own options.

A row's token is the id at which its cumulative distribution exceeds a uniform number. For the request's n-th token that
number is Philox(seed, n). The generator is counter-based, so other rows cannot shift it, and every draw can be
explained and repeated. If the drawn id is suppressed, the token is drawn again among the others, with a second number.
Log-probabilities are those of the model's own distribution at the row's temperature, before a repetition penalty, a
mask or a truncation; for a greedy row (temperature 0) at temperature 1.
"""
# B rows, R of them with rules beyond temperature, V vocabulary.

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from jielong.generate import native

BLOCK = 64
NEARLY_ONE = 1.0 - 2.0**-40
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox(key: NDArray[np.uint64], counter: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], ...]:
    """Compute Philox4x32-10 (Salmon et al. 2011) of 2 key words and 4 counter words: 4 random words.

    `key` (2, ...) and `counter` (4, ...) hold 32-bit words in uint64; the trailing axes broadcast.
    """
    k0, k1 = key
    c0, c1, c2, c3 = counter
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & _LOW, (k1 + np.uint64(0xBB67AE85)) & _LOW
    return c0, c1, c2, c3


def uniforms(seeds: NDArray[np.uint64], indices: NDArray[np.int64], *, attempt: int = 0) -> NDArray[np.float64]:
    """Return a number in [0, 1), a multiple of 2^-52, for each (seed, index); the two broadcast. Each `attempt` gives
    different numbers.

    52 bits and not 53: u times a float64 total then never rounds up to the total.
    """
    index = indices.astype(np.uint64)
    zero = np.zeros_like(index)
    key = np.stack([seeds & _LOW, seeds >> _HALF])
    high, low, _, _ = philox(key, np.stack([index & _LOW, index >> _HALF, zero + np.uint64(attempt), zero]))
    return ((high << np.uint64(20)) | (low >> np.uint64(12))).astype(np.float64) * 2.0**-52


def to_device(array: NDArray[Any], device: torch.device | str) -> Tensor:
    """Copy an array to a device, from pinned memory, without synchronising a GPU."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return (
        tensor.pin_memory().to(device, non_blocking=True) if torch.device(device).type == "cuda" else tensor.to(device)
    )


@dataclass(frozen=True)
class Rules:
    """The sampling options of B rows as tensors. None means that no row uses an option, which skips its work."""

    temperature: Tensor | None
    """(B, 1) float32, 1 for greedy rows; None when all are 1."""
    greedy: Tensor | None
    """Indices of the greedy rows."""
    is_all_greedy: bool
    special: Tensor | None
    """(R,) indices of rows with a truncation, a penalty or a mask; what follows is theirs."""
    top_k: Tensor
    top_p: Tensor
    min_p: Tensor
    penalty: Tensor

    @classmethod
    def of(
        cls,
        temperature: NDArray[np.float32],
        top_k: NDArray[np.int64],
        top_p: NDArray[np.float64],
        min_p: NDArray[np.float32],
        penalty: NDArray[np.float32],
        is_masked: NDArray[np.bool_],
        device: torch.device | str = "cpu",
    ) -> Rules:
        """Build the rules from arrays (B,) of the rows' options."""

        is_greedy = temperature == 0
        divisor = np.where(is_greedy, np.float32(1), temperature)
        special = np.flatnonzero((top_k > 0) | (top_p < 1) | (min_p > 0) | (penalty != 1) | is_masked)
        return cls(
            temperature=to_device(divisor[:, None], device) if (divisor != 1).any() else None,
            greedy=to_device(np.flatnonzero(is_greedy), device) if is_greedy.any() else None,
            is_all_greedy=bool(is_greedy.all()),
            special=to_device(special, device) if len(special) else None,
            top_k=to_device(top_k[special], device),
            top_p=to_device(top_p[special], device),
            min_p=to_device(min_p[special], device),
            penalty=to_device(penalty[special], device),
        )

    def scaled(self, logits: Tensor) -> Tensor:
        """Return logits (B, V) divided by each row's temperature, float32."""
        logits = logits.float()
        return logits if self.temperature is None else logits / self.temperature

    def scaled_row(self, logits: Tensor, row: int) -> Tensor:
        """Return the scaled logits of one row, (1, V)."""
        own = logits[row : row + 1].float()
        return own if self.temperature is None else own / self.temperature[row]


class Basis(NamedTuple):
    """The arguments of `draw` for some rows, kept to explain their draws."""

    logits: Tensor
    rules: Rules
    history: Tensor | None
    allowed: Tensor | None
    shares: Tensor | None = None
    """Set by `draw`: the probabilities that each row's number fell among."""


def draw(
    logits: Tensor,
    rules: Rules,
    uniform: Tensor,
    history: Tensor | None = None,
    allowed: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Draw the next id (B,) int64 and its log-probability (B,) float32, from logits (B, V).

    `uniform` (B,) float64; `history` (R, L) ids of prompt and answer of the special rows, short rows filled with an id
    they contain (needed if a penalty is not 1); `allowed` (R, V) bool, at least one True in each row.
    """
    own = rules.scaled(logits)
    if rules.is_all_greedy and rules.special is None:
        best = native.likeliest(own)
        if best is not None:
            return *best, None
    shaped = own
    if rules.special is not None:
        shaped = own.index_copy(0, rules.special, _filter_scores(own[rules.special], rules, history, allowed))
    probabilities = torch.softmax(shaped, -1)
    if rules.is_all_greedy:
        ids = shaped.argmax(-1)
    else:
        ids = invert(probabilities, uniform)
        if rules.greedy is not None:
            ids[rules.greedy] = shaped[rules.greedy].argmax(-1)
    logprobs = probabilities.gather(1, ids[:, None]).log().squeeze(1)
    if rules.special is not None:
        there = rules.special
        logprobs[there] = torch.log_softmax(own[there], -1).gather(1, ids[there][:, None]).squeeze(1)
    return ids, logprobs, probabilities


def invert(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Return for each row of (B, V) the first id at which the cumulative sum exceeds uniform (B,) times the total.

    In two levels, sums of blocks and then one block, because a float64 cumulative sum over a whole vocabulary costs as
    much as the head. An id of probability 0 is never returned.
    """
    B = len(probabilities)
    blocks = _in_blocks(probabilities)
    sums = blocks.sum(-1).double()
    ends = sums.cumsum(-1)
    target = uniform[:, None] * ends[:, -1:]
    block = torch.searchsorted(ends, target, right=True)
    block_sum = sums.gather(1, block)
    share = ((target - ends.gather(1, block) + block_sum) / block_sum).clamp_(0.0, NEARLY_ONE)
    inside = blocks[torch.arange(B, device=block.device), block[:, 0]].double().cumsum(-1)
    return (block * BLOCK + torch.searchsorted(inside, share * inside[:, -1:], right=True)).squeeze(1)


def _in_blocks(rows: Tensor, filling: float = 0.0) -> Tensor:
    """Rows (R, V) as (R, blocks, BLOCK), the last block filled up."""
    missing = -rows.shape[1] % BLOCK
    return (F.pad(rows, (0, missing), value=filling) if missing else rows).view(len(rows), -1, BLOCK)


def intervals_of(probabilities: Tensor, ids: Tensor) -> Tensor:
    """Return (R, 2) float64: for rows (R, V), the interval of uniform numbers for which `invert` gives `ids` (R,)."""
    blocks = _in_blocks(probabilities)
    sums = blocks.sum(-1).double()
    ends, block, rows = sums.cumsum(-1), ids // BLOCK, torch.arange(len(ids), device=ids.device)
    inside = F.pad(blocks[rows, block].double().cumsum(-1), (1, 0))
    edges = inside.gather(1, (ids % BLOCK)[:, None] + torch.arange(2, device=ids.device)) / inside[:, -1:]
    here = sums.gather(1, block[:, None])
    return (ends.gather(1, block[:, None]) - here + edges * here) / ends[:, -1:]


def largest_scores(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the `count` largest scores of each row (R, V), best first, and their indices, as `topk` does.

    They lie within the `count` blocks with the largest maxima, so one pass over the rows leaves a few thousand numbers
    to sort. `topk` of a whole vocabulary takes some ten times as long.
    """
    R, V = scores.shape
    count = min(count, V)
    if V <= 4 * BLOCK * max(count, 1):
        return scores.topk(count, -1)
    blocks = _in_blocks(scores, -torch.inf)
    best = blocks.amax(-1).topk(count, -1).indices
    values, places = blocks.gather(1, best[..., None].expand(-1, -1, BLOCK)).reshape(R, -1).topk(count, -1)
    return values, best.gather(1, places // BLOCK) * BLOCK + places % BLOCK


def penalised(scores: Tensor, penalty: Tensor, history: Tensor) -> Tensor:
    """Apply the repetition penalty (R,) to the scores (R, V) of ids in `history` (R, L).

    Positive scores are divided and negative ones multiplied (Keskar et al. 2019).
    """
    seen = scores.gather(1, history)
    return scores.scatter(1, history, torch.where(seen > 0, seen / penalty[:, None], seen * penalty[:, None]))


def _filter_scores(scores: Tensor, rules: Rules, history: Tensor | None, allowed: Tensor | None) -> Tensor:
    """Apply penalty, mask, top-k, top-p and min-p to scores (R, V), in this order; cut ids get -inf.

    All cuts are thresholds on the score, so ids of equal score stay or go together.
    """
    if history is not None:
        scores = penalised(scores, rules.penalty, history)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    highest = scores.amax(-1)
    threshold = highest + rules.min_p.log()  # log(0) = -inf cuts nothing
    is_cut = (rules.top_k > 0) | (rules.top_p < 1)
    if is_cut.any():
        rows = is_cut.nonzero().squeeze(1)
        threshold[rows] = torch.maximum(threshold[rows], sorted_cut(scores[rows], rules.top_k[rows], rules.top_p[rows]))
    return scores.masked_fill(scores < threshold[:, None], -torch.inf)


def sorted_cut(scores: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """Return (R,) the lowest score that top-k, and top-p within it, keep."""
    V = scores.shape[1]
    top_k = torch.where(top_k > 0, top_k, V).clamp(max=V)
    weights = torch.exp(scores - scores.amax(-1, keepdim=True))
    # rarely does a nucleus hold more than a few hundred ids; where it does, sort everything
    width = min(V, max(256, int(torch.where(top_k < V, top_k, 1).max())))
    highest = scores.topk(width).values
    cut = torch.full_like(scores[:, 0], -torch.inf)
    rows = torch.arange(len(scores), device=scores.device)
    while True:
        ordered = torch.exp(highest - highest[:, :1]).double()
        ranks = torch.arange(highest.shape[1], device=scores.device)
        within = ordered.masked_fill(ranks >= top_k[rows, None], 0.0)
        total = torch.where(top_k[rows] < V, within.sum(-1), weights[rows].double().sum(-1))
        sums = within.cumsum(-1) / total[:, None]
        last = torch.minimum((sums < top_p[rows, None]).sum(-1), top_k[rows] - 1)
        # without truncation by p, only k counts: rounding must not cut the tail
        last = torch.where(top_p[rows] < 1, last, top_k[rows] - 1)
        is_found = last < highest.shape[1]
        found = is_found.nonzero().squeeze(1)
        cut[rows[found]] = highest[found, last[found]]
        rows = rows[~is_found]
        if not len(rows) or highest.shape[1] == V:
            return cut
        highest = scores[rows].sort(-1, descending=True).values


def likeliest(logits: Tensor, rules: Rules, row: int, count: int) -> tuple[tuple[int, float], ...]:
    """Return the `count` likeliest ids of one row of logits and their log-probabilities, best first."""
    if not count:
        return ()
    scores = rules.scaled_row(logits, row)
    values, ids = largest_scores(scores, count)
    return tuple(zip(ids[0].tolist(), (values - scores.logsumexp(-1)).tolist()[0], strict=True))
