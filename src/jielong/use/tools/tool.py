"""The definition of a tool: a name, a description, a JSON schema of its arguments, and a function.

Every call ends as a text that the model can read: arguments that do not fit the schema, an error, a time limit. A tool
that changes something in the world says so, and the loop asks a person before it runs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jielong.config import at_least
from jielong.errors import ConfigError, JielongError, did_you_mean

Arguments = Mapping[str, Any]
DEFAULT_LIMIT_S = 30.0
"""Seconds that one call of a tool may take."""

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list, tuple),
    "null": (type(None),),
}


@dataclass(frozen=True)
class Tool:
    """Something the model may call by `name` with arguments of the JSON schema `parameters`.

    `changes`: whether it changes anything outside of this conversation. `is_foreign`: whether its answers hold what somebody
    else wrote. An answer is cut to `limit_chars` characters, and has `limit_s` seconds.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    run: Callable[[Arguments], Awaitable[str]]
    changes: bool = False
    is_foreign: bool = True
    limit_chars: int = 4000
    limit_s: float = DEFAULT_LIMIT_S

    def __post_init__(self) -> None:
        if not self.name.replace("_", "a").replace("-", "a").isalnum() or not self.name.isascii():
            raise ConfigError(f"a tool is called {self.name!r}; expected Latin letters, digits, _ and -")
        at_least(self, 1, "limit_chars")
        at_least(self, 0, "limit_s")

    @property
    def schema(self) -> dict[str, Any]:
        """Return the tool's description for the model."""
        return {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}

    async def answer(self, arguments: Arguments) -> str:
        """Run the tool on these arguments; return a text that begins with "error:" if it failed."""
        wrong = misfit(arguments, self.parameters)
        if wrong:
            return f"error: {wrong}"
        try:
            said = await asyncio.wait_for(self.run(arguments), self.limit_s)
        except TimeoutError:
            return f"error: {self.name} took longer than {self.limit_s:g} seconds and was stopped"
        except JielongError as error:
            return f"error: {error}"
        except Exception as error:  # whatever a tool does, the conversation goes on
            return f"error: {self.name} failed ({type(error).__name__}: {error})"
        return shortened(said, self.limit_chars)


def by_name(tools: Sequence[Tool]) -> dict[str, Tool]:
    """Return the tools by their names. Raises ConfigError if two have the same."""
    found: dict[str, Tool] = {}
    for tool in tools:
        if tool.name in found:
            raise ConfigError(f"two tools are called {tool.name!r}; leave one of them out")
        found[tool.name] = tool
    return found


def shortened(text: str, limit_chars: int) -> str:
    """Cut a text to its beginning, with a word about the rest."""
    if len(text) <= limit_chars:
        return text
    return f"{text[:limit_chars]}\n[{len(text) - limit_chars:,} more characters were left out]"


def one_line(text: str, limit_chars: int) -> str:
    """Put the text on one line for a person to read, without characters that a terminal obeys."""
    return shortened(" ".join("".join(c if c.isprintable() else " " for c in text).split()), limit_chars)


def misfit(value: Any, schema: Mapping[str, Any], name: str = "the arguments") -> str:
    """Return what keeps a value from fitting a JSON schema, in one sentence, or "" if it fits.

    It checks type, enum, bounds, lengths, items, properties, required, additionalProperties, anyOf and oneOf; other
    keywords are left to the tool, and so are malformed schemas.
    """
    if not isinstance(schema, Mapping):
        return ""
    choices = _list_in(schema, "anyOf") or _list_in(schema, "oneOf")
    if choices:
        wrongs = [misfit(value, choice, name) for choice in choices]
        return "" if not all(wrongs) else wrongs[0]
    written = schema.get("type")
    types = [written] if isinstance(written, str) else [t for t in _list_in(schema, "type") if isinstance(t, str)]
    if types and not any(_is_of(value, type_) for type_ in types):
        shown = json.dumps(value, ensure_ascii=False, default=str)
        return f"{name} must be of type {' or '.join(types)}; got {shortened(shown, 80)}"
    allowed = _list_in(schema, "enum")
    if allowed and value not in allowed:
        return f"{name} is {value!r}; expected one of {', '.join(map(str, allowed))}"
    if isinstance(value, Mapping):
        return _object_misfit(value, schema, name)
    if isinstance(value, (list, tuple)):
        inner = schema.get("items")
        found = (misfit(v, inner, f"item {i} of {name}") for i, v in enumerate(value)) if inner else ()
        return next(filter(None, found), "") or _bound_misfit(
            len(value), schema, "minItems", "maxItems", f"{name}: length"
        )
    if isinstance(value, str):
        return _bound_misfit(len(value), schema, "minLength", "maxLength", f"{name}: length")
    if isinstance(value, (int, float)):
        return _bound_misfit(value, schema, "minimum", "maximum", name)
    return ""


def _object_misfit(value: Mapping[str, Any], schema: Mapping[str, Any], name: str) -> str:
    """Check an object's required, known and unknown fields."""
    found = schema.get("properties")
    properties = found if isinstance(found, Mapping) else {}
    required = [key for key in _list_in(schema, "required") if isinstance(key, str)]
    for key in required:
        if key not in value:
            return f"{name} lack {key!r}; needed: {', '.join(required)}"
    for key, inner in value.items():
        if key in properties:
            wrong = misfit(inner, properties[key], repr(key))
            if wrong:
                return wrong
        elif schema.get("additionalProperties", not properties) is False:
            return f"{name} have an unknown {key!r}; {did_you_mean(key, properties)}"
    return ""


def _bound_misfit(value: float, schema: Mapping[str, Any], low: str, high: str, name: str) -> str:
    """Check a number against its bounds."""
    least, most = schema.get(low), schema.get(high)
    if isinstance(least, (int, float)) and value < least:
        return f"{name} is {value}; it must be at least {least}"
    if isinstance(most, (int, float)) and value > most:
        return f"{name} is {value}; it must be at most {most}"
    return ""


def _list_in(schema: Mapping[str, Any], key: str) -> list[Any]:
    """Return the list in a schema under a key, or an empty list if its value is none."""
    found = schema.get(key)
    return list(found) if isinstance(found, (list, tuple)) else []


def _is_of(value: Any, type_: str) -> bool:
    """Whether a value is of a JSON schema type."""
    if isinstance(value, bool):
        return type_ == "boolean" or type_ not in _TYPES
    if type_ == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(type_, (object,)))
