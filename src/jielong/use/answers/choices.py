"""Choices by their letters, and truths: what a text picks or judges."""

from __future__ import annotations

import re
from itertools import pairwise

from jielong.use.answers.leaving import EITHER, UNKNOWN, is_denied, main_clause

_LETTERS = re.compile(
    r"(?<![A-Za-z\d_'’])(?P<l>[A-J](?:(?:\s?[,、和及与&]\s?|\s+and\s+|\s)?[A-J])*)(?![A-Za-z\d_'’]|\s?[=+<>^])"
)
_CHOICE = re.compile(
    r"(?i)[(\[]?(?:(?:option|choice|answer|选项?|项)\s*)?[(\[“\"]?(?P<l>[A-J](?:[\s,、和及与&]*(?:and\s)?[A-J])*)[)\]”\"]?\s*项?"
)
_OPTION = re.compile(r"^[(\[]?(?P<l>[A-J])\s*(?:[)\].:、．]|：)\s*(?P<text>\S.*)?$", re.DOTALL)


def _letters(text: str) -> str:
    return "".join(sorted(set(re.findall(r"[A-J]", re.sub("(?i)and", "", text).upper()))))


def choice_in(text: str) -> tuple[str, str] | None:
    """(letters, the option's text) of a right answer that is a choice."""
    whole = _CHOICE.fullmatch(text)
    if whole and (len(_letters(whole["l"])) == 1 or whole["l"].upper() == whole["l"]):
        return _letters(whole["l"]), ""
    option = _OPTION.match(text)
    return (option["l"], option["text"] or "") if option else None


def letters_in(part: str) -> str | None:
    """The letters that a text chooses; None where it leaves it open."""
    whole = choice_in(part)
    if whole and not whole[1]:
        return whole[0]
    if whole and not re.match(r"(?i)(?:man|woman|\w+ed)\b", whole[1]):
        return whole[0]
    if UNKNOWN.search(part):
        return None
    text = main_clause(part)
    found = [
        m
        for m in _LETTERS.finditer(text)
        if not (
            m["l"] == "A"
            and re.match(r"\s+[a-z]", text[m.end() :])
            and not re.match(r"\s+(?:is|are|was|and|or|would|must|seems|fits)\b", text[m.end() :])
        )
        and not (m["l"] == "I" and re.match(r"(?:'|’|\s+[a-z])", text[m.end() :]))
    ]
    kept = [
        m
        for m in found
        if not is_denied(text, m.start())
        and not re.match(
            r"(?:项|选项)?[^，。,]{0,6}(?:错误|不对|不符|排除|不正确)|\s+(?:is|are)\s+(?:wrong|incorrect|not|false|tempting)",
            text[m.end() :],
        )
    ]
    if not kept:
        return None
    marked = [
        m for m in kept if re.search(r"(?:选|答案[是为:]?|is|be|with|option|choice|:)\s*[(“\"]?$", text[: m.start()])
    ]
    between = [text[a.end() : b.start()] for a, b in pairwise(kept)]
    if any(EITHER.search(gap) and len(gap) < 8 for gap in between) or (
        len(kept) > 1 and re.search(r"(?i)\beither\b", text[: kept[0].start()])
    ):
        return None
    return _letters((marked or kept)[-1]["l"])


_TRUE = "yes|true|correct|right|valid|是的?|对的?|正确的?|没错|真|√|✓"
_FALSE = "no|false|incorrect|wrong|invalid|否|错的?|错误的?|不是|不对|不正确|假|×|✗"
_TRUTH = re.compile(rf"(?i)(?:(?P<yes>{_TRUE})|(?P<no>{_FALSE}))")
_JUDGES = re.compile(
    r"(?i)(?P<no>\b(?:not (?:true|correct|right|valid)|untrue|no|not|false|incorrect|wrong|invalid)\b|不(?:是|对|正确|能|可以|会)"
    r"|错误?|否|没有|假)"
    r"|(?P<yes>\b(?:yes|true|correct|right|valid)\b|没错|没问题|正确|对(?!不起|于|应|称|角|数|话|方|面|比)|是的?(?=[，。,.!]|$)|\A是|真(?=的|$)|√)"
)
YES_OR_NO = re.compile(
    r"(?P<yes>\b(?:yes|correct|right|true)\b|没错|没问题|是的|\A是|对(?!不起)|正确)|\b(?:no|not|incorrect|wrong|false)\b|不|否|错|没",
    re.IGNORECASE,
)


def says_yes(text: str) -> bool | None:
    """Whether the first word that judges is a yes or a no, in either language; None where there is none."""
    found = YES_OR_NO.search(text.strip())
    return bool(found["yes"]) if found else None


def truth_of(text: str) -> bool | None:
    """What a text says that is one word of truth and nothing else."""
    found = _TRUTH.fullmatch(text.strip().strip("\"'“”"))
    return bool(found["yes"]) if found else None


def judged(part: str) -> bool | None:
    """What a text judges, by its first word or else by its last one that judges."""
    whole = truth_of(part)
    if whole is not None:
        return whole
    first = re.match(
        r"(?i)(?:yes|true|correct|right|是的|对的?|没错|是|(?P<no>no|false|incorrect|wrong|不是|不对|不能|不会|不可以|否|错误?|没有))(?=[\s,，.。:：!]|$)",
        part,
    )
    if first:
        return not first["no"]
    if UNKNOWN.search(part):
        return None
    found = list(_JUDGES.finditer(part))
    return bool(found[-1]["yes"]) if found else None
