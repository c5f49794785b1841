"""`jielong fields`: what of a recipe can be set, with its value and its meaning, and which fields a word means."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jielong.cli.as_json import add_json, print_json
from jielong.cli.walk import add_recipe, written_recipe
from jielong.config import Field, find, format_value, list_fields, nearest
from jielong.errors import ConfigError, did_you_mean_one_of

if TYPE_CHECKING:
    from rich.table import Table

    from jielong.stages.recipe import Recipe

ADAPT = "adapt"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "fields",
        help="list what of a recipe can be set, or find the field that a word means",
        description=__doc__,
    )
    add_recipe(parser)
    parser.add_argument("word", nargs="?", metavar="WORD", help="only fields that this word may mean, such as lr")
    add_json(parser)
    parser.set_defaults(command=_fields, seed=None)


def _fields(arguments: argparse.Namespace) -> int:
    """Print the fields of a recipe, all or those that a word finds."""
    from jielong.report import consoles

    with recipe_of(arguments) as recipe:
        fields = list_fields(recipe.stages)
        shown = find(arguments.word, fields) if arguments.word else fields
        if not shown:
            meant = did_you_mean_one_of(nearest(arguments.word, fields)) or "without a word all are listed"
            raise ConfigError(f"no field of {arguments.recipe} is meant by {arguments.word!r}; {meant}")
        if arguments.json:
            print_json({"recipe": arguments.recipe, "fields": [vars(field) for field in shown]})
            return 0
        kinds = {stage.name: type(stage).__doc__ or "" for stage in recipe.stages}
    console = consoles.console(highlight=False)
    for stage, own in _by_stage(shown):
        about = kinds[stage].partition(". ")[0].partition("\n")[0].removesuffix(".")
        console.print(f"\n[bold]{stage}[/bold]  [dim]{about}[/dim]")
        console.print(_table(own, is_whole=not arguments.word))
    for line in _notes(arguments, shown):
        print(line)
    return 0


def _by_stage(fields: Iterable[Field]) -> list[tuple[str, list[Field]]]:
    """Group fields by their stage."""
    stages: dict[str, list[Field]] = {}
    for field in fields:
        stages.setdefault(field.path.partition(".")[0], []).append(field)
    return list(stages.items())


def _table(fields: Sequence[Field], *, is_whole: bool) -> Table:
    """Make a table of a stage's fields; in a whole list without the stage's name, for want of room."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", max_width=16)
    table.add_column(ratio=1)
    for field in fields:
        path = field.path.partition(".")[2] if is_whole else field.path
        choices = f" One of {', '.join(map(str, field.choices))}." if field.choices else ""
        table.add_row(Text(path, style="cyan"), Text(format_value(field.value)), Text(field.meaning + choices))
    return table


def _notes(arguments: argparse.Namespace, shown: Sequence[Field]) -> Iterator[str]:
    """Return notes on how the list was made, and how a field is changed."""
    yield ""
    if (arguments.recipe == "own" and not arguments.source) or arguments.recipe == ADAPT:
        yield "Shown for a small example: steps and lengths may follow from your own text."
    brought = [f"--{n} FILE.jsonl" for n in ("chat", "preferences") if getattr(arguments, n)]
    learned = " ".join(brought) or "--source DIR"
    command = {ADAPT: f"jielong adapt MODEL {learned}", "own": "jielong run own --source DIR"}
    start = command.get(arguments.recipe, f"jielong run {arguments.recipe}")
    yield f"Change one:  {start} \\\n             --set {shown[0].path}={format_value(shown[0].value)}"


@contextmanager
def recipe_of(arguments: argparse.Namespace) -> Iterator[Recipe]:
    """Build the recipe that the options name, for use inside the context. If it needs data that is not given, example
    files stand in.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if arguments.recipe == ADAPT:
            from jielong.recipes.adapt import adapt

            named = vars(arguments)
            given = {n: named[n] for n in ("chat", "preferences", "method") if named.get(n)}
            if not (arguments.chat or arguments.preferences):
                given["source"] = arguments.source or _write_example_pages(folder)
            yield adapt(_save_example_model(folder), **given)
            return
        if arguments.recipe == "own" and arguments.source is None:
            arguments = argparse.Namespace(**vars(arguments))
            arguments.source = _write_example_pages(folder)
            if arguments.chat is None and arguments.preferences is None:
                arguments.chat, arguments.preferences = _write_example_chats(folder)
        yield written_recipe(arguments).build()


def _write_example_pages(folder: Path) -> Path:
    """Write an example of a user's text."""
    pages = folder / "pages"
    pages.mkdir()
    (pages / "page.md").write_text("A page that stands for a text of one's own.\n", encoding="utf-8")
    return pages


def _write_example_chats(folder: Path) -> tuple[Path, Path]:
    """Write examples of chats and of preferences, as many as a recipe asks for."""
    from jielong.data.forms import FEWEST

    chats, preferences = folder / "chats.jsonl", folder / "preferences.jsonl"
    asked = [[{"role": "user", "content": f"What is {n}?"}] for n in range(FEWEST)]
    yes, no = ([{"role": "assistant", "content": said}] for said in ("A number.", "No."))
    chats.write_text("".join(json.dumps({"messages": a + yes}) + "\n" for a in asked), encoding="utf-8")
    pairs = ({"prompt": a, "chosen": yes, "rejected": no} for a in asked)
    preferences.write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    return chats, preferences


def _save_example_model(folder: Path) -> Path:
    """Save an example of a model to adapt, with random weights."""
    from jielong.model import hf
    from jielong.model.transformer import ModelConfig, fresh_language_model

    model = folder / "model"
    model.mkdir()
    shape = ModelConfig(320, 16, 24, 1, 2, 1, 8, max_position_embeddings=2048)
    hf.save(fresh_language_model(shape, seed=0), model, eos_token_id=0, pad_token_id=0)
    return model
