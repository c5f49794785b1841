"""The decoder once more, packed for writing: the same function as `model/transformer`, in as few operations as it takes.

A small model spends its time between operations, not in them. So here the query, key and value maps are one product and
so are gate and up; the gains and shifts of the norms before them (and sqrt(C), and the scale of the scores) are
multiplied into the weights; the rows of queries and keys are reordered so that a rotary pair lies side by side and turns
as one complex number. Tokens of all rows travel in one flat line, so prompts of unequal length cost no padding in the
products; only attention sees rows. On a CPU all of it is done by `native.py` where that was built, but the attention of long
prompts, which is `stretches.py`'s; elsewhere the weights lie in oneDNN's own order, which in float32 is about twice as
fast as the plain call, and attention of single positions runs in float32, where batched bf16 products of a few rows are
slower. A piece that a family of models does not have costs it no operation.
"""
# N tokens of all rows in one line, B rows, T positions, S key positions, H query heads, K key/value heads, G = H/K,
# D width of one head, C hidden width, E experts, V vocabulary.

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from jielong.generate import native
from jielong.generate.native import NativeDecoder, NativeLinear
from jielong.generate.stretches import HIDDEN, Stretches
from jielong.model.cache import Cache
from jielong.model.quantised import int8_rows
from jielong.model.transformer import ModelConfig, activation, mix

FEW_TOKENS, SHORT = 16, 256
"""So few tokens, or stretches that end before so many positions, are read in C++ wholly; of more, the C++ multiplies
and `Stretches` attends."""


class PackedLinear:
    """x @ weight.T + bias with parameters kept for this alone; `load` replaces them.

    The weight is kept in `kept`, as int8 with one scale for a row; what it is multiplied with stays in `dtype`.
    """

    weight: Tensor

    def __init__(self, dtype: torch.dtype, device: torch.device, kept: torch.dtype | None = None) -> None:
        self.dtype, self.device, self.kept = dtype, device, kept or dtype
        self.is_reordered = device.type == "cpu" and self.kept == dtype and _reorders(dtype)
        # oneDNN's float32 call is slower for one row than the plain one, its bf16 call is not
        self.reordered_from = 2 if dtype == torch.float32 else 1
        self.bias: Tensor | None = None
        self.scale: Tensor | None = None

    def load(self, weight: Tensor, bias: Tensor | None = None) -> None:
        if bias is not None:
            keep(self, "bias", bias.to(self.dtype))
        if self.kept == torch.int8:
            weight, scale = int8_rows(weight)
            keep(self, "scale", scale)
        keep(self, "weight", weight.to(self.kept))
        if self.is_reordered:
            self.reordered = torch.ops.mkldnn._reorder_linear_weight(self.weight, 32)

    def __call__(self, x: Tensor) -> Tensor:
        if self.is_reordered and x.shape[0] >= self.reordered_from:
            return torch.ops.mkldnn._linear_pointwise(x, self.reordered, self.bias, "none", [], "")
        if self.scale is None:
            return F.linear(x, self.weight.to(x.dtype), self.bias)
        # small integers are exact in bfloat16; the scale comes after the product
        out = F.linear(x, self.weight.to(x.dtype)) * self.scale.to(x.dtype)
        return out if self.bias is None else out + self.bias


def _reorders(dtype: torch.dtype) -> bool:
    """Whether oneDNN takes weights in its own order here; in bfloat16 it refuses to without AVX512."""
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


Linear: TypeAlias = PackedLinear | NativeLinear


def _is_short(starts: Sequence[int], counts: Sequence[int]) -> bool:
    return sum(counts) <= FEW_TOKENS or max(map(sum, zip(starts, counts, strict=True))) <= SHORT


class Attending(Protocol):
    """How the tokens of one pass find the keys that they see: some positions of each row, or stretches of prompts."""

    def __call__(self, layer: int, q_NHD: Tensor, kv_N2KD: Tensor) -> Tensor: ...


