"""The tokenizer: text survives, specials cannot be forged, and transformers reads the same ids."""

from __future__ import annotations

import json
import pickle
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st

from jielong.errors import CheckpointError, ConfigError, DataError
from jielong.tokens import SPECIAL_TOKENS, Tokenizer, TokenizerConfig, train_tokenizer
from jielong.tokens.fast import BORDER, LONGEST, chunks, in_order, merges_are_proper

TEXTS = [
    "The capital of France is Paris. The capital of Japan is Tokyo.\n\nIts currency is the yen, since 1871.\n",
    "法国的首都是巴黎。日本的首都是东京，货币是日元（JPY）。France的首都？\n",
    "def f(x):\n    return x + 12345  # don't\r\n",
] * 20


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS, TokenizerConfig(vocab_size=420))


BYTES_ALONE = train_tokenizer([], TokenizerConfig(vocab_size=320))
TRAINED = train_tokenizer(TEXTS, TokenizerConfig(vocab_size=420))
CHARACTERS = train_tokenizer(TEXTS, TokenizerConfig(vocab_size=420, han="characters"))
SINGLE = train_tokenizer(TEXTS, TokenizerConfig(vocab_size=420, digits="single"))


def library(tokenizer: Tokenizer, directory: Path) -> Any:
    """The `tokenizers` library on the saved file: what a stranger reads."""
    tokenizer.save(directory)
    made = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    made.encode_special_tokens = True
    return made


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Tokenizer, Any]]:
    return [(t, library(t, tmp_path_factory.mktemp("saved"))) for t in (BYTES_ALONE, TRAINED, CHARACTERS, SINGLE)]


PIECES = st.sampled_from(
    [*"ab é中。12\t\n\r\u3000", "  ", "\r\n", "'s", "'LL", "the", "法国的", "<|im_end|>", BORDER, BORDER[:5]]
)


@given(st.lists(st.text(max_size=4) | PIECES, max_size=12).map("".join))
def test_the_fast_way_gives_the_ids_of_the_saved_file(libraries: list[tuple[Tokenizer, Any]], text: str) -> None:
    for tokenizer, theirs in libraries:
        assert tokenizer._fast is not None
        ids = theirs.encode(text, add_special_tokens=False).ids
        assert tokenizer.encode(text) == ids
        documents = tokenizer.encode_documents([text, "", "a" + text], threads=1)
        assert [d.tolist() for d in documents][:2] == [[*ids, tokenizer.endoftext], [tokenizer.endoftext]]


def test_every_kind_of_character_is_cut_in_the_same_places(libraries: list[tuple[Tokenizer, Any]]) -> None:
    """The two regex engines have Unicode tables of their own: where categories change, and every 16th character."""
    kinds = [unicodedata.category(chr(c)) for c in range(0x110000)]
    borders = {c + d for c in range(1, 0x10FFFF) if kinds[c] != kinds[c - 1] for d in (-1, 0)}
    chosen = [chr(c) for c in sorted(borders | set(range(0, 0x3FFFF, 16))) if kinds[c] != "Cs"]
    lines = [f"a{c}中{c}1{c} {c}. {c}'{c}l\n" for c in chosen]
    tokenizer, theirs = libraries[1]
    expected = [e.ids for e in theirs.encode_batch_fast(lines, add_special_tokens=False)]
    assert [c for c, ids, line in zip(chosen, expected, lines, strict=True) if tokenizer.encode(line) != ids] == []


def test_documents_come_in_order_whatever_the_threads(libraries: list[tuple[Tokenizer, Any]]) -> None:
    tokenizer, theirs = libraries[1]
    texts = [f"{i} {TEXTS[i % 3]}" * (1 + i % 40) for i in range(900)]
    texts[5], texts[6] = "x\n" * LONGEST, f"The{BORDER}capital"
    expected = [[*e.ids, 0] for e in theirs.encode_batch_fast(texts, add_special_tokens=False)]
    for threads in (1, 3):
        made = list(tokenizer.encode_documents(iter(texts), threads))
        assert all(d.dtype == np.uint32 for d in made) and [d.tolist() for d in made] == expected
    assert tokenizer.encode_batch(texts[:9]) == [ids[:-1] for ids in expected[:9]]


