"""The tokenizer inside a GGUF file, both ways: its lists of tokens and merges, and the files of Hugging Face's layout.

GGUF names a pre-tokenizer where tokenizer.json spells its regular expression out; the names are those that llama.cpp
knows, so a tokenizer of another kind is written under the name that comes nearest and the difference is measured on a
few lines of text. Beside the lists, our files hold the whole tokenizer.json, so that coming back loses nothing.
Two kinds exist: "gpt2" is byte-level pair encoding, "llama" is sentencepiece with scores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers

from jielong.errors import CheckpointError, ConfigError
from jielong.outside import Fields, is_number, own_object, own_text

MAX_LETTERS = 4096
"""Of a token whose parts are looked for, two at every place."""
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)
WHOLE = "tokenizer.huggingface.json"
"""The field that holds a whole tokenizer.json (named in GGUF's specification; llama.cpp passes over it)."""

_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def _llama3(digits: str = r"\p{N}{1,3}", marks: str = "") -> str:
    letters = rf"[\p{{L}}{marks}]+"
    return rf"{_SHORT}|[^\r\n\p{{L}}\p{{N}}]?{letters}|{digits}| ?[^\s\p{{L}}{marks}\p{{N}}]+[\r\n]*|{_SPACES}"


def _pattern_by_case(ending: str, digits: str) -> str:
    """Return a regular expression that also splits words between small and capital letters."""
    start = r"[^\r\n\p{L}\p{N}]?"
    words = f"{start}{_UPPER}*{_LOWER}+{ending}|{start}{_UPPER}+{_LOWER}*{ending}"
    return rf"{words}|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"


PRE_TOKENIZERS: dict[str, tuple[str, ...]] = {
    "smaug-bpe": (_llama3(),),
    "gpt-2": (_WORDS,),
    "smollm": (r"\p{N}", _WORDS),
    "qwen2": (_llama3(digits=r"\p{N}"),),
    "qwen35": (_llama3(digits=r"\p{N}", marks=r"\p{M}"),),
    "llama-bpe": (_llama3(),),
    "tekken": (_pattern_by_case("", r"\p{N}"),),
    "gpt-4o": (_pattern_by_case(f"{_SHORT}?", r"\p{N}{1,3}"),),
    "default": (r"[\p{P}\$\+<=>\^~\|]+", _WORDS, r"\p{N}+", "[0-9][0-9][0-9]"),
}
"""Regular expressions, applied one after the other, of the names in tokenizer.ggml.pre.

Of those that serve a tokenizer equally well the first is written: smaug-bpe, nearest to ours by construction.
"""
_SAME = {
    "llama3": "llama-bpe", "llama-v3": "llama-bpe", "falcon3": "llama-bpe", "pixtral": "llama-bpe",
    "lfm2": "llama-bpe", "dbrx": "smaug-bpe", "chatglm-bpe": "smaug-bpe", "glm4": "smaug-bpe",
    "starcoder": "smollm", "refact": "smollm", "command-r": "smollm", "codeshell": "smollm", "exaone": "smollm",
    "minerva-7b": "smollm", "phi-2": "gpt-2", "mpt": "gpt-2", "olmo": "gpt-2", "jais": "gpt-2",
    "trillion": "gpt-2", "exaone4": "gpt-2", "granite-docling": "gpt-2", "deepseek-r1-qwen": "qwen2",
    "stablelm2": "qwen2", "hunyuan": "qwen2", "megrez": "qwen2", "llama4": "gpt-4o", "": "default",
}  # fmt: skip
_WHOLE_WORDS = {"llama-bpe", "tekken"}
"""Of these, a pre-token that is a token is taken whole, whatever the merges say."""
_ADDS_BOS = {"llama-bpe", "tekken"}

PROBES = (
    "The quick brown fox doesn't jump over 12345 lazy dogs; it's 3.14159 times \"better\" (or worse) at 7:45.",
    "'Twas 'The best' of times, he'd said: 'she'll go', we've seen. JavaScript, iPhone, McDonald's and the USA's",
    "法国的首都是巴黎。日本的首都是东京，货币是日元（JPY）；France的首都？“你好，世界！”——她说：《红楼梦》。",
    "二〇二四年1月15日，GDP增长了5.2%，共123456789元。々〆〇 ひらがなとカタカナの漢字 한국어 텍스트",
    "def f(x, y=0):\n    if x != y:\n\t\treturn {'a': [x**2, y/3.0]}  # don't\n\n\n    return None\r\n",
    "  leading, trailing  \n \n\n\t\tand   many    spaces   ",
    "https://example.org/a_b-c?d=e&f=1#g <|im_start|> user@mail.com $5,000.00 50% #1 ~/.bashrc C++ a||b &&",
    "Café naïve Ünïcode Ελληνικά Русский текст العربية עברית ไทย हिन्दी",
    "e\u0301cole du no\u0308rd ❤️ 👩‍👩‍👧 🎉🎉 ½ ² ™ € … – — ﷽ 𠮷 ⺀",
)


# From the file


def tokenizer_files(meta: Mapping[str, Any], vocab_size: int) -> dict[str, str]:
    """Return file name -> text of the tokenizer files made from the GGUF fields."""
    fields = Fields(dict(meta), "the GGUF file", CheckpointError)
    tokens: list[str] | None = fields.texts("tokenizer.ggml.tokens", None)
    kind = fields.text("tokenizer.ggml.model", None)
    if tokens is None or kind not in ("gpt2", "llama"):
        raise CheckpointError(f"the GGUF file has a tokenizer of kind {kind!r}; gpt2 and llama are read here")
    if len(tokens) > vocab_size:
        raise CheckpointError(f"the GGUF file has {len(tokens)} tokens but embeddings of {vocab_size}")
    named = {
        role: tokens[id]
        for role, key in (
            ("bos_token", "tokenizer.ggml.bos_token_id"),
            ("eos_token", "tokenizer.ggml.eos_token_id"),
            ("unk_token", "tokenizer.ggml.unknown_token_id"),
            ("pad_token", "tokenizer.ggml.padding_token_id"),
        )
        if (id := fields.whole(key, len(tokens))) < len(tokens)
    }
    config = {**named, "tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    if "tokenizer.chat_template" in meta:
        config["chat_template"] = fields.text("tokenizer.chat_template")
    whole = fields.text(WHOLE, "") or json.dumps(_tokenizer_json(fields, tokens, kind, named), ensure_ascii=False)
    files = {"tokenizer_config.json": config, "special_tokens_map.json": named}
    return {
        "tokenizer.json": whole,
        **{n: json.dumps(d, ensure_ascii=False, indent=1) + "\n" for n, d in files.items()},
    }


def _tokenizer_json(fields: Fields, tokens: list[str], kind: str, named: Mapping[str, str]) -> dict[str, Any]:
    """Build tokenizer.json from the lists of tokens, merges or scores in the file."""
    types: list[int] = fields.wholes("tokenizer.ggml.token_type", None) or [NORMAL] * len(tokens)
    if len(types) != len(tokens):
        raise CheckpointError(f"the GGUF file has {len(tokens)} tokens, and types of {len(types)}")
    added = [
        {
            "id": i,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": types[i] != USER,
        }
        for i, token in enumerate(tokens)
        if types[i] in (CONTROL, USER) or (types[i] == UNKNOWN and kind == "llama")
    ]
    vocab = {token: i for i, token in enumerate(tokens)}
    if len(vocab) != len(tokens):
        raise CheckpointError("the GGUF file has two tokens of the same text; the tokenizer cannot be read")
    data: dict[str, Any] = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added}
    if kind == "gpt2":
        pre = fields.text("tokenizer.ggml.pre", "")
        merges = [m.split(" ", 1) for m in fields.texts("tokenizer.ggml.merges")]
        data |= _byte_level(_known_pre_tokenizer(pre), vocab, merges)
        adds_bos = _known_pre_tokenizer(pre) in _ADDS_BOS
    else:
        scores = fields.take("tokenizer.ggml.scores")
        if not isinstance(scores, list) or len(scores) != len(tokens) or not all(map(is_number, scores)):
            raise CheckpointError(f"the GGUF file has {len(tokens)} tokens, and no score for each of them")
        if any(len(token) > MAX_LETTERS for token in tokens):
            raise CheckpointError(f"the GGUF file has a token of more than {MAX_LETTERS:,} letters")
        usable = {t: i for t, i in vocab.items() if types[i] in (NORMAL, USER)}
        data |= _sentencepiece(
            vocab, merges_of_scores(usable, scores), fields.flag("tokenizer.ggml.add_space_prefix", True)
        )
        data["model"]["unk_token"] = named.get("unk_token")
        adds_bos = True
    if fields.flag("tokenizer.ggml.add_bos_token", adds_bos) and "bos_token" in named:
        data["post_processor"] = _with_bos(named["bos_token"], vocab[named["bos_token"]])
    return data


def _known_pre_tokenizer(pre: str) -> str:
    """Return our name of a pre-tokenizer of llama.cpp. Raises CheckpointError if it is not known."""
    name = _SAME.get(pre, pre)
    if name not in PRE_TOKENIZERS:
        raise CheckpointError(
            f"the GGUF file's tokenizer.ggml.pre is {pre!r}; read here are {', '.join(sorted({*PRE_TOKENIZERS, *_SAME} - {''}))}"
        )
    return name


def _pre_tokenizer(name: str) -> dict[str, Any]:
    """Build tokenizer.json's pre-tokenizer from its regular expressions."""
    splits = [
        {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
        for regex in PRE_TOKENIZERS[name]
    ]
    bytes_alone = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [*splits, bytes_alone]}


def _byte_level(name: str, vocab: dict[str, int], merges: list[list[str]]) -> dict[str, Any]:
    """Build the parts of tokenizer.json for byte-level pair encoding."""
    return {
        "normalizer": None,
        "pre_tokenizer": _pre_tokenizer(name),
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": _pair_encoding(vocab, merges, ignore_merges=name in _WHOLE_WORDS),
    }


def _pair_encoding(vocab: dict[str, int], merges: list[list[str]], **changes: Any) -> dict[str, Any]:
    """Build the BPE model of tokenizer.json."""
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": vocab,
        "merges": merges,
        **changes,
    }


