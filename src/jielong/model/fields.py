"""The fields that config.json files of all families share: sizes, rotary positions, windows.

Each field has the default that Hugging Face gives it. A field that nobody took, unless it is known to leave the
arithmetic alone, is refused by its name: a model that computes something else than it was trained with still talks,
only worse.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from jielong.errors import CheckpointError
from jielong.model.config import MAX_LAYERS
from jielong.model.rotary import RopeScaling
from jielong.model.transformer import ModelConfig
from jielong.outside import Fields

# Fields that say nothing about what the weights compute, in any family. Dropout is a matter of training; ours has none.
NEUTRAL = {
    *("_attn_implementation", "_name_or_path", "architectures", "attention_dropout", "bos_token_id", "dtype"),
    *("eos_token_id", "id2label", "label2id", "model_type", "num_labels", "output_attentions", "output_hidden_states"),
    *("pad_token_id", "problem_type", "return_dict", "reward_offset", "tokenizer_class", "torch_dtype"),
    *("transformers.js_config", "transformers_version", "unsloth_fixed", "unsloth_version", "use_cache"),
}

# The fields of each kind of scaling, as Hugging Face and `RopeScaling` name them.
_SCALINGS: dict[str, tuple[str, ...]] = {
    "linear": (),
    "dynamic": (),
    "yarn": ("original_max_position_embeddings", "beta_fast", "beta_slow", "attention_factor"),
    "llama3": ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor"),
}


def read_sizes(fields: Fields, *, tied: bool = False) -> dict[str, Any]:
    """Read widths, depths, heads and lengths, as ModelConfig's fields."""
    width, heads = fields.whole("hidden_size", low=1), fields.whole("num_attention_heads", low=1)
    return {
        "vocab_size": fields.whole("vocab_size"),
        "hidden_size": width,
        "intermediate_size": fields.whole("intermediate_size"),
        "num_hidden_layers": fields.whole("num_hidden_layers", high=MAX_LAYERS),
        "num_attention_heads": heads,
        "num_key_value_heads": fields.whole("num_key_value_heads", None) or heads,
        "head_dim": fields.whole("head_dim", None) or width // heads,
        "max_position_embeddings": fields.whole("max_position_embeddings"),
        "rms_norm_eps": fields.number("rms_norm_eps", 1e-6),
        "tie_word_embeddings": fields.flag("tie_word_embeddings", tied),
        "initializer_range": fields.number("initializer_range", 0.02),
    }


def read_shape(fields: Fields) -> dict[str, Any]:
    return read_sizes(fields) | read_rope(fields, 10_000.0)


def write_shape(config: ModelConfig) -> dict[str, Any]:
    """Return the fields of config.json that all Llama-like families share."""
    names = (
        *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
        *("num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings"),
        *("initializer_range",),
    )
    return {name: getattr(config, name) for name in names} | {"attention_dropout": 0.0} | write_rope(config)


def read_rope(fields: Fields, default_theta: float) -> dict[str, Any]:
    """Read the rotary positions, from `rope_parameters` or from the `rope_scaling` and `rope_theta` of earlier
    versions.
    """
    theta = fields.number("rope_theta", default_theta)
    scaling, parameters = fields.take("rope_scaling", None), fields.take("rope_parameters", None)
    return read_scaling(fields, scaling or parameters or {}, theta)


