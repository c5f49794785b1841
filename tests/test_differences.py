"""What a second start of a run says of the first: fields that differ, each with the setting that takes it back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from jielong.config import resolved
from jielong.recipes.own import own
from jielong.recipes.quickstart import quickstart
from jielong.runs import Run
from jielong.stages.differences import WORTH_ASKING_S, differences, trainings_to_replace, without_settings
from jielong.stages.recipe import Recipe, change

SMOKE = quickstart("smoke")


def begun(recipe: Recipe, *names: str) -> dict[str, object]:
    """The record of a run in which these stages had begun, as it comes back from disk."""
    stages = {name: {"config": resolved(recipe.stage(name))} for name in names}
    read: dict[str, object] = json.loads(json.dumps({"stages": stages}))
    return read


def test_a_field_that_differs_is_named_with_both_values_and_taken_back_by_its_setting():
    before = change(SMOKE, ["pretrain.loop.steps=50"])
    found = differences(SMOKE, begun(before, "refine", "pretrain", "sft"))
    assert [str(d) for d in found] == ["pretrain.loop.steps: 50 last time, 60 now"]
    assert change(SMOKE, [d.setting for d in found]) == before
    assert not differences(SMOKE, begun(SMOKE, *(s.name for s in SMOKE.stages)))


@pytest.mark.parametrize(
    "setting",
    ["sft.optimizer.lr=0.5", "sft.optimizer.name=muon", "pretrain.model.norm=layer", "rl.source.kl_coefficient=0.1"],
)
def test_numbers_and_words_come_back_as_they_were(setting):
    before = change(SMOKE, [setting])
    found = differences(SMOKE, begun(before, "pretrain", "sft", "rl"))
    assert [d.setting for d in found] == [setting]
    assert change(SMOKE, [setting]) == before


def test_a_stage_that_had_not_begun_and_a_control_say_nothing():
    before = change(SMOKE, ["sft.loop.steps=50"])
    assert not differences(SMOKE, begun(before, "pretrain"))
    assert {d.stage for d in differences(SMOKE, begun(before, "sft", "control"))} == {"sft"}


def test_what_has_moved_is_no_difference_and_other_text_is_told_in_words(tmp_path):
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "a.txt").write_text("Some text that is long enough to be read. " * 20)
    recipe = own(pages, size="smoke")
    record = begun(recipe, "folder", "pretrain")
    moved = pages.rename(tmp_path / "moved")
    assert not differences(own(moved, size="smoke"), record)
    (moved / "a.txt").write_text("Another text that is long enough to be read. " * 20)
    found = differences(own(moved, size="smoke"), record)
    assert [str(d) for d in found] == ["folder: other content"]
    assert not without_settings(found, [])


def test_what_the_command_line_names_is_not_asked_for():
    found = differences(SMOKE, begun(change(SMOKE, ["sft.loop.steps=50", "sft.optimizer.lr=0.5"]), "sft"))
    assert [d.field for d in without_settings(found, ["sft.loop.steps=20"])] == ["optimizer.lr"]


def test_half_done_training_counts_when_it_took_a_minute(tmp_path: Path):
    run, other = Run(tmp_path / "run"), replace(SMOKE, seed=1)
    run.path.mkdir()
    run.begin(SMOKE.about(), [s.name for s in SMOKE.stages], {})
    marks = SMOKE.fingerprints()
    for name in ("pretrain", "sft"):
        run.begin_stage(name, marks[name], resolved(SMOKE.stage(name)), {})
    run.end_stage("pretrain", marks["pretrain"], {})
    assert trainings_to_replace(SMOKE, run) == ([], [])
    assert trainings_to_replace(other, run) == (["pretrain"], [])
    run.add_costs("sft", WORTH_ASKING_S, 0)
    assert trainings_to_replace(other, run) == (["pretrain"], ["sft"])
