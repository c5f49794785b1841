"""Several values at once: tuples, sets, intervals, matrices, lists, and equations that give each its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from jielong.use.answers.formulas import is_same_formula
from jielong.use.answers.numbers import Number, numbers_in
from jielong.use.answers.spelling import folded

_GROUP = re.compile(
    r"\\?(?P<open>[(\[{])(?P<in>[^()\[\]{}]*(?:\([^()]*\)[^()\[\]{}]*|\{[^{}]*\}[^()\[\]{}]*)*)\\?(?P<close>[)\]}])"
)
_MATRIX = re.compile(r"\\begin\{[bpvBV]?(?:matrix|array)\}(?:\{[^}]*\})?(?P<in>.*?)\\end\{[a-zA-Z]+\}", re.DOTALL)
_ASSIGN = re.compile(
    r"(?P<name>[a-zA-Z])(?:_\{?\d+\}?)?\s?=\s?(?P<value>[^,;=，；或和、]+?)(?=\s*(?:[,;，；或和、]|and\b|or\b|$))"
)
_TURNED = re.compile(r"(?P<low>-?[\d./∞]+)\s?(?P<op>[<≤])\s?(?P<name>[a-zA-Z])")
_UNEQUAL = re.compile(
    r"(?:(?P<low>-?[\d./∞]+)\s?(?P<lo><|≤)\s?)?(?P<name>[a-zA-Z])\s?(?P<op>[<>≤≥])\s?(?P<high>[-+]?[\w./∞\\{}]+)"
)


_QUANTITY = re.compile(
    r"(?P<n>\d+(?:\.\d+)?)\s+(?P<noun>[A-Za-z]{2,})"
    r"|(?P<han>[\u3400-\u9fff]{1,2}?)(?:有|是|为)?(?P<m>\d+(?:\.\d+)?)(?P<counter>[\u3400-\u9fff])?"
)


@dataclass(frozen=True)
class Group:
    """Several values: "ordered" ones between brackets or of names, a "set", a "list", "quantities" of things, or an
    "interval" with open or closed ends.
    """

    kind: str
    items: tuple[str, ...]
    brackets: str = ""
    names: tuple[str, ...] = ()


def group_of(text: str) -> Group | None:
    """Parse a text that is several values and nothing else."""
    text = text.strip()
    matrix = _MATRIX.fullmatch(text)
    if matrix:
        rows = [row for row in re.split(r"\\\\", matrix["in"]) if row.strip()]
        return Group("ordered", tuple(c.strip() for row in rows for c in row.split("&")), f"{len(rows)} rows")
    named = re.fullmatch(r"\((?P<names>[a-z](?:\s?,\s?[a-z])+)\)\s?=\s?(?P<rest>[(\[].*)", text)
    if named:
        values = group_of(named["rest"])
        return Group("ordered", values.items, "(", tuple(re.findall("[a-z]", named["names"]))) if values else None
    unequal = _parse_inequality(text)
    if unequal:
        return unequal
    assigned = list(_ASSIGN.finditer(text))
    if assigned and re.fullmatch(r"[\s,;，；或和、]*(?:and|or)?[\s,;，；或和、]*", _ASSIGN.sub("", text)):
        names = tuple(m["name"] for m in assigned)
        given = tuple(m["value"].strip() for m in assigned)
        if len(set(names)) == len(names) > 1:
            order = sorted(range(len(names)), key=lambda i: names[i])
            return Group("ordered", tuple(given[i] for i in order), "(", tuple(names[i] for i in order))
        if len(names) > 1:
            return Group("set", given)
        if "±" in given[0]:
            return group_of(given[0])
        return None
    sign = re.fullmatch(r"±\s?(?P<value>[\w.\\{}/]+)", text)
    if sign:
        return Group("set", (sign["value"], f"-{sign['value']}"))
    whole = _GROUP.fullmatch(text)
    if whole:
        inner = whole["in"]
        described = re.fullmatch(r"\s*[a-z]\s*[|:∣]\s*(?P<what>.+)", inner)
        if whole["open"] == "{" and described:
            return _parse_inequality(described["what"].strip())
        items = tuple(i.strip() for i in _split_at_commas(inner))
        if len(items) < 2 and whole["open"] != "{":
            return None
        if whole["open"] == "{":
            return Group("set", items)
        return Group("ordered", items, whole["open"] + whole["close"])
    if re.fullmatch(r"(?:\s|,|，|、|and|和|\0)*", _QUANTITY.sub("\0", text)) and len(_QUANTITY.findall(text)) > 1:
        return _quantities(text)
    items = tuple(i.strip() for i in text.split("、")) if not re.search("[，。,是为有]", text) else ()
    return Group("list", items) if len(items) > 1 and all(items) else None


def _quantities(text: str) -> Group:
    """Parse the counts of things that a text names."""
    found = [(m["noun"] or m["han"], m["n"] or m["m"]) for m in _QUANTITY.finditer(text)]
    return Group("quantities", tuple(f"{thing.lower()} {num}" for thing, num in found))


def _parse_inequality(text: str) -> Group | None:
    """Parse an inequality as an interval."""
    turned = _TURNED.fullmatch(text.strip())
    if turned:
        return Group("interval", (turned["low"], "∞"), ("(" if turned["op"] == "<" else "[") + ")")
    found = _UNEQUAL.fullmatch(text.strip())
    if not found:
        return None
    op, high = found["op"], found["high"]
    if found["low"]:
        return Group(
            "interval", (found["low"], high), ("(" if found["lo"] == "<" else "[") + (")" if op == "<" else "]")
        )
    if op in "<≤":
        return Group("interval", ("-∞", high), "(" + (")" if op == "<" else "]"))
    return Group("interval", (high, "∞"), ("(" if op == ">" else "[") + ")")


def _split_at_commas(text: str) -> list[str]:
    """Split at commas that stand in no brackets."""
    found, depth, start = [], 0, 0
    for at, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if c in ",，、;；" and not depth:
            found.append(text[start:at])
            start = at + 1
    return [*found, text[start:]]


def is_same_group(given: Group, right: Group) -> bool:
    """Whether both hold the same values: in order, but for sets, and with the same ends if they are intervals."""
    kinds = {given.kind, right.kind}
    if all(g.brackets.endswith("rows") for g in (given, right)) and given.brackets != right.brackets:
        return False
    if "interval" in kinds and kinds <= {"interval", "ordered"}:
        ends = [tuple(i.replace("+", "").replace("\\", "") for i in g.items) for g in (given, right)]
        return len(ends[0]) == len(ends[1]) == 2 and given.brackets == right.brackets and all(map(_is_same_item, *ends))
    if kinds == {"quantities"}:
        return sorted(given.items) == sorted(right.items)
    if kinds == {"set"} or kinds == {"set", "list"}:
        return len(given.items) == len(right.items) and all(
            any(_is_same_item(g, r) for g in given.items) for r in right.items
        )
    if len(kinds) > 1 and not kinds <= {"ordered", "list"}:
        return False
    if given.names and right.names and given.names != right.names:
        return False
    brackets = {given.brackets, right.brackets}
    is_open = len(brackets) == 2 == len(right.items) and brackets <= {"()", "[]", "(]", "[)"}
    return not is_open and len(given.items) == len(right.items) and all(map(_is_same_item, given.items, right.items))


def _is_same_item(given: str, right: str) -> bool:
    """Whether two items are equal as numbers, formulas or words."""
    if given.replace(" ", "") == right.replace(" ", ""):
        return True
    a, b = one_number(given), one_number(right)
    if a and b:
        return a.is_same(b)
    if re.search(r"[\\^√π]", given + right):
        return is_same_formula(given, right)
    return folded(given) == folded(right)


def group_in(part: str, right: Group) -> Group | None:
    """Find the group in a text that answers: in brackets, as equations, or a list behind its last "is"."""
    if right.kind == "quantities":
        return _quantities(part)
    whole = group_of(part) or group_of(re.sub(r"^[^=]*[^<>≤≥a-zA-Z\d)\s]\s?=\s?", "", part)) if part else None
    if whole:
        return whole
    matrices = list(_MATRIX.finditer(part))
    if matrices:
        return group_of(matrices[-1][0])
    groups = [m for m in _GROUP.finditer(part) if group_of(m[0])]
    if groups:
        return group_of(groups[-1][0])
    assigned = list(_ASSIGN.finditer(part))
    if len(assigned) > 1:
        return group_of(", ".join(m[0] for m in assigned))
    if right.kind == "interval" or (right.kind == "ordered" and len(right.items) == 2):
        unequal = [u for m in (*_TURNED.finditer(part), *_UNEQUAL.finditer(part)) if (u := _parse_inequality(m[0]))]
        if unequal or right.kind == "interval":
            return unequal[-1] if unequal else None
    if right.kind == "list":
        behind = re.split(r"是|为|有|[:：]", part)[-1]
        return group_of(behind) or Group("list", (behind,))
    behind = re.split(r"(?i)\b(?:are|is|be)\b|是|为|有|[:：]", part)[-1]
    numbers = numbers_in(behind)
    gaps = [behind[a.end : b.start] for a, b in pairwise(numbers)]
    if numbers and all(re.fullmatch(r"\s*(?:[,，、和与]|and|or|, and|或)\s*", gap) for gap in gaps):
        return Group("set", tuple(behind[n.start : n.end] for n in numbers))
    return None


def one_number(text: str) -> Number | None:
    """Parse a text that is one number with its unit or counter, and nothing else."""
    found = numbers_in(text)
    if len(found) != 1 or text[: found[0].start].strip(" (≈=") not in ("", "about", "约", "大约", "约为"):
        return None
    rest = text[found[0].end :].strip(" .)。")
    if re.match(r"(?:st|nd|rd|th)\b", rest):
        return None  # 19th is a name
    is_counter = re.fullmatch(r"[\u3400-\u9fff]{0,4}|(?:[a-zA-Z]+\s?){0,2}", rest) is not None
    return found[0] if is_counter and not re.search(r"[=<>^\\]", rest) else None