def _sentencepiece(vocab: dict[str, int], merges: list[list[str]], adds_space: bool) -> dict[str, Any]:
    """Build the parts of tokenizer.json for sentencepiece with byte fallback."""
    marks: dict[str, Any] = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    first = {"type": "Prepend", "prepend": "▁"}
    decoders: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if adds_space:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {
        "normalizer": {"type": "Sequence", "normalizers": [first, marks]} if adds_space else marks,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": _pair_encoding(vocab, merges, fuse_unk=True, byte_fallback=True),
    }


def merges_of_scores(vocab: Mapping[str, int], scores: list[float]) -> list[list[str]]:
    """Derive BPE merges in the order in which sentencepiece joins: every way to make a token, best token first."""
    found = [
        (-scores[i], i, left, [token[:left], token[left:]])
        for token, i in vocab.items()
        for left in range(1, len(token))
        if token[:left] in vocab and token[left:] in vocab
    ]
    return [merge for *_, merge in sorted(found)]


def _with_bos(token: str, id: int) -> dict[str, Any]:
    """Build the post-processor of tokenizer.json that puts BOS before a text."""
    start = {"SpecialToken": {"id": token, "type_id": 0}}
    a, b = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "type": "TemplateProcessing",
        "single": [start, a],
        "pair": [start, a, b],
        "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}},
    }


