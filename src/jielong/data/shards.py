"""Documents as token ids on disk, read without loading them.

A folder of shards holds manifest.json and, for each shard, `.bin` (all ids one after the other, little-endian uint16,
or uint32 if the vocabulary is above 65,536), `.idx` (little-endian uint64: where each document begins in the `.bin`,
and the end) and `.ids` (a document's id on each line). The folder is written aside, synced and renamed, so one that
exists is complete; sizes are checked when it is opened. A reader sees one long row of tokens with the borders of the
documents, however many shards there are; tokens that are already in memory look the same.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jielong.errors import CheckpointError, DataError
from jielong.outside import Fields, check_file
from jielong.records import Document
from jielong.runs import read_json, write_directory, write_json
from jielong.tokens.tokenizer import Tokenizer

SHARDS_VERSION = 1
_MANIFEST_KEYS = ("version", "tokenizer", "vocab_size", "num_tokens", "num_documents", "num_bytes", "shards")


class Tokens(Protocol):
    """The protocol of documents in one long row of tokens: document i lies from `offsets[i]` to `offsets[i + 1]`."""

    @property
    def offsets(self) -> NDArray[np.int64]: ...

    def gather(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tokens at these places of the row, in the shape of `index`."""
        ...


class TokenArray:
    """Tokens in memory."""

    def __init__(self, tokens: NDArray[Any], offsets: NDArray[np.int64]) -> None:
        """`tokens`: 1-d integers. `offsets`: (D+1,) int64 from 0 to len(tokens), never falling; owned by this object."""
        self.tokens = tokens
        self.offsets = offsets

    @classmethod
    def of(cls, documents: Iterable[Sequence[int]]) -> TokenArray:
        """Make one from a list of ids per document."""
        arrays = [np.asarray(ids, np.int64) for ids in documents]
        offsets = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
        return cls(np.concatenate([np.empty(0, np.int64), *arrays]), offsets)

    def gather(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.tokens[index].astype(np.int64)

    def document(self, i: int) -> NDArray[np.int64]:
        """Return the (L,) ids of document i."""
        return self.gather(np.arange(self.offsets[i], self.offsets[i + 1]))

    @property
    def num_tokens(self) -> int:
        return int(self.offsets[-1])

    @property
    def num_documents(self) -> int:
        return len(self.offsets) - 1


def encode_documents(documents: Iterable[Document], tokenizer: Tokenizer) -> Iterator[tuple[str, NDArray[np.uint32]]]:
    """Yield (document id, ids ended by <|endoftext|>) of each document, in order."""
    names: deque[str] = deque()

    def texts() -> Iterator[str]:
        for document in documents:
            names.append(document.id)
            yield document.text

    for ids in tokenizer.encode_documents(texts()):
        yield names.popleft(), ids


def _token_type(vocab_size: int) -> np.dtype[Any]:
    return np.dtype("<u2") if vocab_size <= 65_536 else np.dtype("<u4")


def write_shards(
    directory: Path | str,
    documents: Iterable[tuple[str, Sequence[int] | NDArray[np.integer[Any]]]],
    tokenizer: Tokenizer,
    *,
    shard_tokens: int = 1 << 27,
) -> Shards:
    """Write (document id, ids) pairs to a new folder and open it.

    A shard ends after the document that reaches `shard_tokens`. Raises DataError if the folder exists, if there is no
    document, or if an id lies outside the vocabulary.
    """
    directory = Path(directory)
    if directory.exists():
        raise DataError(f"{directory} exists already; delete it or choose another folder for the shards")
    dtype = _token_type(tokenizer.vocab_size)
    shards: list[dict[str, Any]] = []
    num_bytes = 0

    def fill(folder: Path) -> None:
        """Write all shards and the manifest into a folder."""
        nonlocal num_bytes
        pending: list[NDArray[Any]] = []
        names: list[str] = []

        def close() -> None:
            """Write the pending documents as one shard."""
            name = f"shard-{len(shards):05d}"
            tokens = np.concatenate(pending)
            np.cumsum([0, *map(len, pending)]).astype("<u8").tofile(folder / f"{name}.idx")
            tokens.tofile(folder / f"{name}.bin")
            (folder / f"{name}.ids").write_text("".join(f"{n}\n" for n in names), encoding="utf-8", newline="\n")
            shards.append({"name": name, "num_tokens": len(tokens), "num_documents": len(pending)})
            pending.clear()
            names.clear()

        size = 0
        for id, ids in documents:
            array = np.asarray(ids, np.int64)
            _check(id, array, tokenizer.vocab_size)
            pending.append(array.astype(dtype))
            names.append(id)
            num_bytes += int(tokenizer.byte_lengths[array].sum())
            size += len(array)
            if size >= shard_tokens:
                close()
                size = 0
        if pending:
            close()
        if not shards:
            raise DataError(f"no document to write to {directory}; expected at least one")
        manifest = {
            "version": SHARDS_VERSION,
            "tokenizer": tokenizer.digest,
            "vocab_size": tokenizer.vocab_size,
            "num_tokens": sum(s["num_tokens"] for s in shards),
            "num_documents": sum(s["num_documents"] for s in shards),
            "num_bytes": num_bytes,
            "shards": shards,
        }
        write_json(folder / "manifest.json", manifest)

    write_directory(directory, fill)
    return Shards(directory)


def _check(id: str, ids: NDArray[np.int64], vocab_size: int) -> None:
    """Raise DataError for a document id with a line break, or ids that are none or outside the vocabulary."""
    if len(id.splitlines()) > 1 or id.endswith(("\n", "\r")):
        raise DataError(f"document id {id!r} has a line break; expected one line")
    if len(ids) == 0:
        raise DataError(f"document {id!r} has no tokens; expected at least <|endoftext|>")
    if ids.min() < 0 or ids.max() >= vocab_size:
        raise DataError(
            f"document {id!r} has a token outside the vocabulary of {vocab_size}; was another tokenizer used?"
        )


class Shards:
    """Tokens on disk, memory-mapped. Raises DataError if the folder is missing, damaged or of another version."""

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        self.manifest = self._read_manifest()
        self._vocab_size = self.manifest["vocab_size"]
        dtype = _token_type(self._vocab_size)
        self._tokens: list[NDArray[Any]] = []
        offsets: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
        for shard in self.manifest["shards"]:
            self._tokens.append(self._map(f"{shard['name']}.bin", dtype, shard["num_tokens"]))
            borders = self._map(f"{shard['name']}.idx", np.dtype("<u8"), shard["num_documents"] + 1).astype(np.int64)
            if borders[0] != 0 or borders[-1] != shard["num_tokens"] or (np.diff(borders) <= 0).any():
                raise DataError(f"{self.directory / shard['name']}.idx is damaged; write the shards again")
            offsets.append(borders[1:] + offsets[-1][-1])
        self.offsets: NDArray[np.int64] = np.concatenate(offsets)
        self._starts = np.cumsum([0, *map(len, self._tokens)])[:-1]

    def _read_manifest(self) -> dict[str, Any]:
        """Read and check manifest.json. Raises DataError if it is damaged or of another version."""
        path = self.directory / "manifest.json"
        try:
            manifest = read_json(path)
        except CheckpointError as error:
            raise DataError(f"{self.directory} holds no complete shards: {error}") from error
        version = manifest.get("version") if isinstance(manifest, dict) else None
        if version != SHARDS_VERSION:
            raise DataError(f"{path} has version {version!r}; expected {SHARDS_VERSION}, write the shards again")
        missing = [key for key in _MANIFEST_KEYS if key not in manifest]
        if missing:
            raise DataError(f"{path} is damaged ({', '.join(missing)} missing); write the shards again")
        fields = Fields(manifest, str(path))
        fields.text("tokenizer")
        fields.whole("vocab_size", low=1, high=2**32)
        fields.whole("num_bytes")
        shards = fields.inners("shards")
        for at, shard in enumerate(shards):
            if shard.text("name") != f"shard-{at:05d}":
                shard.wrong("name", f"'shard-{at:05d}'; write the shards again")
        for name in ("num_tokens", "num_documents"):
            total = sum(shard.whole(name, low=1, high=2**48) for shard in shards)
            if not total or fields.whole(name) != total:
                fields.wrong(name, f"{total}, the sum over its shards; write the shards again")
        return fields.data

    def _map(self, name: str, dtype: np.dtype[Any], length: int) -> NDArray[Any]:
        """Map one file of a shard into memory. Raises DataError if its size is wrong."""
        path = self.directory / name
        size = path.stat().st_size if path.is_file() else 0
        if size != length * dtype.itemsize:
            raise DataError(f"{path} has {size} bytes; expected {length * dtype.itemsize}, write the shards again")
        return np.memmap(path, dtype, mode="r")

    def gather(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tokens at these places of the row, across all shards."""
        if len(self._tokens) == 1:
            return self._checked(self._tokens[0][index].astype(np.int64))
        shard = np.searchsorted(self._starts, index, side="right") - 1
        out = np.empty(index.shape, np.int64)
        for s in np.unique(shard):
            here = shard == s
            out[here] = self._tokens[s][index[here] - self._starts[s]]
        return self._checked(out)

    def _checked(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the ids. Raises DataError for one outside the vocabulary, which only a damaged file has."""
        if ids.size and ids.max() >= self._vocab_size:
            raise DataError(
                f"{self.directory} holds the token {ids.max()}, outside its vocabulary of {self._vocab_size}; "
                "write the shards again"
            )
        return ids

    def document(self, i: int) -> NDArray[np.int64]:
        """Return the (L,) ids of document i."""
        return self.gather(np.arange(self.offsets[i], self.offsets[i + 1]))

    @functools.cached_property
    def ids(self) -> list[str]:
        """Return the id of each document."""
        names: list[str] = []
        for shard in self.manifest["shards"]:
            path = self.directory / f"{shard['name']}.ids"
            try:
                check_file(path)
                lines = path.read_text(encoding="utf-8").split("\n")[:-1]
            except UnicodeDecodeError as error:
                raise DataError(f"{path} is damaged ({error}); write the shards again") from error
            if len(lines) != shard["num_documents"]:
                raise DataError(
                    f"{self.directory / shard['name']}.ids names {len(lines)} documents; expected "
                    f"{shard['num_documents']}, write the shards again"
                )
            names += lines
        return names

    @property
    def num_tokens(self) -> int:
        return int(self.offsets[-1])

    @property
    def num_documents(self) -> int:
        return len(self.offsets) - 1
