"""A reward model as a scorer: it reads the token ids of a sample, never text, and its score is read at the last one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from jielong.data.batches import pad_rows
from jielong.model.transformer import ScalarModel
from jielong.records import Conversation, Sample, Score
from jielong.tokens.chat import Rendered


@torch.no_grad()
def score_rows(model: ScalarModel, rows: Sequence[Sequence[int]], *, micro_rows: int = 64) -> Tensor:
    """Return the model's scores (N,) float32, on the CPU, of whole sequences of token ids, each read at its last token.

    Rows of like length go together, so little is padded; the order of the result is that of `rows`.
    """
    device = next(model.parameters()).device
    scores = torch.zeros(len(rows))
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for start in range(0, len(order), micro_rows):
        chosen = order[start : start + micro_rows]
        batch = pad_rows([Rendered(tuple(rows[i]), (False,) * len(rows[i])) for i in chosen]).to(device)
        scores_BT = model(batch.inputs, batch.positions, batch.segments)
        scores[chosen] = scores_BT.gather(1, batch.last[:, None])[:, 0].float().cpu()
    return scores


class RewardModelScorer:
    """`Scorer` on a trained reward model; a sample is judged with its prompt, as it was generated."""

    def __init__(self, model: ScalarModel, *, micro_rows: int = 64, source: str = "reward model") -> None:
        self.model, self.micro_rows, self.source = model, micro_rows, source

    def __call__(self, items: Sequence[tuple[Any, Conversation, Sample]]) -> list[Score]:
        rows = [(*sample.prompt_ids, *sample.ids) for _, _, sample in items]
        values = score_rows(self.model, rows, micro_rows=self.micro_rows)
        return [Score(value, source=self.source) for value in values.tolist()]
