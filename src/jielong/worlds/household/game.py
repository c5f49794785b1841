"""The household as a text game: `reset` to a task, `step` with an action in words, and an observation after it.

Nothing is random: the same task and the same actions give the same texts. An action that cannot be done is answered by
a sentence that says why, and changes nothing. The game ends when "finish" is said.
"""

from __future__ import annotations

from functools import cached_property

from jielong.errors import ConfigError, did_you_mean
from jielong.records import Observation
from jielong.worlds.household.layouts import draw_task
from jielong.worlds.household.phrases import SAYINGS
from jielong.worlds.household.rules import FINISH, Action, Task, actions, all_actions, apply_action, refusal
from jielong.worlds.household.solver import Notes, Why
from jielong.worlds.household.things import LANGUAGES, Part
from jielong.worlds.household.wording import action_text, describe, goal_text, notes_text, refusal_text, thought_text


class Household:
    """A game in one language. `rooms` and `part` are the kind of tasks that a seed draws."""

    def __init__(self, language: str = "en", *, rooms: int = 3, part: Part = "train") -> None:
        if language not in LANGUAGES:
            raise ConfigError(f"the household speaks no {language!r}; {did_you_mean(language, LANGUAGES)}")
        self.language, self.rooms, self.part = language, rooms, part
        self._spelled: dict[Action, str] = {}

    def reset(self, task: Task | int) -> Observation:
        """Begin a task, or draw one by a seed."""
        self.task = draw_task(task, rooms=self.rooms, part=self.part) if isinstance(task, int) else task
        self.state, self.is_over = self.task.start, False
        self._spelled.clear()
        self.__dict__.pop("_read", None)
        self._goal = goal_text(self.task, self.language)
        return self._observe()

    def step(self, text: str) -> tuple[Observation, bool, float]:
        """Do an action; return the observation, whether the game is over, and 1.0 if the goal is reached as things
        stand.
        """
        if self.is_over:
            raise ConfigError("this task is over; begin another one with reset")
        action = self._allowed.get(text)
        said = ""
        if action is None:
            said = refusal_text(self._why_not(text), self.language)
        else:
            self.state = apply_action(self.state, action)
            self.is_over = action == FINISH
        return self._observe(said), self.is_over, float(self.task.is_reached(self.state))

    @property
    def admissible(self) -> tuple[str, ...]:
        """The actions that can be done now; to finish is the last."""
        return tuple(self._allowed)

    def spell(self, action: Action) -> str:
        """Return an action of this task in words."""
        text = self._spelled.get(action)
        if text is None:
            text = self._spelled[action] = action_text(self.task.home, action, self.language)
        return text

    def explain(self, why: Why, notes: Notes) -> str:
        """Return a thought in words: notes about what has been seen, and the purpose of the next action."""
        noted = notes_text(self.task.home, self.state, notes, self.language)
        thought = thought_text(self.task.home, self.state, why, self.language)
        return noted + SAYINGS[self.language]["space"] + thought

    def _why_not(self, text: str) -> str:
        """Return why an action cannot be done. Of furniture with the same name in several rooms, that in this room is
        meant.
        """
        reasons = [refusal(self.task.home, self.state, action) for action in self._actions_by_text.get(text, ())]
        return next((r for r in reasons if r != "not_here"), reasons[0] if reasons else "unknown")

    @cached_property
    def _actions_by_text(self) -> dict[str, list[Action]]:
        """Map every text that names an action in this home to the actions that it may mean."""
        read: dict[str, list[Action]] = {}
        for action in all_actions(self.task.home):
            read.setdefault(self.spell(action), []).append(action)
        return read

    def _observe(self, said: str = "") -> Observation:
        """Return the observation of the present state, after a sentence on the last action."""
        home = self.task.home
        self._allowed = {self.spell(action): action for action in actions(home, self.state)}
        seen = describe(home, self.state, self.language)
        if said:
            seen = f"{said} {seen}" if self.language == "en" else said + seen
        return Observation(seen, self.admissible, self._goal, self.spell(FINISH))
