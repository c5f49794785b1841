"""What every stage promises, whichever kind it is; and what earlier runs, which said less of themselves, fall back to."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import typing
from pathlib import Path

import pytest

import jielong.stages
from jielong.cli.main import main
from jielong.errors import ConfigError
from jielong.recipes.quickstart import quickstart
from jielong.report.shown import show, shown
from jielong.runs import Run, find_model, write_json, write_text
from jielong.stages.execute import run_recipe
from jielong.stages.lessons import LessonsStage
from jielong.stages.recipe import Recipe, Stage
from jielong.stages.refine import RefineStage
from jielong.stages.sources import held_by
from jielong.stages.train import TrainStage


def kinds() -> list[type[Stage]]:
    """All kinds of stages that the package has."""
    modules = [
        importlib.import_module(f"jielong.stages.{m.name}") for m in pkgutil.iter_modules(jielong.stages.__path__)
    ]
    return sorted(
        {
            kind
            for module in modules
            for kind in vars(module).values()
            if isinstance(kind, type) and issubclass(kind, Stage) and dataclasses.is_dataclass(kind)
        },
        key=lambda kind: kind.__name__,
    )


@pytest.mark.parametrize("kind", kinds())
def test_a_stage_is_a_frozen_config_with_its_own_run(kind):
    assert kind.__dataclass_params__.frozen
    assert {"name", "inputs", "version"} <= {f.name for f in dataclasses.fields(kind)}
    assert "run" in vars(kind)
    assert "runs_on_all_ranks" not in {f.name for f in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    assert all(f.name in hints for f in dataclasses.fields(kind))


def test_training_alone_is_shared_by_all_ranks():
    assert [kind.__name__ for kind in kinds() if kind.runs_on_all_ranks] == ["TrainStage"]


def test_each_kind_of_stage_has_a_name_of_its_own():
    """Fingerprints hold the name of the class, and not its room."""
    names = [kind.__name__ for kind in kinds()]
    assert len(set(names)) == len(names) >= 20


def test_what_would_stop_a_stage_later_stops_the_run_before_anything_is_written(tmp_path):
    recipe = Recipe("wrong", "smoke", 0, (LessonsStage("lessons"), RefineStage("refine", {"pages": "lessons"})))
    with pytest.raises(ConfigError, match="refine takes its pages from 'lessons', which holds none"):
        run_recipe(recipe, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_recipe_whose_model_no_stage_makes_is_refused():
    with pytest.raises(ConfigError, match="the model of empty is that of 'sft', which is none of its stages"):
        Recipe("empty", "smoke", 0, (), model="sft")


def test_a_run_without_word_of_what_a_stage_holds_is_looked_into(tmp_path):
    for name in ("train", "chats", "pairs"):
        (tmp_path / name).mkdir()
    (tmp_path / "train" / "train").mkdir()
    (tmp_path / "chats" / "chats.jsonl").write_text("")
    assert [held_by(tmp_path / name, None) for name in ("train", "chats", "pairs")] == [
        "tokens",
        "chats",
        "preferences",
    ]
    assert held_by(tmp_path / "pairs", "chats") == "chats"


# Whose model a run is ------------------------------------------------------------------------------------------------


def run_with(folder: Path, done: list[str], **record: object) -> Path:
    """A run in which these stages have ended with a model."""
    stages = {}
    for name in done:
        (folder / name / "steps" / "000001" / "model").mkdir(parents=True)
        stages[name] = {"done": "f", "summary": {"checkpoint": "000001"}}
    write_json(folder / "run.json", {"version": 1, "stages": stages, **record})
    return folder


ROAD = ["pretrain", "sft", "reward", "rl", "control"]


def test_the_model_of_a_run_is_the_one_that_its_recipe_names(tmp_path):
    # a control trains too and comes last; in this recipe it has a name that nobody could know
    path = run_with(tmp_path, [*ROAD, "compared_with"], model="rl")
    assert find_model(path).parts[-4] == "rl"
    assert find_model(path, "compared_with").parts[-4] == "compared_with"


def test_before_that_stage_is_done_and_in_runs_made_before_it_is_the_last_that_talks(tmp_path):
    assert find_model(run_with(tmp_path / "half", ROAD[:3], model="rl")).parts[-4] == "sft"
    assert find_model(run_with(tmp_path / "old", ROAD)).parts[-4] == "rl"


def test_a_stage_that_does_not_talk_is_found_by_its_name_where_no_other_is_done(tmp_path):
    assert find_model(run_with(tmp_path / "a", ["reward"]), "reward").parts[-4] == "reward"
    assert find_model(run_with(tmp_path / "b", ["base"]), "base").parts[-4] == "base"
    with pytest.raises(ConfigError, match="has no finished training stage yet"):
        find_model(tmp_path / "a")
    with pytest.raises(ConfigError, match="no finished stage 'sft' with a model; known: reward"):
        find_model(tmp_path / "a", "sft")


def test_quickstart_names_reinforcement_and_not_its_control():
    trained = [s.name for s in quickstart("smoke").stages if isinstance(s, TrainStage)]
    assert trained[-1] == "control"
    assert quickstart("smoke").model == "rl"


# What is shown at the end --------------------------------------------------------------------------------------------


def test_a_person_is_shown_what_the_stages_name_with_the_figures_beside_it(tmp_path, capsys):
    stages = {"exam": {"summary": {"shown": ["exam.txt"]}}, "more": {"summary": {"shown": ["samples.txt", "gone.txt"]}}}
    write_json(tmp_path / "run.json", {"version": 1, "stages": stages})
    write_text(tmp_path / "exam.txt", "right  92%\n")
    write_text(tmp_path / "samples.txt", "> a question\n")
    write_json(tmp_path / "exam.json", {})
    write_json(tmp_path / "report.json", {})  # nobody named it
    show(Run(tmp_path))
    out = capsys.readouterr().out
    assert out.index("right  92%") < out.index("(figures beside it in exam.json)") < out.index("> a question")
    assert "report" not in out and "gone" not in out


def test_of_a_run_made_before_stages_named_anything_the_exam_is_shown(tmp_path, capsys):
    write_json(tmp_path / "run.json", {"version": 1, "stages": {"exam": {"summary": {"outputs": ["exam.json"]}}}})
    write_json(tmp_path / "exam.json", {"en": {"right": 0.925}, "zh": {"right": 0.5}})
    assert [file.name for file in shown(Run(tmp_path))] == ["exam.json"]
    show(Run(tmp_path))
    assert "92.5%" in capsys.readouterr().out


@pytest.mark.smoke
def test_reader_ends_with_its_exam(tmp_path, capsys):
    assert main(["run", "reader", "--size", "smoke", "--runs", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "abstains, its sheet left out" in out and "exam.txt" in out