def read_scaling(fields: Fields, given: Any, theta: float) -> dict[str, Any]:
    """Read the base and the scaling of rotary positions from one dictionary of config.json; `theta` is the default
    base.
    """
    rope = Fields(given, f"the rotary scaling of {fields.where}", fields.error)
    limit = fields.whole("max_position_embeddings")
    theta = rope.number("rope_theta", theta)
    kind = rope.text("rope_type", rope.text("type", "default"))
    found: dict[str, Any] = {"rope_theta": theta}
    if kind != "default":
        if kind not in _SCALINGS:
            known = ", ".join(("default", *_SCALINGS))
            raise CheckpointError(f"{fields.where} has rope_type {kind!r}; this version computes {known}")
        values = {"rope_type": kind, "factor": float(rope.number("factor", low=1.0, high=1e6))}
        for name in _SCALINGS[kind]:
            if name.startswith("original"):
                value = rope.whole(name, limit, low=1)
            else:
                value = rope.number(name, None, low=0.0)
            if value is not None:
                values[name] = value
        if kind == "yarn":
            rope.demand("truncate", True)
            shares = [rope.number(name, None) for name in ("mscale", "mscale_all_dim")]
            if all(shares) and "attention_factor" not in values:
                above, below = (0.1 * share * math.log(values["factor"]) + 1.0 for share in shares)
                values["attention_factor"] = above / below
        if kind == "dynamic":
            # there the length is the one trained on, and the factor says how much further it reaches
            values["original_max_position_embeddings"] = limit
            found["max_position_embeddings"] = round(limit * values["factor"])
        found["rope_scaling"] = RopeScaling(**values)
    rope.demand("partial_rotary_factor", 1.0, None)
    rope.finish()
    return found


def write_rope(config: ModelConfig) -> dict[str, Any]:
    """Return the rotary fields of config.json in both forms, since earlier versions and other programs read the older one."""
    scaling = used_scaling(config.rope_scaling) if config.rope_scaling else None
    written: dict[str, Any] = {"rope_theta": config.rope_theta, "rope_scaling": scaling}
    written["rope_parameters"] = (scaling or {"rope_type": "default"}) | {"rope_theta": config.rope_theta}
    if config.rope_scaling and config.rope_scaling.rope_type == "dynamic":
        written["max_position_embeddings"] = config.rope_scaling.original_max_position_embeddings
    return written


def used_scaling(scaling: RopeScaling) -> dict[str, Any]:
    """Return the scaling's fields that config.json has for its kind."""
    values = {name: getattr(scaling, name) for name in ("rope_type", "factor", *_SCALINGS[scaling.rope_type])}
    return {name: value for name, value in values.items() if name != "attention_factor" or value}


def windows(window: int | None, layers: list[int]) -> dict[str, Any]:
    return {"sliding_window": window, "sliding_layers": tuple(layers)} if window and layers else {}


def read_layer_types(fields: Fields, default: Callable[[int], bool]) -> list[int]:
    """Return the indices of the layers with sliding-window attention: those that layer_types marks, or, if it is
    missing, those that `default` picks.
    """
    layers = range(fields.whole("num_hidden_layers", high=MAX_LAYERS))
    types = fields.texts("layer_types", None)
    if types is None:
        return [i for i in layers if default(i)]
    if len(types) != len(layers) or set(types) - {"full_attention", "sliding_attention"}:
        raise CheckpointError(
            f"{fields.where} has layer_types {types!r:.80}; expected full_attention or sliding_attention for each of "
            f"{len(layers)} layers"
        )
    return [i for i in layers if types[i] == "sliding_attention"]


def layer_types(config: ModelConfig) -> list[str]:
    slide = config.sliding_layers
    return ["sliding_attention" if i in slide else "full_attention" for i in range(config.num_hidden_layers)]


def read_optional_window(fields: Fields, default: Callable[[int], bool]) -> dict[str, Any]:
    """Read the window of Qwen and SmolLM3, a width that counts only when `use_sliding_window` is set."""
    window = fields.whole("sliding_window", 4096, or_null=True)
    is_used = fields.flag("use_sliding_window", False)
    layers = read_layer_types(fields, default)
    return windows(window, layers) if is_used else {}


def write_optional_window(config: ModelConfig) -> dict[str, Any]:
    """Return the fields of config.json for the window of Qwen and SmolLM3."""
    if not config.sliding_layers:
        return {"use_sliding_window": False, "sliding_window": None}
    first = min(config.sliding_layers)
    window = {"sliding_window": config.sliding_window, "max_window_layers": first}
    return {"use_sliding_window": True, **window, "layer_types": layer_types(config)}
