"""Conversations as token ids, and an assistant's ids back to a message.

Our own tokenizers speak ChatML: a turn is <|im_start|>, the role, a newline, the content, <|im_end|>, a newline. An
assistant's tool calls follow its content as JSON between <tool_call> and </tool_call>; a tool's answer lies between
<tool_response> and </tool_response>. The marks are special ids and the content never is, so the borders cannot be forged
from inside a message. Rendering says beside every id whether it is one that the assistant is trained to write; the prompt
of a conversation is a prefix of the conversation with its answer, always. Other people's tokenizers follow the chat
template that came with them (see `templated`); some have a place for the descriptions of tools, ours has none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jielong.errors import ConfigError, DataError
from jielong.outside import parse_json
from jielong.records import Message, Preference, to_dict
from jielong.tokens.templated import parse_templated, render_templated
from jielong.tokens.tokenizer import CALL_MARKS, Tokenizer


@dataclass(frozen=True)
class Rendered:
    """Token ids, and for each whether the assistant is trained to write it (targets, before any shift)."""

    ids: tuple[int, ...]
    trained: tuple[bool, ...]


@dataclass(frozen=True)
class RenderedPair:
    """Two answers to one prompt; `label` is the probability that `chosen` is better, `margin` by how much.

    `ref_logprobs` are the log-probabilities of both under the model that training starts from, if they are known.
    """

    chosen: Rendered
    rejected: Rendered
    label: float = 1.0
    margin: float = 0.0
    ref_logprobs: tuple[float, float] | None = None


@dataclass(frozen=True)
class RenderedAnswer:
    """One answer with its prompt, whether it is one to learn from or one to avoid, and its mark from 0 to 1.

    If nobody gave a mark it is 1 for the former and 0 for the latter.
    """

    answer: Rendered
    is_desirable: bool
    mark: float | None = None


def _text(message: Message) -> str:
    """Return a message's text. Raises DataError for a part that is no text."""
    if not isinstance(message.content, str):
        for part in message.content:
            if part.get("type") != "text":
                raise DataError(f"a message has a part of type {part.get('type')!r}; a chat of text takes 'text' parts")
    return message.text


def _is_call(call: Any) -> bool:
    """Whether a value is a tool call with a name and arguments."""
    return (
        isinstance(call, Mapping)
        and isinstance(call.get("name"), str)
        and isinstance(call.get("arguments", {}), Mapping)
    )


def _template_message(message: Message) -> dict[str, Any]:
    """Convert a message to the dict that chat templates expect."""
    plain: dict[str, Any] = {"role": message.role, "content": _text(message)}
    if message.tool_calls:
        calls = [_check_call(call, message) for call in message.tool_calls]
        plain["tool_calls"] = [{"type": "function", "function": call} for call in calls]
    for name in ("name", "tool_call_id"):
        if getattr(message, name) is not None:
            plain[name] = getattr(message, name)
    return plain


def _check_call(call: Any, message: Message) -> Any:
    """Return a tool call as a dict. Raises DataError if it is malformed, or not the assistant's."""
    if message.role != "assistant":
        raise DataError(f"a message of role {message.role!r} has tool calls; only the assistant calls tools")
    if not _is_call(call):
        raise DataError(f"tool call {call!r} is not understood; expected {{'name': str, 'arguments': {{...}}}}")
    return to_dict(call)


def _call_text(call: Any, message: Message) -> str:
    return json.dumps(_check_call(call, message), ensure_ascii=False)


def _encode_turn(message: Message, tokenizer: Tokenizer) -> list[int]:
    """Return the ids of a turn between its header and its <|im_end|>."""
    ids = tokenizer.encode(_text(message))
    if message.role == "tool":
        ids = [tokenizer.special("<tool_response>"), *ids, tokenizer.special("</tool_response>")]
    for call in message.tool_calls:
        written = tokenizer.encode(_call_text(call, message))
        ids += [tokenizer.special("<tool_call>"), *written, tokenizer.special("</tool_call>")]
    return ids


def texts(messages: Sequence[Message]) -> list[str]:
    """Return everything that `render` encodes of the messages in our own ChatML, piece by piece, to train a tokenizer
    on.
    """
    return [text for m in messages for text in (f"{m.role}\n", _text(m), *(_call_text(c, m) for c in m.tool_calls))]


def render(
    messages: Sequence[Message],
    tokenizer: Tokenizer,
    *,
    tools: Sequence[Mapping[str, Any]] = (),
    add_generation_prompt: bool = False,
    train_on: Literal["all", "last"] = "all",
) -> Rendered:
    """Render a conversation in ChatML, each turn ended by <|im_end|> and a newline, or in the tokenizer's chat
    template.

    Trained are the assistant's content, tool calls and <|im_end|>, of all its turns or of the last one, but for turns
    marked as not trained; never a header or the newline after the turn. `add_generation_prompt` opens an assistant's
    turn at the end. `tools` ({"name", "description", "parameters"}) are for templates that know them. Raises DataError
    for messages that the template refuses or writes differently once others follow.
    """
    if train_on not in ("all", "last"):
        raise ConfigError(f"train_on is {train_on!r}; expected 'all' or 'last'")
    turns_of_assistant = [i for i, m in enumerate(messages) if m.role == "assistant" and m.is_trained]
    trained_turns = turns_of_assistant if train_on == "all" else turns_of_assistant[-1:]
    return _render(messages, tokenizer, trained_turns, add_generation_prompt, tools)


