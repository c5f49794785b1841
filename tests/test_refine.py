"""Raw pages to clean documents: extraction, filters, copies and the count of what was dropped."""

from __future__ import annotations

import dataclasses
import json

import pytest

from jielong.data.dedup import DedupConfig, Deduplicator, clusters, fingerprint, jaccard, shingles
from jielong.data.extract import extract, html_text, markdown_text
from jielong.data.filters import (
    FilterConfig,
    broken_share,
    language_of,
    letters_worth,
    listed_terms,
    quality_reason,
    repeated_line_share,
    repeated_phrase_share,
    stuffed_share,
    tokens_of,
    verdict_on,
)
from jielong.data.refine import RefineConfig, cut_text, refine
from jielong.data.sources import Page, document_id
from jielong.data.wordlists import ADVERTISING
from jielong.errors import ConfigError

ENGLISH = (
    "The river rises in the northern hills and runs through three small towns before it reaches the sea. "
    "Farmers grow apples on its banks, and every autumn a market is held beside the old stone bridge."
)
CHINESE = "这条河发源于北方的丘陵，流经三座小城，最后注入大海。两岸的农民种苹果，每年秋天人们在老石桥旁边举办集市。"


def text_page(uri: str, text: str) -> Page:
    return Page(uri, text.encode(), "text/plain")


def test_html_keeps_the_article_and_leaves_the_site_behind() -> None:
    html = f"""<html><head><title>河</title><script>var x = 1;</script></head><body>
    <nav><ul><li><a href="/">首页</a></li></ul></nav><div class="cookie-consent">我们使用小文件。</div>
    <main><h1>河流</h1><p>{CHINESE}</p><div class="ad-box">买一送一</div><ul><li>长度：90公里</li><li>流域：三座城</li></ul>
    <table><tr><th>源头：</th><td>北方</td></tr></table><dl><dt>终点：</dt><dd>大海</dd></dl></main>
    <section id="comments" class="comments"><p>写得好！</p></section><footer>版权所有</footer></body></html>"""
    text = html_text(html)
    assert [line for line in text.split("\n") if line] == [
        "河流", CHINESE, "长度：90公里", "流域：三座城", "源头： 北方", "终点： 大海"
    ]  # fmt: skip


def test_lists_of_nearly_only_links_go_and_a_link_inside_a_sentence_stays() -> None:
    links = "".join(f'<li><a href="{i}">Another page {i}</a></li>' for i in range(5))
    html = f'<body><div><p>{ENGLISH} See <a href="x">the map</a>.</p><ul>{links}</ul></div></body>'
    assert html_text(html) == f"{ENGLISH} See the map."


def test_a_section_named_after_its_subject_is_not_taken_for_the_site() -> None:
    html = f'<body><section id="cookies"><h2>Cookies</h2><p>{ENGLISH}</p></section></body>'
    assert html_text(html) == f"Cookies\n\n{ENGLISH}"


def test_markdown_keeps_its_words_and_drops_its_marks() -> None:
    marked = "---\ntitle: x\n---\n# Title\n\nSome **bold** and [a link](http://x) in `code`, 2 * 3 * 4, snake_case_name.\n\n- one\n- two\n"
    assert markdown_text(marked) == "Title\n\nSome bold and a link in code, 2 * 3 * 4, snake_case_name.\n\none\ntwo"


