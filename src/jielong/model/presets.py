"""Named shapes, and the cost of training a shape.

The small ones are ours; `gpt1`, `gpt2*` and `gpt3*` take depth, width and heads from the published tables (Radford et
al. 2018 and 2019, Brown et al. 2020 table 2.1) in our arrangement, with the feed-forward width at 8/3 of the hidden
width, so that three matrices hold as much as their two.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from jielong.errors import ConfigError, did_you_mean
from jielong.model.transformer import ModelConfig


def _published_shape(layers: int, width: int, heads: int, positions: int, vocab: int = 50_257) -> ModelConfig:
    """Build a config in our arrangement from the published depth, width and heads."""
    return ModelConfig(
        vocab_size=-(-vocab // 64) * 64,
        hidden_size=width,
        intermediate_size=-(-width * 8 // 3 // 64) * 64,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=width // heads,
        max_position_embeddings=positions,
    )


PRESETS: dict[str, ModelConfig] = {
    "1m": ModelConfig(
        vocab_size=2048, hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4, head_dim=32
    ),
    "s": ModelConfig(),
    "m": ModelConfig(
        vocab_size=8192,
        hidden_size=384,
        intermediate_size=1152,
        num_hidden_layers=7,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=512,
    ),
    "gpt1": _published_shape(12, 768, 12, 512, vocab=40_478),
    "gpt2": _published_shape(12, 768, 12, 1024),
    "gpt2-medium": _published_shape(24, 1024, 16, 1024),
    "gpt2-large": _published_shape(36, 1280, 20, 1024),
    "gpt2-xl": _published_shape(48, 1600, 25, 1024),
    "gpt3-1.3b": _published_shape(24, 2048, 16, 2048),
    "gpt3-6.7b": _published_shape(32, 4096, 32, 2048),
    "gpt3-13b": _published_shape(40, 5120, 40, 2048),
    "gpt3": _published_shape(96, 12_288, 96, 2048),
}


def preset(name: str, **changes: Any) -> ModelConfig:
    """Return the shape called `name`, with fields changed. Raises ConfigError with the closest name otherwise."""
    if name not in PRESETS:
        raise ConfigError(f"unknown model preset {name!r}; {did_you_mean(name, PRESETS)}")
    return dataclasses.replace(PRESETS[name], **changes)


def num_parameters(config: ModelConfig) -> int:
    """Count all parameters, tied ones once."""
    return _num_parameters(config, config.num_experts)


def num_active_parameters(config: ModelConfig) -> int:
    """Count the parameters that a token is multiplied with: its own experts, and of the embeddings the head alone."""
    C = config.hidden_size
    tables = 0 if config.tie_word_embeddings else config.vocab_size
    tables += config.max_position_embeddings if config.learned_positions else 0
    return _num_parameters(config, config.num_experts_per_tok) - tables * C


def _num_parameters(config: ModelConfig, num_experts: int) -> int:
    """Count all parameters, if each layer had so many experts."""
    C, D = config.hidden_size, config.head_dim
    Q, KV = config.num_attention_heads * D, config.num_key_value_heads * D
    norm = C * (2 if config.norm == "layer" else 1)
    attention = 2 * C * Q + 2 * C * KV + 2 * D * config.qk_norm
    attention += (Q + 2 * KV) * config.attention_bias + C * config.output_bias
    ups = 2 if config.gated_mlp else 1
    width = config.moe_intermediate_size if config.num_experts else config.intermediate_size
    feed_forward = (ups + 1) * C * width + (ups * width + C) * config.mlp_bias
    if config.num_experts:
        feed_forward = num_experts * feed_forward + C * config.num_experts
    layer = attention + feed_forward + norm * (4 if config.sandwich_norms else 2)
    embeddings = config.vocab_size * C * (1 if config.tie_word_embeddings else 2)
    embeddings += config.max_position_embeddings * C * config.learned_positions
    return config.num_hidden_layers * layer + embeddings + norm


def flops_per_token(config: ModelConfig, length: int, adapter: int = 0) -> float:
    """Return the training FLOPs (forward and backward) of one token: 6 N + 6 L T d (Chowdhery et al. 2022, appendix B,
    causal).

    N are the active parameters; T is less in layers with a window, where a token sees T/2 positions no longer. If an
    `adapter` of so many parameters is trained beside N that are frozen, nobody computes the latters' gradients: 4 N.
    """
    width = config.num_attention_heads * config.head_dim
    window = config.sliding_window or length
    near = 2 * window - window**2 / length if window < length else length
    slide = len(config.sliding_layers)
    positions = (config.num_hidden_layers - slide) * length + slide * near
    return (4.0 if adapter else 6.0) * num_active_parameters(config) + 6.0 * adapter + 6.0 * positions * width


def activation_bytes(config: ModelConfig, item: int, scores: int = 0) -> int:
    """Return the bytes kept for the backward pass per token and layer, with products of `item` bytes a number.

    `scores` are those that attention keeps of the token, which is none if it is fused.
    """
    C, D, inner = config.hidden_size, config.head_dim, config.intermediate_size
    H, K = config.num_attention_heads, config.num_key_value_heads
    per_token = 8 * C + 2 * item * C + 4 * (H + K) * D + item * (3 * H + 2 * K) * D + 4 * item * inner
    return per_token + (4 + item) * scores


@dataclass(frozen=True)
class Estimate:
    """The cost of training a shape."""

    parameters: int
    tokens: float
    flops: float
    memory_bytes: float
    seconds: float

    def __str__(self) -> str:
        hours = self.seconds / 3600
        time = f"{self.seconds:.0f} s" if hours < 1 else f"{hours:.1f} h" if hours < 48 else f"{hours / 24:,.0f} days"
        return (
            f"parameters  {self.parameters / 1e6:,.1f} M\ntokens      {self.tokens:,.0f}\nFLOPs       {self.flops:.2e}\n"
            f"memory      {self.memory_bytes / 1e9:,.2f} GB (weights, gradients and two Adam moments in float32, "
            f"activations of one row)\ntime        {time}"
        )


def estimate(config: ModelConfig, *, tokens: float | None = None, flops_per_s: float = 3e11) -> Estimate:
    """Estimate FLOPs, memory and time to train `config`.

    `tokens` defaults to 20 a parameter (Hoffmann et al. 2022); `flops_per_s` is what the machine sustains, by default
    that of two ordinary CPU cores in bf16. Activations: 34 C + 5 H T bytes a token and layer (Korthikanti et al. 2022).
    """
    if not 0 < flops_per_s < math.inf or (tokens is not None and not 0 < tokens < math.inf):
        raise ConfigError(f"an estimate needs tokens and FLOP/s above 0, not {tokens} and {flops_per_s}")
    parameters = num_parameters(config)
    tokens = 20.0 * parameters if tokens is None else tokens
    T = config.max_position_embeddings
    flops = flops_per_token(config, T) * tokens
    activations = T * config.num_hidden_layers * (34 * config.hidden_size + 5 * config.num_attention_heads * T)
    return Estimate(parameters, tokens, flops, 16.0 * parameters + activations, flops / flops_per_s)
