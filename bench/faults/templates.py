"""Chat templates that never end, take all memory or say too much: each ends within its limit, with one sentence."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench.rows import Row
from jielong.errors import JielongError
from jielong.tokens.templates import LIMIT_S, ChatTemplate

HONEST = "{% for m in messages %}{{ '<' + m.role + '>' + m.content }}{% endfor %}"
TALK = [{"role": "user", "content": "Hi"}]

_AGAIN = "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(99) %}{% set ns.s = GROWN %}{% endfor %}{{ ns.s | length }}"
_LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}BODY{% endfor %}{% endfor %}{% endfor %}"
_TEN = "".join(f"{{% set x{n} = x{n - 1} * 10 %}}" for n in range(1, 12))

HOSTILE = {
    "nested ranges": _LOOPS.replace("BODY", ""),
    "nested ranges that write": _LOOPS.replace("BODY", "x"),
    "nested ranges in a condition": "{% if range(99999)|map('string')|join|length > 0 %}" + _LOOPS + "{% endif %}",
    "a power": "{{ 10 ** (10 ** 10) }}",
    "a power of a variable": "{% set n = messages | length + 9 %}{{ n ** (n ** n) }}",
    "powers of powers": "{% set ns = namespace(n=3) %}{% for i in range(99) %}{% set ns.n = ns.n ** ns.n %}{% endfor %}{{ ns.n }}",
    "a text times a number": "{{ 'x' * 10000000000 }}",
    "a number times a text": "{{ 10000000000 * messages[0].content }}",
    "a list times a number": "{{ ([1] * 10000000000) | length }}",
    "a text times ten, again and again": "{% set x0 = 'x' * 10 %}" + _TEN + "{{ x11 }}",
    "a text that doubles": _AGAIN.replace("GROWN", "ns.s + ns.s"),
    "a text that doubles by ~": _AGAIN.replace("GROWN", "ns.s ~ ns.s"),
    "a list that doubles": _AGAIN.replace("GROWN", "ns.s + ns.s").replace("'xxxxxxxx'", "[1]"),
    "indent": "{{ 'x\ny' | indent(10000000000) }}",
    "indent of many lines": "{{ ('\n' * 900000) | indent(900000) }}",
    "center": "{{ 'x' | center(10000000000) }}",
    "a method's width": "{{ 'x'.center(10000000000) }}",
    "zeros in front": "{{ '1'.zfill(10000000000) }}",
    "tabs": "{{ ('\t' * 900000).expandtabs(900000) }}",
    "slice": "{{ range(9) | slice(10000000000) | list | length }}",
    "batch": "{{ range(9) | batch(10000000000, 'x') | list | length }}",
    "replace": "{{ ('x' * 1000000) | replace('x', 'y' * 1000000) }}",
    "a method that replaces": "{{ ('x' * 1000000).replace('x', 'y' * 1000000) }}",
    "join": "{{ range(99999) | join('x' * 1000000) }}",
    "a format": "{{ '%9999999999d' % 1 }}",
    "a format with a star": "{{ '%*d' % (9999999999, 1) }}",
    "a filter that formats": "{{ '%999999999d' | format(1) }}",
    "a method that formats": "{{ '{:9999999999}'.format(1) }}",
    "rounding": "{{ 1.5 | round(999999999) }}",
    "indented JSON": "{{ messages | tojson(indent=999999999) }}",
    "words": "{{ lipsum(1000000) }}",
    "a large range": "{{ range(10000000000) | list | length }}",
    "sums of lists": "{{ ([range(99999) | list] * 99999) | sum(start=[]) | length }}",
    "sorting": "{{ (range(99999) | list * 150) | sort | sort(reverse=true) | unique | list | length }}",
    "a macro that calls itself": "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "a macro with two calls to a depth": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "a loop that calls itself": "{% for m in messages recursive %}{{ loop(messages) }}{{ loop(messages) }}{% endfor %}",
    "many blocks within each other": "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
    "many loops within each other": "{% for m in messages %}" * 40 + "x" + "{% endfor %}" * 40,
    "many brackets": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "a long sum": "{{ " + "1 + " * 30000 + "1 }}",
    "a constant for the compiler": "{{ ('x' | center(999999)) | replace('x', 'x' | center(999999)) | replace(' ', 'y' | center(999999)) }}",
    "an error of many letters": "{{ raise_exception('x' * 10000000) }}",
    "much text": "x" * 30_000_000,
    "another template": "{% include 'other' %}{% extends 'other' %}",
    "the insides of Python": "{{ messages.__class__.__mro__[1].__subclasses__() }}",
}  # fmt: skip
"""Templates by what they try. An answer of theirs is no fault where it comes in time."""

_PIECES = {
    "{% for a in range(N) %}B{% endfor %}": "loop",
    "{{ 'x' * N }}B": "repeat",
    "{{ 'B'.center(N) }}": "width",
    "{% set v = v + v %}B": "double",
    "{{ v | replace('x', v) }}B": "replace",
    "{{ N ** N }}B": "power",
    "{% for m in messages %}B{% endfor %}": "talk",
}


def mixed(seed: int) -> Iterator[str]:
    """Templates put together by chance of what is dear, within each other."""
    chance = random.Random(seed)
    while True:
        made = "B"
        for _ in range(chance.randint(2, 8)):
            piece = chance.choice(list(_PIECES)).replace("N", str(10 ** chance.randint(1, 9)))
            made = made.replace("B", piece, 1)
        yield "{% set v = 'x' * 1000 %}" + made.replace("B", "x")


def tried(source: str) -> tuple[str, float]:
    """Open and use a template; "an answer" or the sentence of the error, and the seconds it took."""
    start_s = time.monotonic()
    template = ChatTemplate(source)
    try:
        messages = [message for _, message in template.adapt(TALK)]
        template.text(messages, add_generation_prompt=True)
        said = "an answer"
    except JielongError as error:
        said = str(error)
    return said, time.monotonic() - start_s


def rows(seed: int, *, short: bool, folder: Path) -> Iterator[Row]:
    """How the hostile templates end, and those made by chance. On a busy machine seconds are longer than work."""
    before = psutil.Process().memory_info().rss
    del folder
    slack_s = 15.0
    wanted = f"below {LIMIT_S:g} s of work, {LIMIT_S + slack_s:g} s by the clock"
    chosen = dict(itertools.islice(HOSTILE.items(), 0, None, 3 if short else 1))
    held, slowest_s = 0, 0.0
    for name, source in chosen.items():
        said, took_s = tried(source)
        slowest_s = max(slowest_s, took_s)
        if took_s < LIMIT_S + slack_s and "\n" not in said and len(said) < 1000:
            held += 1
        else:
            print(f"{name}: {took_s:.1f} s, {said[:200]!r}", flush=True)
    count = len(chosen)
    yield Row("hostile templates that end with a sentence", f"{count} of {count}", held, held == count, seeds=(seed,))
    yield Row("the slowest of them", wanted, slowest_s, slowest_s < LIMIT_S + slack_s, "s")
    slowest_s, count = 0.0, 5 if short else 300
    for source in itertools.islice(mixed(seed), count):
        slowest_s = max(slowest_s, tried(source)[1])
    yield Row(
        f"{count} templates made by chance",
        wanted,
        slowest_s,
        slowest_s < LIMIT_S + slack_s,
        "s",
    )
    said, _ = tried(HONEST)
    yield Row("an honest template afterwards", "an answer", said, said == "an answer")
    grown = (psutil.Process().memory_info().rss - before) / 2**30
    yield Row("memory that the process which asks has taken", "below 0.5 GiB", grown, grown < 0.5, "GiB")
