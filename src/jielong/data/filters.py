"""Filters that decide which texts to keep: language, heuristic quality, harm. Every text is kept, or dropped for one
named reason.

The quality rules follow those of Gopher (arXiv 2112.11446), C4 (1910.10683) and FineWeb (2406.17557) in what they look
for, but count so that Chinese is judged as fairly as English: a length is in *letters' worth*, where a Han character
weighs three letters, phrases are runs of tokens, where each Han character is a token, and no rule asks for English stop
words. Thresholds are the fields of `FilterConfig`.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from jielong.data.wordlists import ADVERTISING, BOILERPLATE, ENGLISH_FUNCTION_WORDS, HARM
from jielong.errors import ConfigError


@dataclass(frozen=True)
class FilterConfig:
    """Thresholds of the filters. A `max_*` is the largest value kept, a `min_*` the smallest; shares are in [0, 1]."""

    languages: tuple[str, ...] = ("en", "zh")
    """Codes of the languages that are kept."""
    min_letters: int = 60  # a Han character counts as 3: twenty characters, or a dozen English words
    max_broken_share: float = 0.01
    """Of characters that are broken."""
    min_letter_share: float = 0.5
    """Of letters among all characters."""
    min_mean_word_letters: float = 2.5
    """Letters of a word on average, at least."""
    max_mean_word_letters: float = 12.0
    """Letters of a word on average, at most."""
    max_repeated_line_share: float = 0.3
    """Of text in lines that occur more than once."""
    max_repeated_phrase_share: float = 0.6
    """Of text in phrases that occur more than once."""
    phrase_tokens: int = 10
    """Words of such a phrase."""
    max_stuffed_share: float = 0.4
    """Of text that repeats one word."""
    max_harm_terms: int = 1
    """Listed words of harm that a text may have."""
    max_advertising_terms: int = 2
    """Listed words of advertising that a text may have."""
    max_boilerplate_terms: int = 2
    """Listed words of menus and footers that a text may have."""
    # A long text may use many listed words honestly; each of these letters' worth allows one more.
    letters_per_extra_term: int = 2_500

    def __post_init__(self) -> None:
        if not self.languages:
            raise ConfigError("filters.languages is empty; name at least one, such as 'en'")
        for lang in self.languages:
            if not re.fullmatch("[a-z]{2,3}", lang):
                raise ConfigError(f"filters.languages holds {lang!r}; expected ISO 639 codes such as 'en', 'zh'")


@dataclass(frozen=True)
class Verdict:
    """The decision on a text: `reason` is "" to keep it, else why it is dropped, in a word or two; `lang` an ISO 639-1
    code, or "".
    """

    reason: str
    lang: str


@functools.cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa]")
_HANGUL = re.compile("[\uac00-\ud7a3]")
_LATIN = re.compile("[A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff]")
_SIGN = re.compile(r"[^\w\s]|[\d_]")
_ASCII_LETTER = re.compile("[A-Za-z]")
_SURE = 0.9
_LETTER = re.compile(r"[^\W\d_]")
_TOKEN = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]|[^\\W\u3040-\u30ff\u3400-\u9fff_]+"
)
_STRANGE = re.compile("[\ufffd\ue000-\uf8ff\x80-\x9f]")
# UTF-8 read as a Latin encoding ("Ã©", "ä¸­", "â€"), and what GBK makes of U+FFFD and of uninitialised memory.
_MOJIBAKE = re.compile(
    "[\u00c2\u00c3][\u0080-\u00bf]|[\u00e2-\u00ef][\u0080-\u00bf\u0152-\u0178\u02c6\u02dc\u2013-\u2122]{1,2}|锟斤|烫烫|屯屯"
    # A sign inside a word: a letter whose byte was damaged.
    "|[A-Za-z][¡-©«¬®-±´-¶¸»-¿×÷ˆ˜†‡‰€›]|[¡-¥¨¬¯-±´¸¼-¾×÷ˆ˜†‡‰][a-z]"
)
_SENTENCE_END = re.compile(r"[.!?。！？…；;]")


def tokens_of(text: str) -> list[str]:
    """Split a text into lower-case words and numbers; each Han or kana character is a token of its own."""
    return _TOKEN.findall(text.lower())


def letters_worth(text: str) -> int:
    """Return a text's length in letters; a Han character counts as three."""
    return len(_LETTER.findall(text)) + 2 * len(_HAN.findall(text))


def language_of(text: str) -> str:
    """Detect the main language of a text, as an ISO 639-1 code.

    The script decides if it can (py3langid is unsure of a short Chinese text that holds Latin names), the identifier
    elsewhere, unless English function words hold the text together.
    """
    sample = text[:4_000]
    han, kana, hangul = len(_HAN.findall(sample)), len(_KANA.findall(sample)), len(_HANGUL.findall(sample))
    latin = len(_LATIN.findall(sample))
    if kana > 0.1 * (han + kana) and 3 * (han + kana) > latin:
        return "ja"
    if 3 * hangul > latin and hangul > han:
        return "ko"
    if 4 * han > latin:
        return "zh"
    lang, confidence = _identifier().classify(sample[:1_500])
    if lang == "en" or not latin:
        return str(lang)
    words = [token for token in tokens_of(sample) if _LATIN.match(token)]
    if sum(word in ENGLISH_FUNCTION_WORDS for word in words) >= 0.25 * len(words):
        return "en"
    # A list of names has no grammar to know a language by: the identifier wavers (prose of a few lines gives it 0.99), and
    # plain letters are English as much as anything.
    is_plain = len(_ASCII_LETTER.findall(sample)) >= 0.97 * latin
    return "en" if confidence < _SURE and is_plain else str(lang)


