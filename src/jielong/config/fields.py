"""The fields of a config as dotted paths with values and meanings, and a search by the words that people use for them.

Whoever lists fields and whoever refuses an unknown one ask here, so that a word finds the same field in both places.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jielong.config.meanings import meanings

USUAL_WORDS: dict[str, tuple[str, ...]] = {
    "lr": ("learning_rate", "rate", "step_size"),
    "muon_lr": ("learning_rate_of_muon", "matrix_lr"),
    "name": ("optimizer", "optimiser"),
    "warmup_steps": ("warmup", "warm_up", "warmup_ratio", "num_warmup_steps"),
    "decay_fraction": ("decay", "cooldown", "schedule", "lr_scheduler"),
    "final_fraction": ("min_lr", "min_learning_rate", "schedule"),
    "weight_decay": ("wd", "l2"),
    "beta1": ("betas", "adam_beta1", "momentum"),
    "beta2": ("betas", "adam_beta2"),
    "eps": ("adam_epsilon", "epsilon"),
    "max_grad_norm": ("clip", "grad_clip", "gradient_clipping", "clip_grad_norm"),
    "steps": ("iterations", "iters", "max_iters", "max_steps", "num_steps", "epochs", "num_train_epochs"),
    "log_every": ("logging_steps", "log_interval"),
    "check_every": ("eval_steps", "eval_interval", "eval_every", "evaluation"),
    "save_every_s": ("save_steps", "save_interval", "checkpoint_every"),
    "length": ("seq_len", "seq_length", "sequence_length", "max_seq_length", "context", "block_size", "context_length"),
    "rows_per_step": ("batch", "batch_size", "total_batch_size", "global_batch_size"),
    "micro_rows": ("batch", "micro_batch", "micro_batch_size", "device_batch_size", "gradient_accumulation_steps"),
    "vocab_size": ("vocab", "vocabulary", "vocabulary_size", "num_tokens"),
    "hidden_size": ("hidden", "width", "dim", "d_model", "n_embd", "model_dim", "embedding_size"),
    "intermediate_size": ("mlp", "ffn", "ffn_dim", "d_ff", "feed_forward", "mlp_ratio", "mlp_size"),
    "num_hidden_layers": ("layers", "num_layers", "n_layer", "n_layers", "depth", "blocks", "num_blocks"),
    "num_attention_heads": ("heads", "num_heads", "n_head", "n_heads", "attention_heads"),
    "num_key_value_heads": ("heads", "kv_heads", "num_kv_heads", "n_kv_heads", "key_value_heads", "gqa"),
    "head_dim": ("head_size", "d_head", "dim_head"),
    "max_position_embeddings": ("context", "context_length", "positions", "max_seq_len", "max_length", "block_size"),
    "tie_word_embeddings": ("tie", "tied", "tie_embeddings", "tied_embeddings"),
    "num_experts": ("experts", "moe", "num_local_experts"),
    "num_experts_per_tok": ("experts", "moe", "top_k_experts"),
    "rank": ("r", "lora_r", "lora_rank"),
    "alpha": ("lora_alpha",),
    "dropout": ("lora_dropout",),
    "targets": ("target_modules",),
    "rank_stabilised": ("rslora", "use_rslora"),
    "decomposed": ("dora", "use_dora"),
    "kl_coefficient": ("beta", "kl", "kl_coef", "kl_beta", "kl_penalty"),
    "kl_target": ("kl", "target_kl"),
    "prompts": ("batch", "batch_size", "rollout_batch_size", "num_prompts"),
    "group_size": ("num_generations", "samples_per_prompt", "n_samples"),
    "epochs": ("ppo_epochs", "num_epochs", "num_ppo_epochs"),
    "minibatches": ("num_minibatches", "mini_batch_size", "num_mini_batches"),
    "max_tokens": ("max_new_tokens", "max_length", "response_length", "max_completion_length"),
    "temperature": ("temp",),
    "lam": ("lambda", "gae_lambda"),
    "gamma": ("discount",),
    "clip_low": ("clip", "epsilon", "clip_range", "cliprange", "clip_eps"),
    "clip_high": ("clip", "epsilon", "clip_range", "cliprange", "clip_eps"),
    "held_out_fraction": ("validation", "val_fraction", "test_size", "validation_split", "eval_split"),
}
"""Field -> what it is called elsewhere."""

NEAR = 0.6
"""How much alike two words are at least that may be meant for each other."""

_DERIVED = ("inputs", "version", "facts", "digest")
"""Fields that follow from others or from the code: nobody sets them."""


@dataclass(frozen=True)
class Field:
    """A field that can be set. `choices` are its only values, where there are few."""

    path: str
    value: Any
    meaning: str = ""
    choices: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


def list_fields(config: Any, path: str = "") -> list[Field]:
    """List all fields of a dataclass and of those within it, in their order; of a tuple of named ones, each under its
    name.

    Fields that follow from others are left out, and those without a default: they are the parts of a config.
    """
    if isinstance(config, tuple):
        return [found for part in config for found in list_fields(part, f"{path}{part.name}.")]
    return list(_fields_of(config, path))


def _fields_of(config: Any, path: str) -> Iterator[Field]:
    """Yield the fields that can be set in a dataclass and in the dataclasses within it."""
    kind: type = type(config)
    said, hints = meanings(kind), typing.get_type_hints(kind)
    for field in dataclasses.fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        if dataclasses.is_dataclass(value):
            yield from _fields_of(value, f"{path}{field.name}.")
            continue
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        is_empty_part = value is None and any(map(dataclasses.is_dataclass, typing.get_args(hint)))
        if has_default and field.name not in _DERIVED and not is_empty_part and not isinstance(value, Mapping):
            choices = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
            yield Field(f"{path}{field.name}", value, said.get(field.name, ""), choices)
            if isinstance(value, tuple) and all(hasattr(part, "name") for part in value):
                yield from list_fields(value, f"{path}{field.name}.")


def find(word: str, fields: Sequence[Field]) -> list[Field]:
    """Find fields by a word: in their path, in the names that they have elsewhere, or in their meaning."""
    word = _plain(word)
    pattern = re.compile(rf"(?:^|[\W_]){re.escape(word)}")

    def is_meant(field: Field) -> bool:
        texts = (field.path.lower(), _plain(field.meaning))
        return word in USUAL_WORDS.get(field.name, ()) or any(pattern.search(text) for text in texts)

    return [field for field in fields if is_meant(field)]


def nearest(path: str, fields: Sequence[Field], most: int = 3) -> list[str]:
    """Return the paths of the fields most like a mistyped `path`, the best first; none where nothing is near."""
    *around, name = _plain(path).split(".")
    ranked = sorted(((_likeness(name, around, field), -at) for at, field in enumerate(fields)), reverse=True)
    near = [(score, -at) for score, at in ranked if score >= NEAR]
    return [fields[at].path for score, at in near[:most] if score > near[0][0] - 0.05]


def _likeness(name: str, around: Sequence[str], field: Field) -> float:
    """Score from 0 to 1 how much `name` is like the field's, less for each part before it that the path lacks."""
    own = field.path.split(".")
    if name == field.name:
        alike = 1.0
    elif name in USUAL_WORDS.get(field.name, ()):
        alike = 0.97
    else:
        alike = _ratio(name, field.name)
        if alike < NEAR:
            return 0.0
    missed = [1.0 - max(_ratio(part, mine) for mine in own) for part in around]
    return alike - 0.4 * sum(missed) / max(1, len(missed))


def _ratio(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a, b).ratio()


def _plain(word: str) -> str:
    return word.strip().lower().replace("-", "_").replace(" ", "_")
