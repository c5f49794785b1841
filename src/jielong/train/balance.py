"""Load balancing of experts: the auxiliary loss of the Switch Transformer.

Experts that get no tokens learn nothing and get none in the future; the loss is smallest when all are used alike.
"""
# N tokens of a micro-batch, E experts, k chosen of them for each token.

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jielong.model.transformer import Mixture


@contextmanager
def router_scores(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect each layer's router scores (N, E) of a forward pass inside the context, in the order of the layers."""
    found: list[Tensor] = []

    def note(router: nn.Module, args: tuple[Tensor, ...], scores_NE: Tensor) -> None:
        del router, args
        found.append(scores_NE)

    handles = [m.gate.register_forward_hook(note) for m in model.modules() if isinstance(m, Mixture)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def imbalance(scores_NE: Tensor, num_chosen: int, weights_N: Tensor) -> Tensor:
    """Return E * sum over experts of f * P, a scalar: `num_chosen` when all are used alike, E when one is always the
    first choice.

    f is the share of tokens that choose an expert, P its mean probability; the gradient flows through P alone (Fedus et
    al. 2021, eq. 4 to 6, arXiv 2101.03961; with several choices as in Qwen3-MoE). Tokens count by their weights.
    """
    shares_NE = torch.softmax(scores_NE.float(), dim=-1)
    is_chosen_NE = F.one_hot(shares_NE.topk(num_chosen, dim=-1).indices, scores_NE.shape[1]).sum(1)
    weights_N = weights_N / weights_N.sum().clamp_min(1e-12)
    return scores_NE.shape[1] * ((weights_N @ is_chosen_NE.float()) * (weights_N @ shares_NE)).sum()
