"""The search over the settings of one training stage: trials of the recipe's offers, each a run of that stage alone.

The stages before it are made once, in the recipe's own run, and shared. Trial 0 is the recipe as it stands, so that the
result says whether anything was won; the next settings are a proposal of Optuna's TPE from the trials before. All
trials have the same seed: they see the same data in the same order, and differ by their settings alone.

The truth about a search is `trials.jsonl`, replaced at once after each trial, and a proposal is a function of it: a
search that was killed proposes what it would have proposed, finds the trial that was under way half done, and goes on
with it.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from jielong.config import get_field, resolved
from jielong.errors import CheckpointError, ConfigError, DivergedError, JielongError, did_you_mean
from jielong.outside import Fields
from jielong.recipes.shared.written import WrittenRecipe, write_recipe
from jielong.runs import (
    Run,
    digest,
    now_s,
    read_json,
    sealed,
    unsealed,
    write_json,
)
from jielong.stages.execute import open_context, pass_or_run, release_memory, run_stage
from jielong.stages.recipe import Context, Display, Recipe, Search, Silent, Summary, change
from jielong.stages.train import TrainStage
from jielong.train.loop import Progress
from jielong.tuning.proposals import importances, is_hopeless, library, propose
from jielong.tuning.study import Study, Trial, best_of, checks, short_name, spell

VERSION = 1
FAILURES_IN_A_ROW = 5
"""After so many the cause is not in the settings, and the search ends."""
FEW, TOLD_AT = 5, 10
"""Of fewer trials nothing can be learned; what one takes is known after so many steps."""


@dataclass(frozen=True)
class Tuned:
    """The result of a search; `ended` says why it stopped, `importances` are shares by field, if they are known."""

    study: Study
    trials: tuple[Trial, ...]
    best: Trial
    recipe_file: Path
    seconds: float
    ended: str
    full_steps: int
    importances: Mapping[str, float] = field(default_factory=dict)


class Clock:
    """The time that a search has taken, over all its commands; kept in study.json, so that a kill costs no more than a
    check.
    """

    def __init__(self, file: Path, about: Mapping[str, Any], trials: Sequence[Trial]) -> None:
        """Start the clock; the time in `trials` counts if the file is damaged."""
        self.file, self.about = file, about
        kept_s = self._read_seconds() if file.exists() else 0.0
        self._before_s = sum(trial.seconds for trial in trials) if kept_s is None else kept_s
        self._began_s = now_s()

    def _read_seconds(self) -> float | None:
        """Return the seconds in the file, or None if it is damaged."""
        try:
            kept = Fields(unsealed(read_json(self.file)), str(self.file), CheckpointError)
            if kept.whole("version") != VERSION:
                raise ConfigError(f"{self.file} is of another version than {VERSION}; give another --runs folder")
            return float(kept.number("seconds", low=0.0))
        except CheckpointError:
            return None

    @property
    def spent_s(self) -> float:
        return self._before_s + now_s() - self._began_s

    def keep(self) -> None:
        write_json(self.file, sealed({"version": VERSION, **self.about, "seconds": round(self.spent_s, 2)}))


class Pruned(Exception):
    """Raised inside a trial that is worse than half of the others were at this step."""


class TimeSpent(Exception):
    """Raised inside a trial when time is up; its state is kept, and a longer budget resumes it."""


@dataclass(kw_only=True)
class TrialContext(Context):
    """A trial's own run; the stages before it lie in `shared`."""

    shared: Run
    study: Study
    ended: Sequence[Trial]
    clock: Clock
    budget_s: float

    def directory(self, stage: str) -> Path:
        return (self.run if stage == self.study.search.stage else self.shared).stage_path(stage)

    def summary(self, stage: str) -> Summary:
        found: Summary = self.shared.record["stages"][stage]["summary"]
        return found

    def checkpoint(self, stage: str) -> Path:
        return self.shared.checkpoint(stage)

    def report(self, progress: Progress) -> None:
        """Check the trial's value at each step: stop it when it diverges, is hopeless, or the time is spent."""
        super().report(progress)
        if not self.ended and progress.step == TOLD_AT < progress.steps:
            self._tell_what_fits(progress)
        judged_by = self.study.search.judged_by
        if judged_by in progress.found:
            self.clock.keep()
            value = progress.found[judged_by]
            if not math.isfinite(value):
                raise DivergedError(f"{judged_by} is {value} at step {progress.step}")
            if progress.step < progress.steps and is_hopeless(self.study, self.ended, self._checks(progress.step)):
                raise Pruned
        if self.clock.spent_s > self.budget_s and progress.step < progress.steps:
            raise TimeSpent

    def _tell_what_fits(self, progress: Progress) -> None:
        """Warn if the budget is too short for some trials, with a budget that would do."""
        left_steps = progress.steps - progress.step
        trial_s = progress.seconds_left / left_steps * progress.steps
        left_s = self.budget_s - self.clock.spent_s + trial_s - progress.seconds_left
        if left_s >= FEW * trial_s:
            return
        enough_s = FEW * trial_s - left_s + self.budget_s
        shorter = int(progress.steps * left_s / trial_s / FEW)
        less = f", or --steps {shorter}" if shorter > TOLD_AT else ""
        self.display.message(
            f"a trial takes about {math.ceil(trial_s / 60)} min and the budget holds {left_s / trial_s:.1f} of them; "
            f"{FEW} would take --budget {math.ceil(enough_s / 60)}m{less}"
        )

    def _checks(self, step: int) -> dict[int, float]:
        return {s: v for s, v in checks(self.directory(self.study.search.stage), self.study.search) if s <= step}


