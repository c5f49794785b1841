"""The families of models that exist: how each names its shape in config.json, and its tensors.

A family reads the fields of config.json into those of a `ModelConfig` and writes them back; `config_fields` reads back
what it wrote, so a shape that a family cannot express is refused and not bent. In memory all tensors have the names of
Llama's; only GPT-2's lie in the file under others, joined and transposed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jielong.errors import CheckpointError, ConfigError, did_you_mean
from jielong.model.config import MAX_LAYERS
from jielong.model.fields import (
    NEUTRAL,
    layer_types,
    read_layer_types,
    read_optional_window,
    read_rope,
    read_scaling,
    read_shape,
    read_sizes,
    used_scaling,
    windows,
    write_optional_window,
    write_shape,
)
from jielong.model.transformer import ModelConfig, RopeScaling
from jielong.outside import Fields


@dataclass(frozen=True)
class Place:
    """The place of a tensor in a file: the `part`-th third of `name`'s last axis, or all of it."""

    name: str
    part: int | None = None
    is_transposed: bool = False


@dataclass(frozen=True)
class Family:
    """`causal` and `classifier` are transformers' classes; `read` gives the fields that differ from our Qwen3's.

    `neutral` are the fields of its config.json that change nothing, besides those of all families.
    """

    causal: str
    classifier: str
    read: Callable[[Fields], dict[str, Any]]
    write: Callable[[ModelConfig], dict[str, Any]]
    neutral: tuple[str, ...] = ()
    place: Callable[[str], Place] = Place


def _read_llama(fields: Fields) -> dict[str, Any]:
    """Read the fields of Llama's config.json that differ from Qwen3's defaults."""
    fields.demand("hidden_act", "silu")
    fields.demand("rope_interleaved", False)
    has_bias = fields.flag("attention_bias", False)
    biases = {"attention_bias": has_bias, "output_bias": has_bias, "mlp_bias": fields.flag("mlp_bias", False)}
    return {"qk_norm": False} | biases | read_shape(fields)


def _write_llama(config: ModelConfig) -> dict[str, Any]:
    biases = {"attention_bias": config.attention_bias, "mlp_bias": config.mlp_bias}
    return write_shape(config) | biases | {"hidden_act": "silu"}


def _read_mistral(fields: Fields) -> dict[str, Any]:
    """Read Mistral's fields: Llama's shape with a sliding window in every layer."""
    fields.demand("hidden_act", "silu")
    shape = read_shape(fields)
    everywhere = list(range(shape["num_hidden_layers"]))
    return {"qk_norm": False} | shape | windows(fields.whole("sliding_window", 4096, or_null=True), everywhere)


def _write_mistral(config: ModelConfig) -> dict[str, Any]:
    return write_shape(config) | {"hidden_act": "silu", "sliding_window": config.sliding_window or None}


def _read_qwen2(fields: Fields) -> dict[str, Any]:
    """Read Qwen2's fields: biases in attention, and an optional window in later layers."""
    fields.demand("hidden_act", "silu")
    first = fields.whole("max_window_layers", 28)
    window = read_optional_window(fields, lambda i: i >= first)
    return {"qk_norm": False, "attention_bias": True} | read_shape(fields) | window


def _write_qwen2(config: ModelConfig) -> dict[str, Any]:
    return write_shape(config) | write_optional_window(config) | {"hidden_act": "silu"}


def _read_qwen3(fields: Fields) -> dict[str, Any]:
    """Read Qwen3's fields: Qwen2's, with normalised queries and keys."""
    has_bias = fields.flag("attention_bias", False)
    shape = _read_qwen2(fields) | {"qk_norm": True, "attention_bias": has_bias, "output_bias": has_bias}
    return shape | {"head_dim": fields.whole("head_dim", None) or 128}


def _write_qwen3(config: ModelConfig) -> dict[str, Any]:
    return _write_qwen2(config) | {"attention_bias": config.attention_bias}


