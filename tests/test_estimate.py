"""What training would take: shapes of one's own, models that exist, and the training stages of recipes."""

from __future__ import annotations

import pytest

from jielong.cli.main import main
from jielong.model import hf
from jielong.model.presets import estimate, flops_per_token, preset
from jielong.model.transformer import ModelConfig, fresh_language_model
from jielong.recipes.quickstart import quickstart
from jielong.stages.estimating import estimate_stages
from jielong.stages.recipe import change


def test_a_recipe_takes_what_its_rows_and_its_model_say():
    found = estimate_stages(quickstart(), 1e9)
    assert list(found) == ["pretrain", "sft", "reward", "rl", "control"]
    pretrain = found["pretrain"]
    assert pretrain.tokens == 660 * 32 * 256
    assert pretrain.flops == pytest.approx(pretrain.tokens * flops_per_token(ModelConfig(), 256))
    assert pretrain.seconds == pytest.approx(pretrain.flops / 1e9)
    assert pretrain.parameters == estimate(ModelConfig()).parameters
    # 25 rollouts (2 epochs of 2 minibatches) of 256 samples of at most 64 tokens, and 100 steps of 8 rows of 256 beside them
    assert found["rl"].tokens == 25 * 256 * 64 + 100 * 8 * 256
    # one pass to write, four modules that look, and of two of them three times as much for each of two epochs
    rollouts = 25 * 256 * 64 * flops_per_token(ModelConfig(), 64) / 3 * (1 + 4 + 3 * 2 * 2)
    assert found["rl"].flops == pytest.approx(rollouts + 100 * 8 * 256 * flops_per_token(ModelConfig(), 256))
    assert found["rl"].memory_bytes > 2 * 16 * pretrain.parameters


def test_settings_change_what_a_recipe_takes():
    half = estimate_stages(change(quickstart(), ["pretrain.loop.steps=330"]), 1e9)
    assert half["pretrain"].flops * 2 == pytest.approx(estimate_stages(quickstart(), 1e9)["pretrain"].flops)
    wide = change(quickstart(), ["pretrain.model.hidden_size=512", "tokenizer.tokenizer.vocab_size=8192"])
    assert (
        estimate_stages(wide, 1e9)["sft"].parameters
        == estimate(preset("s", hidden_size=512, vocab_size=8192)).parameters
    )


@pytest.mark.parametrize(
    "words",
    [
        ["num_key_value_heads=3,num_attention_heads=6"],
        ["s", "--set", "num_key_value_heads=3", "--set", "num_attention_heads=6"],
    ],
)
def test_a_shape_of_ones_own_is_told_and_its_fields_change_together(capsys, words):
    assert main(["estimate", *words, "--gflops", "100"]) == 0
    said = capsys.readouterr().out
    assert "6 heads of 64\n            (3 of keys)" in said and "100 GFLOP/s, as given" in said
    found = estimate(preset("s", num_attention_heads=6, num_key_value_heads=3), flops_per_s=1e11)
    assert str(found) in said


def test_a_folder_a_config_and_a_recipe_are_estimated_too(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    config = ModelConfig(300, 16, 24, 1, 2, 1, 8, 64)
    hf.save(fresh_language_model(config, seed=0), tmp_path, eos_token_id=3, pad_token_id=1)
    told = []
    for name in (tmp_path, tmp_path / "config.json"):
        assert main(["estimate", str(name), "--gflops", "1"]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1] and str(estimate(config, flops_per_s=1e9)) in told[0]
    assert main(["estimate", "own", "--size", "smoke", "--set", "pretrain.loop.steps=40"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[3:8]] == ["pretrain", "sft", "reward", "rl", "together"]
    assert f"{40 * 4 * 512:,}" in lines[3] and max(map(len, lines)) <= 80
    assert "half of what matrix products reach here now" in lines[-2]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["gpt33"], "nothing to estimate is called 'gpt33'; did you mean 'gpt3'?"),
        (["quickstar"], "did you mean 'quickstart'?"),
        (["layers=8"], "did you mean 'num_hidden_layers'?"),
        (["quickstart", "--set", "pretrain.layers=8"], "did you mean 'pretrain.model.num_hidden_layers'?"),
        (["quickstart", "--tokens", "1e9"], "--tokens is for shapes"),
        (["num_attention_heads=5"], "not a multiple"),
    ],
)
def test_what_cannot_be_estimated_is_one_sentence(capsys, words, told):
    assert main(["estimate", *words]) == 2
    assert told in capsys.readouterr().err
