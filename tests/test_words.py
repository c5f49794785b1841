"""Names and docstrings in plain English: a newcomer learns from name, signature and docstring what a function does."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "jielong"

HIDING_OPENERS = {
    *("As", "By", "From", "How", "Of", "That", "Those", "What", "Whatever"),
    *("Where", "Wherever", "Which", "Whichever", "Who", "Whoever", "Whom", "Whose", "Why"),
}
"""First words of a docstring that begins with a clause instead of a verb or a noun."""

PRIVATE_WORDS = {
    *("after", "apart", "asked", "fresh", "given", "hall", "kept", "line", "many", "means", "parted", "places"),
    *(
        "plain",
        "several",
        "shown",
        "stretches",
        "talks",
        "telling",
        "told",
    ),
}
"""Words that name nothing by themselves: they are no whole name of a public module, class or function."""

CLEAR_IN_CONTEXT = {
    "report.terminal.plain": "the plain text of something rich",
    "serve.store.store.Store.talks": "a talk is the store's own noun, as are its turns and judgements",
}
"""Public names that are such a word, and why each is clear where it is read."""

WHAT_AS_SUBJECT = re.compile(r"(?:^|[.:;]\s+)What(?:ever)?\s")


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Yield the dotted name and the tree of every module of ours."""
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), ast.parse(path.read_text())


def definitions(name: str, tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield the dotted names of a module, of its classes and functions, and of the methods of its classes."""
    yield name, tree
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from (
                definitions(f"{name}.{child.name}", child)
                if isinstance(child, ast.ClassDef)
                else [(f"{name}.{child.name}", child)]
            )


DEFINITIONS = [found for module in modules() for found in definitions(*module)]
DOCSTRINGS = {
    name: text
    for name, node in DEFINITIONS
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    and (text := ast.get_docstring(node))
}


def test_a_docstring_begins_with_a_verb_or_a_noun() -> None:
    hidden = [f"{name}: {text[:80]}" for name, text in DOCSTRINGS.items() if re.split(r"\W", text)[0] in HIDING_OPENERS]
    assert not hidden, "\n".join(hidden)


def test_no_sentence_of_a_docstring_has_what_as_its_subject() -> None:
    hidden = [
        f"{name}: {text[found.start() : found.start() + 80]}"
        for name, text in DOCSTRINGS.items()
        if (found := WHAT_AS_SUBJECT.search(text))
    ]
    assert not hidden, "\n".join(hidden)


def test_no_public_name_is_a_word_that_names_nothing() -> None:
    private = [
        name
        for name, _ in DEFINITIONS
        if name.rpartition(".")[2].lower() in PRIVATE_WORDS
        and not any(part.startswith("_") for part in name.split("."))
        and name not in CLEAR_IN_CONTEXT
    ]
    assert not private, "\n".join(private)


def test_a_name_that_is_excused_is_still_there() -> None:
    assert CLEAR_IN_CONTEXT.keys() <= {name for name, _ in DEFINITIONS}
