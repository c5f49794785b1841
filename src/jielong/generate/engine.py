"""The engine, with continuous batching: it decodes many requests at once, on token ids only.

A request waits in a queue, gets a slot of the cache, has its prompt prefilled in chunks and then grows by one token a
step together with all other rows. Rows 0..n-1 of the cache are computed in every step; a freed slot is filled from the
queue, and once the queue is empty the last rows move into the gaps. A prompt reuses a prefix that any slot has
prefilled, even for a finished request, so a chat's next turn prefills only its new part. While few rows decode, a pass
also verifies drafts of the next tokens. The weights are a packed copy (`load` refreshes it), so training never disturbs
a running request, and sampling depends on the request's own seed alone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jielong.errors import ConfigError
from jielong.generate.config import BESIDE, DTYPES, WEIGHTS
from jielong.generate.config import EngineConfig as EngineConfig
from jielong.generate.draws import explain
from jielong.generate.graphs import Graphs
from jielong.generate.lookup import draft_from_repetition
from jielong.generate.packed import PackedModel
from jielong.generate.requests import Allowed, Job, allowed_masks, check_bias, check_pairs, check_request
from jielong.generate.rows import READING, WRITING
from jielong.generate.sampling import Basis, Rules, draw, likeliest, to_device, uniforms
from jielong.generate.scoring import Pair, are_likeliest, distributions, logprobs, score_pairs
from jielong.generate.slots import Slots
from jielong.model.adapters import weights_of
from jielong.model.transformer import LanguageModel
from jielong.records import Draw, Event, Request, Sample

T = TypeVar("T")
Watch = Callable[[Request, int, Tensor], None]
"""A function of a request, the place of a token in its answer, and the log-probabilities (V,) float32 of all ids there."""


class Engine:
    """A generation engine with a copy of `model`'s weights, on the model's device, or on the CPU for an Apple GPU.

    `suppressed` ids are never sampled, unless they end the request. Not thread-safe: one thread submits and steps.
    """

    def __init__(
        self, model: LanguageModel, config: EngineConfig | None = None, suppressed: Sequence[int] = ()
    ) -> None:
        self.config = config or EngineConfig()
        limit = model.config.max_position_embeddings
        self.length = self.config.length or limit
        if not 2 <= self.length <= limit:
            raise ConfigError(f"engine length is {self.length}; it must be between 2 and the model's {limit} positions")
        self.model_config = model.config
        self._is_suppressed = np.isin(np.arange(model.config.vocab_size), suppressed)
        home = model.model.embed_tokens.weight.device
        self.device = torch.device("cpu") if home.type == "mps" else home  # draws are float64, which MPS has not
        dtype, kept = DTYPES[self.config.dtype], WEIGHTS[self.config.weights]
        self._model = PackedModel(model.config, dtype, self.device, limit, kept)
        self._cache = self._model.new_cache(self.config.slots, self.length)
        self._graphs = Graphs(self._model, self._cache) if Graphs.supports(model.config, self.device) else None
        # `dynamic` keys are turned by angles of the length of their own prompt
        least = 0 if self._model.is_dynamic else self.config.reuse
        self._slots = Slots(self._cache, least, self.config.bucket)
        self._rows, self.counts = self._slots.rows, self._slots.counts
        self._jobs: list[Job | None] = [None] * self.config.slots
        self._waiting: dict[int, Job] = {}
        self._slot_of: dict[int, int] = {}
        self._next_id = 0
        self._events: list[Event] = []
        self._quiet: dict[int, Sample] = {}
        self._rules: Rules | None = None
        self.weights_version = 0
        self.watch: Watch | None = None
        """Called with the whole distribution of each token that is recorded, at the request's temperature."""
        self.load(weights_of(model), 0)

    @property
    def weight_bytes(self) -> int:
        """Return the bytes of weights that one token's pass reads: every matrix once."""
        return self._model.weight_bytes

    @property
    def cache_bytes(self) -> int:
        """Return the bytes of keys and values of all slots."""
        return sum(layer.nbytes for layer in self._cache.layers)

    @property
    def num_live(self) -> int:
        """Return the number of slots that a request holds."""
        return len(self._slot_of)

    @property
    def num_free(self) -> int:
        return sum(job is None for job in self._jobs)

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    @torch.inference_mode()
    def load(self, state: Mapping[str, Tensor], version: int) -> None:
        """Copy the weights of a `LanguageModel.state_dict()`; samples that finish from now on carry `version`.

        Running requests continue with the new weights and their present keys and values. No other request reuses a
        prefix that was prefilled with the old weights.
        """
        self._model.load(state)
        self._slots.forget_shared()
        self.weights_version = version

    def submit(
        self,
        request: Request,
        *,
        allowed: Allowed | None = None,
        bias: Mapping[int, float] | None = None,
        num_alternatives: int = 0,
        num_candidates: int = 0,
    ) -> int:
        """Queue a request and return its number, which its events carry. ConfigError if it can never run.

        With `num_candidates` each event has its `Draw`, with so many of the likeliest ids. `bias` is added to the raw
        logits by id.
        """
        self.check(request)
        added = check_bias(bias, self.model_config.vocab_size)
        return self._enqueue(Job(0, request, allowed, num_alternatives, False, num_candidates, added))

    def check(self, request: Request) -> None:
        """Raise TooLongError if a request can never run, ConfigError for unknown ids. Safe to call from other threads."""
        check_request(request, self.model_config.vocab_size, self.length)

    @torch.inference_mode()
    def cancel(self, id: int) -> Sample | None:
        """Cancel a request; return its sample so far, with stop "cancelled"; None if it has finished."""
        job = self._waiting.pop(id, None)
        if job is not None:
            return Sample(job.request.prompt_ids, (), stop="cancelled", weights_version=self.weights_version)
        if id not in self._slot_of:
            return None
        slot = self._slot_of[id]
        if self._rows.phase[slot] == READING:
            self._slots.promote_follower(slot)
        return self._release(slot, "cancelled")

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Prefill a chunk of prompts, decode a token in every ready row, plus accepted drafts; return the events.

        The tokens of one request come in order.
        """
        self._advance()
        events, self._events = self._events, []
        return events

    def stream(
        self,
        request: Request,
        *,
        allowed: Allowed | None = None,
        bias: Mapping[int, float] | None = None,
        num_alternatives: int = 0,
        num_candidates: int = 0,
    ) -> Generator[Event, None, None]:
        """Yield the events of one request as they come; leaving early cancels it. Other requests' events are kept for
        their `step`.
        """
        wanted = {"num_alternatives": num_alternatives, "num_candidates": num_candidates}
        id = self.submit(request, allowed=allowed, bias=bias, **wanted)
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
        """Return all samples, in the order of the requests. If one of them is refused, none runs."""
        for request in requests:
            self.check(request)
        ids = [self._enqueue(Job(0, request, None, 0, is_unwatched=True)) for request in requests]
        try:
            while len(self._quiet) < len(ids):
                self._advance()
            return [self._quiet[id] for id in ids]
        finally:
            for id in ids:
                self.cancel(id)
            self._quiet.clear()

    def score(self, prompt_ids: Sequence[int], ids: Sequence[int]) -> list[float]:
        """Return log-probabilities at temperature 1 of each of `ids` after the prompt and the ids before it."""
        return self.score_many([(prompt_ids, ids)])[0]

    def score_many(self, pairs: Sequence[Pair]) -> list[list[float]]:
        """Return the log-probabilities of many (prompt, ids) pairs, in order, batched by length; slots and queue stay
        unchanged.
        """
        return self._judge(pairs, logprobs)

    def are_likeliest(self, pairs: Sequence[Pair]) -> list[list[bool]]:
        """Return for many (prompt, ids) pairs whether each id is the likeliest one after those before it."""
        return self._judge(pairs, are_likeliest)

    def distributions(self, prompt_ids: Sequence[int], ids: Sequence[int]) -> Tensor:
        """Return log-probabilities at temperature 1 of all ids at the position of each of `ids`: (len(ids), V) float32,
        on the CPU.
        """
        (rows,) = self._judge([(prompt_ids, ids)], distributions)
        return torch.stack(rows)

    @torch.inference_mode()
    def _judge(self, pairs: Sequence[Pair], judge: Callable[[Tensor, Tensor], list[T]]) -> list[list[T]]:
        check_pairs(pairs, self.model_config.vocab_size, self.model_config.max_position_embeddings)
        return score_pairs(self._model, pairs, 2 * self.config.prefill_tokens, judge)

    # --- one step

    def _enqueue(self, job: Job) -> int:
        """Give a job its number and put it into the queue."""
        job.id = self._next_id
        self._next_id += 1
        self._waiting[job.id] = job
        return job.id

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return to_device(array, self.device)

    def _advance(self) -> None:
        """Do the work of one step: admit, prefill, decode, and close gaps."""
        self._admit()
        rows = self._rows
        if (rows.phase == READING).any():
            self._prefill(self._is_watched(np.flatnonzero(rows.phase == WRITING)))
        writing = np.flatnonzero(rows.phase == WRITING)
        # while most rows still read their prompts, a step of the few others would be mostly waste, if nobody waits for it
        if len(writing) and (2 * len(writing) >= self.num_live or self._is_watched(writing)):
            self._decode(writing)
        if not self._waiting:
            self._close_gaps()

    def _is_watched(self, slots: NDArray[np.int64]) -> bool:
        """Whether the caller of one of the requests follows it token by token."""
        jobs = (self._jobs[slot] for slot in slots.tolist())
        return any(job is not None and not job.is_unwatched for job in jobs)

    def _admit(self) -> None:
        """Fill free slots from the queue, several at a time: prefill of many prompts at once is cheaper."""
        free = [slot for slot, job in enumerate(self._jobs) if job is None]
        if not self._waiting or len(free) < min(len(self._waiting), max(1, self.config.slots // 8)):
            return
        leaders: dict[tuple[int, ...], int] = {}
        for _ in range(min(len(free), len(self._waiting))):
            job = self._waiting.pop(next(iter(self._waiting)))
            prompt = tuple(job.request.prompt_ids)
            slot = self._slots.assign(job.id, job.request, job.allowed is not None, free, leaders.get(prompt))
            leaders.setdefault(prompt, slot)
            free.remove(slot)
            self._jobs[slot] = job
            self._slot_of[job.id] = slot
        self._rules = None

    def _prefill(self, is_watched: bool) -> None:
        """Prefill up to `prefill_tokens` of the waiting prompts; sample the first token of each finished one."""
        rows = self._rows
        slots, counts = self._slots.divide_prefill(max(1, self.config.prefill_tokens // (BESIDE if is_watched else 1)))
        starts = rows.position[slots].tolist()
        flat_ids = np.concatenate([rows.ids[slot, a : a + n] for slot, a, n in zip(slots, starts, counts, strict=True)])
        whole = rows.prompt[slots].tolist()
        hidden = self._model.prefill(self._cache, self._tensor(flat_ids), slots, starts, counts, lengths=whole)
        ends = dict(zip(slots, (np.cumsum(counts) - 1).tolist(), strict=True))
        done = []
        for slot, count in zip(slots, counts, strict=True):
            if rows.position[slot] + count == rows.prompt[slot]:
                done.append(slot)
            else:
                rows.position[slot] += count
                self.counts.read += count
        if done:
            ready = np.flatnonzero((rows.phase == READING) & np.isin(rows.leader, done) & (rows.shared == rows.prompt))
            leading = rows.leader[ready]
            followers = ready[leading != ready]
            self._slots.copy(rows.leader[followers], followers, int(rows.prompt[followers].max(initial=0)))
            rows.reused[followers] = rows.prompt[followers]
            logits = self._model.logits(hidden[self._tensor(np.array([ends[slot] for slot in leading.tolist()]))])
            self._rules = None
            self._draw(ready, logits, rows.rules(ready, self.device))
            self.counts.read += sum(count for slot, count in zip(slots, counts, strict=True) if slot in done)
            self.counts.reused += int(rows.prompt[followers].sum())
        self._slots.catch_up()

    def _decode(self, writing: NDArray[np.int64]) -> None:
        """Decode a token in every row that is writing, plus accepted drafts."""
        drafts = self._drafts(writing)
        if any(len(draft) for draft in drafts):
            self._verify_drafts(writing, drafts)
            return
        rows = self._rows
        # Gaps and reading rows are computed along; what they give is dropped, and a stray key lands on a position that
        # holds nothing yet.
        length = int(rows.position[writing].max()) + 1
        if self._graphs is not None:
            logits = self._graphs.decode(rows.last, rows.position, writing, length)
        else:
            num_rows = int(writing[-1]) + 1
            ids, positions = self._tensor(rows.last[:num_rows]), self._tensor(rows.position[:num_rows])
            slots, length = self._tensor(writing), self._slots.bucket(length)
            logits = self._model.logits(self._model.extend(self._cache, ids, positions, slots, length))
        if self._rules is None:
            self._rules = rows.rules(writing, self.device)
        self._draw(writing, logits, self._rules)

    def _drafts(self, writing: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Return a draft for each row, if the pass has room for it; none for rows whose rules depend on the answer so
        far.
        """
        rows, room = self._rows, self.config.lookup // len(writing) - 1
        if room < 1:
            return []
        left = rows.limit[writing] - rows.count[writing] - 1
        is_open = (
            (rows.penalty[writing] == 1) & ~rows.is_masked[writing] & (rows.count[writing] >= rows.resume[writing])
        )
        reach = np.where(is_open, np.minimum(np.minimum(rows.reach[writing], left), room), 0)
        return [
            draft_from_repetition(rows.ids[slot, : rows.prompt[slot] + rows.count[slot] if count else 0], count)
            for slot, count in zip(writing.tolist(), reach.tolist(), strict=True)
        ]

    def _verify_drafts(self, writing: NDArray[np.int64], drafts: list[NDArray[np.int64]]) -> None:
        """Verify drafts in one pass, record the accepted tokens, and adapt the drafts' lengths."""
        rows = self._rows
        drafted = np.array([len(draft) for draft in drafts])
        slots = np.repeat(writing, drafted + 1)
        flat_ids = np.concatenate(
            [part for slot, draft in zip(writing, drafts, strict=True) for part in (rows.last[[slot]], draft)]
        )
        if self._graphs is not None and self._graphs.is_dense(writing, drafted + 1):
            logits = self._graphs.verify(rows.last, rows.position, writing, drafted + 1, flat_ids)
        else:
            starts, counts = rows.position[writing].tolist(), (drafted + 1).tolist()
            hidden = self._model.verify(self._cache, self._tensor(flat_ids), writing.tolist(), starts, counts)
            logits = self._model.logits(hidden)
        accepted = self._draw(slots, logits, rows.rules(slots, self.device), flat_ids)
        is_tried = drafted > 0
        rows.adapt(writing[is_tried], drafted[is_tried], accepted[writing[is_tried]])
        self.counts.drafted += int(drafted.sum())
        self.counts.accepted += int(accepted.sum())

    def _draw(
        self, slots: NDArray[np.int64], logits: Tensor, rules: Rules, flat_ids: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """Sample the next token of each of `slots` from its row of `logits`, record it, and release finished slots.

        With drafts a slot occurs once for each of its input tokens in `flat_ids`: its last token and its drafts, in
        order. All are sampled, each with its own random number, and recorded up to the first that differs from its
        draft. Return the number of accepted drafts of each slot of the cache. If a hook raises, nothing is recorded:
        the step can be repeated after cancelling that request.
        """
        rows = self._rows
        self._add_biases(slots, logits)
        at, first = rows.count[slots], np.arange(len(slots))
        if flat_ids is None:
            uniform = rows.uniforms(slots, at)
        else:
            first = np.flatnonzero(np.diff(slots, prepend=-1))
            at += np.arange(len(slots)) - np.repeat(first, np.diff(first, append=len(slots)))
            uniform = uniforms(rows.seed[slots], at)
        basis = Basis(logits, rules, self._penalty_history(slots, rules), self._masks(slots, rules))
        ids, logprobs, basis = self._draw_ids(basis, uniform)
        bases = {}
        again = np.flatnonzero(self._is_suppressed[ids] & ~rows.is_stop(slots, ids))
        if len(again):
            uniform[again] = uniforms(rows.seed[slots[again]], at[again], attempt=1)
            others = self._unsuppressed_basis(slots[again], logits[self._tensor(again)])
            ids[again], logprobs[again], others = self._draw_ids(others, uniform[again])
            bases = {place: (others, row) for row, place in enumerate(again.tolist())}
        accepted = np.zeros(len(rows.phase), np.int64)
        now = first
        while len(now):
            is_over = self._record(slots[now], ids[now], logprobs[now], uniform[now], now, basis, bases)
            if flat_ids is None:
                break
            after = now[~is_over & (now + 1 < len(slots))]
            now = after[slots[after] == slots[after + 1]] + 1
            now = now[flat_ids[now] == ids[now - 1]]
            accepted[slots[now]] += 1
        return accepted

    def _record(
        self,
        slots: NDArray[np.int64],
        ids: NDArray[np.int64],
        logprobs: NDArray[np.float32],
        uniform: NDArray[np.float64],
        places: NDArray[np.int64],
        basis: Basis,
        bases: Mapping[int, tuple[Basis, int]],
    ) -> NDArray[np.bool_]:
        """Record one new token of each of `slots`; return which of them are finished.

        Token i was sampled from row `places[i]` of `basis`. A place that is a key of `bases` was sampled again, from
        the basis and row given there.
        """
        rows = self._rows
        at = rows.count[slots]
        rows.record(slots, ids, logprobs)
        self.counts.written += len(slots)
        is_stopped = rows.is_stop(slots, ids)
        is_over = is_stopped | (rows.count[slots] >= rows.limit[slots])
        shown = self._requested_draws(slots, ids, uniform, places, basis, bases)
        for row, slot in enumerate(slots.tolist()):
            job = self._jobs[slot]
            assert job is not None
            stop = ("stop" if is_stopped[row] else "length") if is_over[row] else ""
            if self.watch is not None:
                own = basis.rules.scaled_row(basis.logits, int(places[row]))
                self.watch(job.request, int(at[row]), own.log_softmax(-1)[0])
            if job.is_unwatched:
                if stop:
                    self._quiet[job.id] = self._release(slot, stop)
                continue
            alternatives = likeliest(basis.logits, basis.rules, int(places[row]), job.num_alternatives)
            roll = float(uniform[row]) if rows.temperature[slot] else None
            sample = self._release(slot, stop) if stop else None
            n = int(at[row])
            position = int(rows.prompt[slot]) + n
            what = (int(ids[row]), position, float(logprobs[row]), roll, alternatives, stop, sample)
            self._events.append(Event(job.id, n, *what, draw=shown.get(row)))
        return is_over

    def _requested_draws(
        self,
        slots: NDArray[np.int64],
        ids: NDArray[np.int64],
        uniform: NDArray[np.float64],
        places: NDArray[np.int64],
        basis: Basis,
        bases: Mapping[int, tuple[Basis, int]],
    ) -> dict[int, Draw]:
        """Return the requested `Draw`s by index in `slots`; the rows of a basis are explained together."""
        groups: dict[int, tuple[Basis, list[int], list[int]]] = {}
        for row, slot in enumerate(slots.tolist()):
            job = self._jobs[slot]
            if job is not None and job.num_candidates:
                own, own_row = bases.get(int(places[row]), (basis, int(places[row])))
                _, members, own_rows = groups.setdefault(id(own), (own, [], []))
                members.append(row)
                own_rows.append(own_row)
        found: dict[int, Draw] = {}
        for own, members, own_rows in groups.values():
            jobs = [self._jobs[slots[row]] for row in members]
            counts = [job.num_candidates for job in jobs if job is not None]
            warm = self._rows.temperature[slots[members]].tolist()
            rolls = [float(uniform[row]) if t else None for row, t in zip(members, warm, strict=True)]
            found |= zip(members, explain(own, own_rows, ids[members].tolist(), rolls, counts), strict=True)
        return found

    def _add_biases(self, slots: NDArray[np.int64], logits: Tensor) -> None:
        """Add to each row of `logits` the bias of the request that holds its slot."""
        biases = [job.bias if (job := self._jobs[slot]) is not None else None for slot in slots.tolist()]
        rows = [row for row, bias in enumerate(biases) if bias is not None]
        if rows:
            ids, added = zip(*(bias for bias in biases if bias is not None), strict=True)
            there = np.repeat(rows, [len(some) for some in ids])
            where = (self._tensor(there), self._tensor(np.concatenate(ids)))
            logits.index_put_(where, self._tensor(np.concatenate(added)).to(logits.dtype), accumulate=True)

    def _draw_ids(
        self, basis: Basis, uniform: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], Basis]:
        """Sample an id for each row; return ids, log-probabilities, and the basis with the sampled distribution."""
        ids, logprobs, shares = draw(basis.logits, basis.rules, self._tensor(uniform), basis.history, basis.allowed)
        return ids.cpu().numpy(), logprobs.cpu().numpy(), basis._replace(shares=shares)

    def _unsuppressed_basis(self, slots: NDArray[np.int64], logits: Tensor) -> Basis:
        """Return the basis for sampling again, without suppressed ids, for `slots` that sampled one.

        Both draws together sample from the distribution without those ids. A second draw is rare, so it costs little.
        """
        rules = self._rows.rules(slots, self.device, all_masked=True)
        allowed = self._tensor(~self._is_suppressed).expand(len(slots), -1)
        by_hooks = self._masks(slots, rules)
        if by_hooks is not None:
            both = allowed & by_hooks
            allowed = torch.where(both.any(1, keepdim=True), both, by_hooks)
        return Basis(logits, rules, self._penalty_history(slots, rules), allowed)

    def _penalty_history(self, slots: NDArray[np.int64], rules: Rules) -> Tensor | None:
        """Return prompt and answer ids of the special rows, if one of them has a repetition penalty."""
        if rules.special is None or not (self._rows.penalty[slots] != 1).any():
            return None
        return self._tensor(self._rows.ids_so_far(slots[rules.special.cpu().numpy()]))

    def _masks(self, slots: NDArray[np.int64], rules: Rules) -> Tensor | None:
        """Return the masks of the special rows' hooks."""
        if rules.special is None or not self._rows.is_masked[slots].any():
            return None
        there = slots[rules.special.cpu().numpy()].tolist()
        jobs = [(self._jobs[slot], self._rows.written(slot)) for slot in there]
        return allowed_masks(jobs, self.model_config.vocab_size).to(self.device)

    def _release(self, slot: int, stop: str) -> Sample:
        """Free the slot and return its sample."""
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
            reused=int(rows.reused[slot]),
        )
        rows.free(slot, is_kept=self._slots.least > 0)
        self._jobs[slot] = None
        del self._slot_of[job.id]
        self._rules = None
        return sample

    def _close_gaps(self) -> None:
        """Move the last rows into gaps, with their jobs."""
        for source, target in self._slots.close_gaps():
            job = self._jobs[target] = self._jobs[source]
            self._jobs[source] = None
            assert job is not None
            self._slot_of[job.id] = target
            self._rules = None
