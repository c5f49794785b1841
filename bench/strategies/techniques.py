"""What techniques gain on a real model: `python -m bench.strategies.techniques MODEL --task sums --questions 60`.

Every technique answers the same questions. Beside its accuracy stand its cost (calls, tokens read and written, seconds a
question), the answers it turned wrong and right against asking once, and two paired tests: against asking once, and
against a plain vote of as many samples as cost the same tokens. Holm's correction covers all tests of a table. A null
result is a result.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jielong.cli.ports import MODEL_HELP, open_port
from jielong.evaluate.statistics import holm, mcnemar
from jielong.records import Conversation, Message, Sample, Sampling, Score
from jielong.runs import derive_seed, write_json
from jielong.use.answers import is_same
from jielong.use.examples import Example, read_examples
from jielong.use.port import Ask, Options
from jielong.use.strategies import named
from jielong.use.strategies.prompts import spells
from jielong.use.strategies.vote import most_say
from jielong.use.strategy import Outcome, run

DRAWS = 24
"""Samples for the votes of equal tokens."""


def _gives_answer(text: str, asked: Example) -> bool:
    return is_same(text, asked.answer)


@dataclass(frozen=True)
class Task:
    """Questions, and what every technique is put before: `base` is a strategy, such as few-shot."""

    name: str
    questions: tuple[Example, ...]
    base: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    max_tokens: int = 48
    is_right: Callable[[str, Example], bool] = _gives_answer


def sums(count: int, seed: int) -> Task:
    """a + b <= 29 after six examples, which are not among the questions."""
    pairs = [(a, b) for a in range(30) for b in range(30 - a)]
    random.Random(derive_seed(seed, "sums")).shuffle(pairs)
    shots = tuple(Example(f"What is {a} + {b}?", f"{a} + {b} = {a + b}") for a, b in pairs[:6])
    asked = tuple(Example(f"What is {a} + {b}?", str(a + b)) for a, b in pairs[6 : 6 + count])
    return Task(f"a + b <= 29, six shots, {len(asked)} questions", asked, "few-shot", {"examples": shots})


def capitals(count: int, seed: int, lang: str = "en") -> Task:
    """The capitals of countries, out of the model's memory."""
    from jielong.worlds.atlas.facts import load_countries

    countries = list(load_countries())
    random.Random(derive_seed(seed, "capitals")).shuffle(countries)
    form = "{}的首都是哪里？" if lang == "zh" else "What is the capital of {}?"
    asked = tuple(Example(form.format(c.mention(lang)), c.capital[lang]) for c in countries[:count])
    return Task(f"capitals ({lang}), {len(asked)} questions", asked)


def own(path: Path, count: int) -> Task:
    questions = read_examples(path)[:count]
    return Task(f"{path.name}, {len(questions)} questions", questions)


def verifier(items: Sequence[tuple[Any, Conversation, Sample]]) -> list[Score]:
    """A program that knows the right answer, which is the item."""
    return [Score(float(is_same(conversation.messages[-1].text, item))) for item, conversation, _ in items]


Technique = tuple[str, Mapping[str, Any]]
VERIFIED: Mapping[str, Any] = {"scorer": verifier}
TECHNIQUES: dict[str, Technique] = {
    "vote of 3": ("vote:3", {}),
    "vote of 9": ("vote:9", {}),
    "best of 3, verifier": ("best-of:3", VERIFIED),
    "best of 5, verifier": ("best-of:5", VERIFIED),
    "best of 9, verifier": ("best-of:9", VERIFIED),
    "check, 9 tries, verifier": ("check:9", VERIFIED),
    "best of 9, itself": ("best-of:9", {}),
    "check, 3 tries, itself": ("check:3", {}),
    "reflect": ("reflect", {}),
    "think": ("think", {}),
    "explain": ("explain", {}),
    "decompose": ("decompose", {}),
    "debate": ("debate", {}),
    "discuss": ("discuss", {}),
    "dera": ("dera", {}),
    "team": ("team", {}),
    **{f"spell {name}": (f"spell:{name}", {}) for name in spells()},
}


@dataclass(frozen=True)
class Row:
    """One technique on all questions; costs are means over the questions, `seconds` of the clock."""

    name: str
    right: tuple[bool, ...]
    calls: float
    read: float
    written: float
    seconds: float

    @property
    def tokens(self) -> float:
        return self.read + self.written


async def answer_all(
    spec: str, given: Mapping[str, Any], task: Task, ask: Ask, seed: int
) -> tuple[list[Outcome], float]:
    """What the strategy gives for each question, all at the same time, and the seconds it took."""
    strategy = named("+".join(filter(None, (spec, task.base))) or "direct", {**task.given, **given})
    options = Options(Sampling(max_tokens=task.max_tokens, temperature=0.0), seed)
    asked = [
        run(strategy, Conversation((Message("user", q.question),), {"item": q.answer}), ask, options)
        for q in task.questions
    ]
    start_s = time.monotonic()
    return list(await asyncio.gather(*asked)), time.monotonic() - start_s


