"""Reinforcement of an adapter: the engine writes as the adapted model, the base stays, and a kill leaves no trace."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.learning import pairs
from tests.serving import tiny_model

from jielong.errors import ResourceError
from jielong.evaluate.votes import prompt_key
from jielong.generate.engine import Engine
from jielong.learning import pressing
from jielong.learning.advice import plan
from jielong.learning.judged import sort_judgements
from jielong.learning.reasons import NotEnough, say
from jielong.learning.training import recipe_of, train
from jielong.model.adapters import AdaptedModel, AdapterConfig, weights_of
from jielong.model.transformer import LanguageModel, ModelConfig, fresh_language_model
from jielong.records import Sample, Score
from jielong.stages.recipe import Recipe, Silent, change
from jielong.train.memory import check_rollout_memory, memory_needed, memory_total, rollout_memory
from jielong.train.rollouts import RolloutConfig, Rollouts
from jielong.train.sources import Prompt, RowsConfig

TINY = ModelConfig(
    vocab_size=24, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, head_dim=8, max_position_embeddings=32, initializer_range=0.3,
)  # fmt: skip


def adapted(kind: str = "float32") -> AdaptedModel:
    """A model with adapters that change what it says."""
    model = AdaptedModel(fresh_language_model(TINY, seed=0), AdapterConfig(rank=4, alpha=8.0, base=kind))  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for linear in model.linears.values():
            linear.lora_B.copy_(torch.randn(linear.lora_B.shape, generator=generator) * 0.3)
    return model


def test_the_weights_for_an_engine_are_those_of_the_merged_model_and_nothing_changes():
    model = adapted()
    before = {name: tensor.clone() for name, tensor in model.base.state_dict().items()}
    given = weights_of(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.base.state_dict().items())
    merged = model.merge().state_dict()
    assert given.keys() == merged.keys()
    assert all(torch.equal(given[name], merged[name]) for name in merged)


def test_an_int8_base_is_given_as_it_is_multiplied():
    weights = weights_of(adapted("int8"))
    for name, tensor in weights_of(adapted()).items():
        assert (weights[name] - tensor).abs().max() <= 0.01 * tensor.abs().max()


def rollouts(policy: AdaptedModel, engine: Any) -> Rollouts:
    modules = {"policy": policy, "reference": fresh_language_model(TINY, seed=0)}
    config = RolloutConfig(algorithm="grpo", prompts=8, group_size=2, max_tokens=10)

    def counts(items: Any) -> list[Score]:
        return [Score(float(len(sample.ids))) for _, _, sample in items]

    prompts = [Prompt((5, *range(6, 6 + n)), item=n) for n in range(1, 9)]
    return Rollouts(prompts, modules, engine, counts, config, seed=7, stop_ids=(3,))


class OfTheBase:
    """An engine that is given the base's weights, whatever comes."""

    def __init__(self) -> None:
        self.inner = Engine(fresh_language_model(TINY, seed=0))

    def load(self, state: Any, version: int) -> None:
        pass

    def generate(self, requests: Any) -> list[Sample]:
        return self.inner.generate(requests)


def test_the_engine_writes_as_the_adapted_model_does():
    policy = adapted()
    source = rollouts(policy, Engine(policy))  # type: ignore[arg-type]
    source.next_step()
    assert source.metrics()["mismatch"] < 1e-4 and abs(source.metrics()["kl"]) > 0.01
    wrong = rollouts(policy, OfTheBase())
    wrong.next_step()
    assert wrong.metrics()["mismatch"] > 0.05, "the control: without the adapter it differs"


def test_an_adapter_that_changes_nothing_is_at_no_distance_from_the_reference():
    policy = AdaptedModel(fresh_language_model(TINY, seed=0), AdapterConfig(rank=4))
    source = rollouts(policy, Engine(policy))  # type: ignore[arg-type]
    source.next_step()
    assert source.metrics()["kl"] == 0.0


