"""Whether two answers say the same: the answer is found in the text, then its type, then it is compared by that type.

What the right answer is decides what is looked for: a choice, a truth, a date, a time, a tuple or set, a number with its
unit, a formula, or words. What cannot be typed is compared whole. An answer that leaves it open ("5 or 6"), denies it
("not Paris") or gives none ("I don't know") is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from jielong.use.answers.choices import choice_in, judged, letters_in, truth_of
from jielong.use.answers.finding import final
from jielong.use.answers.formulas import is_same_formula
from jielong.use.answers.leaving import EITHER, OPEN, UNKNOWN, is_denied, main_clause, one_of
from jielong.use.answers.moments import dates_in, times_in
from jielong.use.answers.numbers import Number, numbers_in
from jielong.use.answers.plain import folded, plain
from jielong.use.answers.several import group_in, group_of, is_same_group, one_number

_RATIO = re.compile(r"(?<![\d:.])(?P<a>\d+(?:\.\d+)?)\s?(?::|比|\bto\b)\s?(?P<b>\d+(?:\.\d+)?)(?![\d:])")
_BEFORE_HAN = "是为叫在于选填了：:（(“《\"'—，,。有即当做的属被、 "
_TITLES = tuple(
    "诗人 作家 作者 画家 皇帝 总统 科学家 城市 国家 首都 词人 文学家 将军 国王 导演 歌手 先生 用 指 到 给 由 和".split()
)
_AFTER_HAN = "市省县区国人的，,。！!；;）)”》\"'、（( 是吧了呢啊写创所修"
_PLACED = set(
    "new north south east west northern southern eastern western upper lower saint st papua equatorial san los non old great "
    "un".split()
)
"""Words that make another place of the one behind them."""


def _says(part: str, right: str) -> bool:
    """Whether a text gives these words as its answer."""
    wanted, given = folded(right), folded(part)
    if not wanted:
        return "".join(right.split()) in "".join(part.split()) if right.strip() else not given
    if given == wanted or given.replace(" ", "") == wanted.replace(" ", ""):
        return True
    if UNKNOWN.search(part) or OPEN.search(part):
        return False
    text = main_clause(part)
    given = folded(text)
    for m in re.finditer(rf"(?<![a-z\d]){re.escape(wanted)}(?![a-z\d])", given):
        before, after = given[: m.start()], given[m.end() :]
        if re.search(r"[\u3400-\u9fff]", wanted) and not _is_bounded(before, after):
            continue
        if before.split()[-1:] and before.split()[-1] in _PLACED:
            continue
        if re.search(
            r"(?:\bnot|n t|\bnever|\bno|\brather than|\binstead of|不是|并非|而非|不)(?: in| by| really| definitely)?\s*$",
            before,
        ):
            continue
        if re.search(r"\bor\s*$|或者?\s*$|还是\s*$|\beither\b.*$", before) or re.match(r"\s*(?:or\b|或|还是)", after):
            continue
        return True
    return False


def _is_bounded(before: str, after: str) -> bool:
    """Whether Chinese words stand by themselves: there are no blanks to tell."""
    is_begun = not before or before[-1] in _BEFORE_HAN or before.endswith(_TITLES) or before[-1].isascii()
    is_ended = not after or after[0] in _AFTER_HAN or after[0].isascii()
    return is_begun and is_ended


_FORMULA = re.compile(
    r"\\(?:frac|sqrt|pi|sin|cos|tan|log|ln|int|sum|alpha|beta|theta)|[\^√π]|(?<![a-zA-Z])[a-zA-Z]\s?[-+*/=]\s?(?:[\d(\\]|-?[a-zA-Z](?![a-zA-Z]))|\d\s?[-+*/×]\s?(?:[(\\]|[a-zA-Z](?![a-zA-Z]))|[a-zA-Z]_|\)\s?\(|\d[a-z](?![a-z])|\b(?:sin|cos|tan|log|ln)\b"
)
_EXACT = re.compile(
    r"\S+@\S+|\d+(?:\.\d+){2,}(?:[-\w.]*)|[vV]\d+(?:\.\d+)*\S*|\+?\d[\d\s()-]{8,}\d|https?://\S+|(?:/[\w.-]+)+|[a-z\d-]+(?:\.[a-z\d-]+)*\.[a-z]{2,4}"
)
_BETWEEN = re.compile(
    r"[\u3400-\u9fff，。：；]+|:\s|[,;](?=\s)|(?i:\b(?:is|are|equals|becomes|gives|of|so|to|therefore|hence|result|answer)\b)"
)
_WORDS = re.compile(r"^\s*(?:(?![a-z]{2,4}\s*\()[A-Za-z]{2,}\s+)+")
_VERSION = re.compile(r"(?:[vV]|[Vv]ersion |[A-Z][A-Za-z]+ |版本号?[是为]?)\0|\0\s?版")
_CHEMICAL = re.compile(r"(?:[A-Z][a-z]?(?:_?\{?\d*\}?)){2,}|[A-Z][a-z]?_?\{?\d+\}?")


def _ratio(text: str) -> Fraction | None:
    found = list(_RATIO.finditer(text))
    if not found or not Fraction(found[-1]["b"]):
        return None
    return Fraction(found[-1]["a"]) / Fraction(found[-1]["b"])


def is_same(given: str, right: str) -> bool:
    """Whether the answer `given` says what the right one says."""
    wanted = _trimmed(plain(right))
    part = final(given)
    if not wanted:
        return not part
    if not part:
        return False
    return _is_same_part(part, wanted)


def chosen(text: str) -> str:
    """The letter, or letters, of the choices that an answer names; "" where it names none."""
    return letters_in(final(text)) or ""


def agree(one: str, other: str) -> bool:
    """Whether two answers, each with all its words, come to the same."""
    a, b = final(one), final(other)
    return a == b or (bool(a and b) and (_is_same_part(a, _kernel(b)) or _is_same_part(b, _kernel(a))))


def groups(texts: Sequence[str]) -> list[int]:
    """For each text the number of the first one that says the same."""
    firsts: list[int] = []
    found: list[int] = []
    seen: dict[str, int] = {}
    for number, text in enumerate(texts):
        part = final(text)
        if part not in seen:
            seen[part] = next((f for f in firsts if agree(texts[f], text)), number)
            if seen[part] == number:
                firsts.append(number)
        found.append(seen[part])
    return found


def _kernel(part: str) -> str:
    """The value that a sentence gives, where it gives just one; else the sentence."""
    if choice_in(part) or truth_of(part) is not None or one_number(part) or group_of(part):
        return part
    exact = [m for m in _EXACT.finditer(part) if not dates_in(m[0])]
    if len(exact) == 1:
        return exact[0][0]
    text = main_clause(part)
    letters = letters_in(part)
    if letters and re.search(r"(?i)选|option|choice|answer", part):
        return letters
    for find in (dates_in, times_in, numbers_in):
        value = one_of(text, find)
        if value is not None:
            return text[value.start : value.end]
    behind = re.split(r"(?i)\b(?:is|was|are|were)\b|[是为叫]", text)
    return behind[-1].strip(" :,，") if len(behind) > 1 and behind[-1].strip(" :,，") else part


def _trimmed(text: str) -> str:
    text = text.strip()
    if re.search(r"(?i)\b[ap]\.m\.$|B\.C\.$|A\.D\.$", text):
        return text
    return text.rstrip(".。!！;；") or text


def _is_same_part(part: str, wanted: str) -> bool:
    choice = choice_in(wanted)
    if choice:
        chosen = letters_in(part)
        return chosen == choice[0] if chosen else bool(choice[1]) and _says(part, choice[1])
    truth = truth_of(wanted)
    if truth is not None:
        return judged(part) is truth
    if _EXACT.fullmatch(wanted) and not dates_in(wanted):
        return _has_exactly(part, wanted)
    date = _only(wanted, dates_in)
    if date:
        given = one_of(part, dates_in)
        return given is not None and given.says(date)
    ratio = _RATIO.fullmatch(wanted)
    if ratio and not re.fullmatch(r"\d{1,2}:\d\d", wanted.replace(" ", "")):
        found = _ratio(part)
        return found is not None and found == _ratio(wanted) and not EITHER.search(part)
    time = _only(wanted, times_in)
    if time:
        given = one_of(part, times_in)
        return given is not None and given.is_same(time)
    group = group_of(wanted)
    if group:
        found_group = group_in(part, group) or group_in(main_clause(part), group)
        return found_group is not None and is_same_group(found_group, group)
    number = one_number(wanted)
    if number:
        return _is_same_number(part, number, wanted)
    if _FORMULA.search(wanted) or _CHEMICAL.fullmatch(wanted):
        return _is_same_written(part, wanted)
    return _says(part, wanted)


def _only(text: str, find: Callable[[str], Sequence[Any]]) -> Any:
    """The one value that the whole text is."""
    found = find(text)
    if len(found) == 1 and not text[: found[0].start].strip() and not text[found[0].end :].strip(" .。"):
        return found[0]
    return None


def _has_exactly(part: str, wanted: str) -> bool:
    if re.fullmatch(r"\+?\d[\d\s()-]{8,}\d", wanted):
        return re.sub(r"\D", "", wanted) in [
            re.sub(r"\D", "", m[0]) for m in re.finditer(r"\+?\d[\d\s()-]{6,}\d", part)
        ]
    bare = re.sub(r"^[vV](?=\d)", "", wanted)
    found = list(re.finditer(rf"(?<![A-Za-z\d.@-])[vV]?{re.escape(bare)}(?![A-Za-z\d@/-]|\.[A-Za-z\d])", part))
    return any(not is_denied(part, m.start()) for m in found)


def _is_same_number(part: str, number: Number, wanted: str) -> bool:
    if _RATIO.fullmatch(part) and not _RATIO.fullmatch(wanted):
        return False
    if re.search(r"\\(?:sqrt|pi)|[√π^]", part) and not numbers_only(part):
        return _is_same_written(part, wanted)
    given = one_of(re.sub(r"^[a-zA-Z]\s?=\s?(?=[^=]+$)", "", part), numbers_in)
    if given is not None and _VERSION.search(part[: given.start] + "\0" + part[given.end :]):
        return part[given.start : given.end].strip() == wanted
    return given is not None and given.is_same(number)


def numbers_only(part: str) -> bool:
    """Whether powers in it are those of units."""
    return not re.search(r"\\(?:sqrt|pi)|[√π]|\d\s?\^|\)\s?\^", part)


def _is_same_written(part: str, wanted: str) -> bool:
    """Formulas: the same signs, or the same value."""
    chemical = _CHEMICAL.fullmatch(wanted)
    if chemical:
        bare = re.sub(r"[_{}]", "", wanted)
        return bool(
            re.search(rf"(?<![A-Za-z\d]){re.escape(bare)}(?![A-Za-z\d])", re.sub(r"[_{}]", "", main_clause(part)))
        )
    if UNKNOWN.search(part):
        return False
    candidates = _formulas(part, is_equation="=" in wanted)
    return any(is_same_formula(one, wanted) for one in candidates)


def _formulas(part: str, *, is_equation: bool) -> list[str]:
    """What of a sentence may be its formula, the likeliest first."""
    pieces = [_WORDS.sub("", p).strip(" ,.:") for p in _BETWEEN.split(part)]
    pieces = [p for p in pieces if p]
    found = dict.fromkeys([part, *pieces[-1:]])
    if not is_equation:
        found |= dict.fromkeys(f.rpartition("=")[2].strip() for f in list(found) if "=" in f)
    return list(found)[-2:]
