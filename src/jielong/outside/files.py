"""Files of others: bytes, text, and records, one after the other; whatever cannot be read costs one sentence."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import json
import lzma
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, TypeVar

from jielong.errors import DataError
from jielong.outside.encodings import decode
from jielong.outside.parsing import kind_of, parse_json

MAX_BYTES = 1 << 30
"""Of a file that is held in memory as a whole."""

HEAD_BYTES = 1 << 16
"""Of a file, to tell what it is."""

T = TypeVar("T")


def check_file(path: Path) -> None:
    """DataError unless there is a regular file; a pipe would be waited for without end."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a zero byte in the name
        raise DataError(f"{str(path)!r} is no name of a file ({error})") from error
    if stat.S_ISDIR(mode):
        raise DataError(f"{path} is a folder; name a file in it")
    if not stat.S_ISREG(mode):
        raise DataError(f"{path} is no regular file")


def refuse_pointer(path: Path) -> None:
    """DataError where a file is but a pointer of Git LFS, or a web page, in place of what it is named for."""
    check_file(path)
    with path.open("rb") as file:
        head = file.read(200)
    if head.startswith(b"version https://git-lfs"):
        size = next((line.split()[1].decode() for line in head.splitlines() if line.startswith(b"size ")), "?")
        raise DataError(f"{path} is a pointer of Git LFS to a file of {size} bytes; fetch that with: git lfs pull")
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        raise DataError(f"{path} is a web page, perhaps of a download that failed; fetch the file again")


_PACKED: dict[bytes, tuple[str, Callable[[IO[bytes]], Any]]] = {
    b"\x1f\x8b": ("gzip", gzip.open),
    b"BZh": ("bzip2", bz2.open),
    b"\xfd7zXZ\x00": ("xz", lzma.open),
}
"""Compressions by the first bytes of a file, and the functions that unpack them."""


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked where it is gzip, bzip2 or xz; DataError for what cannot be opened or breaks off."""
    check_file(path)
    packing = "packed"
    try:
        with path.open("rb") as raw:
            head = raw.read(max(map(len, _PACKED)))
            raw.seek(0)
            packing, unpack = next((how for mark, how in _PACKED.items() if head.startswith(mark)), (packing, None))
            if unpack:
                with unpack(raw) as unpacked:
                    yield io.BufferedReader(unpacked)
            else:
                yield raw
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path} is a damaged {packing} file ({error})") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def read_bytes(path: Path) -> bytes:
    """All of a file, unpacked; DataError above `MAX_BYTES`."""
    with opened(path) as file:
        body = file.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise DataError(f"{path} holds more than {MAX_BYTES:,} bytes; cut it into several files")
    return body


def read_text(path: Path) -> str:
    """All of a file as text, whatever encoding it is in; DataError where it is in none."""
    body = read_bytes(path)
    wide = _wide_encoding(body[:8])
    try:
        text, encoding = (body.decode(wide), wide) if wide else decode(body)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is {wide} up to where it is damaged ({error.reason})") from None
    is_damaged = "\ufffd" in text and text.encode("utf-8") not in body  # a text may hold the sign of damage itself
    if is_damaged or "\x00" in text:
        raise DataError(f"{path} is no text in an encoding that is known here ({encoding} fits best); save it as UTF-8")
    return text


def read_json_file(path: Path) -> Any:
    """What a JSON file holds; DataError names the file and what is wrong in it."""
    text = read_text(path)
    try:
        return parse_json(text)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


# Records -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One record of a file: the line that it stands in (or its number in a list), its data, or what is wrong with it."""

    number: int
    data: Any = None
    problem: str = ""
    unit: str = "line"
    encoding: str = "utf-8"

    def where(self, path: Path) -> str:
        return f"{path}:{self.number}" if self.unit == "line" else f"{path}, {self.unit} {self.number}"


def records(path: Path) -> Iterator[Line]:
    """The records of a file, one after the other: JSON lines, a JSON list, or a single object; any of them in gzip.

    A line that cannot be read is given with its problem. DataError for a file that can be read as none of these.
    """
    with opened(path) as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(b"PAR1"):
        yield from _parquet(path)
        return
    if head.startswith((b"PK\x03\x04", b"%PDF", b"\x7fELF", b"GGUF", b"\x28\xb5\x2f\xfd")):
        raise DataError(f"{path} is no text; expected one JSON object a line, as it is or in gzip, bzip2 or xz")
    refuse_pointer(path)
    lines = decoded_lines(path, head)
    first = next((line for line in lines if line[1].strip()), None)
    if first is None:
        return
    if _is_whole(first[1]):
        yield from _whole(path)
        return
    yield _parsed(*first)
    for number, text, encoding in lines:
        if text.strip():
            yield _parsed(number, text, encoding)


def _is_whole(first: str) -> bool:
    """Whether the file is one piece of JSON over several lines, as its first line is none by itself."""
    if first.lstrip().startswith("["):
        return True
    try:
        parse_json(first)
    except DataError:
        return first.strip() == "{" or first.rstrip().endswith((",", "{", "["))
    return False


