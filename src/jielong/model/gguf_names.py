"""GGUF's names of architectures, shape fields and tensors, each beside our name for it.

An `Entry` pairs one tensor of the file with those of ours that it holds, and says in which form: as it is, with the
rows of each head in the order of interleaved rotary positions, with one added to a norm's weight, several stacked or
joined. `split` is the inverse of `join`, so one table is read in both directions.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from jielong.errors import CheckpointError, ConfigError
from jielong.model.config import MAX_LAYERS
from jielong.model.gguf_rope import Array, read_scaling, scaling_fields, shortest_decimal
from jielong.model.transformer import ModelConfig
from jielong.outside import MOST, is_number, is_whole


@dataclass(frozen=True)
class Architecture:
    """One of GGUF's architectures: the families of ours that it computes, and the fields that it fixes."""

    families: tuple[str, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    interleaved: bool = False
    """Whether rotary positions turn neighbours (2i, 2i + 1) in the file and not (i, i + D/2)."""


_PLAIN: dict[str, Any] = {
    "hidden_act": "silu",
    "norm": "rms",
    "norm_offset": 0.0,
    "qk_norm": False,
    "gated_mlp": True,
    "sandwich_norms": False,
    "learned_positions": False,
    "mlp_bias": False,
    "output_bias": False,
}
ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture(
        ("llama", "mistral"),
        {k: v for k, v in _PLAIN.items() if k not in ("output_bias", "mlp_bias")},
        interleaved=True,
    ),
    "qwen2": Architecture(("qwen2",), _PLAIN | {"attention_bias": True}),
    "qwen3": Architecture(("qwen3",), _PLAIN | {"attention_bias": False, "qk_norm": True}),
    "qwen3moe": Architecture(
        ("qwen3_moe",), _PLAIN | {"attention_bias": False, "qk_norm": True, "norm_topk_prob": True}
    ),
    "smollm3": Architecture(("smollm3",), _PLAIN | {"attention_bias": False}, interleaved=True),
    "gemma3": Architecture(
        ("gemma3_text",),
        _PLAIN
        | {
            "attention_bias": False,
            "hidden_act": "gelu_pytorch_tanh",
            "norm_offset": 1.0,
            "qk_norm": True,
            "sandwich_norms": True,
        },
    ),
    "gpt2": Architecture(
        ("gpt2",),
        _PLAIN
        | {
            "hidden_act": "gelu_pytorch_tanh",
            "norm": "layer",
            "attention_bias": True,
            "output_bias": True,
            "mlp_bias": True,
            "gated_mlp": False,
            "learned_positions": True,
        },
    ),
}
# Fixed in llama.cpp's code and not in the file: every sixth layer of gemma3 sees all positions, every fourth of smollm3
# has no rotary ones.
_GEMMA_PERIOD, _SMOLLM_PERIOD, _GEMMA_LOCAL_THETA = 6, 4, 10_000.0


def architecture_of(config: ModelConfig) -> str:
    """Return GGUF's name of the architecture that computes this config. Raises ConfigError if none does."""
    for name, architecture in ARCHITECTURES.items():
        if config.model_type in architecture.families:
            _check_expressible(config, name, architecture)
            return name
    raise ConfigError(f"GGUF export knows no architecture for model_type {config.model_type!r}")


