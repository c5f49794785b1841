"""Searching among steps (Tree of Thoughts, Yao et al. 2023, arXiv 2305.10601).

The model proposes several next steps for a path of steps, a valuer rates each new path, and the search continues with
the best: breadth first with a beam, or depth first with backtracking. The valuer is the model itself or a program, and
so is the goal test. The worked example is the game of 24 in `bench/strategies/twentyfour.py`. Its question defines the
form of a step, so the general prompts suffice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from jielong.config import at_least
from jielong.records import Conversation, Message
from jielong.use.answers import is_answered
from jielong.use.ledger import keep, note
from jielong.use.listing import lines, parse_list
from jielong.use.port import Answer, Ask, Options
from jielong.use.prompting import fill, language_of
from jielong.use.strategy import Strategy, model_under, question_of, replace_question, together

Judged = Callable[[str, Sequence[str]], float]
"""How promising a path is, from the question and the steps: higher is better."""
Tested = Callable[[str, Sequence[str]], bool]
"""Whether the steps reach the goal of the question."""

_WORDS = re.compile(r"impossible|不可能|sure|肯定|maybe|也许|可能", re.IGNORECASE)
# the paper's code weighs them 20, 1 and 0.001
_VALUES = {"sure": 1.0, "肯定": 1.0, "impossible": 0.0, "不可能": 0.0}
_MAYBE = 0.05


@dataclass(frozen=True)
class Tree(Strategy):
    """The answer at the end of the best path of at most `steps` steps.

    `propose` "list" asks once for `branches` next steps (the paper's way for small steps); "sample" draws each of them
    by itself. Breadth first keeps the `beam` best paths of each length. Depth first takes the best step first, drops
    paths valued below `threshold`, and backtracks from paths that end without the goal. A path ends if `is_goal` holds,
    or, without `is_goal`, at a step that begins with "Answer:". The model as valuer says sure (1), maybe (0.05) or
    impossible (0), `values` times; `value` is a program instead. The next strategy gives the final answer.
    """

    steps: int = 3
    branches: int = 5
    search: Literal["breadth", "depth"] = "breadth"
    beam: int = 5
    threshold: float = 0.01
    propose: Literal["list", "sample"] = "list"
    values: int = 1
    temperature: float = 0.7
    value: Judged | None = None
    is_goal: Tested | None = None

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "branches", "beam", "values")

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        path = await _Search(self, conversation, model_under(ask), options).best()
        if path.is_answered or (self.is_goal and path.steps):
            return path.answer
        asked = fill("tree_answer", path.language, question=path.question, steps=path.shown)
        return await ask(replace_question(conversation, asked), replace(options, label="answer"))


@dataclass(frozen=True)
class _Path:
    """A path of steps, with its value."""

    question: str
    language: str
    steps: tuple[str, ...] = ()
    value: float = 0.0

    @property
    def shown(self) -> str:
        return lines(self.steps, self.language)

    @property
    def is_answered(self) -> bool:
        """Whether the last step gives an answer."""
        return bool(self.steps) and is_answered(self.steps[-1])

    @property
    def answer(self) -> Answer:
        return Answer(Message("assistant", "\n".join(self.steps)), stop="stop")


class _Search:
    """One tree search: it extends paths, values them, and chooses the next."""

    def __init__(self, tree: Tree, conversation: Conversation, ask: Ask, options: Options) -> None:
        self.tree, self.conversation, self.ask, self.options = tree, conversation, ask, options
        question = question_of(conversation)
        self.root = _Path(question, language_of(question))
        self.furthest = self.root

    async def best(self) -> _Path:
        """Return the path that reached the goal, or else the most promising of the longest."""
        if self.tree.search == "depth":
            return await self._depth_first(self.root) or self.furthest
        return await self._breadth_first()

    async def _breadth_first(self) -> _Path:
        """Search breadth first with a beam."""
        beam = [self.root]
        for number in range(1, self.tree.steps + 1):
            grown = await together(self._grow(p) for p in beam if not p.is_answered)
            paths = [p for p in beam if p.is_answered] + [path for paths in grown for path in paths]
            if not paths:
                break
            beam = sorted(paths, key=lambda p: -p.value)[: self.tree.beam]
            note(f"step {number}: {len(paths)} paths, the best is {beam[0].value:g}: {beam[0].steps[-1]}")
            self._reach(beam[0])
            reached = next((p for p in paths if self._is_goal(p)), None)
            if reached or all(p.is_answered for p in beam):
                return reached or beam[0]
        return beam[0]

    async def _depth_first(self, path: _Path) -> _Path | None:
        """Search depth first, leaving paths below the threshold. Returns None if none reaches the goal."""
        for child in sorted(await self._grow(path), key=lambda p: -p.value):
            if child.value < self.tree.threshold:
                note(f"left at {child.value:g}: {child.steps[-1]}")
                break
            note(f"{'  ' * len(path.steps)}to {child.value:g}: {child.steps[-1]}")
            if (len(child.steps), child.value) > (len(self.furthest.steps), self.furthest.value):
                self._reach(child)
            is_over = child.is_answered or len(child.steps) == self.tree.steps
            if self._is_goal(child) or (is_over and not self.tree.is_goal):
                return child
            found = None if is_over else await self._depth_first(child)
            if found:
                return found
        return None

    def _reach(self, path: _Path) -> None:
        self.furthest = path
        keep(path.answer)

    def _is_goal(self, path: _Path) -> bool:
        return self.tree.is_goal is not None and self.tree.is_goal(path.question, path.steps)

    async def _grow(self, path: _Path) -> list[_Path]:
        """Return the path with each of its next steps, valued."""
        steps = await (self._listed(path) if self.tree.propose == "list" else self._sample_steps(path))
        return await together(self._value_path(replace(path, steps=(*path.steps, step))) for step in steps)

    async def _listed(self, path: _Path) -> list[str]:
        answer = await self._ask_prompt("propose", path, branches=str(self.tree.branches))
        return parse_list(answer.text, self.tree.branches)

    async def _sample_steps(self, path: _Path) -> list[str]:
        """Sample possible next steps of a path, without repetitions."""
        drawn = await together(self._ask_prompt("step", path, number) for number in range(self.tree.branches))
        first_lines = [parse_list(answer.text, 1) for answer in drawn]
        return list(dict.fromkeys(line for lines in first_lines for line in lines))

    async def _value_path(self, path: _Path) -> _Path:
        """Value a path by the program or by the mean of the model's verdicts."""
        if self.tree.value:
            return replace(path, value=self.tree.value(path.question, path.steps))
        said = await together(self._ask_prompt("value", path, number) for number in range(self.tree.values))
        return replace(path, value=sum(read_value(answer.text) for answer in said) / len(said))

    async def _ask_prompt(self, what: str, path: _Path, number: int = 0, **values: str) -> Answer:
        """Ask one of the tree's prompts about a path."""
        text = fill(f"tree_{what}", path.language, question=path.question, steps=path.shown, **values)
        drawn = self.options.draw(
            "tree", what, *path.steps, number, temperature=self.tree.temperature, label=f"{what} {len(path.steps) + 1}"
        )
        return await self.ask(replace_question(self.conversation, text), drawn)


def read_value(text: str) -> float:
    """Return the value of the last of the words sure, maybe, impossible (肯定, 可能, 不可能); without any, that of maybe."""
    words = _WORDS.findall(text)
    return _VALUES.get(words[-1].lower(), _MAYBE) if words else _MAYBE