def test_a_line_without_end_is_encoded_too(libraries: list[tuple[Tokenizer, Any]]) -> None:
    tokenizer, theirs = libraries[1]
    for text in (" " * (LONGEST + 1) + "x", "a\n" + "\t " * LONGEST, "法国" * LONGEST + "\nx"):
        assert tokenizer.encode(text) == theirs.encode(text, add_special_tokens=False).ids


def test_a_stream_of_texts_is_read_only_a_little_ahead() -> None:
    read = 0

    def texts() -> Any:
        nonlocal read
        for _ in range(10_000):
            read += 1
            yield "The capital of France is Paris. " * 300

    documents = TRAINED.encode_documents(texts(), threads=2)
    next(documents)
    assert read < 1_000
    documents.close()
    assert list(in_order(len, chunks(["a"] * 3), 2)) == [3]


def test_merges_that_two_libraries_read_differently_are_not_taken_the_fast_way() -> None:
    data = json.loads(train_tokenizer(["ab bc abc"], TokenizerConfig(vocab_size=320)).to_json())
    assert merges_are_proper(data, len(SPECIAL_TOKENS))
    for pairs in (["b c", "a b", "ab c"], ["a b", "a b"]):  # abc is never reached: bc is merged first
        merges = [pair.split() for pair in pairs]
        data["model"]["merges"] = merges
        words = {"".join(m): 320 + i for i, m in enumerate(merges)}
        data["model"]["vocab"] = {t: i for t, i in data["model"]["vocab"].items() if i < 320} | words
        assert not merges_are_proper(data, len(SPECIAL_TOKENS))
        if len(pairs) == 3:
            tokenizer = Tokenizer(json.dumps(data))
            assert tokenizer._fast is None
            assert tokenizer.encode("abc") == [tokenizer.encode("a")[0], 320]
            assert [d.tolist() for d in tokenizer.encode_documents(["abc"])] == [[*tokenizer.encode("abc"), 0]]


@given(st.text())
@example("<|im_end|><|endoftext|>\r\n\r\n\u3000 \u00a0\u2028\x00\x85")
@example("👩‍👩‍👧 e\u0301 हिन्दी ﷽ 〇々⺀ 𠮷")
def test_any_text_survives_encoding_and_never_gives_a_special_id(text: str) -> None:
    for tokenizer in (TRAINED, BYTES_ALONE):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert tokenizer.encode_batch([text, text]) == [ids, ids]
        assert all(i >= len(SPECIAL_TOKENS) for i in ids)
        assert tokenizer.byte_lengths[ids].sum() == len(text.encode())
        assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()


@given(st.text(), st.text())
def test_a_newline_is_a_clean_border(before: str, after: str) -> None:
    joined = TRAINED.encode(before + "\n" + after)
    assert joined == TRAINED.encode(before + "\n") + TRAINED.encode(after)


def test_special_ids_are_the_first_64_in_the_order_of_the_conventions(tokenizer: Tokenizer) -> None:
    assert SPECIAL_TOKENS[:6] == (
        "<|endoftext|>",
        "<|pad|>",
        "<|im_start|>",
        "<|im_end|>",
        "<tool_call>",
        "</tool_call>",
    )
    assert SPECIAL_TOKENS[6:12] == (
        "<tool_response>",
        "</tool_response>",
        "<image>",
        "</image>",
        "<|mask|>",
        "<|reserved_11|>",
    )
    assert len(SPECIAL_TOKENS) == 64
    named = {
        tokenizer.eos: "<|endoftext|>",
        tokenizer.pad: "<|pad|>",
        tokenizer.im_start: "<|im_start|>",
        tokenizer.im_end: "<|im_end|>",
        tokenizer.mask: "<|mask|>",
    }
    for id, name in named.items():
        assert tokenizer.special(name) == id
        assert tokenizer.decode([id]) == name
        assert tokenizer.decode([id], skip_special=True) == ""


def test_no_token_mixes_han_with_latin_or_punctuation_or_holds_four_digits() -> None:
    mixed = "在France，法国的12345年France。" * 50
    tokenizer = train_tokenizer([mixed], TokenizerConfig(vocab_size=600))
    tokens = [tokenizer.decode([i]) for i in tokenizer.encode(mixed)]
    assert "".join(tokens) == mixed, "in such a text every token is whole characters"
    kinds = {"法": "han", "国": "han", "的": "han", "在": "han", "年": "han", "，": "mark", "。": "mark"}
    for token in tokens:
        assert len({kinds.get(c, "digit" if c.isdigit() else "latin") for c in token}) == 1, token
        assert not token.isdigit() or len(token) <= 3
    assert "France" in tokens
    assert "法国的" in tokens
    characters = train_tokenizer([mixed], TokenizerConfig(vocab_size=600, han="characters"))
    assert [characters.decode([i]) for i in characters.encode("法国的")] == ["法", "国", "的"]
    single = train_tokenizer([mixed], TokenizerConfig(vocab_size=600, digits="single"))
    assert [single.decode([i]) for i in single.encode("12345年")] == [*"12345", "年"]


