"""Conversion of a model's Markdown to safe HTML, for hostile text too.

The parser takes no HTML, and this module decides how links, pictures and code are rendered; then `nh3` lets through
only listed markup, so a mistake before it shows as missing markup. The page fetches nothing for an answer: a picture on
another server becomes a link. Rendering runs in a process that is killed if it takes too long; the text is then shown
without markup.

An answer is rendered again and again while it is written. So there are no headings by underlines and no references that
are defined further down: both would change text that is already shown.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Collection, Iterator, MutableMapping, Sequence
from typing import Any

import nh3
import pygments
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES

from jielong.errors import LimitError
from jielong.outside.worker import Worker

LIMIT_S = 2.0
MEMORY_BYTES = 256 << 20
MAX_CHARS = 200_000
"""Longer texts are shown as they are."""
MAX_CODE_CHARS = 20_000
"""Of a block of code, and of all blocks of an answer three times as many; beyond them code has no colours."""

LANGUAGES: dict[str, str] = {
    name: lexer
    for lexer, names in {
        "bash": "bash sh shell zsh console",
        "c": "c h",
        "cpp": "cpp c++ cc cxx hpp",
        "csharp": "csharp c# cs",
        "css": "css",
        "diff": "diff patch",
        "docker": "docker dockerfile",
        "go": "go golang",
        "haskell": "haskell hs",
        "html": "html",
        "ini": "ini cfg conf",
        "java": "java",
        "javascript": "javascript js jsx mjs node",
        "json": "json jsonc jsonl",
        "julia": "julia jl",
        "kotlin": "kotlin kt",
        "latex": "latex tex",
        "lua": "lua",
        "make": "make makefile",
        "markdown": "markdown md",
        "matlab": "matlab",
        "perl": "perl pl",
        "php": "php",
        "powershell": "powershell ps1",
        "python": "python py py3 python3",
        "r": "r",
        "ruby": "ruby rb",
        "rust": "rust rs",
        "scala": "scala",
        "sql": "sql mysql postgresql sqlite",
        "swift": "swift",
        "toml": "toml",
        "typescript": "typescript ts tsx",
        "xml": "xml svg",
        "yaml": "yaml yml",
    }.items()
    for name in names.split()
}
"""The name that stands behind a fence, and the lexer of pygments for it."""

_WEB = re.compile(r"(?:https?://[^/?#\s]|mailto:[^?#\s])", re.IGNORECASE)
_PASSAGE = re.compile(r"#passage-[1-9]\d{0,2}")
_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}")
_CITATION = re.compile(r"\[([1-9]\d{0,2})\]")
_REL = "noopener noreferrer nofollow"


def render(text: str, citations: Collection[int] = (), *, is_unfinished: bool = False) -> str:
    """Render an answer as HTML in a worker. A text beyond the limits of time or size gets no markup.

    "[1]" becomes a link to passage 1 if 1 is among `citations`. With `is_unfinished` the text is still being written,
    and open marks of its last line are shown as if they were closed.
    """
    if len(text) > MAX_CHARS:
        return _plain(text)
    try:
        return str(_WORKER.call(text, sorted(citations), is_unfinished))
    except LimitError:
        return _plain(text)


def _plain(text: str) -> str:
    return f'<pre class="plain">{html.escape(text)}</pre>'


def to_html(text: str, citations: Sequence[int] = (), is_unfinished: bool = False) -> str:
    """Render as `render` does, in this process and without limits: the worker's function."""
    text = text.encode("utf-8", "replace").decode()
    env: dict[str, Any] = {"citations": frozenset(citations), "code": 3 * MAX_CODE_CHARS}
    return (
        _build_cleaner().clean(_build_parser().render(close_open_marks(text) if is_unfinished else text, env)).strip()
    )


# An unfinished text ----------------------------------------------------------------------------------------------------

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)
_BEGUN_FENCE = re.compile(r"(?:^|\n)[ ]{0,3}[`~]{1,2}\Z")
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_BEGUN_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\([^()\s]*\Z")
_BEGUN_BOLD = re.compile(r"(?<![A-Za-z0-9*])\*\*(?=[^\s*])")


def close_open_marks(text: str) -> str:
    """Close Markdown marks left open in the last paragraph, and drop incomplete ones."""
    text = _BEGUN_FENCE.sub("", text)
    if _is_in_fence(text):
        return text
    start = text.rfind("\n\n") + 1
    before, last = text[:start], _BEGUN_LINK.sub(r"\1", text[start:])
    bare = _CODE.sub("", last)
    if "`" in bare:
        return before + (last[:-1] if last.endswith("`") else f"{last}`")
    if bare.count("**") % 2 == 0:
        return before + (last[:-1] if re.search(r"(?<![\s*])\*\Z|(?<=\s)\*\Z", last) else last)
    if last.endswith("**"):
        return before + last[:-2]
    return before + (f"{last.rstrip().removesuffix('*')}**" if _BEGUN_BOLD.search(bare) else last)


def _is_in_fence(text: str) -> bool:
    """Whether a text ends inside of a fenced block."""
    mark = ""
    for found in _FENCE.finditer(text):
        if not mark:
            mark = found[1]
        elif found[1].startswith(mark) and not text[found.end() :].partition("\n")[0].strip():
            mark = ""
    return bool(mark)


# Parsing ---------------------------------------------------------------------------------------------------------------


@functools.cache
def _build_parser() -> MarkdownIt:
    """Build the Markdown parser with our rules."""
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False, "breaks": True, "xhtmlOut": False})
    parser.enable(["table", "strikethrough"]).disable(["html_block", "html_inline", "lheading", "reference"])
    parser.validateLink = lambda url: bool(_WEB.match(url) or _PICTURE.fullmatch(url))  # type: ignore[method-assign]
    parser.core.ruler.push("safe", _make_safe)
    parser.add_render_rule("fence", _render_code)
    parser.add_render_rule("code_block", _render_code)
    return parser


