"""Measure a model at a task, with one strategy or several, and beside other models: `jielong evaluate`.

Every answer is written down as it comes, so the same command goes on after a kill. Systems are compared on the same items,
with p corrected for the number of pairs.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.cli.as_json import add_json, print_json
from jielong.cli.ask import add_partners, partners_of
from jielong.cli.parsing import former_name
from jielong.cli.tools import PERSON, add_options, add_timeout, equipment_of
from jielong.errors import ConfigError, ResourceError
from jielong.opening.libraries import with_reading
from jielong.opening.ports import MODEL_HELP, is_address, long_name, open_port, shown_address
from jielong.opening.strategies import open_resources, strategy_of
from jielong.opening.tasks import TASK_HELP, find_task
from jielong.report import terminal
from jielong.report.text import shorten_names
from jielong.use.port import LocalPort, Options, Port
from jielong.use.strategies import STRATEGIES, named

if TYPE_CHECKING:
    from rich.table import Table

    from jielong.evaluate.code import Examine
    from jielong.evaluate.scoring import ScoringServices
    from jielong.evaluate.statistics import Interval
    from jielong.evaluate.summary import Summary
    from jielong.evaluate.tasks import Task

LM_EVAL = "lm-eval:"

_WIDTH_OF_ROW_NAMES = 24
"""Of a table of scores, what its first column takes of the width."""


def add_parser(commands: Any) -> None:
    """Add `jielong evaluate` to the commands."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a model, and what a strategy gains",
        description=__doc__,
        usage="jielong evaluate MODEL --task TASK [OPTION ...]",
    )
    measured = parser.add_argument_group("what is measured")
    measured.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    measured.add_argument("--task", required=True, help=TASK_HELP)
    measured.add_argument("--limit", type=int, default=0, metavar="N", help="only so many items, drawn by the seed")
    measured.add_argument("--stage", help="of a run: pretrain, sft or rl; without it, the last one trained")
    measured.add_argument(
        "--strategy", action="append", default=[], help="as for jielong ask; several are compared (default: direct)"
    )
    measured.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="STRATEGY|MODEL",
        help="compare with this strategy, or with this model; may be given several times",
    )
    add_partners(parser.add_argument_group("other models of a strategy"))
    add_options(parser.add_argument_group("tools and documents"))
    sampling = parser.add_argument_group("sampling")
    sampling.add_argument("--max-tokens", type=int, default=256, metavar="N", help="of each call (default: 256)")
    sampling.add_argument(
        "--temperature", type=float, default=0.0, metavar="T", help="of calls that no strategy draws (default: 0)"
    )
    sampling.add_argument(
        "--samples", type=int, default=1, metavar="N", help="answers to each item; with several, pass@k is told"
    )
    sampling.add_argument("--seed", type=int, default=0, metavar="N")
    add_timeout(sampling)
    marked = parser.add_argument_group("how answers are marked")
    marked.add_argument("--scorer", default="", help="of a file's items that name none")
    marked.add_argument("--judge", metavar="MODEL", help="who marks the answers where the scorer is grade")
    in_template = marked.add_argument(
        "--chat-template", action="store_true", help="ask a task of lm-eval in the model's chat template"
    )
    former_name(marked, in_template, "--chat")
    written = parser.add_argument_group("output")
    written.add_argument(
        "--out",
        type=Path,
        default=Path("evaluations"),
        metavar="DIR",
        help="where results lie (default: evaluations)",
    )
    add_json(written)
    parser.set_defaults(command=_evaluate)


@dataclass(frozen=True)
class _Wanted:
    """A system as the command line names it."""

    model: str
    strategy: str

    @property
    def folder(self) -> str:
        """Return the name of the folder for this system's results, made of its model and its strategy."""
        return "-".join(
            re.sub(r"[^\w.=+,]+", "-", part).strip("-") for part in (shown_address(self.model), self.strategy)
        )


