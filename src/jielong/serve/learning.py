"""Learning from judgements in the server: the base model, the store's judgements, and the promoted model.

All truth lies in files, which the command line may change too; a look every other second keeps the list of models
right.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

from jielong.errors import ConfigError, JielongError
from jielong.learning import asking, pressing, standing, status
from jielong.learning import attempt as attempts
from jielong.learning.attempt import ADAPTER
from jielong.opening.ports import served_name
from jielong.serve.models import Model, Models
from jielong.serve.store import Store

_EVERY_S = 2.0
_SUPPLY_S = 5.0
"""Judgements are sorted anew after so long at the earliest while somebody only watches."""


class Learning:
    """Begins attempts to learn, and follows them."""

    def __init__(self, models: Models, store: Store, runs: Path) -> None:
        self._models, self._store, self._runs = models, store, runs
        self._supply: dict[str, Any] = {}
        self._supplied_s = -1e9

    async def run(self) -> None:
        """Update the list of promoted models every few seconds, until cancelled."""
        while True:
            with contextlib.suppress(JielongError, OSError):
                self.look()
            await asyncio.sleep(_EVERY_S)

    def look(self) -> None:
        """Offer the promoted model of each base, and no other."""
        seen: set[Path] = set()
        for model in [m for m in self._models if m.folder is not None and not m.learned_from]:
            if model.folder in seen:
                continue  # RUN and RUN:STAGE are one model
            seen.add(model.folder)
            home = attempts.home_of(self._runs, model.folder)
            id = standing.standing(home) if home.is_dir() else ""
            self._models.offer_adapter(model.name, status.learned_name(model.name), home / id / ADAPTER if id else None)

    def base(self, name: str | None) -> Model:
        """Return the model that is to learn: the one of that name, or the default; of a learned one, its base."""
        model = self._models.get(name) if name else self._models.default
        if model.learned_from:
            model = self._models.get(model.learned_from)
        if model.folder is None:
            raise ConfigError(f"{model.name} is a model of another server; only a model on this machine can learn")
        return model

    def home(self, base: Model) -> Path:
        assert base.folder is not None
        return attempts.home_of(self._runs, base.folder)

    def folder(self, id: str) -> Path:
        """Return the attempt of that id, of any base that is offered. Raises NotFoundError if there is none."""
        homes = [self.home(m) for m in self._models if m.folder is not None and not m.learned_from]
        home = next((home for home in homes if (home / id / attempts.FILE).exists()), homes[0] if homes else self._runs)
        return pressing.folder_of(home, id)

    def press(self, base: Model, method: str) -> dict[str, Any]:
        """Begin an attempt and return it."""
        assert base.folder is not None
        judgements = self._store.judgements.nouns()
        folder = pressing.press(self._runs, served_name(base.spec), base.folder, judgements, method=method)
        return status.attempt_json(folder)

    def state_json(self, base: Model, *, is_fresh: bool = True) -> dict[str, Any]:
        """Return the state of learning of one base."""
        if is_fresh or time.monotonic() - self._supplied_s > _SUPPLY_S:
            self._supply = status.supply_json(self._store.judgements.nouns(with_ids=False))
            self._supplied_s = time.monotonic()
        return {**status.attempts_json(self.home(base), base.name), **self._supply}

    def vote(self, folder: Path, n: int, outcome: str) -> dict[str, Any]:
        """Store a vote on a blind pair; return the attempt after it."""
        asking.vote(folder.parent, folder, n, outcome, by="page", at=time.time())
        return status.attempt_json(folder)
