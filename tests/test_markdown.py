"""Answers as HTML: no text whatsoever becomes script, nothing is fetched, and a growing text does not flicker."""

from __future__ import annotations

import itertools
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jielong.serve.markdown
from jielong.serve.markdown import LANGUAGES, MAX_CHARS, close_open_marks, render, to_html

VOID = {"br", "hr", "img"}
TAGS = set("a blockquote br code em h3 h4 h5 h6 hr img li ol p pre s span strong table tbody td th thead tr ul".split())
ATTRIBUTES = {
    "a": {"href", "target", "rel", "class", "data-passage"},
    "code": {"class"},
    "img": {"src", "alt"},
    "ol": {"start"},
    "span": {"class"},
    "td": {"class"},
    "th": {"class"},
}
DOT = "data:image/png;base64,iVBORw0KGgo="


class Seen(HTMLParser):
    """Elements, attributes and text as a browser would read them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.values: list[tuple[str, str, str]] = []
        self.text, self.open = "", list[str]()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.values += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"a declaration: {decl}")

    unknown_decl = handle_pi = handle_decl


def looked_at(page: str) -> Seen:
    """The page, after a look at every element and attribute of it."""
    seen = Seen(page)
    assert not seen.open
    assert set(seen.tags) <= TAGS
    for tag, name, value in seen.values:
        assert name in ATTRIBUTES.get(tag, set()), (tag, name, value)
        if name == "href":
            assert re.match(r"https?://|mailto:|#passage-\d+\Z", value, re.IGNORECASE), value
        if name == "src":
            assert re.fullmatch(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+", value), value
    return seen


def checked(text: str, citations: tuple[int, ...] = (), is_unfinished: bool = False) -> Seen:
    """The HTML of a text, looked at; its links too, which are citations or open elsewhere."""
    page = to_html(text, citations, is_unfinished)
    for link in re.findall(r"<a [^>]*>", page):
        assert 'class="cite"' in link or 'target="_blank" rel="noopener noreferrer nofollow"' in link, link
    return looked_at(page)


ATTACKS = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.example></sCrIpT>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<a href=javascript:alert(1)>x</a>",
    "<body onload=alert(1)>",
    "<style>@import '//evil.example';</style>",
    "<form action=//evil.example><input type=submit></form>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<object data=//evil.example></object><embed src=//evil.example>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](&#x6A&#x61;vascript:alert(1))",
    "[x](java&#10;script:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](<java\tscript:alert(1)>)",
    "[x](\x01javascript:alert(1))",
    "[x](\u00a0javascript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](javascript%3Aalert(1))",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)",
    "![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)",
    "![x](data:text/html;base64,PHNjcmlwdD4=)",
    '![x](data:image/png;base64,AAAA"onerror="alert(1))',
    "![x](javascript:alert(1))",
    '![x](x" onerror="alert(1))',
    '![x" onerror="alert(1)](http://a.example/x.png)',
    f'![x" onerror="alert(1)]({DOT} "\\" onerror=\\"alert(1)")',
    '[x](http://a.example "t\\" onmouseover=\\"alert(1)")',
    '[x](http://a.example/"onmouseover="alert(1))',
    "[x](http://a.example '><script>alert(1)</script>')",
    "[![x](javascript:alert(1))](javascript:alert(2))",
    "[a]: javascript:alert(1)\n\n[a]",
    "<javascript:alert(1)>",
    '<http://a.example/"onclick=alert(1)>',
    "[x](file:///etc/passwd) [y](blob:http://a) [z](ftp://a.example)",
    "[x](//evil.example) [y](/api/state) [z](#top) [w](?a=b) [v](..\\..\\x)",
    "[x](http:evil) [y](https:/\\evil) [z](http:///evil)",
    "```<script>alert(1)</script>\n<script>alert(2)</script>\n```",
    '```"onload=alert(1) \ncode\n```',
    "```python\"><script>alert(1)</script>\nx = '<script>alert(3)</script>'\n```",
    "```html\n<script>alert(1)</script><img src=x onerror=alert(1)>\n```",
    "```svg\n<svg onload=alert(1)></svg>",
    "`<img src=x onerror=alert(1)>`",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    '<svg></p><style><a id="</style><img src=1 onerror=alert(1)>">',
    '<form><math><mtext></form><form><mglyph><svg><mtext><style><path id="</style><img onerror=alert(1) src>">',
    '<!--<img src="--><img src=x onerror=alert(1)//">',
    "<![CDATA[<script>alert(1)</script>]]> <?php echo 1 ?> <!DOCTYPE html>",
    "| a |\n|---|\n| <img src=x onerror=alert(1)> |",
    "# <img src=x onerror=alert(1)>",
    "> <script>alert(1)</script>\n> - <svg/onload=alert(1)>",
    "[1](javascript:alert(1)) [1]: javascript:alert(1)",
    "[[1]](javascript:alert(1)) ![1](x) <a href='#passage-1' onclick=alert(1)>",
    "{{constructor.constructor('alert(1)')()}} ${alert(1)} <%= 1 %>",
    "\x00<scr\x00ipt>alert(1)</script>\ud800",
    "<a\u2028href=javascript:alert(1)>\u202ex</a>",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_text_becomes_script(attack: str) -> None:
    for text in (
        attack,
        f"**{attack}**",
        f"- {attack}\n  {attack}",
        f"> {attack}",
        f"[{attack}](http://a.example)",
        f"a [1] {attack}",
    ):
        for end in range(len(attack) // 2, len(text) + 1, 3):
            checked(text[:end], (1, 2), is_unfinished=True)
        checked(text, (1, 2))


@pytest.mark.parametrize(
    "attack", [*ATTACKS, "<a href='/api/x' style='top:0' class='cite k' data-passage='1x'>x</a><pre class=a id=b>"]
)
def test_the_last_gate_holds_alone(attack: str) -> None:
    gate = jielong.serve.markdown._build_cleaner()
    for page in (attack, f"<p>{attack}</p>", f"<table><tr><td>{attack}", f"<a href='http://a.example'>{attack}"):
        looked_at(gate.clean(page.encode("utf-8", "replace").decode()))


@settings(max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [
                    *"<>\"'&`*_[]()!#|~-\n\\ :/=;",
                    "[1]",
                    "](",
                    "![",
                    "```",
                    "javascript:",
                    "&#",
                    "<!--",
                    "\n\n",
                    "|-",
                    DOT,
                ]
            ),
            st.sampled_from(
                ["on=", "<script", "</", "href=", "https://a.example", "data:", "<svg", "style", "**", "1. ", "    "]
            ),
            st.text(max_size=3),
        ),
        max_size=40,
    ).map("".join)
)
def test_any_text_gives_well_formed_html_of_the_allowed_kind(text: str) -> None:
    checked(text, (1,))
    checked(text, (1,), is_unfinished=True)


def test_text_that_looks_like_html_is_shown_as_it_was_written() -> None:
    assert checked("<b>not bold</b> & <script>x</script> &lt;").text.strip() == "<b>not bold</b> & <script>x</script> <"


def test_markdown_has_its_elements() -> None:
    text = "# One\n\n#### Four\n\n###### Six\n\n*a* **b** ~~c~~ `d`\nnext\n\n> q\n\n- x\n\n7. y\n\n---\n\n"
    text += "| l | m | r |\n|:--|:-:|--:|\n| 1 | 2 | 3 |"
    page = to_html(text)
    for part in (
        "<h3>One</h3>", "<h6>Four</h6>", "<h6>Six</h6>", "<em>a</em>", "<strong>b</strong>", "<s>c</s>", "<code>d</code><br>",
        "<blockquote>", "<ul>", '<ol start="7">', "<hr>", '<td class="center">2</td>', '<td class="right">3</td>', "<td>1</td>",
    ):  # fmt: skip
        assert part in page, part
    assert "style" not in page


def test_links_lead_to_the_web_and_open_elsewhere() -> None:
    page = to_html("[a](https://a.example/?x=1&y=2) <mailto:b@a.example> [c](HTTP://C.example)")
    rest = 'target="_blank" rel="noopener noreferrer nofollow"'
    assert f'<a href="https://a.example/?x=1&amp;y=2" {rest}>a</a>' in page
    assert page.count(rest) == 3 and 'href="mailto:b@a.example"' in page
    assert "<a" not in to_html("[x](/api/state) [y](#passage-1) https://bare.example")


def test_pictures_are_never_fetched() -> None:
    assert to_html(f"![a dot]({DOT})") == f'<p><img src="{DOT}" alt="a dot"></p>'
    page = to_html("![a map](https://a.example/map.png) ![](https://a.example/b.png)")
    assert "<img" not in page and ">a map</a>" in page and ">https://a.example/b.png</a>" in page
    inside = checked("[![logo](https://a.example/l.png) home](https://b.example)")
    assert inside.tags == ["p", "a"] and inside.text.strip() == "logo home"


def test_citations_are_links_where_there_is_such_a_passage() -> None:
    cite = '<a href="#passage-1" data-passage="1" class="cite">[1]</a>'
    assert to_html("Lima [1].", [1]) == f"<p>Lima {cite}.</p>"
    assert to_html("Lima [1][2] [3] [01] [1000]", [1]) == f"<p>Lima {cite}[2] [3] [01] [1000]</p>"
    assert to_html("**[1]** | [1]", [1]).count(cite) == 2
    assert to_html("Lima [1].") == "<p>Lima [1].</p>"


def test_citations_are_none_in_code_and_in_links_and_nobody_points_them_elsewhere() -> None:
    assert "cite" not in to_html("`a[1]`\n\n```python\na[1]\n```\n\n    a[1]\n\n[see [1]](https://a.example)", [1])
    page = to_html("Lima [1].\n\n[1]: https://evil.example", [1])
    assert "evil" in page and 'href="https' not in page and page.count('class="cite"') == 2


def test_known_languages_have_colours_and_others_are_shown_as_they_are() -> None:
    assert '<code class="language-python"><span class="k">def</span>' in to_html("```py\ndef f(): pass\n```")
    for name in ("brainfuck", "nothing", "class", "../x", "text"):
        assert to_html(f"```{name}\ndef f(): pass\n```") == "<pre><code>def f(): pass\n</code></pre>"
    for name, language in LANGUAGES.items():
        assert f'<pre><code class="language-{language}">' in to_html(f"```{name}\nx = 1\n```")


def test_much_code_has_no_colours() -> None:
    short, long = "x = 1\n" * 10, "x = 1\n" * 4000
    assert "<span" in to_html(f"```python\n{short}```") and "<span" not in to_html(f"```python\n{long}```")
    many = "".join(f"```python\ny = {n}\n{long[:15_000]}```\n\n" for n in range(8))
    assert 0 < to_html(many).count("language-python") == 8 and to_html(many).count("<span") < 8 * to_html(
        many[:15_100]
    ).count("<span")


# While it is written ---------------------------------------------------------------------------------------------------

ANSWER = """# Lima

