"""Conversations in other people's chat templates: ids, which of them are trained, and answers back to text.

A template gives text, and the text of a mark in it becomes that mark, as in `transformers`. A message that holds the text
of a mark must not: there a breaker, one character that is in no message, is put inside it before rendering and taken out
when the ordinary text around is encoded. So a template may trim or move what people wrote and still nobody can forge a
turn. The assistant's own messages may hold the marks that are not flagged special, such as <think>, because it writes
those itself.

Prefixes decide which ids are trained: the text up to an answer, with the answer's header, and the text up to its end must
both begin the text of the whole conversation. A template that writes earlier turns anew is refused for training.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from jielong.errors import ConfigError, DataError
from jielong.tokens.stream import CALL_CLOSING, CALL_OPENING, enclosed
from jielong.tokens.tokenizer import Tokenizer


def render_templated(
    messages: Sequence[Mapping[str, Any]],
    tokenizer: Tokenizer,
    trained_turns: Collection[int] = (),
    add_generation_prompt: bool = False,
    tools: Sequence[Mapping[str, Any]] = (),
) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Return the ids of a conversation in the chat template, and for each whether it lies in an answer of
    `trained_turns`.

    `trained_turns` are indices of messages. The ids are those of `apply_chat_template` in `transformers` for messages
    and tools without the text of marks. A token that holds letters of an answer and of the header before it is not
    trained. Raises ConfigError if there is no chat template.
    """
    template = tokenizer.template
    if template is None:
        raise ConfigError(
            "the tokenizer has no chat template; put chat_template.jinja beside tokenizer.json, or use with_template"
        )
    breaker = _breaker([*messages, *tools])
    placed = template.adapt([_break_marks(message, tokenizer, breaker) for message in messages])
    broken = [message for _, message in placed]
    offered = [_break_marks_inside(tool, tokenizer.marks_of_others, breaker) for tool in tools]
    turns = [place for place, (number, _) in enumerate(placed) if number in trained_turns]
    # all that is asked of the template in one message to where it runs
    prefixes = [prefix for turn in turns for prefix in ((broken[:turn], True), (broken[: turn + 1], False))]
    text, *begun = template.texts([(broken, add_generation_prompt), *prefixes], tools=offered)
    ids, spans = tokenizer.encode_marked(text, breaker)
    trained = [False] * len(ids)
    for turn, before, until in zip(turns, begun[::2], begun[1::2], strict=True):
        start, end = _answer_span(before, until, turn, text, tokenizer)
        start, end = (len(text[:at].replace(breaker, "")) for at in (start, end))
        for i, (first, last) in enumerate(spans):
            trained[i] = trained[i] or (start <= first and last <= end and first < end)
    return tuple(ids), tuple(trained)


def _breaker(said: Sequence[Mapping[str, Any]]) -> str:
    """Return a character of private use that occurs in no message."""
    written = json.dumps(said, ensure_ascii=False, default=str)
    return next(chr(c) for c in range(0xF0000, 0xFFFFE) if chr(c) not in written)


def _break_marks(message: Mapping[str, Any], tokenizer: Tokenizer, breaker: str) -> dict[str, Any]:
    """Put the breaker inside every text of a mark that the message's author may not write."""
    pattern = tokenizer.marks_of_others if message["role"] != "assistant" else tokenizer.marks_of_nobody
    return {k: v if k == "role" else _break_marks_inside(v, pattern, breaker) for k, v in message.items()}


def _break_marks_inside(value: Any, pattern: re.Pattern[str], breaker: str) -> Any:
    """Put the breaker into the matches of a pattern in all strings within a value."""
    if isinstance(value, str):
        return pattern.sub(lambda m: m.group()[:1] + breaker + m.group()[1:], value)
    if isinstance(value, Mapping):
        return {
            _break_marks_inside(k, pattern, breaker): _break_marks_inside(v, pattern, breaker) for k, v in value.items()
        }
    return [_break_marks_inside(v, pattern, breaker) for v in value] if isinstance(value, (list, tuple)) else value


def _answer_span(before: str, until: str, turn: int, text: str, tokenizer: Tokenizer) -> tuple[int, int]:
    """Return where the answer `turn` begins and ends in the text of the whole conversation, its last mark included."""
    if not (until.startswith(before) and text.startswith(until)):
        raise DataError(
            f"the chat template writes the turns around message {turn} differently once the conversation goes on, so what "
            "the assistant is trained on cannot be told; train on the last answer alone, or give another template"
        )
    ends = [m.end(m.lastindex or 0) for m in tokenizer.mark_pattern.finditer(until, len(before))]
    is_ended = bool(ends) and not until[ends[-1] :].strip()
    return len(before), ends[-1] if is_ended else len(until)


def parse_templated(
    turn: Sequence[int], tokenizer: Tokenizer, parse_call: Callable[[str], Mapping[str, Any] | None]
) -> tuple[str, tuple[Mapping[str, Any], ...]]:
    """Return the words and the tool calls (JSON between <tool_call> and </tool_call>) of an answer; the rest stays
    text.
    """
    text = tokenizer.decode(turn)
    calls, pieces, done = list[Mapping[str, Any]](), list[str](), 0
    for start, end in enclosed(text, CALL_OPENING, CALL_CLOSING):
        call = parse_call(text[start + len(CALL_OPENING) : end - len(CALL_CLOSING)].strip())
        if call is not None:
            calls.append(call)
            pieces.append(text[done:start].removesuffix("\n"))
            done = end
    return "".join((*pieces, text[done:])), tuple(calls)
