"""What every experiment is given: the models, the seed, how much to ask, and where finished parts are kept.

An experiment is an async function from a `Setting` to a `Result`, made of parts. Each part is a JSON file from the moment it
is done, written aside and renamed, and is read again by the next run; a run that is killed loses the part it was at.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.circumstances import commit, load_average, now
from bench.environments import Unavailable
from bench.strategies.line import Line
from bench.strategies.models import Ports, is_finished, run_folders
from jielong.errors import ConfigError
from jielong.records import to_dict
from jielong.runs import read_json, write_json
from jielong.use.port import Port


@dataclass(frozen=True)
class Part:
    """Lines that were measured together, how long it took, and when and on what."""

    name: str
    lines: tuple[Line, ...]
    seconds: float
    date: str
    commit: str
    load: float

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Part:
        return cls(**{**data, "lines": tuple(map(Line.from_dict, data["lines"]))})


@dataclass(frozen=True)
class Result:
    """What an experiment found with one seed."""

    experiment: str
    seed: int
    parts: tuple[Part, ...]

    @property
    def lines(self) -> tuple[Line, ...]:
        return tuple(line for part in self.parts for line in part.lines)


@dataclass(frozen=True)
class Setting:
    """One experiment with one seed."""

    experiment: str
    results: Path
    model: str = ""
    """Empty where nobody named one."""
    large: str = ""
    """Whom a cascade asks where the model is unsure."""
    seed: int = 0
    languages: tuple[str, ...] = ("en", "zh")
    questions: int = 0
    """Of each experiment, where it is not 0."""
    techniques: tuple[str, ...] = ()
    runs: Path = Path("runs")
    """Where models that were trained for an experiment lie."""
    is_quick: bool = False
    ports: Ports = field(default_factory=Ports, compare=False)
    say: Callable[[str], None] = field(default=print, compare=False)

    def num(self, full: int, quick: int) -> int:
        """How many of something that `questions` counts."""
        return self.questions or (quick if self.is_quick else full)

    @property
    def folder(self) -> Path:
        return self.results / f"{self.experiment}-{self.seed}"

    @property
    def is_served(self) -> bool:
        """Whether the model is behind a server, whose template may drop calls."""
        return self.model.startswith("http")

    @property
    def port(self) -> Port:
        return self.ports.to(self.model)

    def trained(self, recipe: str) -> str:
        """The run of this seed that `jielong run` made; Unavailable where there is none, and of a smoke run where not quick."""
        for folder in run_folders(self.runs, recipe, self.seed, is_quick=self.is_quick):
            if is_finished(folder):
                return str(folder)
        raise Unavailable(
            f"no finished run of `jielong run {recipe} --seed {self.seed} --runs {self.runs}`; --train makes it"
        )

    async def part(self, name: str, work: Callable[[], Awaitable[Iterable[Line]]]) -> Part:
        """What was kept under this name, or else what `work` finds, kept from then on."""
        file = self.folder / f"{name.replace(' ', '-').replace('/', '-')}.json"
        if file.exists():
            return Part.from_dict(read_json(file))
        start_s = time.monotonic()
        # nothing may have come up of a kind: no call proposed, no question of two digits
        lines = tuple(line for line in await work() if line.scores)
        part = Part(name, lines, time.monotonic() - start_s, now(), commit(), load_average())
        write_json(file, to_dict(part))
        told = ", ".join(f"{line.name} {shown(line.mean, line.unit)}" for line in lines[:4])
        self.say(f"{self.experiment} seed {self.seed}: {name} ({part.seconds:.0f} s) {told}")
        return part

    def result(self, parts: Sequence[Part]) -> Result:
        return Result(self.experiment, self.seed, tuple(parts))


Measure = Callable[[Setting], Awaitable[Result]]


def shown(value: float, unit: str) -> str:
    return f"{value:.1%}" if unit == "%" else f"{value:.3g} {unit}".strip()


def claim_folder(results: Path, what: dict[str, Any]) -> None:
    """Write down what a results folder is for; ConfigError where it holds results of something else."""
    file = results / "setting.json"
    if not file.exists():
        write_json(file, what)
        return
    kept = read_json(file)
    for name, value in what.items():
        if kept.get(name) != value:
            raise ConfigError(
                f"{results} holds results with {name} {kept.get(name)!r} and this run has {value!r}; give another --results"
            )
