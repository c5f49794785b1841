"""The judge of the gate: a linear preference head on the frozen base, fitted to comparisons that the policy never saw.

An answer is described by the base's last hidden states: their mean over the answer, and the one at its end. A linear
head on that, fitted by Bradley-Terry with a penalty that cross-validation chooses, needs seconds and 40 pairs where a
reward model of all weights needs minutes and thousands. Held-out pairs say whether it may be believed.
"""
# N answers, P pairs, F features.

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from jielong.data.batches import pad_rows
from jielong.evaluate.votes import Texts
from jielong.learning.advice import Part
from jielong.model.transformer import LanguageModel
from jielong.runs import derive_seed
from jielong.tokens.chat import Rendered, render_rating
from jielong.tokens.tokenizer import Tokenizer

FEWEST_PAIRS = 12
"""Comparisons with which a head is fitted at all."""

MOST_PAIRS = 400
"""Of liked and disliked answers, where there are thumbs and no pairs: all with all grow fast."""

PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
FOLDS = 5

Answered = tuple[Texts, Texts]
"""A prompt and an answer."""


@dataclass(frozen=True)
class PreferenceHead:
    """A linear head (F,) on features that are divided by `scale` (F,)."""

    weights: Tensor
    scale: Tensor

    def score(self, features: Tensor) -> Tensor:
        """Return scores of answers, (N,) float64; only differences mean something."""
        return (features.double() / self.scale) @ self.weights


def comparisons(part: Part) -> tuple[list[Answered], list[tuple[int, int]]]:
    """Return answers, and the better and the worse one of each comparison by number: pairs, or else thumbs up against
    down.
    """
    answers: list[Answered] = []
    if len(part.pairs) >= FEWEST_PAIRS:
        for pair in part.pairs:
            answers += [(pair.prompt, pair.better), (pair.prompt, pair.worse)]
        return answers, [(i, i + 1) for i in range(0, len(answers), 2)]
    answers = [(thumb.prompt, thumb.answer) for thumb in part.thumbs]
    liked, disliked = ([i for i, t in enumerate(part.thumbs) if t.is_liked == side] for side in (True, False))
    crossed = [(a, b) for a in liked for b in disliked]
    stride = max(1, -(-len(crossed) // MOST_PAIRS))
    return answers, crossed[::stride]


def rendered(tokenizer: Tokenizer, answers: Sequence[Answered], length: int) -> list[Rendered]:
    """Return answers after their prompts as tokens; of long ones the last `length`."""
    whole = [render_rating(prompt, answer, True, tokenizer).answer for prompt, answer in answers]
    return [Rendered(one.ids[-length:], one.trained[-length:]) for one in whole]


@torch.no_grad()
def features_of(
    model: LanguageModel, tokenizer: Tokenizer, answers: Sequence[Answered], *, length: int, micro_rows: int = 8
) -> Tensor:
    """Return the features (N, 2C) float32 of answers after their prompts."""
    rows = rendered(tokenizer, answers, length)
    found = torch.zeros(len(rows), 2 * model.config.hidden_size)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
    for start in range(0, len(order), micro_rows):
        chosen = order[start : start + micro_rows]
        batch = pad_rows([rows[i] for i in chosen], pad_id=tokenizer.pad)
        hidden_BTC = model.model(batch.inputs, batch.positions, batch.segments).float()
        for row, i in enumerate(chosen):
            # its last token, the end of the turn, is a target and no input
            hidden = hidden_BTC[row, : len(rows[i].ids) - 1]
            own = hidden[torch.tensor(rows[i].trained[:-1])]
            found[i] = torch.cat([own.mean(0) if len(own) else hidden[-1], hidden[-1]])
    return found


def fit(features: Tensor, pairs: Sequence[tuple[int, int]], seed: int) -> PreferenceHead:
    """Fit the head under which better answers score higher, with the penalty that cross-validation finds best."""
    # so an answer's features have a length of about 1, and penalties mean the same for models of any width
    scale = features.double().std(0).clamp_min(1e-6) * math.sqrt(features.shape[1])
    differences = torch.stack([features[a] - features[b] for a, b in pairs]).double() / scale
    generator = torch.Generator().manual_seed(derive_seed(seed, "folds") % 2**63)
    folds = torch.randperm(len(differences), generator=generator) % FOLDS
    losses = {penalty: _validated(differences, folds, penalty) for penalty in PENALTIES}
    return PreferenceHead(_weights(differences, min(losses, key=lambda p: losses[p])), scale)


def _validated(differences: Tensor, folds: Tensor, penalty: float) -> float:
    """Return the mean loss of each fold under a head that was fitted to the others."""
    total = 0.0
    for fold in range(FOLDS):
        weights = _weights(differences[folds != fold], penalty)
        total += float(-F.logsigmoid(differences[folds == fold] @ weights).sum())
    return total / len(differences)


def _weights(differences: Tensor, penalty: float) -> Tensor:
    """Return the minimum of the mean Bradley-Terry loss and penalty |w|^2 / 2, found in the span of the differences (P,
    F).
    """
    gram = differences @ differences.T
    duals = torch.zeros(len(differences), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([duals], lr=1, max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        """Compute the loss and its gradient."""
        optimizer.zero_grad()
        margins = gram @ duals
        loss = -F.logsigmoid(margins).mean() + penalty / 2 * duals @ margins
        loss.backward()
        return loss

    optimizer.step(closure)
    return (differences.T @ duals).detach()