def hidden_mask(positions: Tensor, length: int, window: int, dtype: torch.dtype) -> Tensor:
    """(*positions, length) `HIDDEN` at a key after the position or before the last `window` ones, 0 elsewhere."""
    keys = torch.arange(length, device=positions.device)
    is_hidden = keys > positions[..., None]
    if window:
        is_hidden |= keys <= positions[..., None] - window
    return torch.zeros(is_hidden.shape, dtype=dtype, device=positions.device).masked_fill_(is_hidden, HIDDEN)


def of_each_window(config: ModelConfig, mask: Callable[[int], Tensor]) -> list[Tensor]:
    """The mask of each layer, made once for each width of window."""
    windows = [config.sliding_window if i in config.sliding_layers else 0 for i in range(config.num_hidden_layers)]
    masks = {window: mask(window) for window in dict.fromkeys(windows)}
    return [masks[window] for window in windows]


class Grid:
    """Rows 0..B-1 of a cache, T new positions each (B, T), seeing the first `length` positions at most."""

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

        self.masks = of_each_window(config, mask)

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


def keep(owner: object, name: str, new: Tensor) -> None:
    """Make `new`, which is nobody else's, the owner's tensor of this name, in the memory of the old one: a captured graph
    reads there."""
    old: Tensor | None = getattr(owner, name, None)
    setattr(owner, name, new.contiguous() if old is None else old.copy_(new))


class Weights:
    """The float32 tensors of one module's part of a state, by the rest of their names."""

    def __init__(self, state: Mapping[str, Tensor], prefix: str, config: ModelConfig, device: torch.device) -> None:
        self.state, self.prefix, self.config, self.device = state, prefix, config, device

    def part(self, prefix: str) -> Weights:
        return Weights(self.state, self.prefix + prefix, self.config, self.device)

    def __getitem__(self, name: str) -> Tensor:
        return self.state[self.prefix + name].to(self.device, torch.float32)

    def get(self, name: str) -> Tensor | None:
        return self[name] if self.prefix + name in self.state else None

    def gain(self, norm: str) -> Tensor:
        return self[f"{norm}.weight"] + self.config.norm_offset if self.config.norm_offset else self[f"{norm}.weight"]

    def after(self, norm: str, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """A linear map behind a norm of hidden states, as one behind the division by the norm's length alone."""
        shift = self.get(f"{norm}.bias")
        if shift is not None:
            bias = weight @ shift if bias is None else bias + weight @ shift
        return weight * (self.gain(norm) * math.sqrt(self.config.hidden_size)), bias

    def stacked(self, *names: str) -> tuple[Tensor, Tensor | None]:
        """Several linear maps of the same input as one."""
        weight, bias = torch.cat([self[f"{name}.weight"] for name in names]), None
        if f"{self.prefix}{names[0]}.bias" in self.state:
            bias = torch.cat([self[f"{name}.bias"] for name in names])
        return weight, bias


class UnitNorm:
    """x / sqrt(sum of squares + width * eps) over the last axis: RMSNorm but for the sqrt(width), which is in the weights."""

    def __init__(self, width: int, eps: float, device: torch.device) -> None:
        self.eps, self.is_on_gpu = eps, device.type == "cuda"
        self.floor = torch.tensor(math.sqrt(width * eps), device=device)
        self.share = torch.full((width,), width**-0.5, device=device)

    def __call__(self, x: Tensor) -> Tensor:
        if self.is_on_gpu:  # one kernel
            return F.rms_norm(x, x.shape[-1:], self.share, self.eps)
        return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).hypot_(self.floor)

    def centred(self, x: Tensor) -> Tensor:
        """The same of x - mean(x)."""
        return (
            F.layer_norm(x, x.shape[-1:], self.share, eps=self.eps)
            if self.is_on_gpu
            else self(x - x.mean(-1, keepdim=True))
        )