# Learning by a reward model ------------------------------------------------------------------------------------------------


def small(folder: Path, base: Path) -> Recipe:
    """The training of an attempt, short, with every step saved."""
    known = plan(sort_judgements(pairs(80)), "reward+ppo")
    settings = ["reward.loop.steps=3", "ppo.loop.steps=6", "ppo.source.prompts=8", "ppo.loop.save_every_s=-1"]
    settings += ["ppo.source.max_tokens=8", "ppo.optimizer.warmup_steps=1"]
    return change(recipe_of(folder, base, known, 0), settings)


def digest_of(folder: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(folder.iterdir()))).hexdigest()


TRAIN = """
import sys
from pathlib import Path
from jielong.stages.recipe import Silent
from jielong.learning.training import train
from tests.test_reinforced import small
folder, base = map(Path, sys.argv[1:])
train(small(folder, base), folder, Silent())
"""


def test_a_reinforced_adapter_is_the_same_after_a_kill(tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "tiny")
    before = digest_of(base)
    whole = train(small(tmp_path / "whole", base), tmp_path / "whole", Silent())
    assert digest_of(base) == before, "the base is read and not changed"
    assert json.loads((whole / "adapter_config.json").read_text())["r"] == 16
    process = subprocess.Popen([sys.executable, "-c", TRAIN, str(tmp_path / "killed"), str(base)])
    until_s = time.monotonic() + 300
    while not list((tmp_path / "killed").glob("training/ppo/steps/*")) and process.poll() is None:
        assert time.monotonic() < until_s, "no step was saved"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = train(small(tmp_path / "killed", base), tmp_path / "killed", Silent())
    assert digest_of(again) == digest_of(whole)


def test_rollouts_begin_at_the_prompts_that_teach_and_no_other(tmp_path: Path) -> None:
    known = plan(sort_judgements(pairs(80)), "reward+ppo")
    assert known.method == "reward+ppo"
    recipe_of(tmp_path, tiny_model(tmp_path / "tiny"), known, 0)
    rows = [json.loads(line)["messages"] for line in (tmp_path / "prompts.jsonl").read_text().splitlines()]
    asked = {row[0]["content"] for row in rows}
    assert asked == {prompt[0].text for prompt in known.policy.prompts.values()}
    assert not asked & {prompt[0].text for prompt in (known.judge.prompts | known.held_out.prompts).values()}


def test_too_few_pairs_or_prompts_are_refused():
    with pytest.raises(NotEnough, match=r"about .* more comparisons of two answers, to other prompts") as raised:
        plan(sort_judgements(pairs(24)), "reward+ppo")
    assert "再比较约" in say(raised.value.reason, "zh")
    many = [dataclasses.replace(one, prompt=pairs(12)[n % 12].prompt) for n, one in enumerate(pairs(200))]
    assert len({prompt_key(one.prompt) for one in many}) == 12
    with pytest.raises(NotEnough, match="to other prompts"):
        plan(sort_judgements(many), "reward+ppo")


def test_memory_is_said_before_and_refused_where_it_is_not_free(tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "tiny")
    judged = sort_judgements(pairs(80))
    by_ppo, by_dpo = (pressing.memory_of(base, plan(judged, method)) for method in ("reward+ppo", "dpo"))
    assert by_ppo > 1.5 * by_dpo
    large = ModelConfig(hidden_size=2048, intermediate_size=8192, num_hidden_layers=24)
    adapter, rows = AdapterConfig(), RowsConfig(length=512, micro_rows=2)
    needed = {**memory_needed(large, adapter, rows, 2), **rollout_memory(large, adapter, rows, 2)}
    with torch.device("meta"):
        count = sum(p.numel() for p in LanguageModel(large).parameters())
    assert memory_total(needed) > (8 + 18 + 2) * count, "reference, reward model, a trained critic and the engine"
    with pytest.raises(ResourceError, match="dpo learns from the same comparisons and takes less"):
        check_rollout_memory(base, needed, free=8e9)
