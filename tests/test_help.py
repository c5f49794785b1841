"""Help that a person reads: options in groups, an example that works as written, no line too wide."""

from __future__ import annotations

import shlex

import pytest

from jielong.cli.main import build_parser, main

GROUPS = {
    "ask": ("what is asked", "strategy", "tools and documents", "sampling", "limits", "output"),
    "evaluate": ("what is measured", "tools and documents", "sampling", "how answers are marked", "output"),
    "tune": ("what is searched", "trials", "the run"),
    "spell": ("what is asked", "search", "limits", "output"),
    "act": ("who acts", "goals and homes", "limits", "output"),
}


@pytest.mark.parametrize("command", GROUPS)
def test_options_come_in_groups_with_an_example_that_works(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([command, "--help"])
    said = capsys.readouterr().out
    places = [said.index(f"\n{group}:\n") for group in GROUPS[command]]
    assert places == sorted(places) and max(map(len, said.splitlines())) <= 80
    options, groups = said.partition("\noptions:\n")[2].partition(f"\n{GROUPS[command][0]}:\n")[::2]
    assert options.split() == "-h, --help show this help message and exit".split() and "  --" in groups
    (example,) = [line for line in said.splitlines() if line.startswith("example: ")]
    build_parser().parse_args(shlex.split(example)[2:])
