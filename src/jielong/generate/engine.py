"""The one engine: requests go in, tokens come out, many rows at a time. It knows token ids only.

A request waits in a queue, gets a slot of the cache, has its prompt read in chunks and then grows by one token a step
together with all other rows (continuous batching). Rows 0..n-1 of the cache are computed in every step; a freed slot is
filled from the queue, and once the queue is empty the last rows move into the gaps. Equal prompts that are admitted
together are read once. The weights are a packed copy (`load` refreshes it), so training never disturbs what is being
written, and every draw depends on the request's own seed alone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jielong.errors import ConfigError
from jielong.generate.packed import PackedModel
from jielong.generate.rows import FREE, READING, WRITING, Rows
from jielong.generate.sampling import Rules, draw
from jielong.model.transformer import LanguageModel
from jielong.records import Request, Sample

Allowed = Callable[[Sequence[int]], Any]
"""From the ids written so far to a bool mask (V,), a tensor or array with at least one True; or None for "all"."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class EngineConfig:
    """How much is done at once. In bfloat16 the products are; norms, softmax and the residual stream stay float32."""

    slots: int = 64
    length: int = 0
    """Positions of a slot, prompt and answer together; 0 is the model's `max_position_embeddings`."""
    dtype: str = "float32"
    weights: str = ""
    """"int8" keeps the matrices in a quarter of float32's bytes, a scale for each row; "" keeps them in `dtype`."""
    prefill_tokens: int = 1024
    """Prompt tokens read in one step; longer prompts are read in several."""
    bucket: int = 32
    """Attention sees the cache up to the longest row, rounded up to a multiple of this."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigError(f"engine dtype {self.dtype!r} is not available; expected one of {', '.join(DTYPES)}")
        if self.weights not in ("", "int8"):
            raise ConfigError(f"engine weights {self.weights!r} are not available; expected int8, or nothing for dtype")
        for name in ("slots", "prefill_tokens", "bucket"):
            if getattr(self, name) < 1:
                raise ConfigError(f"engine option {name} is {getattr(self, name)}; it must be at least 1")


class Event(NamedTuple):
    """Token `n` of one request. `stop` is "" until the last, which carries the whole `sample`."""

    request: int
    n: int
    id: int
    logprob: float
    uniform: float | None
    """The number that chose it; None for a greedy token."""
    alternatives: tuple[tuple[int, float], ...] = ()
    """The most likely ids and their log-probabilities, best first, as many as were asked for."""
    stop: str = ""
    sample: Sample | None = None


@dataclass
class _Job:
    """A request on its way."""

    id: int
    request: Request
    allowed: Allowed | None
    num_alternatives: int
    is_quiet: bool


class Engine:
    """Writes with a copy of `model`'s weights, on the device where the model is; for one on an Apple GPU, on the CPU.

    Not thread-safe: one thread submits and steps.
    """

    def __init__(self, model: LanguageModel, config: EngineConfig | None = None) -> None:
        self.config = config or EngineConfig()
        limit = model.config.max_position_embeddings
        self.length = self.config.length or limit
        if not 2 <= self.length <= limit:
            raise ConfigError(f"engine length is {self.length}; it must be between 2 and the model's {limit} positions")
        self.model_config = model.config
        home = model.model.embed_tokens.weight.device
        self.device = torch.device("cpu") if home.type == "mps" else home  # draws are float64, which MPS has not
        dtype, is_int8 = DTYPES[self.config.dtype], self.config.weights == "int8"
        self._model = PackedModel(model.config, dtype, self.device, limit, is_int8=is_int8)
        self._cache = self._model.new_cache(self.config.slots, self.length)
        self._rows = Rows(self.config.slots, self.length)
        self._jobs: list[_Job | None] = [None] * self.config.slots
        self._waiting: dict[int, _Job] = {}
        self._slot_of: dict[int, int] = {}
        self._next_id = 0
        self._events: list[Event] = []
        self._quiet: dict[int, Sample] = {}
        self._rules: Rules | None = None
        self.weights_version = 0
        self.load(model.state_dict(), 0)

    @property
    def num_live(self) -> int:
        """Slots that a request holds."""
        return len(self._slot_of)

    @property
    def num_free(self) -> int:
        return sum(job is None for job in self._jobs)

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    @torch.inference_mode()
    def load(self, state: Mapping[str, Tensor], version: int) -> None:
        """Copy the weights of a `LanguageModel.state_dict()`; samples that end from now on carry `version`.

        Requests under way go on with the new weights over the keys and values that they have.
        """
        self._model.load(state)
        self.weights_version = version

    def submit(self, request: Request, *, allowed: Allowed | None = None, num_alternatives: int = 0) -> int:
        """Queue a request; its number, which its events carry. ConfigError where it can never run."""
        self._check(request)
        return self._queue(_Job(0, request, allowed, num_alternatives, is_quiet=False))

    def cancel(self, id: int) -> Sample | None:
        """Give up a request: what it wrote, with stop "cancelled"; None when it is already over."""
        job = self._waiting.pop(id, None)
        if job is not None:
            return Sample(job.request.prompt_ids, (), stop="cancelled", weights_version=self.weights_version)
        if id not in self._slot_of:
            return None
        slot = self._slot_of[id]
        self._hand_over_reading(slot)
        return self._release(slot, "cancelled")

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Read a chunk of prompts, write one token in every row that is ready; what came of it, in row order."""
        self._advance()
        events, self._events = self._events, []
        return events

    def stream(
        self, request: Request, *, allowed: Allowed | None = None, num_alternatives: int = 0
    ) -> Generator[Event, None, None]:
        """The events of one request as they come; leaving early cancels it. Others' events wait for their `step`."""
        id = self.submit(request, allowed=allowed, num_alternatives=num_alternatives)
        is_over = False
        try:
            while not is_over:
                events = self.step()
                self._events.extend(event for event in events if event.request != id)
                for event in events:
                    if event.request == id:
                        is_over = bool(event.stop)
                        yield event
        finally:
            self.cancel(id)

    @torch.inference_mode()
    def generate(self, requests: Sequence[Request]) -> list[Sample]:
        """All samples, in the order of the requests. Nothing runs when one of them is refused."""
        for request in requests:
            self._check(request)
        ids = [self._queue(_Job(0, request, None, 0, is_quiet=True)) for request in requests]
        try:
            while len(self._quiet) < len(ids):
                self._advance()
            return [self._quiet[id] for id in ids]
        finally:
            for id in ids:
                self.cancel(id)
            self._quiet.clear()

    def score(self, prompt_ids: Sequence[int], ids: Sequence[int]) -> list[float]:
        """Log-probabilities at temperature 1 of each of `ids` after the prompt and the ids before it."""
        return self.score_many([(prompt_ids, ids)])[0]

    @torch.inference_mode()
    def score_many(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """`score` of many (prompt, ids) pairs, in order, batched by length. Neither slots nor queue are touched."""
        limit = self.model_config.max_position_embeddings
        for prompt_ids, ids in pairs:
            self._check_ids(prompt_ids)
            self._check_ids((*prompt_ids, *ids))
            if len(prompt_ids) + len(ids) - 1 > limit:
                raise ConfigError(
                    f"{len(prompt_ids)} + {len(ids)} tokens to score exceed the model's {limit} positions"
                )
        out: list[list[float]] = [[] for _ in pairs]
        order = sorted(
            (i for i, pair in enumerate(pairs) if pair[1]), key=lambda i: -len(pairs[i][0]) - len(pairs[i][1])
        )
        while order:
            longest = len(pairs[order[0]][0]) + len(pairs[order[0]][1]) - 1
            rows = max(1, 2 * self.config.prefill_tokens // longest)
            batch, order = order[:rows], order[rows:]
            for i, logprobs in zip(batch, self._score([pairs[i] for i in batch]), strict=True):
                out[i] = logprobs
        return out

    def _score(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        inputs = [(*prompt, *ids)[:-1] for prompt, ids in pairs]
        counts = [len(row) for row in inputs]
        cache = self._model.new_cache(len(pairs), max(counts))
        flat = self._tensor(np.concatenate([np.asarray(row, np.int64) for row in inputs]))
        hidden = self._model.read(cache, flat, range(len(pairs)), [0] * len(pairs), counts)
        ends = np.cumsum(counts)
        places = np.concatenate([np.arange(end - len(p[1]), end) for end, p in zip(ends, pairs, strict=True)])
        targets = np.concatenate([np.asarray(ids, np.int64) for _, ids in pairs])
        chunk = max(1, 2**23 // self.model_config.vocab_size)  # 32 MB of logits at a time
        scored: list[float] = []
        for start in range(0, len(places), chunk):
            logits = self._model.logits(hidden[self._tensor(places[start : start + chunk])])
            target = self._tensor(targets[start : start + chunk])
            scored += torch.log_softmax(logits, -1).gather(1, target[:, None]).squeeze(1).tolist()
        rest = iter(scored)
        return [list(islice(rest, len(ids))) for _, ids in pairs]

    # --- the door

    def _check(self, request: Request) -> None:
        self._check_ids(request.prompt_ids)
        if len(request.prompt_ids) >= self.length:
            raise ConfigError(
                f"the prompt has {len(request.prompt_ids)} tokens, but a slot has {self.length} positions and the answer "
                "needs at least one; shorten the prompt or choose a longer engine length"
            )

    def _check_ids(self, ids: Sequence[int]) -> None:
        vocab_size = self.model_config.vocab_size
        if not ids:
            raise ConfigError("the prompt has no tokens; a request needs at least one, such as <|endoftext|>")
        if min(ids) < 0 or max(ids) >= vocab_size:
            bad = min(ids) if min(ids) < 0 else max(ids)
            raise ConfigError(f"token id {bad} is outside the model's vocabulary of {vocab_size}")

    def _queue(self, job: _Job) -> int:
        job.id = self._next_id
        self._next_id += 1
        self._waiting[job.id] = job
        return job.id

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def _bucket(self, length: int) -> int:
        return min(-(-length // self.config.bucket) * self.config.bucket, self.length)

    # --- one step

    def _advance(self) -> None:
        self._admit()
        if (self._rows.phase == READING).any():
            self._read()
        writing = np.flatnonzero(self._rows.phase == WRITING)
        # while most rows still read their prompts, a step of the few others would be mostly waste
        if len(writing) and 2 * len(writing) >= self.num_live:
            self._write(writing)
        if not self._waiting:
            self._close_gaps()

    def _admit(self) -> None:
        """Fill free slots from the queue, some at a time: reading many prompts at once is cheaper than one by one."""
        free = [slot for slot, job in enumerate(self._jobs) if job is None]
        if not self._waiting or len(free) < min(len(self._waiting), max(1, self.config.slots // 8)):
            return
        leaders: dict[tuple[int, ...], int] = {}
        for slot in free[: len(self._waiting)]:
            id = next(iter(self._waiting))
            job = self._waiting.pop(id)
            self._jobs[slot] = job
            self._slot_of[id] = slot
            leader = leaders.setdefault(tuple(job.request.prompt_ids), slot)
            self._rows.place(slot, leader, id, job.request, job.allowed is not None)
        self._rules = None

    def _read(self) -> None:
        """Read up to `prefill_tokens` of the waiting prompts, oldest first; where one ends, draw its first token."""
        rows = self._rows
        leaders = np.flatnonzero((rows.phase == READING) & (rows.leader == np.arange(len(rows.leader))))
        leaders = leaders[np.argsort(rows.order[leaders])]
        budget, longest = self.config.prefill_tokens, 0
        slots: list[int] = []
        counts: list[int] = []
        for slot in leaders.tolist():
            count = min(int(rows.prompt[slot] - rows.position[slot]), budget)
            longest = max(longest, count)
            # attention pads to the longest: keep short prompts away from a long one
            if not count or (len(slots) + 1) * longest > 4 * self.config.prefill_tokens:
                break
            slots.append(slot)
            counts.append(count)
            budget -= count
        starts = rows.position[slots].tolist()
        line = np.concatenate([rows.ids[slot, a : a + n] for slot, a, n in zip(slots, starts, counts, strict=True)])
        whole = rows.prompt[slots].tolist()
        hidden = self._model.read(self._cache, self._tensor(line), slots, starts, counts, lengths=whole)
        ends = dict(zip(slots, (np.cumsum(counts) - 1).tolist(), strict=True))
        done = []
        for slot, count in zip(slots, counts, strict=True):
            if rows.position[slot] + count == rows.prompt[slot]:
                done.append(slot)
            else:
                rows.position[slot] += count
        if not done:
            return
        ready = np.flatnonzero((rows.phase == READING) & np.isin(rows.leader, done))
        leading = rows.leader[ready]
        followers = ready[leading != ready]
        if len(followers):
            length = self._bucket(int(rows.prompt[followers].max()))
            self._cache.copy(self._tensor(rows.leader[followers]), self._tensor(followers), length)
        logits = self._model.logits(hidden[self._tensor(np.array([ends[slot] for slot in leading.tolist()]))])
        self._rules = None
        self._draw(ready, logits, rows.rules(ready, self.device))

    def _write(self, writing: NDArray[np.int64]) -> None:
        """One token for every writing row. Gaps and reading rows are computed along; what they give is dropped."""
        rows = self._rows
        num_rows = int(np.flatnonzero(rows.phase)[-1]) + 1
        # a reading row's stray key lands on the position that its next chunk overwrites
        ids, positions = self._tensor(rows.last[:num_rows]), self._tensor(rows.position[:num_rows])
        length = self._bucket(int(rows.position[writing].max()) + 1)
        hidden = self._model.extend(self._cache, ids, positions, length)
        if len(writing) < num_rows:
            hidden = hidden[self._tensor(writing)]
        if self._rules is None:
            self._rules = rows.rules(writing, self.device)
        self._draw(writing, self._model.logits(hidden), self._rules)

    def _draw(self, slots: NDArray[np.int64], logits: Tensor, rules: Rules) -> None:
        """Draw the next token of each of `slots` from its row of `logits`, note it, and let go of those that end.

        Nothing is noted when a hook raises: the step can be repeated, after cancelling that request.
        """
        rows = self._rows
        at, uniform = rows.count[slots], rows.rolls(slots)
        history, allowed = self._seen(slots, rules), self._masks(slots, rules)
        drawn, drawn_logprobs = draw(logits, rules, self._tensor(uniform), history, allowed)
        ids, logprobs = drawn.cpu().numpy(), drawn_logprobs.cpu().numpy()
        rows.note(slots, ids, logprobs)
        is_stopped = (rows.stop_ids[slots] == ids[:, None]).any(1)
        is_over = is_stopped | (rows.count[slots] >= rows.limit[slots])
        for row, slot in enumerate(slots.tolist()):
            job = self._jobs[slot]
            assert job is not None
            if job.is_quiet:
                if is_over[row]:
                    self._quiet[job.id] = self._release(slot, "stop" if is_stopped[row] else "length")
                continue
            alternatives = self._alternatives(logits, rules, row, job.num_alternatives)
            stop = ("stop" if is_stopped[row] else "length") if is_over[row] else ""
            roll = float(uniform[row]) if rows.temperature[slot] else None
            sample = self._release(slot, stop) if stop else None
            what = (int(at[row]), int(ids[row]), float(logprobs[row]), roll, alternatives, stop, sample)
            self._events.append(Event(job.id, *what))

    def _seen(self, slots: NDArray[np.int64], rules: Rules) -> Tensor | None:
        """Prompt and answer of the special rows, where one of them is penalised for repeating."""
        if rules.special is None or not (self._rows.penalty[slots] != 1).any():
            return None
        return self._tensor(self._rows.seen(slots[rules.special.cpu().numpy()]))

    def _masks(self, slots: NDArray[np.int64], rules: Rules) -> Tensor | None:
        """What the hooks of the special rows allow now."""
        if rules.special is None or not self._rows.is_masked[slots].any():
            return None
        there = slots[rules.special.cpu().numpy()].tolist()
        masks = torch.ones(len(there), self.model_config.vocab_size, dtype=torch.bool)
        for row, slot in enumerate(there):
            job = self._jobs[slot]
            if job is None or job.allowed is None:
                continue
            mask = job.allowed(self._rows.written(slot))
            if mask is not None:
                masks[row] = torch.as_tensor(mask, dtype=torch.bool)
                if not masks[row].any():
                    raise ValueError(
                        f"the mask of request {job.id} allows no id at all; it must allow one, such as a stop id"
                    )
        return masks.to(self.device)

    def _alternatives(self, logits: Tensor, rules: Rules, row: int, count: int) -> tuple[tuple[int, float], ...]:
        if not count:
            return ()
        logprobs = torch.log_softmax(rules.scaled(logits)[row], -1)
        top = logprobs.topk(min(count, len(logprobs)))
        return tuple(zip(top.indices.tolist(), top.values.tolist(), strict=True))

    # --- slots

    def _release(self, slot: int, stop: str) -> Sample:
        """Free the slot; its sample."""
        rows, job = self._rows, self._jobs[slot]
        assert job is not None
        ids = rows.written(slot)
        sample = Sample(
            prompt_ids=job.request.prompt_ids,
            ids=tuple(ids),
            logprobs=tuple(rows.logprobs[slot, : len(ids)].tolist()),
            by_model=(True,) * len(ids),
            stop=stop,
            weights_version=self.weights_version,
        )
        rows.free(slot)
        self._jobs[slot] = None
        del self._slot_of[job.id]
        self._rules = None
        return sample

    def _hand_over_reading(self, slot: int) -> None:
        """A slot that reads for others and goes away lets each of them read for itself."""
        rows = self._rows
        if rows.phase[slot] == READING:
            behind = (rows.phase == READING) & (rows.leader == slot)
            rows.leader[behind] = np.flatnonzero(behind)

    def _close_gaps(self) -> None:
        """Move the last rows into gaps once an eighth of the computed rows is empty, so that steps get cheaper."""
        rows = self._rows
        used = np.flatnonzero(rows.phase)
        if not len(used) or (rows.phase == READING).any():
            return
        gaps = int(used[-1]) + 1 - len(used)
        if 8 * gaps <= int(used[-1]):
            return
        sources = used[used >= len(used)]
        targets = np.flatnonzero(rows.phase[: len(used)] == FREE)
        self._cache.copy(self._tensor(sources), self._tensor(targets), self._bucket(int(rows.position[sources].max())))
        rows.move(sources, targets)
        for source, target in zip(sources.tolist(), targets.tolist(), strict=True):
            job = self._jobs[target] = self._jobs[source]
            self._jobs[source] = None
            assert job is not None
            self._slot_of[job.id] = target
        self._rules = None