def test_html_that_claims_to_be_plain_text_is_read_as_html() -> None:
    assert extract(Page("a", b"<!DOCTYPE html><p>Hello <b>you</b></p>", "text/plain")).text == "Hello you"


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        (ENGLISH, "en"),
        (CHINESE, "zh"),
        ("圣多美和普林西比的首都是圣多美（São Tomé）。", "zh"),
        ("Kyiv | Ukraine\nSucre | Bolivia\nTarawa | Kiribati\nNaypyidaw | Myanmar", "en"),
        ("Der Fluss entspringt im Norden und fließt durch drei kleine Städte, bevor er das Meer erreicht.", "de"),
        ("この川は北の丘から流れて、三つの町を通って海に出ます。", "ja"),
        ("이 강은 북쪽 언덕에서 시작하여 세 마을을 지나 바다로 흐릅니다.", "ko"),
        ("Река начинается на севере и течёт через три города к морю.", "ru"),
    ],
)
def test_languages_are_told_apart_in_short_texts(text: str, lang: str) -> None:
    assert language_of(text) == lang


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("河很长。", "too short"),
        ("The river is long.", "too short"),
        (ENGLISH.replace("e", "\ufffd", 12), "broken text"),
        (CHINESE.encode().decode("latin-1"), "broken text"),
        (CHINESE.encode().decode("gb18030", "replace"), "broken text"),
        ("Le fleuve prend sa source dans les collines du nord et traverse trois petites villes.", "language"),
        (f"{ENGLISH}\n" + "2.5 | 3.75 | 4,100 | 88.1 | 70 % | 12 + 14 = 26 |\n" * 12, "few letters"),
        ("a b c d e f g h i j k l m n o p q r s t u v w x y z " * 3 + "of the and to", "odd words"),
        ("\n".join([ENGLISH] * 3), "repeated lines"),
        (
            ", ".join(["cheap flights", "best hotels", "cheap hotels", "best flights and the deals"] * 12),
            "keyword stuffing",
        ),
        ("，".join(["便宜机票", "最好酒店", "便宜酒店", "旅游攻略"] * 12), "keyword stuffing"),
        (f"{ENGLISH} Buy now, free shipping, and use the coupon code for a free trial.", "advertisement"),
        (f"{CHINESE}立即购买，全国包邮，限时优惠券，先到先得。", "advertisement"),
        (f"{ENGLISH} We sell stolen credit cards and fake passports.", "harmful"),
        (f"{CHINESE}本店出售盗刷信用卡资料，也办假证。", "harmful"),
        (
            "All rights reserved. Read our privacy policy and terms of use before you log in to this website.",
            "boilerplate",
        ),
        (ENGLISH, ""),
        (CHINESE, ""),
    ],
)
def test_each_filter_drops_for_its_own_reason_and_good_text_stays(text: str, reason: str) -> None:
    assert verdict_on(text, FilterConfig()).reason == reason


def test_one_listed_word_is_not_yet_harm() -> None:
    assert verdict_on(f"{ENGLISH} The museum shows counterfeit money from 1890.", FilterConfig()).reason == ""


def test_a_listed_word_inside_another_word_is_not_that_word() -> None:
    def listed(text: str) -> set[str]:
        return listed_terms(text, tokens_of(text), ADVERTISING)

    assert listed("The winners saw miracles and bonuses, hurrying.") == set()
    assert listed("Winner! A miracle, a bonus; HURRY: money-back. buy\nnow") == {
        "winner", "miracle", "bonus", "hurry", "money back", "buy now"
    }  # fmt: skip
    assert listed("buy it now") == set()
    assert listed("今天打折，欢迎来电。") == {"打折", "欢迎来电"}
    inside = f"{ENGLISH} The winners told of miracles and bonuses, hurrying home."
    assert verdict_on(inside, FilterConfig()).reason == ""
    assert verdict_on(f"{ENGLISH} Hurry, winner, for a bonus.", FilterConfig()).reason == "advertisement"


def test_thresholds_and_languages_are_the_configured_ones() -> None:
    german = "Der Fluss entspringt im Norden und fließt durch drei kleine Städte, bevor er das Meer erreicht."
    assert verdict_on(german, FilterConfig(languages=("de",))).reason == ""
    assert verdict_on(ENGLISH, FilterConfig(min_letters=10_000)).reason == "too short"
    with pytest.raises(ConfigError, match="languages"):
        FilterConfig(languages=())
    with pytest.raises(dataclasses.FrozenInstanceError):
        FilterConfig().min_letters = 3  # type: ignore[misc]


def test_repeated_phrases_are_counted_by_hand() -> None:
    # abcd abcd: of 8 tokens the second run of 4 stood there before.
    assert repeated_phrase_share(list("abcdabcd"), 4) == 0.5
    assert repeated_phrase_share(list("abcdefgh"), 4) == 0.0
    # abcd and bcde again, together 5 of 10 tokens
    assert repeated_phrase_share(list("abcdeabcde"), 4) == 0.5
    # aaaa at the second place, four of five; a text of one run repeats nothing
    assert repeated_phrase_share(list("aaaaa"), 4) == 0.8
    assert repeated_phrase_share(list("aaaa"), 4) == 0.0
    # six different tokens of ten may be looked at, seven repeat too little
    assert repeated_phrase_share(list("abcdefabcd"), 4) == 0.4
    assert repeated_phrase_share(list("abcdefgabc"), 3) == 0.0