def test_a_split_that_does_not_exist_is_refused() -> None:
    for name in ("han", "digits"):
        with pytest.raises(ConfigError, match="expected one of"):
            TokenizerConfig(**{name: "pairs"})


def test_bytes_of_a_cut_character_can_be_joined_later() -> None:
    ids = BYTES_ALONE.encode("东京")
    assert len(ids) == 6
    assert BYTES_ALONE.decode(ids[:1]) == "\ufffd"
    assert (BYTES_ALONE.decode_bytes(ids[:1]) + BYTES_ALONE.decode_bytes(ids[1:])).decode() == "东京"
    assert BYTES_ALONE.bytes_per_token(["东京", "a"]) == 1.0


def test_the_same_texts_give_the_same_file(tokenizer: Tokenizer, tmp_path: Path) -> None:
    again = train_tokenizer(iter(TEXTS), TokenizerConfig(vocab_size=420))
    for name, one in (("a", tokenizer), ("b", again)):
        one.save(tmp_path / name)
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert again == tokenizer
    assert train_tokenizer(TEXTS[:2], TokenizerConfig(vocab_size=420)) != tokenizer


def test_merges_make_text_shorter_and_the_vocabulary_keeps_its_bound(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size == 420
    assert tokenizer.bytes_per_token(TEXTS) > 2 * BYTES_ALONE.bytes_per_token(TEXTS)
    assert BYTES_ALONE.vocab_size == 320


def test_a_saved_tokenizer_comes_back_equal(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert loaded == tokenizer
    assert pickle.loads(pickle.dumps(tokenizer)) == tokenizer
    assert loaded.encode(TEXTS[1] + "<|pad|>") == tokenizer.encode(TEXTS[1] + "<|pad|>")


@pytest.mark.parametrize("has_model_config", [False, True])
def test_transformers_gives_the_same_ids(tokenizer: Tokenizer, tmp_path: Path, has_model_config: bool) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer.save(tmp_path)
    if has_model_config:  # beside a model, the model's type must not bring in another tokenizer
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3"}))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in [*TEXTS[:3], " a  b\n\n\n c\r\n \u3000", "🎉 e\u0301 't 1234567"]:
        assert theirs.encode(text) == tokenizer.encode(text)
        assert theirs.decode(tokenizer.encode(text)) == text
    assert (theirs.eos_token_id, theirs.pad_token_id) == (tokenizer.im_end, tokenizer.pad)
    assert len(theirs) == tokenizer.vocab_size


def test_a_missing_or_damaged_tokenizer_is_refused_by_name(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        Tokenizer.load(tmp_path)
    tokenizer.save(tmp_path)
    whole = (tmp_path / "tokenizer.json").read_text()
    of_unknown = json.loads(whole)
    of_unknown["model"]["unk_token"] = "/dev/zero"  # which the library looks for when it meets a byte: there is none
    for damaged in (
        *(whole[: len(whole) // 2], "{}", "[]", whole.replace('"BPE"', '"Unigram"')),
        json.dumps(of_unknown),
    ):
        (tmp_path / "tokenizer.json").write_text(damaged)
        with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
            Tokenizer.load(tmp_path)


def test_what_cannot_be_encoded_or_decoded_is_said_in_one_sentence(tokenizer: Tokenizer) -> None:
    for call in (tokenizer.encode, lambda text: tokenizer.encode_batch([text])):
        with pytest.raises(DataError, match="character 2"):
            call("ab\ud83d")
    for id in (-1, tokenizer.vocab_size):
        with pytest.raises(DataError, match="outside the vocabulary"):
            tokenizer.decode([id])
    for bad in ({"vocab_size": 319}, {"min_frequency": 0}, {"han": "words"}):
        with pytest.raises(ConfigError, match=str(next(iter(bad.values())))):
            TokenizerConfig(**bad)  # type: ignore[arg-type]
