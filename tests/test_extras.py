"""A library that only some need is missed before the work that would be lost, and the sentence says how to have it."""

from __future__ import annotations

import sys

import pytest

from jielong.cli.main import main


@pytest.mark.parametrize(
    ("library", "command", "told"),
    [
        ("optuna", ["tune", "quickstart", "--size", "smoke"], "jielong tune needs the library optuna"),
        ("gguf", ["export", "MODEL", "--format", "gguf"], "GGUF files need the library gguf"),
        ("lm_eval.api.model", ["evaluate", "MODEL", "--task", "lm-eval:arc_easy"], "lm-eval need that package"),
        ("reasoning_gym", ["evaluate", "MODEL", "--task", "reasoning-gym:lcm"], "puzzles need reasoning-gym"),
        ("pydantic_monty", ["ask", "MODEL", "hi", "--tools", "python"], "the Python tool needs pydantic-monty"),
    ],
)
def test_a_missing_library_costs_no_work(tmp_path, monkeypatch, capsys, library, command, told):
    """The model's weights are no weights: whoever reads them first fails otherwise."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, library, None)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "qwen3"}')
    (model / "model.safetensors").write_text("nothing")
    assert main([str(model) if word == "MODEL" else word for word in command]) == 2
    said = capsys.readouterr()
    assert told in said.err and "pip install" in said.err
    assert not said.out and not (tmp_path / "runs").exists()
