"""Choices by their letters, and yes or no: what a text picks or judges."""

from __future__ import annotations

import re
from itertools import pairwise

from jielong.use.answers.leaving import EITHER, OPEN, UNKNOWN, is_denied, main_clause

_LETTERS = re.compile(
    r"(?<![A-Za-z\d_'’])(?P<l>[A-J](?:(?:\s?[,、和及与&]\s?|\s+and\s+|\s)?[A-J])*)(?![A-Za-z\d_'’]|\s?[=+<>^])"
    r"|(?<=[(\[])(?P<small>[a-j])(?=[)\]])"
)
_CHOICE = re.compile(
    r"(?i)[(\[]?(?:(?:option|choice|answer|选项?|项)\s*)?[(\[“\"]?"
    r"(?P<l>[A-J](?:[\s,、和及与&]*(?:and\s)?[A-J])*)[)\]”\"]?\s*(?:[一二三四两]?个?(?:选项|项))?"
)
_OPTION = re.compile(
    r"^(?:[(\[](?P<s>[A-Ja-j])[)\]]|(?P<b>[a-j])\)|(?P<l>[A-J])\s?[)\].:、．：](?!\s?[A-J](?![A-Za-z])))\s*(?P<text>\S.*)?$",
    re.DOTALL,
)
_PICKS = re.compile(
    r"(?i)(?:选(?:择|取)?|答案[是为:]?|选项|\b(?:is|be|with|option|choice|letter|say|so)|:)\s*[(（“\"]?$"
)
_NAMES = re.compile(r"(?i)(?:选(?:择|取)|选项|\b(?:option|choice|answer)(?: is)?)\s*[(（“\"]?$")
_IS_WRONG = re.compile(
    r"(?i)(?:[)）”\"]|项|选项)?[^，。,;；]{0,6}(?:错|不对|不符|排除|不正确)"
    r"|[)\"]?\s+(?:"
    r"(?:is|are|can|could|would|does|must)\s?(?:not|n['’]t|never)\b|cannot|is (?:wrong|incorrect|false|tempting|out)|contradicts?)"
)
_VERBS = re.compile(r"\s+(?:is|are|was|and|or|would|must|seems|fits|because|since|cannot|can|contradicts?)\b")


def _letters(text: str) -> str:
    return "".join(sorted(set(re.findall(r"[A-J]", re.sub("(?i)and", "", text).upper()))))


def choice_in(text: str) -> tuple[str, str] | None:
    """Return (letters, the option's text) of a text that is a choice and nothing else."""
    whole = _CHOICE.fullmatch(text)
    if whole and (len(_letters(whole["l"])) == 1 or whole["l"].upper() == whole["l"]):
        return _letters(whole["l"]), ""
    option = _OPTION.match(text)
    return ((option["l"] or option["s"] or option["b"]).upper(), option["text"] or "") if option else None


def letters_in(part: str) -> str | None:
    """Return the letters that a text chooses, or None if it chooses none, or leaves it open."""
    whole = choice_in(part)
    if whole:
        return whole[0]
    if UNKNOWN.search(part):
        return None
    named = [m for m in _chosen_letters(part) if _NAMES.search(part[: m.start()])]
    text = part if named else main_clause(part, has_brackets=True)
    kept = named or _chosen_letters(text)
    if (
        kept
        and re.fullmatch(r"[\s(（\[“]*", text[: kept[0].start()])
        and re.match(r"[)）\]”]?项?\s?[,，:：]", text[kept[0].end() :])
    ):
        kept = kept[:1] if not OPEN.search(text) else kept
    if not kept:
        return None
    gaps = [text[a.end() : b.start()] for a, b in pairwise(kept)]
    is_either = len(kept) > 1 and re.search(r"(?i)\beither\b", text[: kept[0].start()])
    if any(EITHER.search(gap) and len(gap) < 8 for gap in gaps) or is_either or (len(kept) > 1 and OPEN.search(text)):
        return None
    marked = [m for m in kept if _PICKS.search(text[: m.start()])]
    return _letters((marked or kept)[-1][0])


def _chosen_letters(text: str) -> list[re.Match[str]]:
    """Return the matches of letters that stand for choices: no article, no "I", none that is denied or called wrong."""
    found = []
    for m in _LETTERS.finditer(text):
        rest = text[m.end() :]
        is_article = m[0] == "A" and re.match(r"\s+[a-z]", rest) and not _VERBS.match(rest)
        is_speaker = m[0] == "I" and re.match(r"['’]|\s+[a-z]", rest)
        is_refused = is_denied(text, m.start()) or _IS_WRONG.match(rest)
        if not (is_article or is_speaker or is_refused):
            found.append(m)
    return found


_TRUE = "yes|true|correct|right|valid|是的?|对的?|正确的?|没错|真|√|✓"
_FALSE = "no|false|incorrect|wrong|invalid|否|错的?|错误的?|不是|不对|不正确|假|×|✗"
_TRUTH = re.compile(rf"(?i)(?:(?P<yes>{_TRUE})|(?P<no>{_FALSE}))")
_JUDGES = re.compile(
    r"(?i)(?P<no>\b(?:not (?:[\w']+ ){0,4}?(?:true|correct|right|valid)|untrue|no|not|false|incorrect|wrong|invalid)\b"
    r"|不(?:是|对|正确|能|可以|会)"
    r"|错误?|否|没有|假)"
    r"|(?P<yes>\b(?:yes|true|correct|right|valid)\b|没错|没问题|正确|对(?!不起|于|应|称|角|数|话|方|面|比)|是的?(?=[，。,.!]|$)|\A是|真(?=的|$)|√)"
)
_YES_OR_NO = re.compile(
    r"(?P<yes>\b(?:yes|correct|right|true)\b|没错|没问题|是的|\A是|对(?!不起)|正确)|\b(?:no|not|incorrect|wrong|false)\b|不|否|错|没",
    re.IGNORECASE,
)


def says_yes(text: str) -> bool | None:
    """Return whether the first word that judges is a yes or a no, in either language, or None if there is none."""
    found = _YES_OR_NO.search(text.strip())
    return bool(found["yes"]) if found else None


def truth_of(text: str) -> bool | None:
    """Return the truth value of a text that is one word for it and nothing else."""
    found = _TRUTH.fullmatch(text.strip().strip("\"'“”"))
    return bool(found["yes"]) if found else None


def judgement_in(part: str) -> bool | None:
    """Return the yes or no of a text: that of its first word, or else of its last word that judges."""
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
