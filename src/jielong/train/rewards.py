"""Rewards of reinforcement learning: how a sample of the policy is scored, alone or as a weighted mix.

Each kind of reward is a frozen dataclass that says which models it needs and builds its scorer. Reward models read token
ids, never text. Rules and judges read text; whoever builds a rollout hands in what opens them, see `SourceContext`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor

from jielong.data.batches import pad_rows
from jielong.errors import ConfigError
from jielong.model.transformer import ScalarModel
from jielong.records import Conversation, Sample, Score, Scorer
from jielong.tokens.chat import Rendered
from jielong.train.roles import Role
from jielong.train.sources import SourceContext

Items = Sequence[tuple[Any, Conversation, Sample]]


@dataclass(frozen=True)
class RewardConfig:
    """The config of a reward; subclasses are frozen dataclasses, and each builds its own scorer."""

    name: str
    """Under which it is logged, as score_NAME, before its weight."""
    weight: float = 1.0
    """Its factor in the sum of all rewards."""

    def roles(self) -> tuple[Role, ...]:
        """Return the modules that it needs."""
        return ()

    def inputs(self) -> tuple[str, ...]:
        """Return the inputs of the stage that it needs."""
        return tuple(role.start for role in self.roles())

    def rules(self) -> tuple[str, ...]:
        """Return the names of the rules that it needs."""
        return ()

    def build(self, context: SourceContext) -> Scorer:
        raise NotImplementedError


@dataclass(frozen=True)
class ModelReward(RewardConfig):
    """The score of a reward model: of the stage's input `input`."""

    name: str = "model"
    input: str = "reward"
    """The input of the stage that is the reward model."""

    def roles(self) -> tuple[Role, ...]:
        return (Role(self.input, self.input, "scalar"),)

    def build(self, context: SourceContext) -> Scorer:
        return RewardModelScorer(_scalar(context, self.input))


@dataclass(frozen=True)
class EnsembleReward(RewardConfig):
    """The scores of several reward models as one; their disagreement is logged as disagreement_NAME."""

    name: str = "ensemble"
    models: tuple[str, ...] = ("reward", "reward_2", "reward_3")
    """The inputs of the stage that are the reward models."""
    combine: Literal["mean", "min", "mean_minus_std"] = "mean"
    """mean, the least of all, or the mean less `deviations` standard deviations (Coste et al. 2024)."""
    deviations: float = 1.0

    def __post_init__(self) -> None:
        if len(set(self.models)) < 2:
            raise ConfigError(f"models of {self.name!r} are {self.models}; an ensemble has at least two different ones")
        known = ("mean", "min", "mean_minus_std")
        if self.combine not in known:
            raise ConfigError(f"combine of {self.name!r} is {self.combine!r}; expected one of {', '.join(known)}")

    def roles(self) -> tuple[Role, ...]:
        return tuple(Role(name, name, "scalar") for name in self.models)

    def build(self, context: SourceContext) -> Scorer:
        models = [_scalar(context, name) for name in self.models]
        return EnsembleScorer(models, self.combine, self.deviations, source=self.name)


@dataclass(frozen=True)
class RuleReward(RewardConfig):
    """A rule that reads the sample's text; `rule` is its name, see `stages/rules`."""

    name: str = "rule"
    rule: str = "match"
    """Which rule: match, exact, number, regex, contains and f1 hold the text against the "answer" in the prompt's `meta`;
    puzzle asks the puzzle's generator; stated is the rule that each prompt names."""

    def rules(self) -> tuple[str, ...]:
        return (self.rule,)

    def build(self, context: SourceContext) -> Scorer:
        assert context.open_rule is not None
        return context.open_rule(self.rule)


@dataclass(frozen=True)
class JudgeReward(RewardConfig):
    """A language model's mark from 1 to 10, brought to 0 to 1; `input` is the input of the stage that judges."""

    name: str = "judge"
    input: str = "judge"
    """The input of the stage that is the judge."""
    without_mark: float = 0.0
    """The score where the judge's words hold no mark."""

    def inputs(self) -> tuple[str, ...]:
        return (self.input,)

    def build(self, context: SourceContext) -> Scorer:
        assert context.open_judge is not None
        return context.open_judge(self.input, self.without_mark)


