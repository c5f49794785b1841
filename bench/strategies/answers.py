"""What a model makes of the documents that are found: any model, and the one that `jielong run reader` trains.

`python -m bench.strategies.answers` asks the questions of `retrieval` in the documents' language: without the library, with
it, and with the right document left out of what is found, where the model should say that the documents do not say.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from bench.strategies.asking import answer_all
from bench.strategies.command import main
from bench.strategies.line import Line, Wanted, shares
from bench.strategies.retrieval import Material, Question, library_of, materials_of, questions
from bench.strategies.setting import Measure, Part, Result, Setting
from jielong.records import Conversation, Message, Sampling
from jielong.use.answers import normal
from jielong.use.port import Options
from jielong.use.retrieval.library import Library
from jielong.use.retrieval.passages import Passage
from jielong.use.strategies import Direct
from jielong.use.strategies.library import FromLibrary, Reading
from jielong.worlds.reading import is_unknown

AS_TAUGHT = Reading(passages=5, template="library", rewrites=False)
"""How the reader was taught to be asked; other models are asked likewise, so that figures of before can be compared."""


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


async def _answered(at: Setting, model: str, material: Material, lang: str) -> list[Line]:
    """Questions in the documents' language: without the library, with it, and with the right document left out."""
    asked = questions(material.sheets, lang, lang, at.num(200, 6), at.seed, material.part)
    ask, name = at.ports.to(model).ask, f"{material.name}, {lang}"
    conversations = [Conversation((Message("user", q.text),)) for q in asked]
    options = Options(Sampling(max_tokens=48, temperature=0.0), at.seed)
    async with library_of(at, material) as library:
        alone, spent_alone = await answer_all([(Direct(), said) for said in conversations], ask, options)
        helper = FromLibrary(library, reading=AS_TAUGHT)
        helped, spent_helped = await answer_all([(helper, said) for said in conversations], ask, options)
        robbers = [FromLibrary(Without(library, q.file), reading=AS_TAUGHT) for q in asked]
        robbed, spent_robbed = await answer_all(zip(robbers, conversations, strict=True), ask, options)
    right_alone, right_helped, right_robbed = (
        shares(is_right(q, o.answer.text) for q, o in zip(asked, made, strict=True)) for made in (alone, helped, robbed)
    )
    first = Line(f"{name}: right alone", right_alone, cost=spent_alone)
    silent = shares(abstains(o.answer.text) for o in robbed)
    return [
        first,
        Line(f"{name}: right with the library", right_helped, Wanted("times", 2), first.beside, cost=spent_helped),
        Line(f"{name}: document left out, right", right_robbed, cost=spent_robbed),
        Line(f"{name}: document left out, abstains", silent, Wanted("at least", 0.8), cost=spent_robbed),
    ]


async def _of(at: Setting, model: str) -> Result:
    parts: list[Part] = []
    for material in materials_of(at):
        works = {f"{material.name} {lang}": partial(_answered, at, model, material, lang) for lang in at.languages}
        parts += [await at.part(name, work) for name, work in works.items()]
    return at.result(parts)


async def measure_model(at: Setting) -> Result:
    return await _of(at, at.model)


async def measure_reader(at: Setting) -> Result:
    return await _of(at, at.trained("reader"))


EXPERIMENTS: dict[str, Measure] = {"answers": measure_model, "reader": measure_reader}

if __name__ == "__main__":
    sys.exit(main(EXPERIMENTS))
