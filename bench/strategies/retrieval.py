"""Questions about a thousand documents: what is found, and what a model makes of it.

The documents are sheets about twenty things in each of the fifty countries with most people (its garden, its ship);
half of them are in Chinese, and what they say is invented, so that no model can know it. Asked in words that no recipe
trains on, in the document's language and in the other one:

- recall: whether the right document is among the five passages found, by words alone and by words and vectors;
- relevance: the share of these questions, and of everyday ones that no document answers, that pass the threshold;
- answers (with a model): right without the library and with it, and, with the right document left out of what is found,
  how often it says that the documents do not say.

`python -m bench.strategies.retrieval`; the library lies in the results folder and is made once. `bench/strategies/reader.py` asks
the same of the model that `jielong run reader` trains.
"""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial

from bench.strategies.asking import answer_all
from bench.strategies.command import main
from bench.strategies.line import Line, Wanted, shares
from bench.strategies.setting import Result, Setting
from jielong.cli.library import open_library
from jielong.records import Conversation, Message, Sampling
from jielong.runs import derive_seed, write_text
from jielong.use.answers import normal
from jielong.use.port import Ask, Options
from jielong.use.retrieval.library import Library
from jielong.use.retrieval.passages import Passage
from jielong.use.strategies import Direct
from jielong.use.strategies.library import FromLibrary
from jielong.worlds.reading import LANGS, Sheet, is_unknown, real_places, write_sheets

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


def questions(sheets: Sequence[Sheet], about: str, lang: str, num: int, seed: int) -> list[Question]:
    """`num` questions in `lang` about different sheets in the language `about`."""
    rng = random.Random(derive_seed(seed, "questions", about, lang))
    chosen = rng.sample([(i, s) for i, s in enumerate(sheets) if s.lang == about], num)
    made = []
    for number, sheet in chosen:
        relation, value = rng.choice(sheet.facts)
        made.append(Question(sheet.question(relation, lang, "test", rng), lang, sheet, value, file_name(number)))
    return made


def file_name(number: int) -> str:
    return f"sheet-{number:04d}.txt"


def sheets_of(at: Setting) -> list[Sheet]:
    """Twenty sheets about each place."""
    return write_sheets(real_places()[: 3 if at.is_quick else 50], "test", at.seed)


@asynccontextmanager
async def library_of(at: Setting) -> AsyncIterator[Library]:
    """The library of all sheets; what is missing of it is made."""
    folder = at.results / f"library-{at.seed}"
    for number, sheet in enumerate(sheets_of(at)):
        write_text(folder / "documents" / file_name(number), sheet.text + "\n")
    with closing(open_library(folder / "library.db", is_new=True)) as library:
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


async def _recalled(at: Setting, lang: str, about: str) -> list[Line]:
    asked = questions(sheets_of(at), about, lang, at.num(200, 6), at.seed)
    name = f"asked in {lang}, documents in {about}"
    async with library_of(at) as library:
        passed = await passing(library, [q.text for q in asked])
        fused = await found(library, asked)
        library.embedder = None
        by_words = await found(library, asked)
    # across languages words can find nothing, and the aim was for each language
    wanted = Wanted("at least", 0.95) if lang == about else None
    return [
        Line(f"recall@5, words, {name}", by_words),
        Line(f"recall@5, words and vectors, {name}", fused, wanted),
        Line(f"passes the threshold, {name}", passed),
    ]


async def _off_topic(at: Setting, lang: str) -> list[Line]:
    async with library_of(at) as library:
        return [Line(f"passes the threshold, {lang}, no document has it", await passing(library, OFF_TOPIC[lang]))]


async def measure(at: Setting) -> Result:
    works = {f"recall {lang} {about}": partial(_recalled, at, lang, about) for lang in LANGS for about in LANGS}
    works |= {f"off topic {lang}": partial(_off_topic, at, lang) for lang in LANGS}
    return at.result([await at.part(name, work) for name, work in works.items()])


if __name__ == "__main__":
    sys.exit(main({"retrieval": measure}))
