"""Which calls does a model label for itself, are they the right ones, and what does the loss gain?

`python -m bench.strategies.self_label` takes questions of the world of sums with their answers as plain texts, half of which
need the calculator and half hold numbers without needing it. The model proposes calls (few-shot, `use.self_label`), and
those that help are kept. True is a call right before the answer whose value is the answer. The control judges the same
calls with a wrong result. The texts with kept calls, and those that got none, are written as conversations for
`jielong adapt MODEL --chat FILE`; and the model, adapted or not, is asked held-out questions without any example.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

from bench.environments import Unavailable
from bench.strategies.command import main
from bench.strategies.line import Beside, Line, Wanted, shares
from bench.strategies.setting import Part, Result, Setting
from jielong.evaluate.calls import Call, CallQuestion, measure_calls
from jielong.records import Conversation, Message, Sampling, to_dict
from jielong.runs import canonical_json, write_text
from jielong.use.port import Options, Scores
from jielong.use.self_label import (
    BEFORE_NUMBERS,
    InlineCall,
    Labeller,
    Labelling,
    best_calls,
    inline,
    inline_calls,
    propose,
    weigh,
)
from jielong.use.tools.calculator import CALCULATOR
from jielong.worlds.sums.items import LANGS, Item, questions_of
from jielong.worlds.sums.items import Part as Split

THRESHOLD = 1.0
"""Nats that a call must gain to be kept."""
AT_ONCE = 8
"""Texts of one part."""


@dataclass(frozen=True)
class Labelled:
    """A text, where its answer begins, and the calls that were proposed, judged with their results and with wrong ones."""

    item: Item
    text: str
    at: int
    calls: Sequence[InlineCall]
    wrong: Sequence[InlineCall]

    def is_true(self, call: InlineCall) -> bool:
        return bool(self.item.call) and call.result == self.item.answer and call.at == self.at

    def talk(self, threshold: float) -> Conversation:
        """The question, and the reply with the calls in it that are kept."""
        kept = [c for c in best_calls(self.calls, threshold) if c.at >= len(self.item.question)]
        reply = inline(self.text, kept, CALCULATOR).removeprefix(self.item.question).strip()
        return Conversation((Message("user", self.item.question), Message("assistant", reply)))


def texts(num: int, seed: int, part: Split = "train") -> list[tuple[Item, str, int]]:
    """`num` texts, half of them with something to compute, half of each in Chinese, and where the answer of each begins."""
    made = list[tuple[Item, str, int]]()
    for kind, share in (("plain", 8), ("story", 8), ("numbers", 4)):
        for lang in LANGS:
            for item in questions_of(kind, lang, part, num // share, seed):
                blank = " " if lang == "en" else ""
                text = f"{item.question}{blank}{item.reply}"
                reply_at = len(item.question) + len(blank)
                at = reply_at + item.reply.rfind(item.answer) if item.call else reply_at
                made.append((item, text, at - (text[at - 1] == " ")))
    return made


async def labelled(port: Labeller, some: Sequence[tuple[Item, str, int]], how: Labelling) -> list[Labelled]:
    found = []
    for item, text, place in some:
        proposed = await propose(text, port, CALCULATOR, how)
        calls = [await weigh(text, call, port, CALCULATOR) for call in proposed]
        wrong = [await weigh(text, replace(c, result=f"{len(c.result)}{c.result}"), port, CALCULATOR) for c in proposed]
        found.append(Labelled(item, text, place, calls, wrong))
    return found


def lines(found: Sequence[Labelled]) -> list[Line]:
    """What was proposed and what of it was kept."""
    proposed = [(one, call) for one in found for call in one.calls]
    kept = [(one, call) for one in found for call in best_calls(one.calls, THRESHOLD)]
    needing = [one for one in found if one.item.call]
    passed = shares(call.gain >= THRESHOLD for _, call in proposed)
    wrong = shares(call.gain >= THRESHOLD for one in found for call in one.wrong)
    return [
        Line("proposed calls that are true", shares(one.is_true(call) for one, call in proposed)),
        Line("kept calls that are true", shares(one.is_true(call) for one, call in kept)),
        Line(
            f"proposed calls that gain {THRESHOLD:g} nat",
            passed,
            Wanted("more"),
            Beside("the same with a wrong result", wrong),
        ),
        Line(
            "texts that need a call and got the true one",
            shares(any(one.is_true(c) for c in best_calls(one.calls, THRESHOLD)) for one in needing),
        ),
    ]


async def _labelled(at: Setting, some: Sequence[tuple[Item, str, int]], file: Path) -> list[Line]:
    port = at.port
    if not isinstance(port, Scores):
        raise Unavailable("calls are judged by log-probabilities of given texts, and servers do not say them")
    how = Labelling(BEFORE_NUMBERS, threshold=THRESHOLD, seed=at.seed)
    found = await labelled(cast(Labeller, port), some, how)
    write_text(file, "".join(canonical_json(to_dict(one.talk(THRESHOLD))) + "\n" for one in found))
    return lines(found)


async def _asked(at: Setting, num: int) -> list[Line]:
    """How the model calls by itself, in the middle of its answers, on held-out questions."""
    options = Options(Sampling(max_tokens=48, temperature=0.0, stop=("→", "\n")))

    async def caller(question: str) -> Sequence[Call]:
        answer = await at.port.ask(Conversation((Message("user", question),)), options)
        return inline_calls(answer.text, CALCULATOR)

    items = [item for item, _, _ in texts(num, at.seed, "test")]
    report = await measure_calls([CallQuestion(i.question, i.call) for i in items], caller)
    called = [True] * report.right + [False] * (report.wrong + report.missed)
    quiet = [True] * report.quiet + [False] * report.false
    return [
        Line("asked without examples: the right call", shares(called)),
        Line("asked without examples: no call where none is needed", shares(quiet)),
    ]


async def measure(at: Setting) -> Result:
    num = max(8, at.num(80, 8))
    some = texts(num, at.seed)
    parts: list[Part] = []
    files: list[Path] = []
    for start in range(0, len(some), AT_ONCE):
        files.append(at.folder / f"talks-{start}.jsonl")
        work = partial(_labelled, at, some[start : start + AT_ONCE], files[-1])
        parts.append(await at.part(f"texts from {start}", work))
    write_text(at.folder / "talks.jsonl", "".join(file.read_text(encoding="utf-8") for file in files))
    parts.append(await at.part("asked", partial(_asked, at, num)))
    return at.result(parts)


if __name__ == "__main__":
    sys.exit(main({"self_label": measure}))
