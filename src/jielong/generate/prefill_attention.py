"""Attention of prompts during prefill: new positions of some slots, which see all positions before them.

A long prompt's memory must not grow with its square, and short prompts beside it must not be padded to its length. So
rows of similar shape are grouped. Their queries are taken in blocks, the keys too, and the softmax is accumulated over
blocks of keys (Milakov and Gimelshein 2018, arXiv 1805.02867). Keys that no query of a block may see are skipped: those
after the last query, and those before the first one's window. Prompts without a cached prefix use the C++ of training,
if it was built.
"""
# N tokens of all rows, flattened, B rows, T positions, S key positions, H query heads, K key/value heads, G = H/K,
# D width of one head.

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from jielong.model.cache import Cache
from jielong.model.transformer import ModelConfig
from jielong.native.attention import attention, has_attention, limit_to_window

HIDDEN = -1e30
"""Added to the score of a key that a query must not see; finite in bf16 too."""
SCORES = 2**22
"""The most scores, and the most numbers of copied keys and values, that a block has: 16 MB in float32, and a few
temporaries of this size are alive at once."""
QUERIES, KEYS = 256, 4096
PADDING = 2**16
"""Scores of one head that may be wasted for one block less."""


def group_alike(starts: Sequence[int], counts: Sequence[int]) -> list[list[int]]:
    """Group rows of similar shape, so that a group's scores have little padding; long rows first."""
    areas = [count * (start + count) for start, count in zip(starts, counts, strict=True)]
    groups: list[list[int]] = []
    width, length, real = 0, 0, 0
    for row in sorted(range(len(areas)), key=lambda row: -areas[row]):
        wider, longer = max(width, counts[row]), max(length, starts[row] + counts[row])
        if groups and (len(groups[-1]) + 1) * wider * longer <= 1.3 * (real + areas[row]) + PADDING:
            groups[-1].append(row)
            width, length, real = wider, longer, real + areas[row]
        else:
            groups.append([row])
            width, length, real = counts[row], starts[row] + counts[row], areas[row]
    return groups


class PrefillAttention:
    """Attention of `counts[i]` new positions from `starts[i]` on, for each of B slots; their tokens are flattened, slot
    after slot.
    """

    def __init__(
        self,
        cache: Cache,
        slots: Sequence[int],
        starts: Sequence[int],
        counts: Sequence[int],
        config: ModelConfig,
        dtype: torch.dtype,
    ) -> None:
        device = cache.layers[0].device
        self.cache, self.dtype = cache, dtype
        self.windows = [
            config.sliding_window if i in config.sliding_layers else 0 for i in range(config.num_hidden_layers)
        ]
        counts_B, starts_B = torch.tensor(counts, device=device), torch.tensor(starts, device=device)
        offsets_B = counts_B.cumsum(0) - counts_B
        steps_N = torch.arange(sum(counts), device=device) - offsets_B.repeat_interleave(counts_B)
        self.positions = starts_B.repeat_interleave(counts_B) + steps_N
        self.slot_of_token = torch.tensor(slots, device=device).repeat_interleave(counts_B)
        offsets = offsets_B.tolist()
        self.groups = [
            RowGroup([[part[row] for row in rows] for part in (slots, starts, counts, offsets)], config, dtype, device)
            for rows in group_alike(starts, counts)
        ]

    def __call__(self, layer: int, q_NHD: Tensor, kv_N2KD: Tensor) -> Tensor:
        self.cache.write(layer, self.slot_of_token, self.positions, kv_N2KD)
        out = torch.empty(len(q_NHD), q_NHD[0].numel(), dtype=self.dtype, device=q_NHD.device)
        for group in self.groups:
            out[group.tokens] = group.attend(self.cache.layers[layer], q_NHD, self.windows[layer])
        return out


