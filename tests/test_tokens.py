"""The tokenizer: text survives, specials cannot be forged, and transformers reads the same ids."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jielong.errors import CheckpointError, ConfigError, DataError
from jielong.tokens import SPECIAL_TOKENS, Tokenizer, TokenizerConfig, train_tokenizer

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


def test_a_missing_damaged_or_foreign_tokenizer_is_refused_by_name(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        Tokenizer.load(tmp_path)
    tokenizer.save(tmp_path)
    whole = (tmp_path / "tokenizer.json").read_text()
    for damaged in (whole[: len(whole) // 2], "{}", whole.replace("<|mask|>", "<|task|>")):
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
