"""The loss that evens out the use of experts: by hand, as transformers has it, and whether it does what it is for."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from jielong.data.batches import Batch, pad_rows
from jielong.errors import ConfigError
from jielong.model.transformer import LanguageModel, ModelConfig, fresh_language_model
from jielong.stages.train import TrainStage
from jielong.tokens.chat import Rendered
from jielong.train.balance import imbalance, router_scores
from jielong.train.objectives.next_token import NextToken, NextTokenConfig
from jielong.train.optim import Optimizer, OptimizerConfig

TINY = ModelConfig(
    vocab_size=61,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=8,
    model_type="qwen3_moe",
    num_experts=4,
    num_experts_per_tok=1,
    moe_intermediate_size=12,
)


def batch(num: int = 8, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(12, 20, (num,), generator=generator).tolist()
    ids = [torch.randint(2, 61, (size,), generator=generator).tolist() for size in sizes]
    return pad_rows([Rendered(tuple(row), (True,) * len(row)) for row in ids])


def test_imbalance_by_hand() -> None:
    # probabilities of three experts for four tokens; each token chooses one, the last token is padding
    shares = torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    # f = (2/3, 1/3, 0), P = (1.5, 1.0, 0.5) / 3: 3 * (2/3 * 0.5 + 1/3 * 1/3 + 0) = 3 * (1/3 + 1/9) = 4/3
    found = imbalance(shares.log(), 1, torch.tensor([1.0, 1.0, 1.0, 0.0]))
    assert float(found) == pytest.approx(4 / 3, abs=1e-6)


@pytest.mark.parametrize("num_chosen", [1, 2])
def test_imbalance_lies_between_even_use_and_one_expert_for_all(num_chosen: int) -> None:
    even = torch.eye(4)[torch.arange(8) % 4] + torch.eye(4)[(torch.arange(8) + 1) % 4]
    assert float(imbalance(even * 20, num_chosen, torch.ones(8))) == pytest.approx(num_chosen, abs=1e-3)
    one = torch.tensor([[60.0, 1.0, 0.0, 0.0]]).expand(8, 4)
    assert float(imbalance(one, num_chosen, torch.ones(8))) == pytest.approx(4.0, abs=1e-3)


@pytest.mark.parametrize("num_chosen", [1, 2])
def test_imbalance_of_each_layer_is_transformers(num_chosen: int) -> None:
    qwen = pytest.importorskip("transformers.models.qwen3_moe.modeling_qwen3_moe")
    data = batch()
    model = fresh_language_model(dataclasses.replace(TINY, num_experts_per_tok=num_chosen, initializer_range=0.5), 1)
    with torch.no_grad(), router_scores(model) as scores:
        model(data.inputs, data.positions, data.segments)
    is_real = (data.segments > 0).float()
    assert len(scores) == 2 and 0 < is_real.mean() < 1
    theirs = [float(qwen.load_balancing_loss_func((layer,), 4, num_chosen, is_real)) for layer in scores]
    assert [float(imbalance(layer, num_chosen, is_real.flatten())) for layer in scores] == pytest.approx(theirs)
    loss = NextToken(balance=0.5)({"policy": model}, data)
    told, weight = loss.metrics["imbalance"]
    assert float(told / weight) == pytest.approx(sum(theirs) / 2, rel=1e-5) and not told.requires_grad
    total, weight = loss.terms["balance"]
    assert float(total.detach() / weight) == pytest.approx(0.5 * sum(theirs) / 2, rel=1e-5)
    assert float(weight) == NextToken(balance=0.5).weights(data)["balance"] == float(is_real.sum())


def test_without_a_coefficient_nothing_is_added_and_nothing_is_left_behind() -> None:
    model, data = fresh_language_model(TINY, 1), batch()
    plain = NextToken()({"policy": model}, data)
    assert set(plain.terms) == {"loss"} == set(NextToken().weights(data))
    balanced = NextToken(balance=0.1)({"policy": model}, data)
    assert torch.equal(balanced.terms["loss"][0], plain.terms["loss"][0])
    assert not any(m._forward_hooks for m in model.modules())


def test_the_coefficient_is_the_stages_or_else_the_models() -> None:
    stage = TrainStage("pretrain", {}, NextTokenConfig())

    def coefficient(objective: NextTokenConfig, config: ModelConfig) -> float:
        built = dataclasses.replace(stage, objective=objective).build_objective(config, {})
        assert isinstance(built, NextToken)
        return built.balance

    assert coefficient(NextTokenConfig(), TINY) == 0.001
    assert coefficient(NextTokenConfig(), dataclasses.replace(TINY, router_aux_loss_coef=0.02)) == 0.02
    assert coefficient(NextTokenConfig(0.0), TINY) == 0.0
    assert coefficient(NextTokenConfig(0.5), ModelConfig()) == 0.0, "there is no expert"
    with pytest.raises(ConfigError, match="router_aux_loss_coef of NextTokenConfig is -1"):
        NextTokenConfig(-1)


def largest_share(model: LanguageModel, data: Batch) -> float:
    """Of all tokens, those whose first choice is the most popular expert; the mean over layers."""
    with torch.no_grad(), router_scores(model) as scores:
        model(data.inputs, data.positions, data.segments)
    real = (data.segments > 0).flatten()
    counts = [layer.argmax(-1)[real].bincount(minlength=TINY.num_experts) for layer in scores]
    return float(torch.stack([c.max() / c.sum() for c in counts]).mean())


def test_training_with_it_evens_out_a_router_that_prefers_one_expert() -> None:
    shares = {}
    for coefficient in (0.0, 0.3):
        model = fresh_language_model(TINY, 1)
        with torch.no_grad():  # all tokens have something in common, which the first expert is chosen for
            model.model.embed_tokens.weight[:, 0] += 0.1
            for layer in model.model.layers:
                layer.mlp.gate.weight[0, 0] += 1.0
        assert largest_share(model, batch(seed=9)) > 0.95
        objective = NextToken(balance=coefficient)
        optimizer = Optimizer(model, OptimizerConfig(lr=5e-3, weight_decay=0.0))
        for step in range(80):
            data = batch(seed=step)
            weights = objective.weights(data)
            terms = objective({"policy": model}, data).terms
            torch.stack([total / weights[name] for name, (total, _) in terms.items()]).sum().backward()
            optimizer.step(1.0)
        shares[coefficient] = largest_share(model, batch(seed=9))
    assert shares[0.0] > 0.8, shares
    assert shares[0.3] < 0.65, shares
