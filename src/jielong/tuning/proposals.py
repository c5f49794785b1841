"""Optuna's answers for a search: what to try next, when to stop a trial, and which settings mattered.

Optuna's study is rebuilt from the trials that have ended for every question, with random numbers that depend on the
recipe's seed and the number of trials. So an answer is a function of the files on disk, and Optuna keeps nothing of its
own.
"""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from jielong.config import get_field
from jielong.errors import ConfigError, DivergedError
from jielong.runs import derive_seed
from jielong.stages.recipe import Offer
from jielong.tuning.study import Study, Trial

RANDOM_TRIALS = 6
"""Trials before the sampler trusts what it has seen; until then it draws evenly."""

WHOLE_TRIALS = 4
"""Trials that must have ended before one is stopped early for being worse than half of them."""

DIGITS = 3
"""Of a proposed number: more mean nothing, and fewer can be read."""


def library() -> types.ModuleType:
    """Import Optuna. Raises ConfigError if it is missing."""
    try:
        import optuna
    except ImportError:
        raise ConfigError("jielong tune needs the library optuna; in the checkout: pip install -e '.[tune]'") from None
    return optuna


@contextmanager
def _import_quietly() -> Iterator[types.ModuleType]:
    """Import Optuna with its own messages silenced."""
    optuna = library()
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield optuna
    finally:
        optuna.logging.set_verbosity(before)


def propose(study: Study, trials: Sequence[Trial]) -> dict[str, Any] | None:
    """Propose settings for the next trial, a function of the seed and the trials before. Returns None if only known
    ones come up.
    """
    offers = study.search.offers
    if not trials:
        own = {o.field: get_field(study.stage, o.field) for o in offers}
        return {o.field: own[o.field] for o in offers if not o.when or own[o.when[0]] == o.when[1]}
    tried = [t.settings for t in trials]
    with _import_quietly() as optuna:
        for throw in range(20):
            seed = derive_seed(study.recipe.seed, "tune", study.search.stage, len(trials), throw) % 2**32
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)
            asked = _rebuild_study(optuna, study, trials, sampler=sampler).ask()
            settings: dict[str, Any] = {}
            for offer in offers:
                if not offer.when or settings.get(offer.when[0]) == offer.when[1]:
                    settings[offer.field] = _suggest(asked, offer)
            if settings not in tried:
                return settings
    return None


def is_hopeless(study: Study, ended: Sequence[Trial], found: Mapping[int, float]) -> bool:
    """Whether a trial's values so far are worse than half of the others were at the same step.

    The median, not successive halving: that one keeps a third or a quarter at every look, which suits hundreds of
    trials in parallel; here there are a dozen or two, and a rate that decays late must not be dropped for a slow start.
    For the same reason nothing is stopped in the first third.
    """
    with _import_quietly() as optuna:
        pruner = optuna.pruners.MedianPruner(
            n_startup_trials=WHOLE_TRIALS, n_warmup_steps=study.stage.loop.steps // 3, n_min_trials=WHOLE_TRIALS
        )
        running = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING, intermediate_values=dict(found))
        return bool(pruner.prune(_rebuild_study(optuna, study, ended), running))


def importances(study: Study, trials: Sequence[Trial]) -> dict[str, float]:
    """Return how much of the differences each field explains (PED-ANOVA, Watanabe et al. 2023), largest first.

    Empty below ten finished trials, where it would be a guess; fields that not every trial had are left out.
    """
    if sum(t.state == "done" for t in trials) < 10:
        return {}
    with _import_quietly() as optuna:
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        found: Mapping[str, float] = optuna.importance.get_param_importances(
            _rebuild_study(optuna, study, trials), evaluator=evaluator
        )
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _rebuild_study(optuna: types.ModuleType, study: Study, trials: Sequence[Trial], **more: Any) -> Any:
    """Rebuild Optuna's study from the trials that have ended.

    The sampler skips failed ones; one that diverged is entered as stopped before its first check, which counts as the
    worst there is, so that it keeps away from there.
    """
    states = optuna.trial.TrialState
    made = optuna.create_study(direction="minimize", **more)
    for trial in trials:
        has_diverged = trial.cause.startswith(DivergedError.__name__)
        state = {"done": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[trial.state]
        made.add_trial(
            optuna.trial.create_trial(
                state=states.PRUNED if has_diverged else state,
                value=trial.value,
                params=dict(trial.settings),
                distributions={
                    o.field: _distribution(optuna, o) for o in study.search.offers if o.field in trial.settings
                },
                intermediate_values={} if has_diverged else dict(trial.checks),
            )
        )
    return made


def _is_whole(offer: Offer) -> bool:
    return isinstance(offer.low, int) and isinstance(offer.high, int)


def _distribution(optuna: types.ModuleType, offer: Offer) -> Any:
    """Return Optuna's distribution for an offered field."""
    kinds = optuna.distributions
    if offer.choices:
        return kinds.CategoricalDistribution(offer.choices)
    kind = kinds.IntDistribution if _is_whole(offer) else kinds.FloatDistribution
    return kind(offer.low, offer.high, log=offer.log)


def _suggest(asked: Any, offer: Offer) -> Any:
    """Let Optuna suggest a value of an offered field, rounded and within bounds."""
    if offer.choices:
        return asked.suggest_categorical(offer.field, offer.choices)
    if _is_whole(offer):
        return asked.suggest_int(offer.field, offer.low, offer.high, log=offer.log)
    drawn = float(f"{asked.suggest_float(offer.field, offer.low, offer.high, log=offer.log):.{DIGITS}g}")
    return min(max(drawn, offer.low), offer.high)
