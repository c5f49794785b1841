"""How good a model is at a task, with one strategy or several beside each other: `jielong evaluate`.

A task is built in or a JSONL file of one's own. Every answer is written down as it comes, so the same command goes on
after a kill; systems are compared on the same questions, with p corrected for their number.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.cli.ports import MODEL_HELP, open_port
from jielong.cli.tools import add_options, open_means, strategy_of
from jielong.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from jielong.evaluate.scoring import Given
    from jielong.evaluate.summary import Summary
    from jielong.evaluate.tasks import Task
    from jielong.use.port import Port

MADE = ("capitals", "capitals-zh", "sums")
"""Tasks made of embedded facts or by a rule; the others are files of the package."""


def add_parser(commands: Any) -> None:
    """`jielong evaluate`, for the `add_subparsers` object of the command line."""
    parser = commands.add_parser("evaluate", help="measure a model, and what a strategy gains", description=__doc__)
    parser.add_argument("model", help=MODEL_HELP)
    parser.add_argument(
        "--task", required=True, help=f"a FILE.jsonl, or bias, code, instructions, safety, {', '.join(MADE)}"
    )
    parser.add_argument(
        "--strategy", action="append", default=[], help="as for jielong ask; several are compared (default: direct)"
    )
    add_options(parser)
    parser.add_argument("--judge", metavar="MODEL", help="who marks the answers of scorer grade")
    parser.add_argument("--stage", help="of a run: pretrain, sft or rl; without it, the last one trained")
    parser.add_argument("--limit", type=int, default=0, help="only so many items, the first ones")
    parser.add_argument("--samples", type=int, default=1, help="answers to each item; with several, pass@k is told")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, default=Path("evaluations"), help="where results lie (default: evaluations)"
    )
    parser.set_defaults(command=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> int:
    task = find_task(arguments.task).first(arguments.limit)
    specs = [strategy_of(spec, arguments) for spec in arguments.strategy or [""]]
    if len(set(specs)) < len(specs):
        raise ConfigError(f"strategies {', '.join(specs)}: one stands there twice")
    summaries = asyncio.run(_answer(task, specs, arguments))
    print(table(task, summaries, arguments.seed))
    print(f"\nAnswers:  {arguments.out / task.name}")
    return 0


async def _answer(task: Task, specs: list[str], arguments: argparse.Namespace) -> list[Summary]:
    from jielong.evaluate.running import Result, System, answer_task
    from jielong.evaluate.summary import summarize
    from jielong.records import Sampling
    from jielong.runs import write_json

    sampling = Sampling(max_tokens=arguments.max_tokens, temperature=arguments.temperature)
    summaries = []
    async with AsyncExitStack() as stack:
        means = await stack.enter_async_context(open_means(arguments))
        port = open_port(arguments.model, stage=arguments.stage)
        stack.push_async_callback(port.close)
        given = await _given(task, arguments.judge, stack)
        for spec in specs:
            folder = arguments.out / task.name / spec.replace("/", "_")
            count = 0

            def show(result: Result, spec: str = spec) -> None:
                nonlocal count
                count += 1
                if sys.stderr.isatty():
                    sys.stderr.write(f"\r{spec}: {count} answers")
                    sys.stderr.flush()

            system = System(port, spec, sampling, means)
            results = await answer_task(
                system, task, folder, given=given, seed=arguments.seed, samples=arguments.samples, on_result=show
            )
            if count and sys.stderr.isatty():
                print(file=sys.stderr)
            summaries.append(summarize(spec, task, results, seed=arguments.seed))
            write_json(folder / "summary.json", summaries[-1].to_dict())
    return summaries


async def _given(task: Task, judge: str | None, stack: AsyncExitStack) -> Given:
    """What the task's scorers need: a sandbox for code, a judge for marks."""
    from jielong.evaluate.judge import mark
    from jielong.evaluate.scoring import Given

    scorers = {item.scorer for item in task.items}
    run_python = None
    if "code" in scorers:
        from jielong.use.tools.sandbox import Monty

        run_python = Monty().run
    if "grade" not in scorers or not judge:
        return Given(run_python)
    port: Port = open_port(judge)
    stack.push_async_callback(port.close)
    return Given(run_python, partial(mark, ask=port.ask))


def find_task(name: str) -> Task:
    """The task of a file, or the built-in one; ConfigError for an unknown name."""
    from jielong.evaluate.safety import attacked
    from jielong.evaluate.tasks import built_in, built_ins, read_task

    if name in MADE:
        return _made(name)
    if name in built_ins():
        return attacked(built_in(name)) if name == "safety" else built_in(name)
    if not name.endswith(".jsonl"):
        raise ConfigError(
            f"there is no task {name!r}; {did_you_mean(name, [*MADE, *built_ins()])} or name a FILE.jsonl"
        )
    return read_task(Path(name))


def _made(name: str) -> Task:
    from jielong.evaluate.tasks import Item, Task
    from jielong.records import Message
    from jielong.worlds.atlas.facts import load_countries

    def item(id: str, question: str, answer: str) -> Item:
        return Item(id, (Message("user", question),), "match", (answer,))

    if name == "sums":
        pairs = [(a, b) for a in range(30) for b in range(30 - a)]
        random.Random(0).shuffle(pairs)
        return Task(name, tuple(item(f"{a}+{b}", f"What is {a} + {b}?", str(a + b)) for a, b in pairs))
    language = "zh" if name.endswith("-zh") else "en"
    form = "{}的首都是哪里？" if language == "zh" else "What is the capital of {}?"
    countries = list(load_countries())
    random.Random(0).shuffle(countries)
    asked = (item(c.code, form.format(c.mention(language)), c.capital[language]) for c in countries)
    return Task(name, tuple(asked))


def table(task: Task, summaries: list[Summary], seed: int) -> str:
    """The scores with their 95% intervals, groups below, and what each strategy has over those before it."""
    from jielong.evaluate.statistics import Interval, compare

    def told(interval: Interval) -> str:
        return f"{interval.mean:.1%} ({interval.low:.1%} to {interval.high:.1%})"

    lines = [f"{task.name}, {len(task.items)} items; 95% intervals"]
    for summary in summaries:
        cost = f"{summary.calls:.1f} calls, {summary.tokens:.0f} tokens, {summary.seconds:.1f} s an item"
        lines.append(f"  {summary.name}: {told(summary.score)}   [{cost}]")
        lines += [f"      {group}: {told(found)} of {count}" for group, (count, found) in summary.groups.items()]
        lines += [f"      {figure}: {value:.3f}" for figure, value in summary.more.items()]
        if summary.errors:
            lines.append(f"      {summary.errors} could not be asked; results.jsonl says why")
    for c in compare([s.measured for s in summaries], seed=seed) if len(summaries) > 1 else ():
        found = f"{c.difference.mean:+.1%} ({c.difference.low:+.1%} to {c.difference.high:+.1%})"
        lines.append(f"  {c.new.name} against {c.old.name}: {found}, p = {c.p:.3g}, corrected {c.corrected:.3g}")
    return "\n".join(lines)
