"""The report: figures in, a table, a JSON file and one page that stands by itself."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from jielong.errors import CheckpointError, ConfigError
from jielong.report.html import write_report
from jielong.report.measures import MEASURES
from jielong.report.plots import Series, number, plot, running_mean, ticks
from jielong.report.report import ReportData, print_table, read_report, report_json
from jielong.report.words import LANGUAGES, WORDS, Words, duration, size
from jielong.runs import write_json
from jielong.stages.exam import measures
from jielong.stages.lessons import exam_items

DATA = ReportData(
    stages={
        "base": {"unseen_accuracy_en": 0.05, "invention_rate": 1.0, "bits_per_byte": 0.9},
        "sft": {"unseen_accuracy_en": 0.9, "invention_rate": 0.4, "bits_per_byte": 1.1, "win_rate_over_previous": 0.8},
        "rl": {
            "unseen_accuracy_en": 0.9,
            "invention_rate": 0.1,
            "bits_per_byte": math.nan,
            "win_rate_over_previous": 0.6,
        },
    },
    controls={"random_init": {"unseen_accuracy_en": 0.12}, "majority_baseline": 0.1},
    samples=[
        {
            "question": "What is <b>the capital</b> of Peru?",
            "reference": "Lima",
            "answers": {
                "base": {"text": "</div><script>alert(1)</script>", "score": -1.0},
                "sft": {"text": "利马", "score": 1.0},
                "rl": {"text": "", "score": None},
            },
        }
    ],
    curves={
        "pretrain": [
            {"step": s, "loss": 8.0 / s, **({"held_out_loss": 9.0 / s} if s % 5 == 0 else {})} for s in range(1, 51)
        ],
        "ppo": [{"step": s, "loss": 0.0, "score": 0.1 * s, "kl": 0.2 * s} for s in range(1, 11)],
    },
    refine={"num_pages": 90, "num_texts": 100, "num_documents": 60, "dropped": {"spam": 30, "too_short": 10}},
    facts={
        "recipe": "quickstart smoke, seed 0",
        "gains": {"rl over sft": {"mean": 0.2, "low": 0.1, "high": 0.3, "excludes_zero": True}},
        "seconds": 75.0,
        "peak_memory_bytes": 1_500_000_000,
        "seconds_by_stage": {"pretrain": 60.0, "ppo": 15.0},
        "machine": {"threads": 2, "compile": False},
    },
    warnings=[
        "sft: overfitting: held_out_loss turned up from 1.0000 at step 5 to 2.0000 at step 9; "
        "the checkpoint of step 5 is kept as the result"
    ],
)


class Page(HTMLParser):
    """All tags with their attributes, all text, and whether every tag was closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def page(tmp_path: Path) -> Page:
    write_report(tmp_path / "report.html", DATA)
    return Page((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_the_page_is_well_formed_and_fetches_nothing(page: Page) -> None:
    assert not page.open
    names = {tag for tag, _ in page.tags}
    assert {"table", "svg", "article", "aside"} <= names
    assert not names & {"script", "link", "img", "iframe", "object"}
    for _, attributes in page.tags:
        assert not {"src", "href"} & set(attributes)
    style = "".join(page.words)
    assert "url(" not in style and "@import" not in style


def test_what_a_model_wrote_stays_text_on_the_page(page: Page) -> None:
    text = "".join(page.words)
    assert "</div><script>alert(1)</script>" in text
    assert "What is <b>the capital</b> of Peru?" in text
    assert "利马" in text


def test_every_answer_carries_its_verdict(page: Page) -> None:
    answers = [a["class"] for tag, a in page.tags if tag == "div" and (a.get("class") or "").startswith("answer ")]
    assert answers == ["answer wrong", "answer right", "answer "]


def test_the_best_stages_of_a_row_are_marked_and_controls_never_are(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", DATA)
    rows = re.findall(
        r"<tr><th scope=\"row\">(.*?) <span.*?</th>(.*?)</tr>", (tmp_path / "report.html").read_text("utf-8")
    )
    best = {name: re.findall(r'<td class="best">(.*?)</td>', cells) for name, cells in rows}
    assert best["Unseen countries, English"] == ["90.0%", "90.0%"]  # shared by sft and rl
    assert best["Inventions"] == ["10.0%"]  # less is better
    assert best["Bits per byte"] == ["0.900"]  # a figure that is not finite cannot be the best
    assert best["Wins over the stage before"] == []  # no stage competes with another here


def test_there_is_a_plot_for_every_loss_and_one_of_reward_against_kl(page: Page) -> None:
    text = " ".join(page.words)
    for title in ("base (pretrain): loss", "ppo: loss", "ppo: reward", "ppo: reward against KL"):
        assert title in text
    dots = [a for tag, a in page.tags if tag == "circle" and "fill-opacity" in a]
    assert len(dots) == 10  # one for each logged step of ppo


def test_an_empty_run_still_gives_a_page(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", ReportData(stages={}))
    assert "Jielong" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_report_json_opens_with_the_agreed_keys_and_is_strict_json() -> None:
    data = report_json(DATA)
    assert list(data)[:4] == ["stages", "controls", "seconds", "peak_memory_bytes"]
    assert data["stages"]["rl"]["bits_per_byte"] is None
    assert data["controls"] == {"random_init": {"unseen_accuracy_en": 0.12}, "majority_baseline": 0.1}
    assert (data["seconds"], data["peak_memory_bytes"]) == (75.0, 1_500_000_000)
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_a_report_read_back_shows_the_same_table(tmp_path: Path) -> None:
    write_json(tmp_path / "report.json", report_json(DATA))
    tables = []
    for data in (DATA, read_report(tmp_path / "report.json")):
        out = io.StringIO()
        print_table(data, Console(file=out, width=160))
        tables.append(out.getvalue())
    assert tables[0] == tables[1]
    write_json(tmp_path / "report.json", {"stages": {}})
    with pytest.raises(CheckpointError, match="not a report of this version"):
        read_report(tmp_path / "report.json")


def test_the_gain_of_a_stage_is_told_with_its_interval(page: Page) -> None:
    assert "reinforced (rl) over tuned (sft): +0.200 points, 95% interval +0.100 to +0.300" in "".join(page.words)


def test_the_terminal_table_shows_every_measure_once_and_the_warnings() -> None:
    out = io.StringIO()
    data = dataclasses.replace(DATA, stages={"sft": {m.key: 0.5 for m in MEASURES} | {"own_measure": 7.0}})
    print_table(data, Console(file=out, width=160))
    text = out.getvalue()
    for measure in MEASURES:
        assert text.count(measure.name()) == 1
    assert "own measure" in text and "7.000" in text
    assert "frequent" in text and "10.0%" in text
    assert "tuned (sft): overfitting: the held-out loss turned up from 1.0000 at step 5" in text


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0.0, 10.0) == [0, 2, 4, 6, 8, 10]
    assert ticks(-0.13, 0.13) == [-0.1, 0.0, 0.1]
    assert ticks(3.0, 3.0) == [3.0]


def test_a_running_mean_leaves_a_straight_line_as_it_is() -> None:
    line = [(float(x), 2.0 * x + 1.0) for x in range(20)]
    assert [y for _, y in running_mean(line, 3)] == pytest.approx([y for _, y in line])


def test_a_plot_keeps_its_points_inside_the_box_and_leaves_out_what_is_not_finite() -> None:
    svg = plot([Series("a", [(0, 1e6), (1, -3.0), (2, math.nan), (3, 5.0)])], x_label="x", y_label="y")
    places = [(float(x), float(y)) for x, y in re.findall(r'cx="(.*?)" cy="(.*?)"', svg)]
    assert len(places) == 3
    assert all(0 <= x <= 560 and 0 <= y <= 300 for x, y in places)
    assert plot([Series("a", [])], x_label="x", y_label="y") == ""
    assert plot([Series("one point", [(5, 5)])], x_label="x", y_label="y").count("<circle") == 1


def test_numbers_times_and_sizes_read_as_a_person_writes_them() -> None:
    assert [number(v) for v in (0, 1200, 2.0, 0.0312, -1.5)] == ["0", "1,200", "2", "0.031", "-1.5"]
    assert [duration(s) for s in (9.96, 75, 119.7, 3700)] == ["10.0 s", "1 min 15 s", "2 min 00 s", "1 h 01 min"]
    assert [size(b) for b in (10, 2_100_000_000)] == ["10 bytes", "2.1 GB"]


def test_every_figure_of_the_exam_has_a_meaning_and_a_better_way():
    parts = exam_items(0, limit=2)
    found = measures(parts, {name: ["I don't know."] * len(items) for name, items in parts.items()}, is_bare=False)
    known = {m.key: m for m in MEASURES}
    assert {"format_accuracy", "over_refusal_rate"} <= found.keys() <= known.keys()
    assert all(known[key].meaning() and known[key].better and known[key].unit == "share" for key in found)


# Words -----------------------------------------------------------------------------------------------------------


def test_every_word_of_the_report_stands_in_both_languages_with_the_same_places():
    for key, texts in WORDS.items():
        assert len(texts) == len(LANGUAGES) and all(texts), key
        places = [sorted(re.findall(r"{(\w+)", text)) for text in texts]
        assert places[0] == places[1], key


def test_every_measure_and_stage_of_the_report_has_a_name_in_both_languages():
    for language in LANGUAGES:
        words = Words(language)
        for measure in MEASURES:
            assert measure.name(words) != measure.key.replace("_", " ") and measure.meaning(words), measure.key
        for stage in ("base", "sft", "rl", "random_init", "majority_baseline", "web", "judgements", "evaluate"):
            assert words.stage(stage) not in (stage, stage.replace("_", " ")) or stage == "tokenizer"
    with pytest.raises(ConfigError, match="no language 'de'"):
        Words("de")


def test_a_chinese_page_holds_no_english_sentence(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", DATA, Words("zh"))
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert ("html", {"lang": "zh"}) in page.tags
    words = [text for text in page.words if "{" not in text and "alert" not in text and "capital" not in text]
    ours = ("quickstart", "smoke", "Jielong", "pretrain", "float", "torch", "compile", "alert", "min-width")
    english = {word for text in words for word in re.findall(r"[A-Za-z]{4,}", text) if word not in ours}
    assert english <= {"spam", "Lima", "machine"}  # names and an answer that only the data know
    out = io.StringIO()
    print_table(DATA, Console(file=out, width=80), Words("zh"))
    assert "编造" in out.getvalue() and "1 分 15 秒" in "".join(page.words)


def test_the_page_shows_names_of_stages_and_units_and_no_names_of_fields(page: Page) -> None:
    text = "\n".join(word for word in page.words if "{" not in word)
    assert "random_init" not in text and "held_out_loss" not in text
    for shown in ("random weights", "Gold score", "a scale from −1 to 1", "loss, nats a token", "60 texts", "1.5 GB"):
        assert shown in text
