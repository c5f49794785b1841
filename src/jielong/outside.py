"""JSON and bytes that we did not write: read whole, or refused in one sentence that says where and what.

Whatever comes from files, models, servers and people goes through here. JSON is held to limits that no honest file meets:
nesting, digits of a number, NaN, a key given twice. Bytes become text in the encoding that they turn out to be in, and what
fits none is refused: no replacement character enters a record. Files that we wrote ourselves are read in `runs`.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from jielong.errors import DataError

MAX_DEPTH = 100
"""Objects and lists within each other. A chat has six of them; a few hundred exhaust whoever walks through."""

MAX_DIGITS = 300
"""Of one number: more than a float can tell apart, and time that grows with the square."""

MAX_BYTES = 1 << 30
"""Of a file that is held in memory as a whole."""

HEAD_BYTES = 1 << 16
"""Of a file, to tell what it is."""

T = TypeVar("T")


# JSON --------------------------------------------------------------------------------------------------------------


def parse_json(text: str) -> Any:
    """What the text holds; DataError says what is wrong in it, without the place where it came from."""
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(text)
    try:
        found = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON ({error.msg} at line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise DataError(f"nested deeper than {MAX_DEPTH} levels") from None
    if "\\u" in text and _HALVES.search(text):
        _check_halves(found)
    return found


_HALVES = re.compile(r"\\u[dD][89a-fA-F]")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def _check_depth(text: str) -> None:
    depth = 0
    for mark in re.finditer(r"[\[\]{}]", _STRING.sub('""', text)):
        depth += 1 if mark[0] in "[{" else -1
        if depth > MAX_DEPTH:
            raise DataError(f"nested deeper than {MAX_DEPTH} levels")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DataError(f"the key {twice!r} stands twice in one object")
    return made


def _constant(name: str) -> float:
    raise DataError(f"{name} is no number in JSON; expected a finite number or null")


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise DataError(f"a number has {len(digits)} digits; at most {MAX_DIGITS} are read")
    return int(digits)


def _check_halves(value: Any) -> None:
    """Escapes may name half of a character, which no encoding can write."""
    if isinstance(value, str):
        half = re.search("[\ud800-\udfff]", value)
        if half:
            raise DataError(f"\\u{ord(half[0]):04x} stands alone, which is half of a character")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_halves(key)
            _check_halves(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_halves(inner)


def kind_of(value: Any) -> str:
    """What a parsed value is, in JSON's words."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def shown(value: Any, size: int = 60) -> str:
    """A parsed value for an error sentence, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= size else f"{text[: size - 3]}..."


# Files -------------------------------------------------------------------------------------------------------------


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


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked where it is a gzip; DataError for what cannot be opened or breaks off."""
    check_file(path)
    try:
        with path.open("rb") as raw:
            is_packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if is_packed:
                with gzip.open(raw) as unpacked:
                    yield io.BufferedReader(unpacked)
            else:
                yield raw
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is a damaged gzip file ({error})") from error
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
    if "\ufffd" in text or "\x00" in text:
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


def records(path: Path) -> Iterator[Line]:
    """The records of a file, one after the other: JSON lines, a JSON list, or a single object; any of them in gzip.

    A line that cannot be read is given with its problem. DataError for a file that can be read as none of these.
    """
    with opened(path) as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(b"PAR1"):
        yield from _parquet(path)
        return
    if head.startswith((b"PK\x03\x04", b"%PDF", b"\x7fELF", b"GGUF")):
        raise DataError(f"{path} is no text; expected one JSON object a line")
    lines = decoded_lines(path, head)
    first = next(((number, text) for number, text in lines if text.strip()), None)
    if first is None:
        return
    if _is_whole(first[1]):
        yield from _whole(path)
        return
    yield _parsed(*first)
    for number, text in lines:
        if text.strip():
            yield _parsed(number, text)


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
        yield Line(number, record)


def _parsed(number: int, text: str) -> Line:
    try:
        return Line(number, parse_json(text))
    except DataError as error:
        return Line(number, problem=str(error))


