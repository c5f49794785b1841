"""One draw laid open: the distribution that a token came from, what each filter cut away, and where the number fell.

It is computed from the logits that the draw used, by the same functions, for whoever asks; a draw that nobody looks at
costs nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from jielong.generate.sampling import Basis, Rules, penalised, share_of, sorted_cut
from jielong.records import Candidate, Cut, Draw


def explain(basis: Basis, row: int, id: int, uniform: float | None, *, count: int) -> Draw:
    """How row `row` of a basis came to `id`, with the `count` likeliest ids."""
    logits, rules, history, allowed = basis
    temperature = torch.ones(1) if rules.temperature is None else rules.temperature[row]
    scores = logits[row : row + 1].float() / temperature.to(logits.device)
    special = (rules.special == row).nonzero().flatten() if rules.special is not None else torch.empty(0)
    cuts: list[tuple[str, Tensor]] = []
    if len(special):
        mine = int(special)
        if history is not None:
            scores = penalised(scores, rules.penalty[mine : mine + 1], history[mine : mine + 1])
        cuts = _cuts(scores, rules, mine, None if allowed is None else allowed[mine : mine + 1])
    model, tempered = (torch.softmax(s, -1)[0] for s in (logits[row : row + 1].float(), scores))
    is_cut = torch.zeros_like(tempered, dtype=torch.bool)
    told = []
    for name, is_cut_by in cuts:
        is_new = is_cut_by[0] & ~is_cut
        told.append(Cut(name, int(is_new.sum()), float(tempered[is_new].double().sum())))
        is_cut |= is_new
    left = torch.softmax(scores[0].masked_fill(is_cut, -torch.inf), -1)
    low, high = share_of(left, id)

    def candidate(one: int) -> Candidate:
        return Candidate(one, float(model[one]), float(tempered[one]), float(left[one]))

    return Draw(
        candidate(id),
        1 + int((tempered > tempered[id]).sum()),
        tuple(candidate(one) for one in tempered.topk(min(count, len(tempered))).indices.tolist()),
        round(float(temperature), 6) if uniform is not None else 0.0,  # it was kept in float32
        tuple(told),
        int((~is_cut).sum()),
        uniform,
        low,
        high,
    )


def _cuts(scores: Tensor, rules: Rules, mine: int, allowed: Tensor | None) -> list[tuple[str, Tensor]]:
    """Which ids (1, V) each filter that is on cuts, of `scores` (1, V); `mine` is the row's place among those with rules."""
    top_k, top_p, min_p = (option[mine : mine + 1] for option in (rules.top_k, rules.top_p, rules.min_p))
    found = []
    if allowed is not None and not allowed.all():
        found.append(("mask", ~allowed))
        scores = scores.masked_fill(~allowed, -torch.inf)
    if top_k > 0:
        found.append(("top-k", scores < sorted_cut(scores, top_k, torch.ones_like(top_p))[:, None]))
    if top_p < 1:
        found.append(("top-p", scores < sorted_cut(scores, top_k, top_p)[:, None]))
    if min_p > 0:
        found.append(("min-p", scores < (scores.amax(-1) + min_p.log())[:, None]))
    return found