def attend_keys(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return softmax(q keys' + mask) values (B, K, T, D) and the log-sum-exp of the scores (B, K, T, 1), in float32.

    Keys and values are (B, K, S, D), the mask (B, 1, T, S).
    """
    if q.device.type == "cpu":
        mixed, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q, keys, values, attn_mask=mask, scale=1.0
        )
        return mixed, log_sum[..., None]
    scores = (q @ keys.transpose(2, 3)).float()
    if mask is not None:
        scores += mask
    log_sum = scores.logsumexp(-1, keepdim=True)
    return (scores - log_sum).exp_().to(q.dtype) @ values, log_sum


class RowGroup:
    """Rows of similar shape: the indices of their flattened tokens, and their attention."""

    def __init__(
        self, rows: Sequence[Sequence[int]], config: ModelConfig, dtype: torch.dtype, device: torch.device
    ) -> None:
        slots, self.starts, counts, offsets = rows
        K, D = config.num_key_value_heads, config.head_dim
        B, T = len(slots), max(counts)
        G = config.num_attention_heads // K
        self.shape = (B, T, K, G, D)
        self.dtype, self.device = dtype, device
        self.end = max(start + count for start, count in zip(self.starts, counts, strict=True))
        is_run = list(slots) == list(range(slots[0], slots[0] + B))
        self.slots = slice(slots[0], slots[0] + B) if is_run else torch.tensor(slots, device=device)
        self.starts_B = torch.tensor(self.starts, device=device)
        steps_T = torch.arange(T, device=device)
        is_real_BT = steps_T < torch.tensor(counts, device=device)[:, None]
        flat_BT = torch.tensor(offsets, device=device)[:, None] + steps_T
        self.flat_of_row = flat_BT.where(is_real_BT, flat_BT[:, :1])
        self.tokens = flat_BT[is_real_BT]
        self.real = is_real_BT.flatten().nonzero().squeeze(1)
        # whole beginnings of prompts are what the C++ of training knows
        self.is_native = device.type == "cpu" and not any(self.starts) and has_attention(dtype)
        heads = B * config.num_attention_heads
        self.keys = max(1, min(KEYS, self.end, SCORES // (2 * B * K * D)))
        self.queries = max(1, min(QUERIES, T, SCORES // (heads * self.keys)))
        # many layers of a short pass see the same masks
        self.masks: dict[tuple[int, int, int], Tensor | None] | None = {} if G * B * T * self.end <= SCORES else None

    def attend(self, kv: Tensor, q_NHD: Tensor, window: int) -> Tensor:
        """Return (tokens, H*D) in `dtype`, from a layer's cache `kv` (2, slots, K, length, D) and the flattened
        queries.
        """
        B, T, K, G, D = self.shape
        q_BTKGD = q_NHD[self.flat_of_row].to(self.dtype).view(self.shape)
        if self.is_native:
            k_BTKD, v_BTKD = kv[:, self.slots, :, :T].to(self.dtype).transpose(2, 3)
            first_BT = limit_to_window(torch.zeros(B, T, dtype=torch.int32), window)
            out = attention(q_BTKGD.flatten(2, 3), k_BTKD, v_BTKD, first_BT, 1.0)
            return out.reshape(B * T, -1)[self.real]
        q_BKGTD = q_BTKGD.permute(0, 2, 3, 1, 4)
        out_BTKGD = torch.empty(self.shape, dtype=self.dtype, device=self.device)
        for first in range(0, T, self.queries):
            last = min(first + self.queries, T)
            q = q_BKGTD[:, :, :, first:last].reshape(B, K, G * (last - first), D)
            mixed = self._attend_queries(kv, q, first, last, window).view(B, K, G, last - first, D)
            out_BTKGD[:, first:last] = mixed.permute(0, 3, 1, 2, 4)
        return out_BTKGD.view(B * T, -1)[self.real]

    def _attend_queries(self, kv: Tensor, q: Tensor, first: int, last: int, window: int) -> Tensor:
        """Return softmax-weighted values (B, K, G*(last-first), D) of the queries `first` to `last` of each row."""
        mixed = log_total = None
        for begin, end in self._blocks(first, last, window):
            keys, values = kv[:, self.slots, :, begin:end].to(self.dtype)
            block, log_sum = attend_keys(q, keys, values, self._mask(first, last, begin, end, window))
            if mixed is None or log_total is None:
                mixed, log_total = block, log_sum
                continue
            log_both = torch.logaddexp(log_total, log_sum)
            mixed = mixed * (log_total - log_both).exp_() + block * (log_sum - log_both).exp_()
            log_total = log_both
        assert mixed is not None
        return mixed.to(self.dtype)

    def _blocks(self, first: int, last: int, window: int) -> Iterator[tuple[int, int]]:
        """Yield begin and end of the blocks of keys that the queries may see; blocks that all queries see come first."""
        begin = max(0, min(self.starts) + first - window + 1) if window else 0
        end = min(self.end, max(self.starts) + last)
        own = begin if window else min(self.starts) + first
        for low, high in ((begin, own), (own, end)):
            yield from ((b, min(b + self.keys, high)) for b in range(low, high, self.keys))

    def _mask(self, first: int, last: int, begin: int, end: int, window: int) -> Tensor | None:
        """Return the mask (B, 1, G*(last-first), end-begin), or None if all keys are seen."""
        place = (first, begin, window)
        if self.masks is not None and place in self.masks:
            return self.masks[place]
        mask = None
        is_after = end - 1 > min(self.starts) + first
        is_before = bool(window) and begin <= max(self.starts) + last - 1 - window
        if is_after or is_before:
            keys = torch.arange(begin, end, device=self.device)
            positions = (self.starts_B[:, None] + torch.arange(first, last, device=self.device))[..., None]
            is_hidden = keys > positions
            if window:
                is_hidden |= keys <= positions - window
            mask = torch.zeros(is_hidden.shape, dtype=self.dtype, device=self.device)
            mask = mask.masked_fill_(is_hidden, HIDDEN).repeat(1, self.shape[3], 1)[:, None]
        if self.masks is not None:
            self.masks[place] = mask
        return mask
