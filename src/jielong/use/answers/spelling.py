"""A uniform spelling of text: LaTeX, Markdown and full-width letters written as plainly as possible, so that equal
meanings compare equal.

Signs that carry meaning stay: exponents become ^2, and a minus is a minus in any notation.
"""

from __future__ import annotations

import re
import unicodedata

from jielong.use.numerals import numbers_in_words

_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿˣ", "0123456789+-()nx", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₙ", "0123456789+-()n", strict=True))
_SIGNS = str.maketrans({**dict.fromkeys("−–‐‑﹣－", "-"), "∕": "/", "⁄": "/", "∶": ":", "〜": "~"})
_LATEX = (
    (re.compile(r"\\[dt]frac"), r"\\frac"),
    (re.compile(r"\\(?:left|right|displaystyle|bigl?|bigr?|limits)(?![a-zA-Z])"), ""),
    (re.compile(r"\\(?:text|mbox|textbf|operatorname|mathrm|mathbf|boldsymbol)\s*\{((?:[^{}]|\{[^{}]*\})*)\}"), r"\1"),
    (re.compile(r"(?<!\\)\\[,;:! ]|\\quad|~"), " "),
    (re.compile(r"\$(?!\s)([^$\n]*?[^\s$])\$(?!\d)"), r"\1"),
    (re.compile(r"\\[()\[\]](?![a-zA-Z])|\$(?!\d)"), ""),
    (re.compile(r"\^\{?\\circ\}?"), "°"),
    (re.compile(r"\\([%$#&_{}])"), r"\1"),
    (re.compile(r"\\leq?(?![a-z])|\\leqslant"), "≤"),
    (re.compile(r"\\geq?(?![a-z])|\\geqslant"), "≥"),
    (re.compile(r"\\infty"), "∞"),
    (re.compile(r"\\pm(?![a-z])"), "±"),
    (re.compile(r"\\(?:times|cdot)(?![a-z])"), "×"),
    (re.compile(r"\\div(?![a-z])"), "÷"),
    (re.compile(r"\\frac(\d)(\d)"), r"\\frac{\1}{\2}"),
)
_FENCE = re.compile(r"(?m)^\s*```\w*\s*$")
_HAN = "零一二三四五六七八九十"
_MARKDOWN = re.compile(
    r"(\*\*|__|`)(?=\S)(.{1,300}?)(?<=\S)\1|(?<![\w*])\*(?=[^\s*])([^*\n]{1,300}?)(?<=[^\s*])\*(?![\w*])"
)


def plain_spelling(text: str) -> str:
    """Convert a text to the uniform spelling; its lines stay."""
    text = re.sub(f"[{''.join(_RAISED)}]+", lambda m: "^" + _grouped("".join(_RAISED[c] for c in m[0])), text)
    text = re.sub(f"[{''.join(_LOWERED)}]+", lambda m: "_" + _grouped("".join(_LOWERED[c] for c in m[0])), text)
    # signs of Chinese sentences stay: English ones end a sentence only before a blank, and a comma may be in a number
    narrow = lambda m: unicodedata.normalize("NFKC", m[0].translate(_SIGNS)).translate(_SIGNS)  # noqa: E731
    text = re.sub("[^，！？；]+", narrow, text)
    text = _FENCE.sub("", text.replace("{,}", ",").replace("$$", "").replace("等于", "="))
    text = re.sub(r"\\(?:begin|end)\{(?:cases|align\*?|aligned|equation\*?|gather\*?)\}", " ", text)
    if not re.search(r"\\begin", text):
        text = re.sub(r"\s*\\\\(?:\s+|(?=[a-z]\s?=))", ", ", text).replace("&", "")
    text = re.sub(rf"([{_HAN}\d]+)分之根号([{_HAN}\d]+)", lambda m: f"√{_digits(m[2])}/{_digits(m[1])}", text)
    text = re.sub(rf"根号\s?([{_HAN}\d]*)", lambda m: f"√{_digits(m[1])}", text)
    text = re.sub(r"每(小时|时|秒)(?:行驶?|走|跑|飞行)?约?(\d[\d.]*)\s?(千米|公里|米)", r"\2\3/\1", text)
    text = _MARKDOWN.sub(lambda m: m[2] or m[3], text)
    for pattern, to in _LATEX:
        text = pattern.sub(to, text)
    return "\n".join(" ".join(line.split()) for line in text.split("\n")).strip()


def _digits(text: str) -> str:
    found = numbers_in_words(text)
    return str(found[0][1]) if found and found[0][0] == text else text


def _grouped(text: str) -> str:
    return text if len(text) == 1 else f"{{{text}}}"


_ARTICLE = re.compile(r"\b(?:the|a|an)\b")


def normal(text: str) -> str:
    """Reduce to lower case, narrow letters, no articles, no punctuation but signs within numbers, single spaces."""
    text = unicodedata.normalize("NFKC", text).lower()
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    text = re.sub(r"(?<!\d)\.|\.(?!\d)|[^\w\s.\-+/%]", " ", text)
    return " ".join(_ARTICLE.sub(" ", text).split())


_ORDINALS = {
    word: f"{number}{'th' if number % 100 in (11, 12, 13) else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
    for number, word in enumerate(
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
        "sixteenth seventeenth eighteenth nineteenth twentieth twenty-first".split(),
        1,
    )
}
_ORDINAL = re.compile(rf"\b(?:{'|'.join(sorted(_ORDINALS, key=len, reverse=True))})\b", re.IGNORECASE)


def folded(text: str, *, keep_hyphens: bool = False) -> str:
    """Reduce words for comparing names: as `normal`, without accents, dots inside of names, and hyphens unless kept."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    between = {"-": "-", ".": " ", "·": " "} if keep_hyphens else {"-": " ", ".": " "}
    bare = _ORDINAL.sub(lambda m: _ORDINALS[m[0].lower()], bare)
    bare = re.sub(r"(?<=[^\W\d_])[-·.‧・•∙'’](?=[^\W\d_])", lambda m: between.get(m[0], ""), bare)
    return normal(bare)