def test_letters_signs_and_lines_are_counted_by_hand() -> None:
    assert letters_worth("ab 3_水!") == 5  # two letters, and three for the character
    assert tokens_of("It's 2 雪山, re-Read") == ["it", "s", "2", "雪", "山", "re", "read"]
    assert broken_share("") == broken_share("fine") == 0.0
    assert broken_share("ab\ufffdc") == 0.25
    assert broken_share("aÃ©b") == 0.5
    # two characters of UTF-8 read as GBK are three; a whole text of them is broken, three within real Chinese are not
    wrong = "河流".encode().decode("gb18030")
    assert len(wrong) == 3 and broken_share(wrong) == 1.0 and broken_share(CHINESE + wrong) == 0.0
    assert repeated_line_share(["ab", "cde", "ab", "cde"]) == 0.5
    assert repeated_line_share(["ab", "cde", "ab"]) == pytest.approx(2 / 7)
    assert repeated_line_share([]) == 0.0


def test_piled_up_keywords_are_counted_by_hand() -> None:
    def line(*counts: int) -> str:
        return " ".join(f"word{i}" for i, count in enumerate(counts) for _ in range(count))

    assert stuffed_share([line(12, 12)]) == 1.0
    assert stuffed_share([line(12, 11)]) == 0.0, "24 tokens are needed"
    assert stuffed_share([f"{line(12, 12)}."]) == 1.0
    assert stuffed_share([f"{line(12, 12)}. So."]) == 0.0, "and 24 for each end of a sentence"
    # of 30 tokens fewer than 18 differ
    assert stuffed_share([line(14, *[1] * 16)]) == 1.0
    assert stuffed_share([line(13, *[1] * 17)]) == 0.0
    # the six most frequent are more than 0.35 of all: 12 of 34 are, 12 of 36 are not
    assert stuffed_share([line(*[2] * 17)]) == 1.0
    assert stuffed_share([line(*[2] * 18)]) == 0.0
    # 13 words of two letters, 11 of one and 23 spaces are 60 characters
    assert stuffed_share([" ".join(["aa"] * 13 + ["b"] * 11)]) == 1.0
    assert stuffed_share([" ".join(["aa"] * 12 + ["b"] * 12)]) == 0.0
    both = [line(12, 12), "x" * len(line(12, 12))]
    assert stuffed_share(both) == 0.5 and stuffed_share([]) == 0.0


@pytest.mark.parametrize(
    ("text", "fields", "reason"),
    [
        ("abcd", {"min_letters": 4}, ""), ("abcd", {"min_letters": 5}, "too short"),
        ("雪山", {"min_letters": 6}, ""), ("雪山", {"min_letters": 7}, "too short"),
        # four letters of eight signs and letters are half, of nine they are not
        ("abcd!!!!", {}, ""), ("abcd!!!!!", {}, "few letters"),
        # (2 + 3) / 2 = 2.5 letters a word
        ("ab abc", {}, ""), ("ab ab abc", {}, "odd words"), ("a" * 12, {}, ""), ("a" * 13, {}, "odd words"),
        ("aaaaaaaaaaaaa 雪", {}, ""),  # no more than half of the tokens are words
        ("bonus winner", {}, ""), ("bonus winner hurry", {}, "advertisement"),
        # 16 letters, of which each 16 allow one more
        ("bonus winner hurry", {"letters_per_extra_term": 16}, ""),
        ("bonus winner hurry", {"letters_per_extra_term": 17}, "advertisement"),
        ("bonus winner hurry", {"max_advertising_terms": 3}, ""),
        ("login 404 sign in", {"max_boilerplate_terms": 1}, "boilerplate"), ("login 404 sign in", {}, ""),
        ("the fake passport", {}, ""), ("fake passport subhuman", {}, "harmful"),
        ("fake passport subhuman", {"max_harm_terms": 2}, ""),
        ("fake passport subhuman", {"letters_per_extra_term": 20}, ""),
        ("abcde\nabcde", {"max_repeated_line_share": 0.5}, ""),
        ("abcde\nabcde", {"max_repeated_line_share": 0.49}, "repeated lines"),
        ("abcd " * 8, {"phrase_tokens": 4, "max_repeated_phrase_share": 0.875}, ""),
        ("abcd " * 8, {"phrase_tokens": 4, "max_repeated_phrase_share": 0.87}, "repeated phrases"),
        ("abcd efgh " * 12, {"max_stuffed_share": 1.0, "max_repeated_phrase_share": 1.0}, ""),
        ("abcd efgh " * 12, {"max_stuffed_share": 0.99, "max_repeated_phrase_share": 1.0}, "keyword stuffing"),
    ],
)  # fmt: skip
def test_a_filter_keeps_what_is_at_its_threshold(text: str, fields: dict[str, float], reason: str) -> None:
    config = FilterConfig(**{"min_letters": 1, **fields})  # type: ignore[arg-type]
    assert quality_reason(text, config) == reason


