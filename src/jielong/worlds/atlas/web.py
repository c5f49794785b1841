"""A small bilingual web: clean articles dressed as the pages of many sites, among the junk of a real crawl.

Articles go in, `WebPage`s come out: bytes in some encoding, with menus, banners, advertisements, comments and footers
around the text, and between them spam, copies, other languages, broken encodings and harmful pages. Each page carries
its true `kind`, which a refiner does not read, so its decisions can be measured. The page of article i and the junk
that follows it depend on the articles up to i, on the seed and on i.
"""

from __future__ import annotations

import html
import random
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from jielong.errors import ConfigError
from jielong.records import Document
from jielong.runs import derive_seed
from jielong.worlds.atlas import phrases_web as say

_MIN_NEAR_COPY_CHARS = {"en": 250, "zh": 90}
_RECENT = 40  # a copy shows one of so many last articles
_JUNK_LINES: dict[str, say.Lines] = {
    "harmful": say.HARMFUL,
    "advertisement": say.ADVERTISING,
    "boilerplate": say.BOILERPLATE,
}

JUNK_KINDS = (
    "spam",
    "near-copy",
    "exact-copy",
    "other-language",
    "broken",
    "harmful",
    "advertisement",
    "boilerplate",
    "links",
    "empty",
)
SITES = (
    "open-globe",
    "worldnotes",
    "kleine-karte",
    "ditu",
    "huanqiu-xiaozhan",
    "classroom-atlas",
    "travel-pages",
    "map-room",
)