def knows_tools(tokenizer: Tokenizer) -> bool:
    """Whether the chat template has a place for the descriptions of tools, and for their calls."""
    template = tokenizer.template
    return template is not None and template.knows_tools and template.takes_calls


def _render(
    messages: Sequence[Message],
    tokenizer: Tokenizer,
    trained_turns: Sequence[int],
    add_generation_prompt: bool = False,
    tools: Sequence[Mapping[str, Any]] = (),
) -> Rendered:
    """Render a conversation, training on the turns with these numbers."""
    if tools and not knows_tools(tokenizer):
        raise ConfigError("the chat template has no place for tools; describe them in a system message")
    if not tokenizer.is_own:
        plain = [_template_message(message) for message in messages]
        return Rendered(*render_templated(plain, tokenizer, trained_turns, add_generation_prompt, tools))
    newline = tokenizer.encode("\n")
    ids: list[int] = []
    trained: list[bool] = []
    for i, message in enumerate(messages):
        header = [tokenizer.im_start, *tokenizer.encode(f"{message.role}\n")]
        body = [*_encode_turn(message, tokenizer), tokenizer.im_end]
        ids += header + body + newline
        trained += [False] * len(header) + [i in trained_turns] * len(body) + [False] * len(newline)
    if add_generation_prompt:
        header = [tokenizer.im_start, *tokenizer.encode("assistant\n")]
        ids += header
        trained += [False] * len(header)
    return Rendered(tuple(ids), tuple(trained))


def render_prompt(
    messages: Sequence[Message], tokenizer: Tokenizer, tools: Sequence[Mapping[str, Any]] = ()
) -> tuple[int, ...]:
    """Return the ids for the assistant to continue: a prefix of `render` of the same messages and tools and any answer.

    (With another's template that is so unless the first letters of the answer melt into the end of the prompt.)
    """
    return _render(messages, tokenizer, (), add_generation_prompt=True, tools=tools).ids


def render_preference(preference: Preference, tokenizer: Tokenizer) -> RenderedPair:
    """Render both conversations of a preference, ended where the assistant's last turn ends, as a sample of the engine
    is.

    Trained are the assistant's tokens in the answers alone, not those in the prompt.
    """

    chosen, rejected = (
        _render_answer(preference.prompt, a, tokenizer) for a in (preference.chosen, preference.rejected)
    )
    return RenderedPair(chosen, rejected, preference.label, preference.margin)


def render_rating(
    prompt: Sequence[Message], answer: Sequence[Message], mark: float, tokenizer: Tokenizer
) -> RenderedAnswer:
    """Render a prompt and one answer, as those of a preference are; from a mark of 0.5 on it is desirable."""
    return RenderedAnswer(_render_answer(prompt, answer, tokenizer), mark >= 0.5, mark)


def _render_answer(prompt: Sequence[Message], answer: Sequence[Message], tokenizer: Tokenizer) -> Rendered:
    """Render prompt and answer up to the last trained token. Raises DataError if the answer is not the assistant's."""
    if not answer or answer[-1].role != "assistant":
        raise DataError("an answer of a preference is empty or not the assistant's; expected an assistant's message")
    whole = (*prompt, *answer)
    trained_turns = [i for i, m in enumerate(whole) if m.role == "assistant" and i >= len(prompt)]
    rendered = _render(whole, tokenizer, trained_turns)
    end = max((i for i, is_trained in enumerate(rendered.trained) if is_trained), default=-1) + 1
    return Rendered(rendered.ids[:end], rendered.trained[:end])


def parse(ids: Iterable[int], tokenizer: Tokenizer) -> Message:
    """Parse ids that continue a prompt into the assistant's message, up to a stop id (<|im_end|>, <|endoftext|>) or the
    end.

    A tool call that is unfinished or is no JSON of a call stays in the text, marks included; no other special id is
    shown.
    """
    turn = _ids_before_stop(ids, tokenizer)
    if not tokenizer.is_own:
        content, found = parse_templated(turn, tokenizer, _parse_call)
        return Message("assistant", content, tool_calls=found)
    opening, closing = map(tokenizer.special, CALL_MARKS)
    text: list[int] = []
    calls: list[Mapping[str, Any]] = []
    at = 0
    while at < len(turn):
        if turn[at] == opening and closing in turn[at:]:
            end = turn.index(closing, at)
            call = _parse_call(tokenizer.decode_bytes(turn[at + 1 : end]))
            if call is not None:
                calls.append(call)
                at = end + 1
                continue
        if turn[at] in (opening, closing) or not tokenizer.is_special(turn[at]):
            text.append(turn[at])
        at += 1
    return Message("assistant", tokenizer.decode(text), tool_calls=tuple(calls))


def parse_text(ids: Iterable[int], tokenizer: Tokenizer) -> Message:
    """Decode ids that continue bare text, up to a stop id: nothing in it is a call, and no special id is shown."""
    return Message("assistant", tokenizer.decode(_ids_before_stop(ids, tokenizer), skip_special=True))


def _ids_before_stop(ids: Iterable[int], tokenizer: Tokenizer) -> list[int]:
    """Return the ids before the first stop id."""
    turn: list[int] = []
    for token in ids:
        if token in tokenizer.stop_ids:
            break
        turn.append(int(token))
    return turn


def _parse_call(text: bytes | str) -> Mapping[str, Any] | None:
    """Parse the JSON of a tool call. Returns None if it is no call."""
    try:
        call = parse_json(text if isinstance(text, str) else text.decode())
    except (DataError, UnicodeDecodeError):
        return None
    return call if _is_call(call) else None
