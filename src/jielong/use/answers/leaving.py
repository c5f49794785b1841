"""Signs that a text leaves its answer open (doubt, alternatives, denials), and clauses that only explain one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

UNKNOWN = re.compile(
    r"(?i)\b(?:i (?:do not|don['’]?t) know|i(?:['’]?m| am) unsure|not sure|cannot (?:answer|be determined|say)"
    r"|can['’]t (?:answer|say|tell)|no idea|it depends|none of (?:the|these|them)|neither)\b"
    r"|不知道|不清楚|不确定|不一定|不太清楚|无法(?:确定|回答|判断)|拿不准|不能确定|都不对|没有正确"
)
OPEN = re.compile(
    r"(?i)\beither\b|(?:\b(?:perhaps|maybe|possibly|might be|could be)\b|也许|可能|或许|大概)"
    r".*(?:\b(?:perhaps|maybe|possibly|might|could|or)\b|也许|也可能|或许|或)"
    r"|\bor (?:perhaps|maybe|possibly)\b|也可能|难以取舍|都有可能"
)
"""Words that leave it open between several."""
EITHER = re.compile(r"(?i)\beither\b|\bor\b|\bmaybe\b.*\bmaybe\b|也可能|或者?|还是|要么")
_DENIED = re.compile(
    r"(?i)(?:\bnot|n['’]?t|\bcannot|\bnever|\bno|\brather than|\binstead of|\bexcept|\bother than)"
    r"(?: definitely| really| be| equal| have been| the| a| an| in| option)*\s*[\"'“(]?$"
    r"|(?:不是|不选|不能选|不=|非|不为|排除|除了?)[“《(]?$"
)
_EXPLAINS = re.compile(
    r"(?i)[,;(]?\s?\b(?:although|though|because|since|whereas|even though|even if|while|as it|unlike|and not|but not"
    r"|not (?=[A-Z\d])|rather than|instead of|in contrast)\b"
    r"|[,;]\s?(?:as|for|when|which|who|where|if|so that)\b"
    r"|,\s[^,]{0,30}\b(?:before|after|earlier|later) (?:the|its|his|her|their)\b|，(?:比|较)(?=[上去前])"
    r"|[，,;；]?(?:因为|由于|为了|虽然|尽管|而非|而不)|[，,;；](?:不是|并非)|[(（]"
)

_APPOSED = re.compile(r",\s(?:the |an? |his |her |its )?[a-z]+ (?:of|to) ")


def single_answer(part: str, find: Callable[[str], Sequence[Any]]) -> Any:
    """Return the one value that a text gives as its answer, or None if it gives none, leaves it open, or denies it."""
    if UNKNOWN.search(part):
        return None
    text = main_clause(part)
    head = re.split(r"，|,(?=\s)", text, maxsplit=1)[0]
    found, every = find(head), find(text)
    is_head = len(found) == 1 and len(head) < len(text) and found[0].end == every[0].end
    if is_head and not head[: found[0].start].strip() and len(head[found[0].end :].strip()) <= 3:
        return found[0]
    found = [one for one in every if not is_denied(text, one.start)]
    if not every and text != part:  # the explanation holds it: "the question wants it, which is 35%"
        found = [one for one in find(part) if not is_denied(part, one.start)]
        text = part
    if not found or any(EITHER.search(text[a.end : b.start]) for a, b in pairwise(found)):
        return None
    is_one_of = re.search(r"(?i)(?:\bor|或者?|还是)\s*$", text[: found[-1].start])
    is_left_open = len(found) > 1 and OPEN.search(text)
    return None if is_one_of or is_left_open else found[-1]


def main_clause(part: str, *, has_brackets: bool = False) -> str:
    """Return the main clause, without clauses behind it that explain, contrast or deny; brackets explain too."""
    found = [m for m in _EXPLAINS.finditer(part) if not (has_brackets and m[0] in "(（")]
    found += [m for m in _APPOSED.finditer(part) if re.search(r"\b(?:is|was|are|were|by)\b", part[: m.start()])]
    found.sort(key=lambda m: m.start())
    cut = next((m for m in found if part[: m.start()].strip(" ,，")), None)
    if cut and re.match(r"[(（]", cut[0]) and not re.search(r"[\u3400-\u9fffA-Za-z]\s?$", part[: cut.start()]):
        return part
    return part[: cut.start()].strip(" ,，") if cut else part


def is_denied(text: str, start: int) -> bool:
    """Whether the text at a place is said not to be the answer."""
    return bool(_DENIED.search(text[:start].rstrip()))
