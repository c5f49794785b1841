"""Reward models on real judgements: accuracy, calibration and accuracy by length, beside a bag of words, whatever it is.

The trunk is a model of others, frozen; an answer's features are its last hidden states. Heads on it are fitted by Bradley
and Terry, all but the first to a part of the comparisons, and are an ensemble together. Each score is that of heads and
words fitted to four of five parts of the prompts, and told of the fifth. Single marks are compared across prompts, each
good answer with bad ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.alignment.setting import Setting
from bench.environments import Unavailable
from bench.rows import Row
from jielong.data.chat_files import judgement_kinds_in, read_preferences, read_ratings
from jielong.evaluate.bag_of_words import fit_bag_of_words
from jielong.evaluate.comparing_scores import (
    ENSEMBLES,
    Compared,
    ensemble,
    ensemble_figures,
    figures_of,
    fit_temperature,
)
from jielong.evaluate.statistics import wilson
from jielong.learning.preference_head import features_of, fit
from jielong.model.hf import load_language_model
from jielong.records import Message
from jielong.runs import derive_seed, find_model
from jielong.tokens.tokenizer import Tokenizer

SEEDS = 1

FILES = {"hh_harmless.jsonl": 360, "dpo_zh_demo.jsonl": 240, "kto_en_demo.jsonl": 240}
"""The files, and how many judgements of each are looked at: as many as a busy CPU reads in a quarter of an hour."""

LENGTH, CHUNK, FOLDS, HEADS, MOST_PAIRS = 224, 64, 5, 4, 600

SHARE = 0.7
"""Of the comparisons to learn from, what each head but the first is fitted to."""

Answered = tuple[tuple[Message, ...], tuple[Message, ...]]


@dataclass(frozen=True)
class Judged:
    """Answers with their prompts, the better and the worse one of each comparison by number, and the fold of each answer."""

    answers: list[Answered]
    pairs: list[tuple[int, int]]
    folds: list[int]


def rows(setting: Setting) -> Iterator[Row]:
    """Rows of each file."""
    if setting.data is None or setting.model is None:
        raise Unavailable("real needs files and a model of others: --data DIR --model DIR")
    folder = find_model(setting.model)
    model, tokenizer = load_language_model(folder), Tokenizer.load(folder)
    model.model.compute_dtype = torch.bfloat16
    for name, most in FILES.items():
        judged = judged_in(setting.data / name, most)

        def read(answers: Sequence[Answered]) -> Tensor:
            return features_of(model, tokenizer, answers, length=LENGTH, micro_rows=4)

        features = kept_features(judged.answers, setting.folder / Path(name).stem, read)
        for seed in setting.seeds:
            yield from rows_of(Path(name).stem, judged, features, seed)


def judged_in(file: Path, most: int) -> Judged:
    """Read a file's comparisons, or its marks crossed within each fold."""
    answers: list[Answered] = []
    pairs: list[tuple[int, int]] = []
    prompts: dict[str, int] = {}

    def add(prompt: tuple[Message, ...], answer: tuple[Message, ...]) -> int:
        prompts.setdefault(repr(prompt), len(prompts))
        answers.append((prompt, answer))
        return len(answers) - 1

    if judgement_kinds_in(file) == {"ratings"}:
        marks = read_ratings(file).records[:most]
        good = [add(r.prompt, r.answer) for r in marks if r.score > 0.5]
        bad = [add(r.prompt, r.answer) for r in marks if r.score < 0.5]
        folds = [prompts[repr(prompt)] % FOLDS for prompt, _ in answers]
        crossed = [(a, b) for a in good for b in bad if folds[a] == folds[b]]
        return Judged(answers, crossed[:: -(-len(crossed) // MOST_PAIRS)], folds)
    for one in read_preferences(file).records[:most]:
        if one.label != 0.5:
            sides = (one.chosen, one.rejected) if one.label > 0.5 else (one.rejected, one.chosen)
            pairs.append((add(one.prompt, sides[0]), add(one.prompt, sides[1])))
    return Judged(answers, pairs, [prompts[repr(prompt)] % FOLDS for prompt, _ in answers])


def kept_features(answers: Sequence[Answered], path: Path, read: Callable[[Sequence[Answered]], Tensor]) -> Tensor:
    """Read the features of all answers in chunks, each kept in a file, so that a part that was ended goes on."""
    path.mkdir(parents=True, exist_ok=True)
    found = []
    for start in range(0, len(answers), CHUNK):
        file = path / f"{start:05}.pt"
        if not file.exists():
            torch.save(read(answers[start : start + CHUNK]), file.with_suffix(".part"))
            file.with_suffix(".part").rename(file)
        found.append(torch.load(file, weights_only=True))
    return torch.cat(found)


def rows_of(name: str, judged: Judged, features: Tensor, seed: int) -> Iterator[Row]:
    """Rows of one file: the bag of words, one head, and the heads together."""
    numbers = {repr(prompt): number for number, (prompt, _) in enumerate(judged.answers)}
    texts = texts_of(judged)
    sizes = list(map(len, texts))
    compared = [Compared(sizes[a] - sizes[b], numbers[repr(judged.answers[a][0])]) for a, b in judged.pairs]
    words = np.asarray(words_scores(judged, texts))
    heads = head_scores(judged, features, seed)
    yield from told(f"{name}: a bag of words", words, judged, compared, seed)
    yield from told(f"{name}: a head on the frozen model", heads[0], judged, compared, seed)
    flat = np.stack([row[[i for pair in judged.pairs for i in pair]] for row in heads])
    found = ensemble_figures(flat, compared)
    for how in ENSEMBLES:
        combined = ensemble(heads, how)
        scaled = combined / temperature_of(combined, judged)
        error = figures_of(gaps_of(scaled, judged), compared)["calibration_error"]
        yield Row(f"{name}: {HEADS} heads, {how}: accuracy", "any", 100 * found[f"accuracy_{how}"], True, "%", (seed,))
        yield Row(
            f"{name}: {HEADS} heads, {how}: calibration error, its temperature fitted to all",
            "any",
            error,
            True,
            "",
            (seed,),
        )


def told(name: str, scores: np.ndarray, judged: Judged, compared: Sequence[Compared], seed: int) -> Iterator[Row]:
    """Rows of one scorer: accuracy, calibration and accuracy by length."""
    found = figures_of(gaps_of(scores, judged), compared)
    count = len(judged.pairs)
    bounds = wilson(round(found["accuracy"] * count), count)
    interval = f"95% {bounds.low:.0%} to {bounds.high:.0%}" if len(judged.answers) == 2 * count else "crossed marks"
    yield Row(
        f"{name}: accuracy of {count:,} comparisons ({interval})", "any", 100 * found["accuracy"], True, "%", (seed,)
    )
    before, after = found["calibration_error_before"], found["calibration_error_after"]
    yield Row(f"{name}: calibration error", "any", found["calibration_error"], True, "", (seed,))
    temperature = f"temperature {found['temperature']:.2f}"
    yield Row(
        f"{name}: calibration error on the half to which {temperature} is not fitted (before: {before:.3f})",
        "any", after, True, "", (seed,),
    )  # fmt: skip
    for third in (1, 2, 3):
        low, high = found[f"third_{third}_from"], found[f"third_{third}_to"]
        yield Row(
            f"{name}: accuracy where the better answer is longer by {low:+,.0f} to {high:+,.0f} signs",
            "any", 100 * found[f"third_{third}_accuracy"], True, "%", (seed,),
        )  # fmt: skip


def gaps_of(scores: np.ndarray, judged: Judged) -> list[float]:
    """The scores of better answers less those of the others."""
    return [float(scores[a] - scores[b]) for a, b in judged.pairs]


def temperature_of(scores: np.ndarray, judged: Judged) -> float:
    """One temperature for all comparisons, as the ensembles have a scale of their own."""
    return fit_temperature(np.asarray(gaps_of(scores, judged)))


def texts_of(judged: Judged) -> list[str]:
    """The texts of all answers."""
    return ["\n".join(m.text for m in answer if m.role == "assistant") for _, answer in judged.answers]


def words_scores(judged: Judged, texts: Sequence[str]) -> list[float]:
    """The bag of words' score of each answer, fitted to the other folds."""
    scores = [0.0] * len(texts)
    for fold in range(FOLDS):
        learned = [pair for pair in judged.pairs if judged.folds[pair[0]] != fold]
        bag = fit_bag_of_words([texts[a] for a, _ in learned], [texts[b] for _, b in learned], [a for a, _ in learned])
        for number, text in enumerate(texts):
            if judged.folds[number] == fold:
                scores[number] = bag.score(text)
    return scores


def head_scores(judged: Judged, features: Tensor, seed: int) -> np.ndarray:
    """The scores (heads, answers) of heads fitted to the other folds: the first to all comparisons."""
    scores = np.zeros((HEADS, len(judged.answers)))
    for fold in range(FOLDS):
        learned = [pair for pair in judged.pairs if judged.folds[pair[0]] != fold]
        held = [number for number, of in enumerate(judged.folds) if of == fold]
        for number in range(HEADS):
            dice = np.random.default_rng(derive_seed(seed, "head", number, fold))
            # parts without repetitions, which would be on both sides of the cross-validation of the penalty
            size = len(learned) if number == 0 else round(SHARE * len(learned))
            drawn = dice.permutation(len(learned))[:size]
            head = fit(features, [learned[i] for i in drawn], derive_seed(seed, number))
            told = head.score(features[held]).numpy()
            # only differences mean something, so the least of several heads needs one zero for all
            scores[number, held] = told - told.mean()
    return scores
