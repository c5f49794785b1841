"""The meaning of each field of a dataclass, read from its source.

It is the string under the field, or the comment beside or above it, or the sentence of the class's docstring that names it.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import re
import textwrap


@functools.cache
def meanings(kind: type) -> dict[str, str]:
    """Return field -> meaning of a dataclass and its base dataclasses; fields without a description are left out."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if "__dataclass_fields__" in vars(each):
            found |= _meanings_of_class(each)
    return found


def _meanings_of_class(kind: type) -> dict[str, str]:
    """Read field -> meaning from the source of one class, without its bases."""
    try:
        source = textwrap.dedent(inspect.getsource(kind))
    except (OSError, TypeError):  # made in an interpreter
        return {}
    tree = ast.parse(source).body[0]
    assert isinstance(tree, ast.ClassDef)
    lines, sentences = source.splitlines(), _sentences(ast.get_docstring(tree) or "")
    found = {}
    for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
            line = node.end_lineno or node.lineno
            beside = _in_a_line(lines[line - 1][node.end_col_offset or 0 :].lstrip(" #"))
            said = _string(after) or beside or _comment_above(lines, node.lineno - 1) or _about(name, sentences)
            if said:
                found[name] = said
    own = {field.name for field in dataclasses.fields(kind)}
    return {name: said for name, said in found.items() if name in own}


def _string(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return _in_a_line(node.value.value.partition("\n\n")[0])
    return ""


def _comment_above(lines: list[str], line: int) -> str:
    """Join the comment lines directly above a line into one."""
    said: list[str] = []
    while line and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        said.insert(0, lines[line].lstrip(" #"))
    return _in_a_line(" ".join(said))


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.])\s+(?=[A-Z`\"])", _in_a_line(text))


def _about(name: str, sentences: list[str]) -> str:
    """Return the sentence that names the field in backticks."""
    return next((s for s in sentences if re.search(rf"`[^`]*\b{re.escape(name)}\b[^`]*`", s)), "")


def _in_a_line(text: str) -> str:
    line = " ".join(text.split())
    return line[:1].upper() + line[1:]