def _check_expressible(config: ModelConfig, name: str, architecture: Architecture) -> None:
    """Raise ConfigError if a field of the config differs from what GGUF's architecture fixes."""
    wanted = dict(architecture.fixed)
    if name == "gemma3":
        wanted["embedding_scale"] = math.sqrt(config.hidden_size)
        wanted["local_rope_theta"] = _GEMMA_LOCAL_THETA
        wanted["sliding_layers"] = _every_but(_GEMMA_PERIOD, config.num_hidden_layers)
    else:
        wanted["embedding_scale"] = 1.0
    if name == "smollm3":
        wanted["no_rope_layers"] = _every(_SMOLLM_PERIOD, config.num_hidden_layers)
    else:
        wanted["no_rope_layers"] = ()
    for key, value in wanted.items():
        have = getattr(config, key)
        if have != value and not (isinstance(value, float) and math.isclose(have, value, rel_tol=1e-6)):
            raise ConfigError(f"a {name} model in GGUF has {key} = {value!r}, this one {have!r}; export it as hf")
    scale = attention_scale(config)
    if not math.isclose(config.query_scale or config.head_dim**-0.5, scale, rel_tol=1e-6):
        raise ConfigError(f"a {name} model in GGUF scales queries by {scale:.6g}, this one by {config.query_scale:.6g}")
    if (config.num_experts > 0) != (name == "qwen3moe"):
        raise ConfigError(f"a {name} model in GGUF cannot have {config.num_experts} experts; export it as hf")
    if config.rope_scaling is not None and config.rope_scaling.rope_type == "dynamic":
        raise ConfigError("GGUF has no dynamic rotary scaling; export it as hf")


def attention_scale(config: ModelConfig) -> float:
    """Return llama.cpp's factor of the queries: 1/sqrt(D), but for Gemma 3 of 27B, known by its 62 layers."""
    if config.model_type == "gemma3_text" and config.num_hidden_layers == 62:
        return (config.hidden_size / config.num_attention_heads) ** -0.5
    return config.head_dim**-0.5


def _every(period: int, layers: int) -> tuple[int, ...]:
    return tuple(i for i in range(layers) if i % period == period - 1)


def _every_but(period: int, layers: int) -> tuple[int, ...]:
    return tuple(i for i in range(layers) if i % period != period - 1)


@dataclass(frozen=True)
class Entry:
    """One tensor of the file and the tensors of ours in it."""

    gguf: str
    ours: tuple[str, ...]
    form: Literal["plain", "rotary", "offset", "joined", "stacked"] = "plain"
    heads: int = 0
    """Of a rotary one: how many heads its rows belong to."""
    precise: bool = False
    """Kept in float32 whatever the file's type is."""


def entries(config: ModelConfig) -> Iterator[Entry]:
    """Yield an Entry for every tensor of the file that holds this model."""
    norm_parts = ("weight", "bias") if config.norm == "layer" else ("weight",)
    norm_form: Literal["plain", "offset"] = "offset" if config.norm_offset else "plain"

    def norm(gguf: str, ours: str) -> Iterator[Entry]:
        for part in norm_parts:
            yield Entry(f"{gguf}.{part}", (f"{ours}.{part}",), norm_form)

    yield Entry("token_embd.weight", ("model.embed_tokens.weight",))
    if config.learned_positions:
        yield Entry("position_embd.weight", ("model.embed_positions.weight",), precise=True)
    for i in range(config.num_hidden_layers):
        theirs, ours = f"blk.{i}", f"model.layers.{i}"
        yield from norm(f"{theirs}.attn_norm", f"{ours}.input_layernorm")
        yield from _attention_entries(config, theirs, f"{ours}.self_attn")
        if config.qk_norm:
            for q in "qk":
                yield Entry(f"{theirs}.attn_{q}_norm.weight", (f"{ours}.self_attn.{q}_norm.weight",), norm_form)
        if config.sandwich_norms:
            yield from norm(f"{theirs}.post_attention_norm", f"{ours}.post_attention_layernorm")
            yield from norm(f"{theirs}.ffn_norm", f"{ours}.pre_feedforward_layernorm")
            yield from norm(f"{theirs}.post_ffw_norm", f"{ours}.post_feedforward_layernorm")
        else:
            yield from norm(f"{theirs}.ffn_norm", f"{ours}.post_attention_layernorm")
        yield from _feed_forward_entries(config, theirs, f"{ours}.mlp")
    yield from norm("output_norm", "model.norm")
    if not config.tie_word_embeddings:
        yield Entry("output.weight", ("lm_head.weight",))


