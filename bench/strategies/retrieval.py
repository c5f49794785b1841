"""Questions about a thousand documents: what is found (what a model makes of it is `bench/strategies/answers.py`).

The documents are sheets about twenty things in each of fifty countries (its garden, its ship); half of them are in
Chinese, and what they say is invented, so that no model can know it. There are three sets: the one that the thresholds
of relevance were chosen on, and two of other things, places and wordings (`unseen`), one to develop with and one held
out. Asked in words that no recipe trains on, in the document's language and in the other one:

- recall: whether the right document is among the five passages found, by words alone and by words and vectors;
- relevance: the share of these questions that pass the threshold, and of questions that no document answers: everyday
  ones, and those about the same things in countries that have no sheet.

`python -m bench.strategies.retrieval`; the libraries lie in the results folder and are made once.
"""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from itertools import product

from bench.strategies.command import main
from bench.strategies.line import Line, Wanted, shares
from bench.strategies.setting import Part, Result, Setting
from bench.strategies.unseen import HALVES, SEEN_PLACES, everyday, unseen_places, unseen_sheets
from jielong.opening.libraries import open_library
from jielong.runs import derive_seed, write_text
from jielong.use.retrieval.library import Library
from jielong.use.strategies.library import FromLibrary
from jielong.worlds.reading import LANGS, Sheet, real_places, write_sheets

# What nobody's sheets say; half of them share words with the sheets' questions.
OFF_TOPIC = {
    "en": (
        "How do I boil an egg?|Who painted the ceiling of the chapel in Rome?|What is the square root of 81?|Write a poem about rain.|"
        "How many legs does a spider have?|Can you say what the weather will be like tomorrow?|What does photosynthesis mean?|"
        "I would like to know how to tie a tie.|Which planet is the largest?|How does a bicycle stay upright?|"
        "What is the number of days in a leap year?|Who wrote the first computer program?|Why is the sky blue?|"
        "I would like to know a good recipe for bread.|What is the opening move of a game of chess called?|How fast is light?|"
        "Translate good morning into French.|Can you say how vaccines work?|How do I learn to swim?|What rhymes with orange?"
    ).split("|"),
    "zh": (
        "怎样煮鸡蛋？|谁画了罗马那座教堂的天花板？|八十一的平方根是多少？|写一首关于雨的诗。|蜘蛛有几条腿？|你知道明天的天气怎么样吗？|"
        "光合作用是什么意思？|我想了解怎么打领带。|哪颗行星最大？|自行车为什么不会倒？|闰年有多少天？|第一个计算机程序是谁写的？|"
        "天空为什么是蓝色的？|我想了解做面包的好方法。|国际象棋的开局叫什么？|光的速度有多快？|把早上好翻译成法语。|"
        "你知道疫苗是怎么起作用的吗？|怎样学会游泳？|什么字和月亮押韵？"
    ).split("|"),
}


@dataclass(frozen=True)
class Question:
    """What is asked in `lang` about one sheet, the value that answers it, and the file the sheet is in."""

    text: str
    lang: str
    sheet: Sheet
    value: str
    file: str


@dataclass(frozen=True)
class Material:
    """The sheets of a library, others that it has not, whose wordings are those of `part`, and what has nothing to do with any."""

    name: str
    part: str
    sheets: Sequence[Sheet]
    lacking: Sequence[Sheet]
    off_topic: Mapping[str, Sequence[str]]


def materials(places: int, seed: int) -> list[Material]:
    """What the thresholds were chosen on, with so many places, and the two halves of what they were not."""
    seen, further = real_places()[:places], unseen_places(HALVES[0])[:places]
    found = [Material("seen", "test", write_sheets(seen, "test", seed), write_sheets(further, "test", seed), OFF_TOPIC)]
    for half in HALVES:
        named = unseen_places(half)
        sheets, lacking = (unseen_sheets(some, half, seed) for some in (named[:places], named[places:]))
        found.append(Material(half, half, sheets, lacking, everyday(half)))
    return found


