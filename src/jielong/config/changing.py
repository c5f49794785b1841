"""Reading, bounding and changing frozen dataclasses.

`set_field(config, "sft.loop.steps", "200")` gives a copy with one field changed, the value coerced to the field's type;
unknown names are refused with the fields that may be meant. `resolved` gives the plain dict that run.json stores and that
fingerprints are made of, with the class's name in it wherever a field can hold several kinds.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from jielong.config.fields import list_fields, nearest
from jielong.errors import ConfigError, DataError, did_you_mean, did_you_mean_one_of
from jielong.outside import MOST, parse_json

T = TypeVar("T")


def later(default: T) -> T:
    """Declare a field that was added after results of its config existed; a fingerprint leaves it out at its default."""
    return dataclasses.field(default=default, metadata={"later": True})


def resolved(config: Any, *, is_fingerprint: bool = False) -> Any:
    """Return a config as plain data with every field spelled out; dataclasses carry their class name under "kind".

    For a fingerprint, fields declared `later` are left out if they hold their default: there they change no result.
    """
    inner = functools.partial(resolved, is_fingerprint=is_fingerprint)
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        values = [(f, getattr(config, f.name)) for f in dataclasses.fields(config)]
        if is_fingerprint:
            values = [(f, value) for f, value in values if not (f.metadata.get("later") and value == f.default)]
        return {"kind": type(config).__name__, **{f.name: inner(value) for f, value in values}}
    if isinstance(config, Mapping):
        return {str(k): inner(v) for k, v in config.items()}
    if isinstance(config, (tuple, list)):
        return [inner(v) for v in config]
    return config


def format_value(value: Any) -> str:
    """Format a value as it is written behind `--set stage.field=`: JSON, or a bare string."""
    return value if isinstance(value, str) else json.dumps(resolved(value), ensure_ascii=False)


def leaves(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted path and value of every innermost field of a resolved config."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{above}{name}.")
        elif name != "kind":
            yield f"{above}{name}", value


def at_least(config: Any, low: float, *names: str) -> None:
    """Raise ConfigError if one of these fields is below `low`; for `__post_init__`."""
    for name in names:
        value = getattr(config, name)
        if not value >= low:
            raise ConfigError(f"{name} of {type(config).__name__} is {value!r}; it must be at least {low:g}")


def above(config: Any, low: float, *names: str) -> None:
    """Raise ConfigError if one of these fields is not above `low`; for `__post_init__`."""
    for name in names:
        value = getattr(config, name)
        if not value > low:
            raise ConfigError(f"{name} of {type(config).__name__} is {value!r}; it must be above {low:g}")


def at_most(config: Any, high: float, *names: str) -> None:
    """Raise ConfigError if one of these fields is above `high`; for `__post_init__`."""
    for name in names:
        value = getattr(config, name)
        if not value <= high:
            raise ConfigError(f"{name} of {type(config).__name__} is {value!r}; it must be at most {high:,}")


def get_field(config: Any, path: str) -> Any:
    """Return the value at dotted `path` of a dataclass, or of a tuple of named ones.

    Raises ConfigError, which suggests the paths that may be meant.
    """
    found = config
    for name in path.split("."):
        if isinstance(found, tuple):
            known = {part.name: part for part in found}
        elif dataclasses.is_dataclass(found):
            known = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
        else:
            meant = did_you_mean_one_of(nearest(path, list_fields(config)))
            has_none = f"{path!r} goes on at {name!r} where the value is {found!r}, which has no fields"
            raise ConfigError("; ".join(filter(None, [has_none, meant])))
        if name not in known:
            meant = did_you_mean_one_of(nearest(path, list_fields(config))) or did_you_mean(name, known)
            what = "part" if isinstance(found, tuple) else "option"
            where = "" if isinstance(found, tuple) else f" for {type(found).__name__}"
            raise ConfigError(f"unknown {what} {name!r} in {path!r}{where}; {meant}")
        found = known[name]
    return found


def set_field(config: T, path: str, value: str) -> T:
    """Return a copy of `config` with the field at dotted `path` set to `value` (JSON, or a bare word for strings)."""
    return set_fields(config, {path: value})


def set_fields(config: T, values: Mapping[str, str]) -> T:
    """Return a copy of `config` with all these fields, by dotted path, set at once: some must change together to fit."""
    for path in values:
        get_field(config, path)
    return _with_changes(config, [_Change(path.split("."), value, path) for path, value in values.items()])


class _Change(NamedTuple):
    """A new value for the nested field at `parts`, relative to the config in hand; `path` is the full path, for errors."""

    parts: Sequence[str]
    value: str
    path: str


def _with_changes(config: Any, changes: Sequence[_Change]) -> Any:
    """Return a copy of a dataclass, or of a tuple of named ones, with all changes made, also in nested parts."""
    new = {}
    for name in dict.fromkeys(change.parts[0] for change in changes):
        own = [change for change in changes if change.parts[0] == name]
        inner = [change._replace(parts=change.parts[1:]) for change in own if change.parts[1:]]
        if isinstance(config, tuple):
            part = next(part for part in config if part.name == name)
            new[name] = _change_part(part, own, inner)
        elif inner:
            new[name] = _with_changes(getattr(config, name), inner)
        else:
            new[name] = _coerce(own[-1].value, typing.get_type_hints(type(config))[name], own[-1].path)
    if isinstance(config, tuple):
        return tuple(new.get(part.name, part) for part in config)
    try:
        return dataclasses.replace(config, **new)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{', '.join(f'{c.path}={c.value}' for c in changes)}: {error}") from error


def _change_part(part: Any, own: Sequence[_Change], inner: Sequence[_Change]) -> Any:
    """Return one of a tuple of named parts (a recipe's stages) with its fields changed."""
    if len(inner) < len(own):
        path = next(change.path for change in own if not change.parts[1:])
        raise ConfigError(f"{path!r} names a whole part; say which field of it, such as {path}.config")
    return _with_changes(part, inner)


def _coerce(text: str, hint: Any, path: str) -> Any:
    """Parse the text of an option into a value of the type `hint`. Raises ConfigError if it is of another type."""
    got = ""
    try:
        value = parse_json(text)
    except DataError as error:  # a bare word, or what is too large or too deep to be a value
        value, got = text, f"{error}"
    if isinstance(value, list):
        value = [_build(each, _kind_of_parts(hint), path) for each in value]
    if isinstance(value, int) and not -MOST <= value <= MOST and not _takes_float(hint):
        raise ConfigError(f"{path}={text}: expected a number of at most {MOST}")
    if _matches(value, hint):
        return tuple(value) if isinstance(value, list) else value
    if _takes_float(hint):
        if isinstance(value, int) and not isinstance(value, bool):
            return float(value)
    if hint is str or str in typing.get_args(hint):
        return text
    raise ConfigError(f"{path}={text}: expected {_name_of(hint)}, got {got or type(value).__name__}")


def _kind_of_parts(hint: Any) -> type | None:
    """Return the dataclass of which `hint` is a tuple, or None if it is of something else."""
    args = typing.get_args(hint)
    is_parts = typing.get_origin(hint) is tuple and args and dataclasses.is_dataclass(args[0])
    return cast(type, args[0]) if is_parts else None


def _build(value: Any, base: type | None, path: str) -> Any:
    """Make a JSON object {"kind": CLASS, field: value} an object of that class, a kind of `base`; others stay as they are."""
    if base is None or not isinstance(value, dict):
        return value
    kinds, values = {kind.__name__: kind for kind in _subclasses(base)}, dict(value)
    kind = kinds.get(str(values.pop("kind", "")))
    if kind is None:
        raise ConfigError(
            f'{path}: expected an object with "kind" one of {", ".join(sorted(kinds))}, got {json.dumps(value):.80}'
        )
    hints = typing.get_type_hints(kind)
    for name in values:
        if name not in hints:
            raise ConfigError(f"{path}: unknown option {name!r} for {kind.__name__}; {did_you_mean(name, hints)}")
    return kind(**{name: _coerce(format_value(given), hints[name], f"{path}.{name}") for name, given in values.items()})


def _subclasses(base: type) -> list[type]:
    """Return all kinds of a class, those of kinds included; the class itself if it has none."""
    kinds: list[type] = base.__subclasses__()
    return [kind for each in kinds for kind in _subclasses(each)] or [base]


def _takes_float(hint: Any) -> bool:
    return hint is float or float in typing.get_args(hint)


def _matches(value: Any, hint: Any) -> bool:
    """Whether a parsed JSON value is of the type `hint`, unions, literals and tuples included."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_matches(value, h) for h in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if hint is types.NoneType:
        return value is None
    if origin is tuple:
        args = typing.get_args(hint)
        inner = args[0] if args else Any
        return isinstance(value, list) and all(_matches(v, inner) for v in value)
    if hint is Any:
        return True
    if not isinstance(hint, type):
        return False
    if isinstance(value, bool):
        return hint is bool
    if isinstance(value, int) and not -MOST <= value <= MOST:  # also inside of lists
        return False
    return isinstance(value, hint)


def _name_of(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(hint)))
    return getattr(hint, "__name__", str(hint)).replace("NoneType", "null")