def _whole(path: Path) -> Iterator[Line]:
    data = read_json_file(path)
    for number, record in enumerate(data if isinstance(data, list) else [data], start=1):
        yield Line(number, record, unit="record")


def _parsed(number: int, text: str, encoding: str) -> Line:
    try:
        return Line(number, parse_json(text), encoding=encoding)
    except DataError as error:
        return Line(number, problem=str(error), encoding=encoding)


def decoded_lines(path: Path, head: bytes = b"") -> Iterator[tuple[int, str, str]]:
    """Number, text and encoding of each line; DataError at a line that is in no encoding, or in another than those before.

    UTF-8 is believed until a line is none: then the encoding is told from the beginning of the file, and the rest is read
    in it. Marks of byte order are dropped wherever a line begins with one, as they stand inside files that were joined.
    """
    if not head:
        with opened(path) as file:
            head = file.read(HEAD_BYTES)
    wide = _wide_encoding(head)
    with opened(path) as file:
        if wide:
            try:
                with io.TextIOWrapper(file, wide, newline="\n") as texts:
                    for number, text in enumerate(texts, start=1):
                        yield number, text.lstrip("\ufeff"), wide
            except UnicodeDecodeError as error:
                raise DataError(f"{path} is {wide} up to where it is damaged ({error.reason})") from error
            return
        encoding, is_plain = "utf-8", True
        for number, raw in enumerate(file, start=1):
            try:
                text = raw.decode(encoding)
            except UnicodeDecodeError as error:
                found = decode(head[: head.rfind(b"\n") + 1] + raw)[1]
                text = raw.decode(found, "replace")
                # a file that was UTF-8 up to here, beyond ASCII, is damaged or two files
                if encoding != "utf-8" or not is_plain or found == "utf-8" or "\ufffd" in text:
                    raise DataError(
                        f"{path}:{number}: byte {error.start + 1} of the line is not {encoding}; save the file as UTF-8"
                    ) from None
                encoding = found
            is_plain = is_plain and text.removeprefix("\ufeff").isascii()
            yield number, text.lstrip("\ufeff"), encoding


def _wide_encoding(head: bytes) -> str:
    """UTF-16 or UTF-32 where the first bytes are that, with or without a mark of byte order; else nothing."""
    for mark, name in ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32")):
        if head.startswith(mark):
            return name
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(head) >= 4 and head[0] and not head[1] and head[2] and not head[3]:
        return "utf-16-le"
    if len(head) >= 4 and not head[0] and head[1] and not head[2] and head[3]:
        return "utf-16-be"
    return ""


def _parquet(path: Path) -> Iterator[Line]:
    try:
        from pyarrow import ArrowException, parquet  # late: 40 MB, and few have such files
    except ImportError:
        raise DataError(
            f"{path} is a Parquet file; to read it: pip install pyarrow, or save it as JSON lines with what made it"
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=256):
                for record in batch.to_pylist():
                    number += 1
                    try:
                        plain = json.loads(json.dumps(_without_nulls(record), default=_in_json))
                    except DataError as error:
                        yield Line(number, problem=str(error), unit="record")
                    else:
                        yield Line(number, plain, unit="record")
    except (ArrowException, OSError) as error:
        raise DataError(f"{path} is a damaged Parquet file ({str(error).splitlines()[0]})") from error


def _without_nulls(value: Any) -> Any:
    """What a table had to fill up, as each of its rows has all fields of any row."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _in_json(value: Any) -> Any:
    """A value of a table's cell that JSON has no kind for."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise DataError(f"a field holds {len(value):,} bytes that are no text") from None
    return float(value) if isinstance(value, Decimal) else str(value)


def parsed(line: Line, parse: Callable[[Mapping[str, Any]], T], path: Path) -> T:
    """A record as `parse` gives it; DataError with its place where it is wrong, or no object."""
    try:
        if line.problem:
            raise DataError(line.problem)
        if not isinstance(line.data, dict):
            raise DataError(f"expected a JSON object, found {kind_of(line.data)}")
        return parse(line.data)
    except DataError as error:
        raise DataError(f"{line.where(path)}: {error}") from None


def gathered(lines: Iterator[Line], parse: Callable[[Mapping[str, Any]], T], path: Path, what: str) -> list[T]:
    """All records of a file as `parse` gives them; DataError lists the lines that hold none, or says that there are none."""
    found: list[T] = []
    wrong: list[str] = []
    for line in lines:
        try:
            found.append(parsed(line, parse, path))
        except DataError as error:
            wrong.append(str(error))
    if wrong:
        raise DataError(listed(wrong))
    if not found:
        raise DataError(f"{path}: holds no {what}; expected one JSON object a line")
    return found


def listed(problems: list[str], most: int = 5) -> str:
    """The first few problems, a line each, and how many more there are."""
    more = f"\n... and {len(problems) - most:,} more lines" if len(problems) > most else ""
    return "\n".join(problems[:most]) + more
