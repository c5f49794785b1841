"""Contestants taking turns, and what is made of their samples: medians, ratios, a table.

Every contestant is a process of its own that stays open. A round asks each of them once, one after the other, so that
whatever else the machine does meets them all alike; a ratio is the median over the rounds of one contestant against
another in the same round. While somebody is timed, it is noted how many cores others kept busy.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import psutil

from bench.environments import ROOT, Environment, Unavailable

TIMEOUT_S = 900.0
T = TypeVar("T")


class Contestant:
    """A process that speaks the protocol of `bench.peers.protocol`. Unavailable when it ends before it answered."""

    def __init__(
        self,
        module: str,
        job: Mapping[str, Any],
        environment: Environment,
        folder: Path,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.module = module
        self.busy: list[float] = []
        """Cores that others used while this one answered, question by question."""
        file = folder / f"{module}-{len(list(folder.glob('*.json')))}.json"
        file.write_text(json.dumps(job), encoding="utf-8")
        self._log = file.with_suffix(".log")
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [str(environment.python), "-m", f"bench.peers.{module}", str(file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env=environment.variables(job["threads"]) | dict(variables or {}),
            )
        self.versions: dict[str, str] = self._answer()["versions"]

    def __enter__(self) -> Contestant:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, do: str, **options: Any) -> dict[str, Any]:
        """The answer to one question."""
        assert self._process.stdin is not None
        if self._process.stdin.closed:
            self._fail()  # it ended at an earlier question
        before = self._work_s()
        began_s = time.monotonic()
        try:
            self._process.stdin.write(json.dumps({"do": do, **options}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._fail()
        answer = self._answer()
        after = self._work_s()
        others_s = (after[0] - before[0]) - (after[1] - before[1])
        self.busy.append(max(0.0, others_s) / max(time.monotonic() - began_s, 1e-9))
        return answer

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def _work_s(self) -> tuple[float, float]:
        """Seconds of work so far, of all processors and of this contestant."""
        machine = psutil.cpu_times()
        idle = machine.idle + getattr(machine, "iowait", 0.0)
        try:
            own = psutil.Process(self._process.pid).cpu_times()
        except psutil.NoSuchProcess:
            return 0.0, 0.0
        return sum(machine) - idle - getattr(machine, "guest", 0.0), own.user + own.system

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        clock = threading.Timer(TIMEOUT_S, self._process.kill)
        clock.start()
        line = self._process.stdout.readline()
        clock.cancel()
        if not line:
            self._fail()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _fail(self) -> None:
        self.close()
        lines = [line for line in self._log.read_text(encoding="utf-8").splitlines() if line.strip()]
        raise Unavailable(f"{self.module} ended early: {lines[-1] if lines else 'it said nothing'} (see {self._log})")


def is_ours(name: str) -> bool:
    """By its name a contestant is ours or a peer."""
    return name.startswith("jielong")


def in_turn(asked: Mapping[str, Callable[[], T]], lost: list[str]) -> dict[str, T]:
    """What everybody answers, one after the other. A peer that fails is left out, and why is added to `lost`."""
    answers: dict[str, T] = {}
    for name, ask in asked.items():
        time.sleep(0.3)  # the one before lets go of its threads
        try:
            answers[name] = ask()
        except Unavailable as error:
            if is_ours(name):
                raise
            lost.append(f"{name}: {error}")
    return answers


def rounds(asked: Mapping[str, Callable[[], float]], count: int, lost: list[str]) -> dict[str, list[float]]:
    """`count` samples of each, taken in turns; of a peer that fails, none."""
    samples: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(count):
        answers = in_turn({name: asked[name] for name in samples}, lost)
        samples = {name: [*samples[name], answer] for name, answer in answers.items()}
    return samples


def busy_elsewhere(present: Iterable[Contestant]) -> float:
    """Cores that others used on average while one of `present` answered."""
    return statistics.fmean(busy for contestant in present for busy in contestant.busy)


def ratio(first: Sequence[float], second: Sequence[float]) -> float:
    """Median over the rounds of first / second."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


@dataclass(frozen=True)
class Wanted:
    """What issue or release asks for: `ours` at least `times` as good as `peer`."""

    ours: str
    peer: str
    times: float


@dataclass
class Result:
    """Samples of one measure by contestant. Those of a failed check are shown, but win nothing."""

    measure: str
    unit: str
    samples: dict[str, list[float]]
    wanted: Sequence[Wanted] = ()
    lower_is_better: bool = False
    at_most: float | None = None
    at_least: float | None = None
    """Limits for our own median."""
    mfu: dict[str, float] = field(default_factory=dict)
    mfu_wanted: float | None = None
    busy: float | None = None
    """Cores that others used meanwhile."""
    checks: list[tuple[str, bool]] = field(default_factory=list)
    """What was compared, in words with the figures, and whether it agreed."""

    @property
    def is_right(self) -> bool:
        return all(is_right for _, is_right in self.checks)

    def against(self, wanted: Wanted) -> float | None:
        """How many times as good `ours` is, or None where one of them did not take part."""
        ours, peer = self.samples.get(wanted.ours), self.samples.get(wanted.peer)
        if not ours or not peer:
            return None
        return ratio(peer, ours) if self.lower_is_better else ratio(ours, peer)


def figure(value: float) -> str:
    """Three or more digits, never an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(results: Iterable[Result]) -> str:
    """Markdown: a line for each contestant, then the checks."""
    lines = ["| measure | who | median | lowest to highest | MFU | ours is better by | wanted | |", "|" + "---|" * 8]
    checks: list[str] = []
    for result in results:
        for name, samples in result.samples.items():
            ratios = [(w, result.against(w)) for w in result.wanted if w.peer == name]
            better = ", ".join(f"{value:.2f}x ({w.ours})" for w, value in ratios if value is not None)
            wanted = ", ".join(f"{w.times:g}x" for w, value in ratios if value is not None)
            reached = [value >= w.times for w, value in ratios if value is not None]
            if is_ours(name) and result.at_most is not None:
                wanted, reached = f"at most {result.at_most:g}", [statistics.median(samples) <= result.at_most]
            if is_ours(name) and result.at_least is not None:
                wanted, reached = f"at least {result.at_least:g}", [statistics.median(samples) >= result.at_least]
            mfu = f"{result.mfu[name]:.2f}" if name in result.mfu else ""
            if is_ours(name) and mfu and result.mfu_wanted is not None:
                wanted, reached = f"MFU {result.mfu_wanted:g}", [result.mfu[name] >= result.mfu_wanted]
            verdict = ("yes" if all(reached) and result.is_right else "no") if reached else ""
            spread = f"{figure(min(samples))} to {figure(max(samples))}"
            median = f"{figure(statistics.median(samples))} {result.unit}"
            lines.append(
                f"| {result.measure} | {name} | {median} | {spread} | {mfu} | {better} | {wanted} | {verdict} |"
            )
        if result.busy is not None:
            checks.append(f"- {result.measure}: others kept {result.busy:.1f} cores busy meanwhile")
        checks += [f"- {result.measure}: {'' if is_right else 'WRONG: '}{what}" for what, is_right in result.checks]
    return "\n".join(lines) + ("\n\nChecked:\n" + "\n".join(checks) if checks else "")
