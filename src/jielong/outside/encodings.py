"""Decode bytes to text: the encoding is detected from the bytes, whatever the text says of itself."""

from __future__ import annotations

import codecs
import re

# The most frequent characters of Chinese writing, simplified and traditional: about four of ten characters of any text.
_EVERYDAY = frozenset(
    "的一是不了在人有我他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可里后小么心多天而能好都然没日于"
    "起还发成事只作当想看文无开手用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但身些与高意进把法此实回二理美点月明其"
    "種这個國說們為時過會對裡後麼沒於還發當開經頭動兩長樣現將與進實點其首都位于洲货币语言面积人口貨幣語區地市省城名南北西东東海"
    "什哪谁怎请问答是否官方使用属亚欧非第部因定由最等新全各使十四五六七八九百千万年月日，。、：？"
)
_META_CHARSET = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]+)|<\?xml[^>]{0,80}encoding=[\"']([\w.:-]+)", re.I
)
_HEADER_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.I)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "ascii": "cp1252", "iso8859-1": "cp1252", "big5": "big5hkscs"}

_SIGN = "\u00a2-\u00a9\u00ac-\u00b6\u00b8\u00b9\u00bc-\u00be"
_LETTER = "\u00c0-\u024f\u0370-\u04ff"
_MIXED = re.compile(
    rf"[{_LETTER}]{{0,9}}[{_SIGN}][{_SIGN}{_LETTER}]+|[{_LETTER}]{{1,9}}[{_SIGN}]+|[\u00c0-\u00df][\u00c0-\u00ff]+"
)
"""Letters and signs in a row that no language writes, and every two-byte encoding looks like in a one-byte one."""


def _python_codec(name: str) -> str:
    """Return Python's name of an encoding, widened as browsers widen it, or "" if there is none."""
    try:
        found = codecs.lookup(name).name
        "".encode(found)  # bytes-to-bytes codecs (hex, zip) have names too
    except (LookupError, TypeError, ValueError):
        return ""
    return _WIDER.get(found, found)


def declared_encodings(body: bytes, content_type: str) -> list[str]:
    """Return the encodings that the header and the page itself claim, in that order."""
    names = _HEADER_CHARSET.findall(content_type)
    head = _META_CHARSET.search(body, 0, 4096)
    if head:
        names.append((head[1] or head[2]).decode("ascii", "replace"))
    return [codec for codec in map(_python_codec, names) if codec]


def _plausibility(text: str) -> float:
    """Score how much a decoding looks like writing: above 0 it does. Everyday Chinese and plain letters raise it."""
    sample = text[:5_000]
    han = sum("\u4e00" <= c <= "\u9fff" for c in sample)
    everyday = sum(c in _EVERYDAY for c in sample)
    kana_hangul = sum("\u3041" <= c <= "\u30ff" or "\uac00" <= c <= "\ud7a3" for c in sample)
    strange = sum("\x80" <= c <= "\x9f" or "\ue000" <= c <= "\uf8ff" or c == "\ufffd" for c in sample)
    latin = sum("\xa0" <= c <= "\u024f" for c in sample)
    mixed = sum(len(match[0]) for match in _MIXED.finditer(sample))
    # In Chinese a fifth of the characters are everyday ones; text decoded wrongly has one in fifty of them.
    return (5.0 * everyday - han + 0.5 * kana_hangul - 0.1 * latin - mixed - 5.0 * strange) / (
        1 + han + kana_hangul + latin + strange
    )


def decode(body: bytes, content_type: str = "") -> tuple[str, str]:
    """Return the text of `body` and the encoding that was detected.

    The bytes are believed before any declaration: valid UTF-8 is UTF-8, whatever a header claims. Among other encodings
    in which the bytes are valid, the best is that whose Chinese characters are everyday ones.

    Never raises: if nothing fits, invalid bytes become U+FFFD, which the filters see and judge.
    """
    for bom, encoding in _BOMS:
        if body.startswith(bom):
            return body[len(bom) :].decode(encoding, "replace"), encoding
    # A declared 7-bit escape encoding is also valid ASCII, so it is asked first.
    if b"\x1b$" in body[:20_000] and "iso2022_jp" in (declared := declared_encodings(body, content_type)):
        return body.decode(declared[0], "replace"), declared[0]
    try:
        return body.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        lenient = body.decode("utf-8", "replace")
    # A truncated or slightly damaged UTF-8 page still has far more whole sequences than broken ones.
    broken = lenient.count("\ufffd")
    if broken * 20 <= sum(c > "\x7f" for c in lenient):
        return lenient, "utf-8"
    candidates = [*declared_encodings(body, content_type), "gb18030", "big5hkscs"]
    from resiliparse.parse.encoding import detect_encoding  # late: only bytes that are no UTF-8 need it

    detected = detect_encoding(body, from_html_meta=False)
    candidates += [c for c in (_python_codec(detected or ""), "cp1252") if c]
    best, best_score, best_encoding = lenient, -4.0, "utf-8"
    for encoding in dict.fromkeys(c for c in candidates if c != "utf-8"):
        try:
            text = body.decode(encoding)
        except UnicodeDecodeError:
            text = body.decode(encoding, "replace")
            if text.count("\ufffd") * 50 > len(text):
                continue
        score = _plausibility(text)
        if score > best_score:
            best, best_score, best_encoding = text, score, encoding
    return best, best_encoding
