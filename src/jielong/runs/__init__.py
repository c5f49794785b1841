"""Results on disk, and the promises about them.

A run is a directory that grows: runs/RECIPE-SIZE-SEED/{run.json, STAGE/...}. Everything in it is complete, because
files and directories are written aside, synced and renamed; a kill at any moment leaves either the old thing or the new
one. A stage is remembered by a fingerprint of everything that decides its result, so an unchanged one is not run again.
Every stage names the fingerprints of its parents, which is the family tree that `lineage` prints. When a stage ends,
checksums of its files are taken, so damage on disk is noticed before the files are used.
"""

from __future__ import annotations

from jielong.runs.finding import (
    describe_damage,
    find_model,
    is_run,
    lineage,
    lineage_json,
    named_stage,
    open_run,
    run_around,
    runs_in,
)
from jielong.runs.metrics import MetricsLog, read_metrics
from jielong.runs.records import FORMAT_VERSION
from jielong.runs.run import BEFORE, Run, model_of
from jielong.runs.seeds import canonical_json, derive_seed, digest
from jielong.runs.sums import Sums, damage, sealed, sums_of, take_sums, unsealed
from jielong.runs.watching import MemoryWatch, load_average, now_s
from jielong.runs.writing import disk_errors, read_json, tidy, write_bytes, write_directory, write_json, write_text

__all__ = [
    "BEFORE",
    "FORMAT_VERSION",
    "MemoryWatch",
    "MetricsLog",
    "Run",
    "Sums",
    "canonical_json",
    "damage",
    "derive_seed",
    "describe_damage",
    "digest",
    "disk_errors",
    "find_model",
    "is_run",
    "lineage",
    "lineage_json",
    "load_average",
    "model_of",
    "named_stage",
    "now_s",
    "open_run",
    "read_json",
    "read_metrics",
    "run_around",
    "runs_in",
    "sealed",
    "sums_of",
    "take_sums",
    "tidy",
    "unsealed",
    "write_bytes",
    "write_directory",
    "write_json",
    "write_text",
]