def _read_qwen3_moe(fields: Fields) -> dict[str, Any]:
    """Read the fields of Qwen3's mixture of experts."""
    fields.demand("hidden_act", "silu")
    fields.demand("decoder_sparse_step", 1)
    fields.demand("mlp_only_layers", [], None)
    has_bias = fields.flag("attention_bias", False)
    window = read_optional_window(fields, lambda i: True)
    experts = {
        "num_experts": fields.whole("num_experts", None) or fields.whole("num_local_experts", 128),
        "num_experts_per_tok": fields.whole("num_experts_per_tok", 8),
        "moe_intermediate_size": fields.whole("moe_intermediate_size", 768),
        "norm_topk_prob": fields.flag("norm_topk_prob", False),
        "router_aux_loss_coef": fields.number("router_aux_loss_coef", 0.001),
    }
    return {"attention_bias": has_bias, "output_bias": has_bias} | experts | read_shape(fields) | window


def _write_qwen3_moe(config: ModelConfig) -> dict[str, Any]:
    """Return the config.json fields of Qwen3's mixture of experts."""
    names = (
        *("num_experts", "num_experts_per_tok", "moe_intermediate_size", "norm_topk_prob", "router_aux_loss_coef"),
        "attention_bias",
    )
    window = {key: value for key, value in write_optional_window(config).items() if key != "layer_types"}
    own = {"hidden_act": "silu", "decoder_sparse_step": 1, "mlp_only_layers": []}
    return write_shape(config) | own | window | {name: getattr(config, name) for name in names}


def _read_smollm3(fields: Fields) -> dict[str, Any]:
    """Read SmolLM3's fields, with the layers that have no rotary positions."""
    fields.demand("hidden_act", "silu")
    has_bias = fields.flag("attention_bias", False)
    biases = {"attention_bias": has_bias, "output_bias": has_bias, "mlp_bias": fields.flag("mlp_bias", False)}
    shape = read_sizes(fields, tied=True) | read_rope(fields, 2_000_000.0)
    layers, interval = range(shape["num_hidden_layers"]), fields.whole("no_rope_layer_interval", 4, low=1)
    has_rope = fields.wholes("no_rope_layers", None, high=1)  # their name for a list with 1 where there is rope
    has_rope = [(i + 1) % interval for i in layers] if has_rope is None else has_rope
    if len(has_rope) != len(layers):
        fields.wrong("no_rope_layers", f"a number for each of {len(layers)} layers")
    still = tuple(i for i in layers if not has_rope[i])
    window = read_optional_window(fields, lambda i: i in still)
    return {"qk_norm": False, "no_rope_layers": still} | biases | shape | window


def _write_smollm3(config: ModelConfig) -> dict[str, Any]:
    """Return SmolLM3's fields of config.json: Llama's, its window, and the layers without rotary positions."""
    has_rope = [int(i not in config.no_rope_layers) for i in range(config.num_hidden_layers)]
    rest = write_optional_window(config) | {"no_rope_layers": has_rope, "layer_types": layer_types(config)}
    return _write_llama(config) | rest


def _read_gemma3(fields: Fields) -> dict[str, Any]:
    """Read Gemma 3's fields, with rotary tables of two kinds and windows in most layers."""
    fields.demand("hidden_activation", "gelu_pytorch_tanh")
    fields.demand("use_bidirectional_attention", False, None)
    fields.demand("final_logit_softcapping", None)
    fields.demand("attn_logit_softcapping", None)
    shape = read_sizes(fields, tied=True) | {"head_dim": fields.whole("head_dim", 256)}
    # rotary positions of two kinds, one dictionary each, and in earlier versions a number each
    ropes = fields.inner("rope_parameters", None)
    scaling = ropes.inner("full_attention", None).data | fields.inner("rope_scaling", None).data
    rope = read_scaling(fields, scaling, fields.number("rope_theta", 1_000_000.0))
    local_theta = fields.number("rope_local_base_freq", 10_000.0)
    local = read_scaling(fields, ropes.inner("sliding_attention", None).data, local_theta)
    ropes.finish()
    if "rope_scaling" in local:
        raise CheckpointError(
            f"{fields.where} scales the rotary positions of its sliding layers; this version does not"
        )
    pattern = fields.whole("sliding_window_pattern", fields.whole("_sliding_window_pattern", 6, low=1), low=1)
    window = fields.whole("sliding_window", 4096, or_null=True)
    sliding = windows(window, read_layer_types(fields, lambda i: (i + 1) % pattern != 0))
    if sliding:
        sliding["local_rope_theta"] = local["rope_theta"]
    has_bias = fields.flag("attention_bias", False)
    scalar = fields.number("query_pre_attn_scalar", 256, low=1e-6, high=1e12)
    return {
        **shape,
        **rope,
        **sliding,
        "hidden_act": "gelu_pytorch_tanh",
        "norm_offset": 1.0,
        "sandwich_norms": True,
        "attention_bias": has_bias,
        "output_bias": has_bias,
        "embedding_scale": math.sqrt(shape["hidden_size"]),
        "query_scale": 0.0 if scalar == shape["head_dim"] else scalar**-0.5,
    }


