"""The port to the engine in this process: in company or alone the same, in pieces or whole the same, and no slot is lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import torch
from tests.test_engine import CONFIG, lively_model

from jielong.errors import ConfigError
from jielong.generate.engine import Engine, EngineConfig
from jielong.model.transformer import LanguageModel
from jielong.records import Conversation, Message, Sampling
from jielong.tokens import TokenizerConfig, train_tokenizer
from jielong.tokens.tokenizer import NUM_SPECIAL
from jielong.use.port import Answer, Completes, LocalPort, Options, Renders, Scores

TOKENIZER = train_tokenizer(["the sea 大海 the sea\n"] * 20, TokenizerConfig(vocab_size=330))
WARM = Options(Sampling(max_tokens=20, temperature=1.0, top_k=5))


def new_model(positions: int = 128) -> LanguageModel:
    """A lively model that writes no special tokens: their embeddings, which are their logits, are 0."""
    model = lively_model(0, replace(CONFIG, vocab_size=330, max_position_embeddings=positions))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embed_tokens" in name:
                parameter[:NUM_SPECIAL] = 0.0
    return model


MODEL = new_model()


def new_port(slots: int = 3) -> LocalPort:
    return LocalPort(Engine(MODEL, EngineConfig(slots=slots, bucket=8)), TOKENIZER)


def talkative_port(positions: int) -> LocalPort:
    """A port to such a model with room for long prompts: its answers end where they must."""
    return LocalPort(Engine(new_model(positions), EngineConfig(slots=8)), TOKENIZER)


def asked(text: str) -> Conversation:
    return Conversation((Message("user", text),))


QUESTIONS = [asked(text) for text in ("sea", "the sea?", "大海", "a", "大海 and the sea", "the the the", "")]


def together(port: LocalPort, options: Options) -> list[Answer]:
    async def work() -> list[Answer]:
        return await asyncio.gather(*(port.ask(q, options.draw("try", i)) for i, q in enumerate(QUESTIONS)))

    return asyncio.run(work())


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_asked_together_and_one_by_one_the_answers_are_the_same(temperature: float) -> None:
    options = Options(Sampling(max_tokens=20, temperature=temperature, top_k=5))
    several = together(new_port(), options)
    port = new_port(1)
    for number, answer in enumerate(several):
        alone = asyncio.run(port.ask(QUESTIONS[number], options.draw("try", number)))
        assert (answer.text, answer.ids, answer.stop) == (alone.text, alone.ids, alone.stop)
        assert answer.usage.calls == 1 and answer.usage.completion_tokens == len(answer.ids)
    assert len({a.ids for a in several}) > 2  # or little was compared


def test_the_pieces_join_to_the_text_and_are_told_while_it_is_written() -> None:
    port = new_port()
    for number in range(6):
        pieces: list[str] = []
        options = replace(WARM.draw("try", number), on_text=pieces.append)
        answer = asyncio.run(port.ask(QUESTIONS[number], options))
        assert "".join(pieces) == answer.text
        assert len(pieces) > 1


def test_a_stop_string_ends_the_answer_before_itself() -> None:
    port = new_port()
    whole = asyncio.run(port.ask(QUESTIONS[0], WARM))
    for start in (1, 4, 9):
        stop = whole.text[start : start + 3]
        pieces: list[str] = []
        cut = asyncio.run(
            port.ask(QUESTIONS[0], replace(WARM, sampling=replace(WARM.sampling, stop=(stop,)), on_text=pieces.append))
        )
        assert cut.text == whole.text[: whole.text.find(stop)] == "".join(pieces)
        assert cut.stop == "stop" and len(cut.ids) <= len(whole.ids)
    assert port.engine.num_live == 0


def test_who_stops_waiting_gives_the_slot_back() -> None:
    port = new_port(1)
    heard = asyncio.Event()

    async def work() -> str:
        options = replace(WARM, sampling=replace(WARM.sampling, max_tokens=90), on_text=lambda piece: heard.set())
        writing = asyncio.create_task(port.ask(QUESTIONS[0], options))
        waiting = asyncio.create_task(port.ask(QUESTIONS[1], options))
        await heard.wait()
        assert (port.engine.num_live, port.engine.num_waiting) == (1, 1)
        for task in (writing, waiting):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert (port.engine.num_live, port.engine.num_waiting) == (0, 0)
        return (await port.ask(QUESTIONS[2], WARM)).text

    assert asyncio.run(work()) == asyncio.run(new_port().ask(QUESTIONS[2], WARM)).text


def test_what_does_not_fit_is_refused_to_who_asked_and_to_nobody_else() -> None:
    port = new_port()

    async def work() -> list[Answer | BaseException]:
        return await asyncio.gather(
            port.ask(asked("the sea " * 200), WARM), port.ask(QUESTIONS[0], WARM), return_exceptions=True
        )

    refused, answer = asyncio.run(work())
    assert isinstance(refused, ConfigError) and isinstance(answer, Answer)


def test_what_else_it_can_do_it_says() -> None:
    port = new_port()
    assert isinstance(port, Completes) and isinstance(port, Scores) and isinstance(port, Renders)
    assert port.render(asked("sea")) == "<|im_start|>user\nsea<|im_end|>\n<|im_start|>assistant\n"
    answer = asyncio.run(port.complete("the sea", Options(Sampling(max_tokens=5, temperature=0.0))))
    assert answer.prompt_ids[-len(TOKENIZER.encode("the sea")) :] == tuple(TOKENIZER.encode("the sea"))
    # the likelihood of what was written greedily is the sum of what its tokens said
    (scored,) = asyncio.run(port.score("the sea", [answer.text]))
    if tuple(TOKENIZER.encode(answer.text)) == answer.ids:
        assert scored.logprob == pytest.approx(sum(answer.logprobs), abs=1e-3)
    assert scored.num_bytes == len(answer.text.encode())
