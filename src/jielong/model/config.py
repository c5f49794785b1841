"""The shape of a decoder: how wide, how deep, and which of the few pieces that all families share are switched on.

The words are Hugging Face's. A config says what a model is and computes nothing; `model.transformer` builds the model,
`model.families` reads configs of others, and `model.presets` has sizes of ours.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from jielong.config import at_least, at_most
from jielong.errors import ConfigError
from jielong.model.rotary import RopeScaling, rotary_tables

MAX_LAYERS = 4096


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a decoder, in Hugging Face's words."""

    vocab_size: int = 4096
    """Ids that the model knows; in training, those of the tokenizer instead."""
    hidden_size: int = 256
    """The width of the model."""
    intermediate_size: int = 768
    """The width inside the feed-forward blocks."""
    num_hidden_layers: int = 4
    """Layers: the depth of the model."""
    num_attention_heads: int = 4
    """Heads of attention; each is `head_dim` wide."""
    num_key_value_heads: int = 2
    """Heads of keys and values, each shared by several heads of attention."""
    head_dim: int = 64
    """The width of one head."""
    max_position_embeddings: int = 256
    """The longest text, in tokens, that the model takes: prompt and answer together."""
    rope_theta: float = 10_000.0
    """The base of the rotary positions; larger for longer texts."""
    rms_norm_eps: float = 1e-6
    """That of LayerNorm too."""
    tie_word_embeddings: bool = True
    """Whether the output layer shares the weights of the embedding."""
    initializer_range: float = 0.02
    """The deviation of random weights at the start."""

    model_type: str = "qwen3"
    """The family that a checkpoint of this model is written as; see `model.families`."""
    hidden_act: Literal["silu", "gelu_pytorch_tanh"] = "silu"
    """The activation of the feed-forward blocks."""
    norm: Literal["rms", "layer"] = "rms"
    """RMSNorm, or LayerNorm with a bias."""
    norm_offset: float = 0.0
    """What an RMSNorm adds to its weight: 1 in Gemma."""
    qk_norm: bool = True
    """Whether queries and keys are normed."""
    attention_bias: bool = False
    """Of queries, keys and values; `output_bias` is that of the map after them."""
    output_bias: bool = False
    """A bias in the map after attention."""
    mlp_bias: bool = False
    """Biases in the feed-forward blocks."""
    gated_mlp: bool = True
    """down(act(gate) * up); otherwise down(act(up))."""
    sandwich_norms: bool = False
    """A norm after each block too, before its result is added."""
    learned_positions: bool = False
    """A table of positions instead of rotary ones."""
    rope_scaling: RopeScaling | None = None
    sliding_window: int = 0
    """Positions, itself included, that a token sees in the layers of `sliding_layers`; 0 is all."""
    sliding_layers: tuple[int, ...] = ()
    """Layers, counted from 0, that see `sliding_window` positions alone."""
    local_rope_theta: float = 0.0
    """The theta of `sliding_layers`, which then are not scaled; 0 is `rope_theta`, scaled like the others."""
    no_rope_layers: tuple[int, ...] = ()
    """Layers, counted from 0, without positions."""
    embedding_scale: float = 1.0
    """What embeddings are multiplied with."""
    query_scale: float = 0.0
    """What the scores are multiplied with; 0 is 1/sqrt(head_dim)."""
    num_experts: int = 0
    """Feed-forward blocks of width `moe_intermediate_size` in each layer, of which a token uses `num_experts_per_tok`."""
    num_experts_per_tok: int = 0
    """Experts that each token goes through."""
    moe_intermediate_size: int = 0
    """The width inside one expert."""
    norm_topk_prob: bool = True
    """Whether the weights of a token's experts add up to 1."""
    router_aux_loss_coef: float = 0.001
    """How much the uneven use of experts adds to the loss when they are trained; see `train.balance`."""

    def __post_init__(self) -> None:
        at_least(self, 1, "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        at_least(self, 1, "num_key_value_heads", "head_dim", "max_position_embeddings")
        at_least(self, 0, "sliding_window", "num_experts", "num_experts_per_tok", "moe_intermediate_size")
        at_least(self, 0, "router_aux_loss_coef", "rope_theta", "local_rope_theta", "rms_norm_eps", "initializer_range")
        # Beyond these there is no model, and what is counted or made for each of them would take all memory or time.
        at_most(self, MAX_LAYERS, "num_hidden_layers")
        at_most(self, 2**16, "num_attention_heads", "head_dim")
        at_most(self, 2**17 // self.num_hidden_layers, "num_experts")
        at_most(self, 2**24, "vocab_size", "hidden_size", "intermediate_size", "moe_intermediate_size")
        at_most(self, 2**31 - 1, "max_position_embeddings", "sliding_window")
        at_most(self, 1e15, "rope_theta", "local_rope_theta", "embedding_scale", "query_scale")
        at_most(self, 1000.0, "rms_norm_eps", "initializer_range", "router_aux_loss_coef")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ConfigError(
                f"num_attention_heads {self.num_attention_heads} is not a multiple of "
                f"num_key_value_heads {self.num_key_value_heads}"
            )
        if not self.learned_positions and not self.rope_theta > 1:
            raise ConfigError(f"rope_theta is {self.rope_theta}; rotary positions turn slower and slower above 1 alone")
        if self.is_dynamic and self.head_dim < 4:
            raise ConfigError(f"head_dim is {self.head_dim}; dynamic rotary scaling needs at least 4")
        if self.head_dim % 2:
            raise ConfigError(f"head_dim {self.head_dim} is odd; rotary positions turn pairs, so it must be even")
        if self.num_experts_per_tok > self.num_experts:
            raise ConfigError(f"a token cannot use {self.num_experts_per_tok} of {self.num_experts} experts")

    @property
    def is_dynamic(self) -> bool:
        """Whether rotary angles depend on the length of the whole sequence."""
        return self.rope_scaling is not None and self.rope_scaling.rope_type == "dynamic"

    @property
    def score_scale(self) -> float:
        return self.query_scale or 1.0 / math.sqrt(self.head_dim)

    def extended(self, positions: int) -> ModelConfig:
        """Return the same model for rows of so many positions, its rotary frequencies lowered by YaRN; no weight
        changes.

        The trained length stays the reference of the scaling, also when this is done again. Raises ConfigError if
        positions are not rotary, lowered in another way, or not more than there are.
        """
        scaling = self.rope_scaling
        if self.learned_positions or (scaling and scaling.rope_type != "yarn"):
            kind = "learned" if scaling is None else f"scaled ({scaling.rope_type})"
            raise ConfigError(f"positions are extended by YaRN, which needs plain rotary ones; these are {kind}")
        if positions <= self.max_position_embeddings:
            raise ConfigError(f"{positions} positions are no more than the model's {self.max_position_embeddings}")
        trained = scaling.original_max_position_embeddings if scaling else self.max_position_embeddings
        yarn = RopeScaling("yarn", positions / trained, trained)
        return dataclasses.replace(self, max_position_embeddings=positions, rope_scaling=yarn)

    def rope_of(self, layer: int) -> Literal["", "global", "local"]:
        """Return which rotary table this layer uses, if any."""
        if self.learned_positions or layer in self.no_rope_layers:
            return ""
        return "local" if self.local_rope_theta and layer in self.sliding_layers else "global"

    def rotary_tables(
        self, kind: Literal["", "global", "local"], positions: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the cos and sin of `model.rotary.rotary_tables` for one kind of layer."""
        if kind == "local":
            return rotary_tables(positions, self.head_dim, self.local_rope_theta)
        return rotary_tables(positions, self.head_dim, self.rope_theta, self.rope_scaling, lengths)
