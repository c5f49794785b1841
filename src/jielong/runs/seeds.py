"""Seeds and fingerprints: numbers and names that are a function of data alone."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def derive_seed(seed: int, *names: object) -> int:
    """Return a 63-bit seed for one purpose: blake2b over the run's seed and the names (stage, purpose, index ...)."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def canonical_json(data: Any) -> str:
    """JSON with sorted keys and no spaces: equal data, equal text."""
    return json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def digest(data: Any) -> str:
    """Return the hex blake2b-128 of canonical JSON."""
    return hashlib.blake2b(canonical_json(data).encode(), digest_size=16).hexdigest()
