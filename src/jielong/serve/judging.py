"""Judging on the page: answers are sampled for blind comparison, judged, and rewritten by a person.

Sampled answers are stored in a hidden conversation. It is sealed until somebody has judged them: until then no response
of the server reveals which model wrote which answer.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from jielong.evaluate.feedback import as_json, feedback_of
from jielong.records import OUTCOMES
from jielong.serve.chats import DEFAULTS, Chats, title_of, turn_json
from jielong.serve.prompts import PROMPTS
from jielong.serve.refused import Refused
from jielong.serve.store import JUDGED_KINDS, Judged, Turn

PERSON = "person"
"""The voter, where a request names none: whoever sits before the page."""
NUM_QUESTIONS = 200
TRIES, HOTTER = 4, 0.25
"""Times that answers are drawn until they differ, and the share of its temperature that one model gets hotter by each time."""
_DICE = secrets.SystemRandom()


class Judging:
    """The page's operations to collect judgements. `chats` writes the answers, as it does all others."""

    def __init__(self, chats: Chats) -> None:
        self.chats, self.store = chats, chats.store
        self.judgements = chats.store.judgements

    # --- answers to be judged

    async def draw(
        self, prompt: str, models: Sequence[str], system: str, sampling: Mapping[str, Any], num: int
    ) -> dict[str, Any]:
        """Sample `num` different answers to a question; return them in random order, without their models' names.

        With two models each writes half of them. Raises Refused if all answers are equal, or if one fails.
        """
        if not prompt.strip():
            raise Refused(400, "there is nothing to answer: the prompt is empty", param="prompt")
        names = list(models) or [self.chats.models.default.name]
        for name in names:
            self.chats.models.get(name)
        add = partial(self.store.add_talk, title_of(prompt), system=system, origin="judging")
        talk = await asyncio.to_thread(add)
        try:
            question = await asyncio.to_thread(self.store.add_turn, talk.id, "", "user", prompt)
            answers = await self._write_different(question, [names[i % len(names)] for i in range(num)], sampling)
        except BaseException:
            await self.chats.delete(talk.id)
            raise
        _DICE.shuffle(answers)
        told = [await asyncio.to_thread(turn_json, turn, turn.content) for turn in answers]
        shown = [{name: one[name] for name in ("id", "text", "html")} for one in told]
        return {"question": question.id, "prompt": prompt, "answers": shown}

    async def _write_different(self, question: Turn, writers: Sequence[str], sampling: Mapping[str, Any]) -> list[Turn]:
        """Return different answers of these writers, possibly fewer than asked for, but at least two.

        With one model, missing answers are sampled again, at a slightly higher temperature each time. With two models
        all are sampled again. Resampling one model alone until its answer differs would show that model's less likely
        answers beside the other's likely ones.
        """
        found: dict[str, Turn] = {}
        is_one = len(set(writers)) == 1
        seed, num_drawn = sampling.get("seed"), 0
        temperature = sampling.get("temperature", DEFAULTS["temperature"])
        for n in range(TRIES):
            if is_one:
                wanted = {writers[0]: len(writers) - len(found)}
                sampling = {**sampling, "temperature": temperature * (1 + n * HOTTER)}
            else:
                found, wanted = {}, Counter(writers)
            drawn: list[Turn] = []
            for model, num in wanted.items():  # one after the other: both models at once may not fit into memory
                seeds = [None if seed is None else seed + num_drawn + i for i in range(num)]
                num_drawn += num
                asked = [self._write_answer(question, model, {**sampling, "seed": one}) for one in seeds]
                drawn += await asyncio.gather(*asked)
            _DICE.shuffle(drawn)  # of two that are the same, either model's may be the one that is kept
            for turn in drawn:
                found.setdefault(turn.content.strip(), turn)
            if len(found) == len(writers):
                break
        if len(found) < 2:
            raise Refused(
                409,
                "all answers came out the same, so there is nothing to compare; raise the temperature or ask something else",
                code="same_answers",
            )
        return list(found.values())

    async def _write_answer(self, question: Turn, model: str, sampling: Mapping[str, Any]) -> Turn:
        """Write one answer and wait for its end. Raises Refused if it fails."""
        begun = await self.chats.answer_again(question.id, {"model": model, "strategy": "", "sampling": sampling})
        async for _ in self.chats.follow(begun.id):
            pass
        turn = await asyncio.to_thread(self.store.turn, begun.id)
        if turn.status != "done":
            raise Refused(503, turn.error or "an answer was stopped before its end; ask again", code="unavailable")
        return turn

    async def refuse_sealed(self, id: str) -> None:
        """Raise Refused if this conversation or turn awaits a blind judgement."""
        if await asyncio.to_thread(self.judgements.is_sealed, id):
            raise Refused(
                409, "these answers are to be judged blind; they open once somebody has judged them", code="sealed"
            )

    async def prompts(self) -> dict[str, Any]:
        """Return questions for sampling answers, those with the fewest judgements first: the person's own, and built-in
        ones.
        """
        own = await asyncio.to_thread(self.store.first_questions, NUM_QUESTIONS)
        judged = await asyncio.to_thread(self.judgements.num_by_prompt)

        def fresh_first(texts: Sequence[str]) -> list[str]:
            return sorted(texts, key=lambda text: judged.get(text, 0))

        built_in = {language: fresh_first(texts) for language, texts in PROMPTS.items()}
        return {"own": fresh_first(own), "built_in": built_in}

    # --- judgements

    async def judge(self, kind: str, answers: Sequence[str], value: Mapping[str, Any], by: str) -> dict[str, Any]:
        """Store a judgement; return it with the answers' models."""
        if answers and kind in ("preference", "ranking"):
            is_sealed = await asyncio.to_thread(self.judgements.is_sealed, answers[0])
            value = {**value, "is_blind": bool(value.get("is_blind", True)) and is_sealed}
        if answers and value.get("rejected"):
            written, rejected = [await asyncio.to_thread(self.store.turn, id) for id in (answers[0], value["rejected"])]
            if written.parent != rejected.parent or written.id == rejected.id:
                raise Refused(400, "rejected is no other answer to the same question", param="value.rejected")
        add = partial(self.judgements.add, kind, answers, value, by=by or PERSON)
        return await self._told(await asyncio.to_thread(add))

    async def demonstrate(self, prompt: str, answer: str, system: str, by: str) -> dict[str, Any]:
        """Store a question and a person's answer as a demonstration, in a hidden conversation of its own."""
        self._demand(prompt, "prompt")
        self._demand(answer, "answer")
        add_talk = partial(self.store.add_talk, title_of(prompt), system=system, origin="feedback")
        talk = await asyncio.to_thread(add_talk)
        add = partial(self.store.add_question_and_answer, talk.id, "", prompt, answer, status="done", is_edited=True)
        _, written = await asyncio.to_thread(add)
        return await self.judge("demonstration", [written.id], {"rejected": ""}, by)

    async def write_better(self, rejected: str, answer: str, by: str) -> dict[str, Any]:
        """Store a person's better version of an answer: as its sibling, and as a demonstration."""
        self._demand(answer, "answer")
        written = await self.chats.edit(rejected, answer)
        told = await self.judge("demonstration", [written.id], {"rejected": rejected}, by)
        return {"answer": await asyncio.to_thread(turn_json, written, written.content), **told}

    @staticmethod
    def _demand(text: str, name: str) -> None:
        if not text.strip():
            raise Refused(400, f"the {name} is empty; expected a text to learn from", param=name)

    async def take_back(self, id: str) -> None:
        """Delete a judgement. Raises NotFoundError if there is none."""
        await asyncio.to_thread(self.judgements.get, id)
        await asyncio.to_thread(self.judgements.delete, [id])

    async def of_talk(self, talk: str) -> list[dict[str, Any]]:
        """Return the judgements of a conversation's answers, the oldest first."""
        found = await asyncio.to_thread(self.judgements.of_talk, talk)
        return [judged_json(one) for one in found if not one.purpose]

    async def num(self) -> int:
        """Return the number of judgements available for learning."""
        return sum((await asyncio.to_thread(self.judgements.count)).values())

    async def stats(self) -> dict[str, Any]:
        """Return judgements by kind, the preferred sides of blind pairs, and the strengths of models.

        `models` are groups of models that were compared with each other, with Bradley-Terry strengths.
        """
        counts = await asyncio.to_thread(self.judgements.count)
        pairs = await asyncio.to_thread(partial(self.judgements.all, kind="preference"))
        outcomes = Counter(pair.value["outcome"] for pair in pairs if pair.value.get("is_blind"))
        kinds = {kind: counts.get(kind, 0) for kind in JUDGED_KINDS}
        blind = {outcome: outcomes[outcome] for outcome in OUTCOMES}
        return {
            "num": sum(counts.values()),
            "counts": kinds,
            "blind": blind,
            "models": await asyncio.to_thread(self._models),
        }

    def _models(self) -> Any:
        return as_json(feedback_of(self.judgements.nouns(with_ids=False)))["groups"]

    async def _told(self, judged: Judged) -> dict[str, Any]:
        wrote = {id: (await asyncio.to_thread(self.store.turn, id)).model for id in judged.answers}
        return {"judgement": judged_json(judged), "wrote": wrote, "num": await self.num()}


def judged_json(judged: Judged) -> dict[str, Any]:
    """Return a judgement for the page."""
    names = ("id", "kind", "question", "by", "created")
    found = {name: getattr(judged, name) for name in names}
    return found | {"answers": list(judged.answers), "value": dict(judged.value)}
