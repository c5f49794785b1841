"""Debates: two sides before a judge, and copies of a model that read each other's answers.

Each speaker has a seed of its own. The models in `others` speak after the first in turn; without them all speakers are
copies of one model. Compare a debate with a vote of as many calls: a copy's answer is no new evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jielong.config import at_least
from jielong.records import Conversation
from jielong.use.answers import is_answered
from jielong.use.ledger import keep, note, recorded
from jielong.use.port import Answer, Ask, Options
from jielong.use.prompting import fill, language_of
from jielong.use.strategies.vote import majority_answer
from jielong.use.strategy import Strategy, model_under, question_of, replace_question, together


def speaker(number: int, ask: Ask, others: Sequence[Ask]) -> Ask:
    """Return the model of a speaker's number: `ask` (0), then the others in turn, then `ask` again."""
    turn = number % (1 + len(others))
    return recorded(others[turn - 1]) if turn else ask


@dataclass(frozen=True)
class Debate(Strategy):
    """The decision of a judge between two sides (multi-agent debate, Liang et al. 2023, arXiv 2305.19118).

    One side answers, the other one objects, and they reply to each other for at most `rounds` rounds. After each of them
    the judge gives the answer or lets them go on; after the last one it must decide. Of `others`, the first is
    the other side and the second the judge.
    """

    rounds: int = 2
    temperature: float = 0.7
    others: tuple[Ask, ...] = ()

    def __post_init__(self) -> None:
        at_least(self, 1, "rounds")

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        question = question_of(conversation)
        language = language_of(question)
        sides, judge = (
            (speaker(0, ask, self.others), speaker(1, ask, self.others)),
            speaker(2, model_under(ask), self.others),
        )
        names = ("甲", "乙") if language == "zh" else ("A", "B")
        said: list[str] = []
        for turn in range(2 * self.rounds):
            side = turn % 2
            text = fill("debate_reply", language, question=question, said="\n\n".join(said), side=names[side])
            speech = await sides[side](
                replace_question(conversation, text) if said else conversation,
                options.draw("debate", turn, temperature=self.temperature, label=f"side {names[side]}"),
            )
            if not said:
                keep(speech)
            said.append(f"{names[side]}: {speech.text.strip()}")
            if side == 0:
                continue
            is_last = turn == 2 * self.rounds - 1
            text = fill(
                "debate_decide" if is_last else "debate_judge", language, question=question, said="\n\n".join(said)
            )
            verdict = await judge(replace_question(conversation, text), options.draw("judge", turn, label="judge"))
            if is_last or is_answered(verdict.text):
                return verdict
            note("the judge lets them go on")
        raise AssertionError("the judge decides after the last round")


@dataclass(frozen=True)
class Discuss(Strategy):
    """The majority of `copies` after `rounds` of reading each other (Du et al. 2023, arXiv 2305.14325)."""

    copies: int = 3
    rounds: int = 2
    temperature: float = 0.7
    others: tuple[Ask, ...] = ()

    def __post_init__(self) -> None:
        at_least(self, 1, "copies", "rounds")

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        question = question_of(conversation)
        language = language_of(question)

        async def speak(copy: int, turn: int, heard: Sequence[Answer]) -> Answer:
            others = [f"{n}: {a.text.strip()}" for n, a in enumerate(heard, 1) if n != copy + 1]
            text = fill("discuss", language, question=question, said="\n\n".join(others))
            drawn = options.draw("discuss", turn, copy, temperature=self.temperature, label=f"copy {copy + 1}")
            return await speaker(copy, ask, self.others)(
                replace_question(conversation, text) if heard else conversation, drawn
            )

        answers: Sequence[Answer] = ()
        for turn in range(1 + self.rounds):
            answers = await together(speak(copy, turn, answers) for copy in range(self.copies))
            winner = majority_answer(answers)
            keep(winner)
        return winner