def _attention_entries(config: ModelConfig, theirs: str, ours: str) -> Iterator[Entry]:
    """Yield the entries of one layer's attention."""
    architecture = next(a for a in ARCHITECTURES.values() if config.model_type in a.families)
    for part in ("weight", "bias") if config.attention_bias else ("weight",):
        if config.model_type == "gpt2":
            yield Entry(f"{theirs}.attn_qkv.{part}", tuple(f"{ours}.{x}_proj.{part}" for x in "qkv"), "joined")
            continue
        for x, heads in (("q", config.num_attention_heads), ("k", config.num_key_value_heads)):
            form: Literal["plain", "rotary"] = "rotary" if architecture.interleaved else "plain"
            yield Entry(f"{theirs}.attn_{x}.{part}", (f"{ours}.{x}_proj.{part}",), form, heads)
        yield Entry(f"{theirs}.attn_v.{part}", (f"{ours}.v_proj.{part}",))
    for part in ("weight", "bias") if config.output_bias else ("weight",):
        yield Entry(f"{theirs}.attn_output.{part}", (f"{ours}.o_proj.{part}",))


def _feed_forward_entries(config: ModelConfig, theirs: str, ours: str) -> Iterator[Entry]:
    """Yield the entries of one layer's feed-forward block or experts."""
    maps = ("gate", "up", "down") if config.gated_mlp else ("up", "down")
    if config.num_experts:
        yield Entry(f"{theirs}.ffn_gate_inp.weight", (f"{ours}.gate.weight",), precise=True)
        for name in maps:
            each = tuple(f"{ours}.experts.{e}.{name}_proj.weight" for e in range(config.num_experts))
            yield Entry(f"{theirs}.ffn_{name}_exps.weight", each, "stacked")
        return
    for name in maps:
        for part in ("weight", "bias") if config.mlp_bias else ("weight",):
            yield Entry(f"{theirs}.ffn_{name}.{part}", (f"{ours}.{name}_proj.{part}",))


def split(entry: Entry, array: Array) -> list[Array]:
    """Take the file's tensor apart into ours, in the order of `entry.ours`."""
    if entry.form == "rotary":
        pairs = array.reshape(entry.heads, -1, 2, *array.shape[1:])
        return [pairs.swapaxes(1, 2).reshape(array.shape)]
    if entry.form == "offset":
        return [array - np.float32(1.0)]
    if entry.form == "joined":
        return np.split(array, len(entry.ours))
    if entry.form == "stacked":
        return list(array)
    return [array]


def join(entry: Entry, arrays: list[Array]) -> Array:
    """Make the file's tensor from ours."""
    if entry.form == "rotary":
        halves = arrays[0].reshape(entry.heads, 2, -1, *arrays[0].shape[1:])
        return halves.swapaxes(1, 2).reshape(arrays[0].shape)
    if entry.form == "offset":
        return arrays[0] + np.float32(1.0)
    if entry.form == "joined":
        return np.concatenate(arrays)
    if entry.form == "stacked":
        return np.stack(arrays)
    return arrays[0]


