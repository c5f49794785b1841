"""Long stories that stay consistent (Re3, Yang et al. 2022, arXiv 2210.06774).

First a plan: the setting, the characters, and an outline with one point for each part. Then each part is drafted, with
the plan and the story so far in the prompt. The best of several drafts is taken, and contradictions to the plan are
edited out. Last, the part is summarised in a sentence or two for the prompts of later parts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from jielong.config import at_least
from jielong.records import Conversation, Message
from jielong.use.ledger import keep, note
from jielong.use.listing import is_none, lines, numbered, parse_list
from jielong.use.port import Answer, Ask, Options
from jielong.use.prompting import fill, language_of
from jielong.use.strategy import Strategy, model_under, question_of, replace_question, together

_MARK = re.compile(r"(?<![/\d.])\d+(?:\.\d+)?")
_HIGHEST_MARK = 10.0
_LEAST_KEPT = 0.5
"""An edit leaves at least so much of a draft as it is; a small model writes about the task in its place."""


@dataclass(frozen=True)
class StoryPlan:
    """The plan of a story: the setting, the characters (a line each), and a line for each part."""

    setting: str
    characters: tuple[str, ...]
    outline: tuple[str, ...]


@dataclass(frozen=True)
class Draft:
    """One draft of a part, with the story and the plan that it has to fit."""

    text: str
    point: str
    """What the outline says of this part."""
    before: tuple[str, ...]
    """The parts that come before it."""
    plan: StoryPlan


@dataclass(frozen=True)
class Story(Strategy):
    """A story of `parts` parts. Each part is the best of `drafts` drafts, which have at most the sampling's tokens.

    `rank` scores a draft, higher is better; without it the model gives marks for coherence and relevance. A draft is
    edited if the model finds a contradiction to the plan; an edit that is a different text is dropped. The last
    `recall` characters of the story are in the prompt verbatim. A story that the budget stops keeps its finished parts.
    The next strategy makes drafts and edits.
    """

    parts: int = 5
    drafts: int = 3
    characters: int = 3
    recall: int = 1000
    temperature: float = 0.8
    rank: Callable[[Draft], float] | None = None

    def __post_init__(self) -> None:
        at_least(self, 1, "parts", "drafts", "characters", "recall")

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        return await _Writing(self, conversation, ask, options).write()


@dataclass
class _Writing:
    """One story while it is written."""

    story: Story
    conversation: Conversation
    ask: Ask
    options: Options
    told: list[str] = field(default_factory=list)
    summaries: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.premise = question_of(self.conversation)
        self.language = language_of(self.premise)

    async def write(self) -> Answer:
        """Write the plan, then each part from its best draft, and keep the story so far."""
        self.plan = await self._write_plan()
        note(f"{self.plan.setting}\n{numbered(self.plan.characters)}\n{numbered(self.plan.outline)}")
        for number, point in enumerate(self.plan.outline, 1):
            drafts = await together(self._draft(number, point, draft) for draft in range(self.story.drafts))
            text = await self._edit_contradictions(number, await self._best_draft(number, drafts))
            self.told.append(text)
            keep(self._answer())
            if number < len(self.plan.outline):
                self.summaries.append(_one_line(await self._ask_prompt("summary", {"passage": text}, number)))
        return self._answer()

    def _answer(self) -> Answer:
        return Answer(Message("assistant", "\n\n".join(self.told)), stop="stop")

    async def _write_plan(self) -> StoryPlan:
        """Write the plan; missing points of the outline are filled with the premise."""
        setting = _one_line(await self._ask_prompt("setting", {}))
        known = {"setting": setting, "count": str(self.story.characters)}
        characters = parse_list(await self._ask_prompt("characters", known), self.story.characters)
        known |= {"characters": numbered(characters), "parts": str(self.story.parts)}
        outline = parse_list(await self._ask_prompt("outline", known), self.story.parts)
        outline += [self.premise] * (self.story.parts - len(outline))
        return StoryPlan(setting, tuple(characters), tuple(outline))

    async def _draft(self, number: int, point: str, draft: int) -> Draft:
        """Draft a part with the plan and the story so far in the prompt."""
        before = "\n\n".join(self.told)[-self.story.recall :]
        values = {
            **self._plan(),
            "part": f"{number}/{self.story.parts}",
            "point": point,
            "so_far": lines(self.summaries, self.language),
            "before": lines([before] if before else [], self.language),
        }
        text = await self._ask_prompt("draft", values, number, draft, temperature=self.story.temperature)
        return Draft(text, point, tuple(self.told), self.plan)

    async def _best_draft(self, number: int, drafts: list[Draft]) -> Draft:
        """Return the draft with the highest mark."""
        if len(drafts) == 1:
            return drafts[0]
        if self.story.rank:
            marks = [self.story.rank(draft) for draft in drafts]
        else:
            marks = await together(self._mark(number, i, draft) for i, draft in enumerate(drafts))
        note(f"part {number}: the drafts are worth {', '.join(f'{mark:g}' for mark in marks)}")
        return drafts[marks.index(max(marks))]

    async def _mark(self, number: int, draft_number: int, draft: Draft) -> float:
        values = {"so_far": lines(self.summaries, self.language), "point": draft.point, "passage": draft.text}
        return mean_mark(await self._ask_prompt("mark", values, number, draft_number))

    async def _edit_contradictions(self, number: int, draft: Draft) -> str:
        """Edit contradictions to the plan out of a draft; keep the draft if the edit is a different text."""
        values = {**self._plan(), "passage": draft.text}
        issues = await self._ask_prompt("issues", values, number)
        if not issues or is_none(issues):
            return draft.text
        note(f"part {number} is edited: {issues}")
        edited = await self._ask_prompt("edit", {**values, "issues": issues}, number)
        if kept_share(draft.text, edited) >= _LEAST_KEPT:
            return edited
        note("the edit is another text; the draft stays")
        return draft.text

    def _plan(self) -> dict[str, str]:
        """Return the plan's fields for filling prompts."""
        plan = self.plan
        return {
            "setting": plan.setting,
            "characters": numbered(plan.characters),
            "outline": numbered(plan.outline),
        }

    async def _ask_prompt(self, what: str, values: dict[str, str], *place: int, **sampling: float) -> str:
        """Fill and ask one of the story's prompts; the next strategy answers drafts and edits."""
        text = fill(f"story_{what}", self.language, premise=self.premise, **values)
        ask = self.ask if what in ("draft", "edit") else model_under(self.ask)
        drawn = self.options.draw("story", what, *place, label=" ".join([what, *map(str, place)]), **sampling)
        return (await ask(replace_question(self.conversation, text), drawn)).text.strip()


def kept_share(before: str, after: str) -> float:
    """Return the share of the four-character pieces of one text that are in another."""
    pieces = {before[i : i + 4] for i in range(max(1, len(before) - 3))}
    return sum(piece in after for piece in pieces) / len(pieces)


def mean_mark(text: str) -> float:
    """Return the mean of the marks from 1 to 10 in a text, at most two of them, or 0 if there are none."""
    marks = [min(_HIGHEST_MARK, float(number)) for number in _MARK.findall(text)][:2]
    return sum(marks) / len(marks) if marks else 0.0


def _one_line(text: str) -> str:
    return " ".join(text.split())
