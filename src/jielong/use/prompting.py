"""Prompts as files: one text for each language, filled in with values."""

from __future__ import annotations

import functools
import string
from importlib import resources
from pathlib import Path

from jielong.errors import ConfigError, DataError


def language_of(text: str) -> str:
    """Return "zh" if a text is mostly Chinese, else "en"."""
    han = sum("\u3400" <= c <= "\u9fff" for c in text)
    return "zh" if 3 * han > sum(c.isalpha() for c in text) else "en"


def fill(name: str, language: str, **values: str) -> str:
    """Fill in the prompt `name` in `language`. Raises ConfigError if the file or a value is missing."""
    try:
        return _template(name, language).substitute(values)
    except KeyError as error:
        raise ConfigError(f"the prompt {name}.{language}.txt needs a value for {error}") from error


def fill_file(path: Path, **values: str) -> str:
    """Fill in the prompt in a user's file. Raises DataError if it cannot be read or filled in."""
    try:
        return string.Template(path.read_text(encoding="utf-8").removesuffix("\n")).substitute(values)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the prompt {str(path)!r}: {error}") from error
    except (KeyError, ValueError) as error:
        known = ", ".join(f"${name}" for name in values)
        raise DataError(f"the prompt {path} cannot be filled in ({error}); known are {known}, and $$ is a $") from error


def names(beginning: str) -> list[str]:
    """List the prompts whose names begin so, sorted."""
    files = (path.name for path in (resources.files("jielong.use") / "templates").iterdir())
    found = {name.split(".")[0] for name in files if name.endswith(".txt")}
    return sorted(name for name in found if name.startswith(beginning))


@functools.cache
def _template(name: str, language: str) -> string.Template:
    """Load the template of a prompt. Raises ConfigError if there is none."""
    path = resources.files("jielong.use") / "templates" / f"{name}.{language}.txt"
    try:
        return string.Template(path.read_text(encoding="utf-8").removesuffix("\n"))
    except FileNotFoundError:
        raise ConfigError(f"there is no prompt {name}.{language}.txt") from None
