"""Small damages, drawn by a seed: of JSON where its structure is, of other bytes where numbers are."""

from __future__ import annotations

import copy
import json
import re
import struct
from random import Random
from typing import Any

_DEEP: Any = "deep"
for _ in range(200):
    _DEEP = [_DEEP] if _ % 2 else {"a": _DEEP}
ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        7,
        300,
        65_536,
        10**7,
        10**9,
        2**31,
        2**32,
        2**63,
        2**64,
        10**30,
        10**400,
        -(10**30),
    ),
    *(
        0.5,
        -0.5,
        1e-9,
        1e308,
        -1e308,
        float("nan"),
        float("inf"),
        "",
        "x",
        "0",
        "\ud800",
        "\x00",
        "\n",
        "../..",
        "/dev/zero",
    ),
    *("word " * 50_000, [], {}, [None], [[]], [1, "a"], {"a": 1}, {"type": None}, {"content": 3}, ["x"] * 1000, _DEEP),
)
"""Values that no honest file has where they are put."""
_NUMBERS = (0, 1, 2**16, 10**7, 2**31 - 1, 2**31, 2**32 - 1, 10**9, 2**40, 2**62, 2**63, 2**64 - 1)


def mutate(body: bytes, name: str, random: Random) -> bytes:
    """The bytes of the file `name` with one damage, or a few."""
    if name.endswith(".setting"):
        return _of_setting(body.decode(), random).encode("utf-8", "surrogatepass")
    is_json = name.endswith((".json", ".jsonl"))
    if not is_json or random.random() < 0.2:
        return _of_bytes(body, random)
    if name.endswith(".json"):
        return _dumped(_of_json(json.loads(body), random))
    lines = body.splitlines(keepends=True)
    at = random.randrange(len(lines))
    lines[at] = _dumped(_of_json(json.loads(lines[at]), random)) + b"\n"
    return b"".join(lines)


def _of_setting(setting: str, random: Random) -> str:
    """A `--set` with another value, or another path."""
    path, _, value = setting.partition("=")
    draw = random.random()
    if draw < 0.75:
        return f"{path}={_dumped(random.choice(ODD)).decode()}"
    if draw < 0.85:
        return f"{path}={random.choice(('1e400', '9' * 5000, '[' * 100_000, '-', '{', '1_000', '٣', '0x10', 'NaN'))}"
    parts = path.split(".")
    parts[random.randrange(len(parts))] = random.choice(("", "x", "0", "__class__", "run", "\ud800", *parts))
    return ".".join(parts) + f"={value}"


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def _of_json(data: Any, random: Random) -> Any:
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        data = _changed(data, random)
    return data


def _changed(data: Any, random: Random) -> Any:
    """One part of it dropped, renamed, doubled, or replaced by an odd value or by another part."""
    if not isinstance(data, (dict, list)) or not data or random.random() < 0.02:
        return copy.deepcopy(random.choice(ODD))
    parent, key = _place(data, random)
    action = random.random()
    if action < 0.15:
        del parent[key]
    elif action < 0.25 and isinstance(parent, dict):
        parent[random.choice(("", "x", f"{key} ", str(key).upper(), *map(str, parent)))] = parent.pop(key)
    elif action < 0.3 and isinstance(parent, list):
        parent.insert(random.randrange(len(parent) + 1), copy.deepcopy(parent[key]))
    elif action < 0.4:
        other, name = _place(data, random)
        parent[key] = copy.deepcopy(other[name])
    else:
        parent[key] = copy.deepcopy(random.choice(ODD))
    return data


def _place(data: Any, random: Random) -> tuple[Any, Any]:
    """A part, by what holds it and its key: shallow and deep ones alike, however many there are."""
    while True:
        key = random.choice(list(data)) if isinstance(data, dict) else random.randrange(len(data))
        inner = data[key]
        if not isinstance(inner, (dict, list)) or not inner or random.random() < 0.3:
            return data, key
        data = inner


def _beside_a_name(body: bytearray, random: Random) -> int:
    """A place shortly before or after a name in the first bytes, where files keep sizes and types."""
    names = list(re.finditer(rb"[a-z_.]{6,}", body[: 1 << 17]))
    if not names:
        return random.randrange(len(body) + 1)
    name = random.choice(names)
    return max(random.choice((name.start() - 8, name.end(), name.end() + 4, name.end() + 8, name.end() + 12)), 0)


def _of_bytes(body: bytes, random: Random) -> bytes:
    changed = bytearray(body)
    for _ in range(random.choice((1, 1, 2, 4))):
        at = (
            random.randrange(len(changed) + 1)
            if random.random() < 0.6
            else random.randrange(min(len(changed), 200) + 1)
        )
        size = random.choice((1, 2, 4, 8, 16, 100))
        kind = random.randrange(8)
        if kind == 7:
            at = _beside_a_name(changed, random)
        if kind == 0:
            del changed[at:]
        elif kind == 1:
            changed[at:at] = random.randbytes(size)
        elif kind == 2:
            changed[at : at + size] = bytes(len(changed[at : at + size]))
        elif kind == 3:
            del changed[at : at + size]
        elif kind == 4 and at < len(changed):
            changed[at] ^= 1 << random.randrange(8)
        elif kind == 5:
            changed[at:at] = changed[at : at + size * 4]
        else:
            form, width = random.choice((("<I", 4), ("<Q", 8)))
            if at + width <= len(changed):
                changed[at : at + width] = struct.pack(form, random.choice(_NUMBERS) % 2 ** (8 * width))
    return bytes(changed)
