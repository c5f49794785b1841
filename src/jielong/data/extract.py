"""Extraction of a page's main text, without menus, advertisements, comments and banners.

HTML is parsed and turned into text by resiliparse. Its own "main content" mode drops short lists, and facts often stand
in lists; so the page is first narrowed to the element that holds the article, where there is one, and then loses the
elements whose tag, role or class says that they serve the site, and the lists that are nearly all links. The result has
one line for each list item and table row, and blank lines around headings and paragraphs. Markdown and plain text are
only tidied, code keeps its lines, and the text layer of a PDF is read page by page. `data.locations` gives the place in
the source of each span of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import ElementNode, HTMLTree

from jielong.data.markdown import markdown_text
from jielong.data.office import container_of, csv_text, docx_html, epub_html, json_texts, xlsx_text
from jielong.data.pdf import pdf_pages
from jielong.data.sources import PageLike
from jielong.data.tidying import code_text, plain_text, tidy
from jielong.errors import DataError
from jielong.outside import decode

_SITE_WORDS = (
    "sidebar side-bar navbar navigation breadcrumb cookie consent gdpr advert sponsor docnav promo banner newsletter subscribe "
    "related-posts related-articles read-more share-buttons social-share pagination pager copyright site-footer site-header "
    "page-footer popup modal-dialog widget tag-cloud tagcloud skip-link masthead toolbar"
).split()
_SITE_TOKENS = (
    "ad ads adbox ad-box ad-slot menu nav footer header topbar sidebar share social toc hidden related reklame".split()
)
_BLOCKS = ":is(div,section,ul,ol,dl,aside,p,table,td,details)"
# Documentation names its sections by their subject, and a section on cookies or on comments is text.
_BOXES = ":is(div,ul,ol,aside,p,table,td):not(.section)"


def _any(pattern: str, words: Sequence[str]) -> str:
    return ",".join(pattern.format(word) for word in words)


_SITE_CLASSES = (
    _any("[class*='{}' i]", (*_SITE_WORDS, "comment", "disqus"))
    + ","
    + _any("[class~='{}' i]", _SITE_TOKENS)
    + ",[class$='nav' i]"
)
_SITE_IDS = (
    _any("[id^='{}' i]", _SITE_WORDS) + "," + _any("[id='{}' i]", _SITE_TOKENS) + ",[id$='nav' i],[id*='comment' i]"
)

# One selector that asks first for what is cheap to know, [class] and [id]: as sixty selectors it took eight times as long.
# Blocks only, since a <span class="comment"> is highlighted source code.
_BY_NAME = f"[class]{_BLOCKS}:is({_SITE_CLASSES}), [id]{_BOXES}:is({_SITE_IDS})"
_SKIP = [
    "nav, footer, aside, script, style, noscript, template, form:not([data-holds-the-text]), button, select, iframe, svg, dialog, "
    "[hidden], [aria-hidden=true], [style*='display:none'], [style*='display: none'], "
    "[role=navigation], [role=banner], [role=contentinfo], [role=complementary], [role=search], [role=dialog], "
    "body > header, header:not(:has(h1)), [data-nearly-all-links], "
    f":is({_BY_NAME}):not([data-holds-the-text])"
]
_ROOTS = ("main", "[role=main]", "[itemprop=articleBody]", "article")
_ENOUGH_CHARS = 60
_LITTLE_CHARS = 300
"""Where no more than this is left of a page, it is asked whether the name of an element was taken for what it is not."""

# "<dt>Capital:</dt><dd>Paris</dd>" is one line to a reader; longer terms stand above their explanation.
_TERM = re.compile(r"<dt", re.I)
_LABEL = re.compile(r">([^<]{1,40}[:：]\s*)</dt>\s*<dd[^>]*>", re.I)
# several comments are as one, which goes up to the end of the last
_LOOKS_LIKE_HTML = re.compile(r"\s*+(?:<!--.*?-->\s*+)?<(!doctype|html|head|body|\?xml)\b", re.I | re.S)


@dataclass(frozen=True)
class Extracted:
    """The text, blank lines between its paragraphs, the encoding that the bytes were in, and a PDF's pages without text."""

    text: str
    encoding: str
    num_empty_pages: int = 0


def _num_visible(node: ElementNode) -> int:
    return len("".join((node.text or "").split()))


def _mark_link_lists(tree: HTMLTree) -> None:
    """Mark lists, tables and paragraphs of at least three links whose text is nearly all link text."""
    if tree.body is None:
        return
    for block in tree.body.query_selector_all("ul, ol, table, p, div:not(:has(p, div, table))")[:]:
        links = block.query_selector_all("a")[:]
        if len(links) >= 3:
            in_links = sum(_num_visible(link) for link in links)
            if in_links > 0.7 * _num_visible(block):
                block.setattr("data-nearly-all-links", "1")


def _root(tree: HTMLTree) -> HTMLTree | None:
    """Return the tree of the article element, if the page marks one."""
    if tree.body is None:
        return None
    for selector in _ROOTS:
        found = tree.body.query_selector_all(selector)[:2]
        if len(found) == 1:
            return HTMLTree.parse(found[0].html)
    return None


def _tree_text(tree: HTMLTree) -> str:
    return tidy(extract_plain_text(tree, list_bullets=False, alt_texts=False, skip_elements=_SKIP))


