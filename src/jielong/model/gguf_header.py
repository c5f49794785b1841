"""The head of a GGUF file: its fields, and where its tensors lie. Every count in it is held against the file's size first.

The file begins with "GGUF", its version, the numbers of tensors and of fields; then come the fields, each a name, a type and
a value, and the tensors, each a name, a shape, a type and a place. All numbers are little-endian, and any of them may be
damaged: two changed bytes make an array of a few tokens one of billions.
"""

from __future__ import annotations

import math
import mmap
import struct
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_ITEMS = 1 << 24
"""Of an array, or of tensors: more than any vocabulary or model has."""
MAX_DIMS = 4
_STRING, _ARRAY = 8, 9
_FORMS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""How `struct` spells the types of GGUF."""


@dataclass(frozen=True)
class Stored:
    """One tensor of a file: its type in the library's words, its shape with the last axis running fastest, its bytes."""

    kind: Any
    shape: tuple[int, ...]
    data: NDArray[Any]


class VersionError(ValueError):
    """The file is of a GGUF version that is not read here."""


def read_header(path: Path, library: types.ModuleType) -> tuple[dict[str, Any], dict[str, Stored]]:
    """Read fields and tensors by their names. Raises ValueError if the file is damaged. The tensors are mapped, not
    read.
    """
    if not path.stat().st_size:
        raise ValueError("it is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body:
        walk = _HeaderReader(body)
        if body[:4] != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        walk.at = 4
        version = walk.number("I")
        if version not in (2, 3):
            raise VersionError(f"version {version}; 2 and 3 are read")
        num_tensors, num_fields = walk.count(24), walk.count(12)
        fields: dict[str, Any] = {}
        for _ in range(num_fields):
            name = walk.text()
            if name in fields:
                raise ValueError(f"the field {name!r} stands there twice")
            fields[name] = walk.value(walk.number("I"))
        places = [walk.place() for _ in range(num_tensors)]
        alignment = fields.get("general.alignment", 32)
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise ValueError(f"general.alignment is {alignment!r}; expected a power of two")
        start = -(-walk.at // alignment) * alignment
    whole = np.memmap(path, np.uint8, mode="r")
    tensors: dict[str, Stored] = {}
    for name, shape, number, offset in places:
        if name in tensors:
            raise ValueError(f"the tensor {name!r} stands there twice")
        tensors[name] = _map_tensor(whole, start + offset, shape, library.GGMLQuantizationType(number), library)
    return fields, tensors


def _map_tensor(
    whole: NDArray[Any], start: int, shape: tuple[int, ...], kind: Any, library: types.ModuleType
) -> Stored:
    """Map the bytes of one tensor. Raises ValueError if they end beyond the file."""
    block, block_bytes = library.GGML_QUANT_SIZES[kind]
    num_bytes = math.prod(shape) // block * block_bytes
    if math.prod(shape) % block or start + num_bytes > len(whole):
        raise ValueError(f"a tensor of shape {shape} ends beyond the file")
    data = whole[start : start + num_bytes]
    plain = {"F32": np.float32, "F16": np.float16}.get(kind.name)
    if plain is not None:
        return Stored(kind, shape, data.view(plain).reshape(shape))
    return Stored(kind, shape, data.reshape(library.quants.quant_shape_to_byte_shape(shape, kind)))


class _HeaderReader:
    """Reads the head of the file, value by value. Raises ValueError if the file ends too early."""

    def __init__(self, body: mmap.mmap) -> None:
        self._body = body
        self.at = 0

    def number(self, form: str) -> Any:
        """Read one little-endian number of a `struct` format."""
        size = struct.calcsize(form)
        if self.at + size > len(self._body):
            raise ValueError("it ends in the midst of its head")
        self.at += size
        return struct.unpack_from(f"<{form}", self._body, self.at - size)[0]

    def count(self, least_bytes: int) -> int:
        """Read a count of items, each of at least so many bytes. Raises ValueError if the file is too short for
        them.
        """
        count: int = self.number("Q")
        if count > min(MAX_ITEMS, (len(self._body) - self.at) // least_bytes):
            raise ValueError(f"it promises {count:,} parts, and has no room for them")
        return count

    def text(self) -> str:
        """Read a string with its length before it."""
        size = self.number("Q")
        if self.at + size > len(self._body):
            raise ValueError(f"it promises a text of {size:,} bytes, and has no room for it")
        self.at += size
        return self._body[self.at - size : self.at].decode("utf-8")

    def value(self, kind: int) -> Any:
        """Read a value of this type: a string, an array or a number."""
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.number(_format_of_kind(kind))
        inner = self.number("I")
        if inner == _STRING:
            return [self.text() for _ in range(self.count(8))]
        form = _format_of_kind(inner)
        size = struct.calcsize(form)
        count = self.count(size)
        self.at += count * size
        return list(struct.unpack_from(f"<{count}{form}", self._body, self.at - count * size))

    def place(self) -> tuple[str, tuple[int, ...], int, int]:
        """Read a tensor's name, shape, type number and offset; the file has the fastest axis first."""
        name, num_dims = self.text(), self.number("I")
        if not 1 <= num_dims <= MAX_DIMS:
            raise ValueError(f"the tensor {name!r} has {num_dims} dimensions")
        shape = tuple(reversed([self.number("Q") for _ in range(num_dims)]))
        return name, shape, self.number("I"), self.number("Q")


def _format_of_kind(kind: int) -> str:
    """Return the `struct` format of a type number. Raises ValueError for an unknown one."""
    if kind not in _FORMS:
        raise ValueError(f"a field has the unknown type {kind}")
    return _FORMS[kind]
