"""What every stage promises, whichever kind it is; and what earlier runs, which said less of themselves, fall back to."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
import typing
import zipfile
from pathlib import Path

import pytest

import jielong.stages
from jielong.cli.main import main
from jielong.errors import CheckpointError, ConfigError, DataError
from jielong.recipes.own import own
from jielong.recipes.quickstart import quickstart
from jielong.report.results import result_files, show_results
from jielong.runs import Run, find_model, write_json, write_text
from jielong.stages.execute import open_context, run_recipe
from jielong.stages.lessons import LessonsStage
from jielong.stages.pages import read_archive
from jielong.stages.parts import read_conversations, read_documents
from jielong.stages.picking import read_picked
from jielong.stages.recipe import Recipe, Silent, Stage, change
from jielong.stages.refine import RefineStage
from jielong.stages.sources import held_by
from jielong.stages.train import TrainStage
from jielong.tokens.tokenizer import Tokenizer


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


BEGUN = {"fingerprint": "f", "seconds": 1.0, "parents": {}}
"""Fields of every stage that has begun."""


def run_with(folder: Path, done: list[str], **record: object) -> Path:
    """A run in which these stages have ended with a model."""
    stages = {}
    for name in done:
        (folder / name / "steps" / "000001" / "model").mkdir(parents=True)
        stages[name] = {**BEGUN, "done": "f", "summary": {"checkpoint": "000001"}}
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
    with pytest.raises(ConfigError, match="no finished stage 'sft' with a model; finished: reward"):
        find_model(tmp_path / "a", "sft")


def test_quickstart_names_reinforcement_and_not_its_control():
    trained = [s.name for s in quickstart("smoke").stages if isinstance(s, TrainStage)]
    assert trained[-1] == "control"
    assert quickstart("smoke").model == "rl"


# What is shown at the end --------------------------------------------------------------------------------------------


def test_a_person_is_shown_what_the_stages_name_with_the_figures_beside_it(tmp_path, capsys):
    shown_of = {"exam": ["exam.txt"], "more": ["samples.txt", "gone.txt"]}
    stages = {name: {**BEGUN, "summary": {"shown": files}} for name, files in shown_of.items()}
    write_json(tmp_path / "run.json", {"version": 1, "stages": stages})
    write_text(tmp_path / "exam.txt", "right  92%\n")
    write_text(tmp_path / "samples.txt", "> a question\n")
    write_json(tmp_path / "exam.json", {})
    write_json(tmp_path / "report.json", {})  # nobody named it
    show_results(Run(tmp_path))
    out = capsys.readouterr().out
    assert out.index("right  92%") < out.index("(figures beside it in exam.json)") < out.index("> a question")
    assert "report" not in out and "gone" not in out


def test_of_a_run_made_before_stages_named_anything_the_exam_is_shown(tmp_path, capsys):
    write_json(
        tmp_path / "run.json", {"version": 1, "stages": {"exam": {**BEGUN, "summary": {"outputs": ["exam.json"]}}}}
    )
    write_json(tmp_path / "exam.json", {"en": {"right": 0.925}, "zh": {"right": 0.5}})
    assert [file.name for file in result_files(Run(tmp_path))] == ["exam.json"]
    show_results(Run(tmp_path))
    assert "92.5%" in capsys.readouterr().out


@pytest.mark.smoke
def test_reader_ends_with_its_exam(tmp_path, capsys):
    assert main(["run", "reader", "--size", "smoke", "--runs", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "abstains, its sheet left out" in out and "exam.txt" in out


# What people bring, on the way through a recipe ---------------------------------------------------------------------


@pytest.fixture
def pages(tmp_path) -> Path:
    folder = tmp_path / "pages"
    folder.mkdir()
    for number in range(24):
        words = " ".join(f"w{(number * 7 + k * k) % 97}ord" for k in range(120))
        (folder / f"{number}.md").write_text(
            f"# Page {number}\n\nThe town of number {number} has a harbour, and {words}.\n"
        )
    return folder


def chats(path: Path, *, asked: str = "What is {}?", count: int = 24) -> Path:
    talks = (
        [{"role": "user", "content": asked.format(n)}, {"role": "assistant", "content": "A number."}]
        for n in range(count)
    )
    path.write_text("".join(json.dumps({"messages": talk}) + "\n" for talk in talks))
    return path


SMALL = ["refine.refine.filters.min_letters=1", "pretrain.loop.steps=2", "sft.loop.steps=2"]


def test_chats_of_which_nothing_fits_stop_the_run_before_pretraining(pages, tmp_path):
    recipe = change(own(pages, chats(tmp_path / "c.jsonl", asked="Sum up {}: " + "paper " * 3000), size="smoke"), SMALL)
    with pytest.raises(DataError, match=r"none of .* conversations has a trained token within 512 tokens"):
        run_recipe(recipe, tmp_path / "runs")
    record = Run(tmp_path / "runs" / recipe.run_name).record
    assert "pretrain" not in record["stages"]


def test_a_held_out_chat_that_does_not_fit_costs_its_figure_and_not_the_training(pages, tmp_path):
    file = chats(tmp_path / "c.jsonl")
    recipe = change(own(pages, file, size="smoke"), SMALL)
    run = run_recipe(recipe, tmp_path / "runs")
    held_out = run.path / "chats" / "held_out.jsonl"
    held_out.write_text(
        json.dumps(
            json.loads(held_out.read_text().splitlines()[0])
            | {"messages": [{"role": "user", "content": "paper " * 5000}, {"role": "assistant", "content": "Ok."}]}
        )
        + "\n"
    )
    summary = run.record["stages"]["chats"]["summary"]
    run.end_stage("chats", recipe.fingerprints()["chats"], summary)  # changed by intention: its sums are taken again
    stage = recipe.stage("sft")
    assert isinstance(stage, TrainStage)
    with open_context(recipe, tmp_path / "runs", Silent()) as context:
        given = stage.source_context(context, Tokenizer.load(run.path / "tokenizer" / "tokenizer"), 0)
        feed = stage.source.build(given)
    assert not feed.held_out
    assert "the held-out loss is not looked at" in feed.notes[-1]


def test_a_folder_is_the_same_whatever_its_path_is_called(pages, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    near, far = own(Path("pages"), size="smoke"), own(pages, size="smoke")
    assert near.fingerprints() == far.fingerprints()
    assert near.fingerprints(with_places=True) != far.fingerprints(with_places=True)


def test_a_run_with_the_fingerprints_of_before_is_passed_over(pages, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = change(own(Path("pages"), size="smoke"), SMALL[:2])
    run = run_recipe(recipe, tmp_path / "runs")
    before, record = recipe.fingerprints(with_places=True), run.record
    for name, entry in record["stages"].items():
        entry["fingerprint"] = entry["done"] = before[name]
        entry["parents"] = {parent: before[parent] for parent in entry["parents"]}
    write_json(run.path / "run.json", record)
    run_recipe(recipe, tmp_path / "runs")
    again = run.record["stages"]
    assert {name: entry["done"] for name, entry in again.items()} == recipe.fingerprints()
    assert {name: entry["seconds"] for name, entry in again.items()} == {
        n: e["seconds"] for n, e in record["stages"].items()
    }


def test_what_was_found_in_a_file_is_told_when_it_is_read(pages, tmp_path):
    told: list[str] = []

    class Listening(Silent):
        def message(self, text: str) -> None:
            told.append(text)

    file = chats(tmp_path / "c.jsonl")
    file.write_text(file.read_text() + json.dumps({"prompt": "Hi", "completion": "Ho", "label": False}) + "\n")
    (pages / "x.png").write_bytes(b"")
    run_recipe(change(own(pages, file, size="smoke"), SMALL), tmp_path / "runs", Listening())
    assert "24 files to read; passed over: 1 files that end in .png" in told
    assert any(t.startswith("24 of 25 records are used") and "labelled as a bad answer (line 25)" in t for t in told)


@pytest.mark.parametrize(
    "line",
    [
        "3",
        "[]",
        "{}",
        '{"text": 3}',
        '{"text": "a", "id": 3}',
        '{"text": "a", "meta": []}',
        "[" * 100_000,
        "9" * 5000,
        "\udcff",
    ],
)
def test_a_record_of_another_shape_is_told_with_its_line(tmp_path, line):
    file = tmp_path / "documents.jsonl"
    file.write_bytes(b'{"text": "a"}\n' + line.encode("utf-8", "surrogateescape") + b"\n")
    with pytest.raises(DataError, match=r"documents\.jsonl:2: damaged"):
        read_documents(file)


@pytest.mark.parametrize(
    "messages", [3, None, [3], [{}], [{"role": "user", "content": 3}], [{"role": ["user"], "content": ""}]]
)
def test_a_chat_of_another_shape_is_told_with_its_line(tmp_path, messages):
    file = tmp_path / "chats.jsonl"
    file.write_text(json.dumps({"messages": messages}) + "\n")
    with pytest.raises(DataError, match=r"chats\.jsonl:1: damaged"):
        read_conversations(file)


@pytest.mark.parametrize(
    "picked", [3, [], {}, {"compile": 1}, {"compile": True, "micro_rows": "4"}, {"compile": True, "micro_rows": 0}]
)
def test_what_was_picked_in_another_shape_is_told(tmp_path, picked):
    (tmp_path / "picked.json").write_text(json.dumps(picked))
    with pytest.raises(CheckpointError, match=r"picked\.json"):
        read_picked(tmp_path / "picked.json")


@pytest.mark.parametrize(
    "line", ["3", "{}", '{"file": "b", "uri": "u", "content_type": ""}', '{"file": "a", "uri": 3}', "\udcff"]
)
def test_an_archive_of_pages_whose_index_is_damaged_is_told(tmp_path, line):
    with zipfile.ZipFile(tmp_path / "pages.zip", "w") as pages:
        pages.writestr("a", "<p>a</p>")
        pages.writestr("index.jsonl", line.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=r"pages\.zip is damaged"):
        list(read_archive(tmp_path / "pages.zip"))
