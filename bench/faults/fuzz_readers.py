"""The readers of files in Jielong, each with small files that it reads well, made by our own code.

`make` writes them into a folder, `read` opens the folder and walks through all that it was given, as the commands do, and
asserts that what was accepted is well-formed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import math
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from bench.faults.fuzz_tokenizers import (
    TALK,
    TEXTS,
    byte_level,
    make_foreign,
    own_tokenizer,
    read_tokenizer,
    sentencepiece,
)
from jielong.data import chat_files
from jielong.data.shards import Shards, write_shards
from jielong.errors import CheckpointError
from jielong.evaluate.task_runner import Result, read_results
from jielong.evaluate.tasks import read_task
from jielong.model import adapter_files, hf
from jielong.model.adapters import AdaptedModel, AdapterConfig
from jielong.model.families import FAMILIES, read_model_config
from jielong.model.transformer import LanguageModel
from jielong.opening.ports import aliases
from jielong.recipes import build_recipe
from jielong.recipes.shared.written import WrittenRecipe, read_recipe, write_recipe
from jielong.records import Conversation, Document, to_dict
from jielong.report.report import ReportData, print_table, read_report, report_json
from jielong.runs import MetricsLog, Run, canonical_json, find_model, lineage, open_run, read_metrics, write_json
from jielong.stages.pages import read_archive
from jielong.stages.parts import read_conversations, read_documents, write_jsonl
from jielong.stages.picking import picked_words, read_picked
from jielong.stages.recipe import change
from jielong.stages.settings import settings_in_words
from jielong.tokens import render
from jielong.train.machine import Machine
from jielong.tuning.study import Trial, read_trials, write_trials
from jielong.use.retrieval.library import Library
from jielong.use.tools.mcp_config import parse_server, read_servers
from jielong.worlds.household.files import read_task as read_home


@dataclass(frozen=True)
class Reader:
    """`files` are those that are damaged, one at a time; `read` is given the folder that the damaged one is in."""

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], None]
    files: tuple[str, ...]


# Models -------------------------------------------------------------------------------------------------------------

_SIZES = {
    **{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 340},
    **{"num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 64},
}
_GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "vocab_size": 340}
_YARN = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32}
_MORE: dict[str, dict[str, Any]] = {
    "llama": {"rope_scaling": _YARN},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8},
    "gemma3_text": {"sliding_window": 8, "query_pre_attn_scalar": 8},
}


def _tiny(family: str) -> LanguageModel:
    shape = _GPT2 if family == "gpt2" else _SIZES | _MORE.get(family, {})
    torch.manual_seed(0)
    return LanguageModel(read_model_config({"model_type": family, **shape}, Path("config.json")))


def _make_models(folder: Path) -> None:
    for family in FAMILIES:
        (folder / family).mkdir()
        hf.save(_tiny(family), folder / family, eos_token_id=3, pad_token_id=1)


def _read_model(folder: Path) -> None:
    model = hf.load(folder)
    assert isinstance(model, LanguageModel)
    with torch.no_grad():
        # another length of positions or base of angles is another model, and a fine one
        model(torch.arange(8)[None] % model.config.vocab_size)


def _make_sharded(folder: Path) -> None:
    hf.save(_tiny("qwen3"), folder, eos_token_id=3, pad_token_id=1, shard_bytes=20_000)


def _make_gguf(family: str, folder: Path) -> None:
    from jielong.model.gguf import export_gguf

    own_tokenizer().save(folder / "tokenizer")
    export_gguf(_tiny(family), folder / "tokenizer", folder / "model.gguf", "f32")


def _read_gguf(folder: Path) -> None:
    from jielong.model.gguf import GgufFile

    file = GgufFile(folder / "model.gguf")
    files = file.tokenizer_files()
    assert all(isinstance(text, str) for text in files.values())
    ids = file.special_ids()
    assert all(0 <= id < file.config.vocab_size for id in ids.values())
    file.language_model()


def _make_adapter(folder: Path) -> None:
    adapter_files.save(AdaptedModel(_tiny("qwen3"), AdapterConfig(rank=2, alpha=4.0)), folder)


def _read_adapter(folder: Path) -> None:
    adapter_files.load(folder, _tiny("qwen3"))
    with contextlib.suppress(CheckpointError):  # its model is not there
        adapter_files.base_of(folder)


# Runs ---------------------------------------------------------------------------------------------------------------


def _make_run(folder: Path) -> None:
    run = Run(folder / "run")
    run.begin({"recipe": "quickstart", "size": "1m", "seed": 0, "model": "rl"}, ("pretrain", "rl"), {"cpu": "x"})
    for name, parents in (("pretrain", {}), ("rl", {"start": "a" * 32})):
        run.begin_stage(name, "b" * 32, {"kind": "TrainStage", "steps": 5}, parents)
        run.end_stage(name, "b" * 32, {"checkpoint": "000005", "outputs": ["report.html"]})
        run.add_costs(name, 1.0, 1000)


def _read_run(folder: Path) -> None:
    run = open_run(folder)
    assert isinstance(lineage(run, settings_in_words), str)
    run.is_done("rl", "b" * 32)
    assert isinstance(find_model(run.path), Path)


def _read_picked(folder: Path) -> None:
    picked = read_picked(folder / "picked.json")
    assert isinstance(picked_words(picked, Machine("cpu", "float32", 1)), str)
    assert picked.get("micro_rows", 1) >= 1


def _make_metrics(folder: Path) -> None:
    log = MetricsLog(folder / "metrics.jsonl")
    for step in range(1, 6):
        log.write({"step": step, "loss": 3.0 / step, "rate": 1e-3, "held_out_loss": math.nan})
    log.close()


def _read_metrics(folder: Path) -> None:
    for record in read_metrics(folder / "metrics.jsonl"):
        assert isinstance(record, dict) and isinstance(record.get("step", 0), int)
    MetricsLog(folder / "metrics.jsonl", resume_step=3).close()


def _make_shards(folder: Path) -> None:
    tokenizer = own_tokenizer()
    write_shards(
        folder / "shards", ((f"d{i}", tokenizer.encode(t)) for i, t in enumerate(TEXTS)), tokenizer, shard_tokens=150
    )


def _read_shards(folder: Path) -> None:
    shards = Shards(folder)
    assert len(shards.ids) == shards.num_documents
    row = shards.gather(np.arange(shards.num_tokens))
    assert row.max() < shards.manifest["vocab_size"] and sum(len(shards.document(i)) for i in range(3)) > 0


def _make_parts(folder: Path) -> None:
    write_jsonl(folder / "documents.jsonl", [Document("Paris.", "a", "web", {"language": "en"}), Document("x", "b")])
    write_jsonl(folder / "chats.jsonl", [Conversation(tuple(TALK), {"a": 1}), Conversation(tuple(TALK))])


def _read_parts(folder: Path) -> None:
    assert all(isinstance(d.text, str) and isinstance(d.id, str) for d in read_documents(folder / "documents.jsonl"))
    for conversation in read_conversations(folder / "chats.jsonl"):
        render(conversation.messages, own_tokenizer())


def _make_trials(folder: Path) -> None:
    settings = {"optimizer.rate": 0.01}
    trials = [Trial(0, "done", settings, 1.5, ((5, 1.6), (10, 1.5)), 3.0), Trial(1, "failed", settings, cause="x")]
    write_trials(folder / "trials.jsonl", trials)


def _read_trials(folder: Path) -> None:
    for trial in read_trials(folder / "trials.jsonl"):
        assert trial.value is None or math.isfinite(trial.value)


def _make_pages(folder: Path) -> None:
    lines = [{"file": f"{i}.html", "uri": f"https://a.b/{i}", "content_type": "text/html"} for i in range(2)]
    with zipfile.ZipFile(folder / "pages.zip", "w", zipfile.ZIP_DEFLATED) as pages:
        for line in lines:
            pages.writestr(line["file"], f"<p>{line['uri']}</p>" * 20)
        pages.writestr("index.jsonl", "".join(canonical_json(line) + "\n" for line in lines))


def _read_pages(folder: Path) -> None:
    assert all(isinstance(page.body, bytes) for page in read_archive(folder / "pages.zip"))


def _make_report(folder: Path) -> None:
    stages = {"pretrain": {"held_out_loss": 3.0}, "sft": {"held_out_loss": 2.0, "unseen_accuracy_en": 0.5}}
    sample = {"question": "?", "answers": {"sft": {"text": "a", "score": 1}}}
    data = ReportData(stages, {"random": 0.1, "base": {"unseen_accuracy_en": 0.2}}, [sample], facts={"seconds": 3.0})
    write_json(folder / "report.json", report_json(data))


def _read_report(folder: Path) -> None:
    print_table(read_report(folder / "report.json"), Console(file=io.StringIO()))


def _make_recipe(folder: Path) -> None:
    write_recipe(
        folder / "recipe.json", WrittenRecipe("quickstart", size="smoke", seed=1, settings=("sft.loop.steps=5",))
    )


@functools.cache
def _recipe() -> Any:
    return build_recipe("quickstart", size="smoke", seed=0)


SETTINGS = (
    *(
        "sft.loop.steps=5",
        "pretrain.source.length=64",
        "pretrain.model.num_hidden_layers=2",
        "sft.loop.max_grad_norm=1.5",
    ),
    *("pretrain.optimizer.lr=0.1", "tokenizer.tokenizer.vocab_size=400", 'tokenizer.tokenizer.han="runs"'),
    *("pretrain.model.hidden_act=silu", "pretrain.model.sliding_layers=[0]", "rl.objective.policy.clip_low=0.1"),
    *('refine.refine.filters.languages=["en"]', "rl.source.divide_by_std=false", "evaluate.limit=3"),
)


def _make_settings(folder: Path) -> None:
    for number, setting in enumerate(SETTINGS):
        (folder / f"{number}.setting").write_text(setting, encoding="utf-8")


def _read_setting(folder: Path) -> None:
    for file in folder.iterdir():
        change(_recipe(), [file.read_bytes().decode("utf-8", "surrogateescape")]).fingerprints()


# What people bring --------------------------------------------------------------------------------------------------


def _make_brought(folder: Path) -> None:
    write_jsonl(folder / "chats.jsonl", [Conversation(tuple(TALK)), {"instruction": "Say", "output": "it"}])
    sides = {"prompt": "Hi", "chosen": "Hello.", "rejected": "No."}
    write_jsonl(folder / "preferences.jsonl", [sides, {**sides, "margin": 0.5}])


def _read_brought(folder: Path) -> None:
    chat_files.read_chats(folder / "chats.jsonl")
    chat_files.read_preferences(folder / "preferences.jsonl")


def _make_mcp(folder: Path) -> None:
    servers: dict[str, Any] = {
        "a": {"command": "npx", "args": ["-y", "x"], "env": {"A": "${B}"}, "timeout": 5, "disabledTools": ["y"]},
        "b": {"url": "https://a.b/sse", "headers": {"X": "1"}, "type": "sse", "disabled": False},
    }
    write_json(folder / "mcp.json", {"mcpServers": servers})


def _read_mcp(folder: Path) -> None:
    for name, written in read_servers(folder / "mcp.json").items():
        server = parse_server(name, written)
        assert server.is_disabled or isinstance(server.where, str)
        assert server.offers("z") in (True, False)


def _make_tasks(folder: Path) -> None:
    items = [
        {"id": "1", "question": "2+2?", "answer": "4", "meta": {"group": "a", "pair": "p", "side": "a"}},
        {"question": "?", "choices": ["a", "b"], "label": 1},
        {"question": "Write.", "checkers": [{"kind": "no-digits"}]},
        {"messages": [to_dict(m) for m in TALK[:2]], "scorer": "regex", "answers": ["a+"]},
    ]
    write_jsonl(folder / "task.jsonl", items)


def _make_results(folder: Path) -> None:
    results = [Result("1", 0, 1.0, "four", {"why": "x"}), Result("2", 1, 0.0, error="too long")]
    lines = [{**to_dict(r), "question": "2+2?", "item": "d" * 32} for r in results]
    (folder / "results.jsonl").write_text("".join(canonical_json(line) + "\n" for line in lines))


def _read_results(folder: Path) -> None:
    for (id, sample), (result, of) in read_results(folder / "results.jsonl").items():
        assert isinstance(id, str) and isinstance(sample, int) and isinstance(of, str) and math.isfinite(result.score)


def _make_home(folder: Path) -> None:
    rooms = {"kitchen": {"doors": ["hall"], "furniture": ["sink", {"name": "fridge", "open": True}]}}
    rooms["hall"] = {"furniture": [{"name": "hall stand", "zh": "衣帽架", "like": "rack"}, "lamp"]}
    things = [
        {"name": "cup", "at": "kitchen/fridge"},
        {"name": "medal", "zh": "奖章", "takes": ["clean"], "at": "hall/hall stand"},
    ]
    goal = [{"thing": "medal", "is": "clean"}, {"thing": "medal", "at": "kitchen/fridge"}]
    write_json(folder / "home.json", {"rooms": rooms, "things": things, "start": "kitchen", "goal": goal})


def _make_library(folder: Path) -> None:
    (folder / "a.txt").write_text("\n\n".join(TEXTS), encoding="utf-8")
    library = Library(folder / "library.db")
    library.add([folder / "a.txt"])
    library.close()


def _read_library(folder: Path) -> None:
    library = Library(folder / "library.db")
    try:
        library.check()
        library.files()
        assert library.num_chunks >= 0
        asyncio.run(library.search("capital of France", 3))
    finally:
        library.close()


def _read_aliases(folder: Path) -> None:
    os.environ["JIELONG_HOME"] = str(folder)
    assert all(isinstance(spec, str) for spec in aliases().values())


_CONFIGS = tuple(f"{family}/config.json" for family in FAMILIES)
_BESIDE = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "config.json",
    "generation_config.json",
)

READERS: tuple[Reader, ...] = (
    Reader("own tokenizer", lambda folder: own_tokenizer().save(folder), read_tokenizer, ("tokenizer.json",)),
    Reader("byte-level tokenizer", lambda f: make_foreign(f, *byte_level(own_tokenizer())), read_tokenizer, _BESIDE),
    Reader("sentencepiece tokenizer", lambda f: make_foreign(f, *sentencepiece()), read_tokenizer, _BESIDE),
    Reader("config.json", _make_models, _read_model, _CONFIGS),
    Reader("weights", _make_sharded, _read_model, ("model-00001-of-00003.safetensors", hf.INDEX)),
    Reader("gguf", functools.partial(_make_gguf, "qwen3"), _read_gguf, ("model.gguf",)),
    Reader("gguf of llama", functools.partial(_make_gguf, "llama"), _read_gguf, ("model.gguf",)),
    Reader("adapter", _make_adapter, _read_adapter, ("adapter_config.json", "adapter_model.safetensors")),
    Reader("run.json", _make_run, _read_run, ("run/run.json",)),
    Reader(
        "picked.json",
        lambda f: write_json(f / "picked.json", {"compile": False, "micro_rows": 4, "shape": [4, 64]}),
        _read_picked,
        ("picked.json",),
    ),
    Reader("metrics", _make_metrics, _read_metrics, ("metrics.jsonl",)),
    Reader(
        "shards",
        _make_shards,
        _read_shards,
        tuple(f"shards/{n}" for n in ("manifest.json", "shard-00000.idx", "shard-00001.bin", "shard-00000.ids")),
    ),
    Reader("stages' records", _make_parts, _read_parts, ("documents.jsonl", "chats.jsonl")),
    Reader("pages", _make_pages, _read_pages, ("pages.zip",)),
    Reader("report", _make_report, _read_report, ("report.json",)),
    Reader("trials", _make_trials, _read_trials, ("trials.jsonl",)),
    Reader(
        "written recipe",
        _make_recipe,
        lambda f: change(read_recipe(f / "recipe.json").build(), []) and None,
        ("recipe.json",),
    ),
    Reader("--set", _make_settings, _read_setting, tuple(f"{i}.setting" for i in range(len(SETTINGS)))),
    Reader("chats and preferences", _make_brought, _read_brought, ("chats.jsonl", "preferences.jsonl")),
    Reader("MCP config", _make_mcp, _read_mcp, ("mcp.json",)),
    Reader("task", _make_tasks, lambda f: read_task(f / "task.jsonl") and None, ("task.jsonl",)),
    Reader("results", _make_results, _read_results, ("results.jsonl",)),
    Reader("home", _make_home, lambda f: read_home(f / "home.json") and None, ("home.json",)),
    Reader("library", _make_library, _read_library, ("library.db",)),
    Reader("aliases", lambda f: write_json(f / "aliases.json", {"a": "models/a"}), _read_aliases, ("aliases.json",)),
)
