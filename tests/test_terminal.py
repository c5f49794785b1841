"""Nothing that others wrote is obeyed by a terminal."""

from __future__ import annotations

import io

import pytest
from bench.faults import terminals

from jielong.cli.display import Display
from jielong.report.consoles import console
from jielong.report.terminal import PlainStream, plain, plain_streams


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