def broken_share(text: str) -> float:
    """Return the share of the characters that look like a wrong decoding."""
    if not text:
        return 0.0
    wrong = len(_STRANGE.findall(text)) + sum(map(len, _MOJIBAKE.findall(text)))
    han = "".join(_HAN.findall(text[:2_000]))
    if han:
        # UTF-8 read as GBK is Han characters all the way, and turns back into valid UTF-8; real Chinese almost never does.
        back = han.encode("gb18030", "ignore").decode("utf-8", "replace")
        if len(_HAN.findall(back)) > 0.4 * len(back):
            wrong += len(han)
    return wrong / len(text)


def listed_terms(text: str, tokens: list[str], lists: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the different entries of a word list that occur in a text, given with its tokens."""
    words = f" {' '.join(tokens)} "
    return {term for term in lists["zh"] if term in text} | {term for term in lists["en"] if f" {term} " in words}


def repeated_line_share(lines: list[str]) -> float:
    """Return the share of the characters in lines that occurred before."""
    seen: set[str] = set()
    repeated = 0
    for line in lines:
        repeated += len(line) if line in seen else 0
        seen.add(line)
    return repeated / max(1, sum(map(len, lines)))


def repeated_phrase_share(tokens: list[str], width: int) -> float:
    """Return the share of the tokens inside a run of `width` tokens that occurred before."""
    if len(tokens) <= width or len(set(tokens)) > 0.6 * len(tokens):
        return 0.0
    seen: set[tuple[str, ...]] = set()
    covered = 0
    end = 0
    for start in range(len(tokens) - width + 1):
        phrase = tuple(tokens[start : start + width])
        if phrase in seen:
            covered += start + width - max(start, end)
            end = start + width
        seen.add(phrase)
    return covered / len(tokens)


def _words_of(line: str) -> list[str]:
    """Split a line into words; Han text, which has no spaces, into pairs of neighbouring characters."""
    tokens = tokens_of(line)
    if 2 * len(_HAN.findall(line)) < len(tokens):
        return tokens
    return [a + b for a, b in itertools.pairwise(tokens)]


def stuffed_share(lines: list[str]) -> float:
    """Return the share of the characters in lines of keyword stuffing: long, hardly a sentence end, the same words
    again and again.
    """
    stuffed = 0
    for line in lines:
        if len(line) < 60:
            continue
        tokens = _words_of(line)
        ends = len(_SENTENCE_END.findall(line))
        if len(tokens) >= 24 * max(1, ends):
            counts = Counter(tokens)
            in_top = sum(count for _, count in counts.most_common(6))
            if len(counts) < 0.6 * len(tokens) and in_top > 0.35 * len(tokens):
                stuffed += len(line)
    return stuffed / max(1, sum(map(len, lines)))


def quality_reason(text: str, config: FilterConfig) -> str:
    """Return why a text is unfit for training, or "" if it is fit."""
    worth = letters_worth(text)
    if worth < config.min_letters:
        return "too short"
    signs = len(_SIGN.findall(text))
    if worth < config.min_letter_share * (worth + signs):
        return "few letters"
    tokens = tokens_of(text)
    words = [token for token in tokens if _LATIN.match(token)]
    if 2 * len(words) > len(tokens):
        mean = sum(map(len, words)) / len(words)
        if not config.min_mean_word_letters <= mean <= config.max_mean_word_letters:
            return "odd words"
    extra = worth // config.letters_per_extra_term
    if len(listed_terms(text, tokens, HARM)) > config.max_harm_terms + extra:
        return "harmful"
    if len(listed_terms(text, tokens, BOILERPLATE)) > config.max_boilerplate_terms + extra:
        return "boilerplate"
    if len(listed_terms(text, tokens, ADVERTISING)) > config.max_advertising_terms + extra:
        return "advertisement"
    lines = [line for line in text.split("\n") if line]
    if repeated_line_share(lines) > config.max_repeated_line_share:
        return "repeated lines"
    if stuffed_share(lines) > config.max_stuffed_share:
        return "keyword stuffing"
    if repeated_phrase_share(tokens, config.phrase_tokens) > config.max_repeated_phrase_share:
        return "repeated phrases"
    return ""


def verdict_on(text: str, config: FilterConfig) -> Verdict:
    """Decide whether to keep one text, with the cheapest test first."""
    if not text:
        return Verdict("empty", "")
    if broken_share(text) > config.max_broken_share:
        return Verdict("broken text", "")
    if letters_worth(text) < config.min_letters:
        return Verdict("too short", "")
    lang = language_of(text)
    if lang not in config.languages:
        return Verdict("language", lang)
    return Verdict(quality_reason(text, config), lang)
