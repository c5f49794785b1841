"""Strategies with a judge: the best of several answers, answers until one passes, or a larger model if the smaller one
is unsure.

The judge is a `Scorer` (a checker, a reward model, a metric). Without one the model itself is asked whether the
proposed answer is right.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from jielong.config import at_least
from jielong.records import Conversation, Message, Scorer
from jielong.runs import derive_seed
from jielong.use.answers import agree, groups, says_yes
from jielong.use.ledger import keep, note, recorded
from jielong.use.port import Answer, Ask, Options
from jielong.use.prompting import fill, language_of
from jielong.use.strategies.vote import draw_answers, majority_answer
from jielong.use.strategy import Strategy, model_under, question_of, together


async def judge_answers(
    answers: Sequence[Answer], conversation: Conversation, ask: Ask, options: Options, scorer: Scorer | None
) -> list[float]:
    """Score each answer with the scorer; without one, 1 if the model itself calls it right, else 0.

    A scorer gets `conversation.meta["item"]`, the conversation with the answer as its last message, and the sample. The
    model judges each text once, in a conversation of its own (Kadavath et al. 2022, arXiv 2207.05221).
    """
    if scorer is not None:
        item = conversation.meta.get("item")
        asked = [(item, replace(conversation, messages=(*conversation.messages, a.message)), a.sample) for a in answers]
        return [score.value for score in scorer(asked)]
    question = question_of(conversation)
    language, model = language_of(question), model_under(ask)

    async def is_right(text: str) -> float:
        """Ask the model whether an answer is right."""
        prompt = fill("verify", language, question=question, answer=text.strip())
        verdict = await model(
            Conversation((Message("user", prompt),)),
            options.draw("verify", text, label="verify", max_tokens=min(16, options.sampling.max_tokens)),
        )
        return float(says_yes(verdict.text) is True)

    texts = list(dict.fromkeys(a.text for a in answers))
    values = dict(zip(texts, await together(map(is_right, texts)), strict=True))
    return [values[a.text] for a in answers]


@dataclass(frozen=True)
class BestOf(Strategy):
    """The best of `n` samples (Cobbe et al. 2021, arXiv 2110.14168); among equal scores, the majority answer.

    `weighted` adds the scores of all samples that agree and takes the answer with the highest sum, which is a vote in
    which better samples count more (Li et al. 2022, arXiv 2206.02336); scores must then not be negative.

    It is the baseline for all training on preferences: with a reward model as the scorer (`--reward` on the command
    line) it shows the best that this reward model can select. If no two answers have equal scores, its Kullback-Leibler
    divergence from a single sample is at most log n - (n - 1) / n (Stiennon et al. 2020, arXiv 2009.01325, app. G.3;
    Beirami et al. 2024, arXiv 2401.01879): 1.2 nats for n = 8. The bound is reached if every answer is rare.
    """

    n: int = 9
    temperature: float = 0.7
    weighted: bool = False
    scorer: Scorer | None = None

    def __post_init__(self) -> None:
        at_least(self, 1, "n")

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        answers = await draw_answers(self.n, conversation, ask, options, "sample", self.temperature)
        values = await judge_answers(answers, conversation, ask, options, self.scorer)
        note(f"scores {', '.join(f'{v:g}' for v in values)}")
        if self.weighted:
            totals: defaultdict[int, float] = defaultdict(float)
            firsts = groups([a.text for a in answers])
            for first, value in zip(firsts, values, strict=True):
                totals[first] += value
            winner = max(totals, key=lambda first: totals[first])
            values = [v if first == winner else -math.inf for first, v in zip(firsts, values, strict=True)]
        return majority_answer([a for a, v in zip(answers, values, strict=True) if v == max(values)])


@dataclass(frozen=True)
class Check(Strategy):
    """The first of at most `tries` answers that passes; if none does, the first with the highest score.

    An answer passes with a score of `enough`. The first has the caller's sampling options; the others are sampled above
    temperature 0.
    """

    tries: int = 3
    temperature: float = 0.7
    enough: float = 0.5
    scorer: Scorer | None = None

    def __post_init__(self) -> None:
        at_least(self, 1, "tries")

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        answers: list[Answer] = []
        values: list[float] = []
        while len(answers) < self.tries and not (values and values[-1] >= self.enough):
            number = len(answers) + 1
            again = options.draw("check", number, label=f"try {number}", temperature=self.temperature)
            answers.append(await ask(conversation, again if answers else replace(options, label="try 1", on_text=None)))
            keep(answers[values.index(max(values))] if values else answers[0])
            values += await judge_answers(answers[-1:], conversation, ask, options.draw("judge", number), self.scorer)
        note(f"{'passed' if values[-1] >= self.enough else 'none passed'} after {len(answers)} of {self.tries} tries")
        return answers[values.index(max(values))]


@dataclass(frozen=True)
class Cascade(Strategy):
    """The model's own answer if its confidence is at least `threshold`, else the answer of the `large` model.

    After FrugalGPT (Chen et al. 2023, arXiv 2305.05176). Confidence is, `by` "logprob", the mean probability of the
    answer's tokens (geometric); "vote", the share of `n` samples that agree with the most frequent answer; "itself", 1
    if the model calls its answer right, else 0; "random", a random number: a control that sends the share `threshold`
    of questions to the large model by chance.
    """

    by: Literal["logprob", "vote", "itself", "random"] = "logprob"
    threshold: float = 0.7
    n: int = 5
    temperature: float = 0.7
    large: Ask = field(kw_only=True)

    def __post_init__(self) -> None:
        at_least(self, 1, "n")

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        if self.by == "vote":
            answers = await draw_answers(self.n, conversation, ask, options, "vote", self.temperature)
            answer = majority_answer(answers)
            confidence = sum(agree(a.text, answer.text) for a in answers) / len(answers)
        else:
            answer = await ask(conversation, replace(options, label="small", on_text=None, logprobs=True))
            confidence = await self._confidence(answer, conversation, ask, options)
        keep(answer)
        is_sure = confidence >= self.threshold
        note(f"confidence {confidence:.2f}: {'the answer stays' if is_sure else 'the large model is asked'}")
        return answer if is_sure else await recorded(self.large)(conversation, replace(options, label="large"))

    async def _confidence(self, answer: Answer, conversation: Conversation, ask: Ask, options: Options) -> float:
        """Return the confidence in an answer, by probability, by the model's verdict, or by chance."""
        if self.by == "random":
            return random.Random(derive_seed(options.seed, "cascade", question_of(conversation))).random()
        if self.by == "itself":
            return (await judge_answers([answer], conversation, ask, options, None))[0]
        # an answer of which nothing is known is not trusted
        return math.exp(sum(answer.logprobs) / len(answer.logprobs)) if answer.logprobs else 0.0
