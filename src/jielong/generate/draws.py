"""Explanations of sampled tokens: the distribution, the cuts of each filter, and the interval of the random number.

They are computed on demand, from the logits that were sampled and by the same functions, so unrequested ones cost
nothing. Rows without filters are explained together, since a server shows every token of many answers.
"""
# R rows that somebody looks at, V vocabulary, K likeliest ids.

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import repeat

import torch
from torch import Tensor

from jielong.generate.sampling import Basis, Rules, intervals_of, largest_scores, penalised, sorted_cut
from jielong.records import Candidate, Cut, Draw

MANY = 20
"""So many of the likeliest ids are looked for at least: the place of most ids that are taken is then known."""


def explain(
    basis: Basis, rows: Sequence[int], ids: Sequence[int], uniforms: Sequence[float | None], counts: Sequence[int]
) -> list[Draw]:
    """Explain how the id of each of `rows` of a basis was sampled, with the row's `counts` likeliest ids."""
    special = {} if basis.rules.special is None else {row: at for at, row in enumerate(basis.rules.special.tolist())}
    plain = [at for at, row in enumerate(rows) if row not in special]
    found: dict[int, Draw] = {}
    if plain:
        mine = [[which[at] for at in plain] for which in (rows, ids, uniforms, counts)]
        found = dict(zip(plain, _explain_unfiltered(basis, *mine), strict=True))  # type: ignore[arg-type]
    for at, row in enumerate(rows):
        if row in special:
            found[at] = _explain_filtered(basis, row, special[row], ids[at], uniforms[at], counts[at])
    return [found[at] for at in range(len(rows))]


def _explain_unfiltered(
    basis: Basis, rows: Sequence[int], ids: Sequence[int], uniforms: Sequence[float | None], counts: Sequence[int]
) -> list[Draw]:
    """Explain rows without filters, all at once."""
    there = torch.tensor(rows, device=basis.logits.device)
    temperatures = _temperatures(basis.rules, there)
    is_all = list(rows) == list(range(len(basis.logits)))  # then they need not be copied
    logits = (basis.logits if is_all else basis.logits[there]).float()
    scores = logits if basis.rules.temperature is None else logits / temperatures
    shares = basis.shares
    left = torch.softmax(scores, -1) if shares is None else shares if is_all else shares[there]
    values, likeliest = largest_scores(scores, max(MANY, *counts))
    taken = torch.tensor(ids, device=logits.device)[:, None]
    wanted = torch.cat([taken, likeliest], 1)
    tempered = left.gather(1, wanted)
    model = tempered
    if scores is not logits:
        model = (logits.gather(1, wanted) - logits.logsumexp(-1, keepdim=True)).exp()
    entropies = _entropies(scores, left, likeliest[:, :1])
    ranks = _ranks(scores, scores.gather(1, taken), values)
    edges = intervals_of(left, taken.squeeze(1))
    found = []
    columns = (wanted, model, tempered, ranks, entropies, edges, temperatures[:, 0])
    for *row, uniform, count in zip(*(c.tolist() for c in columns), uniforms, counts, strict=True):
        each, of_model, of_draw, rank, entropy, (low, high), temperature = row
        mine, *likely = map(Candidate._make, zip(each[: 1 + count], of_model, of_draw, of_draw, repeat("")))
        shown = round(temperature, 6) if uniform is not None else 0.0  # it was kept in float32
        found.append(Draw(mine, rank, tuple(likely), shown, (), scores.shape[1], uniform, low, high, entropy))
    return found


