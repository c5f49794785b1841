"""Draws laid open: the probabilities are those of the draw, what was cut adds up, and the number lies in its interval."""

from __future__ import annotations

import argparse
import itertools

import numpy as np
import pytest
import torch
from rich.cells import cell_len

from jielong.cli.dice import seed_of
from jielong.generate.engine import Engine, EngineConfig
from jielong.generate.sampling import intervals_of, invert, largest_scores
from jielong.model.transformer import ModelConfig, fresh_language_model
from jielong.records import Draw, Request, Sampling
from jielong.report.draws import draw_block, legend, percent
from jielong.tokens.tokenizer import TokenizerConfig, train_tokenizer
from jielong.tokens.visible import visible

V = 300
MODEL = ModelConfig(
    vocab_size=V,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=16,
    max_position_embeddings=128,
)
SETTINGS = (
    Sampling(24, 1.0),
    Sampling(24, 0.7, top_k=40, top_p=0.8, min_p=0.05),
    Sampling(24, 1.3, top_p=0.5, repetition_penalty=1.5),
    Sampling(24, 0.8, min_p=0.1),
)


@pytest.fixture(scope="module")
def engine() -> Engine:
    model = fresh_language_model(MODEL, seed=1)
    with torch.no_grad():
        for weights in model.parameters():
            weights *= 3  # opinions worth cutting
    return Engine(model, EngineConfig(slots=4))


def draws(engine: Engine, sampling: Sampling, **more) -> list[tuple[int, float, Draw]]:
    events = engine.stream(Request((1, 2, 3), sampling, seed=7), num_candidates=5, **more)
    return [(event.id, event.logprob, event.draw) for event in events if event.draw]


@pytest.mark.parametrize("sampling", SETTINGS)
def test_the_number_drawn_lies_in_the_interval_of_the_token_that_was_taken(engine, sampling):
    found = draws(engine, sampling)
    assert len(found) == 24
    for id, _, one in found:
        assert one.taken.id == id and one.uniform is not None
        assert one.low <= one.uniform < one.high
        assert one.high - one.low == pytest.approx(one.taken.left, rel=1e-5)


@pytest.mark.parametrize("sampling", SETTINGS)
def test_what_the_filters_cut_and_what_they_left_is_everything(engine, sampling):
    for _, _, one in draws(engine, sampling):
        cut = sum(c.probability for c in one.cuts)
        assert one.num_left + sum(c.num_ids for c in one.cuts) == V
        assert one.taken.left == pytest.approx(one.taken.tempered / (1 - cut), rel=1e-4)
        assert [c.tempered for c in one.likeliest] == sorted((c.tempered for c in one.likeliest), reverse=True)


def test_the_probability_at_the_temperature_is_the_one_that_the_event_reports(engine):
    for _, logprob, one in draws(engine, SETTINGS[1]):
        assert np.log(one.taken.tempered) == pytest.approx(logprob, abs=1e-5)
    for _, logprob, one in draws(engine, Sampling(24, 0.0)):
        assert np.log(one.taken.model) == pytest.approx(logprob, abs=1e-5)
        assert one.uniform is None and one.rank == 1 and one.likeliest[0] == one.taken


def test_the_answer_is_the_same_whether_it_is_shown_or_not(engine):
    for sampling in SETTINGS:
        request = Request((1, 2, 3), sampling, seed=7)
        assert [id for id, *_ in draws(engine, sampling)] == [event.id for event in engine.stream(request)]


