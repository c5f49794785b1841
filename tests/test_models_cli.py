"""`jielong import`, `export`, `push` and `pull`: what goes out comes back, and nothing there is lost."""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jielong.cli.models import add_parser
from jielong.errors import CheckpointError, ConfigError
from jielong.model import hf
from jielong.model.transformer import LanguageModel, ModelConfig, RopeScaling, fresh_language_model
from jielong.runs import find_model
from jielong.tokens import Tokenizer, TokenizerConfig, train_tokenizer

TOKENIZER = train_tokenizer(["the sea 大海 the sea\n"] * 20, TokenizerConfig(vocab_size=330))


def command(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(required=True))
    arguments = parser.parse_args([str(word) for word in words])
    code: int = arguments.command(arguments)
    return code


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    config = ModelConfig(TOKENIZER.vocab_size, 32, 48, 2, 4, 2, 16, 64)
    folder = tmp_path / "made"
    folder.mkdir()
    hf.save(fresh_language_model(config, seed=1), folder, eos_token_id=TOKENIZER.im_end, pad_token_id=TOKENIZER.pad)
    TOKENIZER.save(folder)
    return folder


def assert_same_model(a: Path, b: Path) -> None:
    first, second = hf.load_language_model(a), hf.load_language_model(b)
    assert isinstance(first, LanguageModel) and first.config == second.config
    for (name, x), (_, y) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        assert torch.equal(x, y), name
    assert Tokenizer.load(a) == Tokenizer.load(b)


def test_a_model_goes_out_as_gguf_and_comes_back_the_same(tmp_path: Path, model_folder: Path, capsys) -> None:
    pytest.importorskip("gguf")
    file = tmp_path / "m.gguf"
    assert command("export", model_folder, "--format", "gguf", "--type", "f32", "--out", file) == 0
    assert "no pre-tokenizer equal" in capsys.readouterr().out
    assert command("import", file, "--out", tmp_path / "back") == 0
    assert f"jielong export {tmp_path / 'back'}" in capsys.readouterr().out
    assert_same_model(model_folder, tmp_path / "back")


def test_a_folder_in_shards_of_bfloat16_becomes_one_of_ours(tmp_path: Path, model_folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.bfloat16)
    theirs.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json"):
        command("import", tmp_path / "shards", "--out", tmp_path / "back")
    TOKENIZER.save(tmp_path / "shards")
    command("import", tmp_path / "shards", "--out", tmp_path / "back")
    assert [f.name for f in (tmp_path / "back").glob("*.safetensors")] == ["model.safetensors"]
    again = dict(hf.load_language_model(tmp_path / "back").named_parameters())
    for name, exact in hf.load_language_model(model_folder).named_parameters():
        assert torch.equal(again[name], exact.bfloat16().float())


@pytest.mark.parametrize("words", [("push",), ("export", "--out"), ("pull", "--out")])
def test_what_is_copied_to_a_folder_is_whole_and_replaces_nothing_unasked(
    tmp_path: Path, model_folder: Path, words: tuple[str, ...]
) -> None:
    target = tmp_path / "elsewhere" / "copy"
    name, *option = words
    command(name, model_folder, *option, target)
    assert_same_model(model_folder, target)
    (target / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="already there"):
        command(name, model_folder, *option, target)
    assert (target / "mine.txt").exists()
    command(name, model_folder, *option, target, "--force")
    assert not (target / "mine.txt").exists()
    assert [p.name for p in target.parent.iterdir()] == ["copy"], "nothing is left beside it"


def test_a_cut_copy_never_takes_the_place_of_a_whole_one(tmp_path: Path, model_folder: Path) -> None:
    command("push", model_folder, tmp_path / "kept")
    (model_folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
        command("push", model_folder, tmp_path / "kept", "--force")
    hf.load(tmp_path / "kept")


def test_an_export_in_bfloat16_is_half_as_large_and_says_so(tmp_path: Path, model_folder: Path) -> None:
    command("export", model_folder, "--dtype", "bfloat16", "--out", tmp_path / "half")
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (model_folder, tmp_path / "half")]
    assert sizes[1] < 0.6 * sizes[0]
    assert json.loads((tmp_path / "half" / "config.json").read_text())["torch_dtype"] == "bfloat16"
    assert Tokenizer.load(tmp_path / "half") == TOKENIZER
    again = dict(hf.load_language_model(tmp_path / "half").named_parameters())
    for name, exact in hf.load_language_model(model_folder).named_parameters():
        assert torch.equal(again[name], exact.bfloat16().float())
    with pytest.raises(ConfigError, match="'float16' is not available; expected one of float32, bfloat16"):
        command("export", model_folder, "--dtype", "float16", "--out", tmp_path / "x")


def test_a_model_is_extended_and_once_more_from_the_length_it_was_trained_on(
    tmp_path: Path, model_folder: Path
) -> None:
    command("extend", model_folder, "--positions", "256", "--out", tmp_path / "long")
    command("extend", tmp_path / "long", "--positions", "640", "--out", tmp_path / "longer")
    for folder, positions, factor in (("long", 256, 4.0), ("longer", 640, 10.0)):
        extended, short = hf.load_language_model(tmp_path / folder), hf.load_language_model(model_folder)
        assert extended.config.max_position_embeddings == positions
        assert extended.config.rope_scaling == RopeScaling("yarn", factor, original_max_position_embeddings=64)
        assert all(torch.equal(x, y) for x, y in zip(extended.parameters(), short.parameters(), strict=True))
        assert Tokenizer.load(tmp_path / folder) == TOKENIZER
    with pytest.raises(ConfigError, match="64 positions are no more than the model's 64"):
        command("extend", model_folder, "--positions", "64", "--out", tmp_path / "x")
    with pytest.raises(ConfigError, match=r"these are scaled \(linear\)"):
        replace(short.config, rope_scaling=RopeScaling("linear", 2.0)).extended(256)


def test_a_copy_of_shards_is_refused_where_one_is_missing(tmp_path: Path, model_folder: Path) -> None:
    hf.save(hf.load(model_folder), model_folder, eos_token_id=3, pad_token_id=1, shard_bytes=20_000)
    command("push", model_folder, tmp_path / "kept")
    assert_same_model(model_folder, tmp_path / "kept")
    sorted(model_folder.glob("*.safetensors"))[1].unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-0000\d.safetensors of its index is missing"):
        command("push", model_folder, tmp_path / "cut")
    assert not (tmp_path / "cut").exists()


def test_a_model_is_found_in_a_checkpoint_and_a_stranger_is_not(tmp_path: Path, model_folder: Path) -> None:
    assert find_model(model_folder) == model_folder
    shutil.copytree(model_folder, tmp_path / "step" / "model")
    assert find_model(tmp_path / "step") == tmp_path / "step" / "model"
    with pytest.raises(ConfigError, match="neither a run"):
        find_model(tmp_path)
    with pytest.raises(ConfigError, match="has no stage 'sft'"):
        find_model(model_folder, "sft")
    with pytest.raises(CheckpointError, match="does not exist"):
        command("import", tmp_path / "none.gguf", "--out", tmp_path / "x")


def test_a_hub_that_cannot_be_reached_is_one_sentence(tmp_path: Path, model_folder: Path, monkeypatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    from jielong.errors import ResourceError

    with pytest.raises(ResourceError, match="someone/model could not be pulled"):
        command("pull", "hf:someone/model", "--out", tmp_path / "x")
    with pytest.raises(ResourceError, match="someone/model could not be pushed"):
        command("push", model_folder, "hf:someone/model")
    with pytest.raises(ConfigError, match="no address"):
        command("pull", "hf:someone", "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()
