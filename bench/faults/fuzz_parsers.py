"""Parsers of our own before `atheris`, which looks for inputs that take new ways through them; only where it is installed.

    pip install atheris; python -m bench.faults.fuzz_parsers --seconds 60 [PARSER ...]

Each parser has a process of its own: libFuzzer ends it at the first exception that is no sentence of ours, at an input that
takes ten seconds, and at 2 GB.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.environments import ROOT
from bench.rows import Row

SECONDS = 60
"""For each parser, in a long run."""


def _json(data: bytes) -> None:
    from jielong.outside import parse_json

    parse_json(data.decode("utf-8", "replace"))


def _encodings(data: bytes) -> None:
    from jielong.outside import declared_encodings, decode

    declared_encodings(data, "")
    assert isinstance(decode(data)[0], str)


def _arithmetic(data: bytes) -> None:
    from jielong.use.tools.calculator import calculate

    calculate(data.decode("utf-8", "replace"))


def _spoken(data: bytes) -> None:
    from jielong.use.tools.spoken import without_calls

    without_calls(data.decode("utf-8", "replace"), {})


def _tokenizer_of_gguf(data: bytes) -> None:
    """A line a token, its score from its length."""
    from jielong.model.gguf_tokenizer import tokenizer_files

    tokens = data.decode("utf-8", "replace").split("\n")
    fields = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens}
    tokenizer_files({**fields, "tokenizer.ggml.scores": [-float(len(t)) for t in tokens]}, len(tokens))


PARSERS: dict[str, Callable[[bytes], None]] = {
    "json": _json,
    "encodings": _encodings,
    "arithmetic": _arithmetic,
    "spoken": _spoken,
    "gguf's tokenizer": _tokenizer_of_gguf,
}


def rows(seed: int, seconds: int = SECONDS, names: Sequence[str] = ()) -> Iterator[Row]:
    """A row a parser; one that says so where atheris is not installed."""
    if importlib.util.find_spec("atheris") is None:
        yield Row("parsers before atheris", "0 uncaught", "left out: atheris is not installed", ok=True, seeds=(seed,))
        return
    for name in names or PARSERS:
        command = [sys.executable, "-m", "bench.faults.fuzz_parsers", "--child", name]
        limits = [
            f"-max_total_time={seconds}",
            f"-seed={seed + 1}",
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-max_len=4096",
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT), *sys.path))}
        with tempfile.TemporaryDirectory() as folder:  # where libFuzzer leaves what it found
            done = subprocess.run(
                [*command, *limits],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
            found = [path.read_bytes() for path in Path(folder).iterdir()]
        said = done.stderr.strip().splitlines()
        got = next((line for line in said if "Error" in line or "ERROR" in line), "an end") if done.returncode else 0
        yield Row(
            f"{name}: {seconds} s before atheris, uncaught",
            "0",
            f"{got}: {found!r:.300}" if got else 0,
            not got,
            seeds=(seed,),
        )


def _child(name: str, limits: Sequence[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["jielong"]):
        from jielong.errors import JielongError

        def one(data: bytes) -> None:
            with contextlib.suppress(JielongError):
                PARSERS[name](data)

        one(b"1")  # imports what it needs, instrumented
    atheris.Setup([name, *limits], one)
    atheris.Fuzz()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parsers", nargs="*", help=f"of {', '.join(PARSERS)}; without any, all")
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments, limits = parser.parse_known_args(argv)
    if arguments.child:
        _child(arguments.child, limits)
        return 0
    for row in rows(arguments.seed, arguments.seconds, arguments.parsers):
        print(f"{row.measure}: {row.got}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
