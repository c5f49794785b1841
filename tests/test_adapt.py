"""`jielong adapt`: a model learns one's own text or chats, its files stay as they were, and memory is reckoned first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from jielong.cli.main import build_parser, main
from jielong.errors import CheckpointError, ConfigError, DataError, JielongError, ResourceError
from jielong.model import adapter_files, hf
from jielong.model.adapters import AdaptedModel, AdapterConfig
from jielong.model.presets import preset
from jielong.model.transformer import LanguageModel, ModelConfig, fresh_language_model
from jielong.recipes.adapt import adapt
from jielong.runs import find_model, read_json
from jielong.stages.recipe import change
from jielong.stages.train import TrainStage
from jielong.tokens.tokenizer import TokenizerConfig, train_tokenizer
from jielong.train.machine import bf16_is_right
from jielong.train.memory import check_memory, memory_needed, memory_total
from jielong.train.sources import RowsConfig

SHAPE = ModelConfig(
    vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, head_dim=32, max_position_embeddings=128,
)  # fmt: skip
ANIMALS = "cat dog hen cow fox owl bee ant pig rat".split()


def text(number: int) -> str:
    lines = [
        f"The {a} of farm {number} sleeps in house {(i * 7 + number) % 50} and it likes to eat {ANIMALS[-i]} food in spring."
        for i, a in enumerate(ANIMALS)
    ]
    return f"Farm {number}\n\n" + "\n".join(lines[number % 5 :])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    tokenizer = train_tokenizer([text(i) for i in range(50)], TokenizerConfig(vocab_size=512))
    config = ModelConfig(**{**SHAPE.__dict__, "vocab_size": tokenizer.vocab_size})
    hf.save(fresh_language_model(config, 1), path, eos_token_id=tokenizer.im_end, pad_token_id=tokenizer.pad)
    tokenizer.save(path)
    return path


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    file = tmp_path / "chats.jsonl"
    lines = []
    for i in range(60):
        animal = ANIMALS[i % 10]
        messages = [
            {"role": "user", "content": f"What does the {animal} of farm {i} eat?"},
            {"role": "assistant", "content": f"The {animal} likes to eat {animal} food in spring."},
        ]
        lines.append(json.dumps({"messages": messages}))
    file.write_text("\n".join(lines))
    return file


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    folder = tmp_path / "pages"
    folder.mkdir()
    for i in range(40):
        (folder / f"{i}.txt").write_text(text(i))
    return folder


def run(*arguments: object) -> int:
    parsed = build_parser().parse_args(["adapt", *map(str, arguments)])
    return parsed.command(parsed)


FAST = ("--set", "adapt.loop.steps=12", "--set", "adapt.optimizer.lr=0.01", "--rank", 4)


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def test_chats_teach_an_adapter_whose_merged_model_is_better_and_leave_the_model_alone(tmp_path, model, chats, capsys):
    before = files_of(model)
    assert run(model, "--chat", chats, "--merge", "--runs", tmp_path / "runs", *FAST) == 0
    said = capsys.readouterr().out
    assert "held-out loss" in said and "before:" in said
    (run_path,) = (tmp_path / "runs").iterdir()
    measures = read_json(run_path / "compare.json")["measures"]
    assert measures["after"]["held_out_loss"] < measures["before"]["held_out_loss"] - 0.3
    assert measures["after"]["bits_per_byte"] < measures["before"]["bits_per_byte"]
    assert files_of(model) == before

    # the adapter in the run's folder on the model, and the merged model, are one and the same
    merged = hf.load_language_model(run_path / "merged")
    inputs = torch.arange(100, 120)[None]
    adapted = adapter_files.load(run_path / "adapter", hf.load_language_model(model))
    with torch.no_grad():
        torch.testing.assert_close(merged.logits(merged(inputs)), adapted.logits(adapted(inputs)), rtol=1e-4, atol=1e-5)
    assert adapter_files.base_of(run_path / "adapter") == model.resolve()

    # an export is the merged model too, whether it was kept or not
    assert main(["export", str(run_path), "--out", str(tmp_path / "out")]) == 0
    assert main(["export", f"{run_path}:adapt", "--dtype", "bfloat16", "--out", str(tmp_path / "half")]) == 0
    assert f"Merged:  the adapter in {run_path}" in capsys.readouterr().out
    for name, exact in merged.named_parameters():
        torch.testing.assert_close(dict(hf.load(tmp_path / "out").named_parameters())[name], exact)
        torch.testing.assert_close(dict(hf.load(tmp_path / "half").named_parameters())[name], exact.bfloat16().float())
    assert find_model(tmp_path / "out") == tmp_path / "out"
    with pytest.raises(ConfigError, match="is an adapter; merge it first with: jielong export"):
        adapt(run_path, chat=chats)

    # what exists is not made again, and the merged model is a model to start from
    stamps = {p: p.stat().st_mtime_ns for p in run_path.rglob("*.safetensors")}
    assert run(model, "--chat", chats, "--merge", "--runs", tmp_path / "runs", *FAST) == 0
    assert {p: p.stat().st_mtime_ns for p in run_path.rglob("*.safetensors")} == stamps
    assert find_model(run_path / "merged") == run_path / "merged"


def test_a_folder_of_text_teaches_an_adapter_over_int8_weights_and_says_what_they_cost(tmp_path, model, pages, capsys):
    assert run(model, "--source", pages, "--base", "int8", "--runs", tmp_path / "runs", *FAST) == 0
    assert "int8 weights before adapting: bits per byte" in capsys.readouterr().out
    (run_path,) = (tmp_path / "runs").iterdir()
    measures = read_json(run_path / "compare.json")["measures"]
    assert measures["after"]["held_out_loss"] < measures["before"]["held_out_loss"] - 0.3
    assert abs(measures["int8"]["bits_per_byte"] / measures["before"]["bits_per_byte"] - 1) < 0.01
    assert not (run_path / "merged").exists()


def test_a_stage_of_a_run_of_ours_is_a_start(tmp_path, model, chats):
    steps = tmp_path / "old" / "sft" / "steps" / "000007"
    steps.mkdir(parents=True)
    model.rename(steps / "model")
    begun = {"fingerprint": "x", "seconds": 1.0, "parents": {}}
    stages = {"sft": {**begun, "done": "x", "summary": {"checkpoint": "000007"}}}
    (tmp_path / "old" / "run.json").write_text(json.dumps({"version": 1, "stages": stages}))
    for start in (tmp_path / "old", tmp_path / "old" / "sft", steps / "model"):
        assert find_model(start) == steps / "model"
    recipe = adapt(tmp_path / "old", chat=chats)
    assert recipe.stage("base").path == str((steps / "model").resolve())
    with pytest.raises(ConfigError, match=r"no finished stage .rl."):
        find_model(tmp_path / "old" / "rl")


def test_another_model_or_other_chats_are_another_run(tmp_path, model, chats):
    first = adapt(model, chat=chats).fingerprints()
    assert adapt(model, chat=chats).fingerprints() == first
    (model / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:-4] + b"\0\1\2\3")
    assert adapt(model, chat=chats).fingerprints()["adapt"] != first["adapt"]


def test_mistakes_cost_one_sentence(tmp_path, model, chats, pages):
    cases: list[tuple[dict, type[JielongError], str]] = [
        ({"model": model}, ConfigError, "--source DIR .* or --chat"),
        ({"model": model, "chat": chats, "source": pages}, ConfigError, "one thing"),
        ({"model": tmp_path / "none", "chat": chats}, ConfigError, "neither a run"),
        ({"model": model, "chat": tmp_path / "none.jsonl"}, DataError, "none.jsonl"),
        ({"model": model, "chat": chats, "rank": 0}, ConfigError, "rank"),
        ({"model": model, "chat": chats, "base": "int4"}, ConfigError, "int8"),
    ]
    for options, kind, told in cases:
        with pytest.raises(kind, match=told):
            adapt(options.pop("model"), **options)
    few = tmp_path / "few.jsonl"
    few.write_text(chats.read_text().splitlines()[0])
    with pytest.raises(DataError, match="at least 20"):
        adapt(model, chat=few)
    with pytest.raises(ConfigError, match="muon"):
        change(adapt(model, chat=chats), ["adapt.optimizer.name=muon"])
    (model / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="is an adapter"):
        adapt(model, chat=chats)


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(tmp_path, model, chats):
    small = ModelConfig(**{**SHAPE.__dict__, "vocab_size": 330})
    hf.save(fresh_language_model(small, 1), model, eos_token_id=3, pad_token_id=1)
    with pytest.raises(CheckpointError, match="do not belong together"):
        run(model, "--chat", chats, "--runs", tmp_path / "runs")


def test_a_decomposed_adapter_is_a_setting_and_goes_on_only_as_one(tmp_path, model, chats):
    on = "adapt.adapter.decomposed=true"
    assert run(model, "--chat", chats, "--merge", "--runs", tmp_path / "runs", "--set", on, *FAST) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert read_json(folder / "adapter" / "adapter_config.json")["use_dora"] is True
    adapted = adapter_files.load(folder / "adapter", hf.load_language_model(model))
    inputs = torch.arange(40)[None]
    with torch.no_grad():
        expected = adapted.logits(adapted(inputs))
        merged = hf.load_language_model(folder / "merged")
        torch.testing.assert_close(merged.logits(merged(inputs)), expected, rtol=1e-4, atol=1e-4)

    pairs = tmp_path / "pairs.jsonl"
    talk = [{"role": "user", "content": "What does the cat eat?"}]
    sides = {
        side: [*talk, {"role": "assistant", "content": text}]
        for side, text in (("chosen", "Fish."), ("rejected", "I."))
    }
    pairs.write_text("\n".join([json.dumps({"prompt": talk, **sides})] * 24))
    recipe = adapt(model, chat=chats, preferences=pairs)
    for settings, told in (([on], "false; of .* true"), (["dpo.adapter.decomposed=true"], "true; of .* false")):
        changed = change(recipe, settings)
        with pytest.raises(ConfigError, match=f"adapter.decomposed is {told}"):
            changed.stage("dpo").check(changed)
    both = change(recipe, [on, "dpo.adapter.decomposed=true"])
    both.stage("dpo").check(both)


# Memory ------------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_before_loading_with_figures_and_a_way(model, chats):
    recipe = change(adapt(model, chat=chats), ["adapt.source.micro_rows=4", "adapt.source.rows_per_step=4"])
    stage = recipe.stage("adapt")
    assert isinstance(stage, TrainStage) and isinstance(stage.source, RowsConfig) and stage.adapter
    stage.check(recipe)

    def check(free: float) -> None:
        assert isinstance(stage.source, RowsConfig) and stage.adapter
        check_memory(model, hf.read_config(model)[0], stage.name, stage.source, stage.adapter, free)

    item = 2 if bf16_is_right("cpu") else 4
    needed = memory_total(memory_needed(hf.read_config(model)[0], stage.adapter, stage.source, item))
    told = r"GB of memory \(training: weights .* GB are free; with --set adapt.source.micro_rows=2"
    with pytest.raises(ResourceError, match=told):
        check(needed * 0.75)
    with pytest.raises(ResourceError, match="take a smaller model"):
        check(1e3)


def test_int8_and_the_compute_dtype_are_reckoned_to_take_less():
    shape, rows = preset("gpt2"), RowsConfig(512, 4, 2)
    forms = {b: memory_needed(shape, AdapterConfig(base=b), rows, 2)["weights"] for b in ("float32", "compute", "int8")}
    assert forms["int8"] < forms["compute"] < forms["float32"]
    # 85M of 124M parameters are matrices of the layers: 3 bytes of 4 saved on each
    with torch.device("meta"):
        named = LanguageModel(shape).named_parameters()
    exact = sum(p.numel() for n, p in named if ".layers." in n and p.dim() == 2)
    assert forms["compute"] - forms["int8"] == exact


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_activations_are_reckoned_as_what_the_backward_pass_keeps(dtype):
    """Counted from the tensors that autograd saves, each storage once, weights left out."""
    shape = ModelConfig(**{**SHAPE.__dict__, "num_hidden_layers": 6})
    rows = RowsConfig(length=128, rows_per_step=4, micro_rows=4)
    base = fresh_language_model(shape, 0)
    base.model.compute_dtype = dtype
    adapter = AdapterConfig(rank=8)
    model = AdaptedModel(base, adapter)
    known = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    saved: dict[int, int] = {}
    alive = []  # or the next tensor may take the storage of one that is gone

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    inputs = torch.randint(0, 512, (4, 128), generator=torch.Generator().manual_seed(0))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        model(inputs, None, torch.ones_like(inputs))
    counted = sum(saved.values())
    reckoned = memory_needed(shape, adapter, rows, dtype.itemsize)["activations"]
    assert 0.7 * counted < reckoned < 1.6 * counted, (counted, reckoned)