def _write_gemma3(config: ModelConfig) -> dict[str, Any]:
    """Return Gemma 3's fields of config.json."""
    local = config.local_rope_theta or config.rope_theta
    written = write_shape(config) | {
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": config.attention_bias,
        "query_pre_attn_scalar": round(config.query_scale**-2) if config.query_scale else config.head_dim,
        "sliding_window": config.sliding_window or 4096,
        "layer_types": layer_types(config),
        "rope_local_base_freq": local,
    }
    sliding = {"rope_type": "default", "rope_theta": local}
    written["rope_parameters"] = {"full_attention": written["rope_parameters"], "sliding_attention": sliding}
    return written


def _read_gpt2(fields: Fields) -> dict[str, Any]:
    """Read GPT-2's fields, which have names of their own."""
    fields.demand("activation_function", "gelu_new", "gelu_pytorch_tanh")
    fields.demand("scale_attn_by_inverse_layer_idx", False)
    fields.demand("add_cross_attention", False)
    width, heads = fields.whole("n_embd", 768, low=1), fields.whole("n_head", 12, low=1)
    limit = fields.whole("n_positions", 1024)
    fields.demand("n_ctx", limit)
    return {
        "vocab_size": fields.whole("vocab_size", 50_257),
        "hidden_size": width,
        "intermediate_size": fields.whole("n_inner", None) or 4 * width,
        "num_hidden_layers": fields.whole("n_layer", 12, high=MAX_LAYERS),
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": width // heads,
        "max_position_embeddings": limit,
        "rms_norm_eps": fields.number("layer_norm_epsilon", 1e-5),
        "tie_word_embeddings": fields.flag("tie_word_embeddings", True),
        "initializer_range": fields.number("initializer_range", 0.02),
        "hidden_act": "gelu_pytorch_tanh",
        "norm": "layer",
        "qk_norm": False,
        "attention_bias": True,
        "output_bias": True,
        "mlp_bias": True,
        "gated_mlp": False,
        "learned_positions": True,
        "query_scale": 0.0 if fields.flag("scale_attn_weights", True) else 1.0,
    }


def _write_gpt2(config: ModelConfig) -> dict[str, Any]:
    """Return GPT-2's fields of config.json under its own names."""
    return {
        "vocab_size": config.vocab_size,
        "n_embd": config.hidden_size,
        "n_inner": config.intermediate_size,
        "n_layer": config.num_hidden_layers,
        "n_head": config.num_attention_heads,
        "n_positions": config.max_position_embeddings,
        "layer_norm_epsilon": config.rms_norm_eps,
        "activation_function": "gelu_new",
        "scale_attn_weights": not config.query_scale,
        "tie_word_embeddings": config.tie_word_embeddings,
        "initializer_range": config.initializer_range,
    } | dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.0)


_GPT2_NAMES = {
    "model.embed_tokens": "transformer.wte",
    "model.embed_positions": "transformer.wpe",
    "model.norm": "transformer.ln_f",
    "input_layernorm": "ln_1",
    "post_attention_layernorm": "ln_2",
    "self_attn.o_proj": "attn.c_proj",
    "mlp.up_proj": "mlp.c_fc",
    "mlp.down_proj": "mlp.c_proj",
}


def _place_gpt2(name: str) -> Place:
    """Return where GPT-2's files keep one of our tensors: joined projections, transposed weights."""
    stem, _, kind = name.rpartition(".")
    layer = ""
    if stem.startswith("model.layers."):
        _, _, index, stem = stem.split(".", 3)
        layer = f"transformer.h.{index}."
    part = {"self_attn.q_proj": 0, "self_attn.k_proj": 1, "self_attn.v_proj": 2}.get(stem)
    theirs = "attn.c_attn" if part is not None else _GPT2_NAMES.get(stem, stem)
    return Place(f"{layer}{theirs}.{kind}", part, kind == "weight" and theirs.partition(".")[2].startswith("c_"))


