"""The decoder: a stack of identical layers between an embedding and a head, in the arrangement of Qwen3.

Token ids go in, a hidden state for each position comes out; a head turns it into logits over the vocabulary
(`LanguageModel`) or into one number (`ScalarModel`, for rewards and values). RMSNorm before each block, rotary positions,
grouped-query attention with normalised queries and keys, a SwiGLU feed-forward block, embeddings tied to the head. The
parameter names are Hugging Face's, so a saved directory opens there. Weights and the residual stream are float32; matrix
products run in `compute_dtype`.

A position sees those before it in its row that belong to the same segment, so several documents share a row without
seeing each other. Generating has a packed form of this arithmetic with a cache, in `generate.packed`.
"""
# B rows, T positions, S key positions, H query heads, K key/value heads, G = H/K, D width of one head, C hidden width,
# V vocabulary.

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jielong.config import at_least
from jielong.errors import ConfigError


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a decoder, in Hugging Face's words."""

    vocab_size: int = 4096
    hidden_size: int = 256
    intermediate_size: int = 768
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 64
    max_position_embeddings: int = 256
    rope_theta: float = 10_000.0
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = True
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        at_least(self, 1, "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        at_least(self, 1, "num_key_value_heads", "head_dim", "max_position_embeddings")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ConfigError(
                f"num_attention_heads {self.num_attention_heads} is not a multiple of "
                f"num_key_value_heads {self.num_key_value_heads}"
            )
        if self.head_dim % 2:
            raise ConfigError(f"head_dim {self.head_dim} is odd; rotary positions turn pairs, so it must be even")


class Linear(nn.Linear):
    """A bias-free linear map with a float32 weight that multiplies in the dtype of its input."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis, computed in float32 (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def rotary_tables(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """cos and sin, each (B, T, 1, D) float32, of the rotary embedding (Su et al. 2021), halves layout."""
    half = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim
    angles = positions[:, :, None].float() * (1.0 / theta**half)
    both = torch.cat([angles, angles], dim=-1)[:, :, None, :]
    return both.cos(), both.sin()


def rotate(x_BTHD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (i, i + D/2) by its position's angle; float32."""
    first, second = x_BTHD.chunk(2, dim=-1)
    return x_BTHD * cos + torch.cat([-second, first], dim=-1) * sin


def attend(q_BTHD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, mask_BTS: Tensor) -> Tensor:
    """Softmax attention where `mask_BTS` is True; (B, T, H, D). Softmax in float32.

    Short rows on a CPU multiply plain batches of matrices: there the fused kernel's backward pass is the slower one (up
    to about 512 positions). Longer ones, and GPUs, use the fused kernel.
    """
    B, T, H, D = q_BTHD.shape
    K, S = k_BKSD.shape[1], k_BKSD.shape[2]
    G = H // K
    if q_BTHD.device.type != "cpu" or T > 512:
        out_BHTD = F.scaled_dot_product_attention(
            q_BTHD.transpose(1, 2), k_BKSD, v_BKSD, attn_mask=mask_BTS[:, None], enable_gqa=G > 1
        )
        return out_BHTD.transpose(1, 2)
    q_BKGTD = q_BTHD.view(B, T, K, G, D).permute(0, 2, 3, 1, 4) * (1.0 / math.sqrt(D))
    scores = q_BKGTD.reshape(B * K, G * T, D) @ k_BKSD.reshape(B * K, S, D).transpose(1, 2)
    scores_BKGTS = scores.view(B, K, G, T, S).float().masked_fill(~mask_BTS[:, None, None], -1e30)
    weights = torch.softmax(scores_BKGTS, dim=-1).to(v_BKSD.dtype)
    out = weights.view(B * K, G * T, S) @ v_BKSD.reshape(B * K, S, D)
    return out.view(B, K, G, T, D).permute(0, 3, 1, 2, 4).reshape(B, T, H, D)