def test_scripts_decide_by_how_much_there_is_of_them() -> None:
    # more than a tenth kana is Japanese; as many Hangul as Han is no Korean
    assert [language_of("漢" * n + "の") for n in (8, 9)] == ["ja", "zh"]
    assert [language_of(t) for t in ("한한漢", "한漢", "漢abc")] == ["ko", "zh", "zh"]
    # three letters for each Hangul: just too many, and the identifier is not sure enough to speak against plain letters
    assert [language_of("한" * n + "abc" * 10) for n in (10, 11)] == ["en", "ko"]


def test_jaccard_is_worked_by_hand() -> None:
    # "a b c d" has runs abc, bcd; "a b c e" has abc, bce: one shared of three.
    assert jaccard(shingles("a b c d", 3), shingles("A b c, e", 3)) == pytest.approx(1 / 3)


def test_near_copies_follow_the_first_and_other_texts_stand_alone() -> None:
    changed = ENGLISH.replace("small", "little")
    assert clusters([ENGLISH, CHINESE, changed, ENGLISH.upper(), changed], DedupConfig()) == [0, 1, 0, 0, 0]
    assert clusters([ENGLISH, changed, ENGLISH.upper()], DedupConfig(min_similarity=1.0)) == [0, 1, 0]
    seen = Deduplicator(DedupConfig())
    told = [seen.add(key, text) for key, text in ((7, CHINESE), (8, ENGLISH), (9, changed), (10, changed.upper()))]
    assert told == [("", 7), ("", 8), ("near copy", 8), ("exact copy", 8)]


