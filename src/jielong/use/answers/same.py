"""Whether two answers say the same: the answer is found in the text, then its type, then it is compared by that type.

What the right answer is decides what is looked for: a choice, a truth, a date, a time, a tuple or set, a number with its
unit, a formula, or words. What cannot be typed is compared whole. An answer that leaves it open ("5 or 6"), denies it
("not Paris") or gives none ("I don't know") is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from jielong.use.answers.finding import final
from jielong.use.answers.formulas import is_same_formula
from jielong.use.answers.moments import dates_in, times_in
from jielong.use.answers.numbers import Number, numbers_in
from jielong.use.answers.plain import folded, plain

_UNKNOWN = re.compile(
    r"(?i)\b(?:i(?: do not|'?m| am)?(?: don't)? (?:know|not sure|unsure)|i don't know|not sure|cannot (?:answer|be determined|say)"
    r"|can't (?:answer|say|tell)|no idea|it depends|none of (?:the|these|them)|neither)\b"
    r"|不知道|不清楚|不确定|不太清楚|无法(?:确定|回答|判断)|拿不准|不能确定|都不对|没有正确"
)
_EITHER = re.compile(r"(?i)\beither\b|\bor\b|\bmaybe\b.*\bmaybe\b|也可能|或者?|还是|要么")
_DENIED = re.compile(
    r"(?i)(?:\bnot|n't|\bnever|\bno|\brather than|\binstead of|\bexcept|\bother than)(?: definitely| really| the| a| an| in| option)*\s*[\"'“(]?$|(?:不是|并非|绝非|而非|不选|不能选|不等于|非|不为|排除)[“《(]?$"
)
_MAIN = re.compile(
    r"(?i)[,;(]?\s?\b(?:although|though|because|since|whereas|even though|even if|while|as it|as the|unlike|and not|but not|not (?=[A-Z\d])|rather than|instead of|in contrast)\b"
    r"|[,;]\s?(?:as|for|when|which|who|where|if|so that|although)\b|[，,;；]?(?:因为|由于|虽然|尽管|而不是|而非|不是|并非|而不)|[(（]"
)


# --- choices

_LETTERS = re.compile(
    r"(?<![A-Za-z\d_'’])(?P<l>[A-J](?:(?:\s?[,、和及与&]\s?|\s+and\s+|\s)?[A-J])*)(?![A-Za-z\d_'’]|\s?[=+<>^])"
)
_CHOICE = re.compile(
    r"(?i)[(\[]?(?:(?:option|choice|answer|选项?|项)\s*)?[(\[“\"]?(?P<l>[A-J](?:[\s,、和及与&]*(?:and\s)?[A-J])*)[)\]”\"]?\s*项?"
)
_OPTION = re.compile(r"^[(\[]?(?P<l>[A-J])\s*(?:[)\].:、．]|：)\s*(?P<text>\S.*)?$", re.DOTALL)


def _letters(text: str) -> str:
    return "".join(sorted(set(re.findall(r"[A-J]", re.sub("(?i)and", "", text).upper()))))


def _choice(text: str) -> tuple[str, str] | None:
    """(letters, the option's text) of a right answer that is a choice."""
    whole = _CHOICE.fullmatch(text)
    if whole and (len(_letters(whole["l"])) == 1 or whole["l"].upper() == whole["l"]):
        return _letters(whole["l"]), ""
    option = _OPTION.match(text)
    return (option["l"], option["text"] or "") if option else None


def _chosen(part: str) -> str | None:
    """The letters that a text chooses; None where it leaves it open."""
    whole = _choice(part)
    if whole and not whole[1]:
        return whole[0]
    if whole and not re.match(r"(?i)(?:man|woman|\w+ed)\b", whole[1]):
        return whole[0]
    if _UNKNOWN.search(part):
        return None
    text = _main(part)
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
        if not _is_denied(text, m.start())
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
    between = [text[a.end() : b.start()] for a, b in zip(kept, kept[1:], strict=False)]
    if any(_EITHER.search(gap) and len(gap) < 8 for gap in between) or (
        len(kept) > 1 and re.search(r"(?i)\beither\b", text[: kept[0].start()])
    ):
        return None
    return _letters((marked or kept)[-1]["l"])


# --- truths

_TRUE = "yes|true|correct|right|valid|是的?|对的?|正确的?|没错|真|√|✓"
_FALSE = "no|false|incorrect|wrong|invalid|否|错的?|错误的?|不是|不对|不正确|假|×|✗"
_TRUTH = re.compile(rf"(?i)(?:(?P<yes>{_TRUE})|(?P<no>{_FALSE}))")
_JUDGES = re.compile(
    r"(?i)(?P<no>\b(?:not (?:true|correct|right|valid)|untrue|no|not|false|incorrect|wrong|invalid)\b|不(?:是|对|正确|能|可以|会)|错误?|否|没有|假)"
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


def _truth(text: str) -> bool | None:
    found = _TRUTH.fullmatch(text.strip().strip("\"'“”"))
    return bool(found["yes"]) if found else None


def _judged(part: str) -> bool | None:
    whole = _truth(part)
    if whole is not None:
        return whole
    first = re.match(
        r"(?i)(?:yes|true|correct|right|是的|对的?|没错|是|(?P<no>no|false|incorrect|wrong|不是|不对|不能|不会|不可以|否|错误?|没有))(?=[\s,，.。:：!]|$)",
        part,
    )
    if first:
        return not first["no"]
    if _UNKNOWN.search(part):
        return None
    found = [m for m in _JUDGES.finditer(part)]
    return bool(found[-1]["yes"]) if found else None


# --- lists, tuples, sets, intervals

_GROUP = re.compile(
    r"\\?(?P<open>[(\[{])(?P<in>[^()\[\]{}]*(?:\([^()]*\)[^()\[\]{}]*|\{[^{}]*\}[^()\[\]{}]*)*)\\?(?P<close>[)\]}])"
)
_MATRIX = re.compile(r"\\begin\{[bpvBV]?(?:matrix|array)\}(?:\{[^}]*\})?(?P<in>.*?)\\end\{[a-zA-Z]+\}", re.DOTALL)
_ASSIGN = re.compile(
    r"(?P<name>[a-zA-Z])(?:_\{?\d+\}?)?\s?=\s?(?P<value>[^,;=，；或和、]+?)(?=\s*(?:[,;，；或和、]|and\b|or\b|$))"
)
_UNEQUAL = re.compile(
    r"(?:(?P<low>-?[\d./∞]+)\s?(?P<lo><|≤)\s?)?(?P<name>[a-zA-Z])\s?(?P<op>[<>≤≥])\s?(?P<high>[-+]?[\w./∞\\{}]+)"
)


@dataclass(frozen=True)
class _Group:
    """Several values: "ordered" ones between brackets or of names, a "set", or an "interval" with open or closed ends."""

    kind: str
    items: tuple[str, ...]
    brackets: str = ""
    names: tuple[str, ...] = ()


def _group(text: str) -> _Group | None:
    """A text that is several values and nothing else."""
    text = text.strip()
    matrix = _MATRIX.fullmatch(text)
    if matrix:
        rows = [row for row in re.split(r"\\\\", matrix["in"]) if row.strip()]
        return _Group("ordered", tuple(c.strip() for row in rows for c in row.split("&")), f"{len(rows)} rows")
    named = re.fullmatch(r"\((?P<names>[a-z](?:\s?,\s?[a-z])+)\)\s?=\s?(?P<rest>[(\[].*)", text)
    if named:
        inner = _group(named["rest"])
        return _Group("ordered", inner.items, "(", tuple(re.findall("[a-z]", named["names"]))) if inner else None
    unequal = _unequal(text)
    if unequal:
        return unequal
    assigned = list(_ASSIGN.finditer(text))
    if assigned and re.fullmatch(r"[\s,;，；或和、]*(?:and|or)?[\s,;，；或和、]*", _ASSIGN.sub("", text)):
        names = tuple(m["name"] for m in assigned)
        values = tuple(m["value"].strip() for m in assigned)
        if len(set(names)) == len(names) > 1:
            order = sorted(range(len(names)), key=lambda i: names[i])
            return _Group("ordered", tuple(values[i] for i in order), "(", tuple(names[i] for i in order))
        if len(names) > 1:
            return _Group("set", values)
        if "±" in values[0]:
            return _group(values[0])
        return None
    sign = re.fullmatch(r"±\s?(?P<value>[\w.\\{}/]+)", text)
    if sign:
        return _Group("set", (sign["value"], f"-{sign['value']}"))
    whole = _GROUP.fullmatch(text)
    if whole:
        inner = whole["in"]
        described = re.fullmatch(r"\s*[a-z]\s*[|:∣]\s*(?P<what>.+)", inner)
        if whole["open"] == "{" and described:
            return _unequal(described["what"].strip())
        items = tuple(i.strip() for i in _split(inner))
        if len(items) < 2 and whole["open"] != "{":
            return None
        if whole["open"] == "{":
            return _Group("set", items)
        return _Group("ordered", items, whole["open"] + whole["close"])
    items = tuple(i.strip() for i in re.split(r"[、]", text))
    return _Group("list", items) if len(items) > 1 and all(items) else None


def _unequal(text: str) -> _Group | None:
    found = _UNEQUAL.fullmatch(text.strip())
    if not found:
        return None
    op, high = found["op"], found["high"]
    if found["low"]:
        return _Group(
            "interval", (found["low"], high), ("(" if found["lo"] == "<" else "[") + (")" if op == "<" else "]")
        )
    if op in "<≤":
        return _Group("interval", ("-∞", high), "(" + (")" if op == "<" else "]"))
    return _Group("interval", (high, "∞"), ("(" if op == ">" else "[") + ")")


def _split(text: str) -> list[str]:
    """At commas that stand in no brackets."""
    found, depth, start = [], 0, 0
    for at, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if c in ",，、;；" and not depth:
            found.append(text[start:at])
            start = at + 1
    return [*found, text[start:]]


def _is_same_group(given: _Group, right: _Group) -> bool:
    kinds = {given.kind, right.kind}
    if "interval" in kinds and kinds <= {"interval", "ordered"}:
        ends = [tuple(i.replace("+", "").replace("\\", "") for i in g.items) for g in (given, right)]
        return len(ends[0]) == len(ends[1]) == 2 and given.brackets == right.brackets and all(map(_is_same_item, *ends))
    if kinds == {"set"} or kinds == {"set", "list"}:
        return len(given.items) == len(right.items) and all(
            any(_is_same_item(g, r) for g in given.items) for r in right.items
        )
    if len(kinds) > 1 and not kinds <= {"ordered", "list"}:
        return False
    if given.names and right.names and given.names != right.names:
        return False
    is_open = {g.brackets for g in (given, right)} == {"[]", "[)"} or {g.brackets for g in (given, right)} in (
        {"()", "[)"},
        {"(]", "[]"},
        {"()", "(]"},
        {"(]", "[)"},
    )
    return not is_open and len(given.items) == len(right.items) and all(map(_is_same_item, given.items, right.items))


def _is_same_item(given: str, right: str) -> bool:
    if given.replace(" ", "") == right.replace(" ", ""):
        return True
    a, b = _number(given), _number(right)
    if a and b:
        return a.is_same(b)
    if re.search(r"[\\^√π]", given + right):
        return is_same_formula(given, right)
    return folded(given) == folded(right)


def _grouped(part: str, right: _Group) -> _Group | None:
    """The group of a text that answers: in brackets, as equations, or a list behind its last "is"."""
    whole = _group(part) or _group(re.sub(r"^[^=]*[^<>≤≥a-zA-Z\d)\s]\s?=\s?", "", part)) if part else None
    if whole:
        return whole
    matrices = list(_MATRIX.finditer(part))
    if matrices:
        return _group(matrices[-1][0])
    groups = [m for m in _GROUP.finditer(part) if _group(m[0])]
    if groups:
        return _group(groups[-1][0])
    assigned = list(_ASSIGN.finditer(part))
    if len(assigned) > 1:
        return _group(", ".join(m[0] for m in assigned))
    if right.kind == "interval":
        unequal = [u for m in _UNEQUAL.finditer(part) if (u := _unequal(m[0]))]
        return unequal[-1] if unequal else None
    if right.kind == "list":
        behind = re.split(r"是|为|有|[:：]", part)[-1]
        return _group(behind) or _Group("list", (behind,))
    behind = re.split(r"(?i)\b(?:are|is|be)\b|是|为|有|[:：]", part)[-1]
    numbers = numbers_in(behind)
    gaps = [behind[a.end : b.start] for a, b in zip(numbers, numbers[1:], strict=False)]
    if numbers and all(re.fullmatch(r"\s*(?:[,，、和与]|and|or|, and|或)\s*", gap) for gap in gaps):
        return _Group("set", tuple(behind[n.start : n.end] for n in numbers))
    return None


# --- numbers, ratios, dates, times

_RATIO = re.compile(r"(?<![\d:.])(?P<a>\d+(?:\.\d+)?)\s?(?::|比|\bto\b)\s?(?P<b>\d+(?:\.\d+)?)(?![\d:])")
_LAST_MARK = re.compile(r"(?i)=|≈|\b(?:is|are|equals|makes|gives|leaves|get|be|to|about|of)\b|是|为|等于|得|共|剩|约")


def _number(text: str) -> Number | None:
    """A text that is one number with its unit or counter, and nothing else."""
    found = numbers_in(text)
    if len(found) != 1 or text[: found[0].start].strip(" (约≈=") not in ("", "about", "大约", "约为", "+"):
        return None
    rest = text[found[0].end :].strip(" .)。")
    is_counter = re.fullmatch(r"[\u3400-\u9fff]{0,4}|(?:[a-zA-Z]+\s?){0,2}", rest) is not None
    return found[0] if is_counter and not re.search(r"[=<>^\\]", rest) else None


def _ratio(text: str) -> Fraction | None:
    found = list(_RATIO.finditer(text))
    if not found or not Fraction(found[-1]["b"]):
        return None
    return Fraction(found[-1]["a"]) / Fraction(found[-1]["b"])


def _one_of(part: str, find: Callable[[str], Sequence[Any]]) -> Any:
    """The value that a text gives as its answer; None where it gives none, leaves it open, or denies it."""
    if _UNKNOWN.search(part):
        return None
    text = _main(part)
    head = re.split(r"，|,(?=\s)", text, maxsplit=1)[0]
    found = find(head)
    every = find(text)
    is_head = len(found) == 1 and len(head) < len(text) and found[0].end == every[0].end
    if is_head and not head[: found[0].start].strip() and len(head[found[0].end :].strip()) <= 3:
        return found[0]
    found = [one for one in every if not _is_denied(text, one.start)]
    if not found:
        return None
    if any(_EITHER.search(text[a.end : b.start]) for a, b in zip(found, found[1:], strict=False)):
        return None
    return found[-1]


def _main(part: str) -> str:
    """The main clause: without what explains, contrasts or denies behind it."""
    cut = next((m for m in _MAIN.finditer(part) if part[: m.start()].strip(" ,，")), None)
    if cut and re.match(r"[(（]", cut[0]) and not re.search(r"[\u3400-\u9fffA-Za-z]\s?$", part[: cut.start()]):
        return part
    return part[: cut.start()].strip(" ,，") if cut else part


def _is_denied(text: str, start: int) -> bool:
    return bool(_DENIED.search(text[:start].rstrip()))


# --- words

_BEFORE_HAN = "是为叫在于选填了：:（(“《\"'—，,。有即当做的属被、 "
_TITLES = (
    "诗人",
    "作家",
    "作者",
    "画家",
    "皇帝",
    "总统",
    "科学家",
    "城市",
    "国家",
    "首都",
    "词人",
    "文学家",
    "将军",
    "国王",
    "导演",
    "歌手",
    "先生",
    "用",
    "指",
    "到",
    "给",
    "由",
    "和",
)
_AFTER_HAN = "市省县区国人的，,。！!；;）)”》\"'、（( 是吧了呢啊写创所修"
_PLACED = {
    "new",
    "north",
    "south",
    "east",
    "west",
    "northern",
    "southern",
    "eastern",
    "western",
    "upper",
    "lower",
    "saint",
    "st",
    "papua",
    "equatorial",
    "san",
    "los",
    "non",
    "old",
    "great",
    "un",
}


def _says(part: str, right: str, whole: str) -> bool:
    """Whether a text gives these words as its answer."""
    wanted, given = folded(right), folded(part)
    if not wanted:
        return "".join(right.split()) in "".join(part.split()) if right.strip() else not given
    if given == wanted or given.replace(" ", "") == wanted.replace(" ", ""):
        return True
    if _UNKNOWN.search(part):
        return False
    text = _main(part)
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


# --- the comparer

_FORMULA = re.compile(
    r"\\(?:frac|sqrt|pi|sin|cos|tan|log|ln|int|sum|alpha|beta|theta)|[\^√π]|(?<![a-zA-Z])[a-zA-Z]\s?[-+*/=]\s?(?:[\d(\\]|-?[a-zA-Z](?![a-zA-Z]))|\d\s?[-+*/×]\s?(?:[(\\]|[a-zA-Z](?![a-zA-Z]))|[a-zA-Z]_|\)\s?\(|\d[a-z](?![a-z])|\b(?:sin|cos|tan|log|ln)\b"
)
_EXACT = re.compile(r"\S+@\S+|\d+(?:\.\d+){2,}(?:[-\w.]*)|[vV]\d+(?:\.\d+)*\S*|\+?\d[\d\s()-]{8,}\d|https?://\S+")
_VERSION = re.compile(r"(?:[vV]|[Vv]ersion |[A-Z][A-Za-z]+ |版本号?[是为]?)\0|\0\s?版")
_CHEMICAL = re.compile(r"(?:[A-Z][a-z]?(?:_?\{?\d*\}?)){2,}|[A-Z][a-z]?_?\{?\d+\}?")


def is_same(given: str, right: str) -> bool:
    """Whether the answer `given` says what the right one says."""
    wanted = _trimmed(plain(right))
    part = final(given)
    if not wanted:
        return not part
    if not part:
        return False
    return _is_same_part(part, wanted, plain(given))


def chosen(text: str) -> str:
    """The letter, or letters, of the choices that an answer names; "" where it names none."""
    return _chosen(final(text)) or ""


def agree(one: str, other: str) -> bool:
    """Whether two answers, each with all its words, come to the same."""
    a, b = final(one), final(other)
    return a == b or (bool(a and b) and (_is_same_part(a, _kernel(b), a) or _is_same_part(b, _kernel(a), b)))


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
    if _choice(part) or _truth(part) is not None or _number(part) or _group(part) or len(part) < 8:
        return part
    text = _main(part)
    letters = _chosen(part)
    if letters and re.search(r"(?i)选|option|choice|answer", part):
        return letters
    for find in (dates_in, times_in, numbers_in):
        value = _one_of(text, find)
        if value is not None:
            return text[value.start : value.end]
    behind = re.split(r"(?i)\b(?:is|was|are|were)\b|[是为叫]", text)
    return behind[-1].strip(" :,，") if len(behind) > 1 and behind[-1].strip(" :,，") else part


def _trimmed(text: str) -> str:
    text = text.strip()
    if re.search(r"(?i)\b[ap]\.m\.$|B\.C\.$|A\.D\.$", text):
        return text
    return text.rstrip(".。!！;；") or text


def _is_same_part(part: str, wanted: str, whole: str) -> bool:
    choice = _choice(wanted)
    if choice:
        chosen = _chosen(part)
        return chosen == choice[0] if chosen else bool(choice[1]) and _says(part, choice[1], whole)
    truth = _truth(wanted)
    if truth is not None:
        return _judged(part) is truth
    if _EXACT.fullmatch(wanted) and not dates_in(wanted):
        return _has_exactly(part, wanted)
    date = _only(wanted, dates_in)
    if date:
        given = _one_of(part, dates_in)
        return given is not None and given.says(date)
    ratio = _RATIO.fullmatch(wanted)
    if ratio and not re.fullmatch(r"\d{1,2}:\d\d", wanted.replace(" ", "")):
        found = _ratio(part)
        return found is not None and found == _ratio(wanted) and not _EITHER.search(part)
    time = _only(wanted, times_in)
    if time:
        given = _one_of(part, times_in)
        return given is not None and given.is_same(time)
    group = _group(wanted)
    if group:
        found_group = _grouped(part, group) or _grouped(_main(part), group)
        return found_group is not None and _is_same_group(found_group, group)
    number = _number(wanted)
    if number:
        return _is_same_number(part, number, wanted)
    if _FORMULA.search(wanted) or _CHEMICAL.fullmatch(wanted):
        return _is_same_written(part, wanted)
    return _says(part, wanted, whole)


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
    found = [m for m in re.finditer(rf"(?<![A-Za-z\d.@-])[vV]?{re.escape(bare)}(?![A-Za-z\d@-]|\.[A-Za-z\d])", part)]
    return any(not _is_denied(part, m.start()) for m in found)


def _is_same_number(part: str, number: Number, wanted: str) -> bool:
    if _RATIO.fullmatch(part) and not _RATIO.fullmatch(wanted):
        return False
    if re.search(r"\\(?:sqrt|pi)|[√π^]", part) and not numbers_only(part):
        return _is_same_written(part, wanted)
    given = _one_of(re.sub(r"^[a-zA-Z]\s?=\s?(?=[^=]+$)", "", part), numbers_in)
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
        return bool(re.search(rf"(?<![A-Za-z\d]){re.escape(bare)}(?![A-Za-z\d])", re.sub(r"[_{}]", "", _main(part))))
    if _UNKNOWN.search(part):
        return False
    candidates = _formulas(part, is_equation="=" in wanted)
    return any(is_same_formula(one, wanted) for one in candidates)


def _formulas(part: str, *, is_equation: bool) -> list[str]:
    """What of a sentence may be its formula, the likeliest first."""
    behind = re.split(
        r"[\u3400-\u9fff，。：；]+|(?i:\b(?:is|are|equals|becomes|of|so|therefore|hence|the|result|answer)\b)|[,;](?=\s)",
        part,
    )
    found = [b.strip(" ,.:") for b in behind if b.strip(" ,.:")]
    last = found[-1] if found else part
    found = [part, last] if last != part else [part]
    if not is_equation:
        found += [f.rpartition("=")[2].strip() for f in found if "=" in f]
    return list(dict.fromkeys(found))[-2:] if len(found) > 2 else list(dict.fromkeys(found))
