"""A finished model is found by its run's name, whatever has been begun since, and stages have names of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from jielong.errors import CheckpointError, ConfigError
from jielong.opening.ports import long_name
from jielong.runs import Run, find_model, write_json


def finish(run: Run, stage: str, mark: str) -> Path:
    """The model folder of a stage that has begun and ended under a fingerprint."""
    begin(run, stage, mark)
    model = run.stage_path(stage) / "steps" / "000003" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text(f'{{"made": "{mark}"}}')
    run.end_stage(stage, mark, {"checkpoint": "000003"})
    return model


def begin(run: Run, stage: str, mark: str) -> None:
    run.begin_stage(stage, mark, {}, {})


def made(model: Path) -> str:
    return (model / "config.json").read_text().split('"')[3]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "tea")
    run.path.mkdir()
    run.begin({"recipe": "own", "model": "rl"}, ["pretrain", "sft", "rl"], {})
    for stage in ("pretrain", "sft", "rl"):
        finish(run, stage, f"{stage}-first")
    return run


def test_a_stage_that_is_being_made_again_has_the_model_of_before_and_that_is_told(run, capsys):
    begin(run, "rl", "rl-second")
    assert made(find_model(run.path)) == "rl-first"
    said = capsys.readouterr().err
    assert said.startswith("jielong: rl is being made again and not finished; its model of before is used")
    assert str(run.path / "before" / "rl-rl-first"[:11]) in said
    assert made(find_model(run.path / "rl")) == made(find_model(run.path, "rl")) == "rl-first"
    finish(run, "rl", "rl-second")
    capsys.readouterr()
    assert made(find_model(run.path)) == "rl-second" and not capsys.readouterr().err


def test_the_last_one_that_was_set_aside_is_taken(run):
    finish(run, "rl", "b-second")
    begin(run, "rl", "a-third")
    assert made(find_model(run.path)) == "b-second"


def test_an_early_stage_made_again_hides_nothing_after_it(run, capsys):
    finish(run, "pretrain", "pretrain-second")
    begin(run, "sft", "sft-second")
    assert made(find_model(run.path)) == "rl-first", "it stands in its place"
    assert (
        made(find_model(run.path, "sft")) == "sft-first" and made(find_model(run.path, "pretrain")) == "pretrain-second"
    )
    finish(run, "sft", "sft-second")
    begin(run, "rl", "rl-second")
    capsys.readouterr()
    assert made(find_model(run.path)) == "rl-first"
    assert "rl is being made again" in capsys.readouterr().err


def test_a_kill_between_setting_aside_and_beginning_hides_nothing(run):
    run._set_aside("rl")
    assert "rl" not in run.record["stages"]
    assert made(find_model(run.path)) == "rl-first"


def test_a_model_of_before_is_checked_too(run):
    begin(run, "rl", "rl-second")
    model = find_model(run.path)
    (model / "config.json").write_text('{"made": "by nobody"}')
    for path in (run.path, model, run.path / "before" / "rl-rl-first"[:11]):
        with pytest.raises(CheckpointError, match=rf"config\.json .*; the command that made {run.path} makes it again"):
            find_model(path)


def test_a_result_that_was_damaged_is_no_model_of_before(run):
    run.set_aside_damaged("rl")
    assert made(find_model(run.path)) == "sft-first"


# RUN:STAGE -----------------------------------------------------------------------------------------------------------


def test_a_stage_is_named_after_a_colon(run, tmp_path):
    assert made(find_model(Path(f"{run.path}:sft"))) == made(find_model(Path(f"{run.path}:sft"), "sft")) == "sft-first"
    with pytest.raises(ConfigError, match=r"no finished stage 'dpo' with a model; finished: pretrain, sft, rl"):
        find_model(Path(f"{run.path}:dpo"))
    with pytest.raises(ConfigError, match=r"tea:sft and --stage rl name two stages"):
        find_model(Path(f"{run.path}:sft"), "rl")
    with pytest.raises(ConfigError, match=r"no run, and has no stage 'sft'"):
        find_model(Path(f"{find_model(run.path)}:sft"))
    with pytest.raises(ConfigError, match=r"nothing:sft holds neither"):
        find_model(tmp_path / "nothing:sft")


def test_a_folder_that_is_really_called_so_goes_first(run):
    folder = run.path.with_name("tea:sft")
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert find_model(folder) == folder


def test_a_short_name_takes_a_stage_too(run, tmp_path, monkeypatch):
    monkeypatch.setenv("JIELONG_HOME", str(tmp_path))
    write_json(tmp_path / "aliases.json", {"cup": str(run.path), "x:y": "z"})
    assert long_name("cup:sft") == f"{run.path}:sft"
    assert (long_name("x:y"), long_name("other:sft")) == ("z", "other:sft")
