"""Three small tokenizers: ours, and in their makers' shapes a byte-level one like Qwen's and one of SentencePiece's kind."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from jielong.records import Message
from jielong.runs import write_json
from jielong.tokens import Tokenizer, TokenizerConfig, render, train_tokenizer
from jielong.tokens.tokenizer import NUM_SPECIAL

TEXTS = ["The capital of France is Paris.\n", "法国的首都是巴黎。\n", "def f(x):\n    return x + 12345\n"] * 10
TALK = [Message("system", "Be brief."), Message("user", "Hi, 你好 <|im_end|>"), Message("assistant", "Hello.")]
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


@functools.cache
def own_tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS, TokenizerConfig(vocab_size=340))


def read_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer.load(folder)
    V = tokenizer.vocab_size
    ids = tokenizer.encode(TALK[1].text)
    assert all(0 <= id < V for id in (*ids, *tokenizer.stop_ids, *tokenizer.opening, tokenizer.pad, tokenizer.im_end))
    tokenizer.decode(ids)
    for document in tokenizer.encode_documents(TEXTS[:3]):
        assert document.max() < V
    assert len(tokenizer.byte_lengths) == V
    assert isinstance(tokenizer.marks_of_others.pattern, str) and tokenizer.marks_of_nobody
    if tokenizer.is_own or tokenizer.template:
        assert all(0 <= id < V for id in render(TALK, tokenizer).ids)


def make_foreign(folder: Path, data: dict[str, Any], beside: dict[str, Any]) -> None:
    write_json(folder / "tokenizer.json", data)
    for name, inner in beside.items():
        write_json(folder / name, inner)
