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

from jielong.cli.main import main
from jielong.errors import CheckpointError, ConfigError, ResourceError
from jielong.runs import (
    MemoryWatch,
    MetricsLog,
    Run,
    derive_seed,
    describe_damage,
    digest,
    find_model,
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
    monkeypatch.setattr("shutil.disk_usage", lambda path: full)
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
        patched.setattr("shutil.rmtree", killed_in_turn(shutil.rmtree))
        for module in ("run", "records"):
            patched.setattr(f"jielong.runs.{module}.write_json", killed_in_turn(write_json))
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
        lineage(open_run(tmp_path), no_settings)


def no_settings(run: Run, name: str, entry: object) -> str:
    return ""


def test_lineage_names_parents_by_fingerprint(tmp_path):
    run = Run(tmp_path)
    run.update(recipe="quickstart", seed=4)
    run.begin_stage("pretrain", "aaaaaaaaaaaa", {}, {})
    run.end_stage("pretrain", "aaaaaaaaaaaa", {})
    run.begin_stage("sft", "bbbbbbbbbbbb", {}, {"pretrain": "aaaaaaaaaaaa"})
    lines = lineage(open_run(tmp_path), no_settings).splitlines()
    assert "seed 4" in lines[0]
    assert lines[1].endswith(" s  aaaaaaaa from nothing before it")
    assert "unfinished" in lines[2]
    assert lines[2].endswith("bbbbbbbb from pretrain aaaaaaaa")
    told = lineage(open_run(tmp_path), lambda run, name, entry: f"settings of {name}, " * 5, 60).splitlines()
    assert max(map(len, told)) <= 60 and "settings of pretrain" in told[1]
    assert told.index(" " * 26 + "aaaaaaaa from nothing before it") > 2


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


# What a run remembers, and what has become of it ----------------------------------------------------------------------


def finished(path: Path, *stages: str) -> Run:
    """A run in which these stages have ended, each with a file of its own and the one before as its parent."""
    run = Run(path)
    run.begin({"recipe": "own", "size": "smoke", "seed": 3, "model": stages[-1]}, stages, {"device": "cpu"})
    for before, stage in itertools.pairwise(["", *stages]):
        run.begin_stage(stage, f"mark of {stage}", {"name": stage}, {before: f"mark of {before}"} if before else {})
        (run.stage_path(stage) / "made").write_text(f"by {stage}" * 100)
        run.end_stage(stage, f"mark of {stage}", {"holds": "documents"})
    return run


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


@pytest.mark.parametrize(
    "harm", [Path.unlink, flip, lambda file: file.write_text("{"), lambda file: file.write_text("")]
)
def test_a_lost_run_json_is_made_anew_and_nothing_finished_is_removed(tmp_path, harm):
    run = finished(tmp_path, "web", "sft")
    before = run.record
    harm(tmp_path / "run.json")
    assert {**run.record, "stages": before["stages"]} == run.record
    notes = run.begin({"recipe": "own", "size": "smoke", "seed": 3, "model": "sft"}, ["web", "sft"], {"device": "cpu"})
    assert any("made anew from the records of web, sft" in note for note in notes)
    for stage in ("web", "sft"):
        assert run.is_done(stage, f"mark of {stage}")
        assert (tmp_path / stage / "made").exists()
    assert json.loads((tmp_path / "run.json").read_text())["stages"].keys() == {"web", "sft"}


@pytest.mark.parametrize("harm", [Path.unlink, flip, lambda file: (file.unlink(), file.mkdir())])
def test_a_lost_record_of_a_stage_is_made_anew_from_run_json(tmp_path, harm):
    run = finished(tmp_path, "web", "sft")
    before = (tmp_path / "sft" / "record.json").read_text()
    harm(tmp_path / "sft" / "record.json")
    run.begin({"recipe": "own", "size": "smoke", "seed": 3, "model": "sft"}, ["web", "sft"], {"device": "cpu"})
    assert (tmp_path / "sft" / "record.json").read_text() == before
    assert run.is_done("sft", "mark of sft")


def test_a_folder_that_nothing_is_known_of_is_kept_when_its_stage_begins(tmp_path):
    finished(tmp_path, "web")
    (tmp_path / "run.json").unlink()
    (tmp_path / "web" / "record.json").unlink()
    run = Run(tmp_path)
    run.begin_stage("web", "another mark", {}, {})
    assert (tmp_path / "before" / "web-unknown" / "made").read_text() == "by web" * 100
    run.begin_stage("web", "a third", {}, {})  # half-done work of its own goes
    assert [path.name for path in (tmp_path / "before").iterdir()] == ["web-unknown"]


def test_a_damaged_run_json_of_before_there_were_records_names_the_smallest_thing_to_do(tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "run.json").write_text('{"version": 1, "stages": {"web": {"done"')
    with pytest.raises(CheckpointError, match="restore a copy of this one file"):
        Run(tmp_path).begin({}, ["web"], {})
    assert (tmp_path / "web").exists()


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (flip, "holds other bytes"),
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), "has 599 bytes, and had 600"),
        (lambda file: file.write_bytes(b""), "has 0 bytes"),
        (Path.unlink, "is missing"),
        (lambda file: (file.unlink(), file.mkdir()), "is no file any more"),
    ],
)
def test_damage_is_named_and_a_damaged_result_is_set_aside(tmp_path, harm, what):
    run = finished(tmp_path, "web", "sft")
    assert run.damage("web") == {}
    harm(tmp_path / "web" / "made")
    wrong = run.damage("web")
    assert list(wrong) == [tmp_path / "web" / "made"] and what in describe_damage(wrong)
    place = run.set_aside_damaged("web")
    assert not (tmp_path / "web").exists() and place.parent.name == "before"
    assert not run.is_done("web", "mark of web") and run.is_done("sft", "mark of sft")


