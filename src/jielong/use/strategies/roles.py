"""Roles that work on one answer: a researcher and a decider, or a whole team.

A role is a prompt. One model plays all roles, or several do (`others`). The answer is the decider's, or the last
speaker's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jielong.config import at_least
from jielong.errors import ConfigError
from jielong.records import Conversation
from jielong.use.ledger import keep, note
from jielong.use.listing import is_none, lines
from jielong.use.port import Answer, Ask, Options
from jielong.use.prompting import fill, language_of
from jielong.use.strategies.debate import speaker
from jielong.use.strategy import Strategy, model_under, question_of, replace_question


@dataclass(frozen=True)
class Dera(Strategy):
    """The decider's answer after a researcher's objections (DERA, Nair et al. 2023, arXiv 2303.17071).

    The decider answers; the researcher looks for what is wrong or missing; the decider takes over what convinces, for at
    most `rounds` rounds or until nothing is found. The first of `others` is the researcher.
    """

    rounds: int = 2
    others: tuple[Ask, ...] = ()

    def __post_init__(self) -> None:
        at_least(self, 1, "rounds")

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        question = question_of(conversation)
        language = language_of(question)
        researcher = speaker(1, model_under(ask), self.others)
        answer = await ask(conversation, options.draw("answer"))
        for number in range(1, self.rounds + 1):
            keep(answer)
            text = fill("dera_research", language, question=question, answer=answer.text)
            found = await researcher(replace_question(conversation, text), options.draw("research", number))
            if is_none(found.text):
                note("the researcher finds nothing")
                break
            text = fill("dera_decide", language, question=question, answer=answer.text, issues=found.text)
            answer = await ask(replace_question(conversation, text), options.draw("decide", number))
        return answer


@dataclass(frozen=True)
class Team(Strategy):
    """The text of the last of several roles; each role reads all earlier texts.

    `roles` is a file with a line for each turn, "name: task". The default is an analyst, a writer, a critic, and the
    writer again. Turns of one name use the same model.
    """

    roles: str = ""
    temperature: float = 0.7
    others: tuple[Ask, ...] = ()

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        question = question_of(conversation)
        language = language_of(question)
        turns = read_roles(Path(self.roles)) if self.roles else parse_roles(fill("team_roles", language), "team_roles")
        names = list(dict.fromkeys(name for name, _ in turns))
        said: list[str] = []
        for number, (name, task) in enumerate(turns, 1):
            text = fill("team_turn", language, role=name, task=task, question=question, said=lines(said, language))
            drawn = options.draw("team", number, temperature=self.temperature, label=name)
            answer = await speaker(names.index(name), ask, self.others)(replace_question(conversation, text), drawn)
            keep(answer)
            said.append(f"{name}: {answer.text.strip()}\n")
        return answer


def read_roles(path: Path) -> list[tuple[str, str]]:
    """Read the turns of a file of roles. Raises ConfigError if it cannot be read or has a malformed line."""
    try:
        return parse_roles(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the roles {path} cannot be read: {error}") from error


def parse_roles(text: str, source: str) -> list[tuple[str, str]]:
    """Parse (name, task) of each line."""
    turns = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, colon, task = line.replace("\uff1a", ":", 1).partition(":")
        if not colon or not name.strip() or not task.strip():
            raise ConfigError(f"{source}: {line!r} is no role; expected a line such as 'critic: Name what is weak.'")
        turns.append((name.strip(), task.strip()))
    if not turns:
        raise ConfigError(f"{source} has no roles; expected lines such as 'critic: Name what is weak.'")
    return turns
