"""Fresh answers of a model to many prompts at once, stored in a file as soon as they are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jielong.errors import CheckpointError
from jielong.evaluate.votes import Texts, text_of
from jielong.learning.advice import Plan
from jielong.opening.models import open_engine
from jielong.records import Conversation, Sampling
from jielong.runs import derive_seed, digest, read_json, write_json
from jielong.tokens.tokenizer import Tokenizer
from jielong.use.port import LocalPort

SLOTS = 16
"""Answers that are written at once: enough for the speed of a batch, and few enough for the cache of a model of billions."""

SHORTEST, LONGEST = 48, 256
"""Bounds of the longest answer, which is half as long again as the longest that was judged."""

LOT = 64
"""Prompts between two reports of progress."""


@dataclass(frozen=True)
class Written:
    """A model's answer to the prompt number `prompt`."""

    prompt: int
    text: str
    ids: tuple[int, ...]
    is_finished: bool
    """Whether the model ended it, and not the limit."""


class Writer:
    """A model that is opened when it is first needed, and closed by dropping it."""

    def __init__(self, folder: Path, longest: int, tell: Callable[[int], None]) -> None:
        """Remember the model; `longest` bounds prompt and answer together, in tokens; `tell` is called with numbers of
        new answers.
        """
        self._folder, self._longest, self._tell = folder, longest, tell
        self._port: LocalPort | None = None

    @property
    def port(self) -> LocalPort:
        """Open the model at the first use."""
        if self._port is None:
            engine, tokenizer = open_engine(self._folder, slots=SLOTS, length=self._longest)
            self._port = LocalPort(engine, tokenizer)
        return self._port

    def answers(
        self, file: Path, prompts: Sequence[Texts], max_tokens: int, *, temperature: float, seed: int
    ) -> list[Written]:
        """Answer each prompt, in order; a prompt that leaves no room for an answer is skipped.

        Answers in `file` are reused, if it is about the same prompts.
        """
        asked = digest([[[m.role, m.text] for m in prompt] for prompt in prompts])
        about = {"of": asked, "max_tokens": max_tokens, "temperature": temperature, "seed": seed}
        kept = _kept(file, about)
        if kept is not None:
            self._tell(len(prompts))
            return kept
        sampling = Sampling(max_tokens=max_tokens, temperature=temperature)
        room = self.port.engine.length - max_tokens
        found: list[Written] = []
        for start in range(0, len(prompts), LOT):
            lot = [(i, Conversation(prompts[i])) for i in range(start, min(start + LOT, len(prompts)))]
            fitting = [(i, talk) for i, talk in lot if len(self.port.prompt_ids(talk)) <= room]
            said = self.port.ask_many([talk for _, talk in fitting], sampling, seed=derive_seed(seed, "lot", start))
            for (i, _), answer in zip(fitting, said, strict=True):
                found.append(Written(i, answer.text.strip(), answer.ids, answer.stop != "length"))
            self._tell(len(lot))
        rows = [[w.prompt, w.text, list(w.ids), w.is_finished] for w in found]
        write_json(file, {**about, "answers": rows})
        return found


def answer_limit(plan: Plan, tokenizer: Tokenizer) -> int:
    """Return the tokens that a fresh answer may have."""
    parts = (plan.policy, plan.judge, plan.held_out)
    texts = [text_of(t) for part in parts for p in part.pairs for t in (p.better, p.worse)]
    texts += [text_of(t.answer) for part in parts for t in part.thumbs]
    texts += [text_of(w.answer) for part in parts for w in part.written]
    longest = max(map(len, tokenizer.encode_batch(texts)), default=0)
    return max(SHORTEST, min(LONGEST, 3 * longest // 2))


def _kept(file: Path, about: dict[str, object]) -> list[Written] | None:
    """Load stored answers. Returns None if they are damaged or about other prompts."""
    try:
        record = read_json(file)
        if {name: record.get(name) for name in about} != about:
            return None
        return [Written(prompt, text, tuple(ids), done) for prompt, text, ids, done in record["answers"]]
    except (CheckpointError, AttributeError, KeyError, TypeError, ValueError):
        return None
