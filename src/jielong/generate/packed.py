"""The decoder packed for generation: it computes the same as `model/transformer`, in as few operations as possible.

A small model spends its time between operations, not in them. So `layers.py` folds norms and scales into the matrices,
and `matrices.py` stores these in the fastest layout. Tokens of all rows are flattened, so prompts of unequal length
need no padding in the products; only attention sees rows. On a CPU `native.py` computes all of it, if it was built,
except the attention of long prompts (`prefill_attention.py`). Elsewhere attention of single positions runs in float32,
since batched bf16 products of a few rows are slower. Parts that a model family lacks cost no operation.
"""
# N tokens of all rows, flattened, B rows, T positions, S key positions, H query heads, K key/value heads, G = H/K,
# D width of one head, C hidden width, E experts, V vocabulary.

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from jielong.generate import native
from jielong.generate.layers import PackedLayer, UnitNorm, Weights
from jielong.generate.matrices import KeptMatrix, NativeLinear, PackedLinear, store_in_place
from jielong.generate.native import NativeDecoder
from jielong.generate.prefill_attention import HIDDEN, PrefillAttention
from jielong.model.cache import Cache
from jielong.model.transformer import ModelConfig

FEW_TOKENS, SHORT = 16, 256
"""So few tokens, or pieces that end before so many positions, are read in C++ wholly; of more, the C++ multiplies
and `Stretches` attends."""


def _is_short(starts: Sequence[int], counts: Sequence[int]) -> bool:
    return sum(counts) <= FEW_TOKENS or max(map(sum, zip(starts, counts, strict=True))) <= SHORT


class RowAttention(Protocol):
    """The protocol of one pass's attention: over some positions of each row, or over chunks of prompts."""

    def __call__(self, layer: int, q_NHD: Tensor, kv_N2KD: Tensor) -> Tensor: ...


def hidden_mask(positions: Tensor, length: int, window: int, dtype: torch.dtype) -> Tensor:
    """Return an additive mask (*positions, length): `HIDDEN` at keys after a position or before its last `window` keys,
    0 elsewhere.
    """
    keys = torch.arange(length, device=positions.device)
    is_hidden = keys > positions[..., None]
    if window:
        is_hidden |= keys <= positions[..., None] - window
    return torch.zeros(is_hidden.shape, dtype=dtype, device=positions.device).masked_fill_(is_hidden, HIDDEN)


def layer_masks(config: ModelConfig, mask: Callable[[int], Tensor]) -> list[Tensor]:
    """Return the attention mask of each layer, computed once for each window width."""
    windows = [config.sliding_window if i in config.sliding_layers else 0 for i in range(config.num_hidden_layers)]
    masks = {window: mask(window) for window in dict.fromkeys(windows)}
    return [masks[window] for window in windows]


class GridAttention:
    """Attention of rows 0..B-1 of a cache, T new positions each (B, T), seeing the first `length` positions at most."""

    def __init__(self, cache: Cache, positions: Tensor, length: int, config: ModelConfig) -> None:
        B, T = positions.shape
        K, G = config.num_key_value_heads, config.num_attention_heads // config.num_key_value_heads
        self.cache, self.positions, self.length = cache, positions.flatten(), length
        self.rows = torch.arange(B, device=positions.device).repeat_interleave(T)
        self.shape = (B, T, K, G, config.head_dim)
        self.is_on_cpu = positions.device.type == "cpu"

        def mask(window: int) -> Tensor:
            mask_BTS = hidden_mask(positions, length, window, cache.layers[0].dtype)
            if not self.is_on_cpu:
                return mask_BTS[:, None, None].expand(B, 1, G, T, length).reshape(B, 1, G * T, length)
            return mask_BTS[:, None, None].expand(B, K, G, T, length).reshape(B * K, G * T, length)

        self.masks = layer_masks(config, mask)

    def __call__(self, layer: int, q_NHD: Tensor, kv_N2KD: Tensor) -> Tensor:
        self.cache.write(layer, self.rows, self.positions, kv_N2KD)
        B, T, K, G, D = self.shape
        kv = self.cache.layers[layer][:, :B, :, : self.length]
        q = q_NHD.view(self.shape).permute(0, 2, 3, 1, 4)
        if self.is_on_cpu:
            keys, values = kv.flatten(1, 2)
            scores = torch.baddbmm(self.masks[layer], q.reshape(B * K, G * T, D), keys.transpose(1, 2))
            mixed = torch.bmm(torch.softmax(scores, -1), values)
        else:  # the heads that share keys go as queries of one
            q = q.reshape(B, K, G * T, D)
            mixed = F.scaled_dot_product_attention(q, kv[0], kv[1], attn_mask=self.masks[layer], scale=1.0)
        return mixed.view(B, K, G, T, D).permute(0, 3, 1, 2, 4).reshape(B * T, -1)