# The search ----------------------------------------------------------------------------------------------------------


def tune(
    written: WrittenRecipe,
    root: Path,
    *,
    held: Sequence[str] = (),
    stage: str | None = None,
    budget_s: float,
    max_trials: int | None = None,
    steps: int | None = None,
    display: Display | None = None,
) -> Tuned:
    """Search `stage` (else the first that offers something) of a recipe whose run lies, or will lie, under `root`.

    `held` are settings, as `--set` takes them, that no trial changes. The budget is wall-clock time, with the stages
    before included, and ends the trial that is under way; the same call resumes it.
    """
    library()
    display = display or Silent()
    written = written.changed(held)
    recipe = written.build()
    search = choose_search(recipe, stage, held)
    full_steps = cast(TrainStage, recipe.stage(search.stage)).loop.steps
    ground = at_length(recipe, search, steps)
    mark = digest({"ground": ground.fingerprints()[search.stage], "search": resolved(search)})[:8]
    study = Study(ground, search, root / recipe.run_name / "tune" / f"{search.stage}-{mark}")
    with open_context(recipe, root, display) as shared:
        mended = study.mend()
        if mended:
            display.message(mended)
        about = {"search": resolved(search), "steps": study.stage.loop.steps}
        clock = Clock(study.folder / "study.json", about, study.trials())
        display.message(_plan(study, full_steps))
        try:
            for before in recipe.before(search.stage):
                pass_or_run(before, shared)
            ended = _search(study, shared, clock, budget_s, max_trials, written)
            trials = study.trials()
            best = best_of(trials)
            if best is None:
                raise ConfigError(_nothing(study, trials, ended))
            # once more: a kill may have fallen between a trial's record and its recipe
            write_recipe(study.folder / "best.json", _as_recipe(study, trials, best, written))
            if study.stage.loop.steps == full_steps:
                _reuse_best_trial(study, best, shared.run)
        finally:
            clock.keep()
    shares = importances(study, trials)
    return Tuned(study, tuple(trials), best, study.folder / "best.json", clock.spent_s, ended, full_steps, shares)