# Into the file


def tokenizer_metadata(folder: Path, vocab_size: int) -> tuple[dict[str, Any], list[str]]:
    """Return the GGUF fields for the tokenizer saved in `folder`, and warnings where llama.cpp may read text into other
    ids.
    """
    whole = own_object(folder / "tokenizer.json")
    config = own_object(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").exists() else {}
    model = whole.get("model", {})
    if model.get("type") != "BPE":
        raise ConfigError(f"{folder} has a tokenizer of type {model.get('type')!r}; GGUF export writes BPE")
    special = {t["id"]: t for t in whole.get("added_tokens", [])}
    texts = {i: token for token, i in model["vocab"].items()} | {i: t["content"] for i, t in special.items()}
    if max(texts, default=0) >= vocab_size:
        raise ConfigError(f"{folder} has a token with id {max(texts)}, beyond the model's {vocab_size} embeddings")
    tokens = [texts.get(i, f"[PAD{i}]") for i in range(vocab_size)]
    types = [_type_of(i, texts, special) for i in range(vocab_size)]
    fields: dict[str, Any] = {"tokenizer.ggml.tokens": tokens}
    warnings: list[str] = []
    if model.get("byte_fallback"):
        types = [BYTE if _is_byte(t) else kind for t, kind in zip(tokens, types, strict=True)]
        fields["tokenizer.ggml.model"] = "llama"
        fields["tokenizer.ggml.pre"] = "default"
        fields["tokenizer.ggml.scores"] = _scores_of_merges(model, tokens)
        fields["tokenizer.ggml.add_space_prefix"] = "Prepend" in json.dumps(whole.get("normalizer"))
    elif "ByteLevel" in json.dumps(whole.get("pre_tokenizer")):
        near = nearest_pre_tokenizer(whole)
        fields["tokenizer.ggml.model"] = "gpt2"
        fields["tokenizer.ggml.pre"] = near.name
        fields["tokenizer.ggml.merges"] = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
        if near.other_ids:
            warnings.append(
                f"llama.cpp has no pre-tokenizer equal to this one; the nearest, {near.name}, gives other ids on "
                f"{len(near.other_ids)} of {len(PROBES)} lines of test text, such as {near.other_ids[0]!r}"
            )
        elif near.other_cuts:
            warnings.append(
                f"llama.cpp has no pre-tokenizer equal to this one; the nearest, {near.name}, gives the same ids on all "
                f"{len(PROBES)} lines of test text, but cuts {len(near.other_cuts)} of them elsewhere, so rare text may "
                "get other ids"
            )
    else:
        raise ConfigError(f"{folder} has a tokenizer that is neither byte-level nor sentencepiece; export it as hf")
    fields["tokenizer.ggml.token_type"] = types
    fields |= _special_fields(whole, config, {t: i for i, t in texts.items()})
    template = folder / "chat_template.jinja"
    chat = own_text(template) if template.exists() else config.get("chat_template")
    if isinstance(chat, str):
        fields["tokenizer.chat_template"] = chat
    fields[WHOLE] = own_text(folder / "tokenizer.json")
    return fields, warnings


def _type_of(id: int, texts: Mapping[int, str], special: Mapping[int, Mapping[str, Any]]) -> int:
    """Return GGUF's type of a token: normal, control, user-defined or unused."""
    if id not in texts:
        return UNUSED
    if id in special:
        return CONTROL if special[id].get("special") else USER
    return NORMAL


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _scores_of_merges(model: Mapping[str, Any], tokens: list[str]) -> list[float]:
    """Return a score for each token, falling with the place of the merge that makes it."""
    rank: dict[str, int] = {}
    for at, merge in enumerate(model["merges"]):
        rank.setdefault("".join(merge.split(" ") if isinstance(merge, str) else merge), at)
    return [-float(rank.get(token, 0)) for token in tokens]


def _special_fields(whole: Mapping[str, Any], config: Mapping[str, Any], ids: Mapping[str, int]) -> dict[str, Any]:
    """Return the GGUF fields for BOS, EOS, padding and unknown tokens."""
    fields: dict[str, Any] = {}
    for role, key in (
        ("bos_token", "bos_token_id"),
        ("eos_token", "eos_token_id"),
        ("unk_token", "unknown_token_id"),
        ("pad_token", "padding_token_id"),
    ):
        token = config.get(role)
        text = token.get("content") if isinstance(token, dict) else token
        if isinstance(text, str) and text in ids:
            fields[f"tokenizer.ggml.{key}"] = ids[text]
    adds = "bos_token" in config and bool(config.get("add_bos_token", _adds_bos(whole, config)))
    fields["tokenizer.ggml.add_bos_token"] = adds and "tokenizer.ggml.bos_token_id" in fields
    return fields


def _adds_bos(whole: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether the tokenizer puts BOS before a text."""
    token = config["bos_token"]
    text = token.get("content") if isinstance(token, dict) else token
    return text in tokenizers.Tokenizer.from_str(json.dumps(whole)).encode("a").tokens


@dataclass(frozen=True)
class Nearest:
    """llama.cpp's name of the pre-tokenizer nearest to one, and the lines of the test text that the two read
    differently.
    """

    name: str
    other_ids: tuple[str, ...]
    other_cuts: tuple[str, ...]
    """Cut into other pre-tokens, which need not mean other ids."""


def nearest_pre_tokenizer(whole: Mapping[str, Any]) -> Nearest:
    """Find the name with the fewest lines of other ids; of several the one that cuts all lines alike, or else the
    first.
    """
    wanted = _tokenise_lines({**whole, "post_processor": None})
    takes_whole = whole["model"].get("ignore_merges", False)
    found = []
    for name in PRE_TOKENIZERS:
        model = {**whole["model"], "ignore_merges": name in _WHOLE_WORDS}
        theirs = {**whole, "normalizer": None, "post_processor": None, "pre_tokenizer": _pre_tokenizer(name)}
        pairs = list(zip(PROBES, wanted, _tokenise_lines({**theirs, "model": model}), strict=True))
        other_ids = tuple(text for text, (a, _), (b, _) in pairs if a != b)
        found.append(Nearest(name, other_ids, tuple(text for text, (_, a), (_, b) in pairs if a != b)))
    return min(found, key=lambda n: (len(n.other_ids), bool(n.other_cuts), (n.name in _WHOLE_WORDS) != takes_whole))


def _tokenise_lines(whole: Mapping[str, Any]) -> list[tuple[list[int], list[Any]]]:
    """Return the ids of each line of the test text, and where its pre-tokens begin and end."""
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(whole))
    encodings = tokenizer.encode_batch(list(PROBES), add_special_tokens=False)
    cuts = [[span for _, span in tokenizer.pre_tokenizer.pre_tokenize_str(text)] for text in PROBES]
    return list(zip((e.ids for e in encodings), cuts, strict=True))
