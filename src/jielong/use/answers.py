"""The answer inside an answer: what two differently worded texts must share to count as the same.

A long answer ends with its result; voting, scoring and exact match compare results and not words.
"""

from __future__ import annotations

import re
import unicodedata

from jielong.use.numerals import numbers_in_words

_MARKED = re.compile(
    r"(?:final answer|the answer is|answer|therefore|so it is|答案是|答案|所以)\s*[:\uff1a=]?\s*(?P<rest>[^\n]+)",
    re.IGNORECASE,
)
_ANSWER_LINE = re.compile(r"^[^\w\n]*(?:final )?(?:answer|答案)[^\w\n]*[:\uff1a]", re.IGNORECASE | re.MULTILINE)
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
# a sign after a digit or a letter is an operation, or part of a date
_NUMBER = re.compile(r"(?:(?<![\w.)])[-+])?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?")
_YES_OR_NO = re.compile(
    r"(?P<yes>\b(?:yes|correct|right|true)\b|没错|没问题|是的|\A是|对(?!不起)|正确)|\b(?:no|not|incorrect|wrong|false)\b|不|否|错|没",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"\b(?:the|a|an)\b")


def final(text: str) -> str:
    """What comes after the last "answer:" (boxed, or in the last line that is not empty), without the words around it."""
    boxed = _BOXED.findall(text)
    if boxed:
        return str(boxed[-1]).strip()
    marked = [m["rest"] for m in _MARKED.finditer(text)]
    lines = [line for line in text.splitlines() if line.strip()]
    return (marked[-1] if marked else lines[-1] if lines else "").strip().rstrip(".。!\uff01")


def is_answered(text: str) -> bool:
    """Whether a line begins with "Answer:" or "答案："."""
    return bool(_ANSWER_LINE.search(text))


def last_number(text: str) -> str:
    """The last number of a text in digits, thousands without commas and no zeros at the end; "" where there is none."""
    found = _NUMBER.findall(unicodedata.normalize("NFKC", text).replace("\u2212", "-"))
    if not found:
        return ""
    number = found[-1].replace(",", "").lstrip("+")
    return number.rstrip("0").rstrip(".") if "." in number and "/" not in number else number


def normal(text: str) -> str:
    """Lower case, full-width letters narrow, no articles, no punctuation but signs within numbers, single spaces."""
    text = unicodedata.normalize("NFKC", text).lower()
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    text = re.sub(r"(?<!\d)\.|\.(?!\d)|[^\w\s.\-+/%]", " ", text)
    return " ".join(_ARTICLE.sub(" ", text).split())


def key(text: str) -> str:
    """By what answers are told apart: the number at the end of the final part if there is one, or else its words.

    A final part that is nothing but a number in words is that number.
    """
    end = final(text)
    if last_number(end):
        return last_number(end)
    words = normal(end)
    said = numbers_in_words(words)
    return str(said[0][1]) if said and said[0][0] == words else words


def is_same(text: str, right: str) -> bool:
    """Whether an answer says what the right one says: the same number at its end, or its words somewhere in it."""
    if last_number(right):
        return _number(final(text)) == _number(final(right))
    wanted, given = normal(right), normal(text)
    return bool(re.search(rf"(?<![a-z]){re.escape(wanted)}(?![a-z])", given)) if wanted else not given


def _number(end: str) -> str:
    """The last number of a text in digits, or else in words; "" where there is none."""
    in_words = numbers_in_words(end)
    return last_number(end) or (str(in_words[-1][1]) if in_words else "")


def says_yes(text: str) -> bool | None:
    """Whether the first word that judges is a yes or a no, in either language; None where there is none."""
    found = _YES_OR_NO.search(text.strip())
    return bool(found["yes"]) if found else None
