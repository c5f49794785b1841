"""Answer the easiest part first and the whole last (least-to-most prompting, Zhou et al. 2022, arXiv 2205.10625).

The model first lists simpler questions. They are answered in turn, each with all earlier answers in its prompt, and
then the question itself. In `decompose+vote:n=5` the next strategy answers each of them, and the model alone makes the
list.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from jielong.config import at_least
from jielong.records import Conversation
from jielong.use.answers import normal
from jielong.use.ledger import keep, note
from jielong.use.listing import lines, parse_list
from jielong.use.port import Answer, Ask, Options
from jielong.use.prompting import fill, language_of
from jielong.use.strategy import Strategy, model_under, question_of, replace_question


@dataclass(frozen=True)
class Decompose(Strategy):
    """The answer to a question after the answers to at most `parts` simpler ones."""

    parts: int = 5

    def __post_init__(self) -> None:
        at_least(self, 1, "parts")

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        question = question_of(conversation)
        language = language_of(question)
        split = await model_under(ask)(
            replace_question(conversation, fill("decompose_split", language, question=question, parts=str(self.parts))),
            options.draw("decompose"),
        )
        # the question itself comes last, whether or not the model put it there
        parts = [part for part in parse_list(split.text, self.parts) if normal(part) != normal(question)]
        note(f"{len(parts)} simpler questions first")
        known: list[str] = []
        for number, part in enumerate(parts, 1):
            text = fill("decompose_part", language, question=question, known=lines(known, language), part=part)
            answer = await ask(
                replace_question(conversation, text), options.draw("decompose", "part", number, label=f"part {number}")
            )
            keep(answer)
            known.append(f"{part}\n{answer.text.strip()}")
        if not known:
            return await ask(conversation, options)
        text = fill("decompose_whole", language, known=lines(known, language), question=question)
        return await ask(replace_question(conversation, text), replace(options, label="the whole"))