def materials_of(at: Setting) -> list[Material]:
    """All of them; of the first a small one where the setting is quick, as vectors take time."""
    return materials(3, at.seed)[:1] if at.is_quick else materials(SEEN_PLACES, at.seed)


def questions(
    sheets: Sequence[Sheet], about: str, lang: str, num: int, seed: int, part: str = "test"
) -> list[Question]:
    """`num` questions in `lang` about different sheets in the language `about`, in the wordings of `part`."""
    rng = random.Random(derive_seed(seed, "questions", about, lang))
    chosen = rng.sample([(i, s) for i, s in enumerate(sheets) if s.lang == about], num)
    made = []
    for number, sheet in chosen:
        relation, value = rng.choice(sheet.facts)
        made.append(Question(sheet.question(relation, lang, part, rng), lang, sheet, value, file_name(number)))
    return made


def file_name(number: int) -> str:
    return f"sheet-{number:04d}.txt"


@asynccontextmanager
async def library_of(at: Setting, material: Material) -> AsyncIterator[Library]:
    """The library of all its sheets; what is missing of it is made."""
    folder = at.results / f"library-{at.seed}" / material.name.replace(" ", "-")
    for number, sheet in enumerate(material.sheets):
        write_text(folder / "documents" / file_name(number), sheet.text + "\n")
    with closing(open_library(folder / "library.db", tell=print, is_new=True)) as library:
        library.add([folder / "documents"])
        await library.embed()
        yield library


async def found(library: Library, asked: Sequence[Question], k: int = 5) -> tuple[float, ...]:
    """Of each question, whether its document is among the `k` passages."""
    passages = [await library.search(q.text, k) for q in asked]
    return shares(any(p.source.endswith(q.file) for p in ps) for q, ps in zip(asked, passages, strict=True))


async def passing(library: Library, texts: Sequence[str]) -> tuple[float, ...]:
    """Of each question, whether a passage reaches the threshold."""
    threshold = FromLibrary(library).threshold
    best = [max((p.score for p in await library.search(text)), default=0.0) for text in texts]
    return shares(score >= threshold for score in best)


async def _recalled(at: Setting, material: Material, lang: str, about: str) -> list[Line]:
    asked = questions(material.sheets, about, lang, at.num(200, 6), at.seed, material.part)
    name = f"{material.name}, asked in {lang}, documents in {about}"
    async with library_of(at, material) as library:
        passed = await passing(library, [q.text for q in asked])
        fused = await found(library, asked)
        library.embedder = None
        by_words = await found(library, asked)
    return [
        Line(f"recall@5, words, {name}", by_words),
        Line(f"recall@5, words and vectors, {name}", fused, Wanted("at least", 0.95)),
        Line(f"passes the threshold, {name}", passed),
    ]


async def _lacking(at: Setting, material: Material, lang: str) -> list[Line]:
    lacking = questions(material.lacking, lang, lang, at.num(200, 6), at.seed, material.part)
    name = f"passes the threshold, {material.name}, {lang}, none has it"
    async with library_of(at, material) as library:
        return [
            Line(f"{name}: no such place", await passing(library, [q.text for q in lacking])),
            Line(f"{name}: everyday", await passing(library, material.off_topic[lang])),
        ]


async def measure(at: Setting) -> Result:
    parts: list[Part] = []
    for material in materials_of(at):
        works = {
            f"{material.name} {lang} {about}": partial(_recalled, at, material, lang, about)
            for lang, about in product(LANGS, LANGS)
        }
        works |= {f"{material.name} {lang} none": partial(_lacking, at, material, lang) for lang in LANGS}
        parts += [await at.part(name, work) for name, work in works.items()]
    return at.result(parts)


if __name__ == "__main__":
    sys.exit(main({"retrieval": measure}))
