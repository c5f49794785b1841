"""Text comes whole characters at a time and ends before a stop string."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jielong.generate import Engine, EngineConfig, generate_text
from jielong.model.transformer import ModelConfig, fresh_language_model
from jielong.records import Request, Sampling
from jielong.tokens.stream import TextStream, cut_at_stop
from jielong.tokens.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Little more than bytes, so that Chinese characters fall apart."""
    return train_tokenizer(["the capital of France is Paris. " * 5], TokenizerConfig(vocab_size=340))


def read(stream: TextStream, ids: list[int]) -> list[str]:
    return [stream.push(i) for i in ids] + [stream.finish()]


def test_no_piece_ends_inside_a_character(tokenizer: Tokenizer) -> None:
    text = "法国的首都是Paris。🙂 é"
    ids = tokenizer.encode(text)
    assert len(ids) > len(text)
    pieces = read(TextStream(tokenizer), ids)
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


def test_bytes_that_never_become_a_character_are_marked_at_the_end(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("a国")
    pieces = read(TextStream(tokenizer), ids[:-1])
    assert pieces[0] == "a" and "".join(pieces) == "a\ufffd"


def test_special_ids_are_silent(tokenizer: Tokenizer) -> None:
    ids = [*tokenizer.encode("is"), tokenizer.im_end, *tokenizer.encode("."), tokenizer.eos]
    assert "".join(read(TextStream(tokenizer), ids)) == "is."


def test_a_stop_string_across_tokens_is_never_shown_in_part(tokenizer: Tokenizer) -> None:
    stream = TextStream(tokenizer, stop=("\nUser:", "停止"))
    ids = tokenizer.encode("one\nUs two\nUser: three")
    shown = ""
    for i in ids:
        shown += stream.push(i)
        assert "one\nUs two".startswith(shown)
    assert shown == "one\nUs two" and stream.stopped_by == "\nUser:" and stream.finish() == ""


def test_what_only_looked_like_a_stop_string_comes_at_the_end(tokenizer: Tokenizer) -> None:
    pieces = read(TextStream(tokenizer, stop=("abcd",)), tokenizer.encode("xabc"))
    assert "".join(pieces[:-1]) == "x" and pieces[-1] == "abc"


@given(text=st.text("ab国。\n", max_size=30), stop=st.lists(st.text("ab国", min_size=1, max_size=4), max_size=3))
@settings(max_examples=150, deadline=None)
def test_stream_equals_cutting_the_whole_text(text: str, stop: list[str]) -> None:
    tokenizer = BYTES
    # one character a token and more: the earliest stop string in the stream is the one that is complete first
    shown = "".join(read(TextStream(tokenizer, stop), tokenizer.encode(text)))
    first_complete = min((text.find(s) + len(s) for s in stop if s in text), default=None)
    if first_complete is None:
        assert shown == text == cut_at_stop(text, stop)
    else:
        assert shown == cut_at_stop(text[:first_complete], stop)


BYTES = train_tokenizer(["nothing"], TokenizerConfig(vocab_size=320))


def test_generate_text_streams_the_sample_and_stops_at_a_stop_string(tokenizer: Tokenizer) -> None:
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=64,
    )
    engine = Engine(fresh_language_model(config, 0), EngineConfig(slots=2))
    prompt = tuple(tokenizer.encode("Paris"))
    sampling = Sampling(max_tokens=40)
    sample = engine.generate([Request(prompt, sampling, 3)])[0]
    whole = tokenizer.decode(sample.ids, skip_special=True)
    assert "".join(generate_text(engine, tokenizer, prompt, sampling, 3)) == whole
    stop = whole[10:12]
    stopped = Sampling(max_tokens=40, stop=(stop,))
    assert "".join(generate_text(engine, tokenizer, prompt, stopped, 3)) == cut_at_stop(whole, [stop]) != whole
    assert engine.num_live == 0
    pieces = generate_text(engine, tokenizer, prompt, sampling, 3)
    next(pieces)
    pieces.close()
    assert engine.num_live == 0