class Attention(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        C, D = config.hidden_size, config.head_dim
        self.head_dim = D
        self.q_proj = Linear(C, config.num_attention_heads * D)
        self.k_proj = Linear(C, config.num_key_value_heads * D)
        self.v_proj = Linear(C, config.num_key_value_heads * D)
        self.o_proj = Linear(config.num_attention_heads * D, C)
        self.q_norm = RMSNorm(D, config.rms_norm_eps)
        self.k_norm = RMSNorm(D, config.rms_norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask_BTS: Tensor) -> Tensor:
        B, T, _ = x.shape
        q_BTHD = self.q_proj(x).view(B, T, -1, self.head_dim)
        k_BTKD = self.k_proj(x).view(B, T, -1, self.head_dim)
        v_BTKD = self.v_proj(x).view(B, T, -1, self.head_dim)
        q_BTHD = rotate(self.q_norm(q_BTHD), cos, sin).to(x.dtype)
        k_BTKD = rotate(self.k_norm(k_BTKD), cos, sin).to(x.dtype)
        k_BKSD, v_BKSD = k_BTKD.transpose(1, 2), v_BTKD.transpose(1, 2)
        out_BTHD = attend(q_BTHD, k_BKSD, v_BKSD, mask_BTS)
        return self.o_proj(out_BTHD.reshape(B, T, -1))


class FeedForward(nn.Module):
    """down(silu(gate(x)) * up(x)), Shazeer 2020."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.intermediate_size)
        self.up_proj = Linear(config.hidden_size, config.intermediate_size)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = FeedForward(config)

    def forward(
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        mask_BTS: Tensor,
        dtype: torch.dtype,
    ) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x).to(dtype), cos, sin, mask_BTS)
        return x + self.mlp(self.post_attention_layernorm(x).to(dtype))


class Transformer(nn.Module):
    """Embedding, layers and final norm: ids (B, T) to hidden states (B, T, C) float32."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = torch.float32
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        inputs: Tensor,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Tensor:
        """Hidden states (B, T, C) float32 of `inputs` (B, T).

        `positions` (B, T) default to 0..T-1; `segments` (B, T) keep packed documents apart (equal numbers see each other).
        """
        B, T = inputs.shape
        if positions is None:
            positions = torch.arange(T, device=inputs.device).expand(B, T)
        mask_BTS = torch.ones(T, T, dtype=torch.bool, device=inputs.device).tril().expand(B, T, T)
        if segments is not None:
            mask_BTS = mask_BTS & (segments[:, :, None] == segments[:, None, :])
        cos, sin = rotary_tables(positions, self.config.head_dim, self.config.rope_theta)
        x = self.embed_tokens(inputs).float()
        for layer in self.layers:
            x = layer(x, cos, sin, mask_BTS, self.compute_dtype)
        return self.norm(x)


def initialise(module: nn.Module, config: ModelConfig, seed: int) -> None:
    """Normal weights of std `initializer_range`, those that write into the residual stream divided by sqrt(2 layers).

    (Radford et al. 2019, section 2.3.) The draw depends on the seed alone.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters(prefix="score" if isinstance(module, Linear) else ""):
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
        """Hidden states (B, T, C); ask `logits` for the positions that matter, which saves most of the head's work."""
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
        """Scores (B, T) float32."""
        return self.score(self.model(inputs, positions, segments)).squeeze(-1) - self.reward_offset


def fresh_language_model(config: ModelConfig, seed: int) -> LanguageModel:
    model = LanguageModel(config)
    initialise(model, config, seed)
    return model


def scalar_from_language_model(source: LanguageModel, seed: int) -> ScalarModel:
    """A scalar model on a copy of a language model's body, with a fresh head (std 1/sqrt(C+1), Ziegler et al. 2019)."""
    scalar = ScalarModel(source.config)
    initialise(scalar.score, source.config, seed)
    scalar.model.load_state_dict(source.model.state_dict())
    scalar.model.compute_dtype = source.model.compute_dtype
    return scalar
