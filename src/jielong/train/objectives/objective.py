"""The protocol of loss functions, and the configs that build them: the one place where a recipe's words become a loss."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import ClassVar, Protocol

from torch import nn

from jielong.data.batches import Batch
from jielong.losses import Loss
from jielong.model.config import ModelConfig
from jielong.train.roles import Head, Modules, Role
from jielong.train.sources import Material, SourceConfig


class Objective(Protocol):
    """A loss function of the trained modules and a micro-batch.

    `weights` gives the divisor of each term and depends on the batch alone; its keys are the names of the loss's terms.
    """

    def weights(self, batch: Batch) -> dict[str, float]: ...
    def __call__(self, modules: Modules, batch: Batch) -> Loss: ...


class ObjectiveConfig:
    """The config of a loss function; subclasses are frozen dataclasses, and each builds its own kind.

    A new objective is one file with such a class. The training stage asks it for everything below and knows no kind.
    """

    main: ClassVar[str] = "policy"
    """The role of the module that is trained, checked and kept."""
    head: ClassVar[Head] = "tokens"
    """The head of that module."""
    takes_adapter: ClassVar[bool] = False
    """Whether an adapter can be trained instead of the whole module."""
    needs_reference: ClassVar[bool] = False
    """Whether batches say how likely their answers were before training."""

    def roles(self) -> tuple[Role, ...]:
        """Return the modules that it needs beside `main`."""
        return ()

    def build(
        self, config: ModelConfig, roles: Collection[str], *, has_adapter: bool = False, is_compiled: bool = False
    ) -> Objective:
        """Build the objective for a model of this shape, given the roles of the modules that exist.

        `is_compiled` says that layers are compiled, so that a loss on a GPU may be too.
        """
        raise NotImplementedError

    def check(self, roles: Collection[str]) -> None:
        """Raise ConfigError if its settings make no sense with the roles of the modules that there will be."""

    def beside(self) -> SourceConfig | None:
        """Return a second source of the same data, whose micro-batches are added to every step, or None."""
        return None

    def finish(self, load: Callable[[], nn.Module], material: Material) -> nn.Module | None:
        """Settle what only the trained module can tell, such as the offset of a reward model.

        `load` gives the module that the stage ended with. Returns the changed module, or None where nothing is to be
        done.
        """
        return None
