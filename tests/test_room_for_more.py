"""A new kind of stage, of objective and a new recipe are one file each (`tests/toys`), and no other file knows of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.house import ROOT

import jielong.recipes
from jielong.cli.main import main
from jielong.errors import ConfigError
from jielong.recipes import about_recipes, build_recipe
from jielong.runs import Run, find_model, read_metrics
from jielong.stages.recipe import change

TOYS = Path(__file__).parent / "toys"


def test_a_recipe_of_new_kinds_runs_by_its_path_and_is_passed_over_the_second_time(tmp_path, capsys):
    words = ["run", str(TOYS / "echoes.py"), "--runs", str(tmp_path), "--set", "parrot.objective.strength=2"]
    assert main(words) == 0
    assert "parrot: begins" in capsys.readouterr().out
    run = tmp_path / "echoes-default-0"
    losses = [m["loss"] for m in read_metrics(run / "parrot" / "metrics.jsonl")]
    assert losses[-1] < losses[0] / 2
    assert find_model(run) == Run(run).checkpoint("parrot")
    assert main(words) == 0
    assert "begins" not in capsys.readouterr().out


def test_a_recipe_is_found_in_the_folder_of_recipes_by_its_file_alone(monkeypatch):
    about_recipes.cache_clear()
    monkeypatch.setattr(jielong.recipes, "__path__", [*jielong.recipes.__path__, str(TOYS)])
    try:
        assert about_recipes()["echoes"].startswith("A recipe in one file")
        assert {"copying", "proverbs"}.isdisjoint(about_recipes())  # no function of that name that gives a recipe
        assert build_recipe("echoes", seed=3).run_name == "echoes-default-3"
    finally:
        about_recipes.cache_clear()


def test_fields_of_a_new_objective_are_set_and_fingerprinted_like_any():
    recipe = build_recipe(str(TOYS / "echoes.py"))
    before, after = (r.fingerprints() for r in (recipe, change(recipe, ["parrot.objective.strength=3"])))
    assert before["tokenizer"] == after["tokenizer"]
    assert before["parrot"] != after["parrot"]
    with pytest.raises(ConfigError, match=r"unknown option 'strenght' .* did you mean 'parrot.objective.strength'"):
        change(recipe, ["parrot.objective.strenght=3"])
    with pytest.raises(ConfigError, match=r"parrot\.objective=5: expected ObjectiveConfig, got int"):
        change(recipe, ["parrot.objective=5"])


@pytest.mark.parametrize("toy", ["ProverbsStage", "CopyConfig", "echoes"])
def test_nothing_in_the_package_names_the_new_kinds(toy):
    found = subprocess.run(["grep", "-rlw", toy, str(ROOT / "src")], capture_output=True, text=True, check=False)
    assert found.stdout == ""


def test_a_file_may_hold_a_stage_and_the_recipe_of_it(tmp_path, capsys):
    parts = [(TOYS / "proverbs.py").read_text(), "from jielong.stages.recipe import Recipe\n"]
    made = 'return Recipe("all_in_one", size, seed, (ProverbsStage("proverbs"),))'
    parts.append(f"def all_in_one(size: str = 'default', seed: int = 0) -> Recipe:\n    {made}\n")
    (tmp_path / "all_in_one.py").write_text("\n\n".join(parts))
    words = ["run", str(tmp_path / "all_in_one.py"), "--runs", str(tmp_path), "--set", "proverbs.documents=7"]
    assert main(words) == 0, capsys.readouterr().err
    written = (tmp_path / "all_in_one-default-0" / "proverbs" / "documents.jsonl").read_text()
    assert len(written.splitlines()) == 5


def test_a_file_without_a_recipe_is_told_in_one_sentence(tmp_path, capsys):
    (tmp_path / "empty.py").write_text("")
    assert main(["run", str(tmp_path / "empty.py")]) == 2
    assert "needs a function empty(size, seed)" in capsys.readouterr().err
    assert main(["run", str(tmp_path / "none.py")]) == 2
    assert "none.py does not exist" in capsys.readouterr().err
