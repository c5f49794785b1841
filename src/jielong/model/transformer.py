"""The decoder: a stack of identical layers between an embedding and a head; a `ModelConfig` says in which arrangement.

Token ids go in, a hidden state for each position comes out; a head turns it into logits over the vocabulary
(`LanguageModel`) or into one number (`ScalarModel`, for rewards and values). The arrangement of our own models is that of
Qwen3: RMSNorm before each block, rotary positions, grouped-query attention with normalised queries and keys, a SwiGLU
feed-forward block, embeddings tied to the head. The other families (`model.families`) are made of the same few pieces
with others switched on: biases, LayerNorm, norms after the blocks, windows, experts. The parameter names are Hugging
Face's. Weights and the residual stream are float32; matrix products run in `compute_dtype`.

A position sees those before it in its row that belong to the same segment, so several documents share a row without
seeing each other. Generating has a packed form of this arithmetic with a cache, in `generate.packed`.
"""
# B rows, T positions, N = B*T tokens in one line, H query heads, K key/value heads, D width of
# one head, C hidden width, E experts, V vocabulary.

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jielong.model.attention import AttentionMask, attend, attention_masks
from jielong.model.config import ModelConfig as ModelConfig
from jielong.model.rotary import RopeScaling as RopeScaling
from jielong.model.rotary import rotate

LayerInputs = tuple[tuple[Tensor, Tensor] | None, AttentionMask]
"""Rotary tables (cos, sin) of a layer's positions, None without any, and its attention mask."""


class Linear(nn.Linear):
    """A linear map with float32 parameters that multiplies in the dtype of its input."""

    def __init__(self, in_features: int, out_features: int, bias: bool = False) -> None:
        super().__init__(in_features, out_features, bias=bias)

    def reset_parameters(self) -> None:
        """Initialise as torch does, but not on the meta device: there it would load the compiler, which takes a second."""
        if not self.weight.is_meta:
            super().reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


class Embedding(nn.Embedding):
    """A table of vectors (count, C)."""

    def reset_parameters(self) -> None:
        """Draw the weights anew, as `Linear` does."""
        if not self.weight.is_meta:
            super().reset_parameters()


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * (weight + offset) over the last axis, in float32 (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, eps: float, offset: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), 1.0 - offset))
        self.eps, self.offset = eps, offset

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        gain = self.weight + self.offset if self.offset else self.weight
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * gain


class LayerNorm(nn.LayerNorm):
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis, in float32 (Ba et al. 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float())


def norm_of(config: ModelConfig) -> RMSNorm | LayerNorm:
    """Build the norm of hidden states that the config names, RMSNorm or LayerNorm."""
    if config.norm == "layer":
        return LayerNorm(config.hidden_size, config.rms_norm_eps)
    return RMSNorm(config.hidden_size, config.rms_norm_eps, config.norm_offset)


def activation(x: Tensor, hidden_act: str) -> Tensor:
    return F.silu(x) if hidden_act == "silu" else F.gelu(x, approximate="tanh")