def test_of_large_files_the_size_alone_is_looked_at_where_small_ones_are_read(tmp_path):
    run = Run(tmp_path)
    run.begin_stage("web", "mark", {}, {})
    (tmp_path / "web" / "large").write_bytes(bytes(2 << 20))
    run.end_stage("web", "mark", {})
    flip(tmp_path / "web" / "large")
    assert run.damage("web", only_small=True) == {}
    assert run.damage("web") != {}


def test_a_result_that_was_damaged_aside_is_not_taken_back(tmp_path):
    run = finished(tmp_path, "web")
    run.begin_stage("web", "another", {}, {})
    (aside,) = (tmp_path / "before").iterdir()
    flip(aside / "made")
    run.take_back("web", "mark of web")
    assert not run.is_done("web", "mark of web") and (aside / "made").exists()


def test_check_reads_all_and_says_what_it_cannot_know(tmp_path, capsys):
    run = finished(tmp_path, "web", "sft")
    assert main(["check", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "run.json").read_text())
    for file, data in ((tmp_path / "sft" / "record.json", None), (tmp_path / "run.json", record)):
        data = data or json.loads(file.read_text())
        for entry in (data, data.get("stages", {}).get("sft", {})):
            entry.pop("files", None)
        del data["seal"]  # as a version before this one wrote them
        file.write_text(json.dumps(data))
    flip(tmp_path / "web" / "made")
    capsys.readouterr()
    assert main(["check", str(tmp_path)]) == 2
    out = capsys.readouterr().out
    assert "web/made holds other bytes" in out and "sft" in out and "made before results had sums" in out
    assert any("not checked: sft" in note for note in run.begin({}, ["web", "sft"], {}))


def test_the_model_of_a_run_is_checked_before_it_is_used(tmp_path):
    run = Run(tmp_path)
    run.begin_stage("sft", "mark", {}, {})
    model = tmp_path / "sft" / "steps" / "000003" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}" + " " * 100)
    run.end_stage("sft", "mark", {"checkpoint": "000003"})
    assert find_model(tmp_path) == find_model(tmp_path / "sft") == find_model(model) == model
    flip(model / "config.json")
    for path in (tmp_path, tmp_path / "sft", model):
        with pytest.raises(CheckpointError, match=r"config\.json holds other bytes .* keeps the rest"):
            find_model(path)


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


def test_a_model_beside_a_run_json_of_another_program_is_believed(tmp_path):
    (tmp_path / "run.json").write_text('{"name": "somebody else\'s"}')
    model = tmp_path / "models" / "small"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    assert find_model(model) == model
