"""Draws laid open: the distribution that a token came from, what each filter cut away, and where the number fell.

They are computed from the logits that the draws used, by the same functions, for whoever asks; a draw that nobody looks
at costs nothing. Rows without filters are explained together, as a server shows every token of many answers.
"""
# R rows that somebody looks at, V vocabulary, K likeliest ids.

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from jielong.generate.sampling import Basis, Rules, largest, penalised, shares_of, sorted_cut
from jielong.records import Candidate, Cut, Draw


def explain(
    basis: Basis, rows: Sequence[int], ids: Sequence[int], uniforms: Sequence[float | None], counts: Sequence[int]
) -> list[Draw]:
    """How each of `rows` of a basis came to its id, with the `counts` likeliest ids of each."""
    special = {} if basis.rules.special is None else {row: at for at, row in enumerate(basis.rules.special.tolist())}
    plain = [at for at, row in enumerate(rows) if row not in special]
    found: dict[int, Draw] = {}
    if plain:
        mine = [[which[at] for at in plain] for which in (rows, ids, uniforms, counts)]
        found = dict(zip(plain, _explain_plain(basis, *mine), strict=True))  # type: ignore[arg-type]
    for at, row in enumerate(rows):
        if row in special:
            found[at] = _explain_special(basis, row, special[row], ids[at], uniforms[at], counts[at])
    return [found[at] for at in range(len(rows))]


def _explain_plain(
    basis: Basis, rows: Sequence[int], ids: Sequence[int], uniforms: Sequence[float | None], counts: Sequence[int]
) -> list[Draw]:
    """`explain` of rows without filters, all at once."""
    there = torch.tensor(rows, device=basis.logits.device)
    logits, temperatures = basis.logits[there].float(), _temperatures(basis.rules, there)
    scores = logits / temperatures
    left = torch.softmax(scores, -1)
    likeliest = largest(scores, max(counts))[1]
    taken = torch.tensor(ids, device=logits.device)[:, None]
    wanted = torch.cat([taken, likeliest], 1)
    total = logits.logsumexp(-1, keepdim=True)
    model = (logits.gather(1, wanted) - total).exp()
    tempered = left.gather(1, wanted)
    entropies = _entropies(scores, left)
    ranks = 1 + (scores > scores.gather(1, taken)).sum(-1)
    edges = shares_of(left, taken.squeeze(1))
    found = []
    columns = (wanted, model, tempered, ranks, entropies, edges, temperatures[:, 0])
    for *row, uniform, count in zip(*(c.tolist() for c in columns), uniforms, counts, strict=True):
        each, of_model, of_draw, rank, entropy, (low, high), temperature = row
        candidates = [Candidate(*one) for one in zip(each, of_model, of_draw, of_draw, strict=True)]
        shown = round(temperature, 6) if uniform is not None else 0.0  # it was kept in float32
        likely = tuple(candidates[1 : 1 + count])
        draw = Draw(candidates[0], rank, likely, shown, (), scores.shape[1], uniform, low, high, entropy)
        found.append(draw)
    return found


def _explain_special(basis: Basis, row: int, mine: int, id: int, uniform: float | None, count: int) -> Draw:
    """How row `row` of a basis, the `mine`-th of those with filters, came to `id`."""
    logits, rules, history, allowed = basis
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
    ((low, high),) = shares_of(left, torch.tensor([id], device=left.device)).tolist()
    wanted = torch.cat([torch.tensor([[id]], device=scores.device), largest(scores, count)[1]], 1)
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
        float(_entropies(scores, tempered)),
    )


def _temperatures(rules: Rules, rows: Tensor) -> Tensor:
    """(R, 1) float32."""
    if rules.temperature is None:
        return torch.ones(len(rows), 1, device=rows.device)
    return rules.temperature.to(rows.device)[rows]


def _entropies(scores: Tensor, probabilities: Tensor) -> Tensor:
    """(R,) in bits, of softmax(scores) (R, V): log Z - sum p score."""
    finite = scores.clamp(min=-1e30)
    nats = scores.logsumexp(-1) - (probabilities * finite).sum(-1)
    return nats.clamp(min=0.0) / math.log(2)


def _cut_by(ids: Tensor, new_by: Mapping[str, Tensor]) -> list[str]:
    """For each id the name of the filter that cut it."""
    found = [""] * len(ids)
    for name, is_new in new_by.items():
        for at, is_cut in enumerate(is_new[ids].tolist()):
            found[at] = name if is_cut else found[at]
    return found


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
