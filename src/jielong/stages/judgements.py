"""The stage that has answers compared, as people would compare them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from jielong.config import at_least
from jielong.data.splits import hold_out
from jielong.errors import ConfigError
from jielong.records import Conversation, Message, Preference, Sampling
from jielong.runs import derive_seed
from jielong.stages.lessons import LessonsStage
from jielong.stages.models import port_of
from jielong.stages.parts import write_parts
from jielong.stages.recipe import Context, Recipe, Stage, Summary
from jielong.worlds.atlas.gold import candidates, gold_score, wrong_answer


@dataclass(frozen=True)
class JudgementsStage(Stage):
    """Pairs of answers, the better one named by the world's gold scorer. Inputs: start (who answers), lessons."""

    name: str
    inputs: Mapping[str, str]
    num_prompts: int = 5000
    """Prompts that are answered."""
    samples_per_prompt: int = 2
    """Answers to each prompt, of which pairs are made."""
    temperature: float = 1.0
    """How evenly answers are drawn."""
    max_tokens: int = 40
    """The longest an answer may be."""
    version: int = 3

    def __post_init__(self) -> None:
        at_least(self, 1, "num_prompts", "samples_per_prompt", "max_tokens")

    def _lessons(self, recipe: Recipe) -> LessonsStage:
        """Return the lessons stage among the inputs. Raises ConfigError if it is another kind."""
        stage = recipe.stage(self.inputs["lessons"])
        if not isinstance(stage, LessonsStage):
            raise ConfigError(
                f"{self.name} takes its lessons from {stage.name!r}, which has none of the embedded world"
            )
        return stage

    def check(self, recipe: Recipe) -> None:
        self._lessons(recipe)

    def run(self, context: Context) -> Summary:
        """Write preferences.jsonl: pairs of answers to the prompts, two drawn from the model and some contrasting ones.

        The gold scorer says which of two is better, as a person would; pairs it finds equal are left out.
        """
        seed = derive_seed(context.recipe.seed, self.name)
        rng = random.Random(seed)
        items = self._lessons(context.recipe).prompt_items(context.recipe.seed)
        rng.shuffle(items)
        items = items[: self.num_prompts]
        port = port_of(self, context, "start")
        sampling = Sampling(max_tokens=self.max_tokens, temperature=self.temperature)
        rounds = [
            port.ask_many([Conversation(i.messages) for i in items], sampling, seed=derive_seed(seed, "draw", n))
            for n in range(self.samples_per_prompt)
        ]
        preferences = []
        for number, item in enumerate(items):
            contrasts = candidates(item, rng)
            texts = list(dict.fromkeys([*(r[number].text for r in rounds), *contrasts.values()]))
            scored = sorted(((gold_score(item, t).value, t) for t in texts), reverse=True)
            pairs = [(a, b) for x, a in scored for y, b in scored if x > y]
            # Most pairs are a right and a wrong value: that takes knowledge, where tone and length are learned at once.
            against = [
                wrong_answer(item, rng),
                *(contrasts[s] for s in ("wrong", "beside", "dont_know") if s in contrasts),
            ]
            chosen = [(contrasts["right"], worse) for worse in against if gold_score(item, worse).value < scored[0][0]]
            for better, worse in chosen + rng.sample(pairs, min(1, len(pairs))):
                sides = ((Message("assistant", better),), (Message("assistant", worse),))
                preferences.append(Preference(item.messages, *sides, by="gold"))
        rng.shuffle(preferences)
        directory = context.directory(self.name)
        mean = sum(gold_score(i, r[n].text).value for r in rounds for n, i in enumerate(items)) / (
            len(items) * len(rounds)
        )
        counts = write_parts(directory, "preferences", hold_out(preferences, 16))
        return counts | {"prompts": len(items), "mean_gold_of_samples": mean}
