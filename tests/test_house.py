"""The house stands as docs/architecture.md draws it: who may import whom, no circles, nothing done at import."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import jielong

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
GROUND = {"errors", "records", "config", "runs", "losses", "native"}
# The roof in order: each may import all below the roof and those named here.
ROOF = {"recipes": set(), "claims": {"recipes"}, "serve": {"recipes"}, "cli": {"serve", "claims", "recipes"}}
# What `use` may take from `data`: what reads, not what refines.
READERS = {f"jielong.data.{name}" for name in ("extract", "places", "shards", "sources", "talks")}


@dataclass(frozen=True)
class Import:
    """`module` imports `target` at `line`; `late` inside a function, `for_types` under TYPE_CHECKING."""

    module: str
    target: str
    line: int
    late: bool
    for_types: bool


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted((SOURCE / "jielong").rglob("*.py"))}
TREES = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in FILES.items()}


def package(module: str) -> str:
    """The room of the house that a module is in: `jielong.train.loop` is in `train`."""
    return module.split(".")[1] if "." in module else ""


def imports_of(module: str) -> list[Import]:
    found: list[Import] = []
    base = module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]

    def note(target: str, line: int, late: bool, for_types: bool) -> None:
        found.append(Import(module, target, line, late, for_types))

    def visit(node: ast.AST, late: bool, for_types: bool) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                note(alias.name, node.lineno, late, for_types)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                above = base.split(".")[: len(base.split(".")) - node.level + 1]
                origin = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                note(inner if inner in FILES else origin, node.lineno, late, for_types)
        else:
            late = late or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                for child in node.body:
                    visit(child, late, True)
                for child in node.orelse:
                    visit(child, late, for_types)
                return
            for child in ast.iter_child_nodes(node):
                visit(child, late, for_types)

    visit(TREES[module], False, False)
    return found


IMPORTS = [i for module in FILES for i in imports_of(module)]
OWN = [i for i in IMPORTS if i.target == "jielong" or i.target.startswith("jielong.")]


def read_floors(page: str) -> dict[str, set[str]]:
    """Room -> rooms it may import, from the picture of the floors below the roof in docs/architecture.md."""
    picture = page.split("```")[1]
    floors = {}
    for line in picture.splitlines():
        if line.startswith("ROOF") or line.startswith("0 GROUND"):
            continue
        drawn, _, allowed = line.partition("->")
        room = re.search(r"(\w+)/", drawn)
        if room:
            floors[room[1]] = set(re.findall(r"\w+", re.sub(r"\(.*?\)", "", allowed)))
    return floors


FLOORS = read_floors((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))


def may_import(importer: str, target: str) -> bool:
    """Whether module `importer` may import module `target`, both of jielong."""
    room, other = package(importer), package(target)
    if importer == "jielong" or other in (*GROUND, room):
        return room not in GROUND or other in GROUND
    if room in ROOF:
        return other in FLOORS or other in ROOF[room]
    if room == "use" and other == "data":
        return target in READERS
    return other in FLOORS.get(room, set())


def test_the_page_draws_every_floor_below_the_roof() -> None:
    assert FLOORS == {
        "use": {"tokens", "data"},
        "evaluate": {"tokens", "use"},
        "generate": {"tokens", "model"},
        "train": {"tokens", "data", "model"},
        "worlds": set(),
        "tokens": set(),
        "data": {"tokens"},
        "model": set(),
    }


def test_every_module_is_in_a_room_of_the_house() -> None:
    rooms = {package(module) for module in FILES if module != "jielong"}
    assert rooms <= GROUND | set(FLOORS) | set(ROOF)


def test_imports_point_down_the_house() -> None:
    up = [f"{i.module}:{i.line} imports {i.target}" for i in OWN if not may_import(i.module, i.target)]
    assert not up, "\n".join(up)


def test_the_rules_would_catch_a_wrong_import() -> None:
    assert not may_import("jielong.train.loop", "jielong.generate.engine")
    assert not may_import("jielong.generate.engine", "jielong.train.optim")
    assert not may_import("jielong.worlds.atlas.facts", "jielong.tokens.chat")
    assert not may_import("jielong.data.refine", "jielong.model.transformer")
    assert not may_import("jielong.runs", "jielong.recipes.report")
    assert not may_import("jielong.use.port", "jielong.data.refine")
    assert not may_import("jielong.recipes.quickstart", "jielong.cli.main")
    assert may_import("jielong.recipes.quickstart", "jielong.train.loop")
    assert may_import("jielong.use.port", "jielong.data.shards")


def test_there_are_no_circles_even_through_imports_inside_functions() -> None:
    graph: dict[str, set[str]] = {module: set() for module in FILES}
    for i in OWN:
        if not i.for_types and i.target in FILES and i.target != i.module:
            graph[i.module].add(i.target)
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for target in sorted(graph[module]):
                walk(target, (*path, module))
            done.add(module)

    for module in FILES:
        walk(module, ())


def test_every_import_of_our_own_leads_to_a_module() -> None:
    lost = [f"{i.module}:{i.line} imports {i.target}" for i in OWN if i.target not in FILES]
    assert not lost, "\n".join(lost)


def test_the_ground_stands_on_the_standard_library() -> None:
    for i in IMPORTS:
        if package(i.module) in GROUND and not i.late and i not in OWN:
            name = i.target.split(".")[0]
            assert name in sys.stdlib_module_names or (name == "torch" and package(i.module) in ("losses", "native")), i


def test_every_module_says_what_it_is_for() -> None:
    silent = [module for module, tree in TREES.items() if not ast.get_docstring(tree)]
    assert not silent, ", ".join(silent)


def global_dice(tree: ast.AST) -> list[str]:
    """Uses of random state that the whole process shares."""
    fine = {"Random", "SystemRandom", "Generator", "default_rng", "Philox", "PCG64", "SeedSequence", "BitGenerator"}
    shared = {"np.random", "numpy.random"}
    if any(
        isinstance(n, ast.Import) and any(a.name == "random" and not a.asname for a in n.names) for n in ast.walk(tree)
    ):
        shared.add("random")
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            if (owner in shared and node.attr not in fine) or (
                owner == "torch" and node.attr in ("manual_seed", "seed")
            ):
                found.append(f"{ast.unparse(node)} in line {node.lineno}")
    return found


def test_nobody_throws_dice_that_the_whole_process_shares() -> None:
    assert global_dice(ast.parse("import random\nrandom.shuffle(x)"))
    assert global_dice(ast.parse("import torch\ntorch.manual_seed(1)"))
    assert not global_dice(ast.parse("import random\nrandom.Random(3).shuffle(x)"))
    found = [f"{module}: {use}" for module, tree in TREES.items() for use in global_dice(tree)]
    assert not found, "\n".join(found)


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_jielong_loads_no_torch() -> None:
    run_python("import sys, jielong; heavy = {'torch', 'numpy', 'rich'} & set(sys.modules); assert not heavy, heavy")


def test_importing_every_module_starts_and_changes_nothing() -> None:
    modules = ", ".join(sorted(FILES))
    before_and_after = (
        # rich.style throws the process's dice when it is imported: that is not ours to mend, so it comes before
        "import logging, os, random, signal, threading, numpy, rich.style, torch\n"
        "def state():\n"
        "    return (threading.active_count(), dict(os.environ), len(logging.getLogger().handlers), random.getstate(),\n"
        "            str(numpy.random.get_state()), torch.get_num_threads(), torch.get_default_dtype(),\n"
        "            torch.random.get_rng_state().tolist(), signal.getsignal(signal.SIGINT), torch.is_grad_enabled())\n"
        "before = state()\n"
        f"import {modules}\n"
        "after = state()\n"
        "print([b for b, a in zip(before, after) if a != b])"
    )
    assert run_python(before_and_after).strip() == "[]"


def test_the_public_names_are_sorted_and_all_there() -> None:
    assert jielong.__all__ == sorted(jielong.__all__)
    for name in jielong.__all__:
        assert getattr(jielong, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Dokument'"):
        _ = jielong.Dokument
