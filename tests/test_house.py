"""The house stands as docs/architecture.md draws it: who may import whom, no circles, nothing done at import."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from tests import house

import jielong

ROOMS = house.drawing()
IMPORTS, OWN, FILES, TREES = house.imports(), house.own_imports(), house.files(), house.trees()

LONG_LINES = 400
LONG = {
    "generate/engine.py": "one scheduler, whose methods all move the same slots, jobs and queue",
    "native/decoder.cpp": "one call through all layers, which the compiler has to see whole to inline",
    "tokens/tokenizer.py": "one tokenizer: trained, written, read and run",
    "use/retrieval/library.py": "one SQLite file: its tables, and all that reads and writes them",
    "worlds/atlas/articles.py": "mostly sentences, which are data",
    "worlds/atlas/phrases_en.py": "sentences, which are data",
    "worlds/household/goals.py": "all kinds of goals, each with its sentences in two languages",
    "worlds/sums/phrases_en.py": "sentences, which are data",
    "worlds/sums/phrases_zh.py": "sentences, which are data",
}
"""Files above `LONG_LINES` lines that may be, and why."""


def test_the_drawing_holds_every_room_and_no_other():
    assert {house.room(module) for module in FILES if module != "jielong"} == set(ROOMS)


def test_imports_point_down_the_house():
    back = house.back_arrows(ROOMS)
    assert not back, "\n".join(back)


def test_rooms_stand_in_the_order_in_which_they_are_drawn():
    order = list(ROOMS)
    for name, drawn in ROOMS.items():
        assert all(order.index(target) > order.index(name) for target in drawn.may_import), name


def test_the_rules_would_catch_a_wrong_import():
    def may_import(importer: str, target: str) -> bool:
        return house.may_import(f"jielong.{importer}", f"jielong.{target}", ROOMS)

    assert not may_import("train.loop", "generate.engine")
    assert not may_import("generate.engine", "train.optim")
    assert not may_import("worlds.atlas.facts", "tokens.chat")
    assert not may_import("data.refine", "model.transformer")
    assert not may_import("runs", "report.report")
    assert not may_import("use.port", "data.refine")
    assert not may_import("recipes.quickstart", "cli.main")
    assert may_import("recipes.quickstart", "train.loop")
    assert may_import("use.port", "data.shards")


def test_there_are_no_circles_not_even_through_imports_inside_functions_or_for_types():
    found = house.circles(house.graph_of_modules()) + house.circles(house.graph_of_rooms())
    assert not found, "\n".join(" <-> ".join(ring) for ring in found)


def test_a_circle_would_be_found():
    assert house.circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def test_a_file_is_read_in_one_sitting_or_says_why_not():
    long = {file for file, lines in house.sizes().items() if lines > LONG_LINES}
    assert long == set(LONG), "above the bound without a cause, or with a cause and short by now"


def test_every_import_of_our_own_leads_to_a_module():
    lost = [f"{i.module}:{i.line} imports {i.target}" for i in OWN if i.target not in FILES]
    assert not lost, "\n".join(lost)


def test_the_ground_stands_on_the_standard_library():
    for i in IMPORTS:
        if house.room(i.module) in ROOMS and ROOMS[house.room(i.module)].is_ground and not i.is_late and i not in OWN:
            name = i.target.split(".")[0]
            assert name in sys.stdlib_module_names or (
                name == "torch" and house.room(i.module) in ("losses", "native")
            ), i


def test_every_module_says_what_it_is_for():
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


def test_nobody_throws_dice_that_the_whole_process_shares():
    assert global_dice(ast.parse("import random\nrandom.shuffle(x)"))
    assert global_dice(ast.parse("import torch\ntorch.manual_seed(1)"))
    assert not global_dice(ast.parse("import random\nrandom.Random(3).shuffle(x)"))
    found = [f"{module}: {use}" for module, tree in TREES.items() for use in global_dice(tree)]
    assert not found, "\n".join(found)


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_jielong_loads_no_torch():
    run_python("import sys, jielong; heavy = {'torch', 'numpy', 'rich'} & set(sys.modules); assert not heavy, heavy")


def test_importing_every_module_starts_and_changes_nothing():
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


def test_the_public_names_are_sorted_and_all_there():
    assert jielong.__all__ == sorted(jielong.__all__)
    for name in jielong.__all__:
        assert getattr(jielong, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Dokument'"):
        _ = jielong.Dokument