class PackedFeedForward:
    """A feed-forward block, or one expert of several, with the norm before it."""

    def __init__(self, config: ModelConfig, linear: Callable[[], Linear]) -> None:
        self.names = ("gate_proj", "up_proj") if config.gated_mlp else ("up_proj",)
        self.hidden_act = config.hidden_act
        self.up, self.down = linear(), linear()

    def load(self, layer: Weights, norm: str, prefix: str = "mlp.") -> None:
        mlp = layer.part(prefix)
        self.up.load(*layer.after(norm, *mlp.stacked(*self.names)))
        self.down.load(*mlp.stacked("down_proj"))

    def __call__(self, x: Tensor) -> Tensor:
        if len(self.names) == 1:
            return self.down(activation(self.up(x), self.hidden_act))
        gate, up = self.up(x).chunk(2, dim=-1)
        return self.down(activation(gate, self.hidden_act).mul_(up))


class PackedMixture:
    """The router, in float32, and its experts."""

    def __init__(self, config: ModelConfig, linear: Callable[[], Linear], device: torch.device) -> None:
        self.num_chosen, self.is_normalised = config.num_experts_per_tok, config.norm_topk_prob
        self.router = PackedLinear(torch.float32, device)
        self.experts = [PackedFeedForward(config, linear) for _ in range(config.num_experts)]

    def load(self, layer: Weights, norm: str) -> None:
        self.router.load(*layer.after(norm, layer["mlp.gate.weight"], None))
        for index, expert in enumerate(self.experts):
            expert.load(layer, norm, f"mlp.experts.{index}.")

    def __call__(self, x: Tensor) -> Tensor:
        return mix(x, self.router(x.float()), self.experts, self.num_chosen, self.is_normalised)


