"""Two small tokenizers in their makers' shapes, byte-level like Qwen's and of SentencePiece's kind like Llama's."""

from __future__ import annotations

import json
from typing import Any

from jielong.tokens import Tokenizer
from jielong.tokens.tokenizer import NUM_SPECIAL

_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_INST = "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"


def _added(id: int, text: str, special: bool = True) -> dict[str, Any]:
    sides = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": id, "content": text, "special": special, **sides}


def byte_level(own: Tokenizer) -> tuple[dict[str, Any], dict[str, Any]]:
    """tokenizer.json and what lies beside it, with the merges of one of ours and marks of others."""
    data = json.loads(own.to_json())
    vocab = {token: id - NUM_SPECIAL for token, id in data["model"]["vocab"].items() if id >= NUM_SPECIAL}
    marks = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>")
    data["added_tokens"] = [_added(len(vocab) + i, mark, i < 3) for i, mark in enumerate(marks)]
    data["model"]["vocab"] = vocab
    names = {"eos_token": "<|im_end|>", "pad_token": {"content": "<|endoftext|>", "lstrip": False}}
    ends = [len(vocab), len(vocab) + 2]
    beside = {
        "tokenizer_config.json": {**names, "chat_template": _TEMPLATE, "add_bos_token": False},
        "special_tokens_map.json": names,
        "generation_config.json": {"eos_token_id": ends, "pad_token_id": ends[0]},
        "config.json": {"eos_token_id": ends[1], "model_type": "qwen2"},
    }
    return data, beside


def sentencepiece() -> tuple[dict[str, Any], dict[str, Any]]:
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁ aeinrst", "▁a", "in"]
    model = {
        **{"type": "BPE", "dropout": None, "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True},
        **{"vocab": {token: id for id, token in enumerate(dict.fromkeys(tokens))}, "merges": ["▁ a", "i n"]},
    }
    start = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    space = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    marks: dict[str, Any] = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    data = {
        **{"version": "1.0", "truncation": None, "padding": None, "pre_tokenizer": None, "model": model},
        "added_tokens": [_added(i, token) for i, token in enumerate(tokens[:3])],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, marks]},
        "decoder": {"type": "Sequence", "decoders": [space, {"type": "ByteFallback"}, {"type": "Fuse"}, strip]},
        "post_processor": {
            **{"type": "TemplateProcessing", "single": start, "pair": start},
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
    }
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": {"content": "<unk>"}}
    beside = {
        "tokenizer_config.json": {**names, "chat_template": [{"name": "default", "template": _INST}]},
        "special_tokens_map.json": names,
        "generation_config.json": {"eos_token_id": 2},
        "config.json": {"eos_token_id": 2, "pad_token_id": None},
    }
    return data, beside
