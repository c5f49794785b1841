"""The exam of `jielong run calls`, question by question: `python -m bench.strategies.calls`.

Held-out questions with the calculator at hand, beside regular expressions that call it wherever they see two numbers with
a sign between them. Half of the questions need no call, and half of those hold numbers.
"""

from __future__ import annotations

import sys
import time
from functools import partial

from bench.strategies.asking import cost
from bench.strategies.command import main
from bench.strategies.line import Beside, Line, Wanted, shares
from bench.strategies.setting import Result, Setting
from jielong.stages.calls import (
    Reply,
    by_regular_expression,
    exam,
    is_right,
    is_small,
    sit_calling_exam,
    with_calculator,
)
from jielong.use.ledger import Ledger
from jielong.worlds.sums.items import Item

MAX_TOKENS = 64


async def _sat(at: Setting, lang: str) -> list[Line]:
    items = exam(lang, at.num(60, 4), at.seed)
    ledger = Ledger(at.ports.to(at.trained("calls")).ask)
    start_s = time.monotonic()
    _, replies = await sit_calling_exam(items, with_calculator(ledger.ask, MAX_TOKENS, describe=False))
    spent = cost(ledger.usage, len(items), time.monotonic() - start_s)
    _, by_rule = await sit_calling_exam(items, by_regular_expression)
    asked = list(zip(items, replies, by_rule, strict=True))
    needing = [one for one in asked if one[0].call]
    small = [one for one in needing if is_small(one[0])]
    others = [one for one in asked if not one[0].call]
    tempting = [one for one in others if one[0].kind == "numbers"]

    def line(name: str, some: list[tuple[Item, Reply, Reply]], wanted: Wanted | None) -> Line:
        beside = Beside("regular expression", shares(_is_good(item, rule) for item, _, rule in some))
        return Line(
            f"{lang}: {name}", shares(_is_good(item, reply) for item, reply, _ in some), wanted, beside, cost=spent
        )

    return [
        line("right, sums of 2 or 3 digits", small, Wanted("at least", 0.95)),
        line("right, all that need a call", needing, Wanted("more")),
        line("no call where none is needed", others, Wanted("at least", 0.95)),
        line("no call, questions with numbers", tempting, None),
    ]


def _is_good(item: Item, reply: Reply) -> bool:
    """Right where a call is needed, silent where none is."""
    return is_right(item, reply) if item.call else not reply.calls


async def measure(at: Setting) -> Result:
    return at.result([await at.part(lang, partial(_sat, at, lang)) for lang in at.languages])


if __name__ == "__main__":
    sys.exit(main({"calls": measure}))
