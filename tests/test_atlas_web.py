"""The rendered web: what it holds, and what refining it gives back."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from jielong.data.extract import extract
from jielong.data.refine import refine
from jielong.errors import ConfigError
from jielong.records import Document
from jielong.worlds.atlas.articles import write_articles
from jielong.worlds.atlas.facts import load_countries
from jielong.worlds.atlas.web import JUNK_KINDS, WebConfig, WebPage, write_web


@pytest.fixture(scope="module")
def articles() -> list[Document]:
    return list(write_articles(load_countries(), seed=3, count=250))


@pytest.fixture(scope="module")
def pages(articles: list[Document]) -> list[WebPage]:
    return list(write_web(articles, seed=3))


def without_space(text: str) -> str:
    return re.sub(r"\s+", "", text)


def test_every_article_has_a_page_and_about_three_of_ten_pages_are_junk_of_every_kind(
    articles: list[Document], pages: list[WebPage]
) -> None:
    assert [p.article for p in pages if p.kind == "article"] == [d.id for d in articles]
    kinds = Counter(p.kind for p in pages)
    assert set(kinds) == {"article", *JUNK_KINDS}
    assert 0.22 < 1 - kinds["article"] / len(pages) < 0.38
    assert len({p.uri for p in pages}) == len(pages)


def test_pages_depend_on_seed_and_index_alone(articles: list[Document], pages: list[WebPage]) -> None:
    fewer = list(write_web(articles[:20], seed=3))
    assert fewer == pages[: len(fewer)]
    assert list(write_web(articles[:20], seed=4)) != fewer


def test_refining_gives_the_articles_back_and_drops_each_kind_of_junk(
    articles: list[Document], pages: list[WebPage]
) -> None:
    by_id = {d.id: d.text for d in articles}
    truth = {p.uri: p for p in pages}
    documents, _ = refine(pages)
    kept = Counter(truth[d.source].kind for d in documents)
    same = sum(
        truth[d.source].kind == "article" and without_space(d.text) == without_space(by_id[truth[d.source].article])
        for d in documents
    )
    assert same >= 0.97 * len(articles)
    assert kept["article"] >= 0.97 * len(articles)
    num_junk = len(pages) - len(articles)
    assert len(documents) - kept["article"] <= 0.03 * num_junk


def test_encodings_are_mixed_and_some_are_declared_wrongly(pages: list[WebPage]) -> None:
    used = {extract(p).encoding for p in pages if p.kind == "article"}
    assert {"utf-8", "gb18030", "cp1252"} <= used
    lying = [p for p in pages if p.kind == "article" and b"utf-8" in p.body[:400] and extract(p).encoding != "utf-8"]
    assert lying


def test_a_web_without_junk_is_one_page_an_article(articles: list[Document]) -> None:
    clean = list(write_web(articles, 0, WebConfig(junk_share=0.0, odd_encoding_share=0.0)))
    assert len(clean) == len(articles)
    assert {extract(p).encoding for p in clean} == {"utf-8"}
    with pytest.raises(ConfigError, match="junk_share"):
        WebConfig(junk_share=1.0)
