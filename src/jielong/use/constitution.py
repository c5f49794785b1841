"""A constitution: principles in a file that people read and change, in English and in Chinese.

A TOML file has a [[principle]] for each, with `en`, `zh` or both; any other text has one principle a line. Jielong's own
is `templates/constitution.toml`.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from jielong.errors import DataError

LANGUAGES = ("en", "zh")
_NUMERALS = "一二三四五六七八九"
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)、．]|[一二三四五六七八九十]+、)\s*")


@dataclass(frozen=True)
class Principle:
    """A principle in both languages; where it was written in one alone, that one stands for both."""

    en: str
    zh: str

    def text(self, language: str) -> str:
        """Return the principle in a language, "zh" or any other for English."""
        return self.zh if language == "zh" else self.en


@dataclass(frozen=True)
class Principles:
    """The principles of a constitution in their order."""

    each: tuple[Principle, ...]

    def text(self, language: str) -> str:
        """Return all principles in a language, numbered, a line each; a single one without a number."""
        if len(self.each) == 1:
            return self.each[0].text(language)
        return "\n".join(f"{_number(n, language)}{one.text(language)}" for n, one in enumerate(self.each, 1))


def read_principles(path: Path | None = None) -> Principles:
    """Read a constitution, or without a path jielong's own. Raises DataError if the file cannot be read as one."""
    if path is None:
        own = resources.files("jielong.use") / "templates" / "constitution.toml"
        return _of_toml(own.read_text(encoding="utf-8"), own.name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the principles {str(path)!r}: {error}") from error
    if path.suffix.lower() == ".toml":
        return _of_toml(text, str(path))
    lines = [_BULLET.sub("", line).strip() for line in text.splitlines() if not line.startswith("#")]
    found = tuple(Principle(line, line) for line in lines if line)
    if not found:
        raise DataError(f"{path} holds no principle; write one a line")
    return Principles(found)


def _of_toml(text: str, where: str) -> Principles:
    """Read the principles of a TOML file."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{where} is no TOML: {error}") from error
    entries = data.get("principle")
    if set(data) != {"principle"} or not isinstance(entries, list) or not entries:
        raise DataError(
            f"{where} holds {', '.join(data) or 'nothing'}; expected a [[principle]] with en and zh for each"
        )
    return Principles(tuple(_principle(entry, f"{where}: principle {n}") for n, entry in enumerate(entries, 1)))


def _principle(entry: object, where: str) -> Principle:
    """Read one principle."""
    if not isinstance(entry, dict) or not set(entry) <= set(LANGUAGES):
        raise DataError(f"{where} is {entry!r:.80}; expected texts en and zh, or one of them")
    texts = {language: text for language, text in entry.items() if isinstance(text, str) and text.strip()}
    if len(texts) < len(entry) or not texts:
        raise DataError(f"{where} is {entry!r:.80}; expected texts en and zh, or one of them")
    anyone = next(iter(texts.values()))
    return Principle(*(texts.get(language, anyone).strip() for language in LANGUAGES))


def _number(n: int, language: str) -> str:
    """Return the number before a principle, as its language has it."""
    if language != "zh":
        return f"{n}. "
    return f"{_NUMERALS[n - 1]}、" if n <= len(_NUMERALS) else f"{n}、"
