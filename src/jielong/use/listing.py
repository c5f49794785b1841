"""Lists in answers: several items as lines, numbered, dotted or bare."""

from __future__ import annotations

import re
from collections.abc import Iterable

from jielong.use.answers import normal

_MARK = re.compile(r"^\s*(?:[-*•·]\s+|[(\uff08]?\d{1,2}(?:[.](?=\D)|[):\uff09\uff1a、])\s*)")
_NONE = re.compile(
    r"(?:none|nothing|(?:there (?:is|are) )?no (?:further |other |more |real )?(?:issue|problem|error|mistake|contradiction)s?\b.*"
    r"|无(?:问题|矛盾|错误)?|没有(?:发现)?(?:任何|什么|其他|明显)?的?(?:问题|矛盾|错误).*)",
    re.IGNORECASE,
)


def parse_list(text: str, limit: int = 0) -> list[str]:
    """Return the items of a list, without marks and without repetitions, at most `limit` of them (0: all).

    If some lines are marked, the others (an introduction, a closing word) are left out.
    """
    written = [line.strip() for line in text.splitlines() if line.strip()]
    marked = [line for line in written if _MARK.match(line)]
    found: dict[str, str] = {}
    for line in marked or written:
        item = _MARK.sub("", line).strip()
        if item:
            found.setdefault(normal(item) or item, item)
    items = list(found.values())
    return items[:limit] if limit else items


def lines(items: Iterable[str], language: str) -> str:
    """Format the items as lines for a prompt; in place of none, a word that says so."""
    return "\n".join(items) or ("（还没有）" if language == "zh" else "(none yet)")


def numbered(items: Iterable[str]) -> str:
    """Format the items as numbered lines."""
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1))


def is_none(text: str) -> bool:
    """Whether a text says that a list is empty: "none", "There are no problems.", "没有问题"."""
    return bool(_NONE.fullmatch(text.strip().rstrip(".。!\uff01").strip()))
