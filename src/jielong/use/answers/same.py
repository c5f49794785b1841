"""Equality of two answers: each is found in its text, then typed, then compared by that type.

The type of the right answer decides what is looked for: a choice, a truth, a date, a time, a tuple or set, a number
with its unit, a formula, or words. An untyped answer is compared whole. A text that leaves it open ("5 or 6"), denies
it ("not Paris") or gives none ("I don't know") is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from jielong.use.answers.choices import choice_in, judgement_in, letters_in, truth_of
from jielong.use.answers.finding import final, parts
from jielong.use.answers.formulas import is_same_formula
from jielong.use.answers.grouped import group_in, group_of, is_same_group, one_number
from jielong.use.answers.leaving import EITHER, OPEN, UNKNOWN, is_denied, main_clause, single_answer
from jielong.use.answers.moments import dates_in, times_in
from jielong.use.answers.numbers import Number, numbers_in
from jielong.use.answers.spelling import folded, plain_spelling

_RATIO = re.compile(
    r"(?<![\d:.])(?P<a>\d+(?:\.\d+)?|[一二两三四五六七八九十]+)\s?(?::|比|\bto\b)\s?(?P<b>\d+(?:\.\d+)?|[一二三四五六七八九十]+)(?![\d:])"
)
_BEFORE_HAN = "是为叫在于选填了：:（(“《\"'—，,。有即当做的属被、省市县国州 "
_TITLES = tuple(
    "家 诗人 作家 作者 画家 皇帝 总统 科学家 城市 国家 首都 词人 文学家 将军 国王 导演 歌手 先生 用 指 到 给 由 和".split()
)
_AFTER_HAN = "先女市省县区国人的，,。！!；;）)”》\"'、（( 是吧了呢啊写创所修编撰著作拍导"
_PLACED = set(
    "new north south east west northern southern eastern western upper lower saint st papua equatorial san los non old great "
    "un".split()
)
"""Words that make another place of the one behind them."""


def _gives_words(part: str, right: str) -> bool:
    """Whether a text gives these words as its answer."""
    wanted, given = folded(right), folded(part)
    if _ABLE.fullmatch(wanted):
        said = _ABLE.findall(part)
        return bool(said) and said[-1] == wanted
    if len(wanted) > 2 and wanted[-1] in "省市县区" and not given.endswith(wanted):
        wanted = wanted[:-1]
    if not wanted:
        return "".join(right.split()) in "".join(part.split()) if right.strip() else not given
    if given == wanted or given.replace(" ", "") == wanted.replace(" ", ""):
        return True
    if (UNKNOWN.search(part) and not UNKNOWN.search(right)) or (OPEN.search(part) and not OPEN.search(right)):
        return False
    given = folded(main_clause(part), keep_hyphens=not re.search("[- ·]", right))
    for m in re.finditer(rf"(?<![a-z\d-]){re.escape(wanted)}(?![a-z\d-])", given):
        before, after = given[: m.start()], given[m.end() :]
        if re.search(r"[\u3400-\u9fff]", wanted) and not _is_bounded(before, after):
            continue
        if before.split()[-1:] and before.split()[-1] in _PLACED:
            continue
        if re.search(
            r"(?:\bnot|\b(?:is|are|was|were|do|does|did|has|have|had|ca|wo|would|could|should)nt|\bnever|\bno|\brather than"
            r"|\binstead of|不是|并非|而非|不)(?: in| by| really| definitely)?\s*$",
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
    is_ended = not after or _DONE_BY.match(after) is not None or after[0] in _AFTER_HAN or after[0].isascii()
    return is_begun and is_ended


_FORMULA = re.compile(
    r"\\(?:frac|sqrt|pi|sin|cos|tan|log|ln|int|sum|alpha|beta|theta)|[\^√π]|(?<![a-zA-Z])[a-zA-Z]\s?[-+*/=]\s?(?:[\d(\\]|-?[a-zA-Z](?![a-zA-Z]))|\d\s?[-+*/×]\s?(?:[(\\]|[a-zA-Z](?![a-zA-Z]))|[a-zA-Z]_|\)\s?\(|\d[a-z](?![a-z])|\b(?:sin|cos|tan|log|ln)\b"
)
_EXACT = re.compile(
    r"(?:[\da-fA-F]{2}:){5}[\da-fA-F]{2}|\S+@\S+|\d+(?:\.\d+){2,}(?:[-\w.]*)|[vV]\d+(?:\.\d+)*\S*|\+?\d[\d\s()-]{8,}\d|https?://\S+|(?<![\w)}])(?:/[\w.-]+)+|[a-z\d-]+(?:\.[a-z\d-]+)*\.[a-z]{2,4}"
)
_BETWEEN = re.compile(
    r"[\u3400-\u9fff，。：；]+|:\s|[,;](?=\s)|(?i:\b(?:is|are|equals|becomes|gives|of|so|to|therefore|hence|result|answer)\b)"
)
_MEASURED = re.compile(
    r"(?:(?<=[\d})π])|(?<=\\pi))\s*(?:radians?|degrees?|units?|(?:square|cubic)\s\w+|[ckm]?m(?:\^\{?[23]\}?)?|平方?厘?米)$"
)
_WORDS = re.compile(r"^\s*(?:(?![a-z]{2,4}\s*\()[A-Za-z]{2,}\s+)+")
_DONE_BY = re.compile(r"(?:提出|发现|发明|设计|创立|建立|创作|编写|主持|导演)的?(?=$|[，。])")
_ABLE = re.compile(r"不能|不可以|不会|没有|能|可以|会|有")
_GOES_ON = re.compile(
    r"(?i)(?:it|this|that|she|he|they|these|those|its|his|her|their|there)\b(?! (?:is|was|are|were|would be|must be)\b)"
    r"|(?:它|他|她|其|这|那|此外|另外|同时)(?![^，。]{0,4}[是叫])|代表作"
)
"""The beginning of a remark about the answer before it."""
_VERSION = re.compile(r"(?:[vV]|[Vv]ersion |[A-Z][A-Za-z]+ |版本号?[是为]?)\0|\0\s?版")
_CHEMICAL = re.compile(r"(?:[A-Z][a-z]?(?:_?\{?\d*\}?)|\((?:[A-Z][a-z]?\d*)+\)_?\{?\d*\}?){2,}|[A-Z][a-z]?_?\{?\d+\}?")


def _last_ratio(text: str) -> Fraction | None:
    """Return the value of the last ratio in a text."""
    found = list(_RATIO.finditer(text))
    sides = [one for side in ("a", "b") for one in numbers_in(found[-1][side])] if found else []
    if len(sides) != 2 or not sides[1].value:
        return None
    return sides[0].value / sides[1].value


def is_same(given: str, right: str) -> bool:
    """Whether the answer `given` says the same as the right one."""
    is_worked_out = re.search(r"####|\\boxed|<answer>", right) is not None
    wanted = final(right) if is_worked_out else _trimmed(plain_spelling(right))
    found = parts(given)
    if not wanted or not found:
        return not wanted and not found
    return _first_verdict(found, wanted)


def _first_verdict(found: Sequence[str], wanted: str) -> bool:
    """Return the verdict on the likeliest part that holds a value of the wanted kind."""
    verdicts = (_is_same_part(part, wanted) for part in found)
    return next((verdict for verdict in verdicts if verdict is not None), False)


def chosen(text: str) -> str:
    """Return the letter, or letters, of the choices that an answer names, or "" if it names none."""
    return letters_in(final(text)) or ""


def agree(one: str, other: str) -> bool:
    """Whether two answers, each with all its words, come to the same."""
    ours, theirs = parts(one), parts(other)
    if not ours or not theirs:
        return not ours and not theirs
    if ours[0] == theirs[0]:
        return True
    our_kernel, their_kernel = _single_value(ours[0]), _single_value(theirs[0])
    both = (_first_verdict(ours, their_kernel), _first_verdict(theirs, our_kernel))
    # that one sentence holds some words of the other is not enough: "X is the capital" and "the capital is Paris"
    return all(both) if _is_words(our_kernel) and _is_words(their_kernel) else any(both)


def _is_words(text: str) -> bool:
    """Whether an answer has no type but words."""
    typed = (
        choice_in(text),
        _EXACT.fullmatch(text),
        _whole_value(text, dates_in),
        _whole_value(text, times_in),
        group_of(text),
    )
    is_formula = _FORMULA.search(text) or _CHEMICAL.fullmatch(text)
    return not (any(typed) or truth_of(text) is not None or one_number(text) or is_formula)


def groups(texts: Sequence[str]) -> list[int]:
    """Return for each text the number of the first one that says the same."""
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


def _single_value(part: str) -> str:
    """Return the value that a sentence gives, if it gives just one; else the sentence."""
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
        value = single_answer(text, find)
        if value is not None:
            return text[value.start : value.end]
    behind = re.split(r"(?i)\b(?:is|was|are|were)\b|[是为叫]", text)
    return behind[-1].strip(" :,，") if len(behind) > 1 and behind[-1].strip(" :,，") else part


def _trimmed(text: str) -> str:
    """Strip marks at the end, but for abbreviations such as "a.m."."""
    text = text.strip()
    if re.search(r"(?i)\b[ap]\.m\.$|B\.C\.$|A\.D\.$", text):
        return text
    return text.rstrip(".。!！;；") or text


def _is_same_part(part: str, wanted: str) -> bool | None:
    """Whether a part gives the wanted answer. Returns None if it holds no value of its kind at all."""
    if UNKNOWN.search(part) and not UNKNOWN.search(wanted):
        return False
    choice, truth = choice_in(wanted), truth_of(wanted)
    if choice:
        return _is_same_choice(part, *choice)
    if truth is not None:
        judgement = judgement_in(part)
        return None if judgement is None else judgement is truth
    if _EXACT.fullmatch(wanted) and not dates_in(wanted):
        if _has_exactly(part, wanted):
            return True
        if not wanted.isdigit():  # a long number may be written with commas, or in words
            return False if _EXACT.search(part) else None
    date, time = _whole_value(wanted, dates_in), _whole_value(wanted, times_in)
    if date:
        given = single_answer(part, dates_in)
        return given.says(date) if given is not None else False if dates_in(part) else None
    ratio = _RATIO.fullmatch(wanted)
    if ratio and not re.fullmatch(r"\d{1,2}:\d\d", wanted.replace(" ", "")):
        found = _last_ratio(part)
        return found == _last_ratio(wanted) and not EITHER.search(part) if found is not None else None
    if time:
        given = single_answer(part, times_in)
        return given.is_same(time) if given is not None else False if times_in(part) else None
    group, number = group_of(wanted), one_number(wanted)
    if group:
        found_group = group_in(part, group) or group_in(main_clause(part), group)
        return is_same_group(found_group, group) if found_group is not None else None
    if number:
        return _is_same_number(part, number, wanted)
    if _FORMULA.search(wanted) or _CHEMICAL.fullmatch(wanted):
        return _is_same_written(part, wanted) or (False if _FORMULA.search(part) or numbers_in(part) else None)
    return _gives_words(part, wanted) or (None if _GOES_ON.match(part) else False)


def _is_same_choice(part: str, letters: str, text: str) -> bool | None:
    """Whether a part picks the wanted choice by letter or text. Returns None if it picks none."""
    given = letters_in(part)
    if given:
        return given == letters
    if text and _gives_words(part, text):
        return True
    return False if re.search(r"(?<![A-Za-z])[B-HJ](?![A-Za-z])", part) or OPEN.search(part) else None


def _whole_value(text: str, find: Callable[[str], Sequence[Any]]) -> Any:
    """Return the one value that the whole text is."""
    found = find(text)
    if len(found) == 1 and not text[: found[0].start].strip() and not text[found[0].end :].strip(" .。"):
        return found[0]
    return None


def _has_exactly(part: str, wanted: str) -> bool:
    """Whether a part holds a code, version or phone number exactly as wanted, and does not deny it."""
    if re.fullmatch(r"\+?\d[\d\s()-]{8,}\d", wanted):
        return re.sub(r"\D", "", wanted) in [
            re.sub(r"\D", "", m[0]) for m in re.finditer(r"\+?\d[\d\s()-]{6,}\d", part)
        ]
    bare = re.sub(r"^[vV](?=\d)", "", wanted)
    found = list(re.finditer(rf"(?<![A-Za-z\d.@-])[vV]?{re.escape(bare)}(?![A-Za-z\d@/-]|\.[A-Za-z\d])", part, re.I))
    return any(not is_denied(part, m.start()) for m in found)


def _is_same_number(part: str, number: Number, wanted: str) -> bool | None:
    """Whether a part gives the wanted number. Returns None if it holds none."""
    if _RATIO.fullmatch(part) and not _RATIO.fullmatch(wanted):
        return False
    if re.search(r"\\(?:sqrt|pi)|[√π^]", part) and not _has_only_units(part):
        return _is_same_written(part, wanted)
    text = re.sub(r"^[a-zA-Z]\s?=\s?(?=[^=]+$)", "", part)
    given = single_answer(text, _amounts_in)
    if given is None:
        return False if _amounts_in(text) else None
    is_version = re.search(r"(?i)\bversion|\brelease|\bupgrad|版本|升级", part)
    if is_version or _VERSION.search(text[: given.start] + "\0" + text[given.end :]):
        return text[given.start : given.end].strip() == wanted
    return given.is_same(number)


def _amounts_in(text: str) -> list[Number]:
    """Find the numbers of a text that are not of a time of day."""
    clocks = [t for t in times_in(text) if ":" in text[t.start : t.end]]
    return [n for n in numbers_in(text) if not any(c.start <= n.start < c.end for c in clocks)]


def _has_only_units(part: str) -> bool:
    """Whether the powers in a text are those of units or of ten, so that it is a plain number."""
    return not re.search(r"\\(?:sqrt|pi)|[√π]|\d\s?\^|\)\s?\^", re.sub(r"[×x*]\s?10\^\{?-?\d+\}?", "", part))


def _is_same_written(part: str, wanted: str) -> bool:
    """Whether two formulas have the same signs, or the same value."""
    chemical = _CHEMICAL.fullmatch(wanted)
    if chemical:
        bare = re.sub(r"[_{}]", "", wanted)
        return bool(
            re.search(
                rf"(?<![A-Za-z\d]){re.escape(bare)}(?![A-Za-z\d])",
                re.sub(r"[_{}]", "", main_clause(part, has_brackets=True)),
            )
        )
    if UNKNOWN.search(part):
        return False
    candidates = _formulas(part, is_equation="=" in wanted)
    return any(is_same_formula(one, wanted) for one in candidates)


def _formulas(part: str, *, is_equation: bool) -> list[str]:
    """Return parts of a sentence that may be its formula, the likeliest first."""
    pieces = [_WORDS.sub("", p).strip(" ,.:") for p in _BETWEEN.split(part)]
    pieces = [p for p in pieces if p]
    likely = [p for p in pieces if _FORMULA.search(p) or re.search(r"\d", p)] or pieces
    found = dict.fromkeys(_MEASURED.sub("", one) for one in (part, *likely[-1:]))
    if not is_equation:
        found |= dict.fromkeys(f.rpartition("=")[2].strip() for f in list(found) if "=" in f)
    return list(found)[-2:]
