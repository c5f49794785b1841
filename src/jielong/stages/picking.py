"""Choices made once for a training and kept when it resumes: rows at a time, and whether layers are compiled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from jielong.errors import CheckpointError
from jielong.model.presets import activation_bytes, flops_per_token
from jielong.model.transformer import LanguageModel, Transformer
from jielong.outside import Fields
from jielong.runs import read_json, sealed, unsealed, write_json
from jielong.train.machine import Machine, compile_layers, compiled_matches_eager, seconds_of_layers, uncompile_layers
from jielong.train.objectives.logprobs import compiled_cross_entropy_matches
from jielong.train.parallel import Ranks
from jielong.train.sources import RowsConfig

COMPILE_S, WARM_COMPILE_S = 20.0, 3.0
"""What compiling takes on two ordinary cores, cold and from the cache; it pays when ten times that lie ahead."""

PACK_S = 30.0
"""Seconds of padded pairs ahead from which on they are packed: twice as fast, but sums are rounded in another order."""

GPU_TOKENS = 2**16
"""Tokens of a micro-batch beyond which a GPU gains nothing."""


def pick(
    file: Path,
    rows: RowsConfig | None,
    steps: int,
    transformer: Transformer,
    machine: Machine,
    num_ranks: int,
    *,
    has_pairs: bool = False,
) -> None:
    """Decide how many rows go at a time, and whether to compile; a whole `file` that is there already is kept.

    Without `rows` of one length nothing is compiled, and on a CPU no pairs that are packed: the number of rows they
    fill changes in every step. Files of the run's other stages say whether a compiler is warm.
    """
    if known_picks(file):
        return
    # how many tokens an expert gets changes in every step, and with it the graph
    can_compile = machine.can_compile and not transformer.config.num_experts
    picked: dict[str, Any] = {"compile": False}
    seconds_ahead = 0.0
    if rows is not None:
        picked["micro_rows"] = rows.micro_rows
        if machine.device == "cuda":
            picked["micro_rows"] = rows_for_gpu(rows, transformer, num_ranks)
        picked["shape"] = [picked["micro_rows"], rows.length]
        can_pack = has_pairs and machine.device == "cpu"
        if can_compile or can_pack:
            micro_batches = steps * rows.rows_per_step / picked["micro_rows"]
            seconds_ahead = micro_batches * seconds_of_layers(transformer, *picked["shape"])
        if can_pack and seconds_ahead > PACK_S:
            picked["packed"], can_compile = True, False
    before = [known_picks(path) or {} for path in sorted(file.parent.parent.glob("*/picked.json"))]
    is_warm = any(earlier.get("compile") and earlier.get("shape") == picked.get("shape") for earlier in before)
    picked["compile"] = can_compile and seconds_ahead > 10 * (WARM_COMPILE_S if is_warm else COMPILE_S)
    write_picked(file, picked | {"seconds_ahead": round(seconds_ahead, 1)})


def write_picked(file: Path, picked: Mapping[str, Any]) -> None:
    write_json(file, sealed(picked))


def known_picks(file: Path) -> dict[str, Any] | None:
    """Read the picks in a file. Returns None if it is missing or damaged: then they are made anew."""
    try:
        return read_picked(file)
    except CheckpointError:
        return None


def read_picked(file: Path) -> dict[str, Any]:
    """Read the picks in a file. Raises CheckpointError if it is missing or damaged."""
    picked = Fields(unsealed(read_json(file)), str(file), CheckpointError)
    picked.flag("compile")
    picked.flag("packed", False)
    picked.whole("micro_rows", 1, low=1, high=2**31)
    picked.wholes("shape", [], low=1, high=2**31)
    return picked.data


def picked_words(picked: Mapping[str, Any], machine: Machine) -> str:
    """Describe the picks in words."""
    threads = "1 thread" if machine.threads == 1 else f"{machine.threads} threads"
    where = threads if machine.device == "cpu" else machine.device
    rows = f", {picked['micro_rows']} rows at a time" if "micro_rows" in picked else ""
    rows += ", packed" if picked.get("packed") else ""
    return f"on {where}, products in {machine.dtype}{rows}, {'compiled' if picked['compile'] else 'not compiled'}"


def rows_for_gpu(rows: RowsConfig, transformer: Transformer, num_ranks: int) -> int:
    """Choose the rows of a micro-batch that keep a GPU busy: as many of a step as half of the free memory holds, at
    least the recipe's.

    The result does not depend on how a step is cut. The other half is for gradients, moments, logits and temporaries.
    """
    of_step = rows.rows_per_step // num_ranks
    kept = transformer.config.num_hidden_layers * activation_bytes(
        transformer.config, transformer.compute_dtype.itemsize
    )
    torch.cuda.empty_cache()  # what torch keeps for itself counts as taken
    fitting = min(torch.cuda.mem_get_info()[0] / 2 / kept, GPU_TOKENS) / rows.length
    wholes = [n for n in range(2, of_step + 1, 2) if of_step % n == 0 and n <= fitting]
    return max([rows.micro_rows, *wholes])


def compile_if_right(model: LanguageModel, rows: RowsConfig, machine: Machine, ranks: Ranks) -> str:
    """Compile the layers, or leave them eager on all ranks if the compiled ones are wrong on one, and return why."""
    fault = ""
    try:
        compile_layers(model.model)
        if not compiled_matches_eager(model.model, rows.micro_rows, rows.length):
            fault = "compiled layers do not give this machine the plain ones' gradients"
        elif machine.device != "cpu" and not compiled_cross_entropy_matches(model):
            fault = "a compiled loss does not give this machine the plain one's gradients"
    except Exception as error:  # of compilers and drivers: whatever they raise, plain layers need neither
        reason = " ".join(str(error).split())[:200]
        fault = f"this machine's compiler fails ({type(error).__name__}: {reason})"
    if not ranks.sum_numbers({"wrong": float(bool(fault))})["wrong"]:
        return ""
    uncompile_layers(model.model)
    return fault or "compiled layers are wrong on another rank"


def mfu_per_rate(
    rows: RowsConfig | None, model: LanguageModel, num_adapted: int, machine: Machine, num_ranks: int
) -> float:
    """Return the FLOPs utilisation of one token per second; 0 without rows, as rollouts write their tokens as well as
    train on them.
    """
    if rows is None:
        return 0.0
    devices = num_ranks if machine.device == "cuda" else 1
    per_token = flops_per_token(model.config, rows.length, num_adapted)
    return per_token / (machine.gflops * 1e9 * devices)
