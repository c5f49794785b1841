"""The models that a server offers: found at its start, loaded at the first request, unloaded when memory is short.

A run is offered by its name, and so is each of its stages that can chat (RUN:sft), for comparison. Requests for models
of other servers are forwarded. A local model has an engine on a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.errors import ConfigError, JielongError, ResourceError, did_you_mean
from jielong.opening.libraries import reading_of
from jielong.opening.models import num_parameters, open_engine
from jielong.opening.ports import folder_of, is_address, long_name, open_endpoint, served_name
from jielong.runs import find_model, is_run, named_stage, run_around
from jielong.runs.finding import NOT_TALKING, newest_checkpoint, open_run
from jielong.serve.beside import compute_in_thread
from jielong.serve.tokens import OpenAILogprobs

if TYPE_CHECKING:
    from jielong.generate.runner import Runner
    from jielong.generate.slots import TokenCounts
    from jielong.tokens.tokenizer import Tokenizer
    from jielong.use.endpoint import Endpoint
    from jielong.use.port import LocalPort
    from jielong.use.strategies.library import Reading

BYTES_A_WEIGHT = {"float32": 4, "bfloat16": 2, "int8": 1}


@dataclass(frozen=True)
class Memory:
    """Limits of the engines: concurrent answers, positions of a slot, and bytes of all engines together."""

    slots: int = 8
    length: int = 4096
    limit_bytes: int = 0
    """0: half of the machine's."""
    weights: str | None = None