def _plan(study: Study, full_steps: int) -> str:
    """Describe the search in one line before it begins."""
    search, steps = study.search, study.stage.loop.steps
    length = f"{steps} steps" if steps == full_steps else f"{steps} of the stage's {full_steps} steps"
    known = len(study.trials())
    return (
        f"searched in {search.stage}: {', '.join(short_name(o.field) for o in search.offers)}; a trial takes {length} and is "
        f"judged by {search.judged_by}" + (f"; {known} trials have ended before" if known else "")
    )


def choose_search(recipe: Recipe, stage: str | None, held: Sequence[str]) -> Search:
    """Choose the stage's offers to search, without those that are held. Raises ConfigError if nothing is left."""
    if not recipe.searches:
        raise ConfigError(f"{recipe.name} offers no field to be searched")
    names = [s.stage for s in recipe.searches]
    if stage is not None and stage not in names:
        raise ConfigError(f"{recipe.name} offers nothing to be searched in {stage!r}; {did_you_mean(stage, names)}")
    search = recipe.searches[names.index(stage) if stage else 0]
    config = cast(TrainStage, recipe.stage(search.stage))
    if not config.check_every:
        raise ConfigError(
            f"{search.stage}.check_every is 0; trials are judged by {search.judged_by}, which it leaves out"
        )
    fixed = {s.partition("=")[0].strip() for s in held}
    offers = tuple(o for o in search.offers if f"{search.stage}.{o.field}" not in fixed)
    # an offer that hangs on a field that is held is there or not for all trials
    searched = {o.field for o in offers}
    offers = tuple(
        dataclasses.replace(o, when=o.when if o.when and o.when[0] in searched else None)
        for o in offers
        if not o.when or o.when[0] in searched or get_field(config, o.when[0]) == o.when[1]
    )
    if not offers:
        raise ConfigError(f"every field that {search.stage} offers is held by --set; leave one of them free")
    for offer in offers:
        value = get_field(config, offer.field)
        if not offer.holds(value):
            raise ConfigError(
                f"{search.stage}.{offer.field} is {value!r}, outside of what is searched; "
                f"hold it with --set {search.stage}.{offer.field}={value}"
            )
    return dataclasses.replace(search, offers=offers)


def at_length(recipe: Recipe, search: Search, steps: int | None) -> Recipe:
    """Return the recipe with trials of `steps` steps (else the search's own length), and as many checks as the whole
    stage has.
    """
    stage = cast(TrainStage, recipe.stage(search.stage))
    wanted = steps or min(search.steps or stage.loop.steps, stage.loop.steps)
    if wanted == stage.loop.steps:
        return recipe
    every = max(1, round(stage.check_every * wanted / stage.loop.steps))
    return change(recipe, spell(search.stage, {"loop.steps": wanted, "check_every": every}))


def _search(
    study: Study, shared: Context, clock: Clock, budget_s: float, max_trials: int | None, written: WrittenRecipe
) -> str:
    """Run trial after trial until something ends the search; return the reason."""
    failed = 0
    while True:
        trials = study.trials()
        if clock.spent_s >= budget_s:
            return "the budget is spent"
        if max_trials is not None and len(trials) >= max_trials:
            return f"{max_trials} trials have ended"
        if failed >= FAILURES_IN_A_ROW:
            return f"{failed} trials in a row have failed"
        settings = propose(study, trials)
        if settings is None:
            return "no settings are left that have not been tried"
        number = len(trials)
        shared.display.stage(f"trial {number}")
        trial = _run_trial(study, trials, settings, shared, clock, budget_s)
        if trial is None:
            shared.display.end(f"trial {number}", "under way when the budget was spent; a longer one goes on with it")
            return "the budget is spent"
        failed = failed + 1 if trial.state == "failed" else 0
        before = best_of(trials)
        trials.append(trial)
        study.keep(trials)
        best = best_of(trials)
        if best is not None and best != before:
            write_recipe(study.folder / "best.json", _as_recipe(study, trials, best, written))
        _drop_weights(study, trials, best)
        shared.display.end(f"trial {number}", trial_line(study, trial, is_best=trial == best))


