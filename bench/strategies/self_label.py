"""Which calls does a model label for itself, are they the right ones, and what does the loss gain?

`python -m bench.strategies.self_label MODEL` takes questions of the world of sums with their answers as plain texts, half of
which need the calculator and half hold numbers without needing it. The model proposes calls (few-shot, `use.self_label`),
and those that help are kept. True is a call right before the answer whose value is the answer. The control judges the
same calls with a wrong result. `--out FILE` writes the texts with kept calls, and those that got none, as conversations
for `jielong adapt MODEL --chat FILE`; with `--ask N` a model, adapted or not, is asked N held-out questions, without any example,
and its calls are counted.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from jielong.cli.ports import open_port
from jielong.evaluate.calls import Call, CallQuestion, measure_calls
from jielong.records import Conversation, Message, Sampling, to_dict
from jielong.runs import canonical_json, write_text
from jielong.use.port import Options, Port
from jielong.use.self_label import (
    BEFORE_NUMBERS,
    InlineCall,
    Labeller,
    Labelling,
    best_calls,
    inline,
    inline_calls,
    judge,
    propose,
)
from jielong.use.tools.calculator import CALCULATOR
from jielong.worlds.sums.items import LANGS, Item, Part, questions_of


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


def texts(num: int, seed: int, part: Part = "train") -> list[tuple[Item, str, int]]:
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


async def labelled(port: Labeller, num: int, how: Labelling, seed: int) -> list[Labelled]:
    found = []
    for item, text, at in texts(num, seed):
        proposed = await propose(text, port, CALCULATOR, how)
        calls = [await judge(text, call, port, CALCULATOR) for call in proposed]
        wrong = [await judge(text, replace(c, result=f"{len(c.result)}{c.result}"), port, CALCULATOR) for c in proposed]
        found.append(Labelled(item, text, at, calls, wrong))
        print(f"{len(found)}: {text}", *(f"  {c.at} {c.argument} -> {c.result} {c.gain:+.2f}" for c in calls), sep="\n")
    return found


def table(found: Sequence[Labelled]) -> str:
    """For several thresholds: what is kept, of it what is true, of the texts that need a call how many got it, the gain."""
    needing = [one for one in found if one.item.call]
    lines = [
        f"{len(found)} texts, {len(needing)} of which need a call; {sum(len(o.calls) for o in found)} calls proposed, "
        f"{sum(o.is_true(c) for o in found for c in o.calls)} of them true",
        "",
        "| threshold | kept | true | needing texts with a true call | gain of kept, nats | kept with a wrong result |",
        "|---|---|---|---|---|---|",
    ]
    for threshold in (0.1, 0.25, 0.5, 1.0, 1.5):
        kept = [(one, call) for one in found for call in best_calls(one.calls, threshold)]
        true = [(one, call) for one, call in kept if one.is_true(call)]
        reached = len({one.text for one, _ in true})
        gain = sum(call.gain for _, call in kept) / max(1, len(kept))
        wrong = sum(len(best_calls(one.wrong, threshold)) for one in found)
        share = f"{len(true) / len(kept):.0%}" if kept else "-"
        lines.append(
            f"| {threshold} | {len(kept)} | {share} | {reached / max(1, len(needing)):.0%} | {gain:.2f} | {wrong} |"
        )
    return "\n".join(lines)


async def asked(port: Port, num: int, seed: int) -> str:
    """How a model calls by itself, in the middle of its answers, on held-out questions."""
    sampling = Sampling(max_tokens=48, temperature=0.0, stop=("→", "\n"))

    async def caller(question: str) -> Sequence[Call]:
        answer = await port.ask(Conversation((Message("user", question),)), Options(sampling))
        return inline_calls(answer.text, CALCULATOR)

    items = [item for item, _, _ in texts(num, seed, "test")]
    return str(await measure_calls([CallQuestion(i.question, i.call) for i in items], caller))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.strategies.self_label", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("model", help="a run's or model's folder")
    parser.add_argument("--texts", type=int, default=80)
    parser.add_argument(
        "--threshold", type=float, default=1.0, help="of the calls that are written, in nats (default: 1)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE.jsonl", help="write the texts with kept calls as conversations"
    )
    parser.add_argument(
        "--ask", type=int, metavar="N", help="label nothing; ask N held-out questions and count the calls"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    how = Labelling(BEFORE_NUMBERS, threshold=options.threshold, seed=options.seed)
    port = open_port(options.model)
    began_s = time.perf_counter()
    if options.ask:
        print(asyncio.run(asked(port, options.ask, options.seed)))
        return 0
    found = asyncio.run(labelled(cast(Labeller, port), options.texts, how, options.seed))
    print(f"\n{table(found)}\n\n{time.perf_counter() - began_s:.0f} s, seed {options.seed}")
    if options.out:
        talks = [one.talk(how.threshold) for one in found]
        write_text(options.out, "".join(canonical_json(to_dict(talk)) + "\n" for talk in talks))
        print(f"Written:  {len(talks)} conversations, {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
