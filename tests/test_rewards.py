"""Rewards by their configs: which models they need, how they are mixed and logged, and what a rollout makes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.test_rollouts import CONFIG, GROUPS, PROMPTS, STOP, TINY, Asked, likes_even

from jielong.errors import ConfigError, DataError
from jielong.generate.engine import Engine
from jielong.model.transformer import ScalarModel, fresh_language_model, scalar_from_language_model
from jielong.recipes.quickstart import quickstart
from jielong.records import Conversation, Message, Sample, Score, Scorer
from jielong.stages.recipe import change
from jielong.stages.rules import RULES, open_judge, open_rule
from jielong.stages.train import save_model
from jielong.tokens.tokenizer import TokenizerConfig, train_tokenizer
from jielong.train.machine import Machine
from jielong.train.rewards import (
    EnsembleReward,
    EnsembleScorer,
    JudgeReward,
    Mixture,
    ModelReward,
    RewardConfig,
    RewardModelScorer,
    RuleReward,
)
from jielong.train.rollouts import RolloutConfig, Rollouts
from jielong.train.sources import Feed, SourceContext

ITEMS = [(None, Conversation(()), Sample((5,) * (1 + n % 4), tuple(range(6, 7 + n % 7)))) for n in range(9)]


def reward_model(seed: int) -> ScalarModel:
    return scalar_from_language_model(fresh_language_model(TINY, seed=2), seed=seed)


def built(config: RolloutConfig, **options: Any) -> Feed:
    policy = fresh_language_model(TINY, seed=0)
    modules: dict[str, Any] = {"policy": policy}
    for role in config.roles():
        modules[role.name] = reward_model(len(modules)) if role.head == "scalar" else fresh_language_model(TINY, seed=0)
    given = {"modules": modules, "open_engine": Engine, "stop_ids": (STOP,), **options}
    return config.build(SourceContext(Asked(PROMPTS), 7, **given))  # type: ignore[arg-type]


def test_an_ensemble_is_the_mean_the_least_or_the_mean_less_the_spread() -> None:
    models = [reward_model(seed) for seed in (1, 2, 3)]
    alone = torch.tensor([[s.value for s in RewardModelScorer(model)(ITEMS)] for model in models])
    spread = alone.std(dim=0)
    expected = {"mean": alone.mean(0), "min": alone.amin(0), "mean_minus_std": alone.mean(0) - 0.5 * spread}
    for combine, values in expected.items():
        scores, found = EnsembleScorer(models, combine, deviations=0.5).judge(ITEMS)  # type: ignore[arg-type]
        assert scores == pytest.approx(values.tolist(), abs=1e-6)
        assert found == pytest.approx(spread.tolist(), abs=1e-6) and min(found) > 0


def test_a_mixture_is_the_weighted_sum_and_keeps_the_parts() -> None:
    model = RewardModelScorer(reward_model(1))
    mixed = Mixture([(ModelReward(weight=0.5), model), (RuleReward(weight=2.0), likes_even)])
    one, other = ([s.value for s in scorer(ITEMS)] for scorer in (model, likes_even))
    judged = mixed.judge(ITEMS)
    assert judged.values == pytest.approx([0.5 * a + 2.0 * b for a, b in zip(one, other, strict=True)])
    assert judged.measures == {"score_model": one, "score_rule": other}
    assert [s.value for s in mixed(ITEMS)] == judged.values
    with pytest.raises(ConfigError, match="all different"):
        Mixture([(RuleReward(), likes_even), (RuleReward(), likes_even)])


def test_the_models_of_all_rewards_are_asked_for_once_and_the_critic_starts_from_the_first() -> None:
    rewards = (EnsembleReward(models=("a", "b")), ModelReward(input="b"), RuleReward(), JudgeReward())
    config = dataclasses.replace(CONFIG, rewards=rewards)
    assert [(r.name, r.start) for r in config.roles()] == [
        ("reference", "start"), ("a", "a"), ("b", "b"), ("critic", "a"),
    ]  # fmt: skip
    alone = dataclasses.replace(CONFIG, rewards=(RuleReward(),))
    assert [(r.name, r.start) for r in alone.roles()] == [("reference", "start"), ("critic", "start")]


def test_a_rollout_is_rewarded_by_the_mix_and_logs_each_part() -> None:
    asked: list[str] = []

    def open_rule(name: str) -> Scorer:
        asked.append(name)
        return likes_even

    rewards = (EnsembleReward(models=("reward", "other"), combine="min"), RuleReward(weight=3.0, rule="even"))
    config = dataclasses.replace(GROUPS, missing_stop_penalty=0.0, rewards=rewards)
    source = built(config, open_rule=open_rule).source
    assert isinstance(source, Rollouts) and asked == ["even"]
    source.next_step()
    found = source.metrics()
    assert found["score"] == pytest.approx(found["score_ensemble"] + 3.0 * found["score_rule"], abs=1e-5)
    assert found["disagreement_ensemble"] > 0 and found["group_spread"] > 0


def test_the_spread_within_groups_is_that_of_what_is_rewarded() -> None:
    def first_of_group(items: Sequence[Any]) -> list[Score]:
        return [Score(float(i % 4 == 0)) for i in range(len(items))]

    config = dataclasses.replace(GROUPS, missing_stop_penalty=0.0)
    source = built(config).source
    assert isinstance(source, Rollouts)
    source.scorer = first_of_group
    source.next_step()
    assert source.metrics()["group_spread"] == pytest.approx(0.5)  # of 1, 0, 0, 0: sqrt((9/16 + 3/16) / 3)


def test_a_judge_is_opened_by_its_input_and_its_marks_are_the_score() -> None:
    def open_judge(role: str, without_mark: float) -> Scorer:
        assert (role, without_mark) == ("wise", 0.25)
        return lambda items: [Score(0.75)] * len(items)

    rewards = (JudgeReward(input="wise", without_mark=0.25),)
    source = built(dataclasses.replace(CONFIG, rewards=rewards), open_judge=open_judge).source
    source.next_step()
    assert source.metrics()["score"] == source.metrics()["score_judge"] == 0.75


@pytest.mark.parametrize(
    ("reward", "told"),
    [
        (ModelReward(input="rewart"), "the reward 'model' needs an input 'rewart' of its stage; it has data, start"),
        (JudgeReward(), "the reward 'judge' needs an input 'judge'"),
        (RuleReward(rule="exakt"), "asks for a rule 'exakt'; did you mean 'exact'"),
    ],
)
def test_what_a_reward_lacks_is_said_before_the_first_stage_runs(reward: RewardConfig, told: str) -> None:
    recipe = quickstart("smoke")
    stage = dataclasses.replace(recipe.stage("rl"), source=dataclasses.replace(CONFIG, rewards=(reward,)))  # type: ignore[type-var]
    with pytest.raises(ConfigError, match=told):
        stage.check(recipe)
    recipe.stage("rl").check(recipe)


def test_a_rule_holds_the_text_without_its_thoughts_against_the_known_answer() -> None:
    tokenizer = train_tokenizer(["twelve 12 and 13"] * 3, TokenizerConfig(vocab_size=330))
    asked = Conversation((Message("user", "7 + 5?"),), {"answer": "12"})
    said = ["12", "The answer is 12.", "13", "<think>12 or 13?</think>13"]
    items = [(None, asked, Sample((5,), tuple(tokenizer.encode(text)))) for text in said]
    assert [s.value for s in open_rule("match", tokenizer)(items)] == [1.0, 1.0, 0.0, 0.0]
    assert [s.value for s in open_rule("contains", tokenizer)(items[:3])] == [1.0, 1.0, 0.0]
    with pytest.raises(DataError, match=r"needs the known answer of each prompt in meta.answer; '7 \+ 5\?' has none"):
        RULES["exact"](Conversation(asked.messages), "12")


def test_a_judge_is_a_model_in_a_folder_and_words_without_a_mark_have_their_own_score(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["How good is it? Mark: 7 of 10"] * 9, TokenizerConfig(vocab_size=330))
    shape = dataclasses.replace(TINY, vocab_size=tokenizer.vocab_size, max_position_embeddings=1024)
    save_model(fresh_language_model(shape, seed=0), tokenizer, tmp_path)
    items = [(None, Conversation((Message("user", "Why?"),)), Sample((5,), tuple(tokenizer.encode("So."))))] * 2
    # this one has learned nothing, so its words hold no mark
    scores = open_judge(tmp_path, Machine(threads=1), tokenizer, 0.25)(items)
    assert [s.value for s in scores] == [0.25, 0.25] and scores[0].source == "judge"


def test_rewards_are_settings() -> None:
    changed = change(quickstart("smoke"), ['rl.source.rewards=[{"kind": "RuleReward"}]'])
    assert [role.name for role in changed.stage("rl").roles()] == ["policy", "reference", "critic"]  # type: ignore[attr-defined]
