"""Answers from a user's documents: find passages, put them before the question, cite those that support the answer.

The passages come first and the question last: on a small model the same passages after a long instruction were of no
use (see the log). The text of a passage is data of the user's turn; tokenization leaves it no way to forge a turn of
its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from jielong.config import at_least
from jielong.errors import TooLongError
from jielong.records import Conversation, Message
from jielong.use.ledger import note
from jielong.use.port import Answer, Ask, Options
from jielong.use.prompting import fill, language_of
from jielong.use.retrieval.passages import Passage, Searches
from jielong.use.retrieval.queries import asks, is_talk, leans, with_turns_before, without_sources
from jielong.use.retrieval.support import nearest, says_something, supporting
from jielong.use.retrieval.words import sentences, share_held, words_of
from jielong.use.strategy import Strategy, model_under, question_of, replace_question

_MARK = re.compile(r"\s*\[\d{1,2}\]")
_ABSTAINS = re.compile(
    r"\b(?:do(?:es)?|did) ?n[o'’]t (?:say|mention|state|tell|contain|provide|specify|know)|not (?:in|mentioned|stated|said)\b|"
    r"\bno information\b|资料[里中]?没有|没有(?:提到|说明|提供|相关)|未提[到及]|不知道",
    re.IGNORECASE,
)
_MOST_REWRITTEN = 300
_STRONG = 0.8
"""A score from which on a question that stands by itself is not searched for in any other way."""
_COMPARED = 5
"""Passages that are compared where a question leans on those before it."""


@dataclass(frozen=True)
class Reading:
    """The settings for showing documents to a model: the number of passages, the prompt, and the tasks it is trusted
    with.
    """

    passages: int = 5
    template: str = "library_alone"
    rewrites: bool = True
    """Whether the model rewrites a question that leans on the turns before it; else the turns are joined."""
    rambles: bool = False
    """Whether the rest of an answer is left out after a sentence that a passage says and one that none says."""


@dataclass(frozen=True)
class FromLibrary(Strategy):
    """The answer to a question that is asked with the `k` best passages of the library before it.

    Passages with a score below `threshold` are left out; if none is left, the model is not asked. A sentence carries
    the number of a passage only if that passage supports it (`retrieval.support`). If no passage supports the answer, a
    note says so. A `k` of 0 and a `template` of "" stand for the values in `reading`. Put it to the left of other
    strategies ("library+vote"): it adds sources to their answers.
    """

    library: Searches
    k: int = 0
    threshold: float = 0.5
    template: str = ""
    reading: Reading = field(default_factory=Reading)

    def __post_init__(self) -> None:
        at_least(self, 0, "k", "threshold")

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        said = question_of(conversation)
        if is_talk(said):
            note("nothing is searched for: no question to the documents")
            return await ask(conversation, options)
        question, found = await self._find_passages(conversation, ask, options)
        passages = [p for p in found if p.score >= self.threshold]
        for number, passage in enumerate(passages, start=1):
            text = f"[{number}] {passage.where} ({passage.score:.2f}): {shorten_to_line(passage.text)}"
            note(text, passage=passage, number=number, query=question)
        if not passages and not asks(said):
            note("nothing is found, and nothing was asked: the model answers without documents")
            return await ask(_without_sources(conversation), options)
        if not passages:
            text = fill("library_nothing", language_of(said))
            note(f"no passage reaches {self.threshold:g}: the model is not asked")
            if options.on_text:
                options.on_text(text)
            return Answer(Message("assistant", text), stop="nothing found")
        answer, cited = await self._answer_from(conversation, question, passages, ask, options)
        told = cited.told
        text = cited.whole(answer.text)
        if options.on_text:
            options.on_text(text.removeprefix(told if text.startswith(told) else told.rstrip()))
        return replace(answer, message=replace(answer.message, content=text))

    async def _answer_from(
        self, conversation: Conversation, question: str, passages: list[Passage], ask: Ask, options: Options
    ) -> tuple[Answer, Cited]:
        """Answer the last question after the passages, as many of the best as the model has room for."""
        said, template = question_of(conversation), self.template or self.reading.template
        while True:
            cited = Cited((question, said), passages, self.reading.rambles)
            put = replace_question(
                _without_sources(conversation), with_passages(said, [p.text for p in passages], template)
            )
            try:
                return await ask(put, replace(options, on_text=_citing_callback(cited, options))), cited
            except TooLongError:
                if len(passages) < 2:
                    raise
                note(f"[{len(passages)}] is left out: the model has no room for it")
                passages = passages[:-1]

    async def _find_passages(self, conversation: Conversation, ask: Ask, options: Options) -> tuple[str, list[Passage]]:
        """Return the last question in a self-contained form, and the best passages for it.

        A follow-up is searched for together with the question it refers to, and so is a question that finds little
        alone.
        """
        said, k = question_of(conversation), self.k or self.reading.passages
        question, queries = with_turns_before(conversation.messages)
        is_leaning = question != said and leans(said)
        alone = [] if is_leaning else list(await self.library.search(said, k))
        if question == said or (alone and alone[0].score >= _STRONG):
            return said, alone
        if self.reading.rewrites and is_leaning:
            written = await self._rewrite_question(conversation, ask, options)
            if written:
                question, queries = written, (written,)
        own, joined = words_of(said).all_terms, list[Passage]()
        for query in queries:
            note(f"searched for: {query}")
            joined += await self.library.search(query, max(k, _COMPARED))
        if not is_leaning:  # what speaks of the turns before alone is no answer to a question of its own
            joined = [p for p in joined if any(share_held(w, words_of(p.text).held) for w in own)]
        found = {p.text: p for p in sorted((*alone, *joined), key=lambda p: p.score)}.values()
        best = sorted(found, key=lambda p: (-p.score, -sum(share_held(w, words_of(p.text).held) for w in own)))
        return question, best[:k]

    async def _rewrite_question(self, conversation: Conversation, ask: Ask, options: Options) -> str:
        """Let the model rewrite the last question in a self-contained form. Returns "" if the rewrite contains new
        words.
        """
        said = question_of(conversation)
        asked = replace_question(
            _without_sources(conversation), fill("library_rewrite", language_of(said), question=said)
        )
        draw = options.draw("rewrite", label="rewrite", temperature=0.0, max_tokens=64)
        written = (await model_under(ask)(asked, draw)).text.strip().strip('"“”')
        before = words_of(" ".join(m.text for m in conversation.messages)).held
        return written if len(written) <= _MOST_REWRITTEN and words_of(written).held <= before else ""


class Cited:
    """An answer sentence by sentence, each with the number of the passage that supports it."""

    def __init__(self, questions: tuple[str, str], passages: Sequence[Passage], rambles: bool = False) -> None:
        """Start; `questions` are the self-contained question, and the question as the user wrote it."""
        self.told = ""
        """What has been handed out so far."""
        self._questions, self._passages, self._rambles = questions, passages, rambles
        self._language = language_of(questions[1])
        self._texts = [(p.text, p.source) for p in passages]
        self._written = ""
        self._num_read = 0
        self._numbers: list[int] = []
        self._unsupported = ""

    def push(self, piece: str) -> str:
        """Add a piece of text; return the sentences that are now complete, with their citations."""
        self._written += piece
        return self._read(sentences(self._written)[self._num_read : -1])

    def whole(self, text: str) -> str:
        """Return the whole answer with citations and the list of sources, or with a note that there are none."""
        self._written = text.rstrip()
        self._read(sentences(self._written)[self._num_read :])
        body, notes = self.told.rstrip(), self._notes()
        return "\n\n".join(filter(None, (body, notes)))

    def _read(self, found: Sequence[str]) -> str:
        """Add citations to complete sentences; return their text."""
        taken = ""
        for sentence in found:
            self._num_read += 1
            taken += self._cite(sentence)
        self.told += taken
        return taken

    def _cite(self, sentence: str) -> str:
        """Return a sentence with the number of the passage that supports it, or without a number if none does."""
        sentence = _MARK.sub("", sentence)
        bare = sentence.strip()
        if self._unsupported and self._numbers and self._rambles:
            return ""
        if not bare or self._unsupported or not says_something(bare, self._questions[0]) or _ABSTAINS.search(bare):
            return sentence
        index = supporting(bare, self._questions, self._texts)
        if index is None and self._numbers:  # further sentences may be about something else than the question
            index = supporting(bare, ("",), self._texts)
        if index is None:
            self._unsupported = bare
            return "" if self._numbers and self._rambles else sentence
        self._numbers.append(index + 1)
        blank = "" if bare.endswith(("。", "！", "？")) else " "
        return f"{sentence.rstrip()}{blank}[{index + 1}]{sentence[len(sentence.rstrip()) :]}"

    def _notes(self) -> str:
        """Return the list of sources, or a note that nothing supports the answer, with the nearest passage."""
        sources = "\n".join(f"[{n}] {self._passages[n - 1].where}" for n in dict.fromkeys(self._numbers))
        if self._numbers and (self._rambles or not self._unsupported):
            return sources
        told = [fill("library_unsupported", self._language)] if self._unsupported else []
        near = nearest(self._questions[0], self._texts)
        if near is not None:
            index, text = near
            told.append(fill("library_nearest", self._language, text=text, where=self._passages[index].where))
        return "\n\n".join(filter(None, (" ".join(told), sources)))


def _citing_callback(cited: Cited, options: Options) -> Callable[[str], None] | None:
    """Return a callback that adds citations to a model's pieces and passes them to the listener."""
    if options.on_text is None:
        return None
    tell = options.on_text

    def push(piece: str) -> None:
        sentence = cited.push(piece)
        if sentence:
            tell(sentence)

    return push


def _without_sources(conversation: Conversation) -> Conversation:
    """Return the conversation without the lists of sources below its answers, which a model would imitate."""
    messages = [
        replace(m, content=without_sources(m.text)) if m.role == "assistant" and isinstance(m.content, str) else m
        for m in conversation.messages
    ]
    return replace(conversation, messages=tuple(messages))


def with_passages(question: str, passages: Sequence[str], template: str = "library") -> str:
    """Return the user's turn: numbered passages, and then the question."""
    numbered = "\n".join(f"[{number}] {text}" for number, text in enumerate(passages, start=1))
    return fill(template, language_of(question), passages=numbered, question=question)


def shorten_to_line(text: str, width: int = 80) -> str:
    """Return the beginning of a text in one line."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
