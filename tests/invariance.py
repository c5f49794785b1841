"""The gradient of one step of every objective, however the step is cut, packed or shared by ranks.

A step is gone through as the loop does it: every term over its weight in the whole step and all ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jielong.data.batches import Batch, pad_rows
from jielong.data.steps import PackedChats, PackedPairs, PaddedPairs, micro_batches
from jielong.generate.engine import Engine
from jielong.model.transformer import LanguageModel, ModelConfig, fresh_language_model, scalar_from_language_model
from jielong.records import Conversation, Sample, Score
from jielong.tokens.chat import Rendered, RenderedAnswer, RenderedPair
from jielong.train.answers import PackedAnswers, PaddedAnswers, answers_to_others, with_baseline
from jielong.train.objectives.direct_answers import KTO, KTOConfig
from jielong.train.objectives.direct_pairs import DPOConfig, FromPairs, IPOConfig, ORPOConfig, PairConfig, SimPOConfig
from jielong.train.objectives.marks import Marked
from jielong.train.objectives.next_token import NextToken
from jielong.train.objectives.objective import Objective
from jielong.train.objectives.policy import PolicyConfig, PPOConfig
from jielong.train.objectives.preferences import BradleyTerry
from jielong.train.online import ONLINE, with_method
from jielong.train.parallel import Ranks
from jielong.train.rollouts import RolloutConfig, Rollouts
from jielong.train.sources import Prompt

SHAPE = ModelConfig(
    vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, head_dim=16, max_position_embeddings=64, initializer_range=0.1,
)  # fmt: skip
LENGTH, ITEMS, STOP = 24, 16, 3
ALONE = Ranks()


@dataclass(frozen=True)
class Cut:
    """How a step of 16 items (8 pairs) goes through the model: in so many micro-batches, with rows shared or not."""

    pieces: int = 1
    is_packed: bool = False


@dataclass(frozen=True)
class Step:
    objective: Objective
    modules: Mapping[str, nn.Module]
    batches: Sequence[Batch]
    trained: tuple[str, ...]


def model_of(seed: int) -> LanguageModel:
    return fresh_language_model(SHAPE, seed)


def rows(count: int, seed: int) -> list[Rendered]:
    """Ragged rows, the last few tokens of each trained."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        size, prompt = int(random.integers(5, 12)), int(random.integers(2, 4))
        ids = tuple(random.integers(4, SHAPE.vocab_size, size).tolist())
        made.append(Rendered(ids, (False,) * prompt + (True,) * (size - prompt)))
    return made


def pairs(seed: int) -> list[RenderedPair]:
    sides = iter(rows(ITEMS, seed))
    return [
        RenderedPair(chosen, rejected, ref_logprobs=(-9.0 - i, -11.0 + i / 2))
        for i, (chosen, rejected) in enumerate(zip(sides, sides, strict=True))
    ]


def answers(seed: int) -> list[RenderedAnswer]:
    return [RenderedAnswer(row, i % 3 == 0, mark=(i % 5) / 4) for i, row in enumerate(rows(ITEMS, seed))]