class PackedLayer:
    """One layer's packed weights."""

    after_attention: Tensor
    after_mlp: Tensor

    def __init__(self, config: ModelConfig, index: int, linear: Callable[[], Linear], device: torch.device) -> None:
        self.config, self.rope = config, config.rope_of(index)
        self.qkv, self.o = linear(), linear()
        self.mlp = PackedMixture(config, linear, device) if config.num_experts else PackedFeedForward(config, linear)
        heads = config.num_attention_heads + config.num_key_value_heads
        self.qk_gain = torch.ones(heads, config.head_dim, device=device)

    def load(self, layer: Weights) -> None:
        config = self.config
        D, H, K = config.head_dim, config.num_attention_heads, config.num_key_value_heads
        # halves layout (i, i + D/2) to pairs side by side
        pairs = torch.arange(D, device=self.qk_gain.device).view(2, D // 2).T.flatten()
        rows = torch.arange((H + 2 * K) * D, device=self.qk_gain.device)
        rows[: (H + K) * D] = rows[: (H + K) * D].view(H + K, D)[:, pairs].flatten()
        weight, bias = layer.stacked("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
        weight, bias = weight[rows], None if bias is None else bias[rows]
        if config.qk_norm:
            # of the norm's sqrt(D) and the scores' scale, usually 1/sqrt(D), the queries take both, the keys one
            self.qk_gain[:H] = layer.gain("self_attn.q_norm")[pairs] * (math.sqrt(D) * config.score_scale)
            self.qk_gain[H:] = layer.gain("self_attn.k_norm")[pairs] * math.sqrt(D)
        else:
            weight[: H * D] *= config.score_scale
            if bias is not None:
                bias[: H * D] *= config.score_scale
        self.qkv.load(*layer.after("input_layernorm", weight, bias))
        self.o.load(*layer.stacked("self_attn.o_proj"))
        self.mlp.load(layer, "pre_feedforward_layernorm" if config.sandwich_norms else "post_attention_layernorm")
        if config.sandwich_norms:
            for name, norm in (("after_attention", "post_attention"), ("after_mlp", "post_feedforward")):
                keep(self, name, layer.gain(f"{norm}_layernorm") * math.sqrt(config.hidden_size))


class PackedModel:
    """A language model's weights in `kept`, or in `dtype`, on `device`, with the two passes that an engine needs.

    Residual stream, norms, rotary turns and softmax are float32. `cache_dtype` says in what dtype a cache for it is
    to be made.
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
        library = native.library() if NativeDecoder.knows(config, device) else None
        self.library, self.linears = library, list[Linear]()
        self.input_dtype = dtype if library is None else torch.float32  # of the linear maps

        def linear() -> Linear:
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
        """Take the weights of a `LanguageModel.state_dict()`, copying; nothing is shared with the source."""
        config, model = self.config, Weights(state, "model.", self.config, self.device)
        for index, layer in enumerate(self.layers):
            layer.load(model.part(f"layers.{index}."))
        self.embedding.copy_(state["model.embed_tokens.weight"])
        head = self.embedding if config.tie_word_embeddings else state["lm_head.weight"].to(self.embedding)
        self.head.load(*model.after("norm", head, None))
        if config.embedding_scale != 1.0:
            self.embedding *= config.embedding_scale
        if config.learned_positions:
            keep(self, "positions", model["embed_positions.weight"].clone())
        if self.library is not None:
            self.native = NativeDecoder(self, self.library)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the matrices of all layers and of the head, each once."""
        return sum(linear.weight.nbytes for linear in self.linears)

    def new_cache(self, slots: int, length: int) -> Cache:
        return Cache(self.config, slots, length, self.cache_dtype, self.device)

    def extend(self, cache: Cache, ids: Tensor, positions: Tensor, slots: Tensor, length: int) -> Tensor:
        """Hidden states for `logits` of `slots`, rising, after writing one more id into each of them.

        `ids` and `positions` are those of the cache's rows 0 to the last of `slots`; the rows between are computed along
        where that is faster, and a stray key lands on the position that is given for them.
        """
        if self.native is not None:
            return self.native.extend(cache, ids[slots], slots, positions[slots])
        hidden = self.grid(cache, ids[:, None], positions[:, None], length)
        return hidden if len(slots) == len(ids) else hidden[slots]

    def grid(self, cache: Cache, ids: Tensor, positions: Tensor, length: int) -> Tensor:
        """Hidden states (B*T, C) for `logits`, after writing `ids` (B, T) at `positions` (B, T) of the first B slots.

        A token sees its slot up to itself, `length` positions at most.
        """
        attending = Grid(cache, positions, length, self.config)
        lengths = attending.positions + 1 if self.is_dynamic else None
        return self._hidden(ids.flatten(), attending.positions, lengths, attending)

    def read(
        self,
        cache: Cache,
        ids: Tensor,
        slots: Sequence[int],
        starts: Sequence[int],
        counts: Sequence[int],
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        """Hidden states (N, C) for `logits`, after writing N = sum(counts) ids, slot after slot, into the cache.

        `lengths` are those of the whole prompts, of which this may be a part, as `dynamic` rotary positions depend on
        them; by default the prompts end here.
        """
        if self.native is not None and _is_short(starts, counts):
            return self.native.read(cache, ids, slots, starts, counts)
        attending = Stretches(cache, slots, starts, counts, self.config, self.dtype)
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
        """Hidden states (N, C) for `logits`, after writing `counts[i]` ids into each slot from `starts[i]` on.

        The same as one `extend` for each id, in one pass: of ids that may turn out wrong, such as drafts. Attention
        runs in the cache's dtype, as it does there.
        """
        if self.native is not None and _is_short(starts, counts):
            return self.native.read(cache, ids, slots, starts, counts)
        attending = Stretches(cache, slots, starts, counts, self.config, self.cache_dtype)
        lengths = attending.positions + 1 if self.is_dynamic else None
        return self._hidden(ids, attending.positions, lengths, attending)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (N, V) float32 of hidden states (N, C)."""
        return self.head(hidden.to(self.input_dtype)).float()

    def _hidden(self, ids: Tensor, positions: Tensor, lengths: Tensor | None, attend: Attending) -> Tensor:
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
        """(N, 1, D/2) complex: what each pair of a head at `positions` (N,) is multiplied with."""
        cos, sin = self.config.rotary_tables(kind, positions[None], None if lengths is None else lengths[None])
        return torch.complex(cos, sin)[0, :, :, : self.config.head_dim // 2].contiguous()
