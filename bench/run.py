"""Everything that is measured against others: `python -m bench.run`, from the root of the repository.

The peers are installed into environments of their own, under --peers. Contestants take turns on the same shapes or
weights; medians and ratios are of one run. The table is printed and goes into bench/RESULTS.md, where each measure keeps
its section with date, commit and load until it is run again. `bench/generate.py` looks closer at the engine alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench.circumstances import commit, load_average, machine, names, now, versions
from bench.contest import Result, table
from bench.environments import PACKAGES, ROOT, Environment, Unavailable, environment

MEASURES = ("training", "decoding", "prefill", "start", "loss", "gpu")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    # late: --help needs no torch
    import psutil

    from bench import decoding, gpu, start, training
    from jielong.train.machine import measure_machine

    threads = options.threads or psutil.cpu_count(logical=False) or 1
    peers, missing = _peers(options)
    here = measure_machine()
    with tempfile.TemporaryDirectory(prefix="jielong-bench-") as folder:
        setting = training.Setting(
            Path(folder),
            threads,
            here.dtype,
            options.clock,
            options.rounds,
            peers,
            missing,
            is_quick=options.quick,
        )
        writing = [name for name in ("decoding", "prefill") if name in options.only]
        sections: dict[str, Callable[[dict[str, str]], Iterator[Result]]] = {}
        if "training" in options.only:
            sizes = (
                {"tiny": training.QUICK} if options.quick else {name: training.SIZES[name] for name in options.sizes}
            )
            sections["training"] = lambda versions: training.throughput(
                sizes, setting, versions, compiled_peers=options.compiled_peers and not options.quick
            )
        if writing:
            sections[" and ".join(writing)] = lambda versions: decoding.speeds(
                writing, options.batch, options.model, setting, versions
            )
        if "start" in options.only:
            sections["start"] = lambda versions: start.first_token(setting)
        if "loss" in options.only and options.text is not None:
            sections["loss"] = lambda versions: training.time_to_loss(
                options.text, options.target, options.rates, setting, versions, limit_s=options.limit_s
            )
        elif "loss" in options.only:
            missing.append("loss: no text was given (--text DIR)")
        if "gpu" in options.only and here.device == "cuda":
            alone = replace(setting, peers={})
            sections["gpu"] = lambda versions: gpu.shares(alone, versions)
        elif "gpu" in options.only:
            missing.append("gpu: torch sees none here")
        is_right = True
        for name, measure in sections.items():
            is_right = _section(name, measure, options.results, threads, missing) and is_right
    return 0 if is_right else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", type=names(MEASURES), default=[*MEASURES], metavar=",".join(MEASURES))
    parser.add_argument(
        "--against", type=names([*PACKAGES]), default=[*PACKAGES], help="peers, or none", metavar="PEERS"
    )
    parser.add_argument("--sizes", type=names(("s", "m", "gpt2")), default=["s", "m", "gpt2"], help="of training")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32, 128], help="rows at once in decoding")
    parser.add_argument("--model", type=Path, metavar="DIR", help="a checkpoint in Hugging Face layout, for decoding")
    parser.add_argument("--text", type=Path, metavar="DIR", help="text files and JSON lines, for loss")
    parser.add_argument("--target", type=float, default=5.0, help="held-out loss to come down to, nats per token")
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 3e-3], help="rates of AdamW to try in loss")
    parser.add_argument("--limit-s", type=float, default=600.0, help="how long anyone may train in loss")
    parser.add_argument("--peers", type=Path, default=Path.home() / ".cache" / "jielong-bench", metavar="DIR")
    parser.add_argument("--nanochat", type=Path, metavar="DIR", help="a checkout of nanochat; without it, it is cloned")
    parser.add_argument(
        "--compiled-peers",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="transformers' Trainer with torch_compile too (default: yes)",
    )
    parser.add_argument("--threads", type=int, default=0, help="of each contestant (default: the physical cores)")
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="count seconds of the wall (default), or of the processor: for a busy machine, with --threads 1",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="tiny shapes, uncompiled: only shows that all of it runs")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "RESULTS.md", metavar="FILE")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def _peers(options: argparse.Namespace) -> tuple[dict[str, Environment], list[str]]:
    """The environments of those who can take part in what is measured, and why the others cannot."""
    needed = {
        "transformers": bool(set(options.only) - {"gpu"}),
        "nanochat": bool({"training", "loss"} & set(options.only)),
        "llama.cpp": bool({"decoding", "prefill"} & set(options.only)),
    }
    found: dict[str, Environment] = {}
    missing: list[str] = []
    for peer in options.against:
        if needed.get(peer):
            try:
                found[peer] = environment(peer, options.peers, checkout=options.nanochat)
            except Unavailable as error:
                missing.append(f"{peer}: {error}")
    for line in missing:
        print(line, file=sys.stderr)
    return found, missing


def _section(
    name: str, measure: Callable[[dict[str, str]], Iterator[Result]], results: Path, threads: int, missing: list[str]
) -> bool:
    """Measure, print and write one section; whether all its checks held."""
    libraries: dict[str, str] = {}
    before = load_average()
    found: list[Result] = []
    is_right = True
    try:
        for result in measure(libraries):
            print(table([result]), flush=True)
            found.append(result)
    except Unavailable as error:
        is_right = False
        missing.append(str(error))
        print(error, file=sys.stderr)
    head = (
        f"{now()}, commit {commit()}. {machine()}; {threads} threads each. {versions(libraries)}. "
        f"Load average {before:.1f} before, {load_average():.1f} after."
    )
    body = "\n\n".join([head, table(found), *[f"Not measured: {line}." for line in missing]])
    write_section(results, name, body)
    return is_right and all(result.is_right for result in found)


def write_section(file: Path, name: str, body: str) -> None:
    """Put `body` under the heading `name`, in the place of what was there; other sections stay."""
    text = file.read_text(encoding="utf-8") if file.exists() else "# Results\n\nMade by `python -m bench.run`.\n"
    parts = text.split("\n## ")
    kept = [part for part in parts[1:] if part.split("\n", 1)[0] != name]
    sections = sorted([*(part.strip() for part in kept), f"{name}\n\n{body.strip()}"])
    file.write_text("\n\n## ".join([parts[0].strip(), *sections]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
