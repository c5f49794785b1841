"""Any field can be set, and a wrong one is refused with the closest that exists."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from jielong.config import resolved, set_field
from jielong.errors import ConfigError
from jielong.recipes.quickstart import quickstart
from jielong.stages.recipe import change


@dataclass(frozen=True)
class Loop:
    steps: int = 10
    rate: float = 0.5
    name: Literal["adamw", "muon"] = "adamw"
    folder: str | None = None
    stops: tuple[int, ...] = ()
    is_on: bool = False

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ConfigError(f"loop.steps is {self.steps}; it must be 0 or more")


@dataclass(frozen=True)
class Part:
    name: str = "sft"
    loop: Loop = field(default_factory=Loop)


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("sft.loop.steps", "50", 50),
        ("sft.loop.rate", "2", 2.0),
        ("sft.loop.rate", "1e-3", 1e-3),
        ("sft.loop.name", "muon", "muon"),
        ("sft.loop.folder", "some/where", "some/where"),
        ("sft.loop.folder", "null", None),
        ("sft.loop.folder", "42", "42"),
        ("sft.loop.stops", "[1, 2]", (1, 2)),
        ("sft.loop.is_on", "true", True),
    ],
)
def test_a_value_takes_the_type_of_its_field(path, text, value):
    changed = set_field((Part(),), path, text)
    found = getattr(changed[0].loop, path.rsplit(".", 1)[1])
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [
        ("sft.loop.step", "5", "did you mean 'steps'"),
        ("sftt.loop.steps", "5", "did you mean 'sft'"),
        ("sft.loop.steps.more", "5", "has no fields"),
        ("sft.loop.steps", "five", "expected int"),
        ("sft.loop.steps", "1.5", "expected int"),
        ("sft.loop.steps", "true", "expected int"),
        ("sft.loop.steps", "-1", "0 or more"),
        ("sft.loop.name", "sgd", "'adamw', 'muon'"),
        ("sft.loop.stops", '["a"]', "expected"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(path, text, told):
    with pytest.raises(ConfigError, match=told):
        set_field((Part(),), path, text)


def test_setting_leaves_the_original_alone():
    part = Part()
    set_field((part,), "sft.loop.steps", "3")
    assert part.loop.steps == 10


def test_resolved_spells_out_every_field_and_class():
    assert resolved(Part())["loop"] == {
        "kind": "Loop", "steps": 10, "rate": 0.5, "name": "adamw", "folder": None, "stops": [], "is_on": False,
    }  # fmt: skip


def test_a_control_is_trained_like_the_stage_it_is_the_control_of():
    changed = change(quickstart("smoke"), ["sft.loop.steps=7", "pretrain.loop.steps=9"])
    assert [changed.stage(n).loop.steps for n in ("pretrain", "sft", "control")] == [9, 7, 7]
    alone = change(quickstart("smoke"), ["control.loop.steps=3"])
    assert alone.stage("control").loop.steps == 3
    assert alone.stage("sft") == quickstart("smoke").stage("sft")
