"""Rotary positions: a query and a key are turned by angles that grow with their positions, so their product tells the distance.

Pair i of a head turns by position * theta^(-2i/D) (Su et al. 2021). A model reaches beyond the length that it was trained
on when its frequencies are lowered: all alike (`linear`, Chen et al. 2023), by a base that grows with the sequence
(`dynamic`), or the slow ones alone, with a soft border between slow and fast (`yarn`, Peng et al. 2023; `llama3`).
"""
# B rows, T positions, H heads, D width of one head.

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from jielong.config import at_least, at_most
from jielong.errors import ConfigError


@dataclass(frozen=True)
class RopeScaling:
    """The scaling of the frequencies for longer texts, in Hugging Face's words.

    `linear` and `dynamic` use the first two numbers (`linear` the first alone), `llama3` those with `freq`, `yarn` the
    betas (turns within the original length above which a pair is fast, and below which it is slow) and
    `attention_factor` (0: 0.1 ln(factor) + 1).
    """

    rope_type: Literal["linear", "dynamic", "yarn", "llama3"] = "yarn"
    factor: float = 1.0
    original_max_position_embeddings: int = 0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float = 0.0

    def __post_init__(self) -> None:
        known = ("linear", "dynamic", "yarn", "llama3")
        if self.rope_type not in known:
            raise ConfigError(f"rope_type {self.rope_type!r} is not available; expected one of {', '.join(known)}")
        at_least(self, 1, "factor")
        at_most(
            self, 1e6, "factor", "attention_factor", "beta_fast", "beta_slow", "low_freq_factor", "high_freq_factor"
        )
        at_most(self, 2**31 - 1, "original_max_position_embeddings")
        at_least(self, 0, "attention_factor")
        if self.rope_type != "linear":
            at_least(self, 1, "original_max_position_embeddings")
        at_least(self, 1e-3, "beta_fast", "beta_slow")
        if not self.low_freq_factor < self.high_freq_factor:
            raise ConfigError(
                f"high_freq_factor {self.high_freq_factor} must be above low_freq_factor {self.low_freq_factor}"
            )


def rotary_tables(
    positions: Tensor,
    head_dim: int,
    theta: float,
    scaling: RopeScaling | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return cos and sin, each (B, T, 1, D) float32, of `positions` (B, T), halves layout.

    `lengths`, broadcastable to (B, T), is read by `dynamic` alone: how long the sequence of each position is; by
    default one more than the largest position of its row.
    """
    half = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim
    magnitude = 1.0
    if scaling is None:
        angles = positions[:, :, None].float() * (1.0 / theta**half)
    elif scaling.rope_type == "dynamic":
        if lengths is None:
            lengths = positions.amax(-1, keepdim=True) + 1
        angles = positions[:, :, None].float() * (
            1.0 / _dynamic_base(lengths, head_dim, theta, scaling)[..., None] ** half
        )
    else:
        angles = positions[:, :, None].float() * _scaled(1.0 / theta**half, head_dim, theta, scaling)
        if scaling.rope_type == "yarn":
            magnitude = scaling.attention_factor or 0.1 * math.log(scaling.factor) + 1.0
    both = torch.cat([angles, angles], dim=-1)[:, :, None, :]
    if magnitude == 1.0:
        return both.cos(), both.sin()
    return both.cos() * magnitude, both.sin() * magnitude


def rotate(x_BTHD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (i, i + D/2) by its position's angle; float32."""
    first, second = x_BTHD.chunk(2, dim=-1)
    return x_BTHD * cos + torch.cat([-second, first], dim=-1) * sin


def _dynamic_base(lengths: Tensor, head_dim: int, theta: float, scaling: RopeScaling) -> Tensor:
    """Raise theta so that the slowest pair of a sequence of `lengths` turns no further than it did in training."""
    stretch = lengths.float().clamp_min(scaling.original_max_position_embeddings)
    stretch = scaling.factor * stretch / scaling.original_max_position_embeddings - (scaling.factor - 1.0)
    return theta * stretch ** (head_dim / (head_dim - 2))


def _scaled(frequencies: Tensor, head_dim: int, theta: float, scaling: RopeScaling) -> Tensor:
    """Return the lowered `frequencies` (D/2,); a share of 1 keeps a frequency, of 0 divides it by the factor."""
    slow = frequencies / scaling.factor
    if scaling.rope_type == "linear":
        return slow
    if scaling.rope_type == "llama3":
        turns = scaling.original_max_position_embeddings * frequencies / (2 * math.pi)
        share = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    else:
        first = max(math.floor(_pair_of(scaling.beta_fast, head_dim, theta, scaling)), 0)
        last: float = min(math.ceil(_pair_of(scaling.beta_slow, head_dim, theta, scaling)), head_dim - 1)
        last = last if last != first else last + 0.001
        index = torch.arange(head_dim // 2, device=frequencies.device, dtype=torch.float32)
        share = 1 - (index - first) / (last - first)
    share = share.clamp(0, 1)
    return slow * (1 - share) + frequencies * share


def _pair_of(turns: float, head_dim: int, theta: float, scaling: RopeScaling) -> float:
    """Return the pair, as a fraction, that turns this often within the original length."""
    length = scaling.original_max_position_embeddings
    return head_dim * math.log(length / (2 * math.pi * turns)) / (2 * math.log(theta))
