"""Unusable parts of a command line: paths too long or in a circle of links, and bytes that are not UTF-8.

The code that opens a file reports its own errors. Errors that reach this place are unexpected. They are the user's
mistake only if they are about a path or text of the command line; all others are bugs of ours, and stay a traceback.
"""

from __future__ import annotations

import argparse
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from jielong.errors import ConfigError


def check_paths(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for a path that can never exist."""
    for value in _paths_and_texts(arguments):
        if not isinstance(value, Path):
            continue
        try:
            value.stat()
        except ValueError as error:  # a zero byte
            raise ConfigError(f"{str(value)!r} is no path ({error})") from None
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
                raise ConfigError(f"{_shorten(str(value))} is no path that can be used: {error.strerror}") from None


def describe_bad_argument(error: OSError | UnicodeEncodeError, arguments: argparse.Namespace) -> str:
    """Return a sentence that says which argument of the command line caused `error`, and why.

    Returns "" if no argument did: then the error is a bug of ours.
    """
    texts = [str(value) for value in _paths_and_texts(arguments)]
    if isinstance(error, UnicodeEncodeError):
        broken = next((text for text in texts if not is_utf8(text)), "")
        return f"{broken} is no UTF-8; give a name or a text in that encoding" if broken else ""
    if not isinstance(error.filename, (str, bytes)):
        return ""
    name = os.path.abspath(os.fsdecode(error.filename))
    is_given = any(
        name == whole or name.startswith(f"{whole}{os.sep}") for whole in map(os.path.abspath, filter(None, texts))
    )
    return f"{_shorten(os.fsdecode(error.filename))} cannot be used: {error.strerror}" if is_given else ""


def _paths_and_texts(arguments: argparse.Namespace) -> Iterator[Path | str]:
    """Yield all paths and texts of a command line."""
    for value in vars(arguments).values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, (Path, str)):
                yield one


def _shorten(name: str) -> str:
    return name if len(name) <= 200 else f"{name[:100]}... ({len(name):,} letters)"


def is_utf8(text: str) -> bool:
    """Whether a text of the command line or of standard input was UTF-8: other bytes come as halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
