"""Readers may believe the documents: commands and options exist, links lead somewhere, quoted errors are those of the code."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import re
import runpy
import shlex
import sys
import tomllib
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest

from jielong.cli.main import MODULES, build_parser, main
from jielong.cli.shortcuts import epochs_of, settings_of
from jielong.recipes import about_recipes, build_recipe
from jielong.stages.recipe import change
from jielong.use.strategies import STRATEGIES

ROOT = Path(__file__).parent.parent
READMES = [ROOT / "README.md", ROOT / "README.zh.md"]
PAGES = sorted((ROOT / "docs").glob("*.md"))
LONGEST_README, LONGEST_SENTENCE = 150, 30
FOR_DEVELOPERS = {"architecture.md", "plan.md", "promises.md"}
"""Pages that describe the code or its limits, in sentences as long as these need."""

PROGRAMS = {"python3", "python", "pip", "pytest", "torchrun", "curl", ".", "ruff", "mypy", "mkdocs", "uvx", "pipx"}
"""Programs of others that the documents may call."""

Command = list[str]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def prose(text: str) -> str:
    """The text without its blocks of code."""
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def commands_of(block: str) -> Iterator[Command]:
    """The words of each command in a block of shell."""
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(re.sub(r"(^|\s)#.*", "", line))
        while words:
            command = list(takewhile(lambda word: word != "&&", words))
            words = words[len(command) + 1 :]
            yield command


def all_commands() -> list[tuple[str, Command]]:
    """All commands in blocks of shell, and those in the tables of the READMEs, with the page."""
    in_tables = [
        (name_of(page), shlex.split(span))
        for page in READMES
        for span in re.findall(r"\| `(jielong [^`]+)` \|", page.read_text(encoding="utf-8"))
    ]
    return in_tables + [
        (name_of(page), command)
        for page in [*READMES, *PAGES]
        for block in blocks(page.read_text(encoding="utf-8"), "sh")
        for command in commands_of(block)
    ]


def arguments_after(command: Command) -> Command | None:
    """The arguments of jielong itself, however it is started; None for another program."""
    for place, word in enumerate(command):
        if Path(word).name == "jielong" or word == "jielong.cli.main":
            return command[place + 1 :]
        if place == 0 and word not in ("torchrun", "python", "uvx", "pipx"):
            return None
    return None


@cache
def options_of(command: str) -> frozenset[str]:
    """All options of a command, those of its verbs among them."""

    def options(parser: argparse.ArgumentParser) -> Iterator[str]:
        for action in parser._actions:
            yield from action.option_strings
            if isinstance(action, argparse._SubParsersAction):
                for one in action.choices.values():
                    yield from options(one)

    (commands,) = (a for a in build_parser(command)._actions if isinstance(a, argparse._SubParsersAction))
    return frozenset(options(commands.choices[command]))


def test_every_program_that_the_documents_start_is_known() -> None:
    for page, command in all_commands():
        program = Path(command[0]).name or command[0]
        assert program == "jielong" or program in PROGRAMS, f"{page}: {shlex.join(command)}"


def test_every_command_of_jielong_is_one_that_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    seen = 0
    for page, command in all_commands():
        arguments = arguments_after(command)
        if arguments is None:
            continue
        seen += 1
        try:
            build_parser(arguments[0]).parse_args(arguments)
        except SystemExit:
            pytest.fail(f"{page}: {shlex.join(command)}\n{capsys.readouterr().err}")
        # argparse takes shortened options too
        named = {word.partition("=")[0] for word in arguments[1:] if word.startswith("--")}
        assert named <= options_of(arguments[0]), f"{page}: {shlex.join(command)}"
    assert seen > 100


def test_settings_strategies_and_lengths_in_commands_exist() -> None:
    """The parser takes any text for these; here they are read as the commands read them."""
    for page, command in all_commands():
        arguments = arguments_after(command)
        if arguments is None:
            continue
        given = build_parser(arguments[0]).parse_args(arguments)
        specs = getattr(given, "strategy", None) or []
        for spec in specs if isinstance(specs, list) else [specs]:
            for part in spec.split("+"):
                assert part.partition(":")[0] in STRATEGIES, f"{page}: {shlex.join(command)}"
        recipe_name = getattr(given, "recipe", "")
        if recipe_name in about_recipes() and recipe_name != "own":
            recipe = build_recipe(recipe_name)
            if hasattr(given, "epochs"):
                change(recipe, settings_of(recipe, given))
                epochs_of(recipe, given)
            change(recipe, getattr(given, "set", []))


def test_commands_and_options_in_running_text_exist() -> None:
    known = {command for commands in MODULES.values() for command in commands}
    every = {option for command in known for option in options_of(command)} | {"--version", "--help"}
    of_others = {"--read-only"}
    for page in [*READMES, *PAGES]:
        if page.name == "plan.md":  # also speaks of commands to come
            continue
        for span in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose(page.read_text(encoding="utf-8"))):
            if not re.match(r"jielong |--\w", span) or "…" in span:
                continue
            words = span.split()
            named = words[1] if words[0] == "jielong" else ""
            if named.isupper() or named.startswith("-"):
                continue
            assert not named or named in known, f"{name_of(page)}: `{span}`"
            for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", span):
                takes = options_of(named) if named else every
                assert option in takes or option in of_others, f"{name_of(page)}: `{span}` has no {option}"


def test_the_extras_that_the_documents_install_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for page in [*READMES, *PAGES]:
        for names in re.findall(r"pip install [^`\n]*?\[([\w,]+)\]", page.read_text(encoding="utf-8")):
            assert set(names.split(",")) <= set(project["optional-dependencies"]), f"{name_of(page)}: [{names}]"


def modules_started() -> dict[str, list[Command]]:
    """Modules of ours that `python -m` starts, and with which arguments."""
    found: dict[str, list[Command]] = {}
    for _, command in all_commands():
        if Path(command[0]).name == "python" and command[1] == "-m" and command[2].startswith("bench"):
            found.setdefault(command[2], []).append(command[3:])
    return found


@pytest.mark.parametrize("module", modules_started())
def test_benchmarks_take_the_options_that_the_documents_give(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert importlib.util.find_spec(module)
    options = {word for command in modules_started()[module] for word in command if word.startswith("--")}
    if not options:
        return
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the module is imported already
        runpy.run_module(module, run_name="__main__")
    said = capsys.readouterr().out
    assert all(option in said for option in options), said


@pytest.mark.parametrize(
    "line",
    ["estimate gpt3", "fields quickstart learning_rate", "estimate num_hidden_layers=8,hidden_size=512 --tokens 1e9"],
)
def test_cheap_commands_of_the_documents_run(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ["jielong", *line.split()] in [command for _, command in all_commands()]
    assert main(line.split()) == 0
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_python_of_the_documents_runs(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Blocks marked `py` need a trained model, and are compiled alone."""
    text = page.read_text(encoding="utf-8")
    for program in blocks(text, "python"):
        exec(compile(program, page.name, "exec"), {"__name__": "__main__"})
        assert capsys.readouterr().out.strip(), program
    for program in blocks(text, "py"):
        compile(program, page.name, "exec")


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs both make them of plain English."""
    headings = re.findall(r"^#+ (.*)$", prose(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*READMES, *PAGES], ids=name_of)
def test_every_link_and_file_of_the_documents_exists(page: Path) -> None:
    text = prose(page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.is_file(), f"{name_of(page)} links to {link}"
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), f"{name_of(page)} links to {link}"
    for path in re.findall(r"`((?:src|tests|docs|bench)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), f"{name_of(page)} names {path}"


def test_pages_link_within_the_site() -> None:
    """A link out of docs/ leads nowhere on the built site; such files are named in backticks."""
    for page in PAGES:
        assert not re.findall(r"\]\(\.\./[^)]*\)", page.read_text(encoding="utf-8")), name_of(page)


def test_every_page_is_in_the_menu_and_on_the_first_page() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    first = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in PAGES:
        assert f" {page.name}\n" in menu, page.name
        assert page.name in ("index.md", "plan.md") or f"]({page.name})" in first, page.name


def sentences(text: str) -> Iterator[str]:
    """The sentences of running text and of lists; tables, headings and code have none."""
    lines = prose(text).splitlines()
    kept = [
        "" if re.match(r"\s*(\||#|!\[|\[!\[|$)", line) else re.sub(r"^\s*(-|\d+\.) ", "\n\n", line) for line in lines
    ]
    for paragraph in re.split(r"\n\s*\n", "\n".join(kept)):
        yield from re.split(r"(?<=[.!?])[\"*)]*\s+", " ".join(paragraph.split()))


def too_long(text: str) -> list[str]:
    return [s for s in sentences(text) if len(re.sub(r"`[^`]*`", "code", s).split()) > LONGEST_SENTENCE]


def test_the_readmes_are_short() -> None:
    for readme in READMES:
        assert len(readme.read_text(encoding="utf-8").splitlines()) < LONGEST_README


@pytest.mark.parametrize("page", [READMES[0], *(p for p in PAGES if p.name not in FOR_DEVELOPERS)], ids=name_of)
def test_no_sentence_for_users_is_long(page: Path) -> None:
    assert too_long(page.read_text(encoding="utf-8")) == []


def texts_of_the_code() -> str:
    """All literal text of the package, a piece a line; an f-string is its pieces."""
    found = [
        node.value
        for path in (ROOT / "src" / "jielong").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return "\n".join(found)


def test_errors_are_quoted_as_the_code_says_them() -> None:
    code = texts_of_the_code()
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    messages: Sequence[str] = re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE)
    assert len(messages) >= 40
    pieces = {message: [p.strip() for p in message.split("…") if len(p.strip()) > 2] for message in messages}
    assert all(pieces.values())
    wrong = [(message, p) for message in messages for p in pieces[message] if p not in code]
    assert not wrong, f"docs/troubleshooting.md quotes what the code does not say: {wrong}"
