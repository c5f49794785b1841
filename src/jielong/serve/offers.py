"""The strategies that the page offers: those that need only one model, with a description and their cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Offer:
    """An offered strategy: its number of model `calls` for one answer (None: variable), and the resources that it
    `needs`.
    """

    spec: str
    en: str
    zh: str
    calls: int | None = 1
    needs: str = ""


OFFERS = (
    Offer("", "ask once", "直接回答"),
    Offer("library", "answer from the library, with sources", "根据资料库回答并注明出处", 1, "library"),
    Offer("tools", "call tools until it can answer", "调用工具后回答", None, "tools"),
    Offer("vote:5", "ask five times, take what most say", "问五次，取多数", 5),
    Offer("think", "think aloud first", "先思考再回答", 1),
    Offer("reflect", "answer, criticise, improve", "回答、自评、改进", 3),
    Offer("decompose", "split the question into smaller ones", "把问题拆成小问题", None),
    Offer("debate", "several answers discuss", "多个回答互相讨论", 9),
    Offer("story", "plan and write a longer text", "规划并写长文", None),
)


def strategies_json(*, has_library: bool, has_tools: bool) -> list[dict[str, Any]]:
    """Return the strategies that work with the server's resources."""
    there = {"": True, "library": has_library, "tools": has_tools}
    return [
        {
            "spec": offer.spec,
            "name": offer.spec.partition(":")[0],
            "help": {"en": offer.en, "zh": offer.zh},
            "calls": offer.calls,
            "needs": offer.needs,
        }
        for offer in OFFERS
        if there[offer.needs]
    ]
