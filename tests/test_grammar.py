"""Answers held to a schema: whatever a model would rather write, what it wrote parses and fits, and it may end only there."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import jsonschema
import numpy as np
import pytest
from tests.test_engine import CONFIG, lively_model
from tests.test_foreign_tokenizers import make_llama3, make_mistral

from jielong.generate.engine import Engine, EngineConfig
from jielong.generate.requests import Allowed
from jielong.model.transformer import LanguageModel
from jielong.records import Request, Sample, Sampling
from jielong.serve.grammar import Grammar, compile_schema, read_format
from jielong.serve.limits import check_schema
from jielong.serve.refused import Refused
from jielong.tokens import TokenizerConfig, train_tokenizer
from jielong.tokens.tokenizer import Tokenizer

TEXTS = [
    '{"name": "Lima", "tags": ["sea", "大海"], "size": 10.5}\n',
    "the sea 大海 the sea\n",
    "[true, false, null, -3e2]\n",
]
TOKENIZER = train_tokenizer(TEXTS * 20, TokenizerConfig(vocab_size=380))
V = 400
"""More than the tokenizer has, as models are padded."""
END, OTHER_END = TOKENIZER.im_end, TOKENIZER.endoftext

CITY = {
    "type": "object",
    "properties": {
        "名字": {"type": "string", "maxLength": 6},
        "kind": {"enum": ["海", "山", "city", 3, None]},
        "size": {"type": "integer", "minimum": -5, "maximum": 120},
        "is_old": {"type": "boolean"},
    },
    "required": ["名字", "kind", "size"],
    "additionalProperties": False,
}
NESTED = {
    "type": "array",
    "minItems": 1,
    "maxItems": 3,
    "items": {"type": "array", "maxItems": 2, "items": {"$ref": "#/$defs/point"}},
    "$defs": {
        "point": {
            "type": "object",
            "properties": {"x": {"type": "number", "minimum": -1, "maximum": 1}, "y": {"const": "是"}},
            "required": ["x", "y"],
            "additionalProperties": False,
        }
    },
}
EITHER = {
    "anyOf": [
        {"type": "string", "pattern": "^[a-c]{2,4}-\\d{3}$"},
        {
            "type": "object",
            "properties": {"when": {"type": "string", "format": "date"}},
            "required": ["when"],
            "additionalProperties": False,
        },
        {"type": "null"},
        {"type": "integer", "minimum": 10, "maximum": 9999},
    ]
}  # fmt: skip
TREE = {
    "type": "object",
    "properties": {"v": {"enum": ["大", "小"]}, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    "required": ["v", "next"],
    "additionalProperties": False,
}
SCHEMAS = {"city": CITY, "nested": NESTED, "either": EITHER, "tree": TREE}


def grammar(schema: Any, tokenizer: Tokenizer = TOKENIZER, num_ids: int = V) -> Grammar:
    return compile_schema(check_schema(schema), tokenizer, num_ids)


def new_model(num_ids: int = V) -> LanguageModel:
    return lively_model(3, replace(CONFIG, vocab_size=num_ids, max_position_embeddings=1024))


def written(
    engine: Engine, made: Grammar, seeds: Sequence[int], max_tokens: int, stop_ids: tuple[int, ...]
) -> list[Sample]:
    """Answers at temperature 1 of one engine, all at once."""
    sampling = Sampling(max_tokens=max_tokens, temperature=1.0, stop_ids=stop_ids)
    order = {
        engine.submit(Request((70, 71), sampling, seed), allowed=made.matcher()): n for n, seed in enumerate(seeds)
    }
    samples: dict[int, Sample] = {}
    while len(samples) < len(seeds):
        samples |= {order[event.request]: event.sample for event in engine.step() if event.sample is not None}
    return [samples[n] for n in range(len(seeds))]


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_answer_of_a_random_model_parses_and_fits(name: str) -> None:
    engine = Engine(new_model(), EngineConfig(slots=6, bucket=32))
    made = grammar(SCHEMAS[name])
    texts = set()
    for sample in written(engine, made, range(30), 900, TOKENIZER.stop_ids):
        assert sample.stop == "stop" and sample.ids[-1] in TOKENIZER.stop_ids
        text = TOKENIZER.decode_bytes(sample.ids[:-1]).decode()
        jsonschema.validate(json.loads(text), SCHEMAS[name])
        texts.add(text)
    assert len(texts) >= 10  # the model chooses among what is left


def test_an_object_of_any_kind_is_an_object() -> None:
    engine = Engine(new_model(), EngineConfig(slots=6, bucket=32))
    schema = read_format({"type": "json_object"})
    assert schema is not None
    samples = written(engine, compile_schema(schema, TOKENIZER, V), range(30), 900, TOKENIZER.stop_ids)
    ended = [sample for sample in samples if sample.stop == "stop"]
    assert len(ended) >= 15
    for sample in ended:
        assert isinstance(json.loads(TOKENIZER.decode_bytes(sample.ids[:-1])), dict)


@pytest.mark.parametrize("make", [make_mistral, make_llama3])
def test_tokenizers_of_others_are_held_to_a_schema_too(tmp_path, make: Any) -> None:
    tokenizer = Tokenizer.load(make(tmp_path / "model"))
    num_ids = tokenizer.vocab_size + 3
    engine = Engine(new_model(num_ids), EngineConfig(slots=4, bucket=32))
    made = compile_schema(json.dumps({"type": "object", "properties": {"long name": {"enum": ["a b", "大海"]}}, "required": ["long name"],
                                      "additionalProperties": False}), tokenizer, num_ids)  # fmt: skip
    for sample in written(engine, made, range(12), 200, tokenizer.stop_ids):
        assert sample.stop == "stop"
        assert json.loads(tokenizer.decode_bytes(sample.ids[:-1]))["long name"] in ("a b", "大海")


# The mask --------------------------------------------------------------------------------------------------------------


def walks(made: Grammar, seeds: Sequence[int]) -> Iterator[list[int]]:
    """Answers drawn from the masks alone, evenly among the ids that are let through."""
    for seed in seeds:
        dice, matcher, ids = random.Random(seed), made.matcher(), list[int]()
        while len(ids) < 400:
            chosen = dice.choice(np.flatnonzero(matcher(ids)).tolist())
            if chosen in made.stop_ids:
                break
            ids.append(chosen)
        yield ids


def fits(text: bytes, schema: Any) -> bool:
    try:
        jsonschema.validate(json.loads(text), schema)
    except (ValueError, jsonschema.ValidationError):
        return False
    return True


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_stop_id_is_let_through_exactly_when_the_json_is_complete(name: str) -> None:
    made = grammar(SCHEMAS[name])
    num_complete = 0
    for ids in walks(made, range(12)):
        matcher = made.matcher()
        for end in range(len(ids) + 1):
            mask = matcher(ids[:end])
            assert mask.shape == (V,) and mask.dtype == np.bool_ and mask.any()
            is_complete = fits(TOKENIZER.decode_bytes(ids[:end]), SCHEMAS[name])
            assert mask[END] == mask[OTHER_END] == is_complete
            num_complete += is_complete
    assert num_complete >= 12


def test_special_ids_and_ids_of_nothing_are_never_let_through() -> None:
    made = grammar(CITY)
    matcher = made.matcher()
    never = [
        id for id in range(V) if id >= TOKENIZER.vocab_size or (TOKENIZER.is_special(id) and id not in made.stop_ids)
    ]
    assert len(never) > 60
    for ids in walks(made, range(5)):
        for end in range(len(ids) + 1):
            assert not matcher(ids[:end])[never].any()


def test_a_matcher_that_goes_back_and_elsewhere_says_what_a_fresh_one_says() -> None:
    made = grammar(NESTED)
    several = [ids for ids in walks(made, range(8)) if ids]
    dice, matcher = random.Random(0), made.matcher()
    for _ in range(300):
        ids = dice.choice(several)
        ids = ids[: dice.randint(0, len(ids))]
        if dice.random() < 0.3:  # a draft, which may fit or not, and may hold an end
            ids = ids + [dice.choice([*range(64, 380), END, OTHER_END]) for _ in range(dice.randint(1, 3))]
        np.testing.assert_array_equal(matcher(ids), made.matcher()(ids))
        np.testing.assert_array_equal(matcher(tuple(ids)), matcher(np.array(ids, np.int64)))
    assert not matcher.error


def test_after_ids_that_fit_nothing_only_the_end_is_left_and_nothing_is_broken() -> None:
    made = grammar(CITY)
    matcher = made.matcher()
    (good,) = walks(made, [4])
    wrong = TOKENIZER.encode("sea")
    for ids in (wrong, [*good[:5], *wrong], [*good, END, END], [*good, *wrong], [V - 1], [TOKENIZER.im_start]):
        assert set(np.flatnonzero(matcher(ids))) == set(TOKENIZER.stop_ids)
    assert matcher(good)[END] and not matcher(good[:5])[END] and not matcher.error


def test_blanks_never_go_on_without_end() -> None:
    made = grammar(CITY)
    for blank in (b"\n", b" ", b"\t"):
        (id,) = [id for id in range(64, TOKENIZER.vocab_size) if TOKENIZER.token_bytes(id) == blank]
        matcher, ids = made.matcher(), TOKENIZER.encode("{")
        while matcher(ids)[id]:
            ids.append(id)
        assert len(ids) <= 3
    neat = '{\n    "名字": "Lima",\n    "kind": "city",\n    "size": 10\n}'
    ids = TOKENIZER.encode(neat)
    matcher = made.matcher()
    assert all(matcher(ids[:n])[id] for n, id in enumerate(ids)) and matcher(ids)[END]


def test_a_step_costs_little() -> None:
    made = grammar(CITY)
    several = list(walks(made, range(20)))
    begun_s = time.perf_counter()
    for ids in several:
        matcher: Allowed = made.matcher()
        for end in range(len(ids) + 1):
            matcher(ids[:end])
    assert (time.perf_counter() - begun_s) / sum(len(ids) + 1 for ids in several) < 0.01


def test_a_schema_and_a_vocabulary_are_compiled_once() -> None:
    assert grammar(CITY) is grammar(CITY)
    assert grammar(CITY) is not grammar(CITY, num_ids=V + 1)
    one, other = grammar(CITY).matcher(), grammar(CITY).matcher()
    (ids,) = walks(grammar(CITY), [1])
    assert one(ids)[END] and not other([])[END]


# What is refused -------------------------------------------------------------------------------------------------------


def refusal(call: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        call()
    assert caught.value.status == 400 and caught.value.type == "invalid_request_error" and "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "strnig"}, "strnig"),
        ({"not": {"type": "string"}}, '"not"'),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"type": "string", "pattern": "("}, "regex"),
        ({"type": "string", "pattern": "(?=a)b"}, "regex"),
        ({"type": "string", "format": "colour"}, "Unknown format: colour"),
        ({"$ref": "http://a.example/x.json"}, "a.example"),
        ({"$ref": "file:///etc/passwd"}, "etc/passwd"),
        ({"$ref": "#"}, "no JSON fits"),
        ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "unsatisfiable"),
        ({"type": "integer", "minimum": 3, "maximum": 1}, ""),
        ({"type": "integer", "multipleOf": 1_000_003}, "too complex, compiling it took"),
        ({"x-guidance": {"lenient": True}, "not": {}}, '"not"'),
        ({"enum": []}, ""),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_with_the_reason(schema: Any, reason: str) -> None:
    error = refusal(lambda: grammar(schema))
    assert reason in str(error) and error.code == "invalid_json_schema" and len(str(error)) < 400
    assert error.param == "response_format.json_schema.schema"
    begun_s = time.monotonic()
    refusal(lambda: grammar(schema))
    assert time.monotonic() - begun_s < 0.5  # the reason is remembered


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^((a{1,100}){1,100}){1,100}$"},
        {
            "type": "object",
            "properties": {f"k{n}": {"type": "string", "pattern": f"^.*a.{{{n}}}$"} for n in range(300)},
        },
        {"anyOf": [{"type": "string", "pattern": f"^.*{chr(97 + n % 26)}.{{{n}}}$"} for n in range(200)]},
        {"anyOf": [{"type": "object", "properties": {f"k{n}": {"type": "string"}}} for n in range(500)]},
        {"enum": [f"x{n}" for n in range(5000)]},
        {"type": "array", "items": {"type": "array", "items": {"type": "integer"}, "minItems": 1000}, "minItems": 1000},
        {"allOf": [{"anyOf": [{"minimum": 3 * i + j, "type": "integer"} for j in range(3)]} for i in range(14)]},
    ],
)
def test_a_hostile_schema_is_refused_or_its_steps_end_in_time(schema: Any) -> None:
    begun_s = time.monotonic()
    try:
        made = grammar(schema)
    except Refused:
        made = None
    assert time.monotonic() - begun_s < 20
    for seed in range(3) if made else ():
        dice, matcher, ids = random.Random(seed), made.matcher(), list[int]()
        for _ in range(60):
            begun_s = time.monotonic()
            mask = matcher(ids)
            assert mask.any() and time.monotonic() - begun_s < 5
            if matcher.error:  # the answer is over, and the server knows that it is none
                assert set(np.flatnonzero(mask)) == set(TOKENIZER.stop_ids) and not matcher([])[70:].any()
                break
            ids.append(dice.choice(np.flatnonzero(mask).tolist()))


def test_a_parser_beyond_its_limits_ends_the_answer_and_says_so() -> None:
    made = grammar(
        {
            "type": "object",
            "properties": {
                f"k{n}": {"type": "string", "pattern": f"^.*{chr(97 + n % 26)}.{{12}}$"} for n in range(700)
            },
        }
    )
    matcher = made.matcher()
    ids = TOKENIZER.encode('{"k1":"abcd')
    for end in range(len(ids) + 1):
        mask = matcher(ids[:end])
    assert "items" in matcher.error and set(np.flatnonzero(mask)) == set(TOKENIZER.stop_ids)


def test_formats_are_read_and_others_refused() -> None:
    def format_of(**given: Any) -> dict[str, Any]:
        return {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY, **given}}

    assert read_format(None) is read_format({"type": "text"}) is None
    text = read_format(format_of(strict=True))
    assert text is not None and json.loads(text) == CITY == json.loads(read_format(format_of()) or "")
    for wrong, param in (
        ("json", "response_format.type"),
        ({}, "response_format.type"),
        ({"type": "xml"}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        (format_of(name="a city"), "response_format.json_schema.name"),
        (format_of(name=None), "response_format.json_schema.name"),
        (format_of(strict="yes"), "response_format.json_schema.strict"),
        (format_of(schema=None), "response_format.json_schema.schema"),
        (format_of(schema={"enum": ["x" * 70_000]}), "response_format.json_schema.schema"),
    ):
        assert refusal(lambda wrong=wrong: read_format(wrong)).param == param