@dataclass(frozen=True)
class WebConfig:
    """`junk_share` of all pages is junk; `odd_encoding_share` of the articles come in an encoding other than plain UTF-8."""

    junk_share: float = 0.3
    odd_encoding_share: float = 0.15

    def __post_init__(self) -> None:
        for name in ("junk_share", "odd_encoding_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"web.{name} is {getattr(self, name)!r}; it must be in [0, 1)")


@dataclass(frozen=True)
class WebPage:
    """Bytes at an address, with the truth: `kind` is "article" or one of `JUNK_KINDS`, `article` the id of the one that
    it shows.
    """

    uri: str
    body: bytes
    content_type: str
    kind: str
    article: str = ""


@dataclass(frozen=True)
class _Frame:
    """The surroundings of a text on one page: the site's language, the title and the random numbers."""

    lang: str
    title: str
    rng: random.Random

    def word(self, key: str) -> str:
        return say.WORDS[self.lang][key]

    def some(self, lines: say.Lines, count: int = 1) -> list[str]:
        chosen = self.rng.sample(lines[self.lang], min(count, len(lines[self.lang])))
        return [line.replace("{n}", str(self.rng.randint(2, 70))).replace("{x}", self.title) for line in chosen]


def _links(frame: _Frame, count: int) -> str:
    names = frame.rng.sample(say.MENU[frame.lang], count)
    return "".join(f'<li><a href="/{i}">{name}</a></li>' for i, name in enumerate(names))


def _ad(frame: _Frame) -> str:
    name = frame.rng.choice(("ad", "ad-box", "advertisement", "sponsored-content", "ads"))
    return f'<div class="{name}"><p>{frame.some(say.ADS)[0]}</p></div>'


def _comments(frame: _Frame) -> str:
    """Write a section of readers' comments."""
    rng = frame.rng
    items = "".join(
        f'<li class="comment"><b>{rng.choice(say.NAMES[frame.lang])}</b><p>{text}</p></li>'
        for text in frame.some(say.COMMENTS, rng.randint(1, 4))
    )
    return f'<section id="comments" class="comments-area"><h3>{frame.word("comments")}</h3><ol>{items}</ol></section>'


def _cookies(frame: _Frame) -> str:
    name = frame.rng.choice(('id="cookie-banner"', 'class="cookie-consent"', 'class="gdpr-notice" role="dialog"'))
    return f"<div {name}><p>{frame.some(say.COOKIES)[0]}</p><button>{frame.word('accept')}</button></div>"


def _footer(frame: _Frame) -> str:
    return "".join(f"<p>{line}</p>" for line in frame.some(say.FOOTER, 2))


_LABELLED = re.compile(r"^[^:：]{1,40}[:：] ?\S")


def _pairs(lines: list[str]) -> list[tuple[str, str]]:
    """Split each line into a label (with its colon) and a value."""
    cuts = [re.search("[:：]", line).end() for line in lines]  # type: ignore[union-attr]
    return [(line[:at], line[at:].strip()) for line, at in zip(lines, cuts, strict=True)]


def _block(lines: list[str], rng: random.Random) -> str:
    """Format neighbouring lines as a paragraph, a list, or a table of facts."""
    lines = [html.escape(line, quote=False) for line in lines]
    if len(lines) == 1:
        return f"<p>{lines[0]}</p>"
    choice = rng.random()
    if choice < 0.5 and all(_LABELLED.match(line) for line in lines):
        pairs = _pairs(lines)
        if choice < 0.3:
            rows = "".join(f"<tr><th>{label}</th><td>{value}</td></tr>" for label, value in pairs)
            return f'<table class="infobox"><tbody>{rows}</tbody></table>'
        return "<dl>" + "".join(f"<dt>{label}</dt><dd>{value}</dd>" for label, value in pairs) + "</dl>"
    if choice < 0.8:
        return "<ul>\n" + "\n".join(f"<li>{line}</li>" for line in lines) + "\n</ul>"
    return "<p>" + "<br>\n".join(lines) + "</p>"


def _article_html(text: str, frame: _Frame) -> str:
    """Format the article alone, its title as <h1> if it opens with one, now and then an advertisement in its middle."""
    blocks = [block.split("\n") for block in text.split("\n\n") if block.strip()]
    parts = []
    if blocks and blocks[0] == [frame.title]:
        parts.append(f"<h1>{html.escape(frame.title, quote=False)}</h1>")
        blocks = blocks[1:]
    parts += [_block(lines, frame.rng) for lines in blocks]
    if len(parts) > 2 and frame.rng.random() < 0.3:
        parts.insert(frame.rng.randrange(2, len(parts)), _ad(frame))
    return "\n".join(parts)


def _modern(inner: str, frame: _Frame) -> str:
    """Lay a page out with HTML5's elements."""
    return (
        f"<header><a href='/'>{frame.some(say.MENU)[0]}</a><nav><ul>{_links(frame, 5)}</ul></nav></header>{_cookies(frame)}"
        f"<main><article>\n{inner}\n</article></main><aside><h3>{frame.word('related')}</h3><ul>{_links(frame, 4)}</ul>{_ad(frame)}"
        f"</aside>{_comments(frame)}<footer>{_footer(frame)}</footer>"
    )


def _boxes(inner: str, frame: _Frame) -> str:
    """Lay a page out with divs and a sidebar."""
    return (
        f'<div id="wrapper"><div class="menu"><ul>{_links(frame, 6)}</ul></div>{_cookies(frame)}<div class="content">\n{inner}\n</div>'
        f'<div class="sidebar"><h3>{frame.word("related")}</h3><ul>{_links(frame, 5)}</ul>{_ad(frame)}</div>'
        f'{_comments(frame)}<div class="footer">{_footer(frame)}</div></div>'
    )


def _old_table(inner: str, frame: _Frame) -> str:
    """Lay a page out with tables, as in the nineties."""
    return (
        f'<table width="100%"><tr><td colspan="2" class="header"><ul>{_links(frame, 5)}</ul></td></tr>'
        f'<tr><td class="sidebar" width="160"><ul>{_links(frame, 6)}</ul>{_ad(frame)}</td><td>\n{inner}\n</td></tr></table>'
        f'<p class="footer">{frame.some(say.FOOTER)[0]}</p>'
    )


def _blog(inner: str, frame: _Frame) -> str:
    """Lay a page out as a blog post."""
    return (
        f'<div class="site-header"><ul class="navbar">{_links(frame, 5)}</ul><form><input name="q"><button>{frame.word("search")}'
        f'</button></form></div><div class="post"><div class="entry">\n{inner}\n</div><div class="share-buttons">{frame.word("share")}: '
        f'<a href="#">A</a> <a href="#">B</a></div><div class="related-posts"><h4>{frame.word("related")}</h4>{_ad(frame)}</div>'
        f'{_comments(frame)}</div><div class="site-footer">{_footer(frame)}</div>{_cookies(frame)}'
    )


def _wiki(inner: str, frame: _Frame) -> str:
    """Lay a page out as a wiki article."""
    return (
        f'<div id="navigation"><ul>{_links(frame, 7)}</ul></div><div id="content" role="main"><div class="breadcrumb"><a href="/">'
        f"{frame.some(say.MENU)[0]}</a> › <a href='/x'>{frame.some(say.MENU)[0]}</a></div>\n{inner}\n</div>"
        f'<div id="footer"><a href="#top">{frame.word("top")}</a>{_footer(frame)}</div>'
    )


_LAYOUTS: tuple[Callable[[str, _Frame], str], ...] = (_modern, _boxes, _old_table, _blog, _wiki)
_STYLE = "<style>body{font-family:sans-serif;margin:0 auto;max-width:60em}.ad{border:1px solid #ccc}</style>"
_SCRIPT = "<script>window.visits=(window.visits||0)+1;document.documentElement.className='js';</script>"


def _page(inner: str, frame: _Frame, charset: str) -> str:
    """Wrap `inner` into a whole HTML page, in one of the layouts, that claims to be encoded in `charset`."""
    meta = (
        f'<meta charset="{charset}">'
        if frame.rng.random() < 0.6
        else (f'<meta http-equiv="Content-Type" content="text/html; charset={charset}">')
    )
    title = html.escape(frame.title, quote=False)
    head = f"<head>{meta}<title>{title} - {frame.some(say.MENU)[0]}</title>{_STYLE}{_SCRIPT}</head>"
    body = frame.rng.choice(_LAYOUTS)(inner, frame)
    return f'<!DOCTYPE html>\n<html lang="{frame.lang}">{head}\n<body>{body}{_SCRIPT}</body></html>\n'


def _encoding(lang: str, is_odd: bool, rng: random.Random) -> tuple[str, str]:
    """Draw the encoding that the bytes are in, and the encoding that the page claims."""
    if not is_odd:
        return "utf-8", "utf-8"
    choices: tuple[tuple[str, str], ...]
    if lang == "en":
        choices = (("cp1252", "windows-1252"), ("utf-8", "iso-8859-1"), ("cp1252", "utf-8"), ("utf-16", "utf-16"))
    else:
        choices = (
            ("gb18030", "gb18030"),
            ("gb18030", "gb2312"),
            ("gb18030", "utf-8"),
            ("utf-8", "gbk"),
            ("gb18030", "big5"),
        )
    return rng.choice(choices)


def _near_copy(text: str, frame: _Frame) -> str:
    """Copy the article with about one word in fifty added or left out, and sometimes a line on its source."""
    rng, separator = frame.rng, "" if frame.lang == "zh" else " "
    paragraphs = text.split("\n\n")
    for _ in range(max(1, len(text) // (300 if separator else 120))):
        at = rng.randrange(len(paragraphs))
        pieces = paragraphs[at].split(" ") if separator else re.split("(?<=[，。；：])", paragraphs[at])
        if len(pieces) > 3:
            place = rng.randrange(1, len(pieces))
            if separator and rng.random() < 0.5:
                del pieces[place]
            else:
                pieces.insert(place, frame.word("also"))
            paragraphs[at] = separator.join(pieces)
    if rng.random() < 0.5:
        paragraphs.append(frame.word("source"))
    return "\n\n".join(paragraphs)


def _broken(page: str, frame: _Frame) -> bytes:
    """Return a page whose text was decoded wrongly and stored again, or whose bytes were damaged on the way."""
    raw = page.encode("utf-8")
    if frame.lang == "zh":
        wrong = frame.rng.choice(("latin-1", "gb18030"))
        return raw.decode(wrong, "replace").encode("utf-8")
    damaged = bytearray(raw)
    for at in range(raw.find(b"<body"), len(raw)):
        if damaged[at : at + 1].isalpha() and frame.rng.random() < 0.2:
            damaged[at] = frame.rng.randrange(0x80, 0x100)
    return bytes(damaged)


def _paragraphs(lines: list[str]) -> str:
    return "\n".join(f"<p>{html.escape(line, quote=False)}</p>" for line in lines)


def _spam(frame: _Frame) -> str:
    """Write spam: one line repeated many times, or a list of keywords."""
    rng = frame.rng
    if rng.random() < 0.5:
        line = frame.some(say.SPAM_LINES)[0]
        return _paragraphs([line] * rng.randint(5, 15))
    words = [rng.choice(frame.some(say.KEYWORDS, 6)) for _ in range(rng.randint(60, 120))]
    return _paragraphs([", ".join(words) if frame.lang == "en" else "，".join(words)])


def _junk_inner(kind: str, frame: _Frame) -> str:
    """Write the inside of a junk page that shows no article."""
    rng = frame.rng
    if kind == "spam":
        return _spam(frame)
    if kind == "other-language":
        lines = say.OTHER_LANGUAGES[rng.choice(sorted(say.OTHER_LANGUAGES))]
        return _paragraphs(
            [line.replace("{n}", str(rng.randint(10, 90))) for line in rng.sample(lines, rng.randint(4, 6))]
        )
    if kind == "links":
        return f"<ul>{_links(frame, 10)}</ul><ul>{_links(frame, 8)}</ul>"
    if kind == "empty":
        return rng.choice(("", "<p></p>", "<div>&nbsp;</div>", "<p>...</p>"))
    return _paragraphs(frame.some(_JUNK_LINES[kind], rng.randint(4, 6)))


def _junk(kind: str, document: Document, earlier: Document, frame: _Frame) -> tuple[bytes, str]:
    """Return the bytes of a junk page and the id of the article that it shows, if any."""
    shown = document
    if kind in ("near-copy", "exact-copy"):
        shown = earlier
        frame = _Frame(_site_lang(shown, frame.rng), str(shown.meta.get("title", "")), frame.rng)
        text = _near_copy(shown.text, frame) if kind == "near-copy" else shown.text
        return _page(_article_html(text, frame), frame, "utf-8").encode("utf-8"), shown.id
    if kind == "broken":
        return _broken(_page(_article_html(shown.text, frame), frame, "utf-8"), frame), shown.id
    return _page(_junk_inner(kind, frame), frame, "utf-8").encode("utf-8"), ""


def _site_lang(document: Document, rng: random.Random) -> str:
    lang = document.meta.get("lang")
    return str(lang) if lang in ("en", "zh") else rng.choice(("en", "zh"))


def write_web(articles: Iterable[Document], seed: int, config: WebConfig = WebConfig()) -> Iterator[WebPage]:
    """Yield a page for every article, in order, and junk between them up to `config.junk_share` of all pages.

    Copies show one of the last articles, so the original always comes first. `article` of a page is the id of the
    document whose text it shows. A very short article has no near copy: one word more is another text.
    """
    recent: deque[Document] = deque(maxlen=_RECENT)
    junk_per_article = config.junk_share / (1 - config.junk_share)
    for index, document in enumerate(articles):
        rng = random.Random(derive_seed(seed, "atlas", "web", index))
        frame = _Frame(_site_lang(document, rng), str(document.meta.get("title", "")), rng)
        encoding, claimed = _encoding(frame.lang, rng.random() < config.odd_encoding_share, rng)
        page = _page(_article_html(document.text, frame), frame, claimed)
        header = f"text/html; charset={claimed}" if rng.random() < 0.5 else "text/html"
        body = page.encode(encoding, "xmlcharrefreplace")
        yield WebPage(
            f"https://{rng.choice(SITES)}.example/{frame.lang}/{index}.html", body, header, "article", document.id
        )
        recent.append(document)
        count = int(junk_per_article) + (rng.random() < junk_per_article % 1)
        for number in range(count):
            kind, earlier = rng.choice(JUNK_KINDS), rng.choice(recent)
            if kind == "near-copy" and len(earlier.text) < _MIN_NEAR_COPY_CHARS[_site_lang(earlier, rng)]:
                kind = "exact-copy"
            junk, shown = _junk(kind, document, earlier, frame)
            uri = f"https://{rng.choice(SITES)}.example/{frame.lang}/{index}-{number}.html"
            yield WebPage(uri, junk, "text/html", kind, shown)