def read_config(meta: Mapping[str, Any], names: Collection[str], vocab_size: int, factors: Array | None) -> ModelConfig:
    """Read the shape from the file's fields.

    `names` are its tensors, `factors` (D/2,) those of llama3's rotary scaling. Raises CheckpointError, which names what
    this version does not compute.
    """
    name = meta.get("general.architecture")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise CheckpointError(
            f"the GGUF architecture {name!r:.80} is not one that is read here; those are {', '.join(ARCHITECTURES)}"
        )
    architecture = ARCHITECTURES[name]

    def get(key: str, default: Any = None) -> Any:
        """Return a number of the architecture's fields. Raises CheckpointError if it is missing, or differs between
        layers.
        """
        value = meta.get(f"{name}.{key}", default)
        if value is None:
            raise CheckpointError(f"the GGUF file lacks the field {name}.{key}")
        if isinstance(value, list):  # one number a layer
            if len(set(value)) != 1:
                raise CheckpointError(f"the GGUF file has layers of different {name}.{key}; all must be alike here")
            value = value[0]
        if not is_number(value):
            raise CheckpointError(f"the GGUF file has {name}.{key} = {value!r:.80}; expected a number")
        return value

    def whole(key: str, default: Any = None, high: int = MOST) -> Any:
        """Return an integer of the architecture's fields."""
        value = get(key, default)
        if not is_whole(value, 0, high):
            raise CheckpointError(f"the GGUF file has {name}.{key} = {value}; expected a whole number, at most {high}")
        return value

    width, heads, layers = (
        whole("embedding_length"),
        whole("attention.head_count"),
        whole("block_count", high=MAX_LAYERS),
    )
    head_dim = whole("attention.key_length", width // max(heads, 1))
    for key in ("attention.value_length", "rope.dimension_count"):
        if get(key, head_dim) != head_dim:
            raise CheckpointError(
                f"the GGUF file has {name}.{key} = {get(key, 0)}; it must be the head's {head_dim} here"
            )
    fields: dict[str, Any] = dict(
        architecture.fixed,
        model_type=architecture.families[0],
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=whole("feed_forward_length"),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=whole("attention.head_count_kv", heads),
        head_dim=head_dim,
        max_position_embeddings=whole("context_length"),
        rms_norm_eps=shortest_decimal(
            get("attention.layer_norm_epsilon" if name == "gpt2" else "attention.layer_norm_rms_epsilon")
        ),
        tie_word_embeddings="output.weight" not in names,
        rope_theta=shortest_decimal(get("rope.freq_base", 10_000.0)),
        rope_scaling=read_scaling(name, meta, factors),
    )
    if name == "llama":
        fields["attention_bias"] = "blk.0.attn_q.bias" in names
        fields["output_bias"] = "blk.0.attn_output.bias" in names
        fields["mlp_bias"] = "blk.0.ffn_down.bias" in names
        if get("expert_count", 0):
            raise CheckpointError("the GGUF file holds a Mixtral model; experts are read here in qwen3moe alone")
    if name == "qwen3moe":
        fields["num_experts"] = whole("expert_count")
        fields["num_experts_per_tok"] = whole("expert_used_count")
        fields["moe_intermediate_size"] = whole("expert_feed_forward_length")
    if name == "smollm3":
        fields["no_rope_layers"] = _every(_SMOLLM_PERIOD, layers)
    if name == "gemma3":
        for key in ("attn_logit_softcapping", "final_logit_softcapping"):
            if get(key, 0.0):
                raise CheckpointError(f"the GGUF file has {name}.{key}, which is not computed here")
        fields["sliding_window"] = whole("attention.sliding_window")
        fields["sliding_layers"] = _every_but(_GEMMA_PERIOD, layers)
        fields["rope_theta"] = shortest_decimal(get("rope.freq_base", 1_000_000.0))
        fields["local_rope_theta"] = shortest_decimal(get("rope.freq_base_swa", _GEMMA_LOCAL_THETA))
        fields["embedding_scale"] = math.sqrt(width)
    config = ModelConfig(**fields)
    if name == "gemma3":
        config = ModelConfig(**fields | {"query_scale": attention_scale(config)})
    return config


def metadata(config: ModelConfig) -> dict[str, Any]:
    """Return the fields that `read_config` reads; ints, floats and strings."""
    name = architecture_of(config)
    eps = "attention.layer_norm_epsilon" if name == "gpt2" else "attention.layer_norm_rms_epsilon"
    fields: dict[str, Any] = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        eps: config.rms_norm_eps,
        "vocab_size": config.vocab_size,
    }
    if name != "gpt2":
        fields["rope.freq_base"] = config.rope_theta
        fields["rope.dimension_count"] = config.head_dim
        fields["attention.key_length"] = config.head_dim
        fields["attention.value_length"] = config.head_dim
    if name == "qwen3moe":
        fields["expert_count"] = config.num_experts
        fields["expert_used_count"] = config.num_experts_per_tok
        fields["expert_feed_forward_length"] = config.moe_intermediate_size
    if name == "gemma3":
        fields["attention.sliding_window"] = config.sliding_window
    fields |= scaling_fields(config.rope_scaling)
    return {f"{name}.{key}": value for key, value in fields.items()}
