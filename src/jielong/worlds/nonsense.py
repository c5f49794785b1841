"""Words without meaning, as distractors around the text that is to be understood.

A learner that has met only the words of its lessons is lost if a question begins with others: their pieces, and in
Chinese the bytes of characters it never saw, are strange to it. So lessons are strewn with any letters and any
characters.
"""

from __future__ import annotations

import random

HAN = "".join(
    bytes((row, cell)).decode("gb2312") for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF - 5 * (row == 0xD7))
)
"""The 3,755 most used characters: level 1 of GB 2312."""
_LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


def any_word(lang: str, rng: random.Random) -> str:
    """Make a word of two to eight random letters, or one to three Han characters."""
    if lang == "zh":
        return "".join(rng.choices(HAN, k=rng.randint(1, 3)))
    # letters as frequent as in English, so that about as many pieces are common ones
    return "".join(rng.choices(_LETTERS, range(len(_LETTERS), 0, -1), k=rng.randint(2, 8)))


def nonsense(lang: str, rng: random.Random) -> str:
    """Make one to three random words."""
    return ("" if lang == "zh" else " ").join(any_word(lang, rng) for _ in range(rng.randint(1, 3)))
