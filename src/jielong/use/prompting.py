"""Prompts are files: one text for each language, filled in with what is asked."""

from __future__ import annotations

import functools
import string
from importlib import resources

from jielong.errors import ConfigError


def language_of(text: str) -> str:
    """ "zh" where a text is mostly Chinese, else "en"."""
    han = sum("\u3400" <= c <= "\u9fff" for c in text)
    return "zh" if 3 * han > sum(c.isalpha() for c in text) else "en"


def fill(name: str, language: str, **values: str) -> str:
    """The prompt `name` in `language`, its $names replaced; ConfigError where the file or a value is missing."""
    try:
        return _template(name, language).substitute(values)
    except KeyError as error:
        raise ConfigError(f"the prompt {name}.{language}.txt needs a value for {error}") from error


@functools.cache
def _template(name: str, language: str) -> string.Template:
    path = resources.files("jielong.use") / "templates" / f"{name}.{language}.txt"
    try:
        return string.Template(path.read_text(encoding="utf-8").removesuffix("\n"))
    except FileNotFoundError:
        raise ConfigError(f"there is no prompt {name}.{language}.txt") from None
