"""Self-labelling: calls that a model writes into plain text for itself (Toolformer, Schick et al. 2023, arXiv
2302.04761).

Nobody says where a call belongs. Shown a few examples, the model says at every place of a text how likely a call is; at
the likeliest places it writes some; each is run; and one is kept if, with its result in front of the text, the rest is
more likely than without, by a stated amount. The kept calls make texts to fine-tune on, by which the model learns to
call where it helps. This module labels; it trains nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jielong.config import at_least
from jielong.records import Sampling
from jielong.use.port import Completes, Options, Scores
from jielong.use.prompting import fill, language_of
from jielong.use.tools.tool import Tool

WEIGHTS = tuple((1 - 0.2 * t) / 3 for t in range(5))
"""Of the tokens after a call, the next one first: w_t = max(0, 1 - 0.2 t) over their sum (section 4.1)."""

ANYWHERE = r"(?<=\S)(?=\s)|(?<=[^\s\d.,])(?=\d)"
"""The places before a blank, and before a number that follows without one, as in Chinese."""

BEFORE_NUMBERS = r"(?<=\S)(?=\s\d)|(?<=[^\s\d.,])(?=\d)"
"""The places at which a calculator can help, which are few."""

_READ_AFTER = 24
"""Characters after a place that are scored: they hold as many tokens as there are weights, or nearly so."""


class Labeller(Completes, Scores, Protocol):
    """The protocol of a model that writes calls and scores texts."""


@dataclass(frozen=True)
class Labelling:
    """The search for useful calls: at `places` of a text at most, each more likely than `least_probability`, `draws` calls.

    `where` is a regular expression of the places that are looked at; each costs a reading of prompt and text. A call is kept
    when it lowers the weighted loss of what follows by `threshold` nats or more.
    """

    where: str = ANYWHERE
    places: int = 3
    least_probability: float = 0.01
    draws: int = 2
    temperature: float = 0.5
    threshold: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(self, 1, "places", "draws")
        at_least(self, 0, "least_probability", "temperature")


@dataclass(frozen=True)
class InlineCall:
    """A call in a text, before the character `at`; `gain` is by how many nats it lowers the loss of the rest."""

    at: int
    argument: str
    result: str
    gain: float = math.nan


async def label(text: str, port: Labeller, tool: Tool, how: Labelling = Labelling()) -> list[InlineCall]:
    """Return the calls that are kept, at most one a place, in the order of the text."""
    judged = [await weigh(text, call, port, tool) for call in await propose(text, port, tool, how)]
    return best_calls(judged, how.threshold)


def best_calls(judged: Sequence[InlineCall], threshold: float) -> list[InlineCall]:
    """Return the most helpful call of every place, if it gains `threshold` or more, in the order of the text."""
    best: dict[int, InlineCall] = {}
    for call in sorted(judged, key=lambda call: call.gain):
        if call.gain >= threshold:
            best[call.at] = call
    return [best[at] for at in sorted(best)]


async def propose(text: str, port: Labeller, tool: Tool, how: Labelling = Labelling()) -> list[InlineCall]:
    """Let the model propose calls that the tool can answer, not yet judged.

    The prompt is the template label_TOOL, whose examples show calls of this tool.
    """
    prompt = fill(f"label_{tool.name}", language_of(text), text=text)
    chances: list[tuple[float, int, str]] = []
    for at in (m.start() for m in re.finditer(how.where, text)):
        before = f"{prompt}{_blank(text, 0)}{text[:at]}"
        (scored,) = await port.score(before, [f"{_blank(text, at)}[{tool.name}("])
        chances.append((math.exp(scored.logprob), at, before))
    found: dict[tuple[int, str], InlineCall] = {}
    for probability, at, before in sorted(chances, reverse=True)[: how.places]:
        if probability < how.least_probability:
            continue
        for draw in range(how.draws):
            options = Options(Sampling(max_tokens=32, temperature=how.temperature, stop=(")]", "\n")), how.seed)
            opened = f"{before}{_blank(text, at)}[{tool.name}("
            argument = (await port.complete(opened, options.draw("label", at, draw))).text.strip()
            if (at, argument) not in found:
                result = await tool.answer({next(iter(tool.parameters["properties"])): argument})
                found[at, argument] = InlineCall(at, argument, result)
    return [call for call in found.values() if not call.result.startswith("error:")]


async def weigh(text: str, call: InlineCall, port: Scores, tool: Tool) -> InlineCall:
    """Return the call with its gain, min(L(nothing), L(call)) - L(call and result) of section 2, in nats.

    L is the loss of the text after the place, its tokens weighted by WEIGHTS. The call stands in front of the whole
    text: inside of it, it would disturb a model that has not been tuned on calls.
    """
    before, after = text[: call.at], text[call.at : call.at + _READ_AFTER]

    async def loss(help: str) -> float:
        (scored,) = await port.score(help + before, [after])
        return -sum(w * p for w, p in zip(WEIGHTS, scored.logprobs, strict=False))

    asked = f"[{tool.name}({call.argument})"
    without = min(await loss(""), await loss(f"{asked} → ] "))
    return InlineCall(call.at, call.argument, call.result, without - await loss(f"{asked} → {call.result}] "))


def inline(text: str, calls: Sequence[InlineCall], tool: Tool) -> str:
    """Insert the calls and their results into the text, for fine-tuning."""
    pieces, done = list[str](), 0
    for call in calls:
        pieces += [text[done : call.at], _blank(text, call.at), f"[{tool.name}({call.argument}) → {call.result}]"]
        done = call.at
    return "".join([*pieces, text[done:]])


def inline_calls(text: str, tool: Tool) -> list[Mapping[str, Any]]:
    """Parse the calls that stand in a text as `inline` writes them, with or without a result."""
    name = next(iter(tool.parameters["properties"]))
    found = re.findall(rf"\[{re.escape(tool.name)}\((.*?)\)(?: →|\]|$)", text)
    return [{"name": tool.name, "arguments": {name: argument}} for argument in found]


def _blank(text: str, at: int) -> str:
    """Return the blank before a call at this place: where the text has one, and at its beginning if it has any."""
    if at == 0:
        return " " if " " in text else ""
    return " " if text[at : at + 1].isspace() else ""