def _mark_main_holders(tree: HTMLTree) -> bool:
    """Mark forms, and elements with a class of site furniture ("has-sidebar"), that hold most of the text; return
    whether there are any.
    """
    if tree.body is None:
        return False
    whole, found = _num_visible(tree.body), False
    for element in tree.body.query_selector_all(f"form, {_BY_NAME}")[:]:
        if _num_visible(element) > max(_LITTLE_CHARS, whole / 2):
            element.setattr("data-holds-the-text", "1")
            found = True
    return found


def _with_labels(html: str) -> str:
    """Move labels such as definition terms into the line of their value, in time linear in the page."""
    pieces, done, tag_end = list[str](), 0, -1
    for term in _TERM.finditer(html):
        if term.start() < max(done, tag_end):  # inside the last one, with which it shares its end
            continue
        tag_end = html.find(">", term.end())
        if tag_end < 0:
            break
        label = _LABEL.match(html, tag_end)
        if label:
            pieces += [html[done : term.start()], "<dt", html[term.end() : tag_end], f">{label[1]} "]
            done = label.end()
    return "".join((*pieces, html[done:])) if pieces else html


def html_text(html: str) -> str:
    """Extract the main text of an HTML page; "" when it has none."""
    tree = HTMLTree.parse(_with_labels(html))
    _mark_link_lists(tree)
    text = _main_text(tree)
    if len(text) < _LITTLE_CHARS and _mark_main_holders(tree):
        return _main_text(tree)
    return text


def _main_text(tree: HTMLTree) -> str:
    """Extract the text of the article's element, or of the whole page where that is too short."""
    root = _root(tree)
    if root is not None:
        text = _tree_text(root)
        if len(text) >= _ENOUGH_CHARS:
            return text
    return _tree_text(tree)


Extractor = Literal["rules", "learned"]
"""How the main text of HTML is found: by rules on elements and their names, or by a trained forest."""

_LEAST_CONFIDENCE = 0.2


def learned_text(html: str) -> str:
    """Extract the main text of an HTML page by the forest, as light Markdown; by rules where it finds little, or is not
    sure.
    """
    from jielong.data.content.choosing import main_content  # numpy and another parser, a tenth of a second

    found = main_content(html)
    if len(found.text) >= _ENOUGH_CHARS and found.confidence >= _LEAST_CONFIDENCE:
        return plain_text(found.text)
    return html_text(html)


PAGE_BORDER = "\n\n"
"""Stands between the pages of a PDF."""


def is_pdf(page: PageLike) -> bool:
    return "pdf" in page.content_type or page.body.startswith(b"%PDF-")


def kind_of(page: PageLike, text: str) -> str:
    """Choose the reader for a page of text: html, markdown, code, csv, json or text. A page that begins like HTML is
    html.
    """
    kind = page.content_type.partition(";")[0].strip().lower()
    if kind in ("text/csv", "application/json", "application/jsonl"):
        return "csv" if kind == "text/csv" else "json"
    if "code" in kind:
        return "code"
    if "html" in kind or "xml" in kind or _LOOKS_LIKE_HTML.match(text):
        return "html"
    return "markdown" if "markdown" in kind else "text"


def source_of(page: PageLike) -> tuple[str, str, str]:
    """Return a page's kind of reader (a key of `READ`), its source as text, and its encoding; not for PDFs.

    A Word document and an EPUB are first converted to HTML, a workbook to text. DataError for an archive of another
    kind, and for bytes that are no text.
    """
    container = container_of(page.body)
    if container:
        kind, read = {"docx": ("html", docx_html), "epub": ("html", epub_html), "xlsx": ("xlsx", xlsx_text)}[container]
        return kind, read(page.body), container
    if page.body.startswith(_BINARY):
        raise DataError("it is no text; its first bytes are those of a program, a picture or an archive")
    text, encoding = decode(page.body, page.content_type)
    begin = text[:4096]
    if sum(letter in _NO_LETTERS for letter in begin) > len(begin) / 50:
        raise DataError("it is no text; it is full of bytes that mean no letter")
    kind = kind_of(page, text)
    return kind, text, encoding


_NO_LETTERS = frozenset(map(chr, (*range(9), *range(14, 27), *range(28, 32), 0xFFFD)))

_BINARY = (
    b"\x7fELF",
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"MZ\x90",
    b"\x1f\x8b",
    b"Rar!",
    b"7z\xbc\xaf",
    b"SQLite format 3",
)
"""How files begin that are no text, whatever their names end in."""


def extract(page: PageLike, extractor: Extractor = "rules") -> Extracted:
    """Extract the main text of a page of any type; `extractor` is for HTML.

    A page that claims to be text but opens like HTML is read as HTML. Malformed text never raises, for the parser
    repairs it; DataError for a PDF, a Word document or the like that is damaged or encrypted, ConfigError where the
    package that reads them is not installed.
    """
    if is_pdf(page):
        pages = pdf_pages(page.body)
        return Extracted(PAGE_BORDER.join(filter(None, pages)), "pdf", pages.count(""))
    kind, source, encoding = source_of(page)
    read = learned_text if kind == "html" and extractor == "learned" else READ[kind]
    return Extracted(read(source), encoding)


READ: dict[str, Callable[[str], str]] = {
    "html": html_text,
    "markdown": markdown_text,
    "code": code_text,
    "text": plain_text,
    "csv": lambda text: plain_text(csv_text(text)),
    "json": lambda text: plain_text("\n\n".join(json_texts(text))),
    "xlsx": plain_text,
}
