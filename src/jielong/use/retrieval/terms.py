"""Search terms of a text: its words, and of Chinese every two characters that stand side by side.

SQLite's own tokenizers take a run of Chinese for one word (unicode61) or find nothing shorter than three characters
(trigram), and most Chinese words have two. So texts and queries are cut here, and SQLite sees words with spaces
between.
"""

from __future__ import annotations

import re
import unicodedata

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_EMOJI = "\u2600-\u27bf\u2b50\u2b55\U0001f1e6-\U0001f1ff\U0001f300-\U0001faff"
_PIECE = re.compile(rf"[{_HAN}]+|[^\W_{_HAN}]+|[{_EMOJI}]")
_IS_HAN = re.compile(rf"[{_HAN}]")


def terms(text: str) -> list[str]:
    """Return words in lower case, without accents and plural endings, and bigrams of Han characters, in order.

    A Han character that stands alone is a term of its own, and so is an emoji, spelt out, as SQLite takes it for a
    space. The plural rules are those of Harman's S stemmer (1991).
    """
    plain = unicodedata.normalize("NFKD", text).lower()
    found: list[str] = []
    for piece in _PIECE.findall("".join(c for c in plain if not unicodedata.combining(c))):
        if is_han(piece):
            found += [piece[i : i + 2] for i in range(len(piece) - 1)] or [piece]
        elif piece.isalnum():
            found.append(_singular(piece))
        else:
            found.append(f"emoji{ord(piece):x}")
    return found


def is_han(term: str) -> bool:
    """Whether a term is made of Chinese characters."""
    return _IS_HAN.match(term) is not None


def _singular(word: str) -> str:
    """Strip the plural ending of an English word."""
    if word.endswith("ies") and not word.endswith(("eies", "aies")) and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("s") and not word.endswith(("us", "ss")) and len(word) > 3:
        return word[:-1]
    return word