class Attention(nn.Module):
    """Grouped-query attention of a layer: projections of queries, keys and values, and the output's."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        C, D = config.hidden_size, config.head_dim
        self.head_dim, self.scale, self.is_normalised = D, config.score_scale, config.qk_norm
        self.q_proj = Linear(C, config.num_attention_heads * D, config.attention_bias)
        self.k_proj = Linear(C, config.num_key_value_heads * D, config.attention_bias)
        self.v_proj = Linear(C, config.num_key_value_heads * D, config.attention_bias)
        self.o_proj = Linear(config.num_attention_heads * D, C, config.output_bias)
        if config.qk_norm:
            self.q_norm = RMSNorm(D, config.rms_norm_eps, config.norm_offset)
            self.k_norm = RMSNorm(D, config.rms_norm_eps, config.norm_offset)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor] | None, mask: AttentionMask) -> Tensor:
        """Attend within the rows of x (B, T, C), already normalised; the result is (B, T, C) in the dtype of x."""
        B, T, _ = x.shape
        q_BTHD = self.q_proj(x).view(B, T, -1, self.head_dim)
        k_BTKD = self.k_proj(x).view(B, T, -1, self.head_dim)
        v_BTKD = self.v_proj(x).view(B, T, -1, self.head_dim)
        if self.is_normalised:
            q_BTHD, k_BTKD = self.q_norm(q_BTHD), self.k_norm(k_BTKD)
        if rotary is not None:
            q_BTHD, k_BTKD = rotate(q_BTHD, *rotary), rotate(k_BTKD, *rotary)
        out_BTHD = attend(q_BTHD.to(x.dtype), k_BTKD.to(x.dtype), v_BTKD, mask, self.scale)
        return self.o_proj(out_BTHD.reshape(B, T, -1))


class FeedForward(nn.Module):
    """down(act(gate(x)) * up(x)), Shazeer 2020, or without a gate down(act(up(x)))."""

    def __init__(self, config: ModelConfig, width: int) -> None:
        super().__init__()
        self.hidden_act, self.is_gated = config.hidden_act, config.gated_mlp
        if config.gated_mlp:
            self.gate_proj = Linear(config.hidden_size, width, config.mlp_bias)
        self.up_proj = Linear(config.hidden_size, width, config.mlp_bias)
        self.down_proj = Linear(width, config.hidden_size, config.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.is_gated:
            return self.down_proj(activation(self.gate_proj(x), self.hidden_act) * self.up_proj(x))
        return self.down_proj(activation(self.up_proj(x), self.hidden_act))


class Mixture(nn.Module):
    """A mixture of experts: feed-forward blocks, of which a router picks a few for each token."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_chosen, self.is_normalised = config.num_experts_per_tok, config.norm_topk_prob
        self.gate = Linear(config.hidden_size, config.num_experts)
        self.experts = nn.ModuleList(
            FeedForward(config, config.moe_intermediate_size) for _ in range(config.num_experts)
        )

    def forward(self, x: Tensor) -> Tensor:
        x_NC = x.view(-1, x.shape[-1])
        scores_NE = self.gate(x_NC.float())  # float32: a rounded score would choose another expert
        return mix(x_NC, scores_NE, self.experts, self.num_chosen, self.is_normalised).view(x.shape)


