"""Numbers that describe each block of a page to the forest: its text, the elements around it, its place, the page.

No number depends on a language: length is counted in words, and in Chinese, Japanese and Korean in 0.6 words a letter.
"""
# N blocks, E elements, G groups of names, M measures.

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jielong.data.content.page import Page

Floats = NDArray[np.float32]

GROUPS: dict[str, str] = {
    "content": "content article post entry story main body text prose markdown copy",
    "comment": "comment disqus respons",
    "forum": "forum thread topic message cooked repl answer question",
    "nav": "nav menu breadcrumb pagina pager toc",
    "header": "header masthead topbar top-bar",
    "footer": "footer copyright bottom colophon",
    "side": "sidebar side-bar aside rail widget secondary",
    "related": "related recommend popular trending similar upsell cross-sell also suggest readmore read-more more-",
    "social": "share social follow newsletter subscri signup sign-up",
    "ad": "advert sponsor promo banner adbox ad-slot",
    "modal": "cookie consent gdpr modal popup dialog overlay drawer tooltip",
    "product": "product price sku variant spec",
    "buy": "cart buy checkout basket wishlist shipping quantity",
    "describe": "descri detail feature about overview summary intro excerpt",
    "review": "review rating star testimonial",
    "card": "card item tile teaser result",
    "grid": "grid list row col",
    "meta": "meta date time tag categor",
    "user": "author byline avatar user profile badge signature",
    "title": "title heading headline hero subtitle",
    "tab": "faq accordion tab collaps toggle panel",
    "media": "caption figure image gallery video slide carousel",
    "hidden": "hidden sr-only screen-reader d-none visually",
    "form": "form search login filter sort select facet refine option",
}
"""Parts of classes and ids by what they say of an element."""

TAGS = (
    "article main section nav header footer aside form table ul ol li dl dt dd blockquote figure button h1 h2 h3 h4 p details "
    "dialog noscript pre td label figcaption"
).split()
"""Elements whose nearest one above a block counts."""

FAR = 9
"""The distance, in elements, of what is not above a block, or further up than that."""

LEVELS = (0, 1, 2, 3, 4, 5, 7)
"""How far up, in elements, surroundings of a block are looked at."""

_NAMED = re.compile("|".join(f"(?P<{g}>{'|'.join(map(re.escape, parts.split()))})" for g, parts in GROUPS.items()))
_GROUP_AT = {name: place for place, name in enumerate(GROUPS)}
_TAG_AT = {tag: len(GROUPS) + place for place, tag in enumerate(TAGS)}
_ROLES = {"main": "main", "navigation": "nav", "contentinfo": "footer", "banner": "header", "complementary": "aside"}

_WORD = re.compile(r"[^\W_]+")
_LETTER = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_SENTENCE_END = re.compile(r"[.!?。！？…:：;；]['\"”’)\]]*$")
_PUNCTUATION = re.compile(r"[.!?,;。！？，；、]")
_DIGIT = re.compile(r"\d")
_UPPER = re.compile(r"[A-Z]")
_PRICE = re.compile(r"[$€£¥₹]|\b(?:usd|eur|gbp)\b|\d[.,]\d\d\b", re.I)
_DATE = re.compile(
    r"\b(?:19|20)\d\d\b|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b|\bago\b|年|月", re.I
)
_RIGHTS = re.compile(r"©|\(c\)|copyright|all rights reserved|版权|版權", re.I)
_SITE = re.compile(
    r"\b(?:cookie|privacy|terms|sign in|log ?in|sign up|subscribe|newsletter|share|tweet|follow us|skip to|add to cart|read more"
    r"|learn more|load more|view all|see all|reply|report|previous|next)\b|登录|注册|分享|上一|下一|更多",
    re.I,
)


def words_of(text: str) -> float:
    """Return the length of a text in words."""
    words = len(_WORD.findall(text))
    return float(words) if text.isascii() else words + 0.6 * len(_LETTER.findall(text))


