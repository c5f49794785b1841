"""Special ids that no answer holds are never written, whoever asks; everything else comes out as it did."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tests.test_engine import CONFIG, V, greedy, lively_model, mixed_requests, naive_greedy, ragged_prompts

from jielong.generate.engine import Engine, EngineConfig
from jielong.model.transformer import LanguageModel
from jielong.records import Request, Sampling
from jielong.tokens import TokenizerConfig, parse, train_tokenizer
from jielong.tokens.foreign import answer_marks
from jielong.tokens.templates import ChatTemplate

SUPPRESSED = tuple(range(0, 60))


class Masked(LanguageModel):
    """The same model, to which the suppressed ids are impossible."""

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return super().logits(hidden).index_fill(-1, torch.tensor(SUPPRESSED), -1e9)


def masked(model: LanguageModel) -> Masked:
    copy = Masked(CONFIG)
    copy.load_state_dict(model.state_dict())
    return copy


@pytest.mark.parametrize("lookup", [0, 16])
def test_a_greedy_row_writes_the_likeliest_of_the_other_ids(lookup: int) -> None:
    model = lively_model()
    engine = Engine(model, EngineConfig(slots=4, lookup=lookup), SUPPRESSED)
    for sample in engine.generate(greedy(ragged_prompts())):
        assert list(sample.ids) == naive_greedy(masked(model), sample.prompt_ids, 10)[0]
        with torch.no_grad():
            logits = model.logits(model(torch.tensor([[*sample.prompt_ids, *sample.ids]])))[0]
        own = logits.log_softmax(-1)[len(sample.prompt_ids) - 1 : -1]
        expected = own.gather(1, torch.tensor(sample.ids)[:, None])[:, 0]
        np.testing.assert_allclose(sample.logprobs, expected, atol=1e-4)  # of the model's own distribution


def test_no_kind_of_row_writes_a_suppressed_id_and_neighbours_change_nothing() -> None:
    model, requests = lively_model(), mixed_requests()
    samples = Engine(model, EngineConfig(slots=8), SUPPRESSED).generate(requests)
    assert not {id for sample in samples for id in sample.ids} & set(SUPPRESSED)
    alone = [Engine(model, EngineConfig(slots=1), SUPPRESSED).generate([request])[0] for request in requests]
    assert [s.ids for s in samples] == [s.ids for s in alone]


def test_what_never_drew_such_an_id_comes_out_as_before() -> None:
    model, requests = lively_model(), mixed_requests()
    before = Engine(model, EngineConfig(slots=8)).generate(requests)
    unseen = tuple(set(range(V)) - {id for sample in before for id in sample.ids})
    after = Engine(model, EngineConfig(slots=8), unseen).generate(requests)
    assert [(s.ids, s.logprobs) for s in before] == [(s.ids, s.logprobs) for s in after]


def test_the_others_are_drawn_in_the_proportions_that_they_have() -> None:
    model, prompt = lively_model(3), (1, 2, 3)
    requests = [Request(prompt, Sampling(max_tokens=1), seed) for seed in range(4000)]
    ids = [sample.ids[0] for sample in Engine(model, EngineConfig(slots=64), SUPPRESSED).generate(requests)]
    with torch.no_grad():
        expected = masked(model).logits(model(torch.tensor([prompt])))[0, -1].softmax(-1).numpy()
    found = np.bincount(ids, minlength=V) / len(ids)
    # a share of 4,000 draws has a standard error of at most 0.5 / sqrt(4000) = 0.008
    assert np.abs(found - expected).max() < 4 * 0.008
    assert expected.max() > 0.05


def test_the_draw_that_is_laid_open_is_the_one_that_chose_the_id() -> None:
    engine = Engine(lively_model(), EngineConfig(slots=2), SUPPRESSED)
    sampling, masked_out = Sampling(max_tokens=30, temperature=1.3, top_p=0.9), 0
    for event in engine.stream(Request((1, 2, 3), sampling, 4), num_candidates=5):
        assert event.draw is not None and event.draw.taken.id == event.id
        assert event.draw.low <= event.draw.uniform < event.draw.high
        masked_out += any(cut.filter == "mask" for cut in event.draw.cuts)
    assert 0 < masked_out < 30


def test_an_id_that_ends_the_request_and_a_mask_that_leaves_no_other_may_be_had() -> None:
    engine = Engine(lively_model(), EngineConfig(slots=2), tuple(range(V)))
    stop = Sampling(max_tokens=3, temperature=0, stop_ids=tuple(range(V)))
    assert engine.generate([Request((1, 2), stop)])[0].stop == "stop"
    only = torch.zeros(V, dtype=torch.bool)
    only[7] = True
    events = engine.stream(Request((1, 2), Sampling(max_tokens=2)), allowed=lambda written: only)
    assert [event.id for event in events] == [7, 7]


def test_our_own_answers_hold_ends_and_calls_alone_and_no_id_beyond_the_vocabulary() -> None:
    tokenizer = train_tokenizer(["some text"], TokenizerConfig(vocab_size=330))
    allowed = set(range(400)) - set(tokenizer.suppressed_ids(400))
    marks = {tokenizer.special(name) for name in ("<tool_call>", "</tool_call>")}
    assert allowed == {*tokenizer.stop_ids, *marks, *range(64, tokenizer.vocab_size)}
    said = parse([*tokenizer.encode("cell"), 28, *tokenizer.encode("s."), tokenizer.im_end], tokenizer)
    assert said.text == "cells."


CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'tool' %}{{ '<tool_response>' + m.content + '</tool_response>' }}{% else %}{{ m.content }}{% endif %}"
    "{% for c in m.tool_calls or [] %}{{ '<tool_call>' + (c | tojson) + '</tool_call>' }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    "{# <think> and </think> are cut out of earlier turns #}"
)
CHANNELS = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ '<|start|>assistant<|channel|>final<|message|>' + m.content }}"
    "{% else %}{{ '<|start|>' + m.role + '<|message|>' + m.content }}{% endif %}{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"
)


@pytest.mark.parametrize(
    ("source", "allowed", "refused"),
    [
        (
            CHATML,
            {"<|im_end|>", "<tool_call>", "</tool_call>", "<think>", "</think>"},
            {"<|im_start|>", "<tool_response>", "</tool_response>", "<|fim_middle|>", "<repo_name>"},
        ),
        (CHANNELS, {"<|channel|>", "<|message|>", "<|end|>"}, {"<|start|>", "<|reserved_200001|>"}),
        ("{{ raise_exception('no talk') }}{# <think> #}", {"<think>"}, {"<|reserved|>"}),
    ],
)
def test_marks_of_answers_are_those_that_the_template_has_for_them(
    source: str, allowed: set[str], refused: set[str]
) -> None:
    marks = {text: id for id, text in enumerate(sorted(allowed | refused))}
    assert answer_marks(ChatTemplate(source), marks) == allowed


def test_a_model_with_more_ids_than_its_tokenizer_writes_text_all_the_same() -> None:
    tokenizer = train_tokenizer(["some text"], TokenizerConfig(vocab_size=330))
    config = dataclasses.replace(CONFIG, vocab_size=2000)
    engine = Engine(lively_model(1, config), EngineConfig(slots=4), tokenizer.suppressed_ids(2000))
    for sample in engine.generate([Request((70, 80), Sampling(max_tokens=20), seed) for seed in range(8)]):
        assert tokenizer.decode(sample.ids)
