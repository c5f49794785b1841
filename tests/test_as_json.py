"""`--json` prints one document and nothing else, colours are for terminals, and options are called alike everywhere."""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import pty
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.odd_server import saying, whole
from bench.strategies.calibrated import Calibrated, Known, serve
from tests.serving import tiny_model

from jielong.cli.as_json import json_alone, print_json
from jielong.cli.main import MODULES, build_parser, main
from jielong.opening.tasks import find_task
from jielong.report.terminal import plain_streams

COMMANDS = [command for its in MODULES.values() for command in its]
Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run a command with --json; return the document that is all of its standard output."""

    def asked(*words: str | Path, code: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        assert main([*map(str, words), "--json"]) == code
        found = json.loads(capsys.readouterr().out)
        assert isinstance(found, dict)
        return found

    return asked


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, of texts in two steps."""
    folder = tmp_path_factory.mktemp("as-json")
    (folder / "texts").mkdir()
    for page in ("asking.md", "tools.md"):
        shutil.copy(Path(__file__).parent.parent / "docs" / page, folder / "texts")
    model = tiny_model(folder / "tiny")
    words = ["--source", str(folder / "texts"), "--steps", "2", "--runs", str(folder / "runs"), "--name", "two"]
    assert main(["adapt", str(model), *words]) == 0
    return folder / "runs" / "two"


# The document -----------------------------------------------------------------------------------------------------


def test_whatever_a_command_prints_beside_its_document_goes_to_standard_error(capsys):
    with plain_streams(), json_alone(argparse.Namespace(json=True)):
        print("a note")
        print_json({"path": Path("a"), "odd": [math.inf, math.nan, 1.5], "text": "接龙 \u202e\u2028\x9b😀\ud800"})
        print("another note")
    told = capsys.readouterr()
    assert json.loads(told.out) == {"path": "a", "odd": [None, None, 1.5], "text": "接龙 \u202e\u2028\x9b😀\ud800"}
    assert "\u202e" not in told.out and "接龙" in told.out and told.err == "a note\nanother note\n"


def test_without_the_option_nothing_is_redirected(capsys):
    with json_alone(argparse.Namespace()):
        print("said")
    assert capsys.readouterr().out == "said\n"


def test_a_mistake_leaves_standard_output_empty(capsys):
    assert main(["check", "nowhere", "--json"]) == 2
    told = capsys.readouterr()
    assert not told.out and "no run at nowhere" in told.err


def test_the_files_of_a_run_its_lineage_and_two_runs_are_told(ask: Ask, run: Path):
    whole = ask("check", run)
    assert whole["is_whole"] and whole["run"] == str(run)
    assert {stage["state"] for stage in whole["stages"]} == {"whole"}
    assert sum(stage["bytes"] for stage in whole["stages"]) > 10_000
    family = ask("lineage", run)
    assert [stage["stage"] for stage in family["stages"]] == [stage["stage"] for stage in whole["stages"]]
    (trained,) = [stage for stage in family["stages"] if stage["stage"] == "adapt"]
    assert trained["is_done"] and trained["config"]["loop"]["steps"] == 2 and trained["parents"]
    both = ask("compare", run, run)
    assert both["runs"] == {"a": str(run), "b": str(run)} and both["settings"] == [] and both["num_settings"] > 20
    assert all(stage["a"] == stage["b"] for stage in both["stages"])


def test_a_damaged_run_is_told_with_its_exit_code(ask: Ask, run: Path):
    victim = next((run / "adapt").rglob("*.safetensors"))
    kept = victim.read_bytes()
    victim.write_bytes(b"damaged" + kept)
    found = ask("check", run, code=2)
    victim.write_bytes(kept)
    assert not found["is_whole"]
    assert [list(s["damaged"]) for s in found["stages"] if s["damaged"]] == [[str(victim)]]


def test_stages_and_models_on_one_question_are_told(ask: Ask, run: Path):
    found = ask("compare", f"{run}:adapt", run, "what is?", "--max-tokens", "2")
    (first, last) = found["answers"]
    assert found["question"] == "what is?" and len(last["steps"]) == 2
    assert last["reading"]["divergences"] == pytest.approx([0, 0], abs=1e-6) and first["text"] == last["text"]


