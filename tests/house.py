"""The house as the code has it: modules, who imports whom, rooms, floors, circles, sizes.

`python -m tests.house` prints it, from the top floor down; `python -m tests.house ROOM` the modules of one room and their
imports. An import counts wherever it stands: at the top, inside a function, or for types alone.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
ARCHITECTURE = ROOT / "docs" / "architecture.md"

Graph = Mapping[str, set[str]]


@dataclass(frozen=True)
class Import:
    """`module` imports `target` at `line`; `is_late` inside a function."""

    module: str
    target: str
    line: int
    is_late: bool


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def files() -> dict[str, Path]:
    """Module -> its file."""
    return {module_name(path): path for path in sorted((SOURCE / "jielong").rglob("*.py"))}


@cache
def trees() -> dict[str, ast.Module]:
    return {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in files().items()}


def room(module: str) -> str:
    """The room of the house that a module is in: `jielong.train.loop` is in `train`."""
    return module.split(".")[1] if "." in module else ""


def imports_of(module: str) -> list[Import]:
    found: list[Import] = []
    base = module if files()[module].name == "__init__.py" else module.rpartition(".")[0]

    def visit(node: ast.AST, is_late: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(module, alias.name, node.lineno, is_late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                above = base.split(".")[: len(base.split(".")) - node.level + 1]
                origin = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                found.append(Import(module, inner if inner in files() else origin, node.lineno, is_late))
        else:
            is_late = is_late or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            for child in ast.iter_child_nodes(node):
                visit(child, is_late)

    visit(trees()[module], False)
    return found


@cache
def imports() -> tuple[Import, ...]:
    return tuple(i for module in files() for i in imports_of(module))


@cache
def own_imports() -> tuple[Import, ...]:
    return tuple(i for i in imports() if i.target == "jielong" or i.target.startswith("jielong."))


def graph_of_modules() -> Graph:
    graph: dict[str, set[str]] = {module: set() for module in files()}
    for i in own_imports():
        if i.target in files() and i.target != i.module:
            graph[i.module].add(i.target)
    return graph


def graph_of_rooms() -> Graph:
    graph: dict[str, set[str]] = {room(module): set() for module in files()}
    for i in own_imports():
        if room(i.target) != room(i.module):
            graph[room(i.module)].add(room(i.target))
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """Groups of nodes that reach each other, each sorted (Tarjan 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def walk(node: str) -> None:
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in number:
                walk(target)
                lowest[node] = min(lowest[node], lowest[target])
            elif target in stack:
                lowest[node] = min(lowest[node], number[target])
        if lowest[node] == number[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in graph:
        if node not in number:
            walk(node)
    return found


def floors(graph: Graph) -> dict[str, int]:
    """Node -> its floor: 1 imports nothing, every other stands above all that it imports. Only without circles."""
    known: dict[str, int] = {}

    def floor(node: str) -> int:
        if node not in known:
            known[node] = 1 + max((floor(target) for target in graph[node]), default=0)
        return known[node]

    return {node: floor(node) for node in graph}


# The drawing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """A room as docs/architecture.md draws it: `may_import` maps rooms to the modules of it that may be (none: all)."""

    name: str
    is_ground: bool
    may_import: Mapping[str, tuple[str, ...]]


def drawing(page: str | None = None) -> dict[str, Drawn]:
    """The rooms in the first block of the page, from the top floor down.

    A line is a room: its name, what it is, and after "->" which rooms it may import; "room (a b)" admits these modules of
    it alone, "all below" every room that is drawn below it. After the line that names the ground stand the rooms that
    every other may import.
    """
    block = (page or ARCHITECTURE.read_text(encoding="utf-8")).split("```")[1]
    lines = [line for line in block.splitlines() if line.strip()]
    names = [match[1] for line in lines if (match := re.match(r"(\w+) +\S", line)) and "->" in line]
    rooms: dict[str, Drawn] = {}
    is_ground = False
    for line in lines:
        if "ground" in line and "->" not in line:
            is_ground = True
            continue
        drawn, arrow, allowed = line.partition("->")
        if not arrow:
            continue
        name = drawn.split()[0]
        if allowed.strip() == "all below":
            may: dict[str, tuple[str, ...]] = dict.fromkeys(names[names.index(name) + 1 :], ())
        else:
            may = {target: tuple(inner.split()) for target, inner in re.findall(r"(\w+)(?: \(([^)]*)\))?", allowed)}
        rooms[name] = Drawn(name, is_ground, may)
    return rooms


def may_import(importer: str, target: str, rooms: Mapping[str, Drawn]) -> bool:
    """Whether module `importer` may import module `target`, both of jielong."""
    mine, other = room(importer), room(target)
    if importer == "jielong" or other == mine:
        return True
    if mine not in rooms or other not in rooms:
        return False
    if rooms[other].is_ground and not rooms[mine].is_ground:
        return True
    if other not in rooms[mine].may_import:
        return False
    only = rooms[mine].may_import[other]
    return not only or target.split(".")[2:3] == [] or target.split(".")[2] in only


def back_arrows(rooms: Mapping[str, Drawn]) -> list[str]:
    """Imports that the drawing does not allow."""
    return [
        f"{i.module}:{i.line} imports {i.target}" for i in own_imports() if not may_import(i.module, i.target, rooms)
    ]


def sizes() -> dict[str, int]:
    """File of the package -> its lines, in Python and C++."""
    package = SOURCE / "jielong"
    found = [file for kind in ("py", "cpp", "h") for file in package.rglob(f"*.{kind}")]
    return {str(f.relative_to(package)): len(f.read_text(encoding="utf-8").splitlines()) for f in sorted(found)}


def describe(graph: Graph, members: Sequence[str]) -> str:
    """The members by floor, from the top down, each with what it imports."""
    height = floors(graph)
    width = max(map(len, members))
    return "\n".join(
        f"{height[member]:3}  {member:{width}}  -> {', '.join(sorted(graph[member])) or 'nothing'}"
        for member in sorted(members, key=lambda m: (-height[m], m))
    )


def main(names: Sequence[str]) -> int:
    """Print the house, or the rooms that are named; exit code 1 where there is a circle or an arrow back up."""
    modules, rooms = graph_of_modules(), graph_of_rooms()
    rings = circles(modules) + circles(rooms)
    for ring in rings:
        print(f"circle: {' <-> '.join(ring)}")
    back = back_arrows(drawing())
    print("".join(f"not as it is drawn: {line}\n" for line in back), end="")
    if not rings:
        for name in names:
            print(describe(modules, [m for m in modules if room(m) == name]))
        if not names:
            print(describe(rooms, [r for r in rooms if r]))
    total = sum(sizes().values())
    print(
        f"{len(files())} modules, {total:,} lines with the C++, {len(rings)} circles, {len(back)} imports that are not drawn"
    )
    return 1 if rings or back else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