def test_ids_that_a_hook_forbids_are_counted_as_cut_by_it(engine):
    def even(ids):
        return np.arange(V) % 2 == 0

    for id, _, one in draws(engine, Sampling(5, 1.0, top_k=10), allowed=even):
        assert id % 2 == 0
        assert [(c.filter, c.num_ids) for c in one.cuts] == [("mask", V // 2), ("top-k", V // 2 - 10)]


def test_every_interval_gives_its_own_id_back():
    probabilities = torch.softmax(torch.randn(1, 200, generator=torch.Generator().manual_seed(0)), -1)
    edges = intervals_of(probabilities.expand(200, -1), torch.arange(200)).tolist()
    assert edges[0][0] == 0 and edges[-1][1] == pytest.approx(1, abs=1e-12)
    for id, (low, high) in enumerate(edges):
        middle = torch.tensor([(low + high) / 2], dtype=torch.float64)
        assert int(invert(probabilities, middle)) == id
    assert all(high == pytest.approx(low, abs=1e-12) for (_, high), (low, _) in itertools.pairwise(edges))


def test_the_likeliest_ids_of_a_large_vocabulary_are_those_that_sorting_finds():
    scores = torch.randn(3, 20_011, generator=torch.Generator().manual_seed(3))
    values, ids = largest_scores(scores, 20)
    assert torch.equal(values, scores.topk(20).values) and torch.equal(scores.gather(1, ids), values)


def test_rows_explained_together_are_what_each_is_by_itself(engine):
    requests = [Request((1, 2, 3 + n), Sampling(12, 0.5 + 0.3 * n), seed=n) for n in range(3)]
    alone = [[e.draw for e in engine.stream(request, num_candidates=3 + n)] for n, request in enumerate(requests)]
    numbers = [engine.submit(request, num_candidates=3 + n) for n, request in enumerate(requests)]
    together: dict[int, list[Draw | None]] = {number: [] for number in numbers}
    while engine.num_live or engine.num_waiting:
        for event in engine.step():
            together[event.request].append(event.draw)
    for number, draws_alone in zip(numbers, alone, strict=True):
        assert [d.taken.id for d in together[number]] == [d.taken.id for d in draws_alone]
        for one, other in zip(together[number], draws_alone, strict=True):
            assert [c.id for c in one.likeliest] == [c.id for c in other.likeliest]
            assert one.entropy == pytest.approx(other.entropy, rel=1e-4) and one.low == pytest.approx(
                other.low, abs=1e-5
            )


def test_the_entropy_is_that_of_the_distribution_before_the_filters(engine):
    for _, _, one in draws(engine, Sampling(6, 0.7, top_k=3)):
        everything = next(engine.stream(Request((1, 2, 3), Sampling(1, 0.7), 7), num_candidates=V)).draw.likeliest
        bits = -sum(c.tempered * np.log2(c.tempered) for c in everything)
        assert one.entropy == pytest.approx(bits, rel=1e-4)
        break


def test_each_candidate_names_the_filter_that_cut_it(engine):
    for _, _, one in draws(engine, Sampling(24, 1.0, top_k=4, top_p=0.6)):
        assert {c.cut for c in one.likeliest if not c.left} <= {"top-k", "top-p"}
        assert all(c.left > 0 for c in one.likeliest if not c.cut)
        assert one.likeliest[4].cut == "top-k"


def test_a_bias_forbids_and_demands_tokens(engine):
    banned = [id for id, *_ in draws(engine, SETTINGS[0])]
    assert not set(banned) & {id for id, *_ in draws(engine, SETTINGS[0], bias=dict.fromkeys(banned, -100.0))}
    assert {id for id, *_ in draws(engine, Sampling(8, 0.0), bias={17: 100.0})} == {17}


# As text ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", [*SETTINGS, Sampling(24, 0.0)])
def test_a_block_is_at_most_80_columns_wide_whatever_the_tokens_are(engine, sampling):
    names = {id: "长" * (id % 9) + "x" * (id % 30) for id in range(V)}
    for number, (_, _, one) in enumerate(draws(engine, sampling)):
        text = draw_block(number + 1, one, names.__getitem__)
        assert max(map(cell_len, text.splitlines())) <= 80
        assert ("no dice" in text) == (not sampling.temperature) and ("cut " in text) == bool(one.cuts)
    for is_greedy in (True, False):
        assert max(map(cell_len, legend(is_greedy=is_greedy, has_cuts=True).splitlines())) <= 80


def test_probabilities_are_never_rounded_to_certainty():
    assert [percent(p) for p in (0.0, 1e-9, 0.0042, 0.123, 0.995, 1 - 1e-9, 1.0)] == [
        "0%",
        "<0.01%",
        "0.42%",
        "12.3%",
        "99.50%",
        ">99.99%",
        "100%",
    ]


def test_a_token_is_shown_with_visible_spaces_and_its_bytes_where_it_is_part_of_a_character():
    tokenizer = train_tokenizer(["法国的首都是巴黎 the capital\n"] * 3, TokenizerConfig(vocab_size=400))
    assert [visible(tokenizer, id) for id in tokenizer.encode(" \n")] == ["␣", "↵"]
    rare = [visible(tokenizer, id) for id in tokenizer.encode("龘")]
    assert "".join(rare) == r"\xe9\xbe\x98"
    assert visible(tokenizer, tokenizer.special("<|im_end|>")) == "<|im_end|>"


# Seeds -----------------------------------------------------------------------------------------------------------


def test_dice_are_thrown_anew_without_a_seed_and_the_user_is_told_which(capsys):
    def asked(**options) -> int:
        return seed_of(argparse.Namespace(**{"seed": None, "temperature": 0.8, **options}))

    seeds = {asked() for _ in range(5)}
    told = capsys.readouterr().err.splitlines()
    assert len(seeds) > 1 and len(told) == 5
    assert told[-1].startswith("seed ") and "give --seed" in told[-1]
    assert asked(seed=3) == 3 and asked(temperature=0.0) == 0 and not capsys.readouterr().err
    assert (
        seed_of(argparse.Namespace(seed=None, temperature=0.0), draws=True) >= 0 and "seed" in capsys.readouterr().err
    )
