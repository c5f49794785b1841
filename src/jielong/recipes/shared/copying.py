"""First stages of recipes whose models have to copy unseen names: repeating by itself, and then looking up."""

from __future__ import annotations

from jielong.model.transformer import ModelConfig
from jielong.stages.echo import EchoStage
from jielong.stages.recipe import Stage
from jielong.stages.train import TrainStage
from jielong.train.loop import LoopConfig
from jielong.train.objectives.next_token import NextTokenConfig
from jielong.train.optim import OptimizerConfig
from jielong.train.sources import RowsConfig
from jielong.worlds.echo import Kind


def copying(
    model: ModelConfig,
    optimizer: OptimizerConfig,
    rows: RowsConfig,
    *,
    repeat_steps: int,
    look_up_steps: int,
    check_every: int,
    exercises: int = 20_000,
    kinds: tuple[Kind, ...] = ("repeat", "record", "common"),
) -> tuple[Stage, ...]:
    """Return exercises and trainings from random weights to the stage "look_up", after a stage "tokenizer"."""
    ids = {"tokenizer": "tokenizer"}

    def training(name: str, inputs: dict[str, str], steps: int, model: ModelConfig | None) -> TrainStage:
        """Make one training stage of the copying exercises."""
        return TrainStage(
            name,
            {**inputs, **ids},
            NextTokenConfig(),
            rows,
            model=model,
            optimizer=optimizer,
            loop=LoopConfig(steps=steps),
            check_every=min(steps, check_every),
        )

    return (
        EchoStage("words", ids, ("repeat",), exercises),
        training("copy", {"data": "words"}, repeat_steps, model),
        EchoStage("records", ids, kinds, exercises),
        training("look_up", {"data": "records", "start": "copy"}, look_up_steps, None),
    )