def _make_safe(state: StateCore) -> None:
    """Shift headings, set cells by class, and make inline content safe."""
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
        elif token.type in ("th_open", "td_open"):
            side = str(token.attrs.pop("style", "")).removeprefix("text-align:")
            if side in ("center", "right"):
                token.attrs["class"] = side
        elif token.type == "inline":
            token.children = list(_safe_inline(token.children or [], state.env["citations"]))


def _safe_inline(tokens: Sequence[Token], citations: frozenset[int]) -> Iterator[Token]:
    """Make links open in a new tab, turn external pictures into links, and passage numbers into citations."""
    is_linked = is_kept = False
    for token in tokens:
        if token.type == "link_open":
            is_linked, is_kept = True, bool(_WEB.match(str(token.attrs.get("href", ""))))
            token.attrs = {"href": token.attrs.get("href", ""), "target": "_blank", "rel": _REL}
            if is_kept:
                yield token
        elif token.type == "link_close":
            if is_kept:
                yield token
            is_linked = is_kept = False
        elif token.type == "image":
            yield from _render_picture(token, is_linked)
        elif token.type == "text" and citations and not is_linked:
            yield from _link_citations(token.content, citations)
        else:
            yield token


def _render_picture(token: Token, is_linked: bool) -> Iterator[Token]:
    """Render an embedded picture, or a link to one elsewhere."""
    url = str(token.attrs.get("src", ""))
    if _PICTURE.fullmatch(url):
        token.attrs = {"src": url, "alt": ""}  # the renderer fills in the words
        yield token
        return
    said = _text(token.content or url)
    if is_linked:
        yield said
    else:
        yield from _link_tokens({"href": url, "target": "_blank", "rel": _REL}, said)


def _link_citations(text: str, citations: frozenset[int]) -> Iterator[Token]:
    """Turn passage numbers in a text into links."""
    at = 0
    for found in _CITATION.finditer(text):
        if int(found[1]) in citations:
            yield _text(text[at : found.start()])
            attrs = {"href": f"#passage-{found[1]}", "data-passage": found[1], "class": "cite"}
            yield from _link_tokens(attrs, _text(found[0]))
            at = found.end()
    yield _text(text[at:])


def _link_tokens(attrs: dict[str, str | int | float], said: Token) -> Iterator[Token]:
    """Yield the tokens of a link with these attributes around the token `said`."""
    yield Token("link_open", "a", 1, attrs)
    yield said
    yield Token("link_close", "a", -1)


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


def _render_code(renderer: Any, tokens: Sequence[Token], at: int, options: Any, env: MutableMapping[str, Any]) -> str:
    """Render a block of code, highlighted within limits."""
    token = tokens[at]
    named = token.info.split(maxsplit=1)[0].lower() if token.info.strip() else ""
    language = LANGUAGES.get(named, "")
    if language and len(token.content) <= min(MAX_CODE_CHARS, env["code"]):
        env["code"] -= len(token.content)
        said = _highlighted(token.content, language)
    else:
        said = html.escape(token.content, quote=False)
    label = f' class="language-{language}"' if language else ""
    return f"<pre><code{label}>{said}</code></pre>\n"


@functools.lru_cache(maxsize=128)
def _highlighted(code: str, language: str) -> str:
    """Highlight code; cached, since finished blocks of a growing answer stay the same."""
    return str(pygments.highlight(code, _lexer(language), _formatter()))


@functools.cache
def _lexer(language: str) -> Any:
    return get_lexer_by_name(language, stripnl=False)


@functools.cache
def _formatter() -> Any:
    return HtmlFormatter(nowrap=True)


# The last gate ---------------------------------------------------------------------------------------------------------


def _filter_attribute(tag: str, name: str, value: str) -> str | None:
    """Return the value of an attribute, or None for one that is not allowed."""
    if (tag, name) == ("a", "href"):
        return value if _WEB.match(value) or _PASSAGE.fullmatch(value) else None
    if (tag, name) == ("img", "src"):
        return value if _PICTURE.fullmatch(value) else None
    if name in ("data-passage", "start"):
        return value if re.fullmatch(r"\d{1,9}", value) else None
    return value


@functools.cache
def _build_cleaner() -> nh3.Cleaner:
    """Build the cleaner with the allowed tags, attributes and classes."""
    classes = {name for name in STANDARD_TYPES.values() if name}
    return nh3.Cleaner(
        tags=set(
            "a blockquote br code em h3 h4 h5 h6 hr img li ol p pre s span strong table tbody td th thead tr ul".split()
        ),
        attributes={"a": {"href", "data-passage"}, "img": {"src", "alt"}, "ol": {"start"}},
        attribute_filter=_filter_attribute,
        tag_attribute_values={"a": {"target": {"_blank"}, "rel": {_REL}}},
        allowed_classes={
            "a": {"cite"},
            "code": {f"language-{language}" for language in LANGUAGES.values()},
            "span": classes,
            "td": {"center", "right"},
            "th": {"center", "right"},
        },
        url_schemes={"http", "https", "mailto", "data"},
        link_rel=None,
    )


_WORKER = Worker("jielong.serve.markdown:to_html", limit_s=LIMIT_S, memory_bytes=MEMORY_BYTES)
