"""The overview fits a terminal, names every command, and every command's help begins with an example that parses."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

from jielong.cli.main import MODULES, build_parser, main
from jielong.cli.overview import EXAMPLES, GROUPS, overview

COMMANDS = [command for its in MODULES.values() for command in its]


def test_the_overview_fits_a_terminal_and_names_every_command_once():
    lines = overview().splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    assert sorted(name for group in GROUPS.values() for name in group) == sorted(COMMANDS)
    assert all(f" {name} " in overview() for name in COMMANDS), "a meaning leaves a space before the next column"


def test_jielong_alone_shows_its_commands(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert capsys.readouterr().out == overview()
    assert main([]) == 2 and capsys.readouterr().err == overview()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_begins_with_an_example_that_parses(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert capsys.readouterr().out.startswith(f"example: {EXAMPLES[command]}\n")
    words = shlex.split(EXAMPLES[command])
    assert words[:2] == ["jielong", command]
    assert build_parser(command).parse_args(words[1:]).command


def test_bash_completes_commands_and_options():
    script = subprocess.run(
        [sys.executable, "-m", "jielong.cli.main", "completion", "bash"], capture_output=True, text=True, check=True
    ).stdout
    asked = """
COMP_WORDS=(jielong ada); COMP_CWORD=1; _shtab_jielong; echo "${COMPREPLY[@]}"
COMP_WORDS=(jielong adapt --pref); COMP_CWORD=2; _shtab_jielong; echo "${COMPREPLY[@]}"
"""
    told = subprocess.run(["bash", "-c", script + asked], capture_output=True, text=True, check=True).stdout
    assert [line.strip() for line in told.splitlines()] == ["adapt", "--preferences"]
