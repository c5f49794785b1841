"""Results of an MCP server as text for a model: text as it stands, data as JSON, and a word for other media.

Servers differ in how well they keep to the protocol, and one bad tool or part must not cost the others. So messages are
first mended: content that the package mcp would refuse is put into the nearest form that it accepts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jielong.errors import DataError
from jielong.outside import parse_json
from jielong.use.tools.tool import shortened

LONGEST_DESCRIPTION = 1000
"""Characters of a description that a model is told; OpenAI takes 1,024."""

_PARTS = {
    "text": ("text",),
    "image": ("data", "mimeType"),
    "audio": ("data", "mimeType"),
    "resource_link": ("uri", "name"),
    "resource": ("resource",),
}
"""The fields that each kind of part must have."""
_MAYBE_NULL = ("default", "const", "enum", "examples")


def text_of_result(result: Any) -> str:
    """Return the text of a call's result, which begins with "error:" if the tool says that it failed."""
    texts = [_text_of_part(part) for part in result.content]
    structured = result.structured_content
    if structured is not None and not _is_told(structured, texts):
        texts.append(json.dumps(structured, ensure_ascii=False))
    said = "\n".join(texts).strip("\n") or "(no output)"
    return f"error: {said}" if result.is_error else said


def _text_of_part(part: Any) -> str:
    """Return one part of a result as text."""
    if part.type == "text":
        return str(part.text)
    if part.type == "resource_link":
        return f"[link {part.name}: {part.uri}]"
    if part.type == "resource":
        inner = part.resource
        if hasattr(inner, "text"):
            return f"[resource {inner.uri}]\n{inner.text}"
        return f"[resource {inner.uri} {inner.mime_type or ''}".rstrip() + f", {_format_size(inner.blob)}]"
    return f"[{part.type} {part.mime_type}, {_format_size(part.data)}]"


def _format_size(base64: str) -> str:
    """Format the size of base64 data."""
    num_bytes = len(base64.rstrip("=")) * 3 // 4
    if num_bytes < 1000:
        return f"{num_bytes} bytes"
    return f"{num_bytes / 1e3:.0f} KB" if num_bytes < 1e6 else f"{num_bytes / 1e6:.1f} MB"


def _is_told(structured: Any, texts: Sequence[str]) -> bool:
    """Whether the texts already state the structured content: as JSON, or a lone {"result": ...} by its value."""
    values = [structured]
    if isinstance(structured, Mapping) and set(structured) == {"result"}:
        values.append(structured["result"])
    parsed = [_parse_if_json(text) for text in texts]
    whole = "\n".join(texts)
    return any(value in (whole, _parse_if_json(whole), parsed) for value in values)


def _parse_if_json(text: str) -> Any:
    """Parse JSON, or return the text if it is none."""
    try:
        return parse_json(text)
    except DataError:
        return text


def mend_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result in a form that the package accepts."""
    fixed = dict(result)
    if isinstance(fixed.get("tools"), list):
        fixed["tools"] = [_tool(one) for one in fixed["tools"] if isinstance(one, dict) and one.get("name")]
    if "content" in fixed:
        content = fixed["content"]
        parts = content if isinstance(content, list) else [] if content is None else [content]
        fixed["content"] = [_mend_part(part) for part in parts]
    if not isinstance(fixed.get("structuredContent", {}), dict):
        fixed["structuredContent"] = {"result": fixed["structuredContent"]}
    return fixed


def _tool(written: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool's description without fields that may be malformed."""
    tool = {"name": str(written["name"]), "inputSchema": schema_of(written.get("inputSchema"))}
    if isinstance(written.get("description"), str):
        tool["description"] = written["description"]
    hints = written.get("annotations")
    if isinstance(hints, dict) and isinstance(hints.get("readOnlyHint"), bool):
        tool["annotations"] = {"readOnlyHint": hints["readOnlyHint"]}
    return tool  # without its outputSchema: a result is shown, whether or not it fits


def _mend_part(part: Any) -> dict[str, Any]:
    """Return a part in a valid form, as text if it has none."""
    if isinstance(part, dict) and part.get("type") in _PARTS:
        kept = {key: part[key] for key in ("type", *_PARTS[part["type"]]) if key in part}
        if part["type"] == "resource_link" and isinstance(kept.get("uri"), str):
            kept.setdefault("name", kept["uri"])
        texts = [value for key, value in kept.items() if key != "resource"]
        inner = kept.get("resource", {"uri": "", "text": ""})
        is_inner_right = isinstance(inner, dict) and isinstance(inner.get("uri"), str)
        body = [inner[key] for key in ("text", "blob") if key in inner] if is_inner_right else []
        is_right = len(kept) > len(_PARTS[part["type"]]) and all(isinstance(text, str) for text in (*texts, *body))
        if is_right and body:
            return kept
    return {"type": "text", "text": part if isinstance(part, str) else json.dumps(part, ensure_ascii=False)}


def schema_of(written: Any) -> dict[str, Any]:
    """Return the JSON schema of a tool's arguments: always of an object with properties, without nulls, descriptions
    not huge.
    """
    schema = _without_nulls(written) if isinstance(written, dict) else {}
    schema["type"] = "object"
    if not isinstance(schema.get("properties"), dict):
        schema["properties"] = {}
    if not isinstance(schema.get("required", []), list):
        del schema["required"]
    return schema


def _without_nulls(schema: Any) -> Any:
    """Drop nulls from a schema if they are not allowed, and shorten descriptions."""
    if isinstance(schema, list):
        return [_without_nulls(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: value if key in _MAYBE_NULL else _without_nulls(value)
        for key, value in schema.items()
        if value is not None or key in _MAYBE_NULL
    }
    if isinstance(kept.get("description"), str):
        kept["description"] = shortened(kept["description"], LONGEST_DESCRIPTION)
    return kept
