"""Lossless conversion of a trace to bytes and back: columns of numbers in a compressed .npz.

A column uses the narrowest type that represents all its numbers exactly: probabilities come from float32 and stay
float32, ids of a small vocabulary take two bytes. The candidates of all draws are concatenated, the taken one of each
draw first; so are the cuts. Names of filters are indices into a list. All other fields are JSON in `head`. Four bytes
before the archive hold its CRC-32, so that a damaged one is refused before it is parsed.
"""

from __future__ import annotations

import io
import itertools
import json
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jielong.errors import DataError
from jielong.records import Candidate, Cut, Draw
from jielong.serve.store.nouns import Trace

VERSION = 1


def pack(trace: Trace) -> bytes:
    """Pack the trace into bytes; `unpack` gives an equal one."""
    draws = [draw for draw in trace.draws if draw is not None]
    candidates = [one for draw in draws for one in (draw.taken, *draw.likeliest)]
    cuts = [cut for draw in draws for cut in draw.cuts]
    filters = sorted({one.cut for one in candidates} | {cut.filter for cut in cuts})
    number = {name: at for at, name in enumerate(filters)}
    head = {
        "version": VERSION,
        "weights": trace.weights,
        "seed": trace.seed,
        "sampling": trace.sampling,
        "filters": filters,
    }
    columns: dict[str, Any] = {
        "head": np.frombuffer(json.dumps(head).encode(), np.uint8),
        "prompt_ids": _wholes(trace.prompt_ids),
        "ids": _wholes(trace.ids),
        "logprobs": _floats(trace.logprobs),
        "by_model": np.array(trace.by_model, bool),
        "is_drawn": np.array([draw is not None for draw in trace.draws], bool),
        "num_likeliest": _wholes(len(draw.likeliest) for draw in draws),
        "num_cuts": _wholes(len(draw.cuts) for draw in draws),
        "rank": _wholes(draw.rank for draw in draws),
        "num_left": _wholes(draw.num_left for draw in draws),
        "temperature": _floats(draw.temperature for draw in draws),
        "is_greedy": np.array([draw.uniform is None for draw in draws], bool),
        "uniform": _floats(0.0 if draw.uniform is None else draw.uniform for draw in draws),
        "low": _floats(draw.low for draw in draws),
        "high": _floats(draw.high for draw in draws),
        "entropy": _floats(draw.entropy for draw in draws),
        "candidate_id": _wholes(one.id for one in candidates),
        "candidate_model": _floats(one.model for one in candidates),
        "candidate_tempered": _floats(one.tempered for one in candidates),
        "candidate_left": _floats(one.left for one in candidates),
        "candidate_cut": _wholes(number[one.cut] for one in candidates),
        "cut_filter": _wholes(number[cut.filter] for cut in cuts),
        "cut_num_ids": _wholes(cut.num_ids for cut in cuts),
        "cut_probability": _floats(cut.probability for cut in cuts),
    }
    file = io.BytesIO()
    np.savez_compressed(file, **columns)
    packed = file.getvalue()
    return zlib.crc32(packed).to_bytes(4, "little") + packed


def unpack(blob: bytes) -> Trace:
    """Unpack the bytes of `pack`. Raises DataError if they are damaged or of another version."""
    if len(blob) <= 4 or zlib.crc32(blob[4:]) != int.from_bytes(blob[:4], "little"):
        raise DataError(f"a trace of {len(blob)} bytes is damaged; restore a copy of the database, or do without it")
    with np.load(io.BytesIO(blob[4:]), allow_pickle=False) as columns:
        head = json.loads(columns["head"].tobytes())
        if head["version"] != VERSION:
            raise DataError(f"a trace has version {head['version']!r}; this jielong reads version {VERSION}")
        return _trace(head, {name: columns[name].tolist() for name in columns.files if name != "head"})


def _trace(head: dict[str, Any], columns: dict[str, list[Any]]) -> Trace:
    """Build the trace from its head and columns."""
    filters = head["filters"]
    candidates = iter(
        [
            Candidate(id, model, tempered, left, filters[cut])
            for id, model, tempered, left, cut in _together(columns, "candidate_", "id model tempered left cut")
        ]
    )
    cuts = iter([Cut(filters[f], n, p) for f, n, p in _together(columns, "cut_", "filter num_ids probability")])
    names = "num_likeliest num_cuts rank num_left temperature is_greedy uniform low high entropy"
    draws = iter(
        [
            Draw(
                next(candidates),
                rank,
                tuple(itertools.islice(candidates, num_likeliest)),
                temperature,
                tuple(itertools.islice(cuts, num_cuts)),
                num_left,
                None if is_greedy else uniform,
                low,
                high,
                entropy,
            )
            for num_likeliest, num_cuts, rank, num_left, temperature, is_greedy, uniform, low, high, entropy in (
                _together(columns, "", names)
            )
        ]
    )
    return Trace(
        tuple(columns["prompt_ids"]),
        tuple(columns["ids"]),
        tuple(columns["logprobs"]),
        tuple(columns["by_model"]),
        tuple(next(draws) if is_drawn else None for is_drawn in columns["is_drawn"]),
        head["weights"],
        head["seed"],
        head["sampling"],
    )


def _together(columns: dict[str, list[Any]], prefix: str, names: str) -> Iterable[tuple[Any, ...]]:
    return zip(*(columns[prefix + name] for name in names.split()), strict=True)


def _wholes(values: Iterable[int]) -> NDArray[Any]:
    """Convert integers to the narrowest unsigned type that holds them."""
    wide = np.array(list(values), np.int64)
    for narrow in (np.uint8, np.uint16, np.uint32):
        if not len(wide) or (wide.min() >= 0 and wide.max() <= np.iinfo(narrow).max):
            return wide.astype(narrow)
    return wide


def _floats(values: Iterable[float]) -> NDArray[Any]:
    """Convert floats to float32 if that is exact, else to float64."""
    wide = np.array(list(values), np.float64)
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32)
    return narrow if np.array_equal(narrow.astype(np.float64), wide, equal_nan=True) else wide
