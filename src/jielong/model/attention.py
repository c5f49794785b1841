"""Attention masks of packed rows, and softmax attention in training's form: whole rows at once.

A position sees those before it in its row that belong to its own segment, the last `window` of them if there is one.
The form of the mask depends on the kernel. The C++ (`native.attention`) is given where each position's segment begins,
a compiled layer on a GPU gets blocks of 128 keys for each block of queries, torch gets a dense mask or none.
"""
# B rows, T positions, S key positions, H query heads, K key/value heads, G = H/K, D width of one head, n blocks of a row.

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_mask, flex_attention

from jielong.native.attention import attention, has_attention, limit_to_window

AttentionMask: TypeAlias = Tensor | BlockMask | None
"""A mask (B, T, T), the first that each position sees (B, T) int32, blocks, or None: all up to itself."""

FUSED_ABOVE = 2048
"""Positions of a row above which a CPU uses torch's fused attention."""
BLOCK = 128
"""Positions of a block of queries or keys on a GPU: a multiple of what torch's kernels take at once."""
NARROWEST = 16
"""Width of a head below which torch's kernels for blocks have no tile."""


def attention_masks(
    positions: Tensor,
    segments: Tensor | None,
    windows: Iterable[int],
    dtype: torch.dtype,
    head_dim: int,
    is_compiled: bool,
) -> dict[int, AttentionMask]:
    """Return the mask for each width of window (0 is none), for attention in `dtype`, by compiled layers or eager.

    `positions` and `segments` are (B, T).
    """
    B, T = positions.shape
    device = positions.device
    limits = {window: window if window < T else 0 for window in windows}
    # who compiles the whole model, and not its layers, gets what a compiler can follow
    is_traced = torch.compiler.is_compiling()
    can_begin = device.type == "cpu" and not is_traced and has_attention(dtype)
    first_BT = _segment_starts(positions, segments) if can_begin else None
    made: dict[int, AttentionMask] = {}
    if first_BT is None and 0 in limits.values() and _needs_no_mask(T, segments, device):
        made[0] = None
    missing = {limit for limit in limits.values() if limit not in made}
    if first_BT is not None:
        made |= {limit: limit_to_window(first_BT, limit) for limit in missing}
    elif missing and device.type == "cuda" and is_compiled and not is_traced and T >= BLOCK and head_dim >= NARROWEST:
        of_rows = torch.ones(B, T, dtype=torch.int32, device=device) if segments is None else segments
        made |= {limit: make_block_mask(of_rows, limit) for limit in missing}
    elif missing:
        mask = torch.ones(T, T, dtype=torch.bool, device=device).tril().expand(B, T, T)
        if segments is not None:
            mask = mask & (segments[:, :, None] == segments[:, None, :])
        made |= {limit: mask & torch.ones_like(mask[0]).triu(1 - limit) if limit else mask for limit in missing}
    return {window: made[limit] for window, limit in limits.items()}


def _segment_starts(positions: Tensor, segments: Tensor | None) -> Tensor | None:
    """Return where the segment of each position begins, (B, T) int32, or None if a segment lies in several pieces."""
    if segments is None:
        return torch.zeros(positions.shape, dtype=torch.int32)
    places = torch.arange(1, segments.shape[1], dtype=torch.int32)
    begins = torch.where(segments[:, 1:] != segments[:, :-1], places, 0)
    first = F.pad(begins, (1, 0)).cummax(dim=1).values
    numbers, order = segments.sort(dim=1, stable=True)
    is_same, pieces = numbers[:, 1:] == numbers[:, :-1], first.gather(1, order)
    is_whole = bool(((pieces[:, 1:] == pieces[:, :-1]) | ~is_same).all())
    return first if is_whole else None


def _needs_no_mask(T: int, segments: Tensor | None, device: torch.device) -> bool:
    """Whether rows of T positions go to the fused kernel whole, each being one segment from end to end.

    Returns False on a GPU: reading segments there would wait for it.
    """
    if device.type != "cpu":
        return segments is None
    return T > FUSED_ABOVE and (segments is None or bool((segments == segments[:, :1]).all()))


