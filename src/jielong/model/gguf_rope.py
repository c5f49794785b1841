"""Rotary scaling in a GGUF file: fields for linear and YaRN, and for llama3's a tensor of factors.

The file keeps the divisor of each frequency and not the numbers that gave it; these are found again from the factors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jielong.errors import CheckpointError
from jielong.model.rotary import RopeScaling
from jielong.model.transformer import ModelConfig
from jielong.outside import Fields

Array = NDArray[np.float32]


def shortest_decimal(value: float) -> float:
    """Round a float32 to the shortest decimal that gives it: 9.999999747378752e-06 is 1e-05."""
    return float(str(np.float32(value)))


def read_scaling(name: str, meta: Mapping[str, Any], factors: Array | None) -> RopeScaling | None:
    """Read the scaling from the fields of architecture `name`, or from the factors (D/2,) of its tensor rope_freqs."""
    fields = Fields(dict(meta), "the GGUF file", CheckpointError)
    key = f"{name}.rope.scaling"
    kind = fields.text(f"{key}.type", "none")
    factor = shortest_decimal(
        fields.number(f"{key}.factor", fields.number(f"{name}.rope.scale_linear", 1.0), low=0.0, high=1e6)
    )
    if kind not in ("none", "linear", "yarn"):
        raise CheckpointError(f"the GGUF file has rotary scaling of type {kind!r}; none, linear and yarn are read here")
    if factors is not None:
        if factors.ndim != 1 or not np.isfinite(factors).all() or not (factors > 0).all():
            raise CheckpointError("the GGUF file has rope_freqs that are no factors")
        theta = fields.number(f"{name}.rope.freq_base", 10_000.0, low=1.0, high=1e30)
        head_dim = 2 * len(factors)
        return llama3_scaling(factors, theta ** (np.arange(0, head_dim, 2) / head_dim) * 2 * math.pi)
    if kind == "yarn":
        times = shortest_decimal(fields.number(f"{key}.attn_factor", 1.0, low=0.0, high=1e6))
        return RopeScaling(
            rope_type="yarn",
            factor=factor,
            original_max_position_embeddings=fields.whole(f"{key}.original_context_length", low=1),
            beta_fast=shortest_decimal(fields.number(f"{key}.yarn_beta_fast", 32.0)),
            beta_slow=shortest_decimal(fields.number(f"{key}.yarn_beta_slow", 1.0)),
            attention_factor=times * (0.1 * math.log(max(factor, 1.0)) + 1.0) if times != 1.0 else 0.0,
        )
    return RopeScaling(rope_type="linear", factor=factor) if factor != 1.0 else None


def llama3_factors(scaling: RopeScaling, wavelengths: NDArray[np.float64]) -> Array:
    """Return the divisor of each frequency (D/2,): 1 for short waves, `factor` for long ones, a blend between them."""
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    turns = scaling.original_max_position_embeddings / wavelengths
    blend = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return (1.0 / ((1.0 - blend) / scaling.factor + blend)).astype(np.float32)


def llama3_scaling(factors: Array, wavelengths: NDArray[np.float64]) -> RopeScaling:
    """Find the scaling that gives these factors, from two frequencies in the blend.

    The factors fix original/low and original/high, so low is taken as 1, as all published models have it.
    """
    factor = float(factors.max())
    blend = (1.0 / factors.astype(np.float64) - 1.0 / factor) / (1.0 - 1.0 / factor) if factor > 1 else factors * 0
    inside = np.flatnonzero((blend > 1e-4) & (blend < 1 - 1e-4))
    if len(inside) < 2:
        raise CheckpointError("the GGUF file has rope_freqs that are not those of llama3's rotary scaling")
    first, last = inside[0], inside[-1]
    # blend = (original / wavelength - 1) / (high - 1), a line over 1 / wavelength
    slope = (blend[first] - blend[last]) / (1 / wavelengths[first] - 1 / wavelengths[last])
    high = 1.0 - 1.0 / (blend[first] - slope / wavelengths[first])
    original = slope * (high - 1.0)
    if high > 1.0 and original >= 1.0:
        found = RopeScaling(
            rope_type="llama3",
            factor=_near_integer(factor),
            original_max_position_embeddings=round(original),
            low_freq_factor=1.0,
            high_freq_factor=_near_integer(high),
        )
        if np.allclose(llama3_factors(found, wavelengths), factors, rtol=1e-3):
            return found
    raise CheckpointError("the GGUF file has rope_freqs that are not those of llama3's rotary scaling")


def _near_integer(value: float) -> float:
    return float(round(value)) if abs(value - round(value)) < 1e-3 else value


def scaling_fields(scaling: RopeScaling | None) -> dict[str, Any]:
    """Return the fields that `read_scaling` reads, without the architecture's name before them."""
    fields: dict[str, Any] = {}
    if scaling is not None and scaling.rope_type in ("linear", "yarn"):
        fields["rope.scaling.type"] = scaling.rope_type
        fields["rope.scaling.factor"] = scaling.factor
    if scaling is not None and scaling.rope_type == "yarn":
        fields["rope.scaling.original_context_length"] = scaling.original_max_position_embeddings
        fields["rope.scaling.yarn_beta_fast"] = scaling.beta_fast
        fields["rope.scaling.yarn_beta_slow"] = scaling.beta_slow
        if scaling.attention_factor:
            fields["rope.scaling.attn_factor"] = scaling.attention_factor / (0.1 * math.log(scaling.factor) + 1.0)
    return fields


def rope_factors(config: ModelConfig) -> Array | None:
    """Return the file's rope_freqs tensor (D/2,), if the model has llama3's scaling."""
    if config.rope_scaling is None or config.rope_scaling.rope_type != "llama3":
        return None
    exponents = np.arange(0, config.head_dim, 2) / config.head_dim
    return llama3_factors(config.rope_scaling, 2 * math.pi * config.rope_theta**exponents)
