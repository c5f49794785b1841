"""Instructions that a program can check: "say haha 100 times", "no digits", "three bullets", "answer in Chinese".

A checker is a function of the answer and its parameters that returns true or false. A task's item names its checkers
with their parameters, as {"kind": "words", "at_most": 50}. Words are separated by spaces or punctuation, and each Han
character is a word of its own; full-width signs count as the narrow ones, so that one checker serves both languages.
The method is IFEval's (Zhou et al. 2023, arXiv 2311.07911).
"""

from __future__ import annotations

import inspect
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jielong.errors import DataError, did_you_mean
from jielong.outside import parse_json
from jielong.use.prompting import language_of

MANY = 1_000_000

_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_HAN}]|[^\W\d_{_HAN}]+(?:['’\-][^\W\d_{_HAN}]+)*|\d+(?:[.,]\d+)*")
_SENTENCE_END = re.compile(r"(?<!\d)[.!?。]+|[.!?。]+(?!\d)")
_BULLET = re.compile(r"^\s*[*\-•·]\s+\S", re.MULTILINE)
_NUMBERED = re.compile(r"^\s*(\d+)[.)、]\s*\S", re.MULTILINE)


def to_narrow(text: str) -> str:
    """Convert full-width signs to narrow ones, and strip white space around."""
    return unicodedata.normalize("NFKC", text).strip()


def words(text: str) -> list[str]:
    """Return the words, numbers and single Han characters, in order."""
    return _WORD.findall(to_narrow(text))


def _count_phrase(text: str, phrase: str) -> int:
    """Count a phrase in a text, whatever its case; a phrase of letters only as whole words."""
    plain, wanted = to_narrow(text).lower(), to_narrow(phrase).lower()
    if re.fullmatch(r"[^\W_]+(?:\s+[^\W_]+)*", wanted) and not re.search(f"[{_HAN}]", wanted):
        return len(re.findall(rf"(?<![^\W_{_HAN}]){re.escape(wanted)}(?![^\W_{_HAN}])", plain))
    return plain.count(wanted)


def _paragraphs(text: str) -> list[str]:
    return [part for part in re.split(r"\n\s*\n", text.strip()) if part.strip()]


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _count_sentences(text: str) -> int:
    parts = _SENTENCE_END.split(to_narrow(text))
    return sum(bool(words(part)) for part in parts)


def _parse_json(text: str) -> Any:
    """Parse a text that is bare JSON, or JSON in a fence. Returns None if it is neither."""
    fenced = re.fullmatch(r"```(?:json)?\s*\n(.*)\n```", text.strip(), re.DOTALL)
    try:
        return parse_json(fenced[1] if fenced else text)
    except DataError:
        return None


def _counts_up(numbers: Sequence[str], count: int) -> bool:
    return [int(n) for n in numbers] == list(range(1, count + 1))


def _heading_numbers(text: str, name: str) -> list[str]:
    """Return the numbers of headings such as "Section 1" or "第1节" (then `name` is 第)."""
    return re.findall(rf"^\W*{re.escape(to_narrow(name))}\s*(\d+)", to_narrow(text), re.MULTILINE | re.IGNORECASE)


def _has_title(text: str) -> bool:
    first = (_lines(text) or [""])[0].strip()
    return bool(re.fullmatch(r"<<[^<>]+>>|\[[^\[\]]+\]|《[^《》]+》|【[^【】]+】", first))


def _is_quoted(text: str) -> bool:
    text = text.strip()
    return len(text) > 2 and text[0] + text[-1] in ('""', "“”", "「」", "『』")


def _opens_with(text: str, paragraph: int, word: str) -> bool:
    """Whether the paragraph with this number begins with these words."""
    parts = _paragraphs(text)
    found = words(parts[paragraph - 1]) if 1 <= paragraph <= len(parts) else []
    wanted = words(word.lower())
    return [w.lower() for w in found[: len(wanted)]] == wanted


def _count_capitals(text: str) -> int:
    return sum(len(w) > 1 and w.isupper() for w in words(text))


def _is_sorted(lines: Sequence[str]) -> bool:
    plain = [line.strip().lower() for line in lines]
    return len(plain) > 1 and plain == sorted(plain)


# Ranges have both ends: `at_least` and `at_most`, each of which may be left out.
CHECKERS: dict[str, Callable[..., bool]] = {
    "repeat": lambda text, phrase, count: _count_phrase(text, phrase) == count,
    "only-repeats": lambda text, phrase: (
        not set(words(text.lower())) - set(words(phrase.lower())) and bool(words(text))
    ),
    "copy": lambda text, of: text.strip() == of.strip(),
    "starts-with": lambda text, phrase: to_narrow(text).lower().startswith(to_narrow(phrase).lower()),
    "ends-with": lambda text, phrase: to_narrow(text).lower().endswith(to_narrow(phrase).lower()),
    "one-of": lambda text, options: to_narrow(text).lower().rstrip(".。") in [to_narrow(o).lower() for o in options],
    "includes": lambda text, phrases: all(_count_phrase(text, p) for p in phrases),
    "excludes": lambda text, phrases: bool(text.strip()) and not any(_count_phrase(text, p) for p in phrases),
    "frequency": lambda text, phrase, at_least=0, at_most=MANY: at_least <= _count_phrase(text, phrase) <= at_most,
    "letter": lambda text, letter, at_least=0, at_most=MANY: (
        bool(text.strip()) and at_least <= to_narrow(text).lower().count(letter.lower()) <= at_most
    ),
    "words": lambda text, at_least=1, at_most=MANY: at_least <= len(words(text)) <= at_most,
    "characters": lambda text, at_least=1, at_most=MANY: at_least <= len(re.sub(r"\s", "", text)) <= at_most,
    "sentences": lambda text, at_least=1, at_most=MANY: at_least <= _count_sentences(text) <= at_most,
    "paragraphs": lambda text, at_least=1, at_most=MANY: at_least <= len(_paragraphs(text)) <= at_most,
    "lines": lambda text, at_least=1, at_most=MANY: at_least <= len(_lines(text)) <= at_most,
    "bullets": lambda text, count: len(_BULLET.findall(text)) == count,
    "numbered": lambda text, count: _counts_up(_NUMBERED.findall(text), count),
    "sections": lambda text, count, name: _counts_up(_heading_numbers(text, name), count),
    "sorted-lines": lambda text: _is_sorted(_lines(text)),
    "json": lambda text: _parse_json(text) is not None,
    "json-keys": lambda text, keys: isinstance(_parse_json(text), dict) and set(_parse_json(text)) == set(keys),
    "title": _has_title,
    "quoted": _is_quoted,
    "placeholders": lambda text, at_least: len(re.findall(r"\[[^\[\]\n]+\]", text)) >= at_least,
    "highlights": lambda text, at_least: len(re.findall(r"(?<!\*)\*{1,2}[^*\s][^*\n]*\*{1,2}", text)) >= at_least,
    "postscript": lambda text, marker: bool(_lines(text)) and to_narrow(_lines(text)[-1]).startswith(to_narrow(marker)),
    "two-answers": lambda text: (
        sum(bool(part.strip()) for part in text.split("******")) == 2 == len(text.split("******"))
    ),
    "opens-paragraph": _opens_with,
    "lower-case": lambda text: bool(text.strip()) and not any(c.isupper() for c in text),
    "upper-case": lambda text: any(c.isupper() for c in text) and not any(c.islower() for c in text),
    "capital-words": lambda text, at_least=0, at_most=MANY: at_least <= _count_capitals(text) <= at_most,
    "no-digits": lambda text: bool(text.strip()) and not any(c.isdigit() for c in text),
    "no-commas": lambda text: bool(text.strip()) and not re.search("[,，、]", text),
    "no-exclamations": lambda text: bool(text.strip()) and not re.search("[!！]", text),
    "language": lambda text, is_: bool(re.search(r"[^\W\d_]", text)) and language_of(text) == is_,
}
"""Each takes the answer and the parameters of its instruction. An empty answer follows nothing."""


def read_checkers(specs: Any) -> tuple[Mapping[str, Any], ...]:
    """Read specifications, {"kind": ..., parameter: ...} each. Raises DataError, which names the wrong one and a valid
    form.
    """
    if not isinstance(specs, list) or not specs or not all(isinstance(s, dict) for s in specs):
        raise DataError(f'checkers are {specs!r}; expected a list such as [{{"kind": "no-digits"}}]')
    for spec in specs:
        kind = spec.get("kind")
        if not isinstance(kind, str) or kind not in CHECKERS:
            raise DataError(f"unknown checker {kind!r:.80}; {did_you_mean(str(kind), CHECKERS)}")
        names = list(inspect.signature(CHECKERS[kind]).parameters)[1:]
        try:
            is_followed(spec, "1. A text, 文字。")
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError):
            wanted = ", ".join(n.rstrip("_") for n in names) or "nothing"
            raise DataError(f"checker {kind!r} cannot take {_parameters(spec)}; it takes {wanted}") from None
    return tuple(specs)


def is_followed(spec: Mapping[str, Any], text: str) -> bool:
    """Whether the answer follows one instruction."""
    return bool(CHECKERS[spec["kind"]](text, **_parameters(spec)))


def _parameters(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"is_" if key == "is" else key: value for key, value in spec.items() if key != "kind"}


@dataclass(frozen=True)
class Followed:
    """The results of a prompt's instructions on one answer, checked strictly and loosely."""

    strict: tuple[bool, ...]
    loose: tuple[bool, ...]


def check_instructions(specs: Sequence[Mapping[str, Any]], text: str) -> Followed:
    """Check an answer against instructions, strictly and loosely.

    A loose check ignores a first or last line about the answer, and the asterisks of Markdown.
    """
    readings = _loose_readings(text)
    return Followed(
        tuple(is_followed(spec, text) for spec in specs),
        tuple(any(is_followed(spec, reading) for reading in readings) for spec in specs),
    )


def _loose_readings(text: str) -> list[str]:
    """Return the text without its first or last line, and without asterisks, in all combinations."""
    lines = text.strip().split("\n")
    cuts = (
        [text] if len(lines) == 1 else [text, *("\n".join(cut).strip() for cut in (lines[1:], lines[:-1], lines[1:-1]))]
    )
    return [reading for cut in cuts if cut for reading in (cut, cut.replace("*", ""))]


@dataclass(frozen=True)
class Accuracy:
    """The shares of prompts with all instructions followed, and of instructions followed, strictly and loosely."""

    prompts_strict: float
    prompts_loose: float
    instructions_strict: float
    instructions_loose: float


def accuracy(answers: Sequence[Followed]) -> Accuracy:
    """Compute the four figures of IFEval. Raises DataError if there is no answer."""
    if not answers:
        raise DataError("there are no answers to take the accuracy of")
    strict, loose = [a.strict for a in answers], [a.loose for a in answers]
    return Accuracy(_share(map(all, strict)), _share(map(all, loose)), _share(sum(strict, ())), _share(sum(loose, ())))


def _share(values: Iterable[bool]) -> float:
    found = list(values)
    return sum(found) / len(found)