def _run_trial(
    study: Study,
    ended: Sequence[Trial],
    settings: Mapping[str, Any],
    shared: Context,
    clock: Clock,
    budget_s: float,
) -> Trial | None:
    """Run or resume one trial to its end, however it ends. Returns None if the budget ended it."""
    number, name = len(ended), study.search.stage
    run = study.trial_run(number)
    state: Literal["done", "pruned", "failed"] = "done"
    cause = ""
    try:
        recipe = study.variant(settings)
        run.update(recipe=recipe.name, size=recipe.size, seed=recipe.seed, machine=shared.machine.__dict__)
        context = TrialContext(
            recipe, run, shared.machine, shared.display, shared.memory,
            shared=shared.run, study=study, ended=ended, clock=clock, budget_s=budget_s,
        )  # fmt: skip
        run_stage(recipe.stage(name), context)
    except TimeSpent:
        return None
    except Pruned:
        state = "pruned"
    # torch tells of too little memory, and of much else that hangs on settings, by a RuntimeError
    except (JielongError, MemoryError, RuntimeError) as error:
        state, cause = "failed", f"{type(error).__name__}: {' '.join(str(error).split())}"
    finally:
        release_memory()
    found = tuple(checks(run.stage_path(name), study.search))
    value = min((v for _, v in found), default=None)
    if state == "done" and value is None:
        state, cause = "failed", f"no check has found {study.search.judged_by}"
    seconds = run.record["stages"].get(name, {}).get("seconds", 0.0)
    return Trial(number, state, dict(settings), value if state == "done" else None, found, seconds, cause)


def trial_line(study: Study, trial: Trial, *, is_best: bool = False) -> str:
    """Describe a trial's end in one line."""
    what = (
        ", ".join(f"{short_name(n)} {v}" for n, v in trial.settings.items())
        if trial.number
        else "the recipe's own settings"
    )
    if trial.state == "failed":
        return f"failed, {trial.cause} ({what})"
    step, value = trial.checks[-1]
    if trial.state == "pruned":
        return (
            f"stopped at step {step}, where half of the others were below {study.search.judged_by} {value:.4f} ({what})"
        )
    return f"{study.search.judged_by} {trial.value:.4f}{', the best so far' if is_best else ''} ({what})"


def _as_recipe(study: Study, trials: Sequence[Trial], best: Trial, written: WrittenRecipe) -> WrittenRecipe:
    """Return the recipe at full length with the best trial's settings, and a sentence on its result."""
    own = trials[0].value
    about = (
        f"trial {best.number} of jielong tune {study.recipe.name}, {study.stage.loop.steps} steps of {study.search.stage}: "
        f"{study.search.judged_by} {best.value:.4f}, the recipe's own settings {'failed' if own is None else f'{own:.4f}'}"
    )
    # trial 0 is the recipe as it stands, and says nothing that it does not say itself
    changed = spell(study.search.stage, best.settings) if best.number else []
    return dataclasses.replace(written.changed(changed), about=about)


def _nothing(study: Study, trials: Sequence[Trial], ended: str) -> str:
    cause = f"; the last failed with {trials[-1].cause}" if trials else "; give more --budget or fewer --steps"
    return f"no trial of {study.search.stage} has come to its end, and {ended}{cause}"


def _drop_weights(study: Study, trials: Sequence[Trial], best: Trial | None) -> None:
    """Delete the weights of all trials but the best: their values are in their metrics.jsonl."""
    for trial in trials:
        if trial != best:
            shutil.rmtree(study.trial_run(trial.number).stage_path(study.search.stage) / "steps", ignore_errors=True)


def _reuse_best_trial(study: Study, best: Trial, run: Run) -> None:
    """Copy the stage of a full-length best trial to where the recipe's `run` finds it, so that it is not trained again."""
    name, trial_run = study.search.stage, study.trial_run(best.number)
    entry = trial_run.record["stages"].get(name, {})
    if trial_run.is_done(name, entry.get("done", "")) and not run.is_done(name, entry["done"]):
        run.lay_aside(name, entry, trial_run.stage_path(name))