FAMILIES: dict[str, Family] = {
    "llama": Family(
        "LlamaForCausalLM",
        "LlamaForSequenceClassification",
        _read_llama,
        _write_llama,
        neutral=("pretraining_tp", "is_llama_config"),
    ),
    "mistral": Family("MistralForCausalLM", "MistralForSequenceClassification", _read_mistral, _write_mistral),
    "qwen2": Family("Qwen2ForCausalLM", "Qwen2ForSequenceClassification", _read_qwen2, _write_qwen2),
    "qwen3": Family("Qwen3ForCausalLM", "Qwen3ForSequenceClassification", _read_qwen3, _write_qwen3),
    "qwen3_moe": Family(
        "Qwen3MoeForCausalLM",
        "Qwen3MoeForSequenceClassification",
        _read_qwen3_moe,
        _write_qwen3_moe,
        neutral=("max_window_layers", "output_router_logits"),
    ),
    "smollm3": Family(
        "SmolLM3ForCausalLM",
        "SmolLM3ForSequenceClassification",
        _read_smollm3,
        _write_smollm3,
        neutral=("max_window_layers", "pretraining_tp"),
    ),
    "gemma3_text": Family(
        "Gemma3ForCausalLM",
        "Gemma3TextForSequenceClassification",
        _read_gemma3,
        _write_gemma3,
        neutral=("cache_implementation",),
    ),
    "gpt2": Family(
        "GPT2LMHeadModel",
        "GPT2ForSequenceClassification",
        _read_gpt2,
        _write_gpt2,
        neutral=(
            *("attn_pdrop", "embd_pdrop", "resid_pdrop", "reorder_and_upcast_attn", "summary_activation"),
            *("summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj"),
            "task_specific_params",
        ),
        place=_place_gpt2,
    ),
}


def read_model_config(data: Mapping[str, Any], file: Path) -> ModelConfig:
    """Build the `ModelConfig` of the data in config.json. Raises CheckpointError, which names fields that are unknown
    or not computed here.
    """
    kind = data.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise CheckpointError(f"{file} describes a {kind!r:.80} model; this version opens {known}")
    fields = Fields(dict(data), f"{file} (a {kind} model)", CheckpointError)
    try:
        values = FAMILIES[kind].read(fields) | {"model_type": kind}
        fields.finish(NEUTRAL | set(FAMILIES[kind].neutral))
        return ModelConfig(**values)
    except ConfigError as error:
        raise CheckpointError(f"{file}: {error}") from error


def config_fields(config: ModelConfig, file: Path) -> dict[str, Any]:
    """Return the fields of config.json for a model's shape. Raises ConfigError if its family cannot express it."""
    if config.model_type not in FAMILIES:
        raise ConfigError(f"unknown model_type {config.model_type!r}; {did_you_mean(config.model_type, FAMILIES)}")
    data = {"model_type": config.model_type, **FAMILIES[config.model_type].write(config)}
    mine, theirs = _without_unused(config), _without_unused(read_model_config(data, file))
    for field in dataclasses.fields(ModelConfig):
        have, want = getattr(theirs, field.name), getattr(mine, field.name)
        if have != want:
            raise ConfigError(
                f"a {config.model_type} checkpoint cannot say {field.name} = {want!r}; its models have {have!r}"
            )
    return data


def _without_unused(config: ModelConfig) -> ModelConfig:
    """Return the config with fields that have no effect set to their defaults."""
    changes: dict[str, Any] = {}
    if not (config.sliding_window and config.sliding_layers):
        changes |= {"sliding_window": 0, "sliding_layers": (), "local_rope_theta": 0.0}
    if config.learned_positions:
        changes |= {"rope_theta": 0.0, "rope_scaling": None, "no_rope_layers": ()}
    elif config.rope_scaling:
        used = used_scaling(config.rope_scaling)
        if config.rope_scaling.rope_type == "dynamic":
            used["original_max_position_embeddings"] = config.rope_scaling.original_max_position_embeddings
        changes["rope_scaling"] = RopeScaling(**used)
    if not config.num_experts:
        changes |= {"num_experts_per_tok": 0, "moe_intermediate_size": 0, "norm_topk_prob": True}
        changes["router_aux_loss_coef"] = 0.001
    return dataclasses.replace(config, **changes)
