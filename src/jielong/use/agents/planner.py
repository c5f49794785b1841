"""An agent that breaks a goal into tasks and works through them.

It makes a list of tasks, has the first one done, looks at the result, and says what is still to do; in the end it answers
from the results. The first agents of this kind (AutoGPT, BabyAGI) ran in circles: they had no notion
of done, gave themselves the same task again, and nothing stopped them. Here the agent can say that it is finished, a
task or a result that comes again is found by comparing texts, and the number of tasks is bounded, as are tokens by the
budget. Why it stopped is part of its notes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jielong.config import at_least
from jielong.records import Conversation
from jielong.use.answers import normal
from jielong.use.ledger import keep, note
from jielong.use.listing import lines, numbered, parse_list
from jielong.use.port import Answer, Ask, Options
from jielong.use.prompting import fill, language_of
from jielong.use.strategy import Strategy, model_under, question_of, replace_question

_FINISHED = ("finished", "完成")


@dataclass(frozen=True)
class Plan(Strategy):
    """A strategy that answers a goal after at most `tasks` tasks.

    Each task goes to the next strategy, which may use tools; planning and looking back are the model's own. The agent
    ends when it says so, when nothing is left to do that was not done already, after `tasks` tasks, or after `repeats`
    results in a row that were there before. `waiting` tasks at most are on the list.
    """

    tasks: int = 8
    waiting: int = 6
    repeats: int = 2

    def __post_init__(self) -> None:
        at_least(self, 1, "tasks", "waiting", "repeats")

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        work = _Work(self, conversation, ask, options)
        note(f"ends: {await work.until_over()}")
        return await work.answer()


@dataclass
class _Work:
    """One goal in progress: the tasks done with their results, and the tasks to do."""

    plan: Plan
    conversation: Conversation
    ask: Ask
    options: Options
    done: list[tuple[str, str]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    stale: int = 0
    """How many results in a row were there before."""

    def __post_init__(self) -> None:
        self.goal = question_of(self.conversation)
        self.language = language_of(self.goal)

    async def until_over(self) -> str:
        """Work through the tasks until none is left, the goal is reached or a limit is met; return the reason."""
        self._replace_tasks((await self._ask_prompt("tasks", model_under(self.ask))).text)
        while self.open:
            task = self.open.pop(0)
            note(f"task {len(self.done) + 1}: {task}")
            result = await self._ask_prompt("task", self.ask, task=task)
            keep(result)
            self._remember(task, result.text.strip())
            if len(self.done) == self.plan.tasks:
                return f"{self.plan.tasks} tasks are done, which is the limit"
            if self.stale == self.plan.repeats:
                return f"{self.plan.repeats} results in a row were there before"
            review = (await self._ask_prompt("review", model_under(self.ask))).text
            if is_finished(review):
                return "the goal is reached"
            self._replace_tasks(review)
        return "nothing is left to do"

    async def answer(self) -> Answer:
        """Answer the goal from the results so far, or from the question alone if there are none."""
        if not self.done:
            return await self.ask(self.conversation, self.options)
        return await self._ask_prompt("answer", model_under(self.ask))

    def _remember(self, task: str, result: str) -> None:
        """Record a task's result, and count results that were there before."""
        is_known = normal(result) in {normal(earlier) for _, earlier in self.done}
        self.stale = self.stale + 1 if is_known else 0
        if is_known:
            note("the same result as before")
        self.done.append((task, result))

    def _replace_tasks(self, text: str) -> None:
        """Replace the tasks to do by the listed ones that are not done."""
        known = {normal(task) for task, _ in self.done}
        tasks = parse_list(text)
        self.open = [task for task in tasks if normal(task) not in known][: self.plan.waiting]
        if tasks and not self.open:
            note("only tasks that are done already")

    async def _ask_prompt(self, what: str, ask: Ask, **values: str) -> Answer:
        """Ask the model one of the planner's prompts about the goal and the results so far."""
        shown = [f"{number}. {task}\n{result}" for number, (task, result) in enumerate(self.done, 1)]
        text = fill(
            f"plan_{what}",
            self.language,
            goal=self.goal,
            done=lines(shown, self.language),
            open=numbered(self.open),
            waiting=str(self.plan.waiting),
            **values,
        )
        return await ask(replace_question(self.conversation, text), self.options.draw("plan", what, len(self.done)))


def is_finished(text: str) -> bool:
    """Whether the first word of a review is FINISHED or 完成."""
    return text.strip().lstrip("*#- ").lower().startswith(_FINISHED)
