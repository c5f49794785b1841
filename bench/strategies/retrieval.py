"""Questions about a thousand documents: what is found, and what a model makes of it.

The documents are sheets about twenty things in each of fifty countries (its garden, its ship); half of them are in
Chinese, and what they say is invented, so that no model can know it. There are three sets: the one that the thresholds
of relevance were chosen on, and two of other things, places and wordings (`unseen`), one to develop with and one held
out. Asked in words that no recipe trains on, in the document's language and in the other one:

- recall: whether the right document is among the five passages found, by words alone and by words and vectors;
- relevance: the share of these questions that pass the threshold, and of questions that no document answers: everyday
  ones, and those about the same things in countries that have no sheet;
- answers (with a model): right without the library and with it, and, with the right document left out of what is found,
  how often it says that the documents do not say.

`python -m bench.strategies.retrieval [MODEL]`; with the same --folder the library is not made again.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from bench.strategies.unseen import HALVES, SEEN_PLACES, everyday, unseen_places, unseen_sheets
from jielong.cli.library import open_library
from jielong.cli.ports import MODEL_HELP, open_port
from jielong.errors import DataError
from jielong.evaluate.statistics import paired_bootstrap
from jielong.records import Conversation, Message, Sampling
from jielong.runs import derive_seed, write_text
from jielong.use.answers import normal
from jielong.use.port import Ask, Options
from jielong.use.retrieval.library import Library
from jielong.use.retrieval.passages import Passage
from jielong.use.strategies import Direct
from jielong.use.strategies.library import FromLibrary
from jielong.use.strategy import Strategy, run
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


@dataclass(frozen=True)
class Material:
    """The sheets of a library, others that it has not, whose wordings are those of `part`, and what has nothing to do with any."""

    name: str
    part: str
    sheets: Sequence[Sheet]
    lacking: Sequence[Sheet]
    off_topic: Mapping[str, Sequence[str]]


def materials(places: int, seed: int) -> list[Material]:
    """What the thresholds were chosen on, and the two halves of what they were not."""
    seen, further = real_places()[:places], unseen_places(HALVES[0])[:places]
    found = [Material("seen", "test", write_sheets(seen, "test", seed), write_sheets(further, "test", seed), OFF_TOPIC)]
    for half in HALVES:
        named = unseen_places(half)
        sheets, lacking = (unseen_sheets(some, half, seed) for some in (named[:places], named[places:]))
        found.append(Material(half, half, sheets, lacking, everyday(half)))
    return found


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


async def make_library(sheets: Sequence[Sheet], folder: Path) -> None:
    """The sheets as files, read into a library, or as much of it as is missing."""
    for number, sheet in enumerate(sheets):
        write_text(folder / "documents" / file_name(number), sheet.text + "\n")
    with closing(open_library(folder / "library.db", is_new=True)) as library:
        began_s = time.monotonic()
        library.add([folder / "documents"])
        added_s, began_s = time.monotonic() - began_s, time.monotonic()
        made = await library.embed()
        took_s = time.monotonic() - began_s
    size = (folder / "library.db").stat().st_size
    told = f"{len(sheets):,} documents read in {added_s:.1f} s, {made:,} vectors made in {took_s:.1f} s, {size:,} bytes"
    print(told, file=sys.stderr, flush=True)


async def recall(library: Library, asked: Sequence[Question], k: int = 5) -> float:
    found = [await library.search(q.text, k) for q in asked]
    return sum(any(p.source.endswith(q.file) for p in ps) for q, ps in zip(asked, found, strict=True)) / len(asked)


async def passing(library: Library, texts: Sequence[str], threshold: float) -> float:
    """The share of questions for which a passage reaches the threshold."""
    best = [max((p.score for p in await library.search(text)), default=0.0) for text in texts]
    return sum(score >= threshold for score in best) / len(best)


@dataclass(frozen=True)
class Without:
    """The library as if one file had never been in it."""

    library: Library
    file: str

    async def search(self, query: str, k: int = 5) -> Sequence[Passage]:
        found = await self.library.search(query, k + 3)
        return [p for p in found if not p.source.endswith(self.file)][:k]


def is_right(question: Question, answer: str) -> bool:
    """Whether the value is in the answer, before the sources that are named below it."""
    said = f" {normal(answer.partition(chr(10) + chr(10))[0])} "
    wanted = normal(question.value)
    return wanted in said if question.lang == "zh" else f" {wanted} " in said


def abstains(answer: str) -> bool:
    return is_unknown(answer) or "Nothing relevant" in answer or "没有找到相关" in answer


async def answers(strategies: Sequence[Strategy], asked: Sequence[Question], ask: Ask) -> list[str]:
    """What each question is answered with its strategy, all at the same time."""
    options = Options(Sampling(max_tokens=48, temperature=0.0))
    outcomes = await asyncio.gather(
        *(
            run(strategy, Conversation((Message("user", q.text),)), ask, options)
            for strategy, q in zip(strategies, asked, strict=True)
        )
    )
    return [outcome.answer.text for outcome in outcomes]


async def measure(folder: Path, model: str | None, num: int, places: int, seed: int) -> None:
    print("| set | asked in | documents in | recall@5, words | words and vectors | pass the threshold |")
    print("|---|---|---|---|---|---|")
    asked: dict[Path, dict[str, list[Question]]] = {}
    for material in materials(places, seed):
        home = folder / material.name.replace(" ", "-")
        await make_library(material.sheets, home)
        with closing(open_library(home / "library.db")) as library:
            asked[home] = await measure_search(library, material, num, seed)
    for home, own in asked.items() if model else ():
        with closing(open_library(home / "library.db")) as library:
            await ask_model(library, str(model), own)


async def measure_search(library: Library, material: Material, num: int, seed: int) -> dict[str, list[Question]]:
    """Rows of the table; the questions in the language of their documents."""
    threshold, embedder = FromLibrary(library).threshold, library.embedder
    own: dict[str, list[Question]] = {}
    for lang, about in product(LANGS, LANGS):
        asked = questions(material.sheets, about, lang, num, seed, material.part)
        if lang == about:
            own[lang] = asked
        library.embedder = None
        by_words = await recall(library, asked)
        library.embedder = embedder
        fused, passed = await recall(library, asked), await passing(library, [q.text for q in asked], threshold)
        print(f"| {material.name} | {lang} | {about} | {by_words:.1%} | {fused:.1%} | {passed:.1%} |")
    for lang in LANGS:
        lacking = [q.text for q in questions(material.lacking, lang, lang, num, seed, material.part)]
        for what, texts in (("no such place", lacking), ("everyday", material.off_topic[lang])):
            passed = await passing(library, texts, threshold)
            print(f"| {material.name} | {lang} | none has it: {what} |  |  | {passed:.1%} |", flush=True)
    return own


async def ask_model(library: Library, model: str, asked: dict[str, list[Question]]) -> None:
    """The table of answers; the intervals are paired bootstraps over the questions."""
    port = open_port(model)
    print(
        f"\n{model}, {library.path.parent.name}\n\n| language | alone | with the library | gain | right one left out: right | abstains |"
    )
    print("|---|---|---|---|---|---|")
    try:
        for lang, some in asked.items():
            alone = await answers([Direct()] * len(some), some, port.ask)
            helped = await answers([FromLibrary(library)] * len(some), some, port.ask)
            robbed = await answers([FromLibrary(Without(library, q.file)) for q in some], some, port.ask)
            right = [
                [float(is_right(q, a)) for q, a in zip(some, said, strict=True)] for said in (alone, helped, robbed)
            ]
            shares = [sum(r) / len(some) for r in right]
            gain = paired_bootstrap(right[1], right[0])
            silent = sum(map(abstains, robbed)) / len(some)
            print(
                f"| {lang} | {shares[0]:.1%} | {shares[1]:.1%} | {gain.low:+.1%} to {gain.high:+.1%} | {shares[2]:.1%} "
                f"| {silent:.1%} |"
            )
            for question, said, without in list(zip(some, helped, robbed, strict=True))[:3]:
                print(f"  {question.text}\n    {said!r}\n    left out: {without!r}", file=sys.stderr)
    finally:
        await port.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.strategies.retrieval", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("model", nargs="?", help=f"{MODEL_HELP}; without it, retrieval alone is measured")
    parser.add_argument("--places", type=int, default=50, help="each has about twenty documents (default: 50)")
    parser.add_argument("--questions", type=int, default=200, help="in each language about each (default: 200)")
    parser.add_argument("--folder", type=Path, help="where documents and library lie (default: a temporary one)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if not 3 <= options.places <= SEEN_PLACES:
        raise DataError(f"--places is {options.places}; it must lie between 3 and {SEEN_PLACES}")
    with tempfile.TemporaryDirectory(prefix="jielong-retrieval-") as temporary:
        folder = options.folder or Path(temporary)
        asyncio.run(measure(folder, options.model, options.questions, options.places, options.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
