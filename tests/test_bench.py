"""The measuring itself: ratios and verdicts, taking turns, and a tiny run of ours without any peer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench import book, needle
from bench.contest import Contestant, Result, Wanted, ratio, rounds, table
from bench.environments import OURS, Unavailable
from bench.run import main, write_section
from bench.training import QUICK, _crossing

from jielong.model import hf
from jielong.model.transformer import fresh_language_model


def row_of(result: Result, who: str) -> list[str]:
    """The cells of one contestant's line in the table."""
    (line,) = [line for line in table([result]).splitlines() if line.startswith(f"| {result.measure} | {who} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_ratio_is_the_median_over_rounds_and_not_of_the_medians() -> None:
    # one slow round meets both: 10/5, 2/1, 30/10 = 2, 2, 3; of the medians it would be 10/5 = 2 too, so add 8/2 and 9/3
    assert ratio([10, 2, 30], [5, 1, 10]) == 2
    assert ratio([10, 2, 30, 8, 9], [5, 1, 10, 2, 3]) == 3


def test_rounds_let_contestants_take_turns() -> None:
    asked: list[str] = []

    def ask(name: str) -> float:
        asked.append(name)
        return float(len(asked))

    assert rounds({"ours": lambda: ask("ours"), "peer": lambda: ask("peer")}, 2, []) == {"ours": [1, 3], "peer": [2, 4]}
    assert asked == ["ours", "peer", "ours", "peer"]


def test_a_peer_that_fails_is_left_out_and_the_others_go_on() -> None:
    def fail() -> float:
        raise Unavailable("it fell over")

    lost: list[str] = []
    assert rounds({"jielong": lambda: 1.0, "peer": fail}, 2, lost) == {"jielong": [1.0, 1.0]}
    assert lost == ["peer: it fell over"]
    with pytest.raises(Unavailable, match="fell over"):
        rounds({"jielong": fail}, 1, lost)


def test_the_table_says_who_is_better_by_how_much_and_whether_that_was_wanted() -> None:
    samples = {"jielong": [3000.0, 3200.0, 3100.0], "peer": [1000.0, 1000.0, 1000.0]}
    result = Result("speed", "tokens/s", samples, [Wanted("jielong", "peer", 3.0)])
    assert row_of(result, "jielong")[2:4] == ["3,100 tokens/s", "3,000 to 3,200"]
    assert row_of(result, "peer")[5:] == ["3.10x (jielong)", "3x", "yes"]


def test_seconds_are_better_when_they_are_fewer() -> None:
    result = Result(
        "start", "s", {"jielong": [0.5], "peer": [2.0]}, [Wanted("jielong", "peer", 5.0)], lower_is_better=True
    )
    assert row_of(result, "peer")[5:] == ["4.00x (jielong)", "5x", "no"]


def test_a_fast_contestant_that_is_wrong_does_not_win() -> None:
    samples = {"jielong": [9.0], "peer": [1.0]}
    result = Result("speed", "x", samples, [Wanted("jielong", "peer", 2.0)], checks=[("the losses differ", False)])
    assert row_of(result, "peer")[-1] == "no"
    assert "WRONG: the losses differ" in table([result])


def test_a_peer_that_is_not_there_is_not_compared() -> None:
    result = Result("speed", "x", {"jielong": [9.0]}, [Wanted("jielong", "peer", 2.0)])
    assert result.against(result.wanted[0]) is None
    assert "2x" not in table([result])


def test_a_target_between_two_checks_is_reached_on_the_line_between_them() -> None:
    # from 6 at 10 s to 4 at 20 s: 5 at 15 s
    assert _crossing([(0.0, 8.0), (10.0, 6.0), (20.0, 4.0)], 5.0) == 15.0
    assert _crossing([(0.0, 8.0), (10.0, 6.0)], 5.0) is None
    assert _crossing([(0.0, 4.0), (10.0, 3.0)], 5.0) == 10.0


def test_measuring_one_thing_again_replaces_its_section_alone(tmp_path: Path) -> None:
    file = tmp_path / "RESULTS.md"
    for name, body in [("training", "old"), ("start", "half a second"), ("training", "new")]:
        write_section(file, name, body)
    text = file.read_text(encoding="utf-8")
    assert "old" not in text
    assert text.index("## start\n\nhalf a second") < text.index("## training\n\nnew")
    assert text.count("## ") == 2


def test_a_contestant_that_dies_is_unavailable_and_its_last_words_are_kept(tmp_path: Path) -> None:
    job = {"model": str(tmp_path / "nowhere"), "threads": 1, "dtype": "float32", "clock": "wall"}
    with pytest.raises(Unavailable, match=r"jielong_generate ended early: .*no checkpoint in .*nowhere"):
        Contestant("jielong_generate", job, OURS, tmp_path)


def test_a_contestant_that_ended_is_unavailable_however_often_it_is_asked(tmp_path: Path) -> None:
    model = fresh_language_model(QUICK.shape, seed=0)
    hf.save(model, tmp_path, eos_token_id=0, pad_token_id=1)
    job = {"model": str(tmp_path), "threads": 1, "dtype": "float32", "clock": "wall", "context": 64, "gguf": ""}
    with Contestant("jielong_generate", job, OURS, tmp_path) as contestant:
        contestant.close()
        for _ in range(2):
            with pytest.raises(Unavailable, match="ended early"):
                contestant.ask("write", prompts=[[1]], tokens=1)


def test_needles_lie_where_they_are_said_to_and_only_answers_are_trained() -> None:
    depths, order = [0.0, 0.7, 0.3, 1.0], [2, 3, 1, 0, 2]
    row = needle.haystack(400, depths, order, np.random.default_rng(0))
    words = [needle.WORDS[i] for i in row.ids]
    # the names in "Once more , the secret number of NAME: 4 8 2 ."
    asked = [i + 7 for i, word in enumerate(words) if word == "Once"]
    names = [words[place] for place in asked]
    room = asked[0] - 7 - 4 * 9  # words before the first question, without four needles of nine words
    assert len(words) == 400 and len(set(names)) == 4
    for place, name, which in zip(asked, names, order, strict=True):
        stated = words.index(name)
        assert words[stated + 1 : stated + 4] == words[place + 1 : place + 4]
        before = sum(words.index(other) < stated for other in set(names))
        assert abs((stated - 4 - 9 * before) - depths[which] * room) <= 1
    assert [i for i, trained in enumerate(row.trained) if trained] == [p + i for p in asked for i in (1, 2, 3)]


def test_a_quick_search_for_needles_runs_and_goes_on_where_it_stopped(tmp_path: Path, capsys) -> None:
    assert needle.main(["--quick", "--threads", "1", "--folder", str(tmp_path)]) == 0
    first = capsys.readouterr().out
    assert "| depth | 96 | 192 as it is | 192 YaRN | 192 YaRN, 2 steps | 384 as it is |" in first
    assert "2 of 2 steps" in first
    assert needle.main(["--quick", "--threads", "1", "--folder", str(tmp_path)]) == 0
    again = capsys.readouterr().out
    assert "steps, loss" not in again, "all was learned already"
    assert first.split("\n\n")[-1] == again.split("\n\n")[-1]


def test_a_quick_run_of_ours_measures_checks_and_writes_results(tmp_path: Path) -> None:
    file = tmp_path / "RESULTS.md"
    options = [
        "--quick",
        "--against",
        "none",
        "--threads",
        "1",
        "--rounds",
        "1",
        "--batch",
        "2",
        "--results",
        str(file),
    ]
    assert main([*options, "--only", "training,decoding"]) == 0
    text = file.read_text(encoding="utf-8")
    for measured in ("| training tiny | jielong AdamW |", "| training tiny | jielong Muon |", "| decoding batch 2,"):
        assert measured in text
    assert "WRONG" not in text
    assert "jielong wrote the most likely token" in text


def test_reading_a_long_prompt_is_measured(capsys) -> None:
    assert book.main(["--tokens", "700", "--write", "3"]) == 0
    said = capsys.readouterr().out
    assert "700 tokens of prompt" in said
    # 4 layers, 2 heads of 64, 703 positions: 1.4 MiB in bfloat16, twice that in float32
    assert said.endswith(("keys and values are 1\n", "keys and values are 3\n"))
