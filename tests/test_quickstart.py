"""The whole road in its smallest size: it ends with a report, survives kill -9, and is not walked twice."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jielong.cli.main import main
from jielong.records import Message
from jielong.runs import read_metrics

pytestmark = pytest.mark.smoke

KEYS = {
    "unseen_accuracy_en",
    "unseen_accuracy_zh",
    "followup_accuracy",
    "translation_accuracy",
    "invention_rate",
    "refusal_rate",
    "gold_score",
    "bits_per_byte",
}


def jielong(*arguments: str, cwd: Path, **more) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jielong.cli.main", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600, check=False, **more)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A smoke run, made once."""
    root = tmp_path_factory.mktemp("road")
    done = jielong("quickstart", "--size", "smoke", cwd=root)
    assert done.returncode == 0, done.stderr
    return root / "runs" / "quickstart-smoke-0"


def test_report_has_every_measure_of_every_stage(finished):
    report = json.loads((finished / "report.json").read_text())
    assert list(report["stages"]) == ["base", "sft", "rl"]
    assert set(report["stages"]["sft"]) >= KEYS | {"win_rate_over_previous"}
    assert set(report["stages"]["rl"]) >= KEYS | {"win_rate_over_previous"}
    assert set(report["controls"]["random_init"]) >= KEYS
    assert 0.05 < report["controls"]["majority_baseline"] < 0.4
    assert report["seconds"] > 0
    assert report["peak_memory_bytes"] > 1e8
    base, random_init = report["stages"]["base"], report["controls"]["random_init"]
    assert base["bits_per_byte"] < random_init["bits_per_byte"]  # it has read something, the control has not
    page = (finished / "report.html").read_text()
    assert not re.search(r"""(src|href)=["']https?:""", page)
    assert "<svg" in page


def test_every_training_stage_learned(finished):
    for stage in ("pretrain", "sft", "control"):
        metrics = read_metrics(finished / stage / "metrics.jsonl")
        assert metrics[-1]["loss"] < metrics[0]["loss"] - 0.3, stage
        assert "held_out_loss" in metrics[-1]
    assert {"score", "kl"} <= set(read_metrics(finished / "rl" / "metrics.jsonl")[-1])


def test_every_checkpoint_opens_in_transformers_and_writes_the_same_answer(finished):
    transformers = pytest.importorskip("transformers")
    import torch

    from jielong.generate import Engine, EngineConfig
    from jielong.model.hf import load_language_model
    from jielong.records import Request, Sampling
    from jielong.tokens import Tokenizer, render_prompt

    for stage in ("pretrain", "sft", "rl"):
        path = max((finished / stage / "steps").glob("*/model"))
        tokenizer, model = Tokenizer.load(path), load_language_model(path)
        prompt = render_prompt([Message("user", "法国的首都是哪里？")], tokenizer)
        sampling = Sampling(max_tokens=12, temperature=0.0)
        (sample,) = Engine(model, EngineConfig(dtype="float32")).generate([Request(prompt, sampling)])
        theirs = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
        text = transformers.AutoTokenizer.from_pretrained(path)
        chat = [{"role": "user", "content": "法国的首都是哪里？"}]
        ids = text.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        assert tuple(ids) == prompt
        inputs = torch.tensor([ids])
        written = theirs.generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=1,
        )
        assert tuple(written[0, len(ids) :].tolist()) == sample.ids, stage


def test_a_finished_run_is_not_walked_again_and_a_changed_stage_is(finished, tmp_path):
    copy = tmp_path / "runs" / finished.name
    shutil.copytree(finished, copy)
    again = jielong("quickstart", "--size", "smoke", cwd=tmp_path)
    assert again.returncode == 0
    assert "begins" not in again.stdout
    grpo = ("--set", "rl.source.algorithm=grpo", "--set", "rl.source.group_size=4", "--set", "rl.loop.steps=4")
    changed = jielong("run", "quickstart", "--size", "smoke", *grpo, cwd=tmp_path)
    assert changed.returncode == 0, changed.stderr
    begun = re.findall(r"^(\w+): begins", changed.stdout, re.M)
    assert begun == ["rl", "evaluate"]
    assert "value_error" not in read_metrics(copy / "rl" / "metrics.jsonl")[-1]  # GRPO has no critic


def test_killed_in_the_middle_it_goes_on_and_ends_the_same(finished, tmp_path):
    """kill -9 during pretraining and again during reinforcement; the report's figures equal the undisturbed run's."""
    command = [sys.executable, "-m", "jielong.cli.main", "quickstart", "--size", "smoke"]
    run = tmp_path / "runs" / finished.name
    for stage, step in (("pretrain", 20), ("rl", 4)):
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, env=os.environ)
        while process.poll() is None:
            if any(m["step"] >= step for m in read_metrics(run / stage / "metrics.jsonl")):
                process.send_signal(signal.SIGKILL)
            time.sleep(0.02)
        assert process.returncode == -signal.SIGKILL
    assert jielong("quickstart", "--size", "smoke", cwd=tmp_path).returncode == 0
    first, second = (json.loads((p / "report.json").read_text()) for p in (finished, run))
    assert first["stages"] == second["stages"]
    assert first["controls"] == second["controls"]


def test_chat_answers_in_the_terminal(finished):
    told = jielong(
        "chat", str(finished), "--max-tokens", "12", cwd=finished, input="What is the capital of France?\n/new\n你好\n"
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("model> ") == 2
    assert "a new conversation" in told.stdout


def test_lineage_names_every_stage_and_its_parents(finished, capsys):
    assert main(["lineage", str(finished)]) == 0
    lines = capsys.readouterr().out
    assert "unfinished" not in lines
    assert re.search(
        r"\n  rl +\d+\.\d s +8 steps, lr 1\.5e-05 \(adamw\)(.|\n)*?from (.|\n)*?sft\s+\w{8},\s+reward\s+\w{8}", lines
    )
    assert "articles 400" in lines and re.search(r"8 rows x 256 tokens,\s+0\.2M\s+parameters", lines)
