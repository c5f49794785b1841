"""The learned extractor: blocks, their choice, the forest as arrays, and pages whose main content is known."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from jielong.data.content.choosing import best_blocks, main_content, markdown
from jielong.data.content.forest import load, pack
from jielong.data.content.measures import Floats, Measured, words_of
from jielong.data.content.page import read_page
from jielong.data.extract import extract
from jielong.data.refine import RefineConfig, refine
from jielong.data.sources import Page
from jielong.errors import ConfigError

SENTENCES = [
    f"In {1900 + n} the harbour of the town was rebuilt by {n + 3} families, and the ships came back in the spring."
    for n in range(12)
]
NAVIGATION = "".join(f'<li><a href="/{n}">Section {n}</a></li>' for n in range(12))
ARTICLE = f"""<!doctype html><html><head><title>The harbour</title></head><body>
<nav class="menu"><ul>{NAVIGATION}</ul></nav>
<article><h1>The harbour</h1>{"".join(f"<p>{s}</p>" for s in SENTENCES)}</article>
<aside class="sidebar"><h3>Related</h3><ul>{NAVIGATION}</ul></aside>
<footer class="footer"><p>© 2024 All rights reserved. <a href="/p">Privacy</a> <a href="/t">Terms</a></p></footer>
<script>var hidden = "never text";</script></body></html>"""


def texts(html: str) -> list[str]:
    return [block.text for block in read_page(html).blocks]


def test_a_block_ends_at_block_elements_and_at_two_line_breaks():
    assert texts("<p>one <b>two</b><br>three<br> <br>four</p><div>five<p>six</p>seven</div>") == [
        "one two\nthree",
        "four",
        "five",
        "six",
        "seven",
    ]


def test_scripts_are_no_text_and_noscript_is():
    assert texts("<script>a()</script><style>b{}</style><noscript><p>kept</p></noscript>") == ["kept"]


def test_code_keeps_its_indentation():
    assert texts("<pre>def f():\n    return 1\n</pre>") == ["def f():\n    return 1"]


def test_elements_know_their_blocks_and_hide_what_lies_in_them():
    page = read_page("<div hidden><p>a</p><p>b</p></div><p>c</p>")
    div = next(e for e in page.elements if e.tag == "div")
    assert [b.text for b in page.blocks[div.first : div.last]] == ["a", "b"]
    assert [page.elements[b.element].is_hidden for b in page.blocks] == [True, True, False]


def test_length_is_alike_in_english_and_chinese():
    assert words_of("The ship came back in spring") == 6
    assert words_of("春天船回来了") == pytest.approx(1 + 0.6 * 6), "one run of letters, and 0.6 for each of six"


def test_measures_are_finite_and_named_once_for_any_page():
    for html in (ARTICLE, "<p>x", "<table><tr><td>1<td>2", "<ul><li>a<ul><li>b"):
        page = read_page(html)
        measured = Measured(page)
        assert measured.matrix.shape == (len(page.blocks), len(measured.names))
        assert np.isfinite(measured.matrix).all() and len(set(measured.names)) == len(measured.names)
        assert tuple(measured.names) == load().names, "the forest was fitted to these"


def expected_f1(probabilities: Floats, words: Floats, subset: tuple[int, ...]) -> float:
    right = sum(probabilities[i] * words[i] for i in subset)
    return float(2 * right / (sum(words[i] for i in subset) + (probabilities * words).sum()))


def test_the_chosen_blocks_are_the_best_of_all_subsets():
    generator = np.random.default_rng(0)
    for _ in range(20):
        probabilities = generator.random(7).astype(np.float32)
        words = generator.integers(1, 30, 7).astype(np.float32)
        kept, expected = best_blocks(probabilities, words)
        subsets = [s for size in range(1, 8) for s in itertools.combinations(range(7), size)]
        best = max(expected_f1(probabilities, words, subset) for subset in subsets)
        assert expected == pytest.approx(best, rel=1e-5)
        assert expected_f1(probabilities, words, tuple(np.flatnonzero(kept))) == pytest.approx(best, rel=1e-5)


def test_a_packed_forest_walks_its_trees():
    leaf = {"leaf_index": 0, "leaf_value": 2.0}
    inner = {
        "split_index": 1,
        "split_feature": 1,
        "threshold": 0.5,
        "left_child": leaf,
        "right_child": {"leaf_index": 1, "leaf_value": -1.0},
    }
    root = {
        "split_index": 0,
        "split_feature": 0,
        "threshold": 10.0,
        "left_child": inner,
        "right_child": {"leaf_index": 2, "leaf_value": 0.25},
    }
    trees = [{"num_leaves": 3, "tree_structure": root}, {"num_leaves": 1, "tree_structure": {"leaf_value": 0.5}}]
    forest = pack(trees, ("a", "b"))
    rows = np.array([[10, 0.5], [10, 0.6], [11, 0]], dtype=np.float32)
    odds = np.array([2.0, -1.0, 0.25]) + 0.5
    assert forest.probabilities(rows) == pytest.approx(1 / (1 + np.exp(-odds)), rel=1e-6)


def test_the_article_is_kept_and_the_site_around_it_is_not():
    found = main_content(ARTICLE)
    assert found.text.startswith("# The harbour")
    assert all(sentence in found.text for sentence in SENTENCES)
    assert "Section 3" not in found.text and "Privacy" not in found.text and "never text" not in found.text
    assert found.confidence > 0.8


def test_a_page_of_links_alone_is_less_certain_than_an_article():
    links = f"<html><body><ul>{NAVIGATION}</ul></body></html>"
    assert main_content(links).confidence < main_content(ARTICLE).confidence


def test_light_markdown_has_headings_lists_rows_terms_and_code():
    page = read_page(
        "<h2>A  b</h2><p>c</p><ul><li>d</li><li><p>e</p><p>f</p></li></ul><table><tr><th>k<td>v</table>"
        "<dl><dt>Capital:</dt><dd>Lima</dd></dl><pre>x = 1\ny = 2</pre>"
    )
    assert markdown(page, range(len(page.blocks))) == (
        "## A b\n\nc\n\n- d\n- e\nf\n\nk | v\n\nCapital: Lima\n\n```\nx = 1\ny = 2\n```"
    )


def test_a_page_without_text_has_no_content():
    assert main_content("<html><body><script>x</script></body></html>").confidence == 0.0


def test_damaged_pages_cost_no_error():
    dice = random.Random(0)
    for _ in range(60):
        letters = list(ARTICLE)
        for _ in range(40):
            letters[dice.randrange(len(letters))] = dice.choice("<>/\"'&\x00\n=a")
        main_content("".join(letters[: dice.randrange(len(letters))]))


def test_rules_take_over_where_little_is_found():
    page = Page("a", b"<html><body><p>Short.</p></body></html>", "text/html")
    assert extract(page, "learned").text == extract(page).text == "Short."


def test_refining_takes_the_extractor_from_its_config():
    page = Page("a", ARTICLE.encode(), "text/html")
    by_rules, _ = refine([page])
    learned, _ = refine([page], RefineConfig(extractor="learned"))
    assert learned[0].text.startswith("# The harbour") and not by_rules[0].text.startswith("#")


def test_an_unknown_extractor_is_refused():
    with pytest.raises(ConfigError, match="expected one of rules, learned"):
        RefineConfig(extractor="magic")  # type: ignore[arg-type]
