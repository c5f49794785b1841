"""What the config.json files of all families have in common: fields taken one at a time, sizes, rotary positions, windows.

Each field has the default that Hugging Face gives it. A field that nobody took and that is not known to leave the
arithmetic alone is refused by its name: a model that computes something else than it was trained with still talks, only
worse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from jielong.errors import CheckpointError, did_you_mean
from jielong.model.rotary import RopeScaling
from jielong.model.transformer import ModelConfig

# Fields that say nothing about what the weights compute, in any family. Dropout is a matter of training; ours has none.
NEUTRAL = {
    *("_attn_implementation", "_name_or_path", "architectures", "attention_dropout", "bos_token_id", "dtype"),
    *("eos_token_id", "id2label", "label2id", "model_type", "num_labels", "output_attentions", "output_hidden_states"),
    *("pad_token_id", "problem_type", "return_dict", "reward_offset", "tokenizer_class", "torch_dtype"),
    *("transformers.js_config", "transformers_version", "unsloth_fixed", "unsloth_version", "use_cache"),
}
_REQUIRED = object()

# The fields of each kind of scaling, as Hugging Face and `RopeScaling` name them.
_SCALINGS: dict[str, tuple[str, ...]] = {
    "linear": (),
    "dynamic": (),
    "yarn": ("original_max_position_embeddings", "beta_fast", "beta_slow", "attention_factor"),
    "llama3": ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor"),
}


class Fields:
    """One object of a config.json, whose fields are taken one at a time."""

    def __init__(self, data: Mapping[str, Any], where: str) -> None:
        self.data, self.where = data, where
        self.taken: set[str] = set()

    def take(self, name: str, default: Any = _REQUIRED) -> Any:
        """The value of a field, or what it is where the file does not say."""
        self.taken.add(name)
        value = self.data.get(name, default)
        if value is _REQUIRED:
            raise CheckpointError(f"{self.where} lacks the field {name!r}")
        return value

    def demand(self, name: str, *allowed: Any) -> None:
        """Refuse any value but these, of which the first is the default."""
        value = self.take(name, allowed[0])
        if value not in allowed:
            raise CheckpointError(f"{self.where} has {name} = {value!r}; this version computes {allowed[0]!r}")

    def finish(self, neutral: Collection[str] = ()) -> None:
        """Refuse what is left over, but for fields that change nothing."""
        for name in self.data:
            if name not in self.taken and name not in neutral:
                raise CheckpointError(f"{self.where} has an unknown field {name!r}; {did_you_mean(name, self.taken)}")


def read_sizes(fields: Fields, *, tied: bool = False) -> dict[str, Any]:
    width, heads = fields.take("hidden_size"), fields.take("num_attention_heads")
    return {
        "vocab_size": fields.take("vocab_size"),
        "hidden_size": width,
        "intermediate_size": fields.take("intermediate_size"),
        "num_hidden_layers": fields.take("num_hidden_layers"),
        "num_attention_heads": heads,
        "num_key_value_heads": fields.take("num_key_value_heads", None) or heads,
        "head_dim": fields.take("head_dim", None) or width // heads,
        "max_position_embeddings": fields.take("max_position_embeddings"),
        "rms_norm_eps": fields.take("rms_norm_eps", 1e-6),
        "tie_word_embeddings": fields.take("tie_word_embeddings", tied),
        "initializer_range": fields.take("initializer_range", 0.02),
    }


def read_shape(fields: Fields) -> dict[str, Any]:
    return read_sizes(fields) | read_rope(fields, 10_000.0)


def write_shape(config: ModelConfig) -> dict[str, Any]:
    names = (
        *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
        *("num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings"),
        *("initializer_range",),
    )
    return {name: getattr(config, name) for name in names} | {"attention_dropout": 0.0} | write_rope(config)


def read_rope(fields: Fields, default_theta: float) -> dict[str, Any]:
    """From `rope_parameters`, or from the `rope_scaling` and `rope_theta` of earlier versions."""
    theta = fields.take("rope_theta", default_theta)
    scaling, parameters = fields.take("rope_scaling", None), fields.take("rope_parameters", None)
    return read_scaling(fields, scaling or parameters or {}, theta)


def read_scaling(fields: Fields, given: Mapping[str, Any], theta: float) -> dict[str, Any]:
    rope = Fields(given, f"the rotary scaling of {fields.where}")
    limit = fields.take("max_position_embeddings")
    theta = rope.take("rope_theta", theta)
    kind = rope.take("rope_type", rope.take("type", "default"))
    found: dict[str, Any] = {"rope_theta": theta}
    if kind != "default":
        if kind not in _SCALINGS:
            known = ", ".join(("default", *_SCALINGS))
            raise CheckpointError(f"{fields.where} has rope_type {kind!r}; this version computes {known}")
        values = {"rope_type": kind, "factor": float(rope.take("factor"))}
        for name in _SCALINGS[kind]:
            value = rope.take(name, limit if name.startswith("original") else None)
            if value is not None:
                values[name] = value
        if kind == "yarn":
            rope.demand("truncate", True)
            shares = [rope.take(name, None) for name in ("mscale", "mscale_all_dim")]
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
    """Both forms, since earlier versions and other programs read the older one."""
    scaling = used_scaling(config.rope_scaling) if config.rope_scaling else None
    written: dict[str, Any] = {"rope_theta": config.rope_theta, "rope_scaling": scaling}
    written["rope_parameters"] = (scaling or {"rope_type": "default"}) | {"rope_theta": config.rope_theta}
    if config.rope_scaling and config.rope_scaling.rope_type == "dynamic":
        written["max_position_embeddings"] = config.rope_scaling.original_max_position_embeddings
    return written


def used_scaling(scaling: RopeScaling) -> dict[str, Any]:
    """Those of its fields that config.json says for scaling of this kind."""
    values = {name: getattr(scaling, name) for name in ("rope_type", "factor", *_SCALINGS[scaling.rope_type])}
    return {name: value for name, value in values.items() if name != "attention_factor" or value}


def windows(window: int | None, layers: list[int]) -> dict[str, Any]:
    return {"sliding_window": window, "sliding_layers": tuple(layers)} if window and layers else {}


def read_layer_types(fields: Fields, default: Callable[[int], bool]) -> list[int]:
    """The layers with a window: those that `layer_types` names, or those that `default` picks."""
    layers = range(fields.take("num_hidden_layers"))
    types = fields.take("layer_types", None)
    if types is None:
        return [i for i in layers if default(i)]
    if len(types) != len(layers) or set(types) - {"full_attention", "sliding_attention"}:
        raise CheckpointError(
            f"{fields.where} has layer_types {types!r}; expected full_attention or sliding_attention for each of "
            f"{len(layers)} layers"
        )
    return [i for i in layers if types[i] == "sliding_attention"]


def layer_types(config: ModelConfig) -> list[str]:
    slide = config.sliding_layers
    return ["sliding_attention" if i in slide else "full_attention" for i in range(config.num_hidden_layers)]


def read_optional_window(fields: Fields, default: Callable[[int], bool]) -> dict[str, Any]:
    """Qwen's and SmolLM3's: a width that counts only when `use_sliding_window` is set."""
    window, is_used = fields.take("sliding_window", 4096), fields.take("use_sliding_window", False)
    layers = read_layer_types(fields, default)
    return windows(window, layers) if is_used else {}


def write_optional_window(config: ModelConfig) -> dict[str, Any]:
    if not config.sliding_layers:
        return {"use_sliding_window": False, "sliding_window": None}
    first = min(config.sliding_layers)
    window = {"sliding_window": config.sliding_window, "max_window_layers": first}
    return {"use_sliding_window": True, **window, "layer_types": layer_types(config)}
