"""Nothing that others wrote is obeyed by a terminal."""

from __future__ import annotations

import io

import pytest
from bench.faults import terminals

from jielong.cli.display import Display
from jielong.report.consoles import console
from jielong.report.terminal import PlainStream, plain, plain_streams
from jielong.report.text import shorten_names


@pytest.mark.parametrize("attack", terminals.ATTACKS.values(), ids=list(terminals.ATTACKS))
def test_no_sign_is_left_that_a_terminal_obeys_whole_or_in_pieces(attack):
    assert not terminals.FORBIDDEN.search(plain(attack))
    assert "".join(map(plain, attack)) == plain(attack)


def test_plain_text_stays_as_it_is():
    text = "Zürich\t接龙 — “quoted”, 😀 e\u0301 a\u200db\nשלום مرحبا\n"
    assert plain(text) == text
    assert plain("two\r\nlines") == "two\nlines"
    assert plain("a\x1b[31mb\x9b\u202e") == "a\u241b[31mb\\x9b"


def test_a_table_and_a_panel_keep_the_colours_of_rich_and_nothing_else(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", PlainStream(out))
    made = console()
    made._force_terminal = True
    with Display([f"stage {terminals.HOSTILE}"], title=terminals.HOSTILE, console=made) as display:
        display.stage(f"stage {terminals.HOSTILE}")
        display.update(1, 2, 0.5, 10.0, 3.0, note=terminals.HOSTILE)
        display.message(terminals.HOSTILE)
    assert "\x1b[" in out.getvalue()
    assert not terminals.FORBIDDEN.search(terminals.RICH.sub("", out.getvalue()))


def test_streams_are_put_back(capsys):
    import sys

    before = sys.stdout
    with plain_streams():
        print("\x1b[31m")
    assert sys.stdout is before
    assert capsys.readouterr().out == "\u241b[31m\n"


def test_all_commands_and_ways_to_the_terminal_are_clean(tmp_path):
    assert all(row.ok for row in terminals.rows(0, short=True, folder=tmp_path))


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["runs/own-a-default-0 direct", "runs/own-b-default-0 direct"], ["own-a-default-0", "own-b-default-0"]),
        (["runs/own-my-alpha-5a1c-default-0", "runs/own-my-beta-5a1c-default-0"], ["alpha", "beta"]),
        (["http://here:8080/v1#q-0.5b direct", "http://here:8080/v1#q-1.5b direct"], ["q-0.5b", "q-1.5b"]),
        (["/models/of/mine/a direct", "/models/of/mine/a vote:9"], ["direct", "vote:9"]),
        (["/models/of/mine/here/a", "/models/of/mine/here/a/"], ["/models/of/mine/here/a", "/models/of/mine/here/a/"]),
        (["a", "b"], ["a", "b"]),
        (["a-name-that-is-alone-and-long"], ["a-name-that-is-alone-and-long"]),
    ],
)
def test_long_names_are_told_by_the_parts_that_differ(names: list[str], short: list[str]) -> None:
    assert shorten_names(names, 20) == short