class Measured:
    """The measures of a page's blocks, (N, M) float32, and each one's length in words (N,)."""

    def __init__(self, page: Page) -> None:
        self._page, self._columns, self.names = page, list[Floats](), list[str]()
        self._around = np.array([b.element for b in page.blocks], dtype=np.int64)
        self._parents = np.array([*(e.parent for e in page.elements), -1], dtype=np.int64)
        self._depth = np.array([*(e.depth for e in page.elements), 0], dtype=np.float32)
        self.words = np.array([words_of(b.text) for b in page.blocks], dtype=np.float32)
        self._own_text()
        self._surroundings()
        self._names_above()
        self._place()
        self._alike()
        self._neighbours()
        self._whole()
        self.matrix = np.concatenate(self._columns, axis=1)

    def _add(self, names: Sequence[str], columns: Any) -> None:
        made = np.asarray(columns, dtype=np.float32)
        self._columns.append(made if made.ndim == 2 else made[:, None])
        self.names += names

    def _own_text(self) -> None:
        """Measure each block's text by itself."""
        blocks = self._page.blocks
        beginnings = [b.text[:1000] for b in blocks]
        size = np.maximum([len(b) for b in beginnings], 1)
        self._chars = np.maximum([len(b.text) for b in blocks], 1).astype(np.float32)
        self._linked = np.minimum([b.link_chars for b in blocks], self._chars) / self._chars

        def found(pattern: re.Pattern[str]) -> Floats:
            return np.array([pattern.search(b) is not None for b in beginnings], dtype=np.float32)

        def counted(pattern: re.Pattern[str]) -> Any:
            return np.array([len(pattern.findall(b)) for b in beginnings]) / size

        self._ends = np.array([_SENTENCE_END.search(b.text[-4:]) is not None for b in blocks], dtype=np.float32)
        self._prices, self._dates, self._site = found(_PRICE), found(_DATE), found(_SITE)
        bold = np.minimum([b.bold_chars for b in blocks], self._chars) / self._chars
        title, described = (set(_WORD.findall(t.lower())) for t in (self._page.title, self._page.description))
        mine = [_WORD.findall(b.lower()) for b in beginnings]
        shares = [[sum(w in known for w in ws) / max(len(ws), 1) for ws in mine] for known in (title, described)]
        self._add(
            (
                "words log_words linked links tags bold punctuation ends digits price date rights site upper word_length title "
                "described"
            ).split(),
            np.stack(
                [
                    self.words,
                    np.log1p(self.words),
                    self._linked,
                    np.array([b.num_links for b in blocks]),
                    np.array([b.num_tags for b in blocks]),
                    bold,
                    counted(_PUNCTUATION),
                    self._ends,
                    counted(_DIGIT),
                    self._prices,
                    self._dates,
                    found(_RIGHTS),
                    self._site,
                    counted(_UPPER),
                    self._chars / np.maximum(self.words, 1),
                    *np.array(shares),
                ],
                axis=1,
            ),
        )

    def _surroundings(self) -> None:
        """Measure the text of the elements around each block, from the innermost up."""
        page = self._page
        first = np.array([*(e.first for e in page.elements), 0])
        last = np.array([*(e.last for e in page.elements), len(page.blocks)])
        prose = self.words * (1 - self._linked)
        is_paragraph = np.array([page.elements[b.element].tag in ("p", "blockquote", "pre") for b in page.blocks])
        totals = {}
        for name, values in {
            "words": self.words,
            "linked": self.words * self._linked,
            "ends": prose * self._ends,
            "paragraphs": prose * is_paragraph,
        }.items():
            sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
            totals[name] = sums[last] - sums[first]
        self._all_words = max(float(self.words.sum()), 1.0)
        self._totals, self._first, self._last, self._sentences = totals, first, last, prose * self._ends
        blocks, children = last - first, np.bincount(self._parents[:-1] + 1, minlength=len(self._parents) + 1)[1:]
        words, at = np.maximum(totals["words"], 1), self._around
        every = np.stack(
            [
                totals["words"] / self._all_words,
                np.log1p(totals["words"]),
                totals["linked"] / words,
                totals["ends"] / words,
                totals["paragraphs"] / words,
                blocks,
                totals["words"] / np.maximum(blocks, 1),
                np.append(children[: len(page.elements)], 0),
            ],
            axis=1,
        )
        names = "share log_words linked ends paragraphs blocks words_per_block children".split()
        for level in range(LEVELS[-1] + 1):
            if level in LEVELS:
                self._add([f"{name} {level} up" for name in names], every[at])
            at = np.where(at >= 0, self._parents[at], -1)

    def _names_above(self) -> None:
        """Measure how far above each block the nearest element of each kind is, by its names and by its tag."""
        elements = self._page.elements
        marks = [_marks(e.names, e.tag, e.role) for e in elements]
        own = np.zeros((len(elements) + 1, len(GROUPS) + len(TAGS)), dtype=bool)
        own[np.repeat(np.arange(len(marks)), [len(m) for m in marks]), list(itertools.chain(*marks))] = True
        distance = np.full(own.shape, FAR, dtype=np.int8)
        depths = self._depth[:-1].astype(np.int64)
        for depth in range(int(depths.max(initial=-1)) + 1):
            here = np.flatnonzero(depths == depth)
            nearest = np.minimum(distance[self._parents[here]] + 1, FAR)
            distance[here] = np.where(own[here], 0, nearest)
        self._named, self._above = own[:, : len(GROUPS)].sum(axis=0), distance[self._around]
        self._add([f"{name} above" for name in (*GROUPS, *(f"<{tag}>" for tag in TAGS))], self._above)

    def _place(self) -> None:
        """Measure where in the page each block is, and how far from the first heading and from the most prose."""
        count, place = len(self._page.blocks), np.arange(len(self._page.blocks))
        before = np.concatenate([[0.0], np.cumsum(self.words)])
        hidden = np.array([self._page.elements[b.element].is_hidden for b in self._page.blocks])
        self._add(
            "hidden depth place words_before words_after number number_from_end".split(),
            np.stack(
                [
                    hidden,
                    self._depth[self._around],
                    place / count,
                    before[:-1] / self._all_words,
                    1 - before[1:] / self._all_words,
                    place,
                    count - place,
                ],
                axis=1,
            ),
        )
        tags, words = [e.tag for e in self._page.elements], self._totals["words"]
        heading = next((i for i, tag in enumerate(tags) if tag == "h1" and words[i] > 0), -1)
        direct = np.zeros(len(tags) + 1)
        np.add.at(direct, self._around, 0.5 * self._sentences)
        np.add.at(direct, self._parents[self._around], self._sentences)
        most = int(direct[:-1].argmax())
        for name, element in (("h1", heading), ("prose", most if direct[most] > 0 else -1)):
            names = [f"{name} {part}" for part in ("up", "down", "from_first", "from_last", "share")]
            if element < 0:
                self._add(names, np.full((count, 5), -99))
                continue
            common, depth = self._common_depth(element), self._depth[element]
            since, until = place - self._first[element], place - self._last[element]
            share = np.full(count, direct[element] / self._all_words)
            self._add(names, np.stack([self._depth[self._around] - common, depth - common, since, until, share], 1))

    def _common_depth(self, element: int) -> Floats:
        """Return for each block the depth of the innermost element that holds it and `element`."""
        parents, common = self._parents.tolist(), np.full(len(self._parents), -1.0, dtype=np.float32)
        at = element
        while at >= 0:
            common[at] = self._depth[at]
            at = parents[at]
        found = common.tolist()
        for place, parent in enumerate(parents[:-1]):
            if found[place] < 0:
                found[place] = found[parent] if parent >= 0 else 0.0
        return np.array(found, dtype=np.float32)[self._around]

    def _alike(self) -> None:
        """Measure the blocks that stand in elements of the same names or the same path, and those of the same text."""
        elements = self._page.elements

        def path(element: int) -> Hashable:
            found = []
            while element >= 0:
                found.append(elements[element].tag)
                element = elements[element].parent
            return tuple(found)

        def named(element: int) -> Hashable:
            above = elements[elements[element].parent]
            mine = elements[element]
            return mine.tag, mine.names, above.tag, above.names

        kinds: tuple[tuple[str, Callable[[int], Hashable]], ...] = (("named", named), ("path", path))
        for name, key in kinds:
            keys = {element: key(element) for element in set(self._around.tolist())}
            numbers: dict[Hashable, int] = {}
            which = np.array([numbers.setdefault(keys[e], len(numbers)) for e in self._around.tolist()])
            count = np.bincount(which)
            words = np.bincount(which, self.words)
            linked = np.bincount(which, self.words * self._linked)
            each = np.stack([count, words / self._all_words, words / count, linked / np.maximum(words, 1)], axis=1)
            self._add([f"{name} {part}" for part in ("count", "share", "words", "linked")], each[which])
        texts = Counter(b.text for b in self._page.blocks)
        self._add(["copies"], np.array([texts[b.text] for b in self._page.blocks]))

    def _neighbours(self) -> None:
        """Repeat a few measures of the blocks before and after each one."""
        names = "log_words linked ends price site h2 p li depth".split()
        marks = [self._above[:, _TAG_AT[tag]] for tag in ("h2", "p", "li")]
        depth = self._depth[self._around]
        mine = np.stack([np.log1p(self.words), self._linked, self._ends, self._prices, self._site, *marks, depth], 1)
        for offset in (-3, -2, -1, 1, 2, 3):
            moved = np.full_like(mine, -1)
            if offset < 0:
                moved[-offset:] = mine[:offset]
            else:
                moved[:-offset] = mine[offset:]
            self._add([f"{name} {offset:+d}" for name in names], moved)

    def _whole(self) -> None:
        """Measure the page as a whole, the same for all its blocks."""
        page, words = self._page, self._all_words
        tags, data = Counter(e.tag for e in page.elements), " ".join(page.linked_data)
        sums = {n: float(total[0]) / words if len(page.elements) else 0.0 for n, total in self._totals.items()}
        values = {
            "words": words,
            "linked": sums["linked"],
            "blocks": len(page.blocks),
            "paragraphs": sums["paragraphs"],
            "ends": sums["ends"],
            **{f"<{t}>": tags[t] for t in ("article", "main", "h1", "h2", "li", "table", "form", "pre")},
            "is_product": '"Product"' in data or "product" in page.kind,
            "is_article": "Article" in data or "BlogPosting" in data or page.kind == "article",
            "is_forum": "DiscussionForum" in data or "QAPage" in data,
            "is_list": "ItemList" in data or "CollectionPage" in data,
            "prices": float(self._prices.sum()),
            "dates": float(self._dates.sum()),
            "site": float(self._site.sum()),
            **dict(zip(GROUPS, self._named.tolist(), strict=True)),
        }
        row = np.array([float(v) for v in values.values()], dtype=np.float32)
        self._add([f"page {name}" for name in values], np.tile(row, (len(page.blocks), 1)))


@functools.lru_cache(maxsize=10_000)
def _marks(names: str, tag: str, role: str) -> tuple[int, ...]:
    """Return the places of the groups and tags that an element belongs to."""
    found = {_GROUP_AT[str(match.lastgroup)] for match in _NAMED.finditer(names)}
    found |= {_TAG_AT[t] for t in (tag, _ROLES.get(role, "")) if t in _TAG_AT}
    return tuple(found)
