"""Ways to learn from judged answers, by name, with rates and steps for small models and data; and the reward model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from jielong.data.chat_files import judgement_kinds_in, read_preferences, read_ratings
from jielong.errors import ConfigError, did_you_mean
from jielong.model.adapters import AdapterConfig
from jielong.stages.train import TrainStage
from jielong.train.answers import AnswersConfig, MarksConfig
from jielong.train.loop import LoopConfig
from jielong.train.objectives.direct_answers import KTOConfig
from jielong.train.objectives.direct_pairs import DPOConfig, IPOConfig, ORPOConfig, SimPOConfig
from jielong.train.objectives.marks import MarkedConfig
from jielong.train.objectives.objective import ObjectiveConfig
from jielong.train.objectives.preferences import BradleyTerryConfig
from jielong.train.optim import OptimizerConfig
from jielong.train.sources import RowsConfig

METHODS: Mapping[str, ObjectiveConfig] = {
    "dpo": DPOConfig(),
    "cdpo": DPOConfig(label_smoothing=0.1),
    "ipo": IPOConfig(),
    "kto": KTOConfig(),
    "simpo": SimPOConfig(),
    "orpo": ORPOConfig(),
}

ADAPTER_RATE, FULL_RATE = 1e-4, 5e-5
"""Learning rates of an adapter and of all weights; instruction tuning takes 5e-4 and 1e-3 here."""

ROWS = 16
"""Answers of a step: eight pairs."""

EPOCHS, MOST_EPOCHS, FEW_STEPS, MANY_STEPS = 2, 8, 30, 300
"""How often judged answers are gone through: twice, or up to eight times to reach 30 steps; 300 steps unless an epoch is longer."""


def check_method(method: str, also: Collection[str] = ()) -> None:
    """Raise ConfigError for an unknown method; those of `also` would be right, too."""
    if method not in METHODS:
        raise ConfigError(f"no method is called {method!r}; {did_you_mean(method, (*METHODS, *also))}")


def kind_of_judgements(path: Path, method: str) -> Literal["preferences", "ratings"]:
    """Return how a file's answers are judged; ConfigError where the method cannot learn from single answers.

    Of a file with both, KTO takes the single answers, and every other method the pairs.
    """
    held = judgement_kinds_in(path)
    if held != {"ratings"} and (method != "kto" or "ratings" not in held):
        return "preferences"
    if method != "kto":
        raise ConfigError(
            f"{path} holds single answers with a label, from which {method} cannot learn; take --method kto, or give pairs"
        )
    return "ratings"


def kind_for_reward(path: Path) -> Literal["preferences", "ratings"]:
    """Return how a reward model learns from a file: by its pairs where there are any, else by its marks."""
    return "ratings" if judgement_kinds_in(path) == {"ratings"} else "preferences"


def num_answers(path: Path, kind: Literal["preferences", "ratings"]) -> int:
    """Count the judged answers of a file."""
    return len(read_ratings(path).records) if kind == "ratings" else 2 * len(read_preferences(path).records)


def preference_training(
    method: str, inputs: Mapping[str, str], count: int, *, length: int, adapter: AdapterConfig | None = None
) -> TrainStage:
    """Build the training stage of a method, which is also its name, on `count` judged answers of at most `length`
    tokens.
    """
    is_single = method == "kto"
    rows = (AnswersConfig if is_single else RowsConfig)(length=length, rows_per_step=ROWS, micro_rows=2)
    steps = steps_for(count)
    return TrainStage(
        method,
        inputs,
        METHODS[method],
        rows,
        optimizer=OptimizerConfig(
            lr=FULL_RATE if adapter is None else ADAPTER_RATE, warmup_steps=5, decay_fraction=0.9, weight_decay=0.0
        ),
        loop=LoopConfig(steps=steps, log_every=1),
        check_every=max(1, steps // 4),
        adapter=adapter,
    )


def reward_training(
    inputs: Mapping[str, str], count: int, *, length: int, single: bool = False, rate: float = FULL_RATE
) -> TrainStage:
    """Build the training stage "reward": a model that gives one number, from `count` judged answers, in pairs or single."""
    objective: ObjectiveConfig = MarkedConfig() if single else BradleyTerryConfig()
    steps = steps_for(count)
    return TrainStage(
        "reward",
        inputs,
        objective,
        (MarksConfig if single else RowsConfig)(length=length, rows_per_step=ROWS, micro_rows=2),
        optimizer=OptimizerConfig(lr=rate, warmup_steps=5, decay_fraction=0.9, weight_decay=0.0),
        loop=LoopConfig(steps=steps, log_every=1),
        check_every=max(1, steps // 4),
    )


def steps_for(count: int) -> int:
    """Return the steps that suit so many answers."""
    epoch = count / ROWS
    return round(max(min(EPOCHS * epoch, MANY_STEPS), min(MOST_EPOCHS * epoch, FEW_STEPS), epoch, 10))
