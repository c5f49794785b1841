"""Strategies that revise an answer: after the model's own criticism, or if it breaks a constitution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from jielong.config import at_least
from jielong.errors import DataError
from jielong.records import Conversation, Message
from jielong.use.answers import says_yes
from jielong.use.constitution import read_principles
from jielong.use.ledger import keep, note
from jielong.use.port import Answer, Ask, Options
from jielong.use.prompting import fill, language_of
from jielong.use.strategy import Strategy, follow_up, model_under, question_of


@dataclass(frozen=True)
class Reflect(Strategy):
    """Answer, criticise, revise, at most `rounds` times (Self-Refine, Madaan et al. 2023, arXiv 2303.17651).

    It ends when the model finds its answer right. Without external feedback it may spoil as many answers as it corrects
    (Huang et al. 2023, arXiv 2310.01798). The first call of the trace is the unrevised answer.
    """

    rounds: int = 1

    def __post_init__(self) -> None:
        at_least(self, 1, "rounds")

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        question = question_of(conversation)
        language, model = language_of(question), model_under(ask)
        answer = await ask(conversation, replace(options, label="answer", on_text=None))
        for number in range(self.rounds):
            keep(answer)
            asked = follow_up(conversation, answer, fill("reflect_critique", language))
            critique = await model(asked, options.draw("critique", number, label="critique"))
            if says_yes(critique.text):
                note("the answer is found right")
                break
            asked = follow_up(asked, critique, fill("reflect_revise", language, question=question))
            answer = await model(asked, options.draw("revise", number, label="revise"))
        return answer


@dataclass(frozen=True)
class Constitution(Strategy):
    """An answer that is checked against principles before it is shown (after Bai et al. 2022, arXiv 2212.08073).

    An answer that breaks them is rewritten, at most `rounds` times, and then refused. A check without a clear yes or no
    counts as a breach. If the budget ends before an answer has passed, the refusal is given. `file` holds the user's
    own principles.
    """

    file: str = ""
    rounds: int = 1

    def __post_init__(self) -> None:
        at_least(self, 0, "rounds")

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        question = question_of(conversation)
        language, model = language_of(question), model_under(ask)
        values = {"question": question, "principles": self._principles(language)}
        refusal = Answer(Message("assistant", fill("constitution_refusal", language)), stop="refused")
        keep(refusal)

        async def write(name: str, number: int, **more: str) -> Answer:
            prompt = fill(f"constitution_{name}", language, **values, **more)
            return await model(Conversation((Message("user", prompt),)), options.draw(name, number, label=name))

        answer = await ask(conversation, replace(options, label="answer", on_text=None))
        for number in range(self.rounds + 1):
            check = await write("check", number, answer=answer.text)
            if says_yes(check.text) is False:
                return answer
            note(f"principles are broken: {check.text.strip()}")
            if number < self.rounds:
                answer = await write("revise", number, answer=answer.text, found=check.text)
        return refusal

    def _principles(self, language: str) -> str:
        """Return the user's principles, or the built-in ones; a text that is no TOML stands as it is written."""
        path = Path(self.file) if self.file else None
        if path is None or path.suffix.lower() == ".toml":
            return read_principles(path).text(language)
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read the principles {self.file!r}: {error}") from error
