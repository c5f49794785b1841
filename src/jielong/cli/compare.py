"""`jielong compare`: two runs side by side, or the answers of a run's stages or of several models to one question."""

from __future__ import annotations

import argparse
import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, set_cell_size

from jielong.cli.as_json import add_json, print_json
from jielong.errors import ConfigError
from jielong.opening.ports import long_name
from jielong.report.draws import percent
from jielong.runs import is_run

if TYPE_CHECKING:
    from jielong.generate.together import ModelAnswer, ModelToAsk

SILENT = ("reward", "control")
"""Stages that end with a model to which nobody puts a question."""
NUM_LIKELIEST = 4
TOKEN, OTHER, PERCENT, NATS = 13, 9, 8, 7
"""Widths of columns."""


def add_parser(commands: Any) -> None:
    """Add `jielong compare` to the commands."""
    compare = commands.add_parser(
        "compare",
        help="set two runs side by side, or ask the stages of a run, or several models, the same question",
        description="jielong compare RUN RUN                     settings, losses, measures, answers, speed\n"
        'jielong compare RUN "QUESTION"              each stage: its answer, what was likeliest\n'
        'jielong compare MODEL MODEL ... "QUESTION"  the same of several models',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    compare.add_argument(
        "things",
        nargs="+",
        metavar="RUN|MODEL|QUESTION",
        help="runs, stages of runs (RUN:sft) or model folders; what comes last and is none of these is a question",
    )
    compare.add_argument("--max-tokens", type=int, default=40, metavar="N", help="of each answer (default: 40)")
    add_json(compare)
    compare.set_defaults(command=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    """Compare two runs, or ask one question of all named models."""
    *specs, last = [long_name(thing) for thing in arguments.things]
    if not is_model(last):
        if not specs:
            raise ConfigError(f"{last!r} names no run and no model; give two runs, or a run and a question")
        return _ask_models(specs, arguments.things[-1], arguments)
    if len(specs) != 1:
        raise ConfigError(
            f"{'one run' if not specs else f'{len(specs) + 1} runs'} and no question; give two runs to set side by side, "
            "or a question after them"
        )
    return _side_by_side(specs[0], last, as_json=arguments.json)


def is_model(spec: str) -> bool:
    """Whether a word of the command line names a run, a stage of one or a model folder, and is no question."""
    return os.path.isdir(spec) or is_run(Path(spec.rpartition(":")[0]))


def _side_by_side(a: str, b: str, *, as_json: bool) -> int:
    """Print the comparison of two runs."""
    from jielong.report.comparison import comparison_json, print_comparison
    from jielong.report.consoles import console
    from jielong.runs import Run
    from jielong.stages.accounts import account_of, compare_accounts

    for spec in (a, b):
        if not is_run(Path(spec)):
            raise ConfigError(
                f'{spec} is no run; models are compared by what they answer: jielong compare {a} {b} "..."'
            )
    found = compare_accounts(*(account_of(Run(Path(spec))) for spec in (a, b)))
    if as_json:
        print_json(comparison_json(found))
        return 0
    print_comparison(found, console())
    print(f'\nAsk both:  jielong compare {a} {b} "QUESTION"')
    return 0


# One question ----------------------------------------------------------------------------------------------------


def _ask_models(specs: list[str], question: str, arguments: argparse.Namespace) -> int:
    """Ask all models one question and print their answers and readings."""
    from jielong.generate.together import ask_all
    from jielong.report.terminal import progress

    if not question.strip():
        raise ConfigError("the question is empty; give at least a word")
    short = [Path(spec).name for spec in specs]
    names = short if len(set(short)) == len(specs) else specs
    models = (
        _models_of_run(specs[0])
        if len(specs) == 1
        else [_model_of_spec(*pair) for pair in zip(specs, names, strict=True)]
    )
    progress("opening " + ", ".join(model.name for model in models))
    told = ask_all(models, question, max_tokens=arguments.max_tokens, num_likeliest=NUM_LIKELIEST)
    progress("")
    if arguments.json:
        print_json({"question": question, "answers": told})
        return 0
    print(f"> {question}")
    for one in told:
        _print_answer(one)
    _print_readings(told)
    return 0


def _models_of_run(spec: str) -> list[ModelToAsk]:
    """Return the models of a run in the order of its stages; without reward models and the like."""
    from jielong.report.words import ENGLISH
    from jielong.runs import find_model, open_run

    path = Path(spec)
    if not is_run(path):
        raise ConfigError(f"{spec} is one model; give a run, whose stages are compared, or several models")
    stages = open_run(path).record["stages"]
    done = [name for name, entry in stages.items() if "checkpoint" in entry.get("summary", {})]
    asked = [name for name in done if name not in SILENT]
    if not asked:
        raise ConfigError(f"{spec} has no finished training stage yet; finish it with the command that began it")
    return [
        _model_to_ask(ENGLISH.stage(name), find_model(path, name), is_bare=_is_bare(stages, name)) for name in asked
    ]


def _model_of_spec(spec: str, name: str) -> ModelToAsk:
    """Return the model that `spec` names (a folder, a run, or a stage of one), to be asked under `name`."""
    from jielong.opening.ports import folder_of
    from jielong.runs import run_around

    folder = folder_of(spec)
    run = run_around(folder)
    # a run's models lie in RUN/STAGE/steps/STEP/model
    inside = folder.absolute().relative_to(run.path).parts if run else ()
    is_bare = run is not None and inside[:1] != () and _is_bare(run.record["stages"], inside[0])
    return _model_to_ask(name, folder, is_bare=is_bare)


def _model_to_ask(name: str, folder: Path, *, is_bare: bool) -> ModelToAsk:
    """Return the model in `folder`, to be opened when it is asked."""
    from jielong.generate.together import ModelToAsk
    from jielong.opening.models import open_engine

    return ModelToAsk(name, lambda: open_engine(folder), is_bare)


def _is_bare(stages: Mapping[str, Any], name: str) -> bool:
    """Whether a stage ends with a base model, which has read texts and no chats."""
    inputs = stages.get(name, {}).get("config", {}).get("inputs", {})
    data = stages.get(inputs.get("data"), {}).get("summary", {}).get("holds")
    return "start" not in inputs and data in ("tokens", "documents")


def _print_answer(told: ModelAnswer) -> None:
    """Print a model's answer, and the likeliest tokens at each place."""
    how = "goes on with the bare question" if told.is_bare else "answers in its chat template"
    print(f"\n{told.name} {how}:\n{told.text.strip()}\n")
    print(f"  {_cell('token', TOKEN)}{'':>{PERCENT}}  the likeliest that were not taken")
    for step in told.steps:
        others = [(token, p) for token, p in step.likeliest if token != step.token]
        cells = "".join(f"  {_cell(token, OTHER)}{percent(p):>{PERCENT}}" for token, p in others[: NUM_LIKELIEST - 1])
        print(f"  {_cell(step.token, TOKEN)}{percent(step.probability):>{PERCENT}}{cells}")


def _print_readings(told: Sequence[ModelAnswer]) -> None:
    """Print how each model scores the answer of the last one, if they have the same tokens."""
    last, reading = told[-1], [one for one in told if one.reading]
    others = [one.name for one in told if not one.reading]
    if len(reading) < 2:
        print(f"\nThe tokens of {last.name} are no other model's, so its answer is not set beside them.")
        return
    about = (
        f"How each model reads the answer of {last.name}: the probability p of each token, and how far all that it "
        "expects there is from what that model expects (KL divergence, in nats; 0 where both expect the same)."
    )
    print("\n" + textwrap.fill(about, 80))
    print("  " + " " * TOKEN + "".join(f"  {_tail(one.name, PERCENT + NATS)}" for one in reading))
    head = f"  {'':>{PERCENT - 1}}p{'KL':>{NATS}}"
    print("  " + _cell("token", TOKEN) + head * len(reading))
    for place, step in enumerate(last.steps):
        cells = ""
        for one in reading:
            assert one.reading is not None
            chance = percent(math.exp(one.reading.logprobs[place]))
            cells += f"  {chance:>{PERCENT}}{one.reading.divergences[place]:>{NATS}.2f}"
        print(f"  {_cell(step.token, TOKEN)}{cells}")
    totals = "".join(f"  {_nats(sum(one.reading.logprobs)):>{PERCENT + NATS}}" for one in reading if one.reading)
    print(f"  {_cell('log p of all', TOKEN)}{totals}")
    if others:
        print(f"Not beside them, as they have other tokens: {', '.join(others)}.")


def _nats(total: float) -> str:
    return f"{total:.1f} nats"


def _tail(text: str, width: int) -> str:
    """Return the end of a name at the right of so many columns."""
    shown = text if cell_len(text) <= width else "…" + text[1 - width :]
    return " " * (width - cell_len(shown)) + shown


def _cell(text: str, width: int) -> str:
    """Cut or fill a text to so many columns of a terminal."""
    return set_cell_size(text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…", width)
