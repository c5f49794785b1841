"""The command line of all experiments and of each: `python -m bench.strategies`, `python -m bench.strategies.NAME`.

Runs what is asked for, tells each part as it is done, and writes the table. Parts that are there already are not measured
again, so the same command goes on after a kill, and more seeds or experiments are added to what is there.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from bench.circumstances import machine, names, now, versions
from bench.environments import Unavailable
from bench.strategies.models import DEFAULT, PACKAGE, RECIPES, Ports, is_finished, run_folders
from bench.strategies.setting import Measure, Result, Setting, claim_folder
from bench.strategies.table import LEGEND, table
from jielong.cli.main import main as jielong
from jielong.errors import JielongError
from jielong.opening.ports import MODEL_HELP
from jielong.runs import write_text


def main(
    experiments: Mapping[str, Measure],
    arguments: Sequence[str] | None = None,
    *,
    techniques: Mapping[str, object] | None = None,
) -> int:
    """All of `experiments`, or --only some of them, one after the other; `techniques` are the names that may be chosen.

    1 where something could not be measured, which the table says too.
    """
    options = _options(experiments, arguments, techniques or {})
    try:
        results, missing = asyncio.run(_measure(experiments, options))
    except JielongError as error:
        print(error, file=sys.stderr)
        return 2
    if any(result.parts for result in results):
        text = report(results, missing, options.model)
        write_text(options.out, text)
        print(f"\n{text}\nWritten:  {options.out}")
    return 1 if missing else 0


def _options(
    experiments: Mapping[str, Measure], arguments: Sequence[str] | None, techniques: Mapping[str, object]
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.strategies", description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", default="", help=f"{MODEL_HELP} (default: {DEFAULT} out of the package {PACKAGE})")
    parser.add_argument("--only", type=names(experiments), default=[*experiments], metavar=",".join(experiments))
    parser.add_argument("--seeds", type=_numbers, default=[0], metavar="0,1,2", help="of questions and draws")
    parser.add_argument("--languages", type=names(("en", "zh")), default=["en", "zh"], metavar="en,zh")
    parser.add_argument("--quick", action="store_true", help="few questions: minutes, to see that all of it runs")
    parser.add_argument("--questions", type=int, default=0, metavar="N", help="of each experiment (default: its own)")
    parser.add_argument(
        "--techniques",
        type=names(techniques),
        default=[],
        metavar="NAME,...",
        help=f"which of {', '.join(techniques)} (default: those that need no second model and no search)",
    )
    parser.add_argument("--large", default="", metavar="MODEL", help="whom a cascade asks where the model is unsure")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where `jielong run` keeps its runs")
    parser.add_argument("--train", action="store_true", help=f"train what is missing of {', '.join(RECIPES)}")
    parser.add_argument(
        "--results", type=Path, metavar="DIR", help="where parts are kept (default: runs/strategies, or -quick)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.md", help="the table (default: RESULTS.md in that folder)")
    options = parser.parse_args(arguments)
    options.results = options.results or Path("runs") / ("strategies-quick" if options.quick else "strategies")
    options.out = options.out or options.results / "RESULTS.md"
    return options


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


async def _measure(experiments: Mapping[str, Measure], options: argparse.Namespace) -> tuple[list[Result], list[str]]:
    """The results of all seeds, and what could not be measured and why."""
    results: list[Result] = []
    missing: list[str] = []
    what = {"model": options.model or DEFAULT, "quick": options.quick, "questions": options.questions}
    claim_folder(options.results, what)
    ports = Ports()
    try:
        for name in options.only:
            for seed in options.seeds:
                if options.train and name in RECIPES:
                    await asyncio.to_thread(_train, name, seed, options)
                setting = Setting(
                    name,
                    options.results,
                    options.model,
                    options.large,
                    seed,
                    tuple(options.languages),
                    options.questions,
                    tuple(options.techniques),
                    options.runs,
                    options.quick,
                    ports,
                )
                try:
                    results.append(await experiments[name](setting))
                except (Unavailable, JielongError) as error:
                    missing.append(f"{name}, seed {seed}: {error}")
                    print(missing[-1], file=sys.stderr)
    finally:
        await ports.close()
    return results, missing


def _train(recipe: str, seed: int, options: argparse.Namespace) -> None:
    """The run that the experiment of this name examines, where it is missing."""
    *_, made = folders = run_folders(options.runs, recipe, seed, is_quick=options.quick)
    if not any(map(is_finished, folders)):
        size = made.name.split("-")[1]
        jielong(["run", recipe, "--size", size, "--seed", str(seed), "--runs", str(options.runs), "--no-chat"])


def report(results: Sequence[Result], missing: Sequence[str], model: str) -> str:
    """The table, what is not in it, and where all of it was measured."""
    parts = [part for result in results for part in result.parts]
    loads = [part.load for part in parts]
    seeds = ", ".join(map(str, dict.fromkeys(result.seed for result in results)))
    told = (
        f"{now()}; model {model or DEFAULT}; seeds {seeds}. Parts measured {min(p.date for p in parts)} to "
        f"{max(p.date for p in parts)}, commit {', '.join(dict.fromkeys(p.commit for p in parts))}. {machine()}. "
        f"{versions({name: version(name) for name in ('torch', 'numpy')})}. "
        f"Load average after a part {min(loads):.1f} to {max(loads):.1f}; {sum(p.seconds for p in parts):,.0f} s in all."
    )
    absent = [f"Not measured: {line}." for line in missing]
    heading = "# What strategies gain\n\nMade by `python -m bench.strategies`."
    return "\n\n".join([heading, LEGEND, table(results), *absent, told]) + "\n"
