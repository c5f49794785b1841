"""The tree of an expression, made by the grammar and evaluated by the arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Literal:
    """A number."""

    value: Fraction


@dataclass(frozen=True)
class Constant:
    """Pi or e."""

    name: str


@dataclass(frozen=True)
class Group:
    """An expression in brackets."""

    inner: Node


@dataclass(frozen=True)
class Negative:
    """The negative of an expression."""

    inner: Node


@dataclass(frozen=True)
class Percent:
    """An expression as a percentage."""

    inner: Node


@dataclass(frozen=True)
class Binary:
    """`is_closed`: it holds together as if it stood in brackets, such as 3² and the product 2(3)."""

    sign: str
    left: Node
    right: Node
    is_closed: bool = False


@dataclass(frozen=True)
class Call:
    """`is_bare`: written as a sign, √2 and 5!, to which what stands beside may be drawn."""

    name: str
    arguments: tuple[Node, ...]
    is_bare: bool = False


Node = Literal | Constant | Group | Negative | Percent | Binary | Call


def unsigned(node: Node) -> Node:
    return node.inner if isinstance(node, Negative) else node


def is_bare(node: Node, *names: str) -> bool:
    """Whether a node is a sign, √ or !, and no name with brackets; with names, of these functions alone."""
    return isinstance(node, Call) and node.is_bare and node.name in (names or (node.name,))


def is_share(node: Node) -> bool:
    """Whether "of" may follow: a percentage, or a number between 0 and 1 such as ½, 四分之三 and 1/2."""
    if isinstance(node, Binary) and node.sign == "/" and not node.is_closed:
        return isinstance(node.left, Literal) and isinstance(node.right, Literal)
    return isinstance(node, Percent) or (isinstance(node, Literal) and 0 < node.value < 1)
