"""Data parallelism: sums over ranks, and nothing else.

Terms are divided by their weight over all ranks before the first forward, so gradients only need to be added up. One
rank needs no process group at all; under torchrun the group is made from its environment variables.

Ranks wait for each other without a limit, as the first one may refine for hours before the others train. So a rank that
is lost is noticed in another way (`train/heartbeats`): the others end within a minute and name it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from jielong.train.heartbeats import LOST_AFTER_S, keep_beating, name_lost_rank

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """The number of this process and of all processes."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum_numbers(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Add up each number over the ranks (float64)."""
        if self.size == 1:
            return dict(numbers)
        names = sorted(numbers)
        values = torch.tensor([numbers[n] for n in names], dtype=torch.float64)
        with name_lost_rank():
            dist.all_reduce(values)
        return dict(zip(names, values.tolist(), strict=True))

    def sum_gradients(self, parameters: Iterable[torch.Tensor]) -> None:
        """Add up each gradient over the ranks, in place; a parameter without one counts as zero."""
        if self.size == 1:
            return
        parameters = list(parameters)
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([g.reshape(-1) for g in grads])
        with name_lost_rank():
            dist.all_reduce(flat)
        for parameter, part in zip(parameters, flat.split([g.numel() for g in grads]), strict=True):
            parameter.grad = part.view_as(parameter)

    def gather(self, mine: T) -> list[T]:
        """Collect a value of each rank, in their order, on every rank; tensors come to the CPU on the way."""
        if self.size == 1:
            return [mine]
        found: list[Any] = [None] * self.size
        with name_lost_rank():
            dist.all_gather_object(found, mine)
        return found

    def wait(self) -> None:
        """Wait until every rank is here."""
        if self.size > 1:
            with name_lost_rank():
                dist.barrier()


@contextmanager
def ranks_from_environment(lost_after_s: float = LOST_AFTER_S) -> Iterator[Ranks]:
    """Join the ranks that torchrun started, or be a single one; the process group lives as long as the context.

    A rank without a heartbeat for `lost_after_s` is lost: the others say so and end.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    # numbers are summed on the CPU, gradients where they are
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=timedelta(days=7))  # the first rank may refine for long before training
    try:
        with keep_beating(dist.get_rank(), dist.get_world_size(), lost_after_s):
            yield Ranks(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