def _evaluate(arguments: argparse.Namespace) -> int:
    """Answer a task with all systems, and print their scores and differences."""
    for name, least in (("samples", 1), ("limit", 0)):
        if getattr(arguments, name) < least:
            raise ConfigError(f"--{name} is {getattr(arguments, name)}; it must be at least {least}")
    if arguments.samples > 1 and not arguments.temperature:
        raise ConfigError(f"--samples {arguments.samples} are all the same at temperature 0; add --temperature 0.8")
    if arguments.task.startswith(LM_EVAL):
        return _run_harness(arguments)
    if arguments.chat_template:
        raise ConfigError(f"--chat-template is for tasks of lm-eval; {arguments.task} is asked in conversations anyway")
    task = find_task(arguments.task, limit=arguments.limit, scorer=arguments.scorer, seed=arguments.seed)
    wanted = _systems(arguments)
    askable = _without_unscorable(task, wanted)
    summaries = asyncio.run(_answer_all(askable, wanted, arguments))
    left_out = len(task.items) - len(askable.items)
    if arguments.json:
        print_json(_as_json(askable, summaries, arguments, left_out))
        return 0
    _print_scores(askable, summaries, arguments.seed, left_out)
    print(f"\nAnswers:  {arguments.out / task.name}")
    if len(wanted) > 1:
        files = " ".join(str(arguments.out / task.name / w.folder / "results.jsonl") for w in wanted[:2])
        print(f"Judge:    jielong judge {files} --model MODEL")
    return 0


def _as_json(task: Task, summaries: Sequence[Summary], arguments: argparse.Namespace, left_out: int) -> dict[str, Any]:
    """Return scores and differences for programs; each answer and its score lies in the folder."""
    from jielong.evaluate.statistics import compare

    pairs = compare([s.system_scores for s in summaries], seed=arguments.seed)
    return {
        "task": task.name,
        "items": len(task.items),
        "left_out": left_out,
        "systems": [{key: value for key, value in s.to_dict().items() if key != "scores"} for s in summaries],
        "differences": [
            {"new": c.new.name, "old": c.old.name, **vars(c.difference), "p": c.p, "corrected": c.corrected}
            for c in pairs
        ],
        "answers": arguments.out / task.name,
    }


def _systems(arguments: argparse.Namespace) -> list[_Wanted]:
    """Return the model with each strategy, and the systems it is compared with; the first is compared with all others."""
    means = equipment_of(arguments)
    strategies = [strategy_of(spec, means) for spec in arguments.strategy or [""]]
    found = [_Wanted(arguments.model, strategy) for strategy in strategies]
    for other in arguments.against:
        if re.split(r"[:+]", other)[0] in STRATEGIES:
            found.append(_Wanted(arguments.model, strategy_of(other, means)))
        else:
            found += [_Wanted(other, strategy) for strategy in strategies]
    twice = next((w for w in found if found.count(w) > 1), None)
    if twice:
        raise ConfigError(f"{twice.model} with {twice.strategy} is to be measured twice; name each system once")
    return found


async def _answer_all(task: Task, wanted: Sequence[_Wanted], arguments: argparse.Namespace) -> list[Summary]:
    """Answer the task with every system, each model opened once and closed before the next."""
    summaries: dict[_Wanted, Summary] = {}
    async with AsyncExitStack() as stack:
        opened = open_resources(arguments.model, equipment_of(arguments), partners_of(arguments), PERSON)
        means = await stack.enter_async_context(opened)
        for w in wanted:
            named(w.strategy, means)  # a strategy that does not exist is told before anything is asked
        given = await _scorer_services(task, arguments, stack)
        for model in dict.fromkeys(w.model for w in wanted):
            port = open_port(model, stage=arguments.stage, timeout_s=arguments.timeout)
            try:
                handed = with_reading(means, port)
                for w in (w for w in wanted if w.model == model):
                    summaries[w] = await _answer_with_system(task, w, port, handed, given, arguments)
            finally:
                await port.close()
    several = len({w.model for w in wanted}) > 1
    names = {w: f"{shown_address(w.model)} {w.strategy}" if several else w.strategy for w in wanted}
    return [replace(summaries[w], name=names[w]) for w in wanted]


