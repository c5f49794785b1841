"""The progress display, on a terminal and in a pipe."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from jielong.cli.display import Display


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def piped(**options) -> tuple[Display, io.StringIO, Clock]:
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, force_terminal=False, width=200)
    return Display(["pretrain", "sft"], console=console, clock=clock, **options), out, clock


def test_in_a_pipe_there_is_at_most_one_line_every_ten_seconds() -> None:
    display, out, clock = piped()
    with display:
        display.stage("pretrain")
        for step in range(1, 31):
            display.update(step, 30, 5.0 / step, 1000.0, 30.0 - step)
            clock.now_s += 1.0
    lines = out.getvalue().splitlines()
    assert lines == [
        "pretrain: begins",
        "pretrain: step 1 of 30, loss 5.0000, 1,000 tokens/s, 29.0 s left",
        "pretrain: step 11 of 30, loss 0.4545, 1,000 tokens/s, 19.0 s left",
        "pretrain: step 21 of 30, loss 0.2381, 1,000 tokens/s, 9.0 s left",
        "pretrain: done in 30.0 s, loss 0.1667",
    ]


def test_one_of_many_alike_leaves_a_line_and_no_row() -> None:
    display, out, _ = piped()
    with display:
        for trial in ("trial 0", "trial 1"):
            display.stage(trial)
            display.update(3, 3, 1.5)
            display.end(trial, "held_out_loss 1.5000")
        console = Console(file=io.StringIO(), width=120)
        console.print(display.panel())
    assert out.getvalue().splitlines() == [
        "trial 0: begins",
        "trial 0: step 3 of 3, loss 1.5000",
        "trial 0: held_out_loss 1.5000",
        "trial 1: begins",
        "trial 1: step 3 of 3, loss 1.5000",
        "trial 1: held_out_loss 1.5000",
    ]
    assert "trial" not in console.file.getvalue()


def test_a_new_stage_ends_the_one_before_and_a_skipped_one_says_why() -> None:
    display, out, clock = piped(title="quickstart")
    with display:
        display.skip("pretrain")
        display.stage("sft")
        clock.now_s += 75
        display.stage("evaluate")
    assert out.getvalue().splitlines() == [
        "quickstart: pretrain, sft",
        "pretrain: done before",
        "sft: begins",
        "sft: done in 1 min 15 s",
        "evaluate: begins",
        "evaluate: done in 0.0 s",
    ]


def test_an_interrupted_stage_is_shown_as_stopped_and_the_interrupt_goes_on() -> None:
    display, out, _ = piped()
    with pytest.raises(KeyboardInterrupt), display:
        display.stage("sft")
        raise KeyboardInterrupt
    assert "sft: stopped after" in out.getvalue()
    assert "done" not in out.getvalue()


def test_a_message_with_brackets_is_printed_as_it_is() -> None:
    display, out, _ = piped()
    with display:
        display.message("jielong run own --chat [FILE]")
    assert out.getvalue() == "jielong run own --chat [FILE]\n"


def test_on_a_terminal_the_panel_shows_every_stage_and_the_figures_of_the_running_one() -> None:
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, force_terminal=True, width=120, color_system=None, legacy_windows=False)
    with Display(["pretrain", "sft", "reward"], title="quickstart", console=console, clock=clock) as display:
        display.stage("pretrain")
        clock.now_s += 65
        display.stage("sft")
        display.update(20, 80, 0.731, 4321.0, 42.0)
        display.message("first line above")
        drawn = io.StringIO()
        Console(file=drawn, width=120).print(display.panel())
    panel = drawn.getvalue()
    for text in (
        "quickstart",
        "✓  pretrain",
        "1 min 05 s",
        "▸  sft",
        "20 / 80",
        "loss 0.731",
        "4,321 tok/s",
        "42.0 s left",
        "·  reward",
    ):
        assert text in panel
    assert "first line above" in out.getvalue()
