"""What lies on disk is complete, and seeds and fingerprints mean one thing."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jielong.errors import CheckpointError, ConfigError, ResourceError
from jielong.runs import (
    MemoryWatch,
    MetricsLog,
    Run,
    derive_seed,
    digest,
    lineage,
    open_run,
    read_json,
    read_metrics,
    tidy,
    write_directory,
    write_json,
)


def test_seeds_depend_on_every_name_and_stay_as_they_are():
    assert derive_seed(1, "sft", "order", 3) == derive_seed(1, "sft", "order", 3)
    seeds = {derive_seed(s, stage, i) for s in (0, 1) for stage in ("a", "b") for i in range(50)}
    assert len(seeds) == 200
    assert derive_seed(0, "ab", "c") != derive_seed(0, "a", "bc")
    # blake2b-64 of "0\x1fweb", little-endian, without its lowest bit: a changed rule would change every old run
    assert derive_seed(0, "web") == 4268091991928916315


def test_digest_ignores_the_order_of_keys_and_nothing_else():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest([1, 2]) != digest([2, 1])


def test_a_directory_is_whole_or_absent(tmp_path):
    def fill_half(path):
        (path / "a").write_text("x")
        raise RuntimeError("stopped in the middle")

    with pytest.raises(RuntimeError):
        write_directory(tmp_path / "made", fill_half)
    assert not (tmp_path / "made").exists()
    write_directory(tmp_path / "made", lambda p: (p / "a").write_text("old") and None)
    write_directory(tmp_path / "made", lambda p: (p / "b").write_text("new") and None)
    assert [p.name for p in (tmp_path / "made").iterdir()] == ["b"]


def test_json_survives_a_kill_while_it_is_written(tmp_path):
    """A process that rewrites one file for ever is killed; the file parses every time."""
    file = tmp_path / "state.json"
    script = (
        "import sys; from pathlib import Path; from jielong.runs import write_json\n"
        "n = 0\nwhile True:\n    n += 1\n    write_json(Path(sys.argv[1]), {'n': n, 'pad': 'x' * 20000})\n"
    )
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", script, str(file)], env=os.environ)
        while not file.exists():
            time.sleep(0.01)
        time.sleep(0.2)
        writer.kill()
        writer.wait()
        assert len(json.loads(file.read_text())["pad"]) == 20000


def test_damaged_and_missing_files_are_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        read_json(tmp_path / "none.json")
    (tmp_path / "cut.json").write_text('{"a": ')
    with pytest.raises(CheckpointError, match="is damaged"):
        read_json(tmp_path / "cut.json")


def test_metrics_after_the_resumed_step_are_cut_away(tmp_path):
    log = MetricsLog(tmp_path / "m.jsonl")
    for step in range(1, 6):
        log.write({"step": step})
    log.close()
    with (tmp_path / "m.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # a kill in the middle of a line
    MetricsLog(tmp_path / "m.jsonl", resume_step=3).close()
    assert [m["step"] for m in read_metrics(tmp_path / "m.jsonl")] == [1, 2, 3]


def test_a_stage_is_resumed_under_the_same_fingerprint_only(tmp_path):
    run = Run(tmp_path)
    run.begin_stage("sft", "one", {}, {})
    (run.stage_path("sft") / "half").write_text("work")
    run.begin_stage("sft", "one", {}, {})
    assert (run.stage_path("sft") / "half").exists()
    run.begin_stage("sft", "two", {}, {})
    assert not (run.stage_path("sft") / "half").exists()
    run.end_stage("sft", "two", {"steps": 3})
    assert run.is_done("sft", "two")
    assert not run.is_done("sft", "one")


def test_a_finished_result_is_set_aside_for_another_setting_and_taken_back(tmp_path):
    run = Run(tmp_path)

    def make(fingerprint, **summary):
        run.begin_stage("sft", fingerprint, {}, {})
        (run.stage_path("sft") / "weights").write_text(fingerprint)
        run.end_stage("sft", fingerprint, summary)

    def is_done(fingerprint):
        run.take_back("sft", fingerprint)
        return run.is_done("sft", fingerprint)

    make("one", steps=1)
    make("two", steps=2)
    assert not is_done("three")
    assert is_done("one")
    assert (run.stage_path("sft") / "weights").read_text() == "one"
    assert run.record["stages"]["sft"]["summary"] == {"steps": 1}
    assert is_done("two")
    assert (run.stage_path("sft") / "weights").read_text() == "two"
    # half-done work is not a result: it goes when another setting comes
    run.begin_stage("sft", "half", {}, {})
    assert is_done("one")
    assert is_done("two")
    # a report lies in the run's folder and is made anew
    make("with report", outputs=["report.json"])
    assert not is_done("with report")
    (tmp_path / "report.json").write_text("{}")
    assert is_done("with report")
    make("one", steps=1)
    assert not is_done("with report")


def test_two_processes_do_not_walk_the_same_run(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from jielong.runs import Run\n"
        "with Run(Path(sys.argv[1])).alone():\n    print('in', flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(ConfigError, match="is at work in another process"), Run(tmp_path).alone():
            raise AssertionError("two are in")
        other.kill()
    with Run(tmp_path).alone():  # what was killed has let go
        assert not (tmp_path / "run.json").exists()


def test_a_replacement_killed_between_its_two_renames_is_brought_back(tmp_path):
    """What stands on disk after `path.rename(old)`: the folder is gone, its old self and a new one lie aside."""
    write_directory(tmp_path / "model", lambda p: (p / "weights").write_text("old") and None)
    (tmp_path / "model").rename(tmp_path / ".model.123.old")
    (tmp_path / ".model.123.tmp").mkdir()
    (tmp_path / ".state.json.123.tmp").write_text("{")
    tidy(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "weights").read_text() == "old"


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    def fail(path):
        (path / "half").write_text("x")
        raise OSError("no luck")

    with pytest.raises(OSError, match="no luck"):
        write_directory(tmp_path / "made", fail)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named_whatever_a_library_calls_it(tmp_path, monkeypatch):
    def fail(path):
        raise RuntimeError("unexpected pos 64 vs 0")

    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("jielong.runs.shutil.disk_usage", lambda path: full)
    with pytest.raises(ResourceError, match="is full"):
        write_directory(tmp_path / "made", fail)


def test_a_stage_whose_result_is_gone_is_made_again(tmp_path):
    run = Run(tmp_path)
    run.begin_stage("sft", "one", {}, {})
    model = run.stage_path("sft") / "steps" / "000003" / "model"
    model.mkdir(parents=True)
    run.end_stage("sft", "one", {"checkpoint": "000003"})
    assert run.is_done("sft", "one")
    model.rmdir()
    assert not run.is_done("sft", "one")


@pytest.mark.parametrize("kill_at", range(6))
def test_a_kill_while_results_change_places_loses_none(tmp_path, monkeypatch, kill_at):
    """Killed before each rename, deletion and write in turn, the finished result is found again."""
    run = Run(tmp_path)
    for fingerprint in ("one", "two"):
        run.begin_stage("sft", fingerprint, {}, {})
        (run.stage_path("sft") / "weights").write_text(fingerprint)
        run.end_stage("sft", fingerprint, {})
    acts = itertools.count()

    def killed_in_turn(act):
        def wrapped(*args, **kwargs):
            if next(acts) == kill_at:
                raise KeyboardInterrupt
            return act(*args, **kwargs)

        return wrapped

    with monkeypatch.context() as patched:
        patched.setattr("jielong.runs.shutil.rmtree", killed_in_turn(shutil.rmtree))
        patched.setattr("jielong.runs.write_json", killed_in_turn(write_json))
        patched.setattr("pathlib.Path.rename", killed_in_turn(Path.rename))
        try:
            run.take_back("sft", "one")
            was_killed = False
        except KeyboardInterrupt:
            was_killed = True
    assert was_killed == (kill_at < 5)
    for fingerprint in ("two", "one"):
        run.take_back("sft", fingerprint)
        assert run.is_done("sft", fingerprint)
        assert (run.stage_path("sft") / "weights").read_text() == fingerprint


@pytest.mark.parametrize(
    "content", ["[]", '{"version": 1}', '{"version": 1, "stages": 3}', '{"version": 9, "stages": {}}']
)
def test_a_run_json_of_another_kind_is_one_sentence(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"run\.json"):
        lineage(open_run(tmp_path))


def test_lineage_names_parents_by_fingerprint(tmp_path):
    run = Run(tmp_path)
    run.update(recipe="quickstart", seed=4)
    run.begin_stage("pretrain", "aaaaaaaaaaaa", {}, {})
    run.end_stage("pretrain", "aaaaaaaaaaaa", {})
    run.begin_stage("sft", "bbbbbbbbbbbb", {}, {"pretrain": "aaaaaaaaaaaa"})
    lines = lineage(open_run(tmp_path)).splitlines()
    assert "seed 4" in lines[0]
    assert "done" in lines[1]
    assert "unfinished" in lines[2]
    assert "from pretrain aaaaaaaa" in lines[2]


def test_a_folder_that_is_no_run_is_refused_with_the_runs_beside_it(tmp_path):
    write_json(tmp_path / "quickstart-smoke-0" / "run.json", {"version": 1, "stages": {}})
    with pytest.raises(ConfigError, match="quickstart-smoke-0"):
        open_run(tmp_path / "quickstart-smoke-1")


def test_memory_of_children_is_counted():
    with MemoryWatch() as watch:
        child = "import time; x = bytearray(200_000_000); time.sleep(1.5)"
        subprocess.run([sys.executable, "-c", child], check=True)
    import psutil

    assert watch.peak_bytes > psutil.Process().memory_info().rss + 150_000_000


@pytest.mark.parametrize(
    "change",
    [
        {"rl": 3},
        {"rl": None},
        {"../x": {}},
        *({"rl": {"fingerprint": "a", "seconds": 1.0, "parents": parents}} for parents in (3, {"a": 1}, [])),
        {"rl": {"fingerprint": "a", "seconds": "x", "parents": {}}},
        {"rl": {"fingerprint": ["a"], "seconds": 1.0, "parents": {}}},
        *(
            {"rl": {"fingerprint": "a", "seconds": 1.0, "parents": {}, "done": "a", "summary": summary}}
            for summary in (3, {"checkpoint": 3}, {"checkpoint": "../../x"}, {"outputs": "x"}, {"outputs": [3]})
        ),
    ],
)
def test_a_stage_of_another_shape_in_run_json_is_told_in_a_sentence(tmp_path, change):
    write_json(tmp_path / "run.json", {"version": 1, "stages": change})
    with pytest.raises(CheckpointError, match=r"run\.json"):
        assert Run(tmp_path).record


def test_json_of_ours_is_held_to_limits_and_may_hold_what_is_no_number(tmp_path):
    file = tmp_path / "x.json"
    for body in (b"[" * 100_000, b"9" * 5000, b"\xff", b'{"a": 1, "a": 2}'):
        file.write_bytes(body)
        with pytest.raises(CheckpointError, match="is damaged"):
            read_json(file)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_json(tmp_path)
    write_json(file, {"loss": float("nan")})
    assert str(read_json(file)["loss"]) == "nan"


@pytest.mark.parametrize("line", [b"3", b"[]", b'{"step": "x"}', b'{"step": 2, "lo', b"\xff\xfe", b'{"step": 1e400}'])
def test_a_damaged_line_of_metrics_is_told_and_one_that_was_cut_short_is_passed_over(tmp_path, line):
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl:2 is damaged"):
        read_metrics(file)
    file.write_bytes(b'{"step": 1}\n' + line)
    assert read_metrics(file) == [{"step": 1}]