def _without_unscorable(task: Task, wanted: Sequence[_Wanted]) -> Task:
    """Drop items that need log-probabilities, if a server is among the models and other items are left."""
    from jielong.evaluate.scoring import BY_PORT

    left = tuple(item for item in task.items if item.scorer not in BY_PORT)
    if left and any(is_address(long_name(w.model)) for w in wanted):
        return replace(task, items=left)
    return task


async def _answer_with_system(
    task: Task,
    wanted: _Wanted,
    port: Port,
    means: dict[str, Any],
    given: ScoringServices,
    arguments: argparse.Namespace,
) -> Summary:
    """Answer the task with one system, and write and return its summary."""
    from jielong.evaluate.summary import summarize
    from jielong.evaluate.task_runner import Result, System, answer_task
    from jielong.records import Sampling
    from jielong.runs import write_json

    folder = arguments.out / task.name / wanted.folder
    count = 0

    def show(result: Result) -> None:
        nonlocal count
        count += 1
        terminal.progress(f"{wanted.strategy}: {count} answers")

    sampling = Sampling(max_tokens=arguments.max_tokens, temperature=arguments.temperature)
    system = System(port, wanted.strategy, sampling, means, _in_words(arguments))
    results = await answer_task(
        system, task, folder, services=given, seed=arguments.seed, samples=arguments.samples, on_result=show
    )
    if count and sys.stderr.isatty():
        print(file=sys.stderr)
    if count < len(results):
        print(f"{wanted.strategy}: {len(results) - count} of {len(results)} answers were there", file=sys.stderr)
    summary = summarize(wanted.strategy, task, results, seed=arguments.seed)
    write_json(folder / "summary.json", summary.to_dict())
    return summary


def _in_words(arguments: argparse.Namespace) -> str:
    """Return the options that name tools and the like, as they stand on the command line."""
    names = ("large", "other", "reward", "tools", "pages", "searxng", "library", "mcp")
    return " ".join(f"--{name} {getattr(arguments, name)}" for name in names if getattr(arguments, name))


async def _scorer_services(task: Task, arguments: argparse.Namespace, stack: AsyncExitStack) -> ScoringServices:
    """Open the services that the task's scorers need: a sandbox for code, a judge for marks."""
    from jielong.evaluate.judge import make_grader
    from jielong.evaluate.scoring import ScoringServices

    scorers = {item.scorer for item in task.items}
    examine = await _open_sandbox() if "code" in scorers else None
    if "grade" not in scorers or not arguments.judge:
        return ScoringServices(examine)
    port: Port = open_port(arguments.judge, timeout_s=arguments.timeout)
    stack.push_async_callback(port.close)
    return ScoringServices(examine, make_grader(port.ask, Options(seed=arguments.seed)))


async def _open_sandbox() -> Examine:
    """Return CPython in bubblewrap if this machine allows it, or else an interpreter of a part of Python."""
    from jielong.use.tools.bubblewrap import Bubblewrap
    from jielong.use.tools.sandbox import Monty

    try:
        await Bubblewrap().run("1")
    except ResourceError as error:
        print(f"{error}\nThe programs run in pydantic-monty, which knows a part of Python.", file=sys.stderr)
        return Monty().examine
    return Bubblewrap().examine


