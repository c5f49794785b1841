"""Any field can be set, and a wrong one is refused with the closest that exists."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from jielong.config import format_value, later, list_fields, resolved, set_field
from jielong.data.dedup import DedupConfig
from jielong.data.filters import FilterConfig
from jielong.errors import ConfigError
from jielong.model.adapters import AdapterConfig
from jielong.model.rotary import RopeScaling
from jielong.recipes.quickstart import quickstart
from jielong.stages.recipe import change
from jielong.train.loop import LoopConfig
from jielong.train.objectives.next_token import NextTokenConfig
from jielong.train.objectives.policy import PolicyConfig, PPOConfig, PTXConfig
from jielong.train.objectives.preferences import BradleyTerryConfig
from jielong.train.optim import OptimizerConfig
from jielong.train.rewards import EnsembleReward, ModelReward, RuleReward
from jielong.train.rollouts import RolloutConfig
from jielong.use.retrieval.chunks import ChunkConfig


@dataclass(frozen=True)
class Loop:
    steps: int = 10
    rate: float = 0.5
    name: Literal["adamw", "muon"] = "adamw"
    folder: str | None = None
    stops: tuple[int, ...] = ()
    is_on: bool = False

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ConfigError(f"loop.steps is {self.steps}; it must be 0 or more")


@dataclass(frozen=True)
class Part:
    name: str = "sft"
    loop: Loop = field(default_factory=Loop)


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("sft.loop.steps", "50", 50),
        ("sft.loop.rate", "2", 2.0),
        ("sft.loop.rate", "1e-3", 1e-3),
        ("sft.loop.name", "muon", "muon"),
        ("sft.loop.folder", "some/where", "some/where"),
        ("sft.loop.folder", "null", None),
        ("sft.loop.folder", "42", "42"),
        ("sft.loop.stops", "[1, 2]", (1, 2)),
        ("sft.loop.is_on", "true", True),
    ],
)
def test_a_value_takes_the_type_of_its_field(path, text, value):
    changed = set_field((Part(),), path, text)
    found = getattr(changed[0].loop, path.rsplit(".", 1)[1])
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [
        ("sft.loop.step", "5", "did you mean 'sft.loop.steps'"),
        ("sftt.loop.steps", "5", "did you mean 'sft.loop.steps'"),
        ("sft.iterations", "5", "unknown option 'iterations' .* did you mean 'sft.loop.steps'"),
        ("loop.rat", "5", "unknown part 'loop' .* did you mean 'sft.loop.rate'"),
        ("sft.unheard_of", "5", "known: loop, name"),
        ("sft.loop.steps.more", "5", "has no fields"),
        ("sft.loop.steps", "five", "expected int"),
        ("sft.loop.steps", "1.5", "expected int"),
        ("sft.loop.steps", "true", "expected int"),
        ("sft.loop.steps", "-1", "0 or more"),
        ("sft.loop.name", "sgd", "'adamw', 'muon'"),
        ("sft.loop.stops", '["a"]', "expected"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(path, text, told):
    with pytest.raises(ConfigError, match=told):
        set_field((Part(),), path, text)


def test_fields_that_must_fit_each_other_change_together():
    both = ["pretrain.model.num_attention_heads=6", "pretrain.model.num_key_value_heads=3"]
    for settings in (both, both[::-1]):
        model = change(quickstart(), settings).stage("pretrain").model
        assert (model.num_attention_heads, model.num_key_value_heads) == (6, 3)
    with pytest.raises(ConfigError, match="not a multiple"):
        change(quickstart(), both[1:])


def test_setting_leaves_the_original_alone():
    part = Part()
    set_field((part,), "sft.loop.steps", "3")
    assert part.loop.steps == 10


def test_resolved_spells_out_every_field_and_class():
    assert resolved(Part())["loop"] == {
        "kind": "Loop", "steps": 10, "rate": 0.5, "name": "adamw", "folder": None, "stops": [], "is_on": False,
    }  # fmt: skip


@dataclass(frozen=True)
class Grown(Loop):
    speed: float = later(2.0)


def test_a_field_that_came_later_changes_a_fingerprint_only_where_it_is_set():
    before = {name: value for name, value in resolved(Grown()).items() if name != "speed"}
    assert resolved(Grown(), is_fingerprint=True) == before
    assert resolved(Part(loop=Grown()), is_fingerprint=True)["loop"] == before
    assert resolved(Grown())["speed"] == 2.0
    assert resolved(Grown(speed=3.0), is_fingerprint=True)["speed"] == 3.0


def test_parts_of_several_kinds_are_set_whole_or_field_by_field():
    recipe = quickstart("smoke")
    told = '[{"kind": "RuleReward", "rule": "exact", "weight": 2}, {"kind": "EnsembleReward", "models": ["a", "b"]}]'
    changed = change(recipe, [f"rl.source.rewards={told}"]).stage("rl").source.rewards
    assert changed == (RuleReward(rule="exact", weight=2.0), EnsembleReward(models=("a", "b")))
    half = change(recipe, ["rl.source.rewards.model.weight=0.5"])
    assert half.stage("rl").source.rewards == (ModelReward(weight=0.5),)
    # the value is printed in the form in which it is set
    printed = format_value(half.stage("rl").source.rewards)
    assert change(recipe, [f"rl.source.rewards={printed}"]) == half
    paths = [field.path for field in list_fields(recipe.stages)]
    assert {"rl.source.rewards", "rl.source.rewards.model.weight"} <= set(paths)


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ("[{}]", 'an object with "kind" one of EnsembleReward, JudgeReward, ModelReward, RuleReward'),
        ('[{"kind": "RuleReward", "rul": "x"}]', "did you mean 'rule'"),
        ('[{"kind": "RuleReward", "weight": "x"}]', "rewards.weight=x: expected float"),
        ('[{"kind": "EnsembleReward", "models": ["a"]}]', "at least two"),
        ("[1]", "expected tuple"),
    ],
)
def test_parts_that_cannot_be_are_refused(told, error):
    with pytest.raises(ConfigError, match=error):
        change(quickstart("smoke"), [f"rl.source.rewards={told}"])


def test_a_control_is_trained_like_the_stage_it_is_the_control_of():
    changed = change(quickstart("smoke"), ["sft.loop.steps=7", "pretrain.loop.steps=9"])
    assert [changed.stage(n).loop.steps for n in ("pretrain", "sft", "control")] == [9, 7, 7]
    alone = change(quickstart("smoke"), ["control.loop.steps=3"])
    assert alone.stage("control").loop.steps == 3
    assert alone.stage("sft") == quickstart("smoke").stage("sft")


DEFAULTS = """
LoopConfig(steps=100, max_grad_norm=1.0, log_every=5, save_every_s=30.0, max_attempts=3, diverged_above=2.0, keep_every=0)
OptimizerConfig(name='adamw', lr=0.001, muon_lr=0.02, warmup_steps=20, decay_fraction=0.6, final_fraction=0.02, \
weight_decay=0.05, beta1=0.9, beta2=0.95, eps=1e-08)
RolloutConfig(algorithm='ppo', prompts=128, group_size=1, epochs=4, minibatches=1, micro_rows=32, temperature=1.0, \
max_tokens=32, kl_coefficient=0.05, kl_target=0.0, kl_stop=0.0, gamma=1.0, lam=0.95, missing_stop_penalty=1.0, \
whiten_advantages=True, divide_by_std=True, rewards=(ModelReward(name='model', weight=1.0, input='reward'),), \
kl_limit=0.0, max_redraws=0, overlong_tokens=0, overlong_penalty=1.0, watch_every=0, watch_prompts=64, watch_keeps_best=False)
PPOConfig(policy=PolicyConfig(clip_low=0.2, clip_high=0.2, aggregation='dapo', mismatch_cap=2.0, loss_kl='none', \
loss_kl_coefficient=0.0, ratio='token', loss='clip', largest_ratio=5.0), \
value=ValueConfig(clip=0.2, coefficient=0.1), ptx=PTXConfig(coefficient=0.0, rows=8, length=256))
NextTokenConfig(router_aux_loss_coef=None)
BradleyTerryConfig(label_smoothing=0.0, centre=0.01)
AdapterConfig(rank=16, alpha=32.0, dropout=0.0, rank_stabilised=False, targets=(), base='compute', decomposed=False)
FilterConfig(languages=('en', 'zh'), min_letters=60, max_broken_share=0.01, min_letter_share=0.5, \
min_mean_word_letters=2.5, max_mean_word_letters=12.0, max_repeated_line_share=0.3, max_repeated_phrase_share=0.6, \
phrase_tokens=10, max_stuffed_share=0.4, max_harm_terms=1, max_advertising_terms=2, max_boilerplate_terms=2, \
letters_per_extra_term=2500)
DedupConfig(min_similarity=0.7, shingle_tokens=3, num_perm=120, num_bands=20)
ChunkConfig(size=900, overlap=120)
"""


def test_who_leaves_a_field_out_gets_tomorrow_what_he_got_today() -> None:
    kinds = (LoopConfig, OptimizerConfig, RolloutConfig, PPOConfig, NextTokenConfig, BradleyTerryConfig, AdapterConfig)
    assert [repr(kind()) for kind in (*kinds, FilterConfig, DedupConfig, ChunkConfig)] == DEFAULTS.strip().split("\n")
    scaling = "factor=1.0, original_max_position_embeddings=9, low_freq_factor=1.0, high_freq_factor=4.0, "
    scaling += "beta_fast=32.0, beta_slow=1.0, attention_factor=0.0"
    assert repr(RopeScaling(original_max_position_embeddings=9)) == f"RopeScaling(rope_type='yarn', {scaling})"


@pytest.mark.parametrize(
    ("kind", "name", "fine", "wrong"),
    [
        (LoopConfig, "steps", 0, -1), (LoopConfig, "max_attempts", 0, -1), (LoopConfig, "diverged_above", 0.0, -0.1),
        (LoopConfig, "log_every", 1, 0), (LoopConfig, "max_grad_norm", 1e-9, 0.0),
        (OptimizerConfig, "lr", 1e-9, 0.0), (OptimizerConfig, "decay_fraction", 1.0, 1.01),
        (OptimizerConfig, "decay_fraction", 0.0, -0.01),
        *((RolloutConfig, name, 1, 0) for name in ("prompts", "group_size", "epochs", "minibatches", "micro_rows")),
        (RolloutConfig, "max_tokens", 1, 0), (RolloutConfig, "temperature", 1e-9, 0.0), (RolloutConfig, "minibatches", 2, 3),
        (PolicyConfig, "clip_low", 1e-9, 0.0), (PolicyConfig, "clip_low", 0.99, 1.0), (PolicyConfig, "clip_high", 1e-9, 0.0),
        (PTXConfig, "coefficient", 0.0, -0.1), (PTXConfig, "rows", 2, 1), (PTXConfig, "length", 2, 1),
        (NextTokenConfig, "router_aux_loss_coef", 0.0, -0.1),
        (BradleyTerryConfig, "label_smoothing", 0.0, -0.1), (BradleyTerryConfig, "label_smoothing", 0.49, 0.5),
        (AdapterConfig, "rank", 1, 0), (AdapterConfig, "alpha", 1e-9, 0.0), (AdapterConfig, "dropout", 0.0, -0.1),
        (AdapterConfig, "dropout", 0.99, 1.0), (FilterConfig, "languages", ("de",), ("german",)),
        (FilterConfig, "languages", ("yue",), ("e",)),
    ],
)  # fmt: skip
def test_the_last_value_that_is_fine_and_the_first_that_is_not(
    kind: type, name: str, fine: object, wrong: object
) -> None:
    assert getattr(kind(**{name: fine}), name) == fine
    with pytest.raises(ConfigError, match="learning rate" if name == "lr" else name):
        kind(**{name: wrong})


@pytest.mark.parametrize(
    ("name", "fine", "wrong"),
    [("factor", 1.0, 0.9), ("attention_factor", 0.0, -0.1), ("original_max_position_embeddings", 1, 0),
     ("high_freq_factor", 1.1, 1.0), ("rope_type", "llama3", "longrope")],
)  # fmt: skip
def test_scalings_of_positions_have_their_bounds(name: str, fine: object, wrong: object) -> None:
    given = {"original_max_position_embeddings": 9}
    RopeScaling(**given | {name: fine})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=name):
        RopeScaling(**given | {name: wrong})  # type: ignore[arg-type]
    assert RopeScaling("linear").original_max_position_embeddings == 0  # which alone needs no length


@pytest.mark.parametrize(
    "setting",
    [
        *(
            f"sft.loop.steps={value}"
            for value in ("9" * 5000, 10**30, "[" * 100_000, "NaN", "1e400", "{}", '"\\ud800"')
        ),
        *(f"sft.optimizer.lr={value}" for value in (10**400, "Infinity", "true", "[1]", '{"a": 1}', "null")),
        *(f"pretrain.model.hidden_act={value}" for value in ("[1]", "{}", "3", "word" * 10_000)),
        *(f"pretrain.model.num_hidden_layers={value}" for value in (10**7, 0)),
        *(f"pretrain.model.sliding_layers={value}" for value in ("[[]]", '["a"]', f"[{10**30}]", "{}")),
        *(
            f"{path}=1"
            for path in ("", ".", "sft", "sft.", "sft..steps", "sft.__class__.x", "sft.loop.steps.x", "\ud800.x")
        ),
    ],
)
def test_an_odd_setting_is_one_sentence(setting):
    with pytest.raises(ConfigError) as error:
        change(quickstart(size="smoke"), [setting])
    assert len(str(error.value)) < 5000
