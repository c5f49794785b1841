"""Fit the forest that finds main content, and measure it on domains that it was not fitted to.

`python -m bench.refinery.fitting --wcxb DIR` writes src/jielong/data/content/content.npz; with --folds 4 it is measured
only. LightGBM must be installed; `bench.refinery extraction` brings an environment with it.

A block's label is the share of its words that stand in the truth in the same order.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.environments import ROOT
from bench.refinery.wcxb import LabelledPage, f1, read_pages, words
from jielong.data.content.choosing import best_blocks
from jielong.data.content.forest import FILE, Forest, pack
from jielong.data.content.measures import Floats, Measured
from jielong.data.content.page import Page, read_page

SETTINGS = {
    "objective": "cross_entropy",
    "num_leaves": 31,
    "max_depth": 8,
    "learning_rate": 0.12,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "min_data_in_leaf": 40,
    "lambda_l2": 5.0,
    "max_bin": 63,
    "verbose": -1,
    "num_threads": 2,
    "deterministic": True,
    "seed": 0,
}
ROUNDS = 120


@dataclass(frozen=True)
class Example:
    """The blocks of a page with their labels and weights."""

    page: LabelledPage
    texts: list[list[str]]
    matrix: Floats
    lengths: Floats
    labels: Floats
    weights: Floats


def labels_of(page: Page, truth: str) -> list[float]:
    """Return for each block the share of its words that are in the truth: as a whole line, or in runs of three."""
    wanted = words(truth)
    runs, pairs = set(zip(wanted, wanted[1:], wanted[2:], strict=False)), set(itertools.pairwise(wanted))
    lines = {" ".join(words(line)) for line in truth.split("\n")}
    found = []
    for block in page.blocks:
        mine = words(block.text)
        if mine and " ".join(mine) in lines:
            found.append(1.0)
        elif len(mine) < 3:
            # two words that follow each other there are likely, and one is no evidence
            found.append(0.7 if len(mine) == 2 and tuple(mine) in pairs else 0.0)
        else:
            hit = [False] * len(mine)
            for at in range(len(mine) - 2):
                if (mine[at], mine[at + 1], mine[at + 2]) in runs:
                    hit[at : at + 3] = [True] * 3
            found.append(sum(hit) / len(mine))
    return found


def example_of(labelled: LabelledPage) -> tuple[Example | None, tuple[str, ...]]:
    """Measure a page; None for one without text. A block weighs what it changes in the F1 of its page."""
    page = read_page(labelled.html)
    if not page.blocks:
        return None, ()
    measured = Measured(page)
    lengths = measured.words
    weights = np.minimum(1, (lengths + 0.3) / max(len(words(labelled.truth)), 30, 0.15 * float(lengths.sum())))
    labels = np.array(labels_of(page, labelled.truth), dtype=np.float32)
    texts = [words(b.text) for b in page.blocks]
    return Example(labelled, texts, measured.matrix, lengths, labels, weights), tuple(measured.names)


def fit(examples: Sequence[Example], names: tuple[str, ...], rounds: int) -> Forest:
    """Fit a forest to the blocks of these pages."""
    import lightgbm  # type: ignore[import-not-found, unused-ignore]

    data = lightgbm.Dataset(
        np.concatenate([e.matrix for e in examples]),
        np.concatenate([e.labels for e in examples]),
        weight=np.concatenate([e.weights for e in examples]),
    )
    model = lightgbm.train(SETTINGS, data, rounds)
    return pack(model.dump_model()["tree_info"], names)


def score(forest: Forest, example: Example) -> float:
    """Return the F1 of the blocks that are chosen."""
    kept, _ = best_blocks(forest.probabilities(example.matrix), example.lengths)
    found = [word for is_kept, some in zip(kept, example.texts, strict=True) if is_kept for word in some]
    return f1(found, words(example.page.truth))


def cross_validate(
    examples: Sequence[Example], without_text: Sequence[LabelledPage], names: tuple[str, ...], folds: int, rounds: int
) -> dict[str, float]:
    """Return the F1 of each page, by its number, from a forest that has seen no page of its domain."""
    scores = {page.id: 0.0 if page.truth else 1.0 for page in without_text}
    for fold in range(folds):
        seen = [e for e in examples if e.page.fold(folds) != fold]
        forest = fit(seen, names, rounds)
        for example in examples:
            if example.page.fold(folds) == fold:
                scores[example.page.id] = score(forest, example)
    return scores


def save(forest: Forest, path: Path) -> None:
    arrays: dict[str, Any] = {n: getattr(forest, n) for n in ("feature", "threshold", "left", "right", "leaves")}
    np.savez_compressed(path, names="\n".join(forest.names), depth=forest.depth, **arrays)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.refinery.fitting", description=__doc__)
    parser.add_argument("--wcxb", type=Path, required=True, metavar="DIR")
    parser.add_argument("--folds", type=int, default=0, help="measure by so many parts of the domains; fit no other")
    parser.add_argument(
        "--out", type=Path, default=Path("folds.json"), help="of --folds, the F1 of each page by its number"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"trees (default: {ROUNDS})")
    chosen = parser.parse_args()
    examples, without_text, names = [], [], ()
    began_s = time.process_time()
    for page in read_pages(chosen.wcxb):
        example, found = example_of(page)
        names = names or found
        if example is None:
            without_text.append(page)
        else:
            examples.append(example)
    blocks = sum(len(e.labels) for e in examples)
    print(f"{len(examples)} pages, {blocks} blocks, {len(names)} measures, {time.process_time() - began_s:.0f} s")
    if chosen.folds:
        scores = cross_validate(examples, without_text, names, chosen.folds, chosen.rounds)
        chosen.out.write_text(json.dumps(scores))
        return
    path = ROOT / "src" / "jielong" / "data" / "content" / FILE
    save(fit(examples, names, chosen.rounds), path)
    print(f"{path}: {path.stat().st_size:,} bytes; kinds {dict(Counter(e.page.kind for e in examples))}")


if __name__ == "__main__":
    main()
