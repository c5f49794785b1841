"""The text of a PDF is what a reader sees: cells apart, columns one after the other, turned text in its order."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.test_locations import draw_pdf, write_pdf

from jielong.data.pdf import pdf_pages
from jielong.data.refine import refine
from jielong.data.sources import read_pages
from jielong.errors import DataError
from jielong.use.retrieval.library import Library

LEFT = [
    "The river Glomma rises near",
    "Aursund and flows south for",
    "six hundred kilometres until",
    "it reaches the sea.",
]
RIGHT = [
    "Bees in the upper valley make",
    "a dark honey from heather.",
    "It is sold in jars of one",
    "pound at the market.",
]


def at(x: float, y: float, text: str, turn: str = "1 0 0 1") -> str:
    return f"BT /F1 12 Tf {turn} {x} {y} Tm ({text}) Tj ET\n"


def read(drawn: str, turned: int = 0) -> str:
    return pdf_pages(draw_pdf([drawn], turned))[0]


def test_the_cells_of_a_table_stay_apart() -> None:
    rows = [("Tea", "Degrees", "Minutes"), ("Green", "75", "2"), ("Black", "95", "4")]
    drawn = "".join(at(50 + 100 * k, 700 - 20 * r, cell) for r, row in enumerate(rows) for k, cell in enumerate(row))
    assert read(drawn) == "Tea Degrees Minutes\nGreen 75 2\nBlack 95 4"


def test_columns_that_were_drawn_across_are_read_one_after_the_other() -> None:
    head = at(50, 760, "Two things of the valley that all should know about")
    across = "".join(
        at(50, 700 - 16 * r, a) + at(320, 700 - 16 * r, b) for r, (a, b) in enumerate(zip(LEFT, RIGHT, strict=True))
    )
    more = at(50, 700 - 16 * 4, "Salmon climb it.")
    assert read(head + across + more).split("\n") == [
        "Two things of the valley that all should know about",
        *LEFT,
        "Salmon climb it.",
        *RIGHT,
    ]


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
def test_a_turned_page_is_read_from_its_top(turned: int) -> None:
    assert read("".join(at(50, 700 - 16 * r, line) for r, line in enumerate(LEFT)), turned).split("\n") == LEFT


@pytest.mark.parametrize(
    ("turn", "step"),
    [("0 1 -1 0", (16, 0)), ("0 -1 1 0", (-16, 0)), ("-1 0 0 -1", (0, 16)), ("0.8 0.6 -0.6 0.8", (9.6, -12.8))],
)
def test_turned_text_keeps_its_lines(turn: str, step: tuple[float, float]) -> None:
    drawn = "".join(at(300 + step[0] * r, 400 + step[1] * r, line, turn) for r, line in enumerate(LEFT))
    assert read(drawn).split("\n") == LEFT


def test_a_raised_figure_stays_in_its_line() -> None:
    raised = "BT /F1 10 Tf 50 700 Td (A claim) Tj 5 Ts /F1 6 Tf (12) Tj 0 Ts /F1 10 Tf ( goes on.) Tj ET\n"
    assert read(raised + at(50, 688, "And a line below it.")) == "A claim12 goes on.\nAnd a line below it."


def test_a_hyphen_goes_where_the_word_has_none() -> None:
    lines = [
        "The environ-",
        "mental report is state-of-",
        "the-art and well-",
        "known. A twenty-one, a twenty-",
        "one.",
    ]
    drawn = "".join(at(50, 700 - 16 * r, line) for r, line in enumerate(lines))
    assert " ".join(read(drawn).split()) == (
        "The environmental report is state-of-the-art and well-known. A twenty-one, a twenty-one."
    )


def test_pages_without_text_are_counted(tmp_path: Path) -> None:
    said = "The heron stands in the shallow water of the lake and waits until a fish comes near enough. " * 4
    (tmp_path / "scan.pdf").write_bytes(write_pdf([said, "", ""]))
    library = Library(tmp_path / "library.db")
    added = library.add([tmp_path / "scan.pdf"])
    assert (added.read, added.problems) == (1, [])
    assert added.remarks[0].endswith("scan.pdf: 2 of 3 pages hold no text; perhaps they were scanned")
    library.close()
    report = refine(read_pages(tmp_path))[1]
    assert report.num_empty_pdf_pages == 2
    assert "2 pages of PDF files hold no text" in str(report)


def test_what_is_no_pdf_says_what_it_is() -> None:
    with pytest.raises(DataError, match=r"it is no PDF; it begins with b'<html>"):
        pdf_pages(b"<html><body>Login required</body></html>")
    with pytest.raises(DataError, match="it is empty"):
        pdf_pages(b"")
    assert pdf_pages(b"HTTP/1.1 200 OK\r\n\r\n" + write_pdf(["hello"])) == ["hello"]