def mix(
    x_NC: Tensor, scores_NE: Tensor, experts: Iterable[Callable[[Tensor], Tensor]], num_chosen: int, is_normalised: bool
) -> Tensor:
    """Return (N, C) float32: for each token its best `num_chosen` experts' outputs, weighted by the softmax of their
    scores.

    `is_normalised` makes the chosen experts' weights sum to 1. Each expert is called once, with all its tokens.
    """
    shares_Nk, chosen_Nk = torch.softmax(scores_NE.float(), dim=-1).topk(num_chosen, dim=-1)
    if is_normalised:
        shares_Nk = shares_Nk / shares_Nk.sum(-1, keepdim=True)
    chosen = chosen_Nk.flatten()
    by_expert = chosen.argsort(stable=True)
    counts = torch.bincount(chosen, minlength=scores_NE.shape[1]).tolist()
    parts = x_NC[by_expert // num_chosen].split(counts)
    # in training an idle expert computes nothing, too, so that its gradient is 0 and not missing
    is_training = torch.is_grad_enabled()
    answers = torch.cat([f(part) for f, part in zip(experts, parts, strict=True) if len(part) or is_training])
    back = torch.empty_like(by_expert)
    back[by_expert] = torch.arange(len(back), device=back.device)
    return (answers[back].view(*chosen_Nk.shape, -1) * shares_Nk[:, :, None]).sum(1)


class Layer(nn.Module):
    """One layer of the decoder: attention and a feed-forward block, each behind a norm and added to the residual
    stream.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.is_sandwich = config.sandwich_norms
        self.input_layernorm = norm_of(config)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = norm_of(config)
        if config.sandwich_norms:
            self.pre_feedforward_layernorm = norm_of(config)
            self.post_feedforward_layernorm = norm_of(config)
        self.mlp = Mixture(config) if config.num_experts else FeedForward(config, config.intermediate_size)

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor] | None, mask: AttentionMask, dtype: torch.dtype
    ) -> Tensor:
        """Return the residual stream (B, T, C) float32 after this layer; matrix products are made in `dtype`."""
        mixed = self.self_attn(self.input_layernorm(x).to(dtype), rotary, mask)
        if self.is_sandwich:
            x = x + self.post_attention_layernorm(mixed)
            return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x).to(dtype)))
        x = x + mixed
        return x + self.mlp(self.post_attention_layernorm(x).to(dtype))


class Transformer(nn.Module):
    """Embedding, layers and final norm: ids (B, T) to hidden states (B, T, C) float32."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = torch.float32
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size)
        if config.learned_positions:
            self.embed_positions = Embedding(config.max_position_embeddings, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = norm_of(config)

    def forward(
        self,
        inputs: Tensor,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Tensor:
        """Return hidden states (B, T, C) float32 of token ids `inputs` (B, T).

        `positions` (B, T) default to 0..T-1. `segments` (B, T) keep packed documents apart: equal numbers see each
        other.
        """
        config = self.config
        B, T = inputs.shape
        if positions is None:
            positions = torch.arange(T, device=inputs.device).expand(B, T)
        x = self.embed_tokens(inputs).float()
        if config.embedding_scale != 1.0:
            x = x * config.embedding_scale
        if config.learned_positions:
            x = x + self.embed_positions(positions)
        for layer, (rotary, seen) in zip(self.layers, self.layer_inputs(positions, segments), strict=True):
            x = layer(x, rotary, seen, self.compute_dtype)
        return self.norm(x)

    def layer_inputs(self, positions: Tensor, segments: Tensor | None) -> list[LayerInputs]:
        """Return the rotary tables and the attention mask of each layer."""
        config = self.config
        kinds = [config.rope_of(layer) for layer in range(config.num_hidden_layers)]
        rotary = {kind: config.rotary_tables(kind, positions) if kind else None for kind in dict.fromkeys(kinds)}
        windows = [config.sliding_window if layer in config.sliding_layers else 0 for layer in range(len(kinds))]
        is_compiled = self.layers[0]._compiled_call_impl is not None
        seen = attention_masks(positions, segments, windows, self.compute_dtype, config.head_dim, is_compiled)
        return [(rotary[kind], seen[window]) for kind, window in zip(kinds, windows, strict=True)]


def initialise(module: nn.Module, config: ModelConfig, seed: int) -> None:
    """Draw normal weights of std `initializer_range`; those that write into the residual stream are divided by sqrt(2
    layers).

    See Radford et al. 2019, section 2.3. Biases are 0. The draw depends on the seed alone.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters(prefix="score" if isinstance(module, Linear) else ""):
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        if parameter.dim() < 2:
            continue
        std = config.initializer_range
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            std /= math.sqrt(2 * config.num_hidden_layers)
        if name.endswith("score.weight"):
            std = 1.0 / math.sqrt(config.hidden_size + 1)
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)


class LanguageModel(nn.Module):
    """A transformer with a head over the vocabulary."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Transformer(config)
        if not config.tie_word_embeddings:
            self.lm_head = Linear(config.hidden_size, config.vocab_size)

    def forward(
        self,
        inputs: Tensor,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Tensor:
        """Return hidden states (B, T, C); `logits` then computes the head only if it is needed."""
        return self.model(inputs, positions, segments)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of hidden states (..., C), in the compute dtype."""
        dtype = self.model.compute_dtype
        return F.linear(hidden.to(dtype), self.head.to(dtype))

    @property
    def head(self) -> Tensor:
        """The head's weight (V, C) float32; with tied embeddings it is theirs."""
        return self.model.embed_tokens.weight if self.config.tie_word_embeddings else self.lm_head.weight


class ScalarModel(nn.Module):
    """A transformer with one number a position: a reward (read at the last token) or a value (read at each).

    `reward_offset` is subtracted, so that reference answers have mean reward 0; it lies in config.json.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Transformer(config)
        self.score = Linear(config.hidden_size, 1)
        self.reward_offset = 0.0

    def forward(self, inputs: Tensor, positions: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """Return scores (B, T) float32."""
        return self.score(self.model(inputs, positions, segments)).squeeze(-1) - self.reward_offset


def fresh_language_model(config: ModelConfig, seed: int) -> LanguageModel:
    """Build a language model with random weights drawn by the seed."""
    model = LanguageModel(config)
    initialise(model, config, seed)
    return model


def scalar_from_language_model(source: LanguageModel, seed: int) -> ScalarModel:
    """Build a scalar model on a copy of a language model's body, with a fresh head (std 1/sqrt(C+1), Ziegler et al.
    2019).
    """
    scalar = ScalarModel(source.config)
    initialise(scalar.score, source.config, seed)
    scalar.model.load_state_dict(source.model.state_dict())
    scalar.model.compute_dtype = source.model.compute_dtype
    return scalar
