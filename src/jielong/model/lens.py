"""The logit lens: what each layer would predict if it were the last one (nostalgebraist 2020).

The residual stream after a layer goes through the final norm and the head, as that of the last layer does. Early layers
were never trained for it, so their predictions are a hint and no more.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from jielong.model.transformer import LanguageModel


def logits_of_layers(model: LanguageModel, ids: Sequence[int]) -> Tensor:
    """Return logits (layers + 1, V) float32 at the last of `ids`: from the embedding, and from each layer."""
    body = model.model
    states: list[Tensor] = []

    def keep(_: object, inputs: tuple[Tensor, ...], output: Tensor | None = None) -> None:
        states.append((inputs[0] if output is None else output)[:, -1])

    hooks = [body.layers[0].register_forward_pre_hook(keep)]
    hooks += [layer.register_forward_hook(keep) for layer in body.layers]
    try:
        model(torch.tensor([list(ids)]))
    finally:
        for hook in hooks:
            hook.remove()
    return model.logits(body.norm(torch.cat(states))).float()