def _explain_filtered(basis: Basis, row: int, mine: int, id: int, uniform: float | None, count: int) -> Draw:
    """Explain how `id` was sampled for row `row` of a basis, which is number `mine` of the rows with filters."""
    logits, rules, history, allowed, _ = basis
    own = logits[row : row + 1].float()
    temperatures = _temperatures(rules, torch.tensor([row], device=logits.device))
    scores = own / temperatures
    if history is not None:
        scores = penalised(scores, rules.penalty[mine : mine + 1], history[mine : mine + 1])
    cuts = _cuts(scores, rules, mine, None if allowed is None else allowed[mine : mine + 1])
    tempered = torch.softmax(scores, -1)
    is_cut = torch.zeros_like(tempered[0], dtype=torch.bool)
    told, new_by = [], dict[str, Tensor]()
    for name, is_cut_by in cuts:
        is_new = new_by[name] = is_cut_by[0] & ~is_cut
        told.append(Cut(name, int(is_new.sum()), float(tempered[0, is_new].double().sum())))
        is_cut = is_cut | is_new
    left = torch.softmax(scores.masked_fill(is_cut, -torch.inf), -1)
    ((low, high),) = intervals_of(left, torch.tensor([id], device=left.device)).tolist()
    wanted = torch.cat([torch.tensor([[id]], device=scores.device), largest_scores(scores, count)[1]], 1)
    total = own.logsumexp(-1, keepdim=True)
    columns = [(own.gather(1, wanted) - total).exp(), tempered.gather(1, wanted), left.gather(1, wanted)]
    by = _cut_by(wanted[0], new_by)
    shares = (column[0].tolist() for column in columns)
    taken, *likeliest = map(Candidate, wanted[0].tolist(), *shares, by)
    return Draw(
        taken,
        1 + int((scores > scores[0, id]).sum()),
        tuple(likeliest),
        round(float(temperatures), 6) if uniform is not None else 0.0,  # it was kept in float32
        tuple(told),
        int((~is_cut).sum()),
        uniform,
        low,
        high,
        float(_entropies(scores, tempered, scores.argmax(-1, keepdim=True))),
    )


def _temperatures(rules: Rules, rows: Tensor) -> Tensor:
    """Return the temperatures of rows, (R, 1) float32."""
    if rules.temperature is None:
        return torch.ones(len(rows), 1, device=rows.device)
    return rules.temperature.to(rows.device)[rows]


def _entropies(scores: Tensor, probabilities: Tensor, best: Tensor) -> Tensor:
    """(R,) in bits, of `probabilities` = softmax(scores) (R, V): log Z - sum p score. `best` (R, 1) are the likeliest ids."""
    # log Z from the largest of both: a pass over the rows less
    log_z = scores.gather(1, best) - probabilities.gather(1, best).log()
    means = torch.linalg.vecdot(probabilities, scores)
    if not means.isfinite().all():  # of an id that the model itself gives no chance
        means = torch.linalg.vecdot(probabilities, scores.clamp(min=-1e30))
    return (log_z.squeeze(1) - means).clamp(min=0.0) / math.log(2)


def _ranks(scores: Tensor, taken: Tensor, largest: Tensor) -> Tensor:
    """(R,) the place of the `taken` scores (R, 1) among all `scores` (R, V), of which the `largest` (R, K) are known."""
    ranks = 1 + (largest > taken).sum(-1)
    below = (taken < largest[:, -1:]).squeeze(1).nonzero().squeeze(1)
    if len(below):  # row by row: of several at once torch writes each claim down in eight bytes before it counts
        ranks[below] = 1 + torch.stack([torch.count_nonzero(scores[row] > taken[row]) for row in below.tolist()])
    return ranks


def _cut_by(ids: Tensor, new_by: Mapping[str, Tensor]) -> list[str]:
    """Return for each id the name of the filter that cut it."""
    found = [""] * len(ids)
    for name, is_new in new_by.items():
        for at, is_cut in enumerate(is_new[ids].tolist()):
            found[at] = name if is_cut else found[at]
    return found


def _cuts(scores: Tensor, rules: Rules, mine: int, allowed: Tensor | None) -> list[tuple[str, Tensor]]:
    """Return the ids (1, V) that each active filter cuts, from `scores` (1, V); `mine` is the row's place among those
    with rules.
    """
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