def _scalar(context: SourceContext, name: str) -> ScalarModel:
    assert context.modules is not None
    return cast(ScalarModel, context.modules[name])


# A mix -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """The rewards of samples, and measures of them, name -> a number for each sample."""

    values: list[float]
    measures: Mapping[str, list[float]]


class Mixture:
    """The weighted sum of several scorers, and each one's own scores."""

    def __init__(self, parts: Sequence[tuple[RewardConfig, Scorer]]) -> None:
        names = [config.name for config, _ in parts]
        if not parts or len(set(names)) < len(names):
            raise ConfigError(
                f"rewards are named {', '.join(names) or 'nothing'}; expected at least one, all different"
            )
        self.parts = parts

    def judge(self, items: Items) -> Judged:
        """Score the samples with every part."""
        values, measures = [0.0] * len(items), dict[str, list[float]]()
        for config, scorer in self.parts:
            if isinstance(scorer, EnsembleScorer):
                scores, measures[f"disagreement_{config.name}"] = scorer.judge(items)
            else:
                scores = [score.value for score in scorer(items)]
            measures[f"score_{config.name}"] = scores
            values = [total + config.weight * score for total, score in zip(values, scores, strict=True)]
        return Judged(values, measures)

    def __call__(self, items: Items) -> list[Score]:
        return [Score(value, source="rewards") for value in self.judge(items).values]


def build_rewards(rewards: Sequence[RewardConfig], context: SourceContext) -> Mixture:
    """Build the scorers of all rewards, and their sum."""
    return Mixture([(reward, reward.build(context)) for reward in rewards])


# Reward models -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def score_rows(model: ScalarModel, rows: Sequence[Sequence[int]], *, micro_rows: int = 64) -> Tensor:
    """Return the model's scores (N,) float32, on the CPU, of whole sequences of token ids, each read at its last token.

    Rows of like length go together, so little is padded; the order of the result is that of `rows`.
    """
    device = next(model.parameters()).device
    scores = torch.zeros(len(rows))
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for start in range(0, len(order), micro_rows):
        chosen = order[start : start + micro_rows]
        batch = pad_rows([Rendered(tuple(rows[i]), (False,) * len(rows[i])) for i in chosen]).to(device)
        scores_BT = model(batch.inputs, batch.positions, batch.segments)
        scores[chosen] = scores_BT.gather(1, batch.last[:, None])[:, 0].float().cpu()
    return scores


class RewardModelScorer:
    """`Scorer` on a trained reward model; a sample is judged with its prompt, as it was generated."""

    def __init__(self, model: ScalarModel, *, micro_rows: int = 64, source: str = "reward model") -> None:
        self.model, self.micro_rows, self.source = model, micro_rows, source

    def __call__(self, items: Items) -> list[Score]:
        values = score_rows(self.model, _rows(items), micro_rows=self.micro_rows)
        return [Score(value, source=self.source) for value in values.tolist()]


class EnsembleScorer:
    """`Scorer` on several reward models."""

    def __init__(
        self,
        models: Sequence[ScalarModel],
        combine: Literal["mean", "min", "mean_minus_std"] = "mean",
        deviations: float = 1.0,
        *,
        micro_rows: int = 64,
        source: str = "ensemble",
    ) -> None:
        self.models, self.combine, self.deviations = models, combine, deviations
        self.micro_rows, self.source = micro_rows, source

    def judge(self, items: Items) -> tuple[list[float], list[float]]:
        """Return for each sample the combined score, and the standard deviation of the models' scores."""
        rows = _rows(items)
        scores_KN = torch.stack([score_rows(model, rows, micro_rows=self.micro_rows) for model in self.models])
        mean, spread = scores_KN.mean(dim=0), scores_KN.std(dim=0)
        if self.combine == "min":
            combined = scores_KN.amin(dim=0)
        else:
            combined = mean - self.deviations * spread if self.combine == "mean_minus_std" else mean
        return combined.tolist(), spread.tolist()

    def __call__(self, items: Items) -> list[Score]:
        return [Score(value, source=self.source) for value in self.judge(items)[0]]


def _rows(items: Items) -> list[tuple[int, ...]]:
    """Return the ids of each prompt with its sample."""
    return [(*sample.prompt_ids, *sample.ids) for _, _, sample in items]