def _print_scores(task: Task, summaries: Sequence[Summary], seed: int, left_out: int) -> None:
    """Print scores with their 95% intervals, a column for each system, and below the differences of each pair of
    systems.

    `left_out`: how many items of the task were not asked, for want of log-probabilities.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from jielong.evaluate.statistics import compare
    from jielong.report import consoles

    console = consoles.console()
    names = shorten_names([s.name for s in summaries], (console.width - _WIDTH_OF_ROW_NAMES) // len(summaries) - 4)
    if names != [s.name for s in summaries]:
        for name, summary in zip(names, summaries, strict=True):
            print(f"{name}: {summary.name}")
    summaries = [replace(s, name=name) for s, name in zip(summaries, names, strict=True)]
    table = Table(title=f"{task.name}, {len(summaries[0].scores)} items, 95% intervals", box=box.SIMPLE_HEAD)
    table.add_column("")
    for summary in summaries:
        table.add_column(Text(summary.name), justify="right", overflow="fold")
    _add_rows(table, summaries)
    console.print(table, markup=False)
    if left_out:
        print(f"Left out: {left_out} items that ask for log-probabilities, which a server does not tell.")
    if len(summaries) == 1:
        return
    pairs = Table(box=box.SIMPLE_HEAD)
    for name in ("", "difference", "p", "corrected", "tokens", "calls"):
        pairs.add_column(name, justify="right" if name else "left", overflow="fold")
    for c in compare([s.system_scores for s in summaries], seed=seed):
        pairs.add_row(
            f"{c.new.name} - {c.old.name}",
            f"{c.difference.mean:+.1%} ({c.difference.low:+.1%} to {c.difference.high:+.1%})",
            f"{c.p:.3g}",
            f"{c.corrected:.3g}",
            f"{c.new.tokens - c.old.tokens:+.0f}",
            f"{c.new.calls - c.old.calls:+.1f}",
        )
    console.print(pairs, markup=False)


def _add_rows(table: Table, summaries: Sequence[Summary]) -> None:
    """Add the rows of scores, groups, figures and costs."""

    def told(interval: Interval) -> str:
        return f"{interval.mean:.1%} ({interval.low:.0%} to {interval.high:.0%})"

    first = summaries[0]
    table.add_row("score", *(told(s.score) for s in summaries))
    for group, (count, _) in first.groups.items():
        table.add_row(f"  {group} ({count})", *(told(s.groups[group][1]) for s in summaries))
    for figure in first.more:
        table.add_row(f"  {figure}", *(f"{s.more[figure]:.1%}" for s in summaries))
    for name, pairs in first.pairs.items():
        table.add_row(
            f"  {name}: a - b ({pairs.count} pairs)",
            *(
                f"{d.mean:+.1%} ({d.low:+.0%} to {d.high:+.0%}), size {s.pairs[name].size:.1%}"
                for s in summaries
                for d in [s.pairs[name].difference]
            ),
        )
    if any(s.errors for s in summaries):
        table.add_row("not answered (results.jsonl says why)", *(str(s.errors) for s in summaries))
    table.add_row("tokens, an answer", *(f"{s.tokens:.0f}" for s in summaries))
    table.add_row("calls, an answer", *(f"{s.calls:.1f}" for s in summaries))
    table.add_row("seconds, an answer", *(f"{s.seconds:.1f}" for s in summaries))


def _run_harness(arguments: argparse.Namespace) -> int:
    """Run a task of lm-eval."""
    from jielong.evaluate.harness import import_harness, run_harness
    from jielong.runs import write_json

    import_harness()
    port = open_port(arguments.model, stage=arguments.stage, timeout_s=arguments.timeout)
    if not isinstance(port, LocalPort):
        raise ConfigError("lm-eval's tasks need a model's folder; for servers, lm-eval has classes of its own")
    name = arguments.task.removeprefix(LM_EVAL)
    found = run_harness(port, name, limit=arguments.limit, seed=arguments.seed, is_chat=arguments.chat_template)
    folder = "lm-eval-chat" if arguments.chat_template else "lm-eval"
    path = arguments.out / folder / f"{_Wanted(arguments.model, name).folder}.json"
    write_json(path, found)
    if arguments.json:
        print_json({"task": arguments.task, "figures": found, "file": path})
        return 0
    for task, figures in found.items():
        for figure, value in figures.items():
            print(f"{task}  {figure}: {value}")
    print(f"\nFigures:  {path}")
    return 0
