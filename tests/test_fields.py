"""Every field that can be set is listed with its meaning, and found by the words that people use for it."""

from __future__ import annotations

import re
from argparse import Namespace
from dataclasses import dataclass, field

import pytest

from jielong.cli.fields import format_value, recipe_of
from jielong.cli.main import main
from jielong.config import find, list_fields, nearest
from jielong.config.meanings import meanings
from jielong.errors import ConfigError
from jielong.recipes import about_recipes
from jielong.recipes.quickstart import quickstart
from jielong.stages.recipe import change

FIELDS = list_fields(quickstart().stages)


@dataclass(frozen=True)
class Oven:
    """Bakes. `hours` is how long; `heat` how hot it is."""

    hours: int = 1
    heat: float = 2.0
    # Whether a fan
    # runs.
    fan: bool = False
    shelf: int = 3  # counted from below
    salt: float = 0.0
    """How much salt.

    A second paragraph is for who reads the code.
    """
    silent: int = 0


@dataclass(frozen=True)
class BigOven(Oven):
    doors: int = field(default=2)
    """How many doors."""


def test_a_meaning_is_the_string_below_the_comment_beside_or_above_or_a_sentence_of_the_class():
    assert meanings(BigOven) == {
        "hours": "`hours` is how long; `heat` how hot it is.",
        "heat": "`hours` is how long; `heat` how hot it is.",
        "fan": "Whether a fan runs.",
        "shelf": "Counted from below",
        "salt": "How much salt.",
        "doors": "How many doors.",
    }


@pytest.mark.parametrize("size", ["default", "smoke"])
@pytest.mark.parametrize("name", [*about_recipes(), "adapt"])
def test_every_field_of_every_recipe_has_a_meaning_and_takes_the_value_that_is_shown(name: str, size: str) -> None:
    asked = Namespace(recipe=name, source=None, chat=None, preferences=None, size=size, seed=None)
    with recipe_of(asked) as recipe:
        fields = list_fields(recipe.stages)
        assert not [f.path for f in fields if not f.meaning]
        for shown in fields:
            assert change(recipe, [f"{shown.path}={format_value(shown.value)}"]) == recipe, shown.path


@pytest.mark.parametrize(
    ("word", "paths"),
    [
        ("lr", {"pretrain.optimizer.lr", "rl.critic_optimizer.lr"}),
        ("learning_rate", {"pretrain.optimizer.lr"}),
        ("layers", {"pretrain.model.num_hidden_layers"}),
        ("steps", {"pretrain.loop.steps", "sft.optimizer.warmup_steps"}),
        ("batch", {"pretrain.source.rows_per_step", "pretrain.source.micro_rows"}),
        ("temperature", {"rl.source.temperature", "judgements.temperature"}),
        ("epochs", {"rl.source.epochs", "pretrain.loop.steps"}),
        ("batch size", {"pretrain.source.rows_per_step"}),
        ("prompt", {"judgements.num_prompts"}),
    ],
)
def test_a_word_finds_the_fields_that_it_may_mean(word: str, paths: set[str]) -> None:
    assert paths <= {found.path for found in find(word, FIELDS)}


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("learning_rate", ["pretrain.optimizer.lr", "sft.optimizer.lr", "reward.optimizer.lr"]),
        ("pretrain.learning_rate", ["pretrain.optimizer.lr"]),
        ("model.layers", ["pretrain.model.num_hidden_layers", "control.model.num_hidden_layers"]),
        ("sft.steps", ["sft.loop.steps"]),
        ("rl.beta", ["rl.source.kl_coefficient"]),
        ("pretrain.model.heads", ["pretrain.model.num_attention_heads", "pretrain.model.num_key_value_heads"]),
        ("pretrain.weight-decay", ["pretrain.optimizer.weight_decay"]),
        ("volcano", []),
    ],
)
def test_a_path_that_is_none_is_near_the_fields_of_its_last_word(path: str, meant: list[str]) -> None:
    assert nearest(path, FIELDS) == meant


def test_a_guess_is_told_and_never_made():
    with pytest.raises(ConfigError, match=r"did you mean 'pretrain.optimizer.lr', 'sft.optimizer.lr' or 'reward"):
        change(quickstart(), ["learning_rate=1e-3"])


def test_fields_are_printed_with_what_a_command_line_says_of_them(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["fields", "quickstart", "warmup"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.search(r"^pretrain\.optimizer\.warmup_steps +30 +Steps in which", "\n".join(lines), re.M)
    assert max(map(len, lines)) <= 80
    assert lines[-1].strip() == "--set pretrain.optimizer.warmup_steps=30"
    assert main(["fields", "quickstart", "volcano"]) == 2
    assert "no field of quickstart is meant by 'volcano'" in capsys.readouterr().err


def test_a_whole_list_is_grouped_by_stage(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["fields", "own", "--size", "smoke"]) == 0
    said = capsys.readouterr().out
    stages = ("refine", "tokenizer", "pretrain", "sft", "reward", "rl", "samples")
    assert [said.index(f"\n{stage}  ") for stage in stages] == sorted(said.index(f"\n{stage}  ") for stage in stages)
    assert "small example" in said and max(map(len, said.splitlines())) <= 80
