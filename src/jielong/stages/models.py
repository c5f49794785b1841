"""Models among a stage's inputs: opening a tokenizer and a port by role; and the stage that stands for an existing
model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from jielong.errors import CheckpointError
from jielong.generate.engine import Engine, EngineConfig
from jielong.model import adapter_files
from jielong.model.hf import load_language_model, read_config
from jielong.model.transformer import LanguageModel
from jielong.outside import own_file
from jielong.stages.recipe import Context, Stage, Summary
from jielong.tokens.tokenizer import Tokenizer
from jielong.train.machine import Machine
from jielong.use.port import LocalPort


@dataclass(frozen=True)
class ModelStage(Stage):
    """An existing model, with its tokenizer, to start from; `digest` stands for the content of its files."""

    name: str
    path: str
    digest: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    version: int = 1
    only_places: ClassVar[tuple[str, ...]] = ("path",)

    def model_from_elsewhere(self) -> Path:
        return Path(self.path)

    def run(self, context: Context) -> Summary:
        """Link the stage's folder to the model, which is read where it lies and not copied."""
        path = Path(self.path)
        tokenizer = Tokenizer.load(path)
        config, _ = read_config(path)
        if tokenizer.vocab_size > config.vocab_size:
            raise CheckpointError(
                f"the tokenizer in {path} has {tokenizer.vocab_size} ids and the model {config.vocab_size}; they do not belong together"
            )
        directory = context.directory(self.name)
        for link in (directory / "steps" / "000000" / "model", directory / "tokenizer"):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(path, target_is_directory=True)
        return {"checkpoint": "000000", "path": self.path, "vocab_size": tokenizer.vocab_size}


def model_digest(path: Path) -> str:
    """Return the hex blake2b-128 of a model's config, weights and tokenizer."""
    digest = hashlib.blake2b(digest_size=16)
    files = [*path.glob("*.safetensors"), *path.glob("*.json"), *path.glob("*.model"), *path.glob("*.txt")]
    for file in sorted(files):
        with own_file(file).open("rb") as opened:
            digest.update(file.name.encode() + hashlib.file_digest(opened, "blake2b").digest())
    return digest.hexdigest()


def open_tokenizer(stage: Stage, context: Context) -> Tokenizer:
    """Load the tokenizer among the stage's inputs."""
    return Tokenizer.load(context.parent(stage, "tokenizer") / "tokenizer")


def port_of(stage: Stage, context: Context, role: str) -> LocalPort:
    """Open a port to the model that plays `role` among the stage's inputs; an adapter is merged into its base."""
    path = context.checkpoint(stage.inputs[role])
    is_adapter = adapter_files.is_adapter(path)
    model = (adapter_files.load_merged(path) if is_adapter else load_language_model(path)).to(context.machine.device)
    tokenizer = open_tokenizer(stage, context)
    return LocalPort(engine_of(model, tokenizer, context.machine), tokenizer)


def engine_of(model: LanguageModel, tokenizer: Tokenizer, machine: Machine) -> Engine:
    """Make an engine for many requests at a time, on a model on the machine's device."""
    # a stage that goes on after a stop must repeat what it did: no rounding that depends on earlier requests
    config = EngineConfig(slots=128, dtype=machine.dtype, reuse=0)
    return Engine(model, config, tokenizer.suppressed_ids(model.config.vocab_size))
