"""The decoder once more, packed for writing: the same function as `model/transformer`, in as few operations as it takes.

A small model spends its time between operations, not in them. So here the query, key and value maps are one product and
so are gate and up; the gains of the norms before them (and sqrt(C), and the softmax scale) are multiplied into the
weights; the rows of queries and keys are reordered so that a rotary pair lies side by side and turns as one complex
number. Tokens of all rows travel in one flat line, so prompts of unequal length cost no padding in the products; only
attention sees rows. On a CPU the weights lie in oneDNN's own order, which in float32 is about twice as fast as the
plain call, and attention of single positions runs in float32, where batched bf16 products of a few rows are slower.
"""
# N tokens of all rows in one line, B rows, T positions, S key positions, H query heads, K key/value heads, G = H/K,
# D width of one head, C hidden width, V vocabulary.

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from jielong.model.cache import Cache
from jielong.model.transformer import ModelConfig, rotary_tables

HIDDEN = -1e30
"""Added to the score of a key that a query must not see; finite in bf16 too."""


class PackedLinear:
    """x @ weight.T with a weight kept for this alone; `load` replaces it."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype = dtype
        self.is_reordered = device.type == "cpu" and torch.backends.mkldnn.is_available()
        # oneDNN's float32 call is slower for one row than the plain one, its bf16 call is not
        self.reordered_from = 2 if dtype == torch.float32 else 1

    def load(self, weight: Tensor) -> None:
        self.weight = weight.to(self.dtype).contiguous()
        if self.is_reordered:
            self.reordered = torch.ops.mkldnn._reorder_linear_weight(self.weight, 32)

    def __call__(self, x: Tensor) -> Tensor:
        if self.is_reordered and x.shape[0] >= self.reordered_from:
            return torch.ops.mkldnn._linear_pointwise(x, self.reordered, None, "none", [], "")
        return F.linear(x, self.weight)


class Attending(Protocol):
    """How the tokens of one pass find the keys that they see: one position a row, or stretches of prompts."""

    def __call__(self, layer: int, q_NHD: Tensor, kv_N2KD: Tensor) -> Tensor: ...


class OnePosition:
    """Rows 0..B-1 of a cache, one new position each, seeing the first `length` positions at most."""

    def __init__(self, cache: Cache, positions: Tensor, length: int, config: ModelConfig) -> None:
        B, K = len(positions), config.num_key_value_heads
        self.cache, self.positions, self.length = cache, positions, length
        self.rows = torch.arange(B, device=positions.device)
        self.shape = (B * K, config.num_attention_heads // K, config.head_dim)
        is_hidden = torch.arange(length, device=positions.device) > positions[:, None]
        mask_BS = torch.zeros(B, length, dtype=cache.layers[0].dtype, device=positions.device)
        mask_BS.masked_fill_(is_hidden, HIDDEN)
        self.mask = mask_BS[:, None, None].expand(B, K, self.shape[1], length).reshape(B * K, self.shape[1], length)

    def __call__(self, layer: int, q_NHD: Tensor, kv_N2KD: Tensor) -> Tensor:
        self.cache.write(layer, self.rows, self.positions, kv_N2KD)
        kv = self.cache.layers[layer][:, : len(self.rows), :, : self.length].flatten(1, 2)
        scores = torch.baddbmm(self.mask, q_NHD.reshape(self.shape), kv[0].transpose(1, 2))
        return torch.bmm(torch.softmax(scores, -1), kv[1]).view(len(self.rows), -1)


class Stretches:
    """Of each of B slots, `counts[i]` new positions from `starts[i]` on; the flat line holds them one after the other."""

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
        B, T, self.length = len(slots), max(counts), max(s + n for s, n in zip(starts, counts, strict=True))
        K = config.num_key_value_heads
        self.cache, self.dtype = cache, dtype
        self.shape = (B, T, K, config.num_attention_heads // K, config.head_dim)
        self.slots = torch.tensor(slots, device=device)
        counts_B = torch.tensor(counts, device=device)
        steps_T = torch.arange(T, device=device)
        is_real_BT = steps_T < counts_B[:, None]
        positions_BT = torch.tensor(starts, device=device)[:, None] + steps_T
        self.positions = positions_BT[is_real_BT]
        self.slot_of_token = self.slots.repeat_interleave(counts_B)
        # the flat token at each (row, step), 0 where there is none; and back
        self.flat_to_rows = torch.zeros(B, T, dtype=torch.long, device=device)
        self.flat_to_rows[is_real_BT] = torch.arange(len(self.positions), device=device)
        self.rows_to_flat = is_real_BT.flatten().nonzero().squeeze(1)
        mask_BTS = torch.zeros(B, T, self.length, dtype=dtype, device=device)
        mask_BTS.masked_fill_(torch.arange(self.length, device=device) > positions_BT[:, :, None], HIDDEN)
        self.mask = mask_BTS[:, None, None]

    def __call__(self, layer: int, q_NHD: Tensor, kv_N2KD: Tensor) -> Tensor:
        B, T, K, G, D = self.shape
        self.cache.write(layer, self.slot_of_token, self.positions, kv_N2KD)
        kv = self.cache.layers[layer][:, self.slots, :, : self.length].to(self.dtype).flatten(1, 2)
        q_BTKGD = q_NHD.to(self.dtype)[self.flat_to_rows].view(self.shape)
        scores = q_BTKGD.permute(0, 2, 3, 1, 4).reshape(B * K, G * T, D) @ kv[0].transpose(1, 2)
        weights = torch.softmax(scores.view(B, K, G, T, -1).add_(self.mask), -1)
        out = torch.bmm(weights.view(B * K, G * T, -1), kv[1]).view(B, K, G, T, D)
        return out.permute(0, 3, 1, 2, 4).reshape(B * T, -1)[self.rows_to_flat]


class PackedLayer:
    """One layer's packed weights."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype, device: torch.device) -> None:
        self.qkv, self.o = PackedLinear(dtype, device), PackedLinear(dtype, device)
        self.gate_up, self.down = PackedLinear(dtype, device), PackedLinear(dtype, device)
        heads = config.num_attention_heads + config.num_key_value_heads
        self.qk_gain = torch.ones(heads, config.head_dim, device=device)

    def load(self, state: Mapping[str, Tensor], prefix: str, config: ModelConfig) -> None:
        """Take the weights whose names begin with `prefix`."""
        C, D = config.hidden_size, config.head_dim
        H, K = config.num_attention_heads, config.num_key_value_heads
        weight = {name: state[f"{prefix}{name}.weight"].to(self.qk_gain) for name in LAYER_NAMES}
        # halves layout (i, i + D/2) to pairs side by side
        pairs = torch.arange(D, device=self.qk_gain.device).view(2, D // 2).T.flatten()
        q = weight["self_attn.q_proj"].view(H, D, C)[:, pairs].reshape(H * D, C)
        k = weight["self_attn.k_proj"].view(K, D, C)[:, pairs].reshape(K * D, C)
        before_attention = weight["input_layernorm"] * math.sqrt(C)
        before_mlp = weight["post_attention_layernorm"] * math.sqrt(C)
        self.qkv.load(torch.cat([q, k, weight["self_attn.v_proj"]]) * before_attention)
        self.o.load(weight["self_attn.o_proj"])
        self.gate_up.load(torch.cat([weight["mlp.gate_proj"], weight["mlp.up_proj"]]) * before_mlp)
        self.down.load(weight["mlp.down_proj"])
        # the norm's sqrt(D) and the scores' 1/sqrt(D) cancel for the queries
        self.qk_gain[:H] = weight["self_attn.q_norm"][pairs]
        self.qk_gain[H:] = weight["self_attn.k_norm"][pairs] * math.sqrt(D)


LAYER_NAMES = (
    *("input_layernorm", "post_attention_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    *("self_attn.o_proj", "self_attn.q_norm", "self_attn.k_norm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
)


class PackedModel:
    """A language model's weights in `dtype` on `device`, with the two passes that an engine needs.

    Residual stream, norms, rotary turns and softmax are float32. `cache_dtype` says in what dtype a cache for it is
    to be made.
    """

    def __init__(self, config: ModelConfig, dtype: torch.dtype, device: torch.device, length: int) -> None:
        self.config, self.dtype, self.device = config, dtype, device
        self.cache_dtype = torch.float32 if device.type == "cpu" else dtype
        self.embedding = torch.empty(config.vocab_size, config.hidden_size, device=device)
        self.layers = [PackedLayer(config, dtype, device) for _ in range(config.num_hidden_layers)]
        self.head = PackedLinear(dtype, device)
        cos, sin = rotary_tables(torch.arange(length, device=device)[None], config.head_dim, config.rope_theta)
        self.turns = torch.complex(cos, sin)[0, :, :, : config.head_dim // 2].contiguous()
        # hypot(|x|, sqrt(C eps)) = sqrt(sum of squares + C eps): RMSNorm's divisor, but for the sqrt(C) in the weights
        self.hidden_floor = torch.tensor(math.sqrt(config.hidden_size * config.rms_norm_eps), device=device)
        self.head_floor = torch.tensor(math.sqrt(config.head_dim * config.rms_norm_eps), device=device)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights of a `LanguageModel.state_dict()`, copying; nothing is shared with the source."""
        config = self.config
        self.embedding.copy_(state["model.embed_tokens.weight"])
        for index, layer in enumerate(self.layers):
            layer.load(state, f"model.layers.{index}.", config)
        head = self.embedding if config.tie_word_embeddings else state["lm_head.weight"].to(self.embedding)
        self.head.load(head * state["model.norm.weight"].to(self.embedding) * math.sqrt(config.hidden_size))

    def new_cache(self, slots: int, length: int) -> Cache:
        return Cache(self.config, slots, length, self.cache_dtype, self.device)

    def extend(self, cache: Cache, ids: Tensor, positions: Tensor, length: int) -> Tensor:
        """Hidden states (B, C) for `logits`, after writing one more id into each of the cache's rows 0..B-1."""
        return self._hidden(ids, positions, OnePosition(cache, positions, length, self.config))

    def read(
        self, cache: Cache, ids: Tensor, slots: Sequence[int], starts: Sequence[int], counts: Sequence[int]
    ) -> Tensor:
        """Hidden states (N, C) for `logits`, after writing N = sum(counts) ids, slot after slot, into the cache."""
        attending = Stretches(cache, slots, starts, counts, self.config, self.dtype)
        return self._hidden(ids, attending.positions, attending)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (N, V) float32 of hidden states (N, C)."""
        return self.head(hidden).float()

    def _hidden(self, ids: Tensor, positions: Tensor, attend: Attending) -> Tensor:
        config, dtype = self.config, self.dtype
        H, K, D = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        N = len(ids)
        turns = self.turns[positions]
        x = self.embedding[ids]
        for index, layer in enumerate(self.layers):
            heads = layer.qkv(self._normalised(x)).to(self.cache_dtype).view(N, H + 2 * K, D)
            qk = heads[:, : H + K].float()
            qk = qk / torch.linalg.vector_norm(qk, dim=-1, keepdim=True).hypot_(self.head_floor) * layer.qk_gain
            torch.view_as_complex(qk.view(N, H + K, D // 2, 2)).mul_(turns)
            heads[:, : H + K] = qk
            mixed = attend(index, heads[:, :H], heads[:, H:].view(N, 2, K, D))
            x += layer.o(mixed.to(dtype))
            gate, up = layer.gate_up(self._normalised(x)).chunk(2, dim=-1)
            x += layer.down(F.silu(gate).mul_(up))
        return self._normalised(x)

    def _normalised(self, x: Tensor) -> Tensor:
        return (x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).hypot_(self.hidden_floor)).to(self.dtype)
