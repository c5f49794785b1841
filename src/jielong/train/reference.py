"""Reference log-probabilities of answers: computed once before training and kept in a file, so that training needs no
second model.

The module is evaluated as the training stage opens it, before a checkpoint is loaded into it. An adapter begins as the very
function of its base, so these are the base's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from jielong.data.batches import pad_rows
from jielong.errors import CheckpointError
from jielong.outside import is_number
from jielong.runs import digest, read_json, sealed, unsealed, write_json
from jielong.tokens.chat import Rendered
from jielong.train.objectives.logprobs import sequence_logprobs
from jielong.train.parallel import Ranks


class Reference:
    """Log-probabilities that `model` gives to answers now, kept in `directory` under a name and a digest of the
    answers.

    Ranks share the work. Rows of like length go together, `micro_rows` at a time.
    """

    def __init__(
        self,
        model: nn.Module,
        directory: Path,
        *,
        micro_rows: int,
        pad_id: int,
        ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    ) -> None:
        self.model, self.directory, self.ranks = model, directory, ranks
        self.micro_rows, self.pad_id = micro_rows, pad_id

    def __call__(self, name: str, sequences: Sequence[Rendered], length: int) -> list[float | None]:
        """Return the nats of the trained tokens of each sequence, float32; None for one longer than `length`."""
        file = self.directory / f"reference-{name}.json"
        fingerprint = digest([[s.ids, [int(t) for t in s.trained]] for s in sequences if len(s.ids) <= length])
        kept = self.ranks.gather(_load_kept(file, fingerprint, len(sequences)) if self.ranks.is_first else None)[0]
        if kept is not None:
            return kept
        fitting = sorted(
            (i for i, s in enumerate(sequences) if len(s.ids) <= length), key=lambda i: len(sequences[i].ids)
        )
        found: list[float | None] = [None] * len(sequences)
        mine = fitting[self.ranks.rank :: self.ranks.size]
        here = answer_logprobs(self.model, [sequences[i] for i in mine], self.micro_rows, self.pad_id)
        for part in self.ranks.gather(list(zip(mine, here, strict=True))):
            for i, logprob in part:
                found[i] = logprob
        if self.ranks.is_first:
            write_json(file, sealed({"of": fingerprint, "logprobs": found}))
        return found


@torch.no_grad()
def answer_logprobs(model: nn.Module, sequences: Sequence[Rendered], micro_rows: int, pad_id: int) -> list[float]:
    """Return the nats of the trained tokens of each sequence, float32, `micro_rows` at a time in their order."""
    device = next(model.parameters()).device
    found: list[float] = []
    for start in range(0, len(sequences), micro_rows):
        batch = pad_rows(sequences[start : start + micro_rows], pad_id=pad_id).to(device)
        found += sequence_logprobs(model, batch)[0].float().tolist()
    return found


def _load_kept(file: Path, fingerprint: str, count: int) -> list[float | None] | None:
    """Load the results of an earlier start, if the file is whole and about the same answers."""
    try:
        record = unsealed(read_json(file))
    except CheckpointError:
        return None
    found = record.get("logprobs") if record and record.get("of") == fingerprint else None
    is_whole = isinstance(found, list) and len(found) == count and all(n is None or is_number(n) for n in found)
    return found if is_whole else None
