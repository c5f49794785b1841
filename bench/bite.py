"""Do the tests bite? Small bugs are planted one at a time, and the tests of the module are run: `python -m bench.bite`.

Each bug is one change of one expression or statement, at random by `--seed`, in a copy of the package and its tests in a
temporary folder: another comparison, another operator, a number off by one, halved or negated, a sign, an option left out, a
statement left out. A bug that no test notices has lived. Bugs that change nothing whatever is asked are in
`bite_reasons.json` with why, and are counted apart. All that was tried is in a file of JSON lines, so that a run that was
killed goes on, and `--again` tries those that lived once more.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench import circumstances
from bench.environments import ROOT
from bench.rows import Row, write_rows

REASONS = ROOT / "bench" / "bite_reasons.json"
JOURNAL = ROOT / "runs" / "bite.jsonl"
PACKAGE = Path("src") / "jielong"

LOOP = "tests/test_loop.py --deselect tests/test_loop.py::test_two_gloo_ranks_equal_one"
OBJECTIVES = "tests/test_objectives.py"
ROLLOUTS = "tests/test_rollouts.py --deselect tests/test_rollouts.py::test_two_ranks_roll_out_what_one_does"
MODEL = "tests/test_model.py"
LIBRARY = (
    "tests/test_library.py "
    "--deselect tests/test_library.py::test_a_kill_in_the_middle_leaves_a_sound_library_that_goes_on"
)
DEFAULTS = "tests/test_config.py::test_who_leaves_a_field_out_gets_tomorrow_what_he_got_today"
DEFAULTS += " tests/test_config.py::test_the_last_value_that_is_fine_and_the_first_that_is_not"

TESTS = {
    "losses.py": OBJECTIVES,
    "train/loop.py": f"{DEFAULTS} {LOOP}",
    "train/optim.py": f"{DEFAULTS} tests/test_muon.py {LOOP}",
    "train/advantages.py": OBJECTIVES,
    "train/muon.py": "tests/test_muon.py",
    "train/objectives/next_token.py": f"{DEFAULTS} {OBJECTIVES} tests/test_balance.py",
    "train/objectives/policy.py": f"{DEFAULTS} {OBJECTIVES}",
    "train/objectives/preferences.py": f"{DEFAULTS} {OBJECTIVES}",
    "train/objectives/logprobs.py": f"{OBJECTIVES} tests/test_blocks.py -k 'not compiled and not True'",
    "train/rewards.py": f"tests/test_rewards.py {ROLLOUTS} -k reward",
    "train/rollouts.py": f"{DEFAULTS} {ROLLOUTS} tests/test_online.py",
    "train/samples.py": f"{ROLLOUTS} tests/test_online.py",
    "train/watch.py": "tests/test_online.py -k watch",
    "train/checks.py": LOOP,
    "model/attention.py": f"{MODEL} tests/test_kernels.py tests/test_blocks.py -k 'not compile and not True'",
    "model/transformer.py": f"{MODEL} tests/test_families.py -k 'not compile'",
    "model/rotary.py": f"tests/test_config.py {MODEL} tests/test_families.py -k 'positions or logits or rotary or dynamic'",
    "model/adapters.py": f"{DEFAULTS} tests/test_adapters.py -k 'not compiled and not peft'",
    "model/cache.py": "tests/test_cache.py tests/test_engine.py",
    "generate/sampling.py": "tests/test_sampling.py tests/test_engine.py",
    "data/batches.py": "tests/test_batches.py",
    "data/filters.py": f"{DEFAULTS} tests/test_refine.py",
    "data/dedup.py": f"{DEFAULTS} tests/test_refine.py",
    "evaluate/statistics.py": "tests/test_statistics.py",
    **{
        f"use/answers/{name}.py": "tests/test_answers.py"
        for name in ("choices", "finding", "leaving", "moments", "numbers", "spelling", "same", "grouped")
    },
    "use/retrieval/chunks.py": "tests/test_library.py -k 'chunk or overlap or place or sizes'",
    "use/retrieval/embedders.py": "tests/test_endpoint.py tests/test_library.py -k 'multilingual or embedder'",
    "use/retrieval/library.py": f"{LIBRARY} tests/test_library_changes.py -k 'not two_processes'",
    "use/retrieval/terms.py": LIBRARY,
}
"""Arguments of pytest for each module: the tests that know it best and end soon."""

SLOW = {
    "train/loop.py": "tests/test_loop.py::test_two_gloo_ranks_equal_one",
    "train/optim.py": "tests/test_stages.py",
    "train/objectives/logprobs.py": "tests/test_blocks.py tests/test_kernels.py",
    "train/rollouts.py": "tests/test_rollouts.py::test_two_ranks_roll_out_what_one_does",
    "model/attention.py": "tests/test_blocks.py",
    "model/adapters.py": "tests/test_adapters.py",
    "use/retrieval/embedders.py": "tests/test_library.py",
    "use/retrieval/library.py": "tests/test_library.py tests/test_library_changes.py",
}
"""Tests for the bugs that pass those above."""

Outcome = Literal["killed", "timed out", "lived"]

COMPARISONS: Mapping[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    ast.Lt: ("<", ("<=", ">")),
    ast.LtE: ("<=", ("<", ">=")),
    ast.Gt: (">", (">=", "<")),
    ast.GtE: (">=", (">", "<=")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: ("not in", ("in",)),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: ("is not", ("is",)),
}
ARITHMETIC: Mapping[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.BitXor: ("^", "&"),
}
SWAPS = {"min": "max", "amin": "amax", "minimum": "maximum", "argmin": "argmax", "floor": "ceil", "any": "all"}
SWAPS |= {there: here for here, there in SWAPS.items()}


@dataclass(frozen=True)
class Mutation:
    """One change of the source of `file`, between two offsets in bytes."""

    file: str
    kind: str
    line: int
    start: int
    end: int
    new: str
    before: str
    after: str

    @property
    def key(self) -> str:
        """By what it is known: the line with and without it, wherever in the file it stands."""
        return f"{self.file}: {self.before} -> {self.after}"

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.new.encode() + source[self.end :]


class Finder(ast.NodeVisitor):
    """All mutations of one source: (kind, where it stands, offsets of what is replaced, by what).

    Docstrings, annotations, decorators, `__all__`, what an assertion or an error says, and strings that are put together
    are left alone, and so is zip's `strict`, which is an assertion.
    """

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.lines = [0, *itertools.accumulate(len(line) for line in source.splitlines(keepends=True))]
        self.found: list[tuple[str, int, int, int, str]] = []
        self.depth = 0  # of functions and classes: at 0 a | joins types

    def offsets(self, node: Any) -> tuple[int, int]:
        return self.lines[node.lineno - 1] + node.col_offset, self.lines[node.end_lineno - 1] + node.end_col_offset

    def text(self, node: Any) -> str:
        start, end = self.offsets(node)
        return self.source[start:end].decode()

    def replace(self, kind: str, node: Any, *news: str) -> None:
        start, end = self.offsets(node)
        self.found += [(kind, node.lineno, start, end, new) for new in news]

    def between(self, kind: str, left: Any, right: Any, old: str, *news: str) -> None:
        """Replace an operator that stands between two operands."""
        start, end = self.offsets(left)[1], self.offsets(right)[0]
        at = self.source[start:end].find(old.encode())
        if at >= 0:
            line = self.source[: start + at].count(b"\n") + 1
            self.found += [(kind, line, start + at, start + at + len(old), new) for new in news]

    # Lines left alone

    def visit_Raise(self, node: ast.Raise) -> None: ...
    def visit_Assert(self, node: ast.Assert) -> None: ...
    def visit_JoinedStr(self, node: ast.JoinedStr) -> None: ...
    def visit_Import(self, node: ast.Import) -> None: ...
    def visit_ImportFrom(self, node: ast.ImportFrom) -> None: ...

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.depth += 1
        self.defaults(node.args)
        for statement in node.body:
            self.visit(statement)
        self.depth -= 1

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            self.visit(statement)

    # Kinds of changes

    def defaults(self, arguments: ast.arguments) -> None:
        plain = [*arguments.posonlyargs, *arguments.args]
        pairs = [*zip(plain[len(plain) - len(arguments.defaults) :], arguments.defaults, strict=True)]
        pairs += [(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is not None]
        for argument, default in pairs:
            start, end = self.offsets(argument)[1], self.offsets(default)[1]
            self.found.append(("default left out", default.lineno, start, end, ""))
            self.visit(default)

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            old, news = COMPARISONS[type(op)]
            self.between("comparison", left, right, old, *news)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        joins_types = self.depth == 0 and isinstance(node.op, ast.BitOr)
        strings = any(
            isinstance(n, ast.JoinedStr) or isinstance(getattr(n, "value", None), str) for n in (node.left, node.right)
        )
        if type(node.op) in ARITHMETIC and not joins_types and not strings:
            old, new = ARITHMETIC[type(node.op)]
            self.between("operator", node.left, node.right, old, new)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in itertools.pairwise(node.values):
            self.between("and, or", left, right, old, new)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub | ast.Invert):
            kind = "sign" if isinstance(node.op, ast.USub) else "not left out"
            self.replace(kind, node, f"({self.text(node.operand)})")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self.replace("True, False", node, str(not value))
        elif isinstance(value, int):
            self.replace("number", node, str(value + 1), f"({value - 1})")
            if abs(value) > 2:
                self.replace("number", node, str(value // 2), f"(-{value})")
        elif isinstance(value, float):
            news = (f"({value} / 2)", f"(-{value})") if value else ("1.0", "(-1.0)")
            self.replace("number", node, *news)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in SWAPS:
            end = self.offsets(node.func)[1]
            self.found.append(("min, max", node.func.lineno, end - len(name), end, SWAPS[name]))
        for keyword in node.keywords:
            if keyword.arg and keyword.arg != "strict":
                start, end = self.offsets(keyword)
                rest = self.source[end:]
                comma = len(rest) - len(rest.lstrip()) + 1 if rest.lstrip().startswith(b",") else 0
                self.found.append(("option left out", keyword.lineno, start, end + comma, ""))
        self.visit(node.func)
        for argument in node.args:
            self.visit(argument)
        for keyword in node.keywords:
            if keyword.arg != "strict":
                self.visit(keyword.value)

    def visit_Slice(self, node: ast.Slice) -> None:
        for edge, other in ((node.lower, "lower"), (node.upper, "upper")):
            if edge is not None and not isinstance(edge, ast.Constant):
                self.replace(f"{other} end of a slice", edge, f"{self.text(edge)} + 1", f"{self.text(edge)} - 1")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(isinstance(target, ast.Name) and target.id.startswith("__") for target in node.targets):
            return
        if any(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets):
            self.replace("statement left out", node, "pass")
        self.negated(node.value)
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        self.negated(node.value)
        self.generic_visit(node)

    def negated(self, value: ast.expr | None) -> None:
        signed = (ast.Add, ast.Sub, ast.Mult, ast.Div)
        if isinstance(value, ast.BinOp) and isinstance(value.op, signed):
            self.replace("sign", value, f"-({self.text(value)})")

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.replace("statement left out", node, "pass")
        if type(node.op) in ARITHMETIC:
            old, new = ARITHMETIC[type(node.op)]
            self.between("operator", node.target, node.value, f"{old}=", f"{new}=")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self.replace("statement left out", node, "pass")
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.generic_visit(node)

    def visit_Break(self, node: ast.Break) -> None:
        self.replace("statement left out", node, "pass")

    def visit_Continue(self, node: ast.Continue) -> None:
        self.replace("statement left out", node, "pass")


def mutations(file: str, source: bytes) -> list[list[Mutation]]:
    """All mutations of a source, those of one place together; of some no Python comes."""
    finder = Finder(source)
    finder.visit(ast.parse(source))
    places: dict[tuple[int, int], list[Mutation]] = {}
    seen: set[str] = set()
    for kind, line, start, end, new in finder.found:
        first = source.rfind(b"\n", 0, start) + 1
        last = end if source[end : end + 1] == b"\n" else source.find(b"\n", end)
        before = " ".join(source[first:last].decode().split())
        after = " ".join((source[first:start] + new.encode() + source[end:last]).decode().split())
        made = Mutation(file, kind, line, start, end, new, before, after)
        if made.key not in seen:
            seen.add(made.key)
            places.setdefault((start, end), []).append(made)
    return list(places.values())


def is_other(mutation: Mutation, source: bytes) -> bool:
    """Whether the changed source is Python, and other Python."""
    with suppress(SyntaxError):
        compile(mutation.apply(source), mutation.file, "exec")
        return ast.dump(ast.parse(mutation.apply(source))) != ast.dump(ast.parse(source))
    return False


def chosen(num: int, seed: int, folder: Path, modules: Sequence[str]) -> list[Mutation]:
    """`num` mutations, of each module as many as of any other if it has them, at most one a place."""
    rows = []
    for module in modules:
        dice = random.Random(f"{seed} {module}")  # its own, so that a change of one module changes no choice of another
        source = (folder / PACKAGE / module).read_bytes()
        places = mutations(module, source)
        dice.shuffle(places)
        picked = (m for place in places for m in [dice.choice(place)] if is_other(m, source))
        rows.append(list(itertools.islice(picked, -(-2 * num // len(modules)))))
    random.Random(seed).shuffle(rows)  # who comes once more than others
    turns = (row[i] for i in range(max(map(len, rows))) for row in rows if i < len(row))
    return sorted(itertools.islice(turns, num), key=lambda m: (modules.index(m.file), m.start))


class Farm:
    """A copy of the package and its tests in `folder`, where one bug at a time is planted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("src", "tests", "bench"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
        shutil.copyfile(ROOT / "pyproject.toml", folder / "pyproject.toml")
        self.limits: dict[str, float] = {}

    def test(self, tests: str, limit_s: float) -> tuple[int | None, str]:
        """The exit status of the tests, None where they took too long, and the first that failed."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        environment = kept | {"PYTHONPATH": str(self.folder / "src"), "OMP_NUM_THREADS": "1"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled once, and not for every bug
        words = f"{sys.executable} -m pytest -x -q -p no:cacheprovider --tb=no {tests}"
        process = subprocess.Popen(
            ["sh", "-c", f"exec {words}"],
            cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True, preexec_fn=_limited,
        )  # fmt: skip
        try:
            told = process.communicate(timeout=limit_s)[0]
        except subprocess.TimeoutExpired:
            return None, ""
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        failed = [line for line in told.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return process.returncode, (failed or told.splitlines() or [""])[0 if failed else -1]

    def limit_s(self, tests: str) -> float:
        """How long these tests may take with a bug: four times as long as without, and a bit. They must pass without."""
        if tests not in self.limits:
            begun_s = time.monotonic()
            status, told = self.test(tests, 900)
            if status != 0:
                raise SystemExit(f"without any bug, pytest {tests} ends with {status}: {told}")
            self.limits[tests] = 20 + 4 * (time.monotonic() - begun_s)
        return self.limits[tests]

    def plant(self, mutation: Mutation) -> dict[str, Any]:
        """Plant a bug, run the tests of its module and mend it: what the journal says of it."""
        file = self.folder / PACKAGE / mutation.file
        parts = [TESTS[mutation.file], *([SLOW[mutation.file]] if mutation.file in SLOW else [])]
        source, begun_s, status, told = file.read_bytes(), time.monotonic(), 0, ""
        for tests in parts:
            limit_s = self.limit_s(tests)
            try:
                self._write(file, mutation.apply(source))
                status, told = self.test(tests, limit_s)
            finally:
                self._write(file, source)
            if status != 0:
                break
        outcome: Outcome = "timed out" if status is None else "lived" if status == 0 else "killed"
        found = {
            "key": mutation.key,
            "kind": mutation.kind,
            "outcome": outcome,
            "by": told if outcome == "killed" else "",
        }
        return {**found, "seconds": round(time.monotonic() - begun_s, 1), "commit": circumstances.commit()}

    @staticmethod
    def _write(file: Path, source: bytes) -> None:
        file.write_bytes(source)
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            compiled.unlink()  # a bug of the same size and second would be taken for it


def _limited() -> None:
    """In the child: a bug that fills the memory fills this much."""
    resource.setrlimit(resource.RLIMIT_AS, (16 * 2**30, 16 * 2**30))


def read_journal(path: Path) -> dict[str, dict[str, Any]]:
    """Verdicts by mutation; of several the last counts. A line that a kill cut short is left out."""
    done: dict[str, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):
            entry = json.loads(line)
            done[entry["key"]] = entry
    return done


def read_reasons() -> dict[str, str]:
    """Reasons why a mutation changes nothing, by mutation."""
    listed = json.loads(REASONS.read_text(encoding="utf-8")) if REASONS.exists() else []
    return {f"{one['file']}: {one['before']} -> {one['after']}": one["reason"] for one in listed}


def rows_of(
    planted: Sequence[Mutation], done: Mapping[str, Mapping[str, Any]], reasons: Mapping[str, str], seed: int
) -> Iterator[Row]:
    outcomes = Counter(_outcome(m, done, reasons) for m in planted)
    total, lived = len(planted), outcomes["lived"]
    few = total // 20
    yield Row("bugs planted", "-", total, True, seeds=(seed,))
    for outcome in ("killed", "timed out", "changes nothing"):
        yield Row(outcome, "-", outcomes[outcome], True, seeds=(seed,))
    yield Row("lived", f"at most {few}", lived, lived <= few, seeds=(seed,))
    for module in TESTS:
        here = Counter(_outcome(m, done, reasons) for m in planted if m.file == module)
        if here:
            caught, those = here["killed"] + here["timed out"], here.total() - here["changes nothing"]
            yield Row(f"caught, {module}", f"{those}", caught, caught == those or lived <= few, seeds=(seed,))


def _outcome(mutation: Mutation, done: Mapping[str, Mapping[str, Any]], reasons: Mapping[str, str]) -> str:
    outcome = str(done[mutation.key]["outcome"])
    return "changes nothing" if outcome == "lived" and mutation.key in reasons else outcome


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=100, help="of bugs (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice (default: 0)")
    parser.add_argument(
        "--modules",
        type=circumstances.names(TESTS),
        default=list(TESTS),
        help="of some no rows are written (default: all)",
    )
    parser.add_argument("--again", action="store_true", help="try once more what lived")
    parser.add_argument("--list", action="store_true", help="show what would be planted, and end")
    parser.add_argument("--journal", type=Path, default=JOURNAL, help=f"default: {JOURNAL.relative_to(ROOT)}")
    options = parser.parse_args(words)
    planted = chosen(options.num, options.seed, ROOT, options.modules)
    if options.list:
        for mutation in planted:
            print(f"{mutation.kind:20} {mutation.key}")
        return 0
    done, reasons = read_journal(options.journal), read_reasons()
    options.journal.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, options.journal.open("a", encoding="utf-8") as journal:
        farm = Farm(Path(folder))
        journal.write("\n")  # after a line that a kill cut short
        for number, mutation in enumerate(planted, start=1):
            known = done.get(mutation.key, {}).get("outcome")
            if known is None or (known == "lived" and options.again and mutation.key not in reasons):
                done[mutation.key] = entry = farm.plant(mutation)
                journal.write(json.dumps(entry, ensure_ascii=False) + "\n")
                journal.flush()
                print(
                    f"{number:4}/{len(planted)} {entry['outcome']:9} {entry['seconds']:5.1f} s  {mutation.key}",
                    flush=True,
                )
    for title, outcome in (("Lived", "lived"), ("Change nothing", "changes nothing")):
        found = [m for m in planted if _outcome(m, done, reasons) == outcome]
        print(f"\n{title}: {len(found)}")
        for m in found:
            why = f"\n  {reasons[m.key]}" if m.key in reasons else ""
            print(f"{PACKAGE / m.file}:{m.line} ({m.kind})\n- {m.before}\n+ {m.after}{why}")
    rows = list(rows_of(planted, done, reasons, options.seed))
    if options.modules == list(TESTS):
        write_rows("bite" if options.seed == 0 else f"bite_{options.seed}", rows)
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
