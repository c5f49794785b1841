"""Optimizers and the learning rate over time.

`adamw` is torch's fused AdamW; `muon` orthogonalises the momentum of the hidden matrices (Jordan 2024) and leaves
embeddings, heads and norms to AdamW. The rate is a function of the step alone: a linear warm-up, of at most a quarter of
the run, a plateau, and a linear decay over the last part of the run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from jielong.errors import ConfigError
from jielong.train.muon import Muon


@dataclass(frozen=True)
class OptimizerConfig:
    """Rates are peaks; `decay_fraction` of all steps, at the end, lead down to `final_fraction` of the peak."""

    name: Literal["adamw", "muon"] = "adamw"
    """adamw for all weights, or muon for the hidden matrices and adamw for the rest."""
    lr: float = 1e-3
    """The peak learning rate, of AdamW."""
    muon_lr: float = 0.02
    """The peak learning rate of the hidden matrices, where `name` is muon."""
    warmup_steps: int = 20
    """Steps in which the learning rate rises to its peak; at most a quarter of the run."""
    decay_fraction: float = 0.6
    """The share of all steps, at the end, over which the learning rate falls."""
    final_fraction: float = 0.02
    """The share of the peak that the learning rate falls to."""
    weight_decay: float = 0.05
    """How much matrices shrink in a step, times the learning rate."""
    beta1: float = 0.9
    """How slowly the mean of the gradients moves."""
    beta2: float = 0.95
    """How slowly the mean of their squares moves."""
    eps: float = 1e-8
    """Added where AdamW divides."""

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ConfigError(f"learning rate {self.lr} must be above 0")
        if not 0 <= self.decay_fraction <= 1:
            raise ConfigError(f"decay_fraction {self.decay_fraction} must lie in [0, 1]")


WARMUP_SHARE = 4
"""The warm-up is at most this part of a run, one in four: a short trial has to reach its rate."""


def rate_factor(config: OptimizerConfig, step: int, steps: int) -> float:
    """Return the factor of the peak rate at `step` (0-based) of `steps`."""
    warmup = min(1.0, (step + 1) / max(1, min(config.warmup_steps, steps // WARMUP_SHARE)))
    decay_steps = max(1, round(steps * config.decay_fraction))
    left = min(1.0, (steps - step) / decay_steps)
    return warmup * (config.final_fraction + (1 - config.final_fraction) * left)


class Optimizer:
    """The optimizer of one module: AdamW alone, or Muon, with products in `dtype`, for hidden matrices beside AdamW for
    the rest.
    """

    def __init__(self, module: nn.Module, config: OptimizerConfig, dtype: torch.dtype = torch.float32) -> None:
        self.config = config
        parameters = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        hidden = [p for n, p in parameters if config.name == "muon" and p.dim() == 2 and ".layers." in n]
        taken = {id(p) for p in hidden}
        rest = [p for _, p in parameters if id(p) not in taken]
        groups = [
            {"params": [p for p in rest if p.dim() >= 2], "weight_decay": config.weight_decay},
            {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0},
        ]
        self.parameters = [p for _, p in parameters]
        self._parts: list[tuple[torch.optim.Optimizer, float]] = [
            (
                torch.optim.AdamW(
                    [g for g in groups if g["params"]],
                    lr=config.lr,
                    betas=(config.beta1, config.beta2),
                    eps=config.eps,
                    fused=True,
                ),
                config.lr,
            )
        ]
        if hidden:
            self._parts.append((Muon(hidden, config.muon_lr, config.weight_decay, dtype), config.muon_lr))

    def step(self, factor: float) -> None:
        """Update once with the peak rates times `factor`, and free the gradients."""
        for part, peak in self._parts:
            for group in part.param_groups:
                group["lr"] = peak * factor
            part.step()
            part.zero_grad(set_to_none=True)

    def skip(self) -> None:
        """Drop the gradients of a refused step."""
        for part, _ in self._parts:
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part, _ in self._parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        for (part, _), state in zip(self._parts, states, strict=True):
            part.load_state_dict(state)


def gradient_norm(parameters: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return the 2-norm of all gradients together, a float32 scalar."""
    norms = [torch.linalg.vector_norm(p.grad.float()) for p in parameters if p.grad is not None]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())