class PackedModel:
    """A language model's weights in `kept`, or in `dtype`, on `device`, with the passes that an engine needs.

    Residual stream, norms, rotations and softmax are float32. `cache_dtype` is the dtype of its cache.
    """

    positions: Tensor

    def __init__(
        self,
        config: ModelConfig,
        dtype: torch.dtype,
        device: torch.device,
        length: int,
        kept: torch.dtype | None = None,
    ) -> None:
        self.config, self.dtype, self.device = config, dtype, device
        self.cache_dtype = torch.float32 if device.type == "cpu" else dtype
        self.embedding = torch.empty(config.vocab_size, config.hidden_size, device=device)
        library = native.library() if NativeDecoder.supports(config, device) else None
        self.library, self.linears = library, list[KeptMatrix]()
        self.input_dtype = dtype if library is None else torch.float32  # of the linear maps

        def linear() -> KeptMatrix:
            if library is None:
                self.linears.append(PackedLinear(dtype, device, kept))
            else:
                self.linears.append(NativeLinear(library, kept or dtype))
            return self.linears[-1]

        self.layers = [PackedLayer(config, i, linear, device) for i in range(config.num_hidden_layers)]
        self.head = linear()
        self.native: NativeDecoder | None = None
        self.is_dynamic = config.is_dynamic
        kinds = {layer.rope for layer in self.layers}
        positions = torch.arange(length, device=device)
        self.turns = {kind: self._turns_of(kind, positions) for kind in kinds if kind}
        self.hidden_norm = UnitNorm(config.hidden_size, config.rms_norm_eps, device)
        self.head_norm = UnitNorm(config.head_dim, config.rms_norm_eps, device)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Copy the weights of a `LanguageModel.state_dict()`; no memory is shared with the source."""
        config, model = self.config, Weights(state, "model.", self.config, self.device)
        for index, layer in enumerate(self.layers):
            layer.load(model.part(f"layers.{index}."))
        self.embedding.copy_(state["model.embed_tokens.weight"])
        head = self.embedding if config.tie_word_embeddings else state["lm_head.weight"].to(self.embedding)
        self.head.load(*model.fold_norm_into("norm", head, None))
        if config.embedding_scale != 1.0:
            self.embedding *= config.embedding_scale
        if config.learned_positions:
            store_in_place(self, "positions", model["embed_positions.weight"].clone())
        if self.library is not None:
            floors = (float(self.hidden_norm.floor), float(self.head_norm.floor))
            positions = self.positions if config.learned_positions else None
            self.native = NativeDecoder(
                self.library, config, self.layers, self.turns, floors, self.embedding, positions
            )

    @property
    def weight_bytes(self) -> int:
        """Return the bytes of the matrices of all layers and of the head, each once."""
        return sum(linear.weight.nbytes for linear in self.linears)

    def new_cache(self, slots: int, length: int) -> Cache:
        return Cache(self.config, slots, length, self.cache_dtype, self.device)

    def extend(self, cache: Cache, ids: Tensor, positions: Tensor, slots: Tensor, length: int) -> Tensor:
        """Process one more id for each of `slots`, in increasing order, and return their hidden states for `logits`.

        `ids` and `positions` are for the cache's rows 0 to the last of `slots`. Rows between may be computed too, if
        that is faster; their keys are stored at the position given for them.
        """
        if self.native is not None:
            return self.native.extend(cache, ids[slots], slots, positions[slots])
        hidden = self.grid(cache, ids[:, None], positions[:, None], length)
        return hidden if len(slots) == len(ids) else hidden[slots]

    def grid(self, cache: Cache, ids: Tensor, positions: Tensor, length: int) -> Tensor:
        """Process `ids` (B, T) at `positions` (B, T) of the first B slots, and return hidden states (B*T, C) for
        `logits`.

        A token sees its slot up to itself, `length` positions at most.
        """
        attending = GridAttention(cache, positions, length, self.config)
        lengths = attending.positions + 1 if self.is_dynamic else None
        return self._hidden(ids.flatten(), attending.positions, lengths, attending)

    def prefill(
        self,
        cache: Cache,
        ids: Tensor,
        slots: Sequence[int],
        starts: Sequence[int],
        counts: Sequence[int],
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        """Prefill N = sum(counts) ids, slot after slot, into the cache, and return hidden states (N, C) for `logits`.

        `lengths` are those of the whole prompts, of which this may be a chunk; `dynamic` rotary positions depend on
        them. By default the prompts end here.
        """
        if self.native is not None and _is_short(starts, counts):
            return self.native.prefill(cache, ids, slots, starts, counts)
        attending = PrefillAttention(cache, slots, starts, counts, self.config, self.dtype)
        lengths_N = None
        if self.is_dynamic:
            ends = lengths or [start + count for start, count in zip(starts, counts, strict=True)]
            lengths_N = torch.tensor(ends, device=self.device).repeat_interleave(
                torch.tensor(counts, device=self.device)
            )
        return self._hidden(ids, attending.positions, lengths_N, attending)

    def verify(
        self, cache: Cache, ids: Tensor, slots: Sequence[int], starts: Sequence[int], counts: Sequence[int]
    ) -> Tensor:
        """Process `counts[i]` ids in each slot from `starts[i]` on, and return hidden states (N, C) for `logits`.

        It gives the same as one `extend` for each id, in one pass; the ids may be wrong, such as drafts. Attention runs
        in the cache's dtype, as in `extend`.
        """
        if self.native is not None and _is_short(starts, counts):
            return self.native.prefill(cache, ids, slots, starts, counts)
        attending = PrefillAttention(cache, slots, starts, counts, self.config, self.cache_dtype)
        lengths = attending.positions + 1 if self.is_dynamic else None
        return self._hidden(ids, attending.positions, lengths, attending)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits (N, V) float32 of hidden states (N, C)."""
        return self.head(hidden.to(self.input_dtype)).float()

    def _hidden(self, ids: Tensor, positions: Tensor, lengths: Tensor | None, attend: RowAttention) -> Tensor:
        """Run tokens through all layers with the given attention."""
        config = self.config
        H, K, D = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        N = len(ids)
        turns = {kind: table[positions] for kind, table in self.turns.items()}
        if lengths is not None and "global" in turns:
            turns["global"] = self._turns_of("global", positions, lengths)
        x = self.embedding[ids]
        if config.learned_positions:
            x += self.positions[positions]
        for index, layer in enumerate(self.layers):
            heads = layer.qkv(self._normalised(x)).to(self.cache_dtype).view(N, H + 2 * K, D)
            if config.qk_norm or layer.rope:
                qk = heads[:, : H + K].float()
                if config.qk_norm:
                    qk = self.head_norm(qk) * layer.qk_gain
                if layer.rope:
                    torch.view_as_complex(qk.view(N, H + K, D // 2, 2)).mul_(turns[layer.rope])
                heads[:, : H + K] = qk
            mixed = layer.o(attend(index, heads[:, :H], heads[:, H:].view(N, 2, K, D)).to(self.input_dtype))
            x += self.hidden_norm(mixed.float()) * layer.after_attention if config.sandwich_norms else mixed
            mixed = layer.mlp(self._normalised(x))
            x += self.hidden_norm(mixed.float()) * layer.after_mlp if config.sandwich_norms else mixed
        return self._normalised(x)

    def _normalised(self, x: Tensor) -> Tensor:
        norm = self.hidden_norm.centred if self.config.norm == "layer" else self.hidden_norm
        return norm(x).to(self.input_dtype)

    def _turns_of(
        self, kind: Literal["", "global", "local"], positions: Tensor, lengths: Tensor | None = None
    ) -> Tensor:
        """Return (N, 1, D/2) complex: the factor of each pair of a head at `positions` (N,)."""
        cos, sin = self.config.rotary_tables(kind, positions[None], None if lengths is None else lengths[None])
        return torch.complex(cos, sin)[0, :, :, : self.config.head_dim // 2].contiguous()