def test_recipes_and_shapes_are_told(ask: Ask):
    (lr, *_) = ask("fields", "quickstart", "learning_rate")["fields"]
    assert lr["path"] == "pretrain.optimizer.lr" and lr["value"] > 0 and lr["meaning"]
    shape = ask("estimate", "gpt2", "--gflops", "300")
    assert shape["parameters"] == pytest.approx(124e6, rel=0.02) and shape["flops_per_s"] == 3e11
    assert shape["seconds"] == pytest.approx(shape["flops"] / 3e11) and shape["shape"]["num_hidden_layers"] == 12
    recipe = ask("estimate", "quickstart", "--gflops", "300")
    assert recipe["seconds"] == pytest.approx(sum(stage["seconds"] for stage in recipe["stages"]))


def test_short_names_and_the_models_of_a_server_are_told(ask: Ask, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("JIELONG_HOME", str(tmp_path))
    assert ask("models") == {"server": None, "models": []}
    with serve(Calibrated([])) as server:
        assert main(["alias", "mine", f"{server.url}#x"]) == 0
        capsys.readouterr()
        assert ask("models")["models"] == [{"name": "mine", "stands_for": f"{server.url}#x"}]
    with saying([whole({"data": [{"id": "b"}]})]) as url:
        assert ask("models", url) == {"server": url, "models": [{"name": "b", "stands_for": f"{url}#b"}]}


def test_scores_differences_and_verdicts_are_told(ask: Ask, tmp_path: Path):
    task = find_task("sums", limit=8)
    right, wrong = (Calibrated([Known(i.question, i.answers[0], ("99",)) for i in task.items], p) for p in (1.0, 0.0))
    judge = Calibrated([], react=lambda conversation, *_: "Verdict: A")
    with serve(right) as one, serve(wrong) as other, serve(judge) as third:
        models = (f"{one.url}#x", "--against", f"{other.url}#y")
        found = ask("evaluate", *models, "--task", "sums", "--limit", "8", "--out", tmp_path)
        files = sorted(tmp_path.glob("sums/*/results.jsonl"))
        told = ask("judge", *files, "--model", f"{third.url}#j", "--out", tmp_path / "verdicts.jsonl")
    assert [s["score"]["mean"] for s in found["systems"]] == [1.0, 0.0] and found["items"] == 8
    (difference,) = found["differences"]
    assert difference["mean"] == -1.0 and difference["p"] == difference["corrected"] < 0.05
    assert told["ties"] == told["pairs"] == 8 and told["first_place"] == 1.0 and told["verdicts"]


def test_goals_and_the_cost_of_rounding_are_told(ask: Ask, run: Path, tmp_path: Path):
    assert ask("act", "--policy", "solver", "--goals", "2")["success"] == 1.0
    text = tmp_path / "text.txt"
    text.write_text("The sea is wide.\n", "utf-8")
    rounded = ask("quality", run, "--text", text)
    assert rounded["before"] > 0 and rounded["weight_bytes_after"] < rounded["weight_bytes_before"]


def test_a_library_is_told(ask: Ask, tmp_path: Path, capsys):
    page, library = tmp_path / "page.md", tmp_path / "library.db"
    page.write_text("# Tea\n\nGreen tea steeps for two minutes.\n", "utf-8")
    assert main(["library", "add", str(page), "--library", str(library), "--embedder", "none"]) == 0
    capsys.readouterr()
    (passage,) = ask("library", "search", "green tea", "--library", library, "--embedder", "none")["passages"]
    assert "two minutes" in passage["text"] and passage["source"].endswith("page.md") and passage["score"] > 0
    assert [file["chunks"] for file in ask("library", "list", "--library", library)["files"]] == [1]
    assert ask("library", "check", "--library", library)["changed"] == []
    page.write_text("changed\n", "utf-8")
    assert len(ask("library", "check", "--library", library)["changed"]) == 1


# Colours ----------------------------------------------------------------------------------------------------------


def on_a_terminal(words: list[str], **environment: str) -> str:
    """Run a command whose output is a terminal; return all that it writes there."""
    child, ours = pty.fork()
    if child == 0:
        os.environ.update({"TERM": "xterm-256color", "COLUMNS": "80", **environment})
        os.execv(sys.executable, [sys.executable, "-m", "jielong.cli.main", *words])
    found = io.BytesIO()
    try:
        while piece := os.read(ours, 65536):
            found.write(piece)
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, found.getvalue()
    return found.getvalue().decode()


def test_colours_are_for_terminals_and_no_color_leaves_them_out():
    words = ["fields", "quickstart", "warmup"]
    assert "\x1b[" in on_a_terminal(words, NO_COLOR="")
    assert "\x1b" not in on_a_terminal(words, NO_COLOR="1")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_no_colours_and_fits_a_terminal(command: str, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with pytest.raises(SystemExit):
        main([command, "--help"])
    said = capsys.readouterr().out
    assert "\x1b" not in said and "\u241b" not in said
    assert max(map(len, said.splitlines())) <= 80 or command in ("compare", "completion", "run")


def test_a_pipe_gets_no_colours_whatever_the_environment_says(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["fields", "quickstart", "warmup"]) == 0 and main(["estimate", "quickstart", "--gflops", "9"]) == 0
    assert "\x1b" not in capsys.readouterr().out


# Options ----------------------------------------------------------------------------------------------------------

TWO_MEANINGS = {
    "--language": "of the report; of goals",
    "--method": "of learning; of a search for an instruction",
    "--show": "what happens as it happens, each command its own",
    "--steps": "of trainings; of each trial",
    "--watch": "serve the run that begins; the run to serve",
}
"""Options that take values of several kinds, and what they are."""


def leaves(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield name.strip(), parser
    for action in inner:
        for word, one in action.choices.items():
            yield from leaves(one, f"{name} {word}")


def test_an_option_is_of_one_kind_in_all_commands():
    kinds: dict[str, set[object]] = defaultdict(set)
    for _, parser in leaves(build_parser()):
        for action in parser._actions:
            for option in action.option_strings:
                kinds[option].add(
                    (type(action).__name__ == "_StoreTrueAction", getattr(action.type, "__name__", "str"))
                )
    several = {option for option, found in kinds.items() if len(found) > 1}
    assert several <= {*TWO_MEANINGS, "--model", "--tokens", "--task"}, several


def test_every_option_says_what_it_takes():
    for name, parser in leaves(build_parser()):
        for action in parser._actions:
            if action.option_strings and action.nargs is None and action.type in (int, float, Path):
                assert action.metavar, f"{name} {action.option_strings[0]}"


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("learn status --from s.db", "store", "s.db"),
        ("feedback export f.jsonl --form trl", "form", "trl"),
        ("export runs/x --dtype bfloat16", "type", "bfloat16"),
        ("adapt m --base int8", "base", "int8"),
        ("serve m --length 512 --name a.example", "context", 512),
        ("generate m text --ask", "chat_template", True),
        ("evaluate --chat --task t m", "chat_template", True),
        ("inspect f --show 2", "examples", 2),
        ("act --steps 3", "max_steps", 3),
    ],
)
def test_earlier_names_of_options_still_work_and_help_knows_the_present_one(line, field, value, capsys):
    words = line.split()
    assert getattr(build_parser(words[0]).parse_args(words), field) == value
    with pytest.raises(SystemExit):
        main([*words[: 2 if words[0] == "feedback" else 1], "--help"])
    names = {word.strip("[],") for word in capsys.readouterr().out.split()}
    former = next(word for word in words if word.startswith("--"))
    assert former not in names


def test_a_word_after_an_option_is_taken_where_one_was_left_out_before_it():
    parse = build_parser().parse_args
    assert parse(["fields", "own", "--source", "d", "lr"]).word == "lr"
    assert parse(["fields", "own", "lr", "--source", "d"]).word == "lr"
    assert parse(["alias", "mine", "--remove"]).model is None
    assert parse(["compare", "a", "--max-tokens", "3", "b", "c"]).things == ["a", "b", "c"]
    assert parse(["serve", "a", "--port", "9", "b"]).models == ["a", "b"]
    assert [str(p) for p in parse(["library", "add", "a", "--library", "l.db", "b"]).paths] == ["a", "b"]


@pytest.mark.parametrize("line", ["fields own lr --source d more", "check a --json b", "learn --seed 1 now"])
def test_a_word_too_many_is_still_refused(line: str, capsys):
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(line.split())
    assert ended.value.code == 2
    assert "one argument too many" in (said := capsys.readouterr().err) or "unknown" in said
