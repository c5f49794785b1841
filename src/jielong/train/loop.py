"""The one loop that trains everything.

A source gives the micro-batches of a step, an objective turns (modules, micro-batch) into sums and weights, and the loop
does the rest: it divides every sum by its weight over the whole step and all ranks, clips, refuses a step that is not
finite, updates, runs the checks that are due, writes metrics and checkpoints, and goes on after a kill where it stopped.
When training leaves the numbers behind it returns to the last good state with half the rate and another data order, at
most three times.

Pretraining, instruction tuning, reward models and reinforcement learning differ in source and objective, never here.
"""

from __future__ import annotations

import math
import shutil
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jielong import stopping
from jielong.config import at_least, later
from jielong.data.ahead import ReadAhead
from jielong.data.steps import Source
from jielong.errors import CheckpointError, ConfigError, DivergedError
from jielong.runs import MetricsLog, now_s, write_directory
from jielong.stopping import Terminated
from jielong.train.checkpoints import KEPT, STATE, newest, seal
from jielong.train.mismatch import mismatch_warning
from jielong.train.objectives.objective import Objective
from jielong.train.optim import Optimizer, gradient_norm, rate_factor
from jielong.train.parallel import Ranks
from jielong.train.roles import Modules
from jielong.train.sources import Check

PACE_STEPS = 20
"""Steps over which tokens per second and the time left are taken."""


@dataclass(frozen=True)
class LoopConfig:
    """The length of a training, the log of its steps, and the limits past which it has diverged."""

    steps: int = 100
    """Optimizer steps: how long the stage trains."""
    max_grad_norm: float = 1.0
    """Gradients longer than this are shortened to it."""
    log_every: int = 5
    """Steps between two lines of the log."""
    save_every_s: float = 30.0
    """Seconds between two checkpoints, which bounds what a kill can cost; below 0 every step is saved."""
    max_attempts: int = 3
    """How often training goes back and tries again, with half the rate, when it diverges."""
    # A smoothed loss this far (in the loss's own unit) above its lowest counts as diverged; 0 looks at finiteness only.
    diverged_above: float = 2.0
    keep_every: int = later(0)
    """Steps between two models that are kept beside the newest and the best; 0 keeps none."""

    def __post_init__(self) -> None:
        at_least(self, 0, "steps", "max_attempts", "diverged_above", "keep_every")
        at_least(self, 1, "log_every")
        if self.max_grad_norm <= 0:
            raise ConfigError(f"max_grad_norm is {self.max_grad_norm}; at 0 or below nothing would be learned")


@dataclass(frozen=True)
class Progress:
    """The report of a step; whoever gets it may end the training by an exception."""

    step: int
    steps: int
    loss: float
    tokens_per_s: float
    seconds_left: float
    # share of the machine's matrix products per second that training uses; 0 where it is not known
    mfu: float = 0.0
    # what the checks of this step found; empty where none was due
    found: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Trained:
    """The end of a training stage: the checkpoint to continue from, the last metrics, and warnings."""

    checkpoint: Path
    step: int
    tokens: int
    seconds: float
    last: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Diverged(Exception):
    """Raised inside the loop to end an attempt."""


