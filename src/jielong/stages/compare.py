"""The stage that measures what an adapter changed: held-out loss or preferences, and texts, before and after."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

from jielong.data.batches import Batch
from jielong.errors import ConfigError
from jielong.generate.engine import Engine, EngineConfig
from jielong.model import adapter_files, hf
from jielong.model.adapters import AdapterConfig
from jielong.model.quantised import quantise, weight_bytes
from jielong.model.transformer import LanguageModel
from jielong.records import Conversation, Sampling
from jielong.runs import derive_seed, write_directory, write_json, write_text
from jielong.stages.files import asked_before_last_answer
from jielong.stages.models import open_tokenizer
from jielong.stages.parts import read_conversations, read_documents, read_preferences, read_ratings
from jielong.stages.preferred import held_out_answers, preference_figures
from jielong.stages.recipe import Context, Recipe, Stage, Summary
from jielong.stages.samples import as_written, opening
from jielong.stages.sources import held_by, material_of
from jielong.stages.train import TrainStage, save_model
from jielong.tokens.tokenizer import Tokenizer
from jielong.train.checks import held_out_loss
from jielong.train.parallel import Ranks
from jielong.use.port import LocalPort

Measure = Callable[[LanguageModel], dict[str, float]]
"""What is found of a model on held-out data, by name."""


@dataclass(frozen=True)
class CompareStage(Stage):
    """Compare an adapter with its base, on held-out data and in texts. Inputs: adapter, base, tokenizer, data.

    The base may be an earlier state of the adapter. The adapter is put into the run's folder, and with `merge` the model that it makes too.
    """

    name: str
    inputs: Mapping[str, str]
    merge: bool = False
    """Whether the merged model is written too."""
    num_samples: int = 4
    """Answers that are shown."""
    max_tokens: int = 80
    """The longest an answer may be."""
    version: int = 1

    def _trained(self, recipe: Recipe) -> tuple[TrainStage, AdapterConfig]:
        """Return the stage that trained the adapter, and its config. Raises ConfigError if it trained none."""
        stage = recipe.stage(self.inputs["adapter"])
        if not isinstance(stage, TrainStage) or stage.adapter is None:
            raise ConfigError(f"{self.name} compares an adapter with its base; {stage.name!r} trains none")
        return stage, stage.adapter

    def check(self, recipe: Recipe) -> None:
        self._trained(recipe)

    def run(self, context: Context) -> Summary:
        """Write adapter/, merged/ if asked for, compare.json and samples.txt into the run's directory."""
        tokenizer = open_tokenizer(self, context)
        seed = derive_seed(context.recipe.seed, self.name)
        trained, adapter = self._trained(context.recipe)
        path, base = context.checkpoint(trained.name), context.checkpoint(self.inputs["base"])
        material = material_of(self.inputs["data"], context, tokenizer)
        is_judged = material.holds in ("preferences", "ratings")
        measured = (self._preference_measure if is_judged else self._reading)(context, tokenizer, seed)
        prompts, openings = self._what_to_write(context)
        sampling = Sampling(max_tokens=self.max_tokens, temperature=0.0)

        def open_base() -> LanguageModel:
            """Load the model from before the training."""
            is_adapter = adapter_files.is_adapter(base)
            model = adapter_files.load_merged(base) if is_adapter else hf.load_language_model(base)
            model.to(context.machine.device)
            model.model.compute_dtype = context.machine.torch_dtype
            return model

        def write(model: LanguageModel) -> list[str]:
            """Let a model answer the held-out questions, or continue the openings."""
            length = min(model.config.max_position_embeddings, 2048)
            config = EngineConfig(slots=8, length=length, dtype=context.machine.dtype)
            port = LocalPort(Engine(model, config, tokenizer.suppressed_ids(model.config.vocab_size)), tokenizer)
            if prompts:
                return [as_written(a) for a in port.ask_many(prompts, sampling, seed=seed)]
            return [as_written(a) for a in port.complete_many(openings, sampling, seed=seed)]

        model = open_base()
        found = {"before": measured(model)}
        texts = {"before": write(model)}
        if adapter_files.is_adapter(base):
            del model
            model = hf.load_language_model(adapter_files.base_of(path)).to(context.machine.device)
            model.model.compute_dtype = context.machine.torch_dtype
        model = adapter_files.load(path, model).merge(keep=False)
        found["after"] = measured(model)
        texts["after"] = write(model)
        if self.merge:
            write_directory(context.run.path / "merged", lambda folder: save_model(model, tokenizer, folder))
        write_directory(context.run.path / "adapter", lambda folder: _copy(path, folder))
        lines = [preference_figures(found) if is_judged else _figures(found)]
        if adapter.base == "int8" and not is_judged:
            del model
            small = open_base()
            full_bytes = weight_bytes(small)
            quantise(small)
            found["int8"] = measured(small) | {"saved_bytes": full_bytes - weight_bytes(small)}
            lines.append(
                f"int8 weights before adapting: bits per byte {found['before']['bits_per_byte']:.4f} -> "
                f"{found['int8']['bits_per_byte']:.4f}, {found['int8']['saved_bytes'] / 1e9:.2f} of {full_bytes / 1e9:.2f} GB saved"
            )
        context.display.message("\n".join(lines))
        shown = [c.messages[-1].text for c in prompts] or openings
        for asked, before, after in zip(shown, texts["before"], texts["after"], strict=True):
            lines += ["", f"> {asked}", f"  before: {before}", f"  after:  {after}"]
        write_text(context.run.path / "samples.txt", "\n".join(lines) + "\n")
        write_json(context.run.path / "compare.json", {"measures": found, "asked": shown, "texts": texts})
        outputs = ["adapter", "compare.json", "samples.txt", *(["merged"] if self.merge else [])]
        return {"measures": found, "outputs": outputs, "shown": ["samples.txt"]}

    def _reading(self, context: Context, tokenizer: Tokenizer, seed: int) -> Measure:
        """Make a measure of held-out loss on the adapter's kind of data."""
        trained, _ = self._trained(context.recipe)
        batches = trained.source.build(trained.source_context(context, tokenizer, seed)).held_out
        config, _ = hf.read_config(context.checkpoint(self.inputs["base"]))
        check = held_out_loss(trained.build_objective(config, {}), batches, Ranks())
        return lambda model: measure(check, model, batches, tokenizer)

    def _preference_measure(self, context: Context, tokenizer: Tokenizer, seed: int) -> Measure:
        """Return a function that measures a model's preferences among held-out answers, against the first it was called with."""
        del seed
        trained, _ = self._trained(context.recipe)
        rows = trained.source.rows()
        assert rows is not None
        answers = held_out_answers(material_of(self.inputs["data"], context, tokenizer), rows.length)
        before: list[list[float]] = []

        def measured(model: LanguageModel) -> dict[str, float]:
            before.append(answers.logprobs(model, tokenizer.pad))
            return answers.measure(before[-1], before[0] if len(before) > 1 else None)

        return measured

    def _what_to_write(self, context: Context) -> tuple[list[Conversation], list[str]]:
        """Return held-out questions, or without chats the openings of held-out documents."""
        held_out, summary = context.parent(self, "held_out"), context.summary(self.inputs["held_out"])
        holds = summary.get("holds")
        if holds in ("preferences", "ratings"):
            file = held_out / "held_out.jsonl"
            judged = read_preferences(file) if holds == "preferences" else read_ratings(file)
            asked = list(dict.fromkeys(r.prompt for r in judged if sum(len(m.text) for m in r.prompt) < 2000))
            return [Conversation(prompt) for prompt in asked[: self.num_samples]], []
        if held_by(held_out, holds) == "chats":
            chats = read_conversations(held_out / "held_out.jsonl")
            before = [c for chat in chats if (c := asked_before_last_answer(chat)) is not None]
            short = [c for c in before if sum(len(m.text) for m in c.messages) < 2000]
            return short[: self.num_samples], []
        documents = read_documents(held_out / "held_out.jsonl")[: self.num_samples]
        return [], [opening(d) for d in documents]


def measure(
    check: Callable[[Mapping[str, Any], int], dict[str, float]],
    model: LanguageModel,
    batches: Sequence[Batch],
    tokenizer: Tokenizer,
) -> dict[str, float]:
    """Return held-out loss in nats a token and in bits for each byte of the same tokens."""
    model.requires_grad_(False)
    loss = check({"policy": model}, 0)["held_out_loss"]
    num_tokens = sum(int((b.weights > 0).sum()) for b in batches)
    num_bytes = sum(int(tokenizer.byte_lengths[b.targets[b.weights > 0].numpy()].sum()) for b in batches)
    return {"held_out_loss": loss, "bits_per_byte": loss * num_tokens / max(num_bytes, 1) / math.log(2)}


def _copy(adapter: Path, folder: Path) -> None:
    copytree(adapter, folder, dirs_exist_ok=True)


def _figures(found: Mapping[str, Mapping[str, float]]) -> str:
    """Format both losses in a line, before and after."""
    before, after = found["before"], found["after"]
    return (
        f"held-out loss {before['held_out_loss']:.4f} -> {after['held_out_loss']:.4f} nats a token, "
        f"bits per byte {before['bits_per_byte']:.4f} -> {after['bits_per_byte']:.4f}"
    )
