"""Requests of an engine: checks of their fields, and jobs, which hold a running request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jielong.errors import ConfigError, TooLongError
from jielong.generate.scoring import Pair
from jielong.records import Request

Allowed = Callable[[Sequence[int]], Any]
"""From the ids written so far to a bool mask (V,), a tensor or array with at least one True; or None for "all"."""


@dataclass
class Job:
    """A request in the engine; `is_unwatched` if the caller waits only for its end."""

    id: int
    request: Request
    allowed: Allowed | None
    num_alternatives: int
    is_unwatched: bool
    num_candidates: int = 0
    bias: tuple[NDArray[np.int64], NDArray[np.float32]] | None = None
    """Ids and the numbers that are added to their logits."""


def check_bias(
    bias: Mapping[int, float] | None, vocab_size: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
    """Return ids (N,) and the biases of their logits (N,) float32. Raises ConfigError for unknown ids."""
    if not bias:
        return None
    _check_ids(tuple(bias), vocab_size)
    return np.array(list(bias), np.int64), np.array(list(bias.values()), np.float32)


def check_request(request: Request, vocab_size: int, length: int) -> None:
    """Raise TooLongError if a slot of `length` positions cannot hold the prompt. Raises ConfigError for unknown ids."""
    _check_ids(request.prompt_ids, vocab_size)
    if len(request.prompt_ids) >= length:
        raise TooLongError(
            f"the prompt has {len(request.prompt_ids)} tokens, but a slot has {length} positions and the answer "
            "needs at least one; shorten the prompt or choose a longer engine length"
        )


def check_pairs(pairs: Sequence[Pair], vocab_size: int, limit: int) -> None:
    """Raise TooLongError if a prompt and the ids after it do not fit into `limit` positions."""
    for prompt_ids, ids in pairs:
        _check_ids(prompt_ids, vocab_size)
        _check_ids((*prompt_ids, *ids), vocab_size)
        if len(prompt_ids) + len(ids) - 1 > limit:
            raise TooLongError(f"{len(prompt_ids)} + {len(ids)} tokens to score exceed the model's {limit} positions")


def _check_ids(ids: Sequence[int], vocab_size: int) -> None:
    """Raise ConfigError if there are no ids, or one is outside the vocabulary."""
    if not ids:
        raise ConfigError("the prompt has no tokens; a request needs at least one, such as <|endoftext|>")
    if min(ids) < 0 or max(ids) >= vocab_size:
        bad = min(ids) if min(ids) < 0 else max(ids)
        raise ConfigError(f"token id {bad} is outside the model's vocabulary of {vocab_size}")


def allowed_masks(jobs: Sequence[tuple[Job | None, Sequence[int]]], vocab_size: int) -> Tensor:
    """Call the jobs' hooks on the ids written so far; return their masks (jobs, V) bool, on the CPU."""
    masks = torch.ones(len(jobs), vocab_size, dtype=torch.bool)
    for row, (job, written) in enumerate(jobs):
        mask = job.allowed(written) if job is not None and job.allowed is not None else None
        if mask is not None and job is not None:
            masks[row] = torch.as_tensor(mask, dtype=torch.bool)
            if not masks[row].any():
                raise ValueError(
                    f"the mask of request {job.id} allows no id at all; it must allow one, such as a stop id"
                )
    return masks
