"""Request bodies: the supported fields of OpenAI's requests, with their bounds.

Unknown fields are ignored, since clients send many that a local model does not need. Known but unsupported fields that
would change the answer are refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from jielong.serve.limits import MAX_CHOICES, MAX_MESSAGES, MAX_TOP_LOGPROBS

MOST_TOKENS = 1 << 20
MOST_TEXT = 4 << 20

Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Text = Annotated[str, Field(max_length=MOST_TEXT)]


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class Part(_Read):
    """A part of a message: text, or another kind, which is refused with its name."""

    type: Annotated[str, Field(max_length=64)]
    text: Text | None = None


class CalledFunction(_Read):
    name: Annotated[str, Field(max_length=256)]
    arguments: Text = ""


class ToolCall(_Read):
    id: Annotated[str, Field(max_length=256)] = ""
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(_Read):
    """A turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | Annotated[list[Part], Field(max_length=1024)] | None = None
    name: Annotated[str, Field(max_length=256)] | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=128)] | None = None
    tool_call_id: Annotated[str, Field(max_length=256)] | None = None


class Function(_Read):
    """A function that the model may call."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: Annotated[str, Field(max_length=16_384)] | None = None
    parameters: dict[str, Any] | None = None


class OfferedTool(_Read):
    type: Literal["function"]
    function: Function


class NamedFunction(_Read):
    name: Annotated[str, Field(max_length=64)]


class NamedTool(_Read):
    type: Literal["function"]
    function: NamedFunction


class StreamOptions(_Read):
    include_usage: bool = False


class JsonSchema(_Read):
    name: Annotated[str, Field(max_length=256)] = ""
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class ResponseFormat(_Read):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class Extension(_Read):
    """Options that only this server has."""

    draws: bool = False
    """Whether each token of the answer comes with its draw."""
    logprobs: Literal["raw", "tempered"] = "raw"
    """Log-probabilities of the model's own distribution, or of the one at the temperature."""


class _Sampled(_Read):
    model: Annotated[str, Field(max_length=512)] = ""
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    min_p: Annotated[float, Field(ge=0, lt=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=1000)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Seed | None = None
    stop: Text | Annotated[list[Text], Field(max_length=64)] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=4096)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    jielong: Extension | None = None


class ChatRequest(_Sampled):
    """The body of /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    max_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    tools: Annotated[list[OfferedTool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None


class CompletionRequest(_Sampled):
    """The body of /v1/completions."""

    prompt: Text | Annotated[list[Text] | list[int] | list[list[int]], Field(min_length=1, max_length=1 << 20)]
    max_tokens: Annotated[int, Field(ge=0, le=MOST_TOKENS)] | None = 16
    logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    echo: bool | None = None
    suffix: Text | None = None
    best_of: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None


class EmbeddingRequest(_Read):
    """The body of /v1/embeddings."""

    model: Annotated[str, Field(max_length=512)] = ""
    input: Text | Annotated[list[Text], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1, le=1 << 16)] | None = None