def sft(cut: Cut, ranks: Ranks) -> Step:
    chats = rows(ITEMS, 1)
    shared = {"rank": ranks.rank, "world_size": ranks.size}
    if cut.is_packed:
        count = PackedChats(chats, length=LENGTH, rows_per_step=1, micro_rows=1, seed=0).num_rows
        micro = -(-count // (cut.pieces * ranks.size))
        batches = PackedChats(chats, length=LENGTH, rows_per_step=count, micro_rows=micro, seed=0, **shared).next_step()
    else:
        batches = micro_batches(pad_rows(chats), -(-ITEMS // (cut.pieces * ranks.size)), **shared)
    return Step(NextToken(), {"policy": model_of(2)}, batches, ("policy",))


def on_pairs(objective: Objective, role: str) -> Callable[[Cut, Ranks], Step]:
    def made(cut: Cut, ranks: Ranks) -> Step:
        kind = PackedPairs if cut.is_packed else PaddedPairs
        count = ITEMS // 2
        batches = kind(
            pairs(3), length=LENGTH, pairs_per_step=count, micro_pairs=max(1, count // (cut.pieces * ranks.size)),
            seed=1, rank=ranks.rank, world_size=ranks.size,
        ).next_step()  # fmt: skip
        model: nn.Module = model_of(2)
        if role == "reward":
            model = scalar_from_language_model(model_of(2), 5)
        return Step(objective, {role: model}, batches, (role,))

    return made


def _answers(which: Sequence[RenderedAnswer], reference: float | None, cut: Cut, ranks: Ranks) -> list[Batch]:
    kind = PackedAnswers if cut.is_packed else PaddedAnswers
    known = None if reference is None else [reference * (1 + 0.1 * i) for i in range(len(which))]
    return kind(
        which, reference=known, length=LENGTH, answers_per_step=ITEMS,
        micro_answers=max(1, ITEMS // (cut.pieces * ranks.size)), seed=1, rank=ranks.rank, world_size=ranks.size,
    ).next_step()  # fmt: skip


def marks(cut: Cut, ranks: Ranks) -> Step:
    model = scalar_from_language_model(model_of(2), 5)
    return Step(Marked(), {"reward": model}, _answers(answers(4), None, cut, ranks), ("reward",))


def kto(cut: Cut, ranks: Ranks) -> Step:
    model, given = model_of(2), answers(4)
    told = _answers(given, -4.0, cut, ranks)
    others = _answers(answers_to_others(given, seed=1), -60.0, cut, ranks)
    batches = with_baseline(told, others, model, ranks)
    return Step(KTO(KTOConfig(beta=0.3, undesirable_weight=1.5)), {"policy": model}, batches, ("policy",))


def _likes_even(items: Sequence[tuple[Any, Conversation, Sample]]) -> list[Score]:
    return [Score(sum(i % 2 == 0 for i in sample.ids) / len(sample.ids)) for _, _, sample in items]


def online(name: str) -> Callable[[Cut, Ranks], Step]:
    """The second step on a rollout, when the policy is no longer the one that wrote it."""

    def made(cut: Cut, ranks: Ranks) -> Step:
        sized = {} if name == "ppo" else {"group_size": 4}
        config = RolloutConfig(
            prompts=ITEMS // (sized.get("group_size") or 1), epochs=1, max_tokens=10, kl_coefficient=0.1,
            micro_rows=ITEMS // (cut.pieces * ranks.size), **sized,
        )  # fmt: skip
        config, policy = with_method(name, config, PolicyConfig())
        modules: dict[str, nn.Module] = {"policy": model_of(2), "reference": model_of(6)}
        if name == "ppo":
            modules["critic"] = scalar_from_language_model(model_of(2), 5)
        prompts = [Prompt((5, *range(6, 6 + n))) for n in range(1, 9)]
        engine = Engine(model_of(2))
        source = Rollouts(prompts, modules, engine, _likes_even, config, seed=7, stop_ids=(STOP,), ranks=ranks)
        batches = source.next_step()
        with torch.no_grad():
            for n, parameter in enumerate(modules["policy"].parameters()):
                parameter.add_(2e-3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(n)))
        objective = PPOConfig(policy).build(SHAPE, modules)
        return Step(objective, modules, batches, tuple(n for n in ("policy", "critic") if n in modules))

    return made


ON_PAIRS: Mapping[str, PairConfig] = {
    "dpo": DPOConfig(), "cdpo": DPOConfig(label_smoothing=0.2), "ipo": IPOConfig(), "simpo": SimPOConfig(),
    "orpo": ORPOConfig(),
}  # fmt: skip
STEPS: Mapping[str, Callable[[Cut, Ranks], Step]] = {
    "sft": sft,
    "reward model": on_pairs(BradleyTerry(), "reward"),
    "reward model on marks": marks,
    **{name: on_pairs(FromPairs(config), "policy") for name, config in ON_PAIRS.items()},
    "kto": kto,
    **{name: online(name) for name in ONLINE},
}
"""Objective -> its step."""

PACKED = tuple(name for name in STEPS if name not in ONLINE)
"""Those that can share rows; a rollout has a sample a row."""


def gradient(name: str, cut: Cut = Cut(), ranks: Ranks = ALONE) -> Tensor:
    """The gradient of all trained modules over all ranks, as the loop has it."""
    step = STEPS[name](cut, ranks)
    totals: dict[str, float] = {}
    for batch in step.batches:
        for term, weight in step.objective.weights(batch).items():
            totals[term] = totals.get(term, 0.0) + weight
    totals = ranks.sum_numbers(totals)
    for batch in step.batches:
        loss = step.objective(step.modules, batch)
        torch.stack([value / max(totals[n], 1e-12) for n, (value, _) in loss.terms.items()]).sum().backward()
    parameters = [p for role in step.trained for p in step.modules[role].parameters()]
    ranks.sum_gradients(parameters)
    return torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])


def apart(one: Tensor, other: Tensor) -> float:
    """The distance of two gradients as a share of the second."""
    return float((one - other).norm() / other.norm())


CUTS: Mapping[str, Cut] = {
    "in 2 micro-batches": Cut(2), "in 8 micro-batches": Cut(8), "packed": Cut(1, True), "packed in 2": Cut(2, True),
}  # fmt: skip


def cuts_of(name: str) -> dict[str, Cut]:
    return {told: cut for told, cut in CUTS.items() if not cut.is_packed or name in PACKED}


def gradients_of_two_ranks(rank: int, port: int, out: str) -> None:
    """In a process of its own: the gradient of every objective, shared by two ranks."""
    import os

    from jielong.train.parallel import ranks_from_environment

    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with ranks_from_environment() as ranks:
        found = {name: gradient(name, Cut(2), ranks) for name in STEPS}
    torch.save(found, f"{out}/{rank}.pt")


def two_ranks(folder: str) -> dict[str, Tensor]:
    """The gradient of every objective over two real processes; it is the same on both."""
    import socket

    import torch.multiprocessing as mp

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(gradients_of_two_ranks, (port, folder), nprocs=2)  # type: ignore[no-untyped-call]
    first, second = (torch.load(f"{folder}/{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in STEPS)
    return dict(first)


def without_division(name: str, cut: Cut) -> Tensor:
    """The control: every micro-batch divided by its own weight, and their mean taken."""
    step = STEPS[name](cut, ALONE)
    for batch in step.batches:
        weights, loss = step.objective.weights(batch), step.objective(step.modules, batch)
        terms = [value / max(weights[n], 1e-12) for n, (value, _) in loss.terms.items()]
        (torch.stack(terms).sum() / len(step.batches)).backward()
    found = [p.grad for role in step.trained for p in step.modules[role].parameters()]
    return torch.cat([grad.flatten() for grad in found if grad is not None])
