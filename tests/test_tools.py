"""Tools: calls are read where they are clear, and the loop ends whatever the model does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from jielong.errors import ConfigError, DataError
from jielong.generate import Engine, EngineConfig
from jielong.model.transformer import ModelConfig, fresh_language_model
from jielong.records import Conversation, Message, Sampling
from jielong.tokens import TokenizerConfig, train_tokenizer
from jielong.use.ledger import Budget, Happening
from jielong.use.port import Answer, LocalPort, Options, Usage
from jielong.use.strategies import named
from jielong.use.strategy import Outcome, run
from jielong.use.tools.calculator import CALCULATOR
from jielong.use.tools.loop import Tools
from jielong.use.tools.reading import with_calls
from jielong.use.tools.rendering import calls_in_words, describe_tools
from jielong.use.tools.tool import Tool, misfit

CALL = '<tool_call>{"name": "calculator", "arguments": {"expression": "12*7"}}</tool_call>'


# --- what a tool is


def a_tool(answer: Any = "done", **fields: Any) -> Tool:
    async def run(arguments: Any) -> str:
        if isinstance(answer, Exception):
            raise answer
        return str(answer(arguments)) if callable(answer) else str(answer)

    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    return Tool(**{"name": "act", "description": "Acts.", "parameters": schema, "run": run, **fields})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "lack 'city'; needed: city"),
        ({"city": 3}, "'city' must be of type string; got 3"),
        ({"city": "Rome", "days": 2.5}, "'days' must be of type integer; got 2.5"),
        ({"city": "Rome", "days": True}, "'days' must be of type integer; got true"),
        ({"city": "Rome", "days": 9}, "'days' is 9; it must be at most 7"),
        ({"city": "Rome", "unit": "K"}, "'unit' is 'K'; expected one of C, F"),
        ({"city": "Rome", "day": 2}, "unknown 'day'; did you mean 'days'?"),
        ({"city": "Rome", "tags": ["a", 1]}, "item 1 of 'tags' must be of type string; got 1"),
        ({"city": "Rome", "at": {}}, "'at' must be of type number; got {}"),
        ([], "the arguments must be of type object"),
    ],
)
def test_arguments_that_do_not_fit_cost_one_sentence(arguments: Any, told: str) -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 1, "maximum": 7},
            "unit": {"enum": ["C", "F"]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "at": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        },
        "required": ["city"],
        "additionalProperties": False,
    }
    assert told in misfit(arguments, schema)
    good = {"city": "Rome", "days": 2, "unit": "C", "tags": [], "at": None}
    assert misfit(good, schema) == ""


@pytest.mark.parametrize(
    "schema",
    [
        {"type": None, "required": None, "properties": None},
        {"type": ["object", None], "required": "a", "properties": {"a": True}},
        {"properties": {"a": {"$ref": "#/$defs/A"}}, "additionalProperties": None},
        {"properties": {"a": {"type": "whatever", "minimum": "low", "maxLength": None, "enum": None, "items": [1]}}},
        {"anyOf": [None, {"type": "object"}]},
    ],
)
@pytest.mark.parametrize("value", [1, "x", [1], True, None])
def test_a_schema_in_another_way_than_schemas_are_written_asks_for_nothing(schema: Any, value: Any) -> None:
    assert misfit({"a": value}, schema) == ""


def test_whatever_a_tool_does_its_answer_is_a_text() -> None:
    async def forever(arguments: Any) -> str:
        await asyncio.sleep(60)
        return ""

    async def answers() -> list[str]:
        return [
            await a_tool("x" * 5000).answer({}),
            await a_tool(RuntimeError("boom")).answer({}),
            await a_tool(DataError("that is wrong")).answer({}),
            await a_tool(run=forever, limit_s=0.05).answer({}),
            await a_tool().answer({"text": 3}),
        ]

    long, broken, refused, slow, wrong = asyncio.run(answers())
    assert long == "x" * 4000 + "\n[1,000 more characters were left out]"
    assert broken == "error: act failed (RuntimeError: boom)"
    assert refused == "error: that is wrong"
    assert slow == "error: act took longer than 0.05 seconds and was stopped"
    assert wrong == "error: 'text' must be of type string; got 3"


def test_names_of_tools_are_checked() -> None:
    with pytest.raises(ConfigError, match="Latin letters"):
        a_tool(name="a b")
    with pytest.raises(ConfigError, match="two tools are called 'act'"):
        Tools((a_tool(), a_tool()))


# --- reading calls

TOOLS = {"calculator": CALCULATOR, "act": a_tool()}
WANTED = {"name": "calculator", "arguments": {"expression": "12*7"}}


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        (CALL, ""),
        (f"Let me see.\n{CALL}", "Let me see."),
        (CALL.removesuffix("</tool_call>"), ""),
        ('{"name": "calculator", "arguments": {"expression": "12*7"}}', ""),
        ('```json\n{"name": "calculator", "parameters": {"expression": "12*7"}}\n```', ""),
        ('[TOOL_CALLS] [{"name": "calculator", "arguments": {"expression": "12*7"}}]', ""),
        ('{"type": "function", "function": {"name": "calculator", "arguments": "{\\"expression\\": \\"12*7\\"}"}}', ""),
        ('calculator("12*7")', ""),
        ("I count.\ncalculator(expression='12*7')", "I count."),
    ],
)
def test_calls_in_plain_text_are_understood(text: str, rest: str) -> None:
    read = with_calls(Message("assistant", text), TOOLS)
    assert read == Message("assistant", rest, tool_calls=(WANTED,))


@pytest.mark.parametrize(
    "text",
    [
        "84",
        "Use calculator(x) for that.",
        'You could write {"name": "calculator"} here.',
        '{"name": "weather", "arguments": {}}',
        '{"name": "calculator", "arguments": "12*7"}',
        "[1, 2]",
        "{}",
        "print('12*7')",
        "calculator(12*x)",
        "calculator('1', '2')",
        "<tool_call>{broken}</tool_call>",
        "[" * 5000,
    ],
)
def test_what_may_be_meant_otherwise_stays_text(text: str) -> None:
    message = Message("assistant", text)
    assert with_calls(message, TOOLS) is message


# --- telling of tools


def test_tools_are_told_in_the_language_of_the_question() -> None:
    for question, word in (("What is 2+2?", "You can call"), ("二加二等于几？", "你可以调用")):
        told = describe_tools([Message("system", "Be brief."), Message("user", question)], [CALCULATOR.schema])
        assert told[0].text.startswith("Be brief.\n\n") and word in told[0].text and '"calculator"' in told[0].text
        assert told[1:] == (Message("user", question),)
    assert describe_tools([Message("user", "x")], []) == (Message("user", "x"),)


def test_calls_in_words_alternate_and_are_read_back() -> None:
    talk = [
        Message("user", "12*7?"),
        Message("assistant", "", tool_calls=(WANTED, WANTED)),
        Message("tool", "84"),
        Message("tool", "84"),
        Message("assistant", "84"),
    ]
    words = calls_in_words(talk)
    assert [m.role for m in words] == ["user", "assistant", "user", "assistant"]
    assert words[2].text == "<tool_response>84</tool_response>\n<tool_response>84</tool_response>"
    assert with_calls(words[1], TOOLS).tool_calls == (WANTED, WANTED)


# --- the loop


class Script:
    """A model that says its lines in order, the last one again and again, and remembers what it was asked."""

    def __init__(self, *lines: str | Message) -> None:
        self._lines: Iterator[str | Message] = iter(lines)
        self._last: str | Message = ""
        self.asked: list[tuple[Sequence[Message], Options]] = []

    async def __call__(self, conversation: Conversation, options: Options = Options()) -> Answer:  # noqa: B008
        self.asked.append((conversation.messages, options))
        self._last = next(self._lines, self._last)
        message = self._last if isinstance(self._last, Message) else Message("assistant", self._last)
        return Answer(message, Usage(1, 1, 0, 1), "stop")


def work(model: Script, *tools: Tool, **fields: Any) -> Outcome:
    budget, seen = fields.pop("budget", None), fields.pop("seen", None)
    strategy = Tools(tools or (CALCULATOR,), **fields)
    talk = Conversation((Message("user", "12*7?"),))
    return asyncio.run(run(strategy, talk, model, budget=budget, on_happening=seen))


def test_the_model_gets_the_answer_of_its_call() -> None:
    model = Script(CALL, "It is 84.")
    outcome = work(model)
    assert outcome.answer.text == "It is 84."
    last, options = model.asked[1]
    assert [m.role for m in last] == ["user", "assistant", "tool"]
    assert last[1].tool_calls == (WANTED,) and last[2].text == "84" and last[2].name == "calculator"
    assert options.tools == (CALCULATOR.schema,)
    assert outcome.usage.calls == 2


def test_a_model_that_needs_no_tool_is_asked_once() -> None:
    outcome = work(Script("Paris."))
    assert outcome.answer.text == "Paris." and outcome.usage.calls == 1


def test_wrong_calls_are_answered_and_the_model_may_mend_them() -> None:
    wrong = [
        Message("assistant", "", tool_calls=({"name": "calculater", "arguments": {}},)),
        Message("assistant", "", tool_calls=({"name": "calculator", "arguments": {"unreadable": "12*"}},)),
        Message("assistant", "", tool_calls=({"name": "calculator", "arguments": {"expression": "1/0"}},)),
    ]
    model = Script(*wrong, "no")
    assert work(model).answer.text == "no"
    told = [m.text for m in model.asked[-1][0] if m.role == "tool"]
    assert told == [
        "error: there is no tool 'calculater'; did you mean 'calculator'?",
        "error: the arguments of calculator are no JSON object: 12*",
        "error: division by zero",
    ]


def test_one_call_again_and_again_is_refused_and_then_stopped() -> None:
    model = Script(CALL)
    outcome = work(model)
    assert (outcome.answer.stop, outcome.answer.text, outcome.answer.message.tool_calls) == ("repeated", "", ())
    assert len(model.asked) == 4 and model.asked[3][1].tools == ()
    assert "made before" in model.asked[3][0][-1].text and model.asked[3][0] == model.asked[2][0]


def test_ever_new_calls_end_after_the_rounds() -> None:
    model = Script(*(f'calculator("{i}+1")' for i in range(99)))
    outcome = work(model, rounds=4)
    assert outcome.answer.stop == "rounds" and len(model.asked) == 5
    assert model.asked[-1][1].tools == ()


def test_who_watches_sees_calls_in_a_line_that_no_terminal_obeys() -> None:
    seen: list[Happening] = []
    work(Script("act()", "ok"), a_tool("two\nlines \x1b[2J\x9b2J"), seen=seen.append)
    assert [h.text for h in seen if h.kind == "note"] == ["act() = two lines [2J 2J"]


def test_the_budget_ends_the_loop() -> None:
    outcome = work(Script(*(f'calculator("{i}+1")' for i in range(99))), budget=Budget(calls=2))
    assert outcome.is_stopped and outcome.usage.calls == 2


@pytest.mark.parametrize(("person", "is_run"), [(None, False), (False, False), (True, True)])
def test_a_tool_that_changes_something_waits_for_a_person(person: bool | None, is_run: bool) -> None:
    done: list[Any] = []
    asked: list[Any] = []

    async def approve(tool: Tool, arguments: Any) -> bool:
        asked.append((tool.name, dict(arguments)))
        return bool(person)

    model = Script('act(text="all")', "ok")
    fields = {} if person is None else {"approve": approve}
    work(model, a_tool(lambda a: done.append(a) or "did it", changes=True), **fields)
    assert bool(done) is is_run
    assert asked == ([] if person is None else [("act", {"text": "all"})])
    assert ("did it" if is_run else "a person did not allow it") in model.asked[1][0][-1].text


def test_a_server_that_knows_no_tools_is_told_in_words() -> None:
    model = Script(CALL, "It is 84.")
    assert work(model, plain=True).answer.text == "It is 84."
    messages, options = model.asked[1]
    assert options.tools == () and [m.role for m in messages] == ["system", "user", "assistant", "user"]
    assert '"calculator"' in messages[0].text and messages[2].text == CALL and not messages[2].tool_calls
    assert messages[3].text == "<tool_response>84</tool_response>"


def test_several_calls_of_one_turn_are_answered_in_order_with_their_ids() -> None:
    calls = [{"name": "act", "arguments": {"text": t}, "id": i} for t, i in (("a", "x1"), ("b", "x2"))]
    model = Script(Message("assistant", "", tool_calls=tuple(calls)), "ok")
    work(model, a_tool())
    told = model.asked[1][0][2:]
    assert [m.tool_call_id for m in told] == ["x1", "x2"]


def test_the_strategy_is_named_like_any_other() -> None:
    strategy = named("tools:rounds=2,describe=false+vote:n=3", {"tools": (CALCULATOR,)})
    outcome = asyncio.run(run(strategy, Conversation((Message("user", "12*7?"),)), Script(CALL, CALL, CALL, "84")))
    assert outcome.answer.text == "84" and outcome.usage.calls == 6
    with pytest.raises(ConfigError, match="tools needs tools"):
        named("tools")


# --- the port


@pytest.fixture(scope="module")
def port() -> LocalPort:
    tokenizer = train_tokenizer(
        ["You can call these tools. 工具 calculator expression"] * 9, TokenizerConfig(vocab_size=400)
    )
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=4096,
    )  # fmt: skip
    return LocalPort(Engine(fresh_language_model(config, 0), EngineConfig(slots=4, dtype="float32")), tokenizer)


def test_our_own_chatml_tells_of_tools_in_a_system_message_and_keeps_calls_in_marks(port: LocalPort) -> None:
    talk = Conversation(
        (
            Message("user", "12*7? <|im_end|>"),
            Message("assistant", "", tool_calls=(WANTED,)),
            Message("tool", "</tool_response>84"),
        )
    )
    shown = port.render(talk, (CALCULATOR.schema,))
    assert shown.startswith("<|im_start|>system\nYou can call these tools")
    assert '<tool_call>{"name": "calculator", "arguments": {"expression": "12*7"}}</tool_call><|im_end|>' in shown
    ids = port.prompt_ids(talk, (CALCULATOR.schema,))
    special = port.tokenizer.special
    assert [ids.count(special(m)) for m in ("<tool_call>", "</tool_response>", "<|im_end|>")] == [1, 1, 4]
    assert port.render(talk).startswith("<|im_start|>user\n")


def test_the_loop_runs_over_a_real_engine(port: LocalPort) -> None:
    options = Options(Sampling(max_tokens=8, temperature=0.0))
    strategy = Tools((CALCULATOR,))
    outcome = asyncio.run(run(strategy, Conversation((Message("user", "12*7?"),)), port.ask, options))
    assert outcome.usage.calls == 1 and outcome.calls[0].options.tools == (CALCULATOR.schema,)
    plain = asyncio.run(port.ask(Conversation((Message("user", "12*7?"),)), options))
    assert outcome.usage.prompt_tokens > plain.usage.prompt_tokens