def test_a_chain_of_small_changes_does_not_join_different_texts() -> None:
    words = [f"word{i}" for i in range(100)]
    texts = [" ".join(words[10 * i : 10 * i + 60]) for i in range(5)]
    # Neighbours share 48 of 68 runs of three (0.71); texts two steps apart share 38 of 78 (0.49).
    assert clusters(texts, DedupConfig()) == [0, 0, 2, 2, 4]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"min_similarity": 0.0}, "min_similarity"), ({"shingle_tokens": 0}, "shingle_tokens"),
        ({"num_bands": 0}, "num_bands"), ({"num_bands": 7}, "must divide num_perm, 120"),
    ],
)  # fmt: skip
def test_copies_that_cannot_be_found_are_refused(fields: dict[str, float], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        DedupConfig(**fields)  # type: ignore[arg-type]
    assert DedupConfig(0.001, 1, 5, 1) and DedupConfig(num_bands=120)


def test_shingles_and_fingerprints_by_hand() -> None:
    assert shingles("One two, three FOUR", 3) == {"one two three", "two three four"}
    assert shingles("One two three", 3) == {"one two three"}
    assert shingles("One two", 3) == {"one two"}
    assert shingles("三座城", 2) == {"三 座", "座 城"}
    assert jaccard(frozenset(), frozenset()) == 1.0
    assert fingerprint("Any case, any space.") == fingerprint("anycase_anyspace") != fingerprint("any cases")
    assert len(fingerprint("")) == 16


@pytest.mark.parametrize(
    ("min_similarity", "shift", "is_copy"),
    # 60 words each, of which the second text leaves out the first few: 58 runs of three, 58 - shift shared,
    # 58 + shift in all. 48 / 68 = 0.706, 47 / 69 = 0.681, 30 / 86 = 0.349
    [(0.7, 10, True), (0.7, 11, False), (0.68, 11, True), (0.35, 28, False), (0.34, 28, True)],
)
def test_a_near_copy_is_at_least_as_similar_as_asked(min_similarity: float, shift: int, is_copy: bool) -> None:
    words = [f"word{i}" for i in range(100)]
    texts = [" ".join(words[:60]), " ".join(words[shift : 60 + shift])]
    # with a band for each of the sketch's numbers every pair with something in common is looked at
    config = DedupConfig(min_similarity=min_similarity, num_bands=120)
    assert clusters(texts, config) == [0, 0 if is_copy else 1]
    assert DedupConfig().min_similarity == 0.7


def test_refine_counts_every_page_as_a_document_or_a_reason() -> None:
    pages = [
        text_page("a", ENGLISH),
        text_page("b", CHINESE),
        text_page("c", ENGLISH.upper()),
        text_page("d", CHINESE.replace("三座", "四座")),
        text_page("e", ""),
        Page("f", b"", error="no permission"),
        Page("g", bytes(range(256)) * 4),
    ]
    seen: list[int] = []
    documents, report = refine(pages, RefineConfig(), progress=seen.append)
    assert [(d.source, d.text, d.meta["lang"]) for d in documents] == [("a", ENGLISH, "en"), ("b", CHINESE, "zh")]
    assert documents[0].id == document_id("a", 0)
    assert report.num_texts == report.num_documents + sum(report.dropped.values()) == 7
    assert {k: report.dropped[k] for k in ("exact copy", "near copy", "empty", "unreadable")} == {
        "exact copy": 1, "near copy": 1, "empty": 1, "unreadable": 2
    }  # fmt: skip
    assert report.num_kept_chars == len(ENGLISH) + len(CHINESE)
    assert report.kept_by_language == {"en": 1, "zh": 1}
    assert seen == list(range(1, 8))
    assert json.loads(json.dumps(report.to_dict()))["dropped"]["near copy"] == 1
    assert "near copy" in str(report) and "7 pages" in str(report)


def test_refining_twice_gives_the_same() -> None:
    pages = [text_page(str(i), ENGLISH.replace("three", f"{i % 5} of {i}") + CHINESE) for i in range(30)]
    assert refine(pages)[0] == refine(pages)[0]


def test_a_long_text_is_cut_at_its_paragraphs_into_documents_of_one_source() -> None:
    paragraphs = [ENGLISH.replace("three", f"number {i} of") + f" Its water mark is {i * i}." for i in range(20)]
    pieces = cut_text("\n\n".join(paragraphs), 1_000)
    assert all(len(piece) <= 1_000 for piece in pieces) and "\n\n".join(pieces) == "\n\n".join(paragraphs)
    any_phrases = FilterConfig(max_repeated_phrase_share=1.0)
    config = RefineConfig(any_phrases, DedupConfig(min_similarity=1.0), max_document_chars=1_000)
    documents, report = refine([text_page("book", "\n\n".join(paragraphs))], config)
    assert [d.id for d in documents] == [document_id("book", i) for i in range(len(pieces))]
    assert report.num_pages == 1 and report.num_texts == len(pieces)
    assert cut_text("x" * 2_500, 1_000) == ["x" * 1_000, "x" * 1_000, "x" * 500]


def test_lines_on_very_many_pages_are_dropped_when_asked() -> None:
    slogan = "Maps for everybody, since the first day of the company."
    texts = [f"{CHINESE[i:]}{CHINESE[:i]}{i}\n{slogan}" for i in range(6)]
    pages = [text_page(str(i), text) for i, text in enumerate([*texts, slogan])]
    exact = DedupConfig(min_similarity=1.0)
    documents, report = refine(pages, RefineConfig(dedup=exact, max_repeated_line_pages=5))
    assert len(documents) == 6 and all(slogan not in d.text for d in documents)
    assert (report.num_boilerplate_lines, report.dropped["frequent lines"]) == (7, 1)
    assert any(slogan in d.text for d in refine(pages, RefineConfig(dedup=exact))[0])
