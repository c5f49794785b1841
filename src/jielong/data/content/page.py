"""A page as blocks of text in reading order, each with the elements around it.

A block is a run of text with no border of a block-level element within it, and no two line breaks in a row. Scripts and
styles are left out; what is hidden is kept, and marked, as tabs and folded answers are hidden too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode

_NO_TEXT = frozenset("script style template svg math iframe object embed canvas video audio map head link meta".split())
_INLINE = frozenset(
    "a abbr acronym b bdi bdo big center cite code data del dfn em font i img ins kbd label mark nobr picture q rp rt ruby s samp "
    "small source span strike strong sub sup time tt u var wbr".split()
)
_SPACE = re.compile(r"[^\S\n]+")
_AROUND_BREAKS = re.compile(r" *\n *")
_DISPLAY_NONE = re.compile(r"display\s*:\s*none", re.I)


@dataclass(slots=True)
class Element:
    """A block-level element; `parent` is its number among the page's, -1 for the body, and blocks `first` to `last` - 1
    lie in it.
    """

    tag: str
    parent: int
    depth: int
    names: str
    """Its class and id, lower case."""
    role: str
    is_hidden: bool
    first: int
    last: int = 0


@dataclass(slots=True)
class Block:
    """A run of text; `element` is the number of the innermost block-level element around it."""

    text: str
    element: int
    num_links: int
    num_tags: int
    """Inline elements."""
    link_chars: int
    bold_chars: int


@dataclass
class Page:
    """Elements in the order in which they open, and blocks in the order in which they are read."""

    elements: list[Element] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    title: str = ""
    description: str = ""
    kind: str = ""
    """The kind that the page itself states (og:type)."""
    linked_data: list[str] = field(default_factory=list)
    """JSON-LD, as it stands in the page."""


def read_page(html: str) -> Page:
    """Cut a page into blocks; malformed HTML is repaired as browsers do it."""
    parser, page = LexborHTMLParser(html), Page()
    title = parser.css_first("title")
    page.title = title.text() if title else ""
    said = {(m.attributes.get("property") or m.attributes.get("name") or "").lower(): m for m in parser.css("meta")}
    page.description = _said(said, "og:description") or _said(said, "description")
    page.kind = _said(said, "og:type").lower()
    page.linked_data = [s.text() for s in parser.css("script[type='application/ld+json']")]
    if parser.body is not None:
        _Cutter(page).cut(parser.body)
    return page


def _said(said: dict[str, LexborNode], name: str) -> str:
    return (said[name].attributes.get("content") or "") if name in said else ""


class _Cutter:
    """Walks through the nodes of a page without recursion, as pages nest thousands of elements."""

    def __init__(self, page: Page) -> None:
        self._page, self._pieces = page, list[str]()
        self._links = self._tags = self._link_chars = self._bold_chars = 0

    def cut(self, body: LexborNode) -> None:
        """Fill the page's elements and blocks."""
        elements = self._page.elements
        # a node with the element around it, whether it is in a link, bold and in code; None closes that element
        stack: list[tuple[LexborNode | None, int, bool, bool, bool]] = [(body, -1, False, False, False)]
        while stack:
            node, owner, in_link, is_bold, is_code = stack.pop()
            if node is None:
                self._end(owner, is_code)
                elements[owner].last = len(self._page.blocks)
                continue
            tag = node.tag or ""
            if tag == "-text":
                self._add(node.text_content or "", in_link, is_bold, is_code)
                continue
            if tag in _NO_TEXT or not tag[:1].isalpha():
                continue
            if tag == "br":
                self._pieces.append("\n")
                if not is_code and _is_break(node.next):
                    self._end(owner, is_code)
                continue
            if tag in _INLINE:
                self._tags += 1
                self._links += tag == "a"
                in_link, is_bold = in_link or tag == "a", is_bold or tag in ("b", "strong")
            else:
                self._end(owner, is_code)
                owner, is_code = self._open(node, tag, owner), is_code or tag == "pre"
                stack.append((None, owner, False, False, is_code))
            child = node.last_child
            while child is not None:
                stack.append((child, owner, in_link, is_bold, is_code))
                child = child.prev

    def _open(self, node: LexborNode, tag: str, parent: int) -> int:
        """Add an element and return its number."""
        found, elements = node.attributes, self._page.elements
        names = f"{found.get('class') or ''} {found.get('id') or ''}".strip().lower()
        above = elements[parent] if parent >= 0 else None
        is_hidden = (
            "hidden" in found
            or found.get("aria-hidden") == "true"
            or _DISPLAY_NONE.search(found.get("style") or "") is not None
        )
        elements.append(
            Element(
                tag,
                parent,
                above.depth + 1 if above else 0,
                names,
                found.get("role") or "",
                is_hidden or (above.is_hidden if above else False),
                len(self._page.blocks),
            )
        )
        return len(elements) - 1

    def _add(self, text: str, in_link: bool, is_bold: bool, is_code: bool) -> None:
        """Add the text of a node to the block that is open."""
        self._pieces.append(text if is_code else " ".join(text.split("\n")))
        visible = len(text.strip())
        self._link_chars += visible if in_link else 0
        self._bold_chars += visible if is_bold else 0

    def _end(self, element: int, is_code: bool) -> None:
        """Close the block that is open; one without visible text is dropped."""
        if not self._pieces:
            return
        text = "".join(self._pieces)
        self._pieces.clear()
        text = text.strip("\n").rstrip() if is_code else _AROUND_BREAKS.sub("\n", _SPACE.sub(" ", text)).strip()
        if text.strip():
            made = Block(text, element, self._links, self._tags, self._link_chars, self._bold_chars)
            self._page.blocks.append(made)
        self._links = self._tags = self._link_chars = self._bold_chars = 0


def _is_break(node: LexborNode | None) -> bool:
    """Whether the next node that is not empty text is a line break."""
    while node is not None and node.tag == "-text" and not (node.text_content or "").strip():
        node = node.next
    return node is not None and node.tag == "br"