Lima is the **capital** of Peru [1], see [its page](https://a.example/lima). Its area is `2672` km².

- **Food**: ceviche
- *Sea*: the Pacific

```python
def area(radius):
    return 3.14 * radius ** 2
```

| a | b |
|---|---|
| 1 | **2** |

Done: **大海**。
"""


def test_every_beginning_of_an_answer_is_well_formed() -> None:
    for end in range(len(ANSWER) + 1):
        checked(ANSWER[:end], (1,))
        checked(ANSWER[:end], (1,), is_unfinished=True)


def test_blocks_that_are_complete_stay_as_they_are() -> None:
    for end, _ in itertools.groupby(found.end() for found in re.finditer(r"\n\n(?=\S)", ANSWER)):
        if "```" in ANSWER[:end] and ANSWER[:end].count("```") == 1:
            continue
        before = to_html(ANSWER[:end], (1,))
        for more in range(end, len(ANSWER) + 1, 7):
            after = to_html(ANSWER[:more], (1,), is_unfinished=True)
            assert after.startswith(before.removesuffix("</ul>")), (ANSWER[:end][-20:], more)


def test_marks_that_have_only_begun_are_not_shown() -> None:
    for end in range(len(ANSWER) + 1):
        text = checked(ANSWER[:end], (1,), is_unfinished=True).text
        outside = text.split("def")[0] + text.partition("** 2")[2]
        assert "**" not in outside and "`" not in text and "](" not in text, ANSWER[:end]


def test_an_open_fence_is_code_until_it_is_closed() -> None:
    start = ANSWER.index("```python") + len("```python\n")
    for end in range(start, ANSWER.index("| a |") - 1):
        assert to_html(ANSWER[:end], is_unfinished=True).endswith("</code></pre>"), ANSWER[:end]


@pytest.mark.parametrize(
    "text",
    [
        "2 ** 3 is 8",
        "2**3",
        "a * b",
        "it costs 3 [1] (more",
        "x\n\n> y",
        "done.",
        "**bold** and `code`",
        "f(x",
        "~~~\n** `",
    ],
)
def test_a_complete_text_is_not_changed(text: str) -> None:
    assert close_open_marks(text) == text


# Limits ----------------------------------------------------------------------------------------------------------------


def test_the_worker_gives_what_the_function_gives() -> None:
    assert render(ANSWER, {1}) == to_html(ANSWER, [1]) and render("") == ""
    assert render("**a", is_unfinished=True) == "<p><strong>a</strong></p>"


def test_a_text_beyond_the_limits_is_shown_as_it_is(monkeypatch) -> None:
    long = "<b>&" * (MAX_CHARS // 4 + 1)
    assert render(long) == f'<pre class="plain">{"&lt;b&gt;&amp;" * (MAX_CHARS // 4 + 1)}</pre>'
    monkeypatch.setattr(jielong.serve.markdown._WORKER, "limit_s", 0.05)
    assert render("*a **b " * 20_000 + "<x>").startswith('<pre class="plain">*a **b ')


@pytest.mark.parametrize(
    "hard",
    ["[" * 50_000, "*a " * 60_000, "> " * 90_000, "- " * 90_000, "`" * 99_999, "![" * 50_000, "|a" * 20_000 + "\n" + "|-" * 20_000,
     "```python\n" + "(" * 20_000, "```html\n" + "<" * 20_000, "<a@" * 60_000, "&" * 150_000, "[a](" * 40_000, "~~a" * 60_000],
)  # fmt: skip
def test_hard_texts_end_in_time(hard: str) -> None:
    begun_s = time.monotonic()
    page = render(hard, (1,), is_unfinished=True)
    assert not Seen(page).open and time.monotonic() - begun_s < 15


def test_an_answer_of_usual_length_takes_milliseconds() -> None:
    text = (ANSWER * 12)[:4096]
    render(text, (1,))
    times_s = []
    for _ in range(15):
        begun_s = time.perf_counter()
        render(text, (1,))
        times_s.append(time.perf_counter() - begun_s)
    assert min(times_s) < 0.05  # 7 to 9 ms where nothing else is done


# Colours ---------------------------------------------------------------------------------------------------------------

CSS = (Path(jielong.serve.markdown.__file__).parent / "page" / "code.css").read_text()
AROUND = (("#f2f0ea", "#faf9f6", "#ffffff"), ("#23272c", "#15171a", "#1c1f23"))
"""The block, the page and a card, light and dark."""


def luminance(colour: str) -> float:
    """WCAG 2.2, "relative luminance"."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_colours_of_code_can_be_read_in_light_and_dark() -> None:
    colours = re.findall(r"--code-(\w+): light-dark\((#\w{6}), (#\w{6})\)", CSS)
    assert len(colours) == CSS.count("light-dark(") and len(colours) >= 9
    for name, *shades in colours:
        for shade, papers in zip(shades, AROUND, strict=True):
            for paper in papers if name != "paper" else ():
                high, low = sorted([luminance(shade), luminance(paper)], reverse=True)
                assert (high + 0.05) / (low + 0.05) >= 4.5, (name, shade, paper)
    assert {light for name, light, _ in colours if name == "paper"} == {AROUND[0][0]}
    assert set(re.findall(r"var\(--code-(\w+)\)", CSS)) == {name for name, *_ in colours}