def row(name: str, made: Sequence[Outcome], seconds: float, task: Task) -> Row:
    count = len(made)
    return Row(
        name,
        tuple(task.is_right(o.answer.text, q) for o, q in zip(made, task.questions, strict=True)),
        sum(o.usage.calls for o in made) / count,
        sum(o.usage.prompt_tokens for o in made) / count,
        sum(o.usage.completion_tokens for o in made) / count,
        seconds / count,
    )


def equal_votes(draws: Sequence[Outcome], tokens: float, task: Task) -> tuple[int, tuple[bool, ...]]:
    """How many samples cost about `tokens` a question, and whether a vote of so many is right."""
    each = sum(o.usage.tokens for o in draws) / sum(len(o.calls) for o in draws)
    n = min(DRAWS, max(1, round(tokens / each)))
    winners = [most_say([call.answer for call in o.calls[:n]]) for o in draws]
    return n, tuple(task.is_right(w.text, q) for w, q in zip(winners, task.questions, strict=True))


def table(rows: Sequence[Row], votes: Sequence[tuple[int, tuple[bool, ...]]]) -> str:
    """Markdown; the first row is asking once, to which the others are compared. `votes` are the votes of equal tokens."""
    once, others = rows[0], rows[1:]
    ps = [mcnemar(r.right, once.right) for r in others]
    ps += [mcnemar(r.right, right) for r, (_, right) in zip(others, votes, strict=True)]
    corrected = holm(ps)
    lines = [
        "| technique | right | wrong->right, right->wrong | p | vote of equal tokens | p | calls | tokens | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
        f"| {once.name} | {_share(once.right)} | | | | | {once.calls:.1f} | {once.tokens:.0f} | {once.seconds:.2f} |",
    ]
    for number, (r, (n, right)) in enumerate(zip(others, votes, strict=True)):
        gained = sum(a and not b for a, b in zip(r.right, once.right, strict=True))
        lost = sum(b and not a for a, b in zip(r.right, once.right, strict=True))
        lines.append(
            f"| {r.name} | {_share(r.right)} | {gained}, {lost} | {corrected[number]:.2g} | "
            f"{_share(right)} (of {n}) | {corrected[len(others) + number]:.2g} | "
            f"{r.calls:.1f} | {r.tokens:.0f} | {r.seconds:.2f} |"
        )
    return "\n".join(lines)


def _share(right: Sequence[bool]) -> str:
    return f"{sum(right) / len(right):.0%}"


async def measure(
    task: Task, ask: Ask, techniques: Mapping[str, Technique], seed: int
) -> tuple[list[Row], list[tuple[int, tuple[bool, ...]]]]:
    """The row of asking once and one for each technique, and for each technique the vote of equal tokens."""
    rows = [row("ask once", *await answer_all("", {}, task, ask, seed), task)]
    draws, _ = await answer_all(f"vote:{DRAWS}", {}, task, ask, derive_seed(seed, "equal"))
    votes = []
    for name, (spec, given) in techniques.items():
        rows.append(row(name, *await answer_all(spec, given, task, ask, seed), task))
        votes.append(equal_votes(draws, rows[-1].tokens, task))
        print(f"{name}: {_share(rows[-1].right)}", flush=True)
    return rows, votes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help=MODEL_HELP)
    parser.add_argument("--task", default="sums", help="sums, capitals, capitals-zh, or a JSONL file of questions")
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--only", nargs="*", choices=list(TECHNIQUES), default=list(TECHNIQUES), metavar="TECHNIQUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write every row to this JSON file")
    arguments = parser.parse_args()
    if arguments.task == "sums":
        task = sums(arguments.questions, arguments.seed)
    elif arguments.task.startswith("capitals"):
        lang = "zh" if arguments.task.endswith("-zh") else "en"
        task = capitals(arguments.questions, arguments.seed, lang)
    else:
        task = own(Path(arguments.task), arguments.questions)
    show(task, {name: TECHNIQUES[name] for name in arguments.only}, arguments.model, arguments.seed, arguments.out)


def show(task: Task, techniques: Mapping[str, Technique], model: str, seed: int, out: Path | None = None) -> None:
    """Measure the techniques on a model, print the table, and write its rows to the JSON file `out`."""
    port = open_port(model)

    async def work() -> tuple[list[Row], list[tuple[int, tuple[bool, ...]]]]:
        try:
            return await measure(task, port.ask, techniques, seed)
        finally:
            await port.close()

    rows, votes = asyncio.run(work())
    print(f"\n{task.name}; model {port.name}; seed {seed}\n\n{table(rows, votes)}")
    if out:
        write_json(out, {"task": task.name, "seed": seed, "rows": [vars(r) for r in rows]})


if __name__ == "__main__":
    main()