class Loop:
    """The state of one training stage in `directory`; `run()` takes it to its end from wherever it is.

    `mfu_per_rate` is the FLOPs utilisation of one token per second, where it is known. The log's "source_s" is how long
    the loop waited for the step's batches, seconds: data that is late, or a rollout.
    """

    def __init__(
        self,
        modules: Modules,
        optimizers: Mapping[str, Optimizer],
        source: Source,
        objective: Objective,
        config: LoopConfig,
        directory: Path,
        save_model: Callable[[nn.Module, Path], None],
        *,
        main: str = "policy",
        checks: Sequence[Check] = (),
        ranks: Ranks = Ranks(),  # noqa: B008 - frozen
        mfu_per_rate: float = 0.0,
        report: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        self.modules, self.optimizers, self.objective = modules, optimizers, objective
        self.source = ReadAhead(source) if source.read_ahead else source
        self.config, self.directory, self.save_model, self.main = config, directory, save_model, main
        self.checks, self.ranks, self.mfu_per_rate, self.report = checks, ranks, mfu_per_rate, report
        self.device = next(modules[main].parameters()).device
        self.step = 0
        self.source_s = 0.0
        self.tokens = 0
        self.attempt = 0
        self.seconds = 0.0
        self.smooth = 0.0
        self.lowest = math.inf
        self.refused = 0
        self.best: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.last: dict[str, float] = {}

    # The run -------------------------------------------------------------------------------------------------------

    def run(self) -> Trained:
        """Train to the end, resuming from the newest checkpoint and going back after divergence."""
        # all wait for the first one, who reads what lies there before anything is written
        found = self.ranks.gather(newest(self.directory / "steps") if self.ranks.is_first else None)[0]
        assert found is not None
        if found.path:
            self._load(found.path)
        self.warnings += found.notes
        if not found.is_whole:
            self._save()
        while True:
            try:
                with stopping.deferred():
                    self._run_attempt()
                break
            except Diverged as reason:
                self._go_back(str(reason))
        self._note_overfitting()
        path = self.directory / "steps" / (self.best["checkpoint"] if self.best else f"{self.step:06d}")
        return Trained(path, int(path.name), self.tokens, self.seconds, self.last, self.warnings)

    def _run_attempt(self) -> None:
        """Train step by step with checks, log and checkpoints, until the last step or divergence."""
        log = MetricsLog(self.directory / "metrics.jsonl", self.step) if self.ranks.is_first else None
        self._saved_s = now_s()
        pace = deque([(now_s(), self.step, self.tokens)], maxlen=PACE_STEPS + 1)
        try:
            while self.step < self.config.steps:
                began_s = now_s()
                metrics = self._one_step()
                self.step += 1
                due = [c for c in self.checks if self.step % c.every == 0 or self.step == self.config.steps]
                is_best, all_found = False, dict[str, float]()
                for check in due:
                    found = dict(check.run(self.modules, self.step))
                    all_found |= found
                    is_best = self._is_best(check, found) or is_best
                metrics |= all_found
                self.seconds += now_s() - began_s
                since_s, since_step, since_tokens = pace[0]
                pace.append((now_s(), self.step, self.tokens))
                elapsed = max(pace[-1][0] - since_s, 1e-9)
                rate = (self.tokens - since_tokens) / elapsed
                left = elapsed / (self.step - since_step) * (self.config.steps - self.step)
                mfu = rate * self.mfu_per_rate
                self.last |= metrics
                if log and (due or self.step % self.config.log_every == 0 or self.step in (1, self.config.steps)):
                    speed = {"tokens_per_s": round(rate, 1), "mfu": round(mfu, 4), "source_s": round(self.source_s, 4)}
                    log.write({"step": self.step, "tokens": self.tokens, **speed, **metrics})
                self.report(Progress(self.step, self.config.steps, metrics["loss"], rate, left, mfu, all_found))
                if self.config.keep_every and self.step % self.config.keep_every == 0 and self.ranks.is_first:
                    write_directory(self.directory / KEPT / f"{self.step:06d}", self._write_model)
                is_late, is_end = self._asked()
                if is_best or is_late or is_end:
                    self._save()
                if is_end:
                    raise Terminated
        finally:
            if log:
                log.close()

    def _one_step(self) -> dict[str, float]:
        """Do one optimizer step over the source's micro-batches; return its metrics over all ranks."""
        asked_s = now_s()
        made = self.source.next_step()
        self.source_s = now_s() - asked_s
        weights: dict[str, float] = {}
        for batch in made:
            for name, number in self.objective.weights(batch).items():
                weights[name] = weights.get(name, 0.0) + number
        weights = self.ranks.sum_numbers(weights)
        tokens = sum(int((b.segments > 0).sum()) for b in made)
        # what a GPU has found is looked at when all is under way: to look is to wait for it
        found: list[tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]] = []
        for batch in made:
            loss = self.objective(self.modules, batch.to(self.device))
            total = torch.stack([s / max(weights[n], 1e-12) for n, (s, _) in loss.terms.items()]).sum()
            total.backward()
            found.append((total.detach(), {n: (value.detach(), weight) for n, (value, weight) in loss.metrics.items()}))
        sums: dict[str, float] = {}
        metric_weights: dict[str, float] = {}
        for total, measured in found:
            sums["loss"] = sums.get("loss", 0.0) + total.item()
            for name, (value, weight) in measured.items():
                sums[name] = sums.get(name, 0.0) + float(value)
                metric_weights[name] = metric_weights.get(name, 0.0) + float(weight)
        totals = self.ranks.sum_numbers(
            {**sums, **{f"weight {n}": w for n, w in metric_weights.items()}, "tokens": float(tokens)}
        )
        self.tokens += int(totals["tokens"])
        metrics = {n: totals[n] / max(totals[f"weight {n}"], 1e-12) for n in metric_weights}
        metrics["loss"] = totals["loss"]
        metrics |= self._update()
        metrics |= self.source.metrics()
        told = mismatch_warning(metrics)
        if told and not any(warning.startswith("mismatch") for warning in self.warnings):
            self.warnings.append(told)
        self._watch(metrics)
        self.source.observe(metrics)
        return {name: float(value) for name, value in metrics.items()}

    def _update(self) -> dict[str, float]:
        """Clip and step each optimizer; a gradient that is not finite refuses the whole step."""
        norms = {}
        for name, optimizer in self.optimizers.items():
            self.ranks.sum_gradients(optimizer.parameters)
            norms[name] = float(gradient_norm(optimizer.parameters))
        is_finite = all(math.isfinite(n) for n in norms.values())
        rates = {}
        for name, optimizer in self.optimizers.items():
            if not is_finite:
                optimizer.skip()
                continue
            scale = self.config.max_grad_norm / max(norms[name], self.config.max_grad_norm)
            if scale < 1.0:
                torch._foreach_mul_([p.grad for p in optimizer.parameters if p.grad is not None], scale)
            factor = rate_factor(optimizer.config, self.step, self.config.steps) * 0.5**self.attempt
            optimizer.step(factor)
            rates["lr" if name == self.main else f"lr_{name}"] = optimizer.config.lr * factor
        self.refused = 0 if is_finite else self.refused + 1
        main = norms.pop(self.main)
        return {"grad_norm": main, **{f"grad_norm_{n}": v for n, v in norms.items()}, **rates, "refused": self.refused}

    # Divergence and overfitting ------------------------------------------------------------------------------------

    def _watch(self, metrics: Mapping[str, float]) -> None:
        """Raise Diverged after three refused steps in a row, or when the smoothed loss rises too far."""
        if self.refused >= 3:
            raise Diverged(f"three steps in a row had gradients that are not finite, the last at step {self.step + 1}")
        loss = metrics["loss"]
        if self.refused or not self.config.diverged_above or not math.isfinite(loss):
            return
        self.smooth = loss if self.lowest == math.inf else 0.9 * self.smooth + 0.1 * loss
        self.lowest = min(self.lowest, self.smooth)
        if self.smooth > self.lowest + self.config.diverged_above:
            raise Diverged(f"the loss rose from {self.lowest:.2f} to {self.smooth:.2f} by step {self.step + 1}")

    def _go_back(self, reason: str) -> None:
        """Return to the last good state with half the rate and another data order; DivergedError after too many
        attempts.
        """
        attempt = self.attempt + 1
        if attempt > self.config.max_attempts:
            raise DivergedError(
                f"{self.directory.name} diverged ({reason}) also at rates halved {self.attempt} times; "
                f"lower optimizer.lr or raise optimizer.warmup_steps"
            )
        warnings = [*self.warnings, f"diverged: {reason}; went back and took half the rate, attempt {attempt}"]
        self._load(self._saved)
        self.attempt, self.warnings, self.refused = attempt, warnings, 0
        self.source.reseed(attempt)
        self._save()

    def _is_best(self, check: Check, found: Mapping[str, float]) -> bool:
        """Whether this is the best value so far of the number that the check tracks; if so, remember it."""
        sign = -1.0 if check.higher_is_better else 1.0
        if not check.tracks or (self.best and not sign * (found[check.tracks] - self.best["value"]) < 0):
            return False
        best = {"metric": check.tracks, "value": found[check.tracks], "checkpoint": f"{self.step:06d}"}
        self.best = best | ({"higher_is_better": True} if check.higher_is_better else {})
        return True

    def _note_overfitting(self) -> None:
        """Warn where the tracked number got worse after its best checkpoint."""
        if not self.best or self.best["metric"] not in self.last:
            return
        metric, value, now = self.best["metric"], self.best["value"], self.last[self.best["metric"]]
        is_higher = self.best.get("higher_is_better", False)
        if (value - now if is_higher else now - value) > 0.005 * abs(value) + 1e-3:
            turned = "fell" if is_higher else "turned up"
            self.warnings.append(
                f"overfitting: {metric} {turned} from {value:.4f} at step {int(self.best['checkpoint'])} "
                f"to {now:.4f} at step {self.step}; the checkpoint of step "
                f"{int(self.best['checkpoint'])} is kept as the result"
            )

    # On disk -------------------------------------------------------------------------------------------------------

    def _asked(self) -> tuple[bool, bool]:
        """Return whether to save, and whether to end, the same on all ranks.

        The first rank's clock decides for all; a state that may be diverging is not kept as a good one.
        """
        is_rising = self.config.diverged_above > 0 and self.smooth > self.lowest + self.config.diverged_above / 4
        is_late = self.ranks.is_first and now_s() - self._saved_s > self.config.save_every_s and not is_rising
        told = self.ranks.sum_numbers({"late": float(is_late), "end": float(stopping.is_asked())})
        return told["late"] > 0 or self.step == self.config.steps, told["end"] > 0

    def _save(self) -> None:
        """Write a checkpoint of this step, then the pointers to it, then delete those without a pointer."""
        self._sources = self.ranks.gather(self.source.state_dict())
        if self.ranks.is_first:
            name = f"{self.step:06d}"
            steps = self.directory / "steps"
            write_directory(steps / name, self._write_checkpoint)
            for old in steps.iterdir():
                if old.name not in (name, self.best.get("checkpoint")):
                    shutil.rmtree(old)
        self.ranks.wait()
        self._saved, self._saved_s = self.directory / "steps" / f"{self.step:06d}", now_s()

    def _write_model(self, path: Path) -> None:
        """Write the model alone into a folder."""
        (path / "model").mkdir()
        self.save_model(self.modules[self.main], path / "model")

    def _write_checkpoint(self, path: Path) -> None:
        """Write model, optimizers, sources and the loop's state into a folder, and seal it."""
        self._write_model(path)
        (path / "training").mkdir()
        others = {n: self.modules[n].state_dict() for n in self.optimizers if n != self.main}
        state = {
            "version": 2,
            "main": self.modules[self.main].state_dict() if self.main in self.optimizers else {},
            "modules": others,
            "optimizers": {n: o.state_dict() for n, o in self.optimizers.items()},
            "sources": self._sources,
            "loop": {n: getattr(self, n) for n in self._KEPT},
        }
        torch.save(state, path / STATE)
        seal(path)

    _KEPT = ("step", "tokens", "attempt", "seconds", "smooth", "lowest", "refused", "best", "warnings", "last")

    def _load(self, path: Path) -> None:
        """Restore everything from a checkpoint. Raises CheckpointError if it cannot be read."""
        self._saved, file = path, path / STATE
        try:
            state = torch.load(file, map_location=self.device, weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            # one that is not what was saved is passed over before; this one was saved by an earlier version
            raise CheckpointError(
                f"{file} cannot be read ({error}); delete {path} to go on from an earlier checkpoint, or anew"
            ) from error
        if state["version"] != 2:
            raise CheckpointError(f"{file} has version {state['version']}; this jielong resumes version 2")
        if state["main"]:
            self.modules[self.main].load_state_dict(state["main"])
        for name, tensors in state["modules"].items():
            self.modules[name].load_state_dict(tensors)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        for name, value in state["loop"].items():
            setattr(self, name, value)
        if self.attempt:
            self.source.reseed(self.attempt)
        sources = state["sources"]
        # rows are the same for any number of processes; a rollout that is not says so
        self.source.load_state_dict(sources[self.ranks.rank if len(sources) == self.ranks.size else 0])