def make_block_mask(segments: Tensor, window: int) -> BlockMask:
    """Build the BlockMask of packed rows on their device: for each block of queries, the blocks of keys with something
    to see.

    `segments` (B, T). A block of keys may count though none of it is seen; inside a block every pair is looked at. The
    padding of the last block is a segment of its own, so that block is never seen whole.
    """
    T = segments.shape[1]
    whole = F.pad(segments, (0, -T % BLOCK), value=-1).view(len(segments), -1, BLOCK)
    least, most = whole.amin(-1), whole.amax(-1)  # (B, n)
    n = least.shape[1]
    begin = torch.arange(n, device=segments.device) * BLOCK
    meets = (most[:, None] >= least[:, :, None]) & (least[:, None] <= most[:, :, None]) & (begin[:, None] >= begin)
    is_one = least == most
    is_full = (least[:, None] == least[:, :, None]) & is_one[:, None] & is_one[:, :, None] & (begin[:, None] > begin)
    if window:
        distance = begin[:, None] - begin  # of the first query from the first key
        meets = meets & (distance - BLOCK + 1 < window)
        is_full = is_full & (distance + BLOCK - 1 < window)

    def sees(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        is_seen = (q >= k) & (segments[b, q] == segments[b, k])
        return is_seen & (q - k < window) if window else is_seen

    def listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
        """Return how many blocks count (B, 1, n), and their indices, those first (B, 1, n, n)."""
        numbers = blocks.to(torch.int32)
        which = numbers.argsort(dim=-1, descending=True, stable=True)
        return numbers.sum(-1, dtype=torch.int32)[:, None], which.to(torch.int32)[:, None]

    some, full = listed(meets & ~is_full), listed(is_full)
    return BlockMask.from_kv_blocks(*some, *full, BLOCK_SIZE=BLOCK, mask_mod=sees, seq_lengths=(T, T))


def attend(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, mask: AttentionMask, scale: float) -> Tensor:
    """Return softmax attention (B, T, H, D) under a mask of `attention_masks`, with softmax in float32.

    On a CPU the C++ does it if it was built. Elsewhere on a CPU the queries go in blocks, each with the keys up to its
    own end, as plain batches of matrices: half of what lies after them is never computed, and torch's fused kernel is
    slower up to 2048 positions, above all backwards. Longer rows, whose weights would fill the memory, and GPUs use the
    fused kernel; without a mask it is four times as fast at 16k positions.
    """
    if isinstance(mask, Tensor) and mask.dim() == 2:
        return attention(q_BTHD, k_BTKD, v_BTKD, mask, scale)
    T, k_BKTD, v_BKTD = q_BTHD.shape[1], k_BTKD.transpose(1, 2), v_BTKD.transpose(1, 2)
    if q_BTHD.device.type != "cpu" or T > FUSED_ABOVE or isinstance(mask, BlockMask):
        return _attend_fused(q_BTHD.transpose(1, 2), k_BKTD, v_BKTD, mask, scale).transpose(1, 2)
    assert mask is not None
    # blocks of 64 to 256 are equally fast at their best length; more than eight only make compiling longer
    size = max(128, -(-T // 8))
    blocks = []
    for start in range(0, T, size):
        end = min(start + size, T)
        mask_BTS = mask[:, start:end, :end]
        blocks.append(_attend_block(q_BTHD[:, start:end], k_BKTD[:, :, :end], v_BKTD[:, :, :end], mask_BTS, scale))
    return torch.cat(blocks, dim=1)


def _attend_fused(q_BHTD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor, mask: AttentionMask, scale: float) -> Tensor:
    """Attend with torch's own kernels, (B, H, T, D)."""
    H, K = q_BHTD.shape[1], k_BKTD.shape[1]
    if isinstance(mask, BlockMask):
        if torch.compiler.is_compiling():
            made: Tensor = flex_attention(q_BHTD, k_BKTD, v_BKTD, block_mask=mask, scale=scale, enable_gqa=H > K)
            return made
        # a compiled layer run plain, to be compared with: without a compiler, blocks would hold the weights of all heads
        B, T = q_BHTD.shape[0], q_BHTD.shape[2]
        mask = create_mask(mask.mask_mod, B, None, T, T, device=q_BHTD.device)[:, 0]
    is_repeated = mask is not None and q_BHTD.device.type == "cuda" and H > K
    if is_repeated:  # with a mask no fused kernel of CUDA shares keys among heads
        k_BKTD, v_BKTD = (x.repeat_interleave(H // K, dim=1) for x in (k_BKTD, v_BKTD))
    return F.scaled_dot_product_attention(
        q_BHTD,
        k_BKTD,
        v_BKTD,
        attn_mask=None if mask is None else mask[:, None],
        is_causal=mask is None,
        scale=scale,
        enable_gqa=H > K and not is_repeated,
    )


def _attend_block(q_BTHD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, mask_BTS: Tensor, scale: float) -> Tensor:
    """Attend from some queries (B, T, H, D) over all of S keys."""
    B, T, H, D = q_BTHD.shape
    K, S = k_BKSD.shape[1], k_BKSD.shape[2]
    G = H // K
    q_BKGTD = q_BTHD.view(B, T, K, G, D).permute(0, 2, 3, 1, 4) * scale
    scores = q_BKGTD.reshape(B * K, G * T, D) @ k_BKSD.reshape(B * K, S, D).transpose(1, 2)
    scores_BKGTS = scores.view(B, K, G, T, S).float().masked_fill(~mask_BTS[:, None, None], -1e30)
    weights = torch.softmax(scores_BKGTS, dim=-1).to(v_BKSD.dtype)
    out = weights.view(B * K, G * T, S) @ v_BKSD.reshape(B * K, S, D)
    return out.view(B, K, G, T, D).permute(0, 3, 1, 2, 4).reshape(B, T, H, D)
