"""A task answered by a model with a strategy, or by two strategies on the same questions: scores, intervals and costs."""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.cli.ports import MODEL_HELP, open_port
from jielong.errors import ConfigError, did_you_mean
from jielong.records import Message, Sampling
from jielong.runs import derive_seed, write_json

if TYPE_CHECKING:
    from jielong.evaluate.summary import Summary
    from jielong.evaluate.tasks import Task


def add_parser(commands: Any) -> None:
    """`jielong evaluate`, for the `add_subparsers` object of the command line."""
    evaluate = commands.add_parser(
        "evaluate", help="score a model, with or without a strategy, on a task", description=__doc__
    )
    evaluate.add_argument("model", help=MODEL_HELP)
    evaluate.add_argument(
        "--task",
        required=True,
        help="a JSONL file of one's own, or a built-in task: instructions, sums, capitals, capitals-zh, safety, bias, code",
    )
    evaluate.add_argument("--strategy", default="direct", help="as in jielong ask, such as vote:5 (default: direct)")
    evaluate.add_argument(
        "--against", metavar="STRATEGY", help="a second strategy on the same questions, to compare with"
    )
    evaluate.add_argument("--limit", type=int, default=0, help="ask only the first questions (default: all)")
    evaluate.add_argument("--samples", type=int, default=1, help="answers to each question, for pass@k (default: 1)")
    evaluate.add_argument("--max-tokens", type=int, default=256, help="of each call (default: 256)")
    evaluate.add_argument("--temperature", type=float, default=0.0, help="of calls that no strategy draws (default: 0)")
    evaluate.add_argument("--stage", help="of a run: pretrain, sft or rl; without it, the last one trained")
    evaluate.add_argument("--seed", type=int, default=0)
    evaluate.add_argument("--out", type=Path, help="where results lie (default: evaluations/TASK-MODEL)")
    evaluate.set_defaults(command=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> int:
    from jielong.evaluate.running import Result, System, answer_task
    from jielong.evaluate.scoring import Given
    from jielong.evaluate.summary import summarize
    from jielong.use.tools.sandbox import Monty

    for name, least in (("samples", 1), ("limit", 0)):
        if getattr(arguments, name) < least:
            raise ConfigError(f"--{name} is {getattr(arguments, name)}; it must be at least {least}")
    task = find_task(arguments.task, arguments.seed).first(arguments.limit)
    sampling = Sampling(max_tokens=arguments.max_tokens, temperature=arguments.temperature)
    if arguments.samples > 1 and sampling.temperature == 0:
        raise ConfigError(f"--samples {arguments.samples} at temperature 0 are all the same; give --temperature too")
    out = arguments.out or Path("evaluations") / f"{task.name}-{_slug(arguments.model)}"
    given = Given(Monty().run) if any(item.scorer == "code" for item in task.items) else Given()
    strategies = list(dict.fromkeys(filter(None, (arguments.against, arguments.strategy))))

    async def work() -> list[Summary]:
        port = open_port(arguments.model, stage=arguments.stage)
        summaries = []
        try:
            for strategy in strategies:
                done = 0

                def tell(result: Result, strategy: str = strategy) -> None:
                    nonlocal done
                    done += 1
                    if done % 10 == 0:
                        print(f"{strategy}: {done} answers", file=sys.stderr, flush=True)

                results = await answer_task(
                    System(port, strategy, sampling), task, out / _slug(strategy),
                    given=given,
                    seed=arguments.seed, samples=arguments.samples, on_result=tell,
                )  # fmt: skip
                summary = summarize(strategy, task, results, seed=arguments.seed)
                write_json(out / _slug(strategy) / "summary.json", summary.to_dict())
                known = len(results) - done
                if known:
                    print(f"{strategy}: {known} of {len(results)} answers were there already", file=sys.stderr)
                summaries.append(summary)
        finally:
            await port.close()
        return summaries

    summaries = asyncio.run(work())
    _show(task, summaries, arguments.seed)
    print(f"\nResults: {out}  (every answer in results.jsonl, figures in summary.json)")
    return 0


def find_task(name: str, seed: int) -> Task:
    """The task in a file, made here from facts, or built in; ConfigError where there is none of that name."""
    from jielong.evaluate.tasks import built_in, built_ins, read_task

    if name.endswith(".jsonl") or Path(name).is_file():
        return read_task(Path(name))
    if name in _MADE:
        return _MADE[name](seed)
    if name in built_ins():
        return built_in(name)
    raise ConfigError(
        f"there is no task {name!r}; {did_you_mean(name, [*_MADE, *built_ins()])} A file ends with .jsonl"
    )


def _sums(seed: int) -> Task:
    """100 sums of numbers up to 99, every second one in Chinese."""
    dice = random.Random(derive_seed(seed, "sums"))
    forms = {"en": "What is {} + {}?", "zh": "{} 加 {} 等于多少？"}
    pairs = dice.sample([(a, b) for a in range(100) for b in range(100)], 100)
    langs = [("en", "zh")[i % 2] for i in range(100)]
    questions = [(forms[lang].format(a, b), str(a + b), lang) for lang, (a, b) in zip(langs, pairs, strict=True)]
    return _task("sums", questions)


def _capitals(lang: str) -> Callable[[int], Task]:
    def made(seed: int) -> Task:
        from jielong.worlds.atlas.facts import load_countries

        countries = list(load_countries())
        random.Random(derive_seed(seed, "capitals")).shuffle(countries)
        form = "{}的首都是哪里？" if lang == "zh" else "What is the capital of {}?"
        name = "capitals-zh" if lang == "zh" else "capitals"
        return _task(name, [(form.format(c.mention(lang)), c.capital[lang], c.continent["en"]) for c in countries])

    return made


def _task(name: str, questions: Sequence[tuple[str, str, str]]) -> Task:
    from jielong.evaluate.tasks import Item, Task

    return Task(
        name,
        tuple(
            Item(q, (Message("user", q),), "match", (answer,), meta={"group": group}) for q, answer, group in questions
        ),
    )


_MADE = {"capitals": _capitals("en"), "capitals-zh": _capitals("zh"), "sums": _sums}


def _slug(text: str) -> str:
    return re.sub(r"[^\w.=-]+", "-", text.rstrip("/").rpartition("/")[2]).strip("-")


def _show(task: Task, summaries: Sequence[Summary], seed: int) -> None:
    from rich.console import Console
    from rich.table import Table

    from jielong.evaluate.statistics import compare

    console = Console()
    table = Table(title=f"{task.name}, {len(task.items)} questions", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for summary in summaries:
        table.add_column(summary.name, justify="right")
    table.add_row("score (95 %)", *(f"{s.score.mean:.1%} ({s.score.low:.0%}-{s.score.high:.0%})" for s in summaries))
    for group, (count, _) in summaries[0].groups.items():
        table.add_row(f"  {group} ({count})", *(f"{s.groups[group][1].mean:.1%}" for s in summaries))
    for key in summaries[0].more:
        table.add_row(f"  {key}", *(f"{s.more.get(key, 0.0):.3f}" for s in summaries))
    table.add_row("calls a question", *(f"{s.calls:.1f}" for s in summaries))
    table.add_row("tokens a question", *(f"{s.tokens:.0f}" for s in summaries))
    if any(s.errors for s in summaries):
        table.add_row("not answered", *(str(s.errors) for s in summaries))
    console.print(table, markup=False)
    for c in compare([s.measured for s in summaries], seed=seed):
        d = c.difference
        console.print(
            f"{c.new.name} - {c.old.name}: {d.mean:+.1%} (95 %: {d.low:+.1%} to {d.high:+.1%}), p = {c.corrected:.2g}",
            markup=False, highlight=False,
        )  # fmt: skip