def decoded_lines(path: Path, head: bytes = b"") -> Iterator[tuple[int, str]]:
    """Number and text of each line, in the encoding of the file; DataError at a line that is in none.

    UTF-8 is believed until a line is none: then the encoding is told from that line, and the rest is read in it. Marks of
    byte order are dropped wherever a line begins with one, as they stand inside files that were joined.
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
                        yield number, text.lstrip("\ufeff")
            except UnicodeDecodeError as error:
                raise DataError(f"{path} is {wide} up to where it is damaged ({error.reason})") from error
            return
        encoding = "utf-8"
        for number, raw in enumerate(file, start=1):
            try:
                text = raw.decode(encoding)
            except UnicodeDecodeError as error:
                text, found = decode(raw)
                if encoding != "utf-8" or found == "utf-8" or "\ufffd" in text:
                    raise DataError(
                        f"{path}:{number}: byte {error.start + 1} of the line is not {encoding}; save the file as UTF-8"
                    ) from None
                encoding = found
            yield number, text.lstrip("\ufeff")


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
                    yield Line(number, record)
    except (ArrowException, OSError) as error:
        raise DataError(f"{path} is a damaged Parquet file ({str(error).splitlines()[0]})") from error


def gathered(lines: Iterator[Line], parse: Callable[[Mapping[str, Any]], T], path: Path, what: str) -> list[T]:
    """All records of a file as `parse` gives them; DataError lists the lines that hold none, or says that there are none."""
    found: list[T] = []
    wrong: list[str] = []
    for line in lines:
        problem = line.problem
        if not problem:
            try:
                if not isinstance(line.data, dict):
                    raise DataError(f"expected a JSON object, found {kind_of(line.data)}")
                found.append(parse(line.data))
            except DataError as error:
                problem = str(error)
        if problem:
            wrong.append(f"{path}:{line.number}: {problem}")
    if wrong:
        raise DataError(listed(wrong))
    if not found:
        raise DataError(f"{path}: holds no {what}; expected one JSON object a line")
    return found


def listed(problems: list[str], most: int = 5) -> str:
    """The first few problems, a line each, and how many more there are."""
    more = f"\n... and {len(problems) - most:,} more lines" if len(problems) > most else ""
    return "\n".join(problems[:most]) + more


# Encodings ---------------------------------------------------------------------------------------------------------

# The most frequent characters of Chinese writing, simplified and traditional: about four of ten characters of any text.
_EVERYDAY = frozenset(
    "的一是不了在人有我他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可里后小么心多天而能好都然没日于"
    "起还发成事只作当想看文无开手用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但身些与高意进把法此实回二理美点月明其"
    "種这個國說們為時過會對裡後麼沒於還發當開經頭動兩長樣現將與進實點其首都位于洲货币语言面积人口貨幣語區地市省城名南北西东東海"
    "什哪谁怎请问答是否官方使用属亚欧非第部因定由最等新全各使十四五六七八九百千万年月日，。、：？"
)
_META_CHARSET = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]+)|<\?xml[^>]{0,80}encoding=[\"']([\w.:-]+)", re.I
)
_HEADER_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.I)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "ascii": "cp1252", "iso8859-1": "cp1252", "big5": "big5hkscs"}


def _codec(name: str) -> str:
    """Python's name of an encoding, widened to what browsers take it for; empty when there is none such."""
    try:
        found = codecs.lookup(name).name
        "".encode(found)  # bytes-to-bytes codecs (hex, zip) have names too
    except (LookupError, TypeError, ValueError):
        return ""
    return _WIDER.get(found, found)


def declared_encodings(body: bytes, content_type: str) -> list[str]:
    """Encodings that the header and the page itself claim, in that order."""
    names = _HEADER_CHARSET.findall(content_type)
    head = _META_CHARSET.search(body, 0, 4096)
    if head:
        names.append((head[1] or head[2]).decode("ascii", "replace"))
    return [codec for codec in map(_codec, names) if codec]


def _plausibility(text: str) -> float:
    """How much a decoding looks like writing: above 0 it does. Everyday Chinese and plain letters count for it."""
    sample = text[:5_000]
    han = sum("\u4e00" <= c <= "\u9fff" for c in sample)
    everyday = sum(c in _EVERYDAY for c in sample)
    kana_hangul = sum("\u3041" <= c <= "\u30ff" or "\uac00" <= c <= "\ud7a3" for c in sample)
    strange = sum("\x80" <= c <= "\x9f" or "\ue000" <= c <= "\uf8ff" or c == "\ufffd" for c in sample)
    latin = sum("\xa0" <= c <= "\u024f" for c in sample)
    # In Chinese a fifth of the characters are everyday ones; text decoded wrongly has one in fifty of them.
    return (5.0 * everyday - han + 0.5 * kana_hangul - 0.1 * latin - 5.0 * strange) / (
        1 + han + kana_hangul + latin + strange
    )


def decode(body: bytes, content_type: str = "") -> tuple[str, str]:
    """The text of `body` and the encoding that it turned out to be in.

    The bytes are believed before what they say of themselves: UTF-8 that is valid is UTF-8 whatever a header claims, and
    among the encodings in which the rest is valid, the one whose Chinese characters are everyday ones wins.

    Never raises: where nothing fits, bytes that mean nothing become U+FFFD, which the filters see and judge.
    """
    for bom, encoding in _BOMS:
        if body.startswith(bom):
            return body[len(bom) :].decode(encoding, "replace"), encoding
    # A declared 7-bit escape encoding is also valid ASCII, so it is asked first.
    if b"\x1b$" in body[:20_000] and "iso2022_jp" in (declared := declared_encodings(body, content_type)):
        return body.decode(declared[0], "replace"), declared[0]
    try:
        return body.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        lenient = body.decode("utf-8", "replace")
    # A truncated or slightly damaged UTF-8 page still has far more whole sequences than broken ones.
    broken = lenient.count("\ufffd")
    if broken * 20 <= sum(c > "\x7f" for c in lenient):
        return lenient, "utf-8"
    candidates = [*declared_encodings(body, content_type), "gb18030", "big5hkscs"]
    from resiliparse.parse.encoding import detect_encoding  # late: only bytes that are no UTF-8 need it

    detected = detect_encoding(body, from_html_meta=False)
    candidates += [c for c in (_codec(detected or ""), "cp1252") if c]
    best, best_score, best_encoding = lenient, -4.0, "utf-8"
    for encoding in dict.fromkeys(c for c in candidates if c != "utf-8"):
        try:
            text = body.decode(encoding)
        except UnicodeDecodeError:
            text = body.decode(encoding, "replace")
            if text.count("\ufffd") * 50 > len(text):
                continue
        score = _plausibility(text)
        if score > best_score:
            best, best_score, best_encoding = text, score, encoding
    return best, best_encoding
