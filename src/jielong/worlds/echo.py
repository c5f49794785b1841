"""Copying exercises with random words, from which a small model learns to copy before it learns what copying is for.

A word is made of random pieces, so no table of words helps, only looking back. There are four exercises, each with
fresh words: to repeat what is said; to say the record of a list that is asked for, or that there is none (records share
words, so all of a key has to be compared); to name what two lists have in common; and to say of a few words which of
them a list has. In training on next tokens such copying appears late and all at once (Olsson et al. 2022, arXiv
2209.11895). To repeat, by itself, is learned in some 150 steps, and what is learned then serves the others, which alone
take ten times as long.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from jielong.worlds.nonsense import HAN

LANGS = ("en", "zh")

Kind = Literal["repeat", "record", "common", "there"]

_COMMA = {"en": ", ", "zh": "、"}
_SPACE = {"en": " ", "zh": ""}
_RECORD = {
    "en": ("{key}: {value}", "the {key} is {value}", "{key} = {value}", "{key}, {value}", "{key} {value}"),
    "zh": ("{key}：{value}", "{key}是{value}", "{key}={value}", "{key}，{value}", "{key}的{value}"),
}
_END = {"en": (". ", "; ", "\n", " / "), "zh": ("。", "；", "\n", " / ")}
_NONE = {"en": "none", "zh": "没有"}
_LISTS = {"en": ("{a}. {b}", "{a}\n{b}", "seen: {a}. wanted: {b}"), "zh": ("{a}。{b}", "{a}\n{b}", "看到{a}。要{b}")}
_THERE = {"en": ("{word} (here)", "{word} (?)"), "zh": ("{word}（这里）", "{word}（？）")}


@dataclass(frozen=True)
class Exercise:
    """A question and its one right answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class Pieces:
    """The pieces that words are made of: letters or longer pieces of Latin words, and Han characters, with some others
    mixed in.
    """

    latin: Sequence[str]
    han: Sequence[str]

    def words(self, lang: str, count: int, rng: random.Random) -> list[str]:
        """Make different words of one to four pieces, or numbers now and then."""
        found: dict[str, None] = {}
        while len(found) < count:
            known = self.latin
            if lang == "zh":
                known = self.han if rng.random() < 0.7 else HAN
            word = "".join(rng.choices(known, k=rng.choice((1, 2, 2, 3, 4))))
            word = word.capitalize() if rng.random() < 0.3 else word
            found[word if rng.random() < 0.9 else str(rng.randrange(10 ** rng.randint(1, 4)))] = None
        return list(found)


def exercises(pieces: Pieces, kinds: Sequence[Kind], count: int, rng: random.Random) -> list[Exercise]:
    """Make `count` exercises of these kinds, each in one of the languages."""
    lang = rng.choice(LANGS)
    return [_WRITERS[rng.choice(kinds)](pieces, lang, rng) for _ in range(count)]


def _repeat(pieces: Pieces, lang: str, rng: random.Random) -> Exercise:
    said = _SPACE[lang].join(pieces.words(lang, rng.randint(2, 5), rng))
    return Exercise(said, said)


def _record(pieces: Pieces, lang: str, rng: random.Random) -> Exercise:
    """Ask for one key of several that share words; one in six is not there."""
    width = rng.choice((1, 2, 2, 3))
    columns = [pieces.words(lang, 7 if width == 1 else 3, rng) for _ in range(width)]
    keys = rng.sample(list(itertools.product(*columns)), rng.randint(3, 6) + 1)
    form, end, space = rng.choice(_RECORD[lang]), rng.choice(_END[lang]), _SPACE[lang]
    missing, *shown = (space.join(key) for key in keys)
    values = (space.join(pieces.words(lang, rng.choice((1, 1, 2)), rng)) for _ in shown)
    records = [form.format(key=key, value=value) for key, value in zip(shown, values, strict=True)]
    asked = rng.randrange(6)
    if not asked:
        return Exercise(f"{end.join(records)}{end}{missing}?", form.format(key=missing, value=_NONE[lang]))
    number = rng.randrange(len(shown))
    return Exercise(f"{end.join(records)}{end}{shown[number]}?", records[number])


def _shared_words(pieces: Pieces, lang: str, rng: random.Random) -> Exercise:
    """Ask for the one or two words that occur in both of two lists, in the order of the second."""
    num_common = rng.choice((1, 1, 1, 2))
    words = pieces.words(lang, rng.randint(4, 10), rng)
    common, rest = words[:num_common], words[num_common:]
    cut = rng.randint(1, len(rest))
    first, second = [*common, *rest[:cut]], [*common, *rest[cut:]]
    rng.shuffle(first)
    rng.shuffle(second)
    comma = _COMMA[lang]
    question = rng.choice(_LISTS[lang]).format(a=comma.join(first), b=comma.join(second))
    return Exercise(question, comma.join(word for word in second if word in common))


def _listed_words(pieces: Pieces, lang: str, rng: random.Random) -> Exercise:
    """Make an exercise that shows a list of words and asks of one to three words whether each is in it. In a third of
    the exercises an entry is two words, and entries may share one.
    """
    width = rng.choice((1, 1, 2))
    columns = [pieces.words(lang, 9 if width == 1 else 3, rng) for _ in range(width)]
    words = [_SPACE[lang].join(word) for word in itertools.product(*columns)]
    listed = rng.sample(words, rng.randint(1, 6))
    asked = rng.sample(words, rng.randint(1, 3))
    comma = _COMMA[lang]
    question = rng.choice(_LISTS[lang]).format(a=comma.join(listed), b=comma.join(asked))
    return Exercise(question, comma.join(_THERE[lang][word not in listed].format(word=word) for word in asked))


_WRITERS: dict[Kind, Callable[[Pieces, str, random.Random], Exercise]] = {
    "repeat": _repeat,
    "record": _record,
    "common": _shared_words,
    "there": _listed_words,
}
