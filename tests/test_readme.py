"""The two READMEs say the same thing to the shell, and say it first."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh.md").read_text(encoding="utf-8")


def code(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_both_languages_hold_the_same_commands_and_programs() -> None:
    assert code(ENGLISH, "sh")
    assert code(ENGLISH, "sh") == code(CHINESE, "sh")
    assert code(ENGLISH, "python") == code(CHINESE, "python")


def test_the_two_complete_lines_come_first() -> None:
    for text in (ENGLISH, CHINESE):
        first, second = code(text, "sh")[:2]
        assert first == "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/jielong quickstart\n"
        assert second == "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest -n auto\n"


def test_both_languages_have_the_same_sections_and_tables() -> None:
    for pattern in (r"^#+ ", r"^\|", r"^```"):
        assert len(re.findall(pattern, ENGLISH, re.MULTILINE)) == len(re.findall(pattern, CHINESE, re.MULTILINE)), (
            pattern
        )


def test_the_tests_are_run_by_the_line_of_the_readme() -> None:
    """.ci/run takes the line out of README.md by this pattern; here it must be found exactly once."""
    pattern = re.search(r"grep -m1 '(.*)' README.md", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert pattern is not None
    assert [line for line in ENGLISH.splitlines() if re.search(pattern[1], line)] == [code(ENGLISH, "sh")[1].strip()]


def test_the_python_of_the_readme_runs(capsys) -> None:
    for program in code(ENGLISH, "python"):
        exec(compile(program, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()


def test_every_file_named_in_the_readme_exists() -> None:
    for text in (ENGLISH, CHINESE):
        for path in re.findall(r"`((?:src|tests|docs)/[\w./-]+)`", text) + re.findall(r"\]\(([\w./]+)\)", text):
            assert (ROOT / path).exists(), path
