"""Files of others: bytes, text, and records, one after the other; a record that cannot be read costs one sentence."""

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
    """Raise DataError unless there is a regular file; a pipe would be waited for without end."""
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
    """Raise DataError if the file is a pointer of Git LFS or a web page instead of the data that its name promises."""
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
def open_unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, unpacked if it is gzip, bzip2 or xz. Raises DataError if it cannot be opened or breaks
    off.
    """
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
    """Read all of a file, unpacked. Raises DataError if that is more than `MAX_BYTES`."""
    with open_unpacked(path) as file:
        body = file.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise DataError(f"{path} holds more than {MAX_BYTES:,} bytes; cut it into several files")
    return body


def read_text(path: Path) -> str:
    """Read all of a file as text in its detected encoding. Raises DataError if none fits."""
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
    """Parse a JSON file. Raises DataError, which names the file and what is wrong in it."""
    text = read_text(path)
    try:
        return parse_json(text)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


# Records -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FileRecord:
    """One record of a file: its line (or number in a list), and its data or, if it cannot be read, the problem."""

    number: int
    data: Any = None
    problem: str = ""
    unit: str = "line"
    encoding: str = "utf-8"

    def where(self, path: Path) -> str:
        return f"{path}:{self.number}" if self.unit == "line" else f"{path}, {self.unit} {self.number}"


def read_lines(path: Path) -> Iterator[FileRecord]:
    """Yield the records of a file: JSON lines, a JSON list, a single object or Parquet, packed or not.

    A line that cannot be read is yielded with its problem. Raises DataError for a file that can be read as none of
    these.
    """
    with open_unpacked(path) as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(b"PAR1"):
        yield from _read_parquet(path)
        return
    if head.startswith((b"PK\x03\x04", b"%PDF", b"\x7fELF", b"GGUF", b"\x28\xb5\x2f\xfd")):
        raise DataError(f"{path} is no text; expected one JSON object a line, as it is or in gzip, bzip2 or xz")
    refuse_pointer(path)
    lines = decoded_lines(path, head)
    first = next((line for line in lines if line[1].strip()), None)
    if first is None:
        return
    if _is_whole(first[1]):
        yield from _read_single_value(path)
        return
    yield _parse_line(*first)
    for number, text, encoding in lines:
        if text.strip():
            yield _parse_line(number, text, encoding)


def _is_whole(first: str) -> bool:
    """Whether the file is one piece of JSON over several lines, because its first line alone does not parse."""
    if first.lstrip().startswith("["):
        return True
    try:
        parse_json(first)
    except DataError:
        return first.strip() == "{" or first.rstrip().endswith((",", "{", "["))
    return False


def _read_single_value(path: Path) -> Iterator[FileRecord]:
    """Yield the records of a file that is one piece of JSON: the items of a list, or a single object."""
    data = read_json_file(path)
    for number, record in enumerate(data if isinstance(data, list) else [data], start=1):
        yield FileRecord(number, record, unit="record")


def _parse_line(number: int, text: str, encoding: str) -> FileRecord:
    """Parse one line of JSON; the Line holds the data or the problem."""
    try:
        return FileRecord(number, parse_json(text), encoding=encoding)
    except DataError as error:
        return FileRecord(number, problem=str(error), encoding=encoding)


def decoded_lines(path: Path, head: bytes = b"") -> Iterator[tuple[int, str, str]]:
    """Yield number, text and encoding of each line. Raises DataError at a line in no encoding, or in another than those
    before.

    UTF-8 is assumed until a line is not valid: then the encoding is detected from the beginning of the file, and the
    rest is read in it. Byte order marks are dropped at the beginning of any line, as joined files hold them inside.
    """
    if not head:
        with open_unpacked(path) as file:
            head = file.read(HEAD_BYTES)
    wide = _wide_encoding(head)
    with open_unpacked(path) as file:
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
    """Return "utf-16" or "utf-32" with its byte order if the first bytes show it, with or without a mark; else ""."""
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


def _read_parquet(path: Path) -> Iterator[FileRecord]:
    """Yield the records of a Parquet file. Raises DataError if pyarrow is missing or the file is damaged."""
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
                        plain = json.loads(json.dumps(_drop_nulls(record), default=_to_json_value))
                    except DataError as error:
                        yield FileRecord(number, problem=str(error), unit="record")
                    else:
                        yield FileRecord(number, plain, unit="record")
    except (ArrowException, OSError) as error:
        raise DataError(f"{path} is a damaged Parquet file ({str(error).splitlines()[0]})") from error


def _drop_nulls(value: Any) -> Any:
    """Remove the nulls that a table fills in, since each of its rows has all fields of any row."""
    if isinstance(value, dict):
        return {key: _drop_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_drop_nulls(inner) for inner in value] if isinstance(value, list) else value


def _to_json_value(value: Any) -> Any:
    """Convert a table's value that JSON has no kind for (dates, bytes, decimals)."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise DataError(f"a field holds {len(value):,} bytes that are no text") from None
    return float(value) if isinstance(value, Decimal) else str(value)


def parse_record(line: FileRecord, parse: Callable[[Mapping[str, Any]], T], path: Path) -> T:
    """Return `parse` of a line's object. Raises DataError, which names the line, if the object is wrong or there is
    none.
    """
    try:
        if line.problem:
            raise DataError(line.problem)
        if not isinstance(line.data, dict):
            raise DataError(f"expected a JSON object, found {kind_of(line.data)}")
        return parse(line.data)
    except DataError as error:
        raise DataError(f"{line.where(path)}: {error}") from None


def parse_records(
    lines: Iterator[FileRecord], parse: Callable[[Mapping[str, Any]], T], path: Path, what: str
) -> list[T]:
    """Return `parse` of all records of a file. Raises DataError, which lists the lines that are wrong, or says that
    there is no `what`.
    """
    found: list[T] = []
    wrong: list[str] = []
    for line in lines:
        try:
            found.append(parse_record(line, parse, path))
        except DataError as error:
            wrong.append(str(error))
    if wrong:
        raise DataError(list_problems(wrong))
    if not found:
        raise DataError(f"{path}: holds no {what}; expected one JSON object a line")
    return found


def list_problems(problems: list[str], most: int = 5) -> str:
    """Format the first few problems, a line each, and how many more there are."""
    more = f"\n... and {len(problems) - most:,} more lines" if len(problems) > most else ""
    return "\n".join(problems[:most]) + more
