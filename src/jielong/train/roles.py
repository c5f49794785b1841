"""The modules of a training by their roles: policy, reference, critic, reward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import nn

Modules = Mapping[str, nn.Module]
"""Role -> module, as the loop, sources and objectives have them."""

Head = Literal["tokens", "scalar"]
"""What a module gives at each position: logits of all tokens, or one number."""


@dataclass(frozen=True)
class Role:
    """A module that a training needs, and where its weights come from: the stage's input called `start`."""

    name: str
    start: str = "start"
    head: Head = "tokens"
    is_trained: bool = False
