"""Muon: what it makes orthogonal, in each number format, and that its steps are those of torch's."""

from __future__ import annotations

import pytest
import torch

from jielong.model.transformer import ModelConfig, fresh_language_model
from jielong.train.muon import Muon, orthogonalised
from jielong.train.optim import Optimizer, OptimizerConfig


def exact(matrix: torch.Tensor) -> torch.Tensor:
    """Five iterations in float64, as they are written down."""
    x = matrix.double() / matrix.double().norm()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


@pytest.mark.parametrize("shape", [(24, 24), (24, 30), (24, 96), (16, 200)])
@pytest.mark.parametrize("rank", [4, 200])
def test_float32_gives_what_the_iterations_give_in_float64(shape: tuple[int, int], rank: int) -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(shape[0], rank, generator=generator), torch.randn(rank, shape[1], generator=generator)
    matrix = left @ right + 1e-3 * torch.randn(shape, generator=generator)
    for given, wanted in ((matrix, exact(matrix)), (matrix.T, exact(matrix).T)):
        found = orthogonalised(given, torch.float32)
        torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-4)


def test_the_singular_values_of_a_full_matrix_come_near_one() -> None:
    matrix = torch.randn(32, 128, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalised(matrix, torch.float32))
    assert 0.6 < values.min() and values.max() < 1.3


def test_steps_in_bfloat16_are_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = ([torch.nn.Parameter(torch.ones(*s)) for s in ((8, 24), (24, 8), (8, 8))] for _ in range(2))
    mine = Muon(ours, lr=0.02, weight_decay=0.05, dtype=torch.bfloat16)
    other = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.05, momentum=0.95)
    for _ in range(4):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        mine.step()
        other.step()
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b) and not torch.equal(a, torch.ones_like(a))


def test_a_state_of_torch_is_gone_on_from() -> None:
    weight = torch.nn.Parameter(torch.ones(4, 6))
    theirs = torch.optim.Muon([weight], lr=0.02)
    weight.grad = torch.ones(4, 6)
    theirs.step()
    mine = Muon([weight], lr=0.5, weight_decay=0.0, dtype=torch.float32)
    mine.load_state_dict(theirs.state_dict())
    assert torch.equal(mine.state[weight]["momentum_buffer"], theirs.state[weight]["momentum_buffer"])
    assert mine.param_groups[0]["lr"] == 0.02
    before = weight.detach().clone()
    mine.step()
    assert weight.isfinite().all() and not torch.equal(weight, before)


def test_muon_takes_the_matrices_of_the_layers_and_adamw_the_rest() -> None:
    shape = ModelConfig(
        vocab_size=40, hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=4, tie_word_embeddings=False,
    )  # fmt: skip
    model = fresh_language_model(shape, seed=0)
    adamw, muon = (part for part, _ in Optimizer(model, OptimizerConfig(name="muon"))._parts)
    names = {id(p): n for n, p in model.named_parameters()}
    taken = [names[id(p)] for group in muon.param_groups for p in group["params"]]
    # of each of two layers q, k, v, o, gate, up and down
    maps = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert sorted(n.split(".")[-2] for n in taken) == sorted(2 * maps)
    others = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    assert {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"} <= others
    assert len(taken) + len(others) == len(names) and not others & set(taken)
