"""A recipe is plain data: stages in their order, each a frozen config that also says what it does.

A recipe function returns a `Recipe`; `--set sft.loop.steps=50` gives a changed copy; the fingerprint of a stage covers its
whole config, its parents' fingerprints and its version, so a stage is run again exactly when something that decides its
result has changed. A stage gets a `Context` when it runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

from jielong.config import get_field, list_fields, nearest, resolved, set_fields
from jielong.errors import ConfigError, did_you_mean_one_of
from jielong.runs import MemoryWatch, Run, digest
from jielong.train.loop import Progress
from jielong.train.machine import Machine
from jielong.train.parallel import Ranks

Summary = dict[str, Any]
"""What run.json keeps of a finished stage. These keys mean the same in every stage, and each may be absent:

- "checkpoint": the step of the model that it ended with, under STAGE/steps/;
- "holds": what its folder holds for later stages: "pages", "documents", "tokens", "chats", "preferences",
  "ratings" or "problems";
- "outputs": files in the run's folder without which it is not done;
- "shown": those of them that a person is shown at the end.
"""


class Stage:
    """A kind of work. Subclasses are frozen dataclasses: their fields decide the result, `run` makes it.

    `inputs` maps roles to earlier stages. `version` is raised when the code behind a stage changes its result. A new kind is
    one file with such a class; a recipe holds objects of it, so that nothing else has to know it.
    """

    name: str
    inputs: Mapping[str, str]
    version: int
    runs_on_all_ranks: ClassVar[bool] = False
    """Whether several processes share its work; everything else is done by the first one alone."""

    def check(self, recipe: Recipe) -> None:
        """Raise errors that would stop this stage later; called before the first stage runs, unless this one is done."""

    def can_mend(self, damaged: Collection[str]) -> bool:
        """Whether `run` makes these files of its finished folder anew from the others; else all is made again."""
        return False

    only_places: ClassVar[tuple[str, ...]] = ()
    """Fields that say where something lies, of which another field holds the content: they are no part of a fingerprint."""
    looks_at: ClassVar[tuple[str, ...]] = ()
    """Roles whose results are enough to `look_ahead`, long before all inputs are there."""

    def look_ahead(self, context: Context) -> None:
        """Raise errors that the results of `looks_at` show already; called as soon as they exist."""

    def model_from_elsewhere(self) -> Path | None:
        """Return the folder of the existing model that it stands for, if any."""
        return None

    def run(self, context: Context) -> Summary:
        """Do the work in `context.directory(self.name)`, from wherever a kill left it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Offer:
    """A field of a stage that may be searched: from `low` to `high` (whole numbers if both are), or one of `choices`.

    `when` names another offered field and the value without which this one decides nothing and is left alone.
    """

    field: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()
    when: tuple[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.choices and not self.low < self.high:
            raise ConfigError(
                f"the range of {self.field} is {self.low:g} to {self.high:g}; it must rise, or give choices"
            )
        if self.log and self.low <= 0:
            raise ConfigError(
                f"the range of {self.field} begins at {self.low:g}; on a logarithmic scale it must be above 0"
            )

    def holds(self, value: Any) -> bool:
        """Whether the search could come to this value."""
        return value in self.choices if self.choices else self.low <= value <= self.high


@dataclass(frozen=True)
class Search:
    """The offers of a training stage to a search, and the check that judges a trial (lower is better).

    A trial takes `steps` steps; 0 is as many as the stage itself.
    """

    stage: str
    offers: tuple[Offer, ...]
    judged_by: str = "held_out_loss"
    steps: int = 0


@dataclass(frozen=True)
class Recipe:
    """Stages in the order they run; a stage's inputs name stages before it.

    A setting of a stage that is a key of `mirrored` is made in the stage named there as well, and so on from there: a
    control that was trained otherwise would be no control. `searches` decide no stage's result: they are what `jielong tune` may change.
    """

    name: str
    size: str
    seed: int
    stages: tuple[Stage, ...]
    mirrored: Mapping[str, str] = field(default_factory=dict)
    searches: tuple[Search, ...] = ()
    model: str = ""
    """The stage whose model the run is, for whoever asks for the run's."""
    folder: str = ""
    """The name of the run's folder, where it is not made of name, size and seed."""

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for stage in self.stages:
            for role, parent in stage.inputs.items():
                if parent not in seen:
                    raise ConfigError(
                        f"stage {stage.name!r} takes its {role} from {parent!r}, which no stage before it makes"
                    )
            seen.add(stage.name)
        if self.model and self.model not in seen:
            raise ConfigError(f"the model of {self.name} is that of {self.model!r}, which is none of its stages")
        for search in self.searches:
            if search.stage not in seen:
                raise ConfigError(f"a search is offered for {search.stage!r}, which is no stage of {self.name}")
            for offer in search.offers:
                get_field(self.stage(search.stage), offer.field)

    @property
    def run_name(self) -> str:
        return self.folder or f"{self.name}-{self.size}-{self.seed}"

    def about(self) -> dict[str, Any]:
        """Return the recipe's entry for run.json."""
        named = {"recipe": self.name, "size": self.size, "seed": self.seed, "model": self.model}
        return {**named, "config": resolved(self)}

    def stage(self, name: str) -> Stage:
        return next(s for s in self.stages if s.name == name)

    def before(self, name: str) -> list[Stage]:
        """Return the stages whose results `name` needs, in the order they run."""
        needed = set(self.stage(name).inputs.values())
        for stage in reversed(self.stages):
            if stage.name in needed:
                needed |= set(stage.inputs.values())
        return [s for s in self.stages if s.name in needed]

    def fingerprints(self, *, with_places: bool = False) -> dict[str, str]:
        """Return stage name -> digest of all that decides its result; `with_places` as runs of before have them."""
        known: dict[str, str] = {}
        for stage in self.stages:
            parents = {role: known[parent] for role, parent in stage.inputs.items()}
            config = resolved(stage, is_fingerprint=True)
            for name in () if with_places else stage.only_places:
                del config[name]
            known[stage.name] = digest({"stage": config, "parents": parents, "seed": self.seed})
        return known


def change(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """Apply `stage.field=value` settings to a recipe; ConfigError names what is unknown and what is near."""
    values: dict[str, str] = {}
    for setting in settings:
        path, value = _path_and_value(recipe, setting)
        stage, _, field = path.partition(".")
        while stage:
            values[f"{stage}.{field}"] = value
            stage = recipe.mirrored.get(stage, "")
    return replace(recipe, stages=set_fields(recipe.stages, values))


def _path_and_value(recipe: Recipe, setting: str) -> tuple[str, str]:
    """Split a setting into path and value; ConfigError where it is of another form."""
    path, is_pair, value = setting.partition("=")
    if not is_pair or not path.partition(".")[0].strip() or "." not in path:
        meant = did_you_mean_one_of(nearest(path, list_fields(recipe.stages)) if path.strip() else [])
        form = f"--set {setting!r} is not of the form stage.field=value, such as sft.loop.steps=50"
        raise ConfigError("; ".join(filter(None, [form, meant])))
    return path.strip(), value.strip()


class Display(Protocol):
    """The protocol of a progress display: a stage begins, is skipped, advances by steps, or ends; messages stand between."""

    def stage(self, name: str) -> None: ...
    def skip(self, name: str) -> None: ...
    def end(self, name: str, note: str) -> None: ...
    def update(
        self,
        step: int,
        steps: int,
        loss: float | None,
        tokens_per_s: float,
        seconds_left: float,
        note: str = "",
        mfu: float = 0.0,
    ) -> None: ...
    def message(self, text: str) -> None: ...


class Silent:
    """A display that shows nothing."""

    def stage(self, name: str) -> None: ...
    def skip(self, name: str) -> None: ...
    def end(self, name: str, note: str) -> None: ...
    def update(
        self,
        step: int,
        steps: int,
        loss: float | None,
        tokens_per_s: float,
        seconds_left: float,
        note: str = "",
        mfu: float = 0.0,
    ) -> None: ...
    def message(self, text: str) -> None: ...


@dataclass
class Context:
    """The surroundings of a running stage: its recipe, the run to write to, the machine and the display."""

    recipe: Recipe
    run: Run
    machine: Machine
    display: Display
    memory: MemoryWatch
    ranks: Ranks = Ranks()
    stage_began_s: float = 0.0

    def directory(self, stage: str) -> Path:
        return self.run.stage_path(stage)

    def summary(self, stage: str) -> Summary:
        """Return the summary of a finished stage."""
        found: Summary = self.run.record["stages"][stage]["summary"]
        return found

    def parent(self, stage: Stage, role: str) -> Path:
        """Return the directory of the stage that plays `role` for this one."""
        return self.directory(stage.inputs[role])

    def checkpoint(self, stage: str) -> Path:
        """Return the model directory that a finished training stage ended with."""
        return self.run.checkpoint(stage)

    def report(self, progress: Progress) -> None:
        p = progress
        self.display.update(p.step, p.steps, p.loss, p.tokens_per_s, p.seconds_left, mfu=p.mfu)
