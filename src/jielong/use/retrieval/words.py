"""The meaning-carrying words of a text, in English and Chinese, and whether another text holds them.

Numbers read alike in all notations; times, telephone numbers and codes count whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from jielong.use.numerals import numbers_in_words
from jielong.use.retrieval.terms import is_han, terms

_FUNCTION_WORDS = frozenset(
    "a about according after ahead all also am an and any are as at be been being before but by can could did do does doing done "
    "each either every for from get given had has have having he her here hers him his how i if in information into is it "
    "its itself just let may me mentioned might mine must my no nor not of on one only or our ours out over per please "
    "provided said say shall she should so some such tell than that the their them then there these they this those to too "
    "under until up us use very was we were what when where whether which while who whom whose why will with would yes you "
    "your yours answer document indicate indicated mention note passage question show state stated "
    "suggest suggested tell text often many much long kind called however name old "
    "ask back come comes find get gets getting give gives go goes going got happen happens mean means need needs pay set show "
    "shows take takes tell towards want wants".split()
)
_HAN_FUNCTION = re.compile(
    "根据|按照|资料|文件|答案|其实|请问|告诉|知道|什么时候|什么|怎么样|怎样|怎么|为什么|多少钱|多少|多久|多长|多大|几点|几岁|哪一天|哪一年|哪年|哪天|"
    "哪里|哪儿|哪个|哪些|哪|谁|几|可以|应该|需要|一共|时候|我们|你们|他们|我|你|他|她|它|这|那|的|了|吗|呢|吧|啊|是|在|有|和|与|也|都|就|把|"
    "被|到|要|会|能|请|为|叫|个|次|您|用|不|没|花|收|轮到|要是|如果|一[份个天次张件杯碗只台]"
)
_ORDINALS = dict(
    zip("first second third fourth fifth sixth seventh eighth ninth tenth".split(), range(1, 11), strict=True)
)
_CALENDAR = frozenset(
    "monday tuesday wednesday thursday friday saturday sunday january february march april june july august september october "
    "november december".split()
)
_SENTENCE = re.compile(r"[^.!?。！？\n]*(?:[.!?](?!\s|$)[^.!?。！？\n]*)*(?:[.!?。！？]+|\n|$)")
_CLAUSE = re.compile(r"[;，；]|[,:：](?!\d)|\band\b|\bbut\b|—|–")
_ABBREVIATION = re.compile(r"\b(?:Mrs?|Ms|Dr|Prof|St|No|vs|etc|e\.g|i\.e|a\.m|p\.m)\.$")
_DATE = re.compile(r"(?:(\d{4})年)?(\d{1,2})月(\d{1,2})[日号]?")
_WHOLE = r"\d+(?:[:：]\d+(?:\.\d+)?)+|[A-Za-z\d]+(?:-[A-Za-z\d]+)*-?\d(?:[A-Za-z\d]*(?:-[A-Za-z\d]+)*)"
"""Times, ratios, telephone numbers and codes: whole, as half of one is another."""
_PIECE = re.compile(rf"[.!?\n]|\d+(?:\.\d+)?(?![\w:：.-])|{_WHOLE}|[A-Za-zÀ-ɏ\d]+(?:\.\d+)?|[^\W_A-Za-zÀ-ɏ\d]+")
_CURRENCY = str.maketrans({"$": " dollar ", "€": " euro ", "£": " pound ", "¥": " 元 ", "￥": " 元 ", "%": " percent "})


@dataclass(frozen=True)
class Words:
    """The meaning-carrying words of a text: numbers as digits, names, other words, and of Chinese whole runs and
    bigrams.
    """

    numbers: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    plain: frozenset[str] = frozenset()
    runs: frozenset[str] = frozenset()
    bigrams: frozenset[str] = frozenset()

    @cached_property
    def held(self) -> frozenset[str]:
        """Return everything that others are looked for in."""
        return self.numbers | self.names | self.plain | self.bigrams

    @cached_property
    def all_terms(self) -> frozenset[str]:
        """Return everything that is looked for, a run of Chinese as one."""
        return self.numbers | self.names | self.plain | self.runs


@lru_cache(maxsize=1024)
def words_of(text: str) -> Words:
    """Return the meaning-carrying words of a text."""
    numbers: set[str] = set()
    names: set[str] = set()
    plain: set[str] = set()
    runs: set[str] = set()
    is_first = True
    for piece in _PIECE.findall(with_digits(text.translate(_CURRENCY))):
        if piece in ".!?\n":
            is_first = True
            continue
        if is_han(piece[0]):
            runs |= set(_HAN_FUNCTION.sub(" ", piece).split())
        elif re.fullmatch(r"\d+(?:\.\d+)?", piece):
            numbers.add(_number(piece))
        elif re.fullmatch(_WHOLE, piece) and re.search(r"\d[:：-]|-", piece):
            numbers.add(piece.lower().replace("：", ":"))
        elif piece.lower() in _ORDINALS:
            numbers.add(f"{_ORDINALS[piece.lower()]}.")
        elif piece.lower() not in _FUNCTION_WORDS:
            is_dated = terms(piece)[0] in _CALENDAR
            is_name = (piece[0].isupper() and not is_first) or any(c.isdigit() for c in piece) or is_dated
            (names if is_name else plain).update(t for t in terms(piece) if t not in _FUNCTION_WORDS)
        is_first = False
    bigrams = frozenset(t for run in runs for t in terms(run))
    return Words(frozenset(numbers), frozenset(names), frozenset(plain - names), frozenset(runs), bigrams)


def sentences(text: str) -> list[str]:
    """Split a text into sentences in order; joined they are the text."""
    found: list[str] = []
    for match in _SENTENCE.finditer(text):
        if found and _ABBREVIATION.search(found[-1].rstrip()):
            found[-1] += match[0]
        elif match[0]:
            found.append(match[0])
    return found


def clauses(sentence: str) -> Iterator[str]:
    """Yield the parts of a sentence between commas, colons, "and" and "but"."""
    start = 0
    for match in _CLAUSE.finditer(sentence):
        yield sentence[start : match.start()]
        start = match.end()
    yield sentence[start:]


def share(wanted: Iterable[str], held: frozenset[str]) -> float:
    """Return the share of the words that are among others; 1 of no words."""
    wanted = list(wanted)
    return sum(share_held(word, held) for word in wanted) / len(wanted) if wanted else 1.0


def share_held(word: str, held: frozenset[str]) -> float:
    """Return how much of a word is among others: of a run of Chinese a share, of another word all or nothing.

    Another form of a word counts: "paint" and "painted". A Chinese character counts if it is held alone or in a pair
    with its neighbour.
    """
    if word in held:
        return 1.0
    if is_han(word):
        if len(word) == 1:
            return float(any(is_han(other) and word in other for other in held))
        covered = set()
        for i in range(len(word) - 1):
            if word[i : i + 2] in held:
                covered |= {i, i + 1}
        covered |= {i for i, c in enumerate(word) if c in held}
        return len(covered) / len(word)
    if word[0].isdigit() or len(word) < 4:
        return 0.0
    return float(any(_is_form_of(word, other) or _is_form_of(other, word) for other in held))


def _is_form_of(word: str, other: str) -> bool:
    """Whether two words are forms of one, by their common beginning."""
    return (
        len(other) >= 4
        and not other[0].isdigit()
        and len(word) - len(other) <= 3
        and word.startswith(other[: max(4, len(other) - 1)])
    )


def with_digits(text: str) -> str:
    """Write each number of a text in digits without separators, so that 1,150, 1150 and 一千一百五十 read the same."""
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    done = 0
    for written, value in numbers_in_words(text):
        at = text.index(written, done)
        if written.lower() in ("one", "一"):  # seldom a number: "one of them", "一起"
            done = at + len(written)
            continue
        text = f"{text[:at]}{value}{text[at + len(written) :]}"
        done = at + len(str(value))
    return _DATE.sub(lambda m: f" {m[2]}-{m[3]} ", text)


def _number(digits: str) -> str:
    whole, _, decimals = digits.partition(".")
    return (whole.lstrip("0") or "0") + (f".{decimals}" if decimals.strip("0") else "")