@dataclass
class Model:
    """An offered model: `name` is its name for clients. `port` is None while it is not in memory."""

    name: str
    spec: str
    folder: Path | None
    """None for the model of another server."""
    is_base: bool = False
    """Whether it continues text and was not trained on conversations."""
    context: int = 0
    """Positions of prompt and answer together; 0 where nobody knows."""
    num_parameters: int = 0
    bytes_needed: int = 0
    """Estimated before it is read, measured after."""
    digest: str = ""
    learned_from: str = ""
    """The name of the model that it stands in place of, if it was made from judgements of its answers."""
    weights: str = ""
    """In which numbers the weights are kept, once it is read."""
    port: LocalPort | Endpoint | None = None
    runner: Runner | None = None
    logprobs: OpenAILogprobs | None = None
    """Tells of its tokens in OpenAI's shape; None for the model of another server."""
    used_at: float = 0.0
    num_users: int = 0
    loading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def unload(self) -> None:
        """End its engine and forget it; the next question loads it again."""
        if self.runner is not None:
            self.runner.close()
            self.port = self.runner = None

    @property
    def is_local(self) -> bool:
        return self.folder is not None

    @property
    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer of a model in memory."""
        assert self.runner is not None and self.port is not None
        return self.port.tokenizer  # type: ignore[union-attr]

    @property
    def reading(self) -> Reading:
        """Return the settings for showing documents to this model."""
        return reading_of(str(self.folder) if self.folder else self.spec)


class Models:
    """All models by their names; the first is the default."""

    def __init__(
        self,
        specs: Sequence[str],
        memory: Memory | None = None,
        on_first_token: Callable[[str, float], None] | None = None,
    ) -> None:
        """Find the models of `specs`. Raises ConfigError if one is no model. Other servers are not contacted yet.

        `on_first_token` is called with a model's name and the seconds until a request's first token.
        """
        self.memory, self._on_first_token = memory or Memory(), on_first_token
        self._models: dict[str, Model] = {}
        self._leaving: list[Model] = []
        self._room = asyncio.Lock()
        for spec in specs:
            self._offer(spec)

    def __iter__(self) -> Any:
        return iter(self._models.values())

    @property
    def default(self) -> Model:
        """Return the default model. Raises ConfigError while there is none."""
        first = next(iter(self._models.values()), None)
        if first is None:
            raise ConfigError("there is no model yet; wait for the first checkpoint of the training")
        return first

    @property
    def limit_bytes(self) -> int:
        """Return the bytes that all models in memory may have: the setting, or else half of the machine's memory."""
        import psutil

        return self.memory.limit_bytes or int(psutil.virtual_memory().total // 2)

    @property
    def used_bytes(self) -> int:
        """Return the bytes of the models in memory, caches included."""
        return sum(model.bytes_needed for model in self if model.runner is not None)

    @property
    def counts(self) -> dict[str, TokenCounts]:
        """Return each loaded model's token counts since it was loaded."""
        return {model.name: model.runner.engine.counts for model in self if model.runner is not None}

    def get(self, name: str) -> Model:
        """Return the model of that name. Raises ConfigError, with the nearest name, if there is none."""
        if name not in self._models:
            raise ConfigError(f"there is no model {name!r} here; {did_you_mean(name, self._models)}")
        return self._models[name]

    def offers(self, name: str) -> bool:
        return name in self._models

    @contextlib.asynccontextmanager
    async def using(self, name: str) -> AsyncIterator[Model]:
        """Load the model of that name, and keep it in memory during the block."""
        model = self.get(name)
        model.num_users += 1
        try:
            async with model.loading:
                if model.port is None:
                    await self._load(model)
            model.used_at = time.monotonic()
            yield model
        finally:
            model.num_users -= 1

    async def load_default(self, tell: Callable[[str], None]) -> None:
        """Load the first model before the first request; `tell` is called with the error if it cannot be loaded."""
        first = next(iter(self), None)
        if first is not None and first.is_local:
            try:
                async with self.using(first.name):
                    pass
            except JielongError as error:
                tell(str(error))

    async def close(self) -> None:
        """Unload all models."""
        for model in (*self, *self._leaving):
            port = model.port
            await asyncio.to_thread(model.unload)
            if port is not None:
                await port.close()
            model.port = None

    # --- offered

    def offer_run(self, run: Path) -> None:
        """Offer the models of an unfinished run: its finished stages, and its newest checkpoint as RUN:newest."""
        if not is_run(run):
            return
        for stage, folder in open_run(run).models().items():
            if stage not in NOT_TALKING and f"{run.name}:{stage}" not in self._models:
                self._add_model(f"{run.name}:{stage}", f"{run}:{stage}", folder)
        newest = newest_checkpoint(run)
        name = f"{run.name}:newest"
        if newest is None:
            return
        if name not in self._models:
            self._add_model(name, str(newest), newest)
            self._models = {name: self._models.pop(name), **self._models}  # it is asked where none is named
        elif self._models[name].folder != newest and not self._models[name].num_users:
            self._models[name].unload()
            self._models[name] = Model(name, str(newest), newest)
            self._read_config(self._models[name], newest)

    def offer_adapter(self, base: str, name: str, folder: Path | None) -> None:
        """Offer the adapter in `folder` as `name`, before all other models; with None, stop offering it."""
        known = self._models.get(name)
        if known is not None and known.learned_from and known.folder != folder:
            del self._models[name]
            self._leaving.append(known)
        if folder is not None and name not in self._models:
            model = Model(name, str(folder), folder, learned_from=base)
            self._read_config(model, folder)
            self._models = {name: model, **self._models}
        for gone in [m for m in self._leaving if not m.num_users]:  # whoever is being answered is answered to the end
            self._leaving.remove(gone)
            gone.unload()

    def _offer(self, spec: str) -> None:
        """Offer a model, or all models of a run, by their names."""
        spec = long_name(spec)
        if is_address(spec):
            self._add_model(served_name(spec), spec, None)
            return
        path, stage = named_stage(Path(spec))
        self._add_model(served_name(spec), spec, folder_of(spec))
        if stage is None and is_run(path):
            for name in open_run(path).models():
                if name not in NOT_TALKING:
                    self._add_model(f"{path.name}:{name}", f"{spec}:{name}", find_model(path, name))

    def _add_model(self, name: str, spec: str, folder: Path | None) -> None:
        """Offer one model under a unique name."""
        unique = name
        for number in range(2, len(self._models) + 3):
            if unique not in self._models:
                break
            unique = f"{name}-{number}"
        model = Model(unique, spec, folder)
        if folder is not None:
            self._read_config(model, folder)
        self._models[unique] = model

    def _read_config(self, model: Model, folder: Path) -> None:
        """Read a model's config, without its weights."""
        from jielong.model.adapter_files import base_of, is_adapter
        from jielong.model.hf import read_config

        home = base_of(folder) if is_adapter(folder) else folder
        config, _ = read_config(home)
        model.context = min(self.memory.length, config.max_position_embeddings)
        model.num_parameters = num_parameters(folder)
        numbers = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
        cache = 4 * numbers * model.context * self.memory.slots
        model.bytes_needed = BYTES_A_WEIGHT[self.memory.weights or "bfloat16"] * model.num_parameters + cache
        run = run_around(folder)
        own_stage = next((n for n, f in run.models().items() if f == folder), "") if run else ""
        model.is_base = own_stage == "pretrain" or (not own_stage and not _has_template(home))

    # --- in memory

    async def _load(self, model: Model) -> None:
        """Load a model, after making room for it."""
        if model.folder is None:
            model.port = open_endpoint(model.spec)
            return
        async with self._room:
            await self._make_room(model)
            await compute_in_thread(partial(self._open_engine, model))

    async def _make_room(self, model: Model) -> None:
        """Unload the least recently used models until this one fits. Raises ResourceError if it cannot fit."""
        limit = self.limit_bytes
        if model.bytes_needed > limit:
            raise ResourceError(
                f"{model.name} needs about {model.bytes_needed / 1e9:.1f} GB with its cache, and the server may use "
                f"{limit / 1e9:.1f}; allow it more with --memory, or give it fewer --slots or a smaller --context"
            )
        idle = sorted((m for m in self if m.runner is not None and not m.num_users), key=lambda m: m.used_at)
        while self.used_bytes + model.bytes_needed > limit:
            if not idle:
                raise ResourceError(
                    f"no room for {model.name} beside the models that are in use ({self.used_bytes / 1e9:.1f} of "
                    f"{limit / 1e9:.1f} GB); ask again later, or allow more with --memory"
                )
            await asyncio.to_thread(idle.pop(0).unload)

    def _open_engine(self, model: Model) -> None:
        """Open a model's engine on a thread of its own."""
        from jielong.generate.runner import Runner
        from jielong.runs import digest, sums_of
        from jielong.use.port import LocalPort

        assert model.folder is not None
        memory = self.memory
        engine, tokenizer = open_engine(model.folder, memory.weights, slots=memory.slots, length=memory.length)
        model.runner = Runner(
            engine, model.name, partial(self._on_first_token, model.name) if self._on_first_token else None
        )
        model.logprobs = model.logprobs or OpenAILogprobs(tokenizer)
        model.port = LocalPort(engine, tokenizer, model.name, model.runner)
        model.weights = engine.config.weights or engine.config.dtype
        model.bytes_needed = engine.weight_bytes + engine.cache_bytes
        if not model.digest:
            model.digest = digest(sums_of(model.folder))


def _has_template(folder: Path) -> bool:
    """Whether a model's tokenizer has a chat template."""
    from jielong.tokens.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(folder)
    return bool(tokenizer.is_own or tokenizer.template)
