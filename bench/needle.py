"""A needle in a haystack: what a model finds at every depth of a text, at the length it was trained on and far beyond.

The text is our own: filler, in which sentences such as "The secret number of Kamar: 4 8 2 ." lie at random depths, and at its
end the questions. A small model learns to answer them at one length; then its positions are extended by YaRN, without any
training at the new length and after a little, and it is asked again. The control is the same model told nothing of the
new length. One word is one token, and a number is found when each of its digits is the likeliest token.

`python -m bench.needle`, from the root of the repository; with the same --folder a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from jielong.data.batches import pad_rows
from jielong.data.steps import PackedChats
from jielong.model import hf
from jielong.model.transformer import LanguageModel, ModelConfig, fresh_language_model
from jielong.runs import derive_seed
from jielong.tokens.chat import Rendered
from jielong.train.loop import Loop, LoopConfig, Progress
from jielong.train.machine import measure_machine
from jielong.train.objectives.next_token import NextToken
from jielong.train.optim import Optimizer, OptimizerConfig

DEPTHS, DIGITS = 10, 3
STATEMENT, QUESTION = "The secret number of {}", "Once more , the secret number of {}"
# The colon belongs to the name: with a word between name and number, 600 steps were not enough to learn the skill.
NAMES = [a + b + ":" for a in "Ba Da Fe Ga Ho Ji Ka Lu".split() for b in "lin mar nas tho".split()]
FILLER = [
    "the river runs past the old mill and the road goes on to the town .",
    "in the morning the market opens and people buy bread and fish and flowers .",
    "a boat comes in from the sea with salt on its ropes .",
    "she reads a long letter by the window while the rain falls .",
    "the children play a game with a red ball behind the school .",
    "he walks up the hill and sees the whole valley under snow .",
    "trains leave every hour from the small station near the bridge .",
    "an owl sits in the tall tree and waits for the night .",
]
SAID = " ".join([*FILLER, STATEMENT, QUESTION]).replace("{}", "").split()
WORDS = ["<end>", "<pad>", *sorted({*SAID}), *"0123456789", *NAMES]
IDS = {word: i for i, word in enumerate(WORDS)}
ROOM = len(f"{STATEMENT} {QUESTION} . .".split()) + 2 * DIGITS
"""Words that one needle and its question take."""


def haystack(length: int, depths: Sequence[float], asked: Sequence[int], rng: np.random.Generator) -> Rendered:
    """`length` words with a needle at each of `depths`, 0 the beginning and 1 just before the questions.

    `asked` says which needles the questions are for, one after the other; what is trained are the digits of the answers.
    """
    names = rng.choice(NAMES, len(depths), replace=False)
    numbers = [" ".join(map(str, rng.integers(0, 10, DIGITS))) for _ in depths]
    pairs = list(zip(names, numbers, strict=True))
    needles = [f"{STATEMENT.format(name)} {number} .".split() for name, number in pairs]
    questions = " ".join(f"{QUESTION.format(pairs[i][0])} {pairs[i][1]} ." for i in asked).split()
    room = length - len(questions) - sum(map(len, needles))
    assert room >= 0, (length, depths)
    filler: list[str] = []
    while len(filler) < room:
        filler += FILLER[rng.integers(len(FILLER))].split()
    words: list[str] = []
    start = 0
    for i in np.argsort(depths, kind="stable"):
        end = round(depths[i] * room)
        words += filler[start:end] + needles[i]
        start = end
    words += filler[start:room]
    trained = [False] * len(words) + [word.isdigit() for word in questions]
    return Rendered(tuple(IDS[word] for word in [*words, *questions]), tuple(trained))


@dataclass(frozen=True)
class Course:
    """So many steps of `rows` rows of `length` words with `needles` in each, at peak rates times `rate`."""

    length: int
    needles: int
    steps: int
    rows: int
    rate: float = 1.0

    def data(self, seed: int) -> list[Rendered]:
        """All rows of all steps, needles at random depths."""
        made = []
        for i in range(self.steps * self.rows):
            rng = np.random.default_rng(derive_seed(seed, "row", self.length, i))
            # some twice and some never: where each is asked once, a model learns to say what it has not said yet
            asked = rng.integers(self.needles, size=self.needles).tolist()
            made.append(haystack(self.length, rng.random(self.needles).tolist(), asked, rng))
        return made


@torch.no_grad()
def found(model: LanguageModel, length: int, trials: int, seed: int) -> list[float]:
    """Of `trials` needles at each of ten depths, the share whose number is found."""
    groups = -(-DEPTHS // max(1, min(DEPTHS, length // (2 * ROOM))))
    right = [0.0] * DEPTHS
    for trial in range(trials):
        rng = np.random.default_rng(derive_seed(seed, "asked", length, trial))
        for group in range(groups):
            asked = list(range(group, DEPTHS, groups))
            row = haystack(length, [(i + 0.5) / DEPTHS for i in asked], range(len(asked)), rng)
            batch = pad_rows([row])
            is_digit = batch.weights != 0
            hidden = model(batch.inputs, batch.positions, batch.segments)[is_digit]
            is_right = (model.logits(hidden).argmax(-1) == batch.targets[is_digit]).view(-1, DIGITS).all(1)
            for depth, one in zip(asked, is_right.tolist(), strict=True):
                right[depth] += one / trials
    return right


@dataclass(frozen=True)
class Plan:
    """`shape` learns `courses` one after the other, is asked at the last one's length, and again at each of `further`.

    A course of `further` is what it learns there after YaRN, once it was asked without.
    """

    shape: ModelConfig
    courses: tuple[Course, ...]
    further: tuple[Course, ...]
    trials: int = 10


def shape(width: int) -> ModelConfig:
    return ModelConfig(
        vocab_size=-(-len(WORDS) // 64) * 64,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=4,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
        # only digits are trained: a tied head would push all names down alike
        tie_word_embeddings=False,
    )


PLANS = {
    "default": Plan(
        shape(128),
        # the skill is learned fastest in short rows full of needles
        (Course(128, 4, 400, 16), Course(1024, 24, 100, 4, rate=0.5)),
        (Course(4096, 32, 30, 2, rate=0.2), Course(16_384, 32, 15, 1, rate=0.2)),
    ),
    "small": Plan(
        shape(128),
        (Course(128, 4, 400, 16), Course(256, 8, 60, 8, rate=0.5)),
        (Course(1024, 24, 30, 2, rate=0.2), Course(4096, 32, 8, 1, rate=0.2)),
        trials=5,
    ),
    "quick": Plan(
        shape(64),
        (Course(64, 2, 3, 4), Course(96, 2, 2, 2)),
        (Course(192, 2, 2, 2), Course(384, 4, 1, 1)),
        trials=1,
    ),
}


def learn(model: LanguageModel, course: Course, folder: Path, seed: int) -> None:
    """Take `model` through the course, or up to where it was; its state lies in `folder`."""
    source = PackedChats(
        course.data(seed),
        length=course.length,
        rows_per_step=course.rows,
        micro_rows=max(1, min(course.rows, 8192 // course.length)),
        seed=seed,
    )
    optimizer = OptimizerConfig(
        name="muon", lr=2e-3 * course.rate, muon_lr=0.006 * course.rate, warmup_steps=min(30, course.steps // 3 + 1)
    )

    def save(module: nn.Module, path: Path) -> None:
        hf.save(cast(LanguageModel, module), path, eos_token_id=0, pad_token_id=1)

    def say(p: Progress) -> None:
        if p.step % max(1, p.steps // 5) == 0:
            print(f"  {p.step} of {p.steps} steps, loss {p.loss:.3f}, {p.tokens_per_s:,.0f} tokens/s", flush=True)

    Loop(
        {"policy": model},
        {"policy": Optimizer(model, optimizer, model.model.compute_dtype)},
        source,
        NextToken(),
        LoopConfig(steps=course.steps),
        folder,
        save,
        report=say,
    ).run()


def for_length(model: LanguageModel, config: ModelConfig, dtype: torch.dtype) -> LanguageModel:
    """The same weights in a shape that differs in its positions."""
    other = LanguageModel(config)
    other.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()})
    other.model.compute_dtype = dtype
    return other


def measure(plan: Plan, folder: Path, dtype: torch.dtype, seed: int = 0) -> dict[str, list[float]]:
    """For each column of the table, the share found at each depth."""
    began_s = time.perf_counter()
    columns: dict[str, list[float]] = {}

    def say(text: str) -> None:
        print(f"[{time.perf_counter() - began_s:4.0f} s] {text}", flush=True)

    def ask(name: str, model: LanguageModel, length: int) -> None:
        columns[name] = found(model, length, plan.trials, seed)
        say(f"{name}: {np.mean(columns[name]):.0%} found")

    trained = plan.courses[-1].length
    model = fresh_language_model(replace(plan.shape, max_position_embeddings=trained), seed)
    model.model.compute_dtype = dtype
    for course in plan.courses:
        say(f"learning at {course.length:,} words")
        learn(model, course, folder / f"trained-{course.length}", seed)
    ask(f"{trained:,}", model, trained)
    for course in plan.further:
        length = course.length
        ask(
            f"{length:,} as it is",
            for_length(model, replace(model.config, max_position_embeddings=length), dtype),
            length,
        )
        extended = for_length(model, model.config.extended(length), dtype)
        ask(f"{length:,} YaRN", extended, length)
        say(f"learning at {length:,} words")
        learn(extended, course, folder / f"extended-{length}", seed)
        ask(f"{length:,} YaRN, {course.steps} steps", extended, length)
    return columns


def table(columns: dict[str, list[float]]) -> str:
    lines = [["depth", *columns], ["---"] * (len(columns) + 1)]
    lines += [[f"{(i + 0.5) / DEPTHS:.0%}", *(f"{c[i]:.0%}" for c in columns.values())] for i in range(DEPTHS)]
    lines.append(["all", *(f"{np.mean(c):.0%}" for c in columns.values())])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.needle", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--size", choices=("default", "small"), default="default", help="small: 256 to 4,096 words")
    parser.add_argument("--quick", action="store_true", help="a few steps: only shows that all of it runs")
    parser.add_argument("--folder", type=Path, help="where checkpoints go, to go on from (default: a temporary one)")
    parser.add_argument("--threads", type=int, default=0, help="default: as torch picks")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    name = "quick" if options.quick else options.size
    with tempfile.TemporaryDirectory(prefix="jielong-needle-") as temporary:
        folder = (options.folder or Path(temporary)) / f"{name}-{options.seed}"
        columns = measure(PLANS[name], folder, measure_machine().torch_dtype, options.seed)
    print("\n" + table(columns))
    return 0


if __name__ == "__main__":
    sys.exit(main())
