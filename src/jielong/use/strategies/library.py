"""Answers from one's own documents: find passages, put them before the question, cite them, or say that none was found.

The passages come first and the question last: on a small model the same passages after a long instruction were of no use
(see the log). What a passage says is data of the user's turn; tokenization leaves it no way to forge a turn of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from jielong.config import at_least
from jielong.records import Conversation, Message
from jielong.use.answers import normal
from jielong.use.ledger import note
from jielong.use.port import Answer, Ask, Options
from jielong.use.prompting import fill, language_of
from jielong.use.retrieval.passages import Passage, Searches
from jielong.use.retrieval.terms import terms
from jielong.use.strategy import Strategy, instead, question_of

_CITED = re.compile(r"\[(\d{1,2})\]")


@dataclass(frozen=True)
class FromLibrary(Strategy):
    """The answer of the model to the question with the `k` best passages of the library before it.

    Passages with a score below `threshold` are left out; where none is left, the model is not asked. An answer that cites
    no passage by its number is given the number of the passage that shares most of its words. `template` is the prompt's
    name. Put it to the left of other strategies ("library+vote"): it adds the sources to whatever they give.
    """

    library: Searches
    k: int = 5
    threshold: float = 0.5
    template: str = "library"

    def __post_init__(self) -> None:
        at_least(self, 1, "k")
        at_least(self, 0, "threshold")

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        question = question_of(conversation)
        passages = [p for p in await self.library.search(question, self.k) if p.score >= self.threshold]
        for number, passage in enumerate(passages, start=1):
            note(f"[{number}] {passage.where} ({passage.score:.2f}): {shown(passage.text)}")
        if not passages:
            text = fill("library_nothing", language_of(question))
            note(f"no passage reaches {self.threshold:g}: the model is not asked")
            if options.on_text:
                options.on_text(text)
            return Answer(Message("assistant", text), stop="nothing found")
        grounded = instead(conversation, with_passages(question, [p.text for p in passages], self.template))
        answer = await ask(grounded, options)
        said = answer.text.rstrip()
        cited = cite(said, passages)
        if options.on_text:
            options.on_text(cited.removeprefix(said))
        return replace(answer, message=replace(answer.message, content=cited))


def with_passages(question: str, passages: Sequence[str], template: str = "library") -> str:
    """What the user's turn becomes: numbered passages, and then the question."""
    numbered = "\n".join(f"[{number}] {text}" for number, text in enumerate(passages, start=1))
    return fill(template, language_of(question), passages=numbered, question=question)


def cite(text: str, passages: Sequence[Passage]) -> str:
    """The answer with the number of its passage, and below it where each cited passage comes from."""
    cited = [n for n in dict.fromkeys(int(m) for m in _CITED.findall(text)) if 1 <= n <= len(passages)]
    if not cited:
        best = supporting(text, passages)
        if best is None:
            return text
        cited, text = [best + 1], f"{text} [{best + 1}]"
    sources = "\n".join(f"[{n}] {passages[n - 1].where}" for n in cited)
    return f"{text}\n\n{sources}"


def supporting(text: str, passages: Sequence[Passage]) -> int | None:
    """The index of the passage that shares most of the answer's words, the first of several; None where less than half.

    A short answer that a passage holds as it stands counts as shared whole.
    """
    words = set(terms(text))
    if not words:
        return None
    shares = [1.0 if normal(text) in normal(p.text) else len(words & set(terms(p.text))) / len(words) for p in passages]
    best = max(range(len(shares)), key=shares.__getitem__, default=None)
    return best if best is not None and shares[best] >= 0.5 else None


def shown(text: str, width: int = 80) -> str:
    """The beginning of a text in one line."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
