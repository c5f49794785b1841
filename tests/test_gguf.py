"""GGUF files: read as their writers meant them, written so that others read them, and the tokenizer inside."""

from __future__ import annotations

import dataclasses
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch

from jielong.errors import CheckpointError, ConfigError
from jielong.model import hf
from jielong.model.rotary import RopeScaling
from jielong.model.transformer import LanguageModel, ModelConfig, fresh_language_model
from jielong.tokens import Tokenizer, TokenizerConfig, train_tokenizer

library = pytest.importorskip("gguf")
transformers = pytest.importorskip("transformers")

from jielong.model.gguf import READABLE, WRITABLE, GgufFile, export_gguf, import_gguf, load_language_model  # noqa: E402
from jielong.model.gguf_names import entries, join, split  # noqa: E402
from jielong.model.gguf_rope import llama3_factors, llama3_scaling  # noqa: E402
from jielong.model.gguf_tokenizer import PROBES, nearest_pre_tokenizer, tokenizer_files  # noqa: E402

TEXTS = [
    "The capital of France is Paris. 'The best' of 12345 days; we'll see it's 1871.\n\nJavaScript and iPhone.\n",
    "法国的首都是巴黎。日本的首都是东京，货币是日元（JPY）。France的首都？二〇二四年1月15日\n",
    "def f(x):\n    return x + 12345  # don't\r\n",
] * 20
TOKENIZER = train_tokenizer(TEXTS, TokenizerConfig(vocab_size=420))
SIZES: dict[str, Any] = {
    "vocab_size": TOKENIZER.vocab_size,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def theirs_of(family: str, **changes: Any) -> torch.nn.Module:
    """A tiny random model of `transformers`, its norms and biases away from one and zero."""
    own: dict[str, tuple[str, dict[str, Any]]] = {
        "llama": ("Llama", {"head_dim": 16}),
        "qwen2": ("Qwen2", {}),
        "qwen3": ("Qwen3", {"head_dim": 32, "tie_word_embeddings": True}),
        "qwen3moe": (
            "Qwen3Moe",
            {
                "head_dim": 16,
                "num_experts": 4,
                "num_experts_per_tok": 2,
                "moe_intermediate_size": 32,
                "norm_topk_prob": True,
            },
        ),
        "smollm3": ("SmolLM3", {"num_hidden_layers": 5}),
        "gemma3": (
            "Gemma3Text",
            {"head_dim": 16, "num_hidden_layers": 7, "sliding_window": 8, "query_pre_attn_scalar": 16},
        ),
        "gpt2": ("GPT2", {}),
    }
    name, more = own[family]
    sizes = {**SIZES, **more, **changes}
    if family == "gpt2":
        config = transformers.GPT2Config(
            vocab_size=TOKENIZER.vocab_size, n_embd=64, n_layer=3, n_head=4, bos_token_id=1, eos_token_id=2, **changes
        )
        kind = transformers.GPT2LMHeadModel
    else:
        config = getattr(transformers, f"{name}Config")(**sizes)
        kind = getattr(transformers, "Gemma3ForCausalLM" if family == "gemma3" else f"{name}ForCausalLM")
    generator = torch.Generator().manual_seed(5)
    model = kind(config).eval()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            spread = 0.3 if parameter.dim() == 1 else 0.12
            base = 1.0 if "norm" in parameter_name and family != "gemma3" and "bias" not in parameter_name else 0.0
            parameter.copy_(base + spread * torch.randn(parameter.shape, generator=generator))
    return model


def interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of each head from (first half, second half) to neighbours, as llama.cpp's converter writes them."""
    width = weight.shape[0] // heads
    order = [h * width + x for h in range(heads) for i in range(width // 2) for x in (i, i + width // 2)]
    return weight[order]


def write_theirs(model: torch.nn.Module, family: str, path: Path, kinds: dict[str, str] | None = None) -> None:
    """The model as a GGUF file, with the library's own table of names. `kinds`: end of a name -> quantised type."""
    config = model.config
    writer = library.GGUFWriter(path, family)
    layers = config.num_hidden_layers
    arch = next(number for number, name in library.MODEL_ARCH_NAMES.items() if name == family)
    names = library.get_tensor_name_map(arch, layers)
    writer.add_block_count(layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_head_count(config.num_attention_heads)
    if family == "gpt2":
        writer.add_feed_forward_length(4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        rope = config.rope_parameters
        writer.add_rope_freq_base(rope.get("full_attention", rope)["rope_theta"])
        if getattr(config, "head_dim", None):
            writer.add_key_length(config.head_dim)
            writer.add_value_length(config.head_dim)
    if family == "qwen3moe":
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if family == "gemma3":
        writer.add_sliding_window(config.sliding_window)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if family == "gpt2" and name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
            tensor = tensor.T
        if family == "gemma3" and "norm" in name:
            tensor = tensor + 1
        if family in ("llama", "smollm3") and ".q_proj." in name:
            tensor = interleaved(tensor, config.num_attention_heads)
        if family in ("llama", "smollm3") and ".k_proj." in name:
            tensor = interleaved(tensor, config.num_key_value_heads)
        if name.endswith("experts.gate_up_proj"):
            stem = name.removesuffix("gate_up_proj")
            halves = zip(("gate_proj.weight", "up_proj.weight"), tensor.chunk(2, dim=1), strict=True)
            parts = {stem + part: half for part, half in halves}
        else:
            parts = {name if name.endswith((".weight", ".bias")) else f"{name}.weight": tensor}
        for full, part in parts.items():
            gguf_name = names.get_name(full, try_suffixes=(".weight", ".bias"))
            kind = next((k for end, k in (kinds or {}).items() if gguf_name.endswith(end)), "F32")
            wanted = library.GGMLQuantizationType[kind]
            data = library.quants.quantize(np.ascontiguousarray(part.numpy()), wanted)
            writer.add_tensor(gguf_name, data, raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def ids(rows: int = 2, length: int = 24, vocab: int = 96) -> torch.Tensor:
    return torch.randint(3, vocab, (rows, length), generator=torch.Generator().manual_seed(0))


def assert_equal_logits(ours: LanguageModel, theirs: torch.nn.Module) -> None:
    inputs = ids(vocab=ours.config.vocab_size)
    with torch.no_grad():
        have, want = ours.logits(ours(inputs)), theirs(inputs).logits
    assert want.std() > 0.05, "logits that say nothing would be equal for any weights"
    torch.testing.assert_close(have, want, rtol=1e-4, atol=1e-4 * float(want.abs().max()))


FAMILIES = ["llama", "qwen2", "qwen3", "qwen3moe", "smollm3", "gemma3", "gpt2"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_that_others_wrote_gives_the_logits_of_transformers(tmp_path: Path, family: str) -> None:
    theirs = theirs_of(family)
    write_theirs(theirs, family, tmp_path / "m.gguf")
    assert_equal_logits(load_language_model(tmp_path / "m.gguf"), theirs)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_written_is_what_the_librarys_names_and_forms_ask_for(tmp_path: Path, family: str) -> None:
    write_theirs(theirs_of(family), family, tmp_path / "theirs.gguf")
    export_gguf(load_language_model(tmp_path / "theirs.gguf"), None, tmp_path / "ours.gguf", "f32")
    theirs, ours = (library.GGUFReader(tmp_path / f"{who}.gguf") for who in ("theirs", "ours"))
    want = {t.name: t.data for t in theirs.tensors}
    assert {t.name for t in ours.tensors} == want.keys()
    for tensor in ours.tensors:
        np.testing.assert_allclose(tensor.data, want[tensor.name], rtol=0, atol=1e-6, err_msg=tensor.name)
    kept = {k: f.contents() for k, f in theirs.fields.items() if k.startswith(family)}
    assert kept.items() <= {k: f.contents() for k, f in ours.fields.items()}.items()


# Its reader leaves the head's width of qwen3 and the positions of gpt2 at their defaults, so those are used.
READ_THERE: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 128},
    "gemma3": {"head_dim": 256, "query_pre_attn_scalar": 256},
    "gpt2": {},
}


@pytest.mark.parametrize("family", READ_THERE)
def test_transformers_reads_our_file_with_equal_logits(tmp_path: Path, family: str) -> None:
    write_theirs(theirs_of(family, **READ_THERE[family]), family, tmp_path / "theirs.gguf")
    ours = load_language_model(tmp_path / "theirs.gguf")
    TOKENIZER.save(tmp_path / "tokenizer")  # its length is the vocabulary's there
    export_gguf(ours, tmp_path / "tokenizer", tmp_path / "ours.gguf", "f32")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="ours.gguf", dtype=torch.float32)
    assert_equal_logits(ours, again.eval())


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1"])
def test_a_quantised_tensor_has_the_values_that_its_blocks_stand_for(tmp_path: Path, kind: str) -> None:
    theirs = theirs_of("qwen3")
    write_theirs(theirs, "qwen3", tmp_path / "m.gguf", {"ffn_down.weight": kind, "token_embd.weight": kind})
    ours = load_language_model(tmp_path / "m.gguf")
    wanted = library.GGMLQuantizationType[kind]
    for have, exact in (
        (ours.model.layers[1].mlp.down_proj.weight, theirs.model.layers[1].mlp.down_proj.weight),
        (ours.model.embed_tokens.weight, theirs.model.embed_tokens.weight),
    ):
        stored = library.quants.quantize(exact.detach().numpy(), wanted)
        want = torch.from_numpy(np.array(library.quants.dequantize(stored, wanted), np.float32))
        assert torch.equal(have, want)
        assert not torch.equal(have, exact) and torch.allclose(have, exact, atol=0.05)


@pytest.mark.parametrize("kind", ["Q4_K", "Q5_K", "Q6_K"])
def test_blocks_of_256_that_only_llama_cpp_makes_are_read(tmp_path: Path, kind: str) -> None:
    config = ModelConfig(64, 256, 64, 1, 4, 2, 64, 64, model_type="qwen3")
    model = fresh_language_model(config, seed=1)
    wanted = library.GGMLQuantizationType[kind]
    size = library.GGML_QUANT_SIZES[wanted][1]
    generator = np.random.default_rng(3)
    blocks = generator.integers(0, 256, (64, 256 // 256 * size), dtype=np.uint8)
    scales = slice(size - 2, size) if kind == "Q6_K" else slice(0, 4)  # half floats: any byte would give NaN
    blocks[:, scales] = np.full((64, (scales.stop - scales.start) // 2), 0.01, np.float16).view(np.uint8)
    export_gguf(model, None, tmp_path / "f.gguf", "f32")
    source = library.GGUFReader(tmp_path / "f.gguf")
    writer = library.GGUFWriter(tmp_path / "k.gguf", "qwen3")
    for field in source.fields.values():
        if field.name.startswith("qwen3."):
            writer.add_key_value(field.name, field.contents(), field.types[0])
    for tensor in source.tensors:
        is_it = tensor.name == "token_embd.weight"
        writer.add_tensor(
            tensor.name, blocks if is_it else tensor.data, raw_dtype=wanted if is_it else tensor.tensor_type
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    have = load_language_model(tmp_path / "k.gguf").model.embed_tokens.weight.detach().numpy()
    assert np.isfinite(have).all() and have.std() > 0
    np.testing.assert_array_equal(have, library.quants.dequantize(blocks, wanted))


@pytest.mark.parametrize("kind", list(WRITABLE))
def test_each_type_that_we_write_comes_back_within_its_precision(tmp_path: Path, kind: str) -> None:
    model = fresh_language_model(ModelConfig(vocab_size=96, hidden_size=64, intermediate_size=72, head_dim=32), seed=2)
    export_gguf(model, None, tmp_path / "m.gguf", kind)
    types = {t.name: t.tensor_type.name for t in library.GGUFReader(tmp_path / "m.gguf").tensors}
    assert types["output_norm.weight"] == "F32"
    assert types["blk.0.attn_q.weight"] == WRITABLE[kind][0]
    # 72 columns are no blocks of 32
    assert types["blk.0.ffn_down.weight"] == ("F16" if kind == "q8_0" else WRITABLE[kind][0])
    again = load_language_model(tmp_path / "m.gguf")
    tolerance = {"f32": 0.0, "f16": 5e-4, "bf16": 4e-3, "q8_0": 5e-3}[kind]  # of the largest in a block of 32
    for name, parameter in again.named_parameters():
        exact = dict(model.named_parameters())[name]
        assert (parameter - exact).abs().max() <= tolerance * exact.abs().max(), name


def test_every_form_of_a_tensor_is_undone_by_its_opposite() -> None:
    mixed = ModelConfig(
        32,
        16,
        24,
        2,
        4,
        2,
        4,
        16,
        model_type="qwen3_moe",
        num_experts=3,
        num_experts_per_tok=1,
        moe_intermediate_size=8,
    )
    gpt2 = ModelConfig(
        32, 16, 24, 1, 4, 4, 4, 16, model_type="gpt2", norm="layer", qk_norm=False, attention_bias=True, output_bias=True,
        mlp_bias=True, gated_mlp=False, learned_positions=True, hidden_act="gelu_pytorch_tanh",
    )  # fmt: skip
    llama = dataclasses.replace(ModelConfig(32, 16, 24, 1, 4, 2, 4, 16), model_type="llama", qk_norm=False)
    forms = set()
    for config in (mixed, gpt2, llama):
        weights = dict(fresh_language_model(config, seed=1).named_parameters())
        for entry in entries(config):
            arrays = [weights.pop(name).detach().numpy() for name in entry.ours]
            for before, after in zip(arrays, split(entry, join(entry, arrays)), strict=True):
                np.testing.assert_array_equal(before, after)
            forms.add(entry.form)
        assert not weights, "every parameter has its place in the file"
    assert forms == {"plain", "rotary", "joined", "stacked"}


SCALINGS = [
    RopeScaling("linear", 4.0),
    RopeScaling("yarn", 4.0, 32),
    RopeScaling("yarn", 8.0, 16, beta_fast=16.0, attention_factor=1.25),
    RopeScaling("llama3", 8.0, 8192, low_freq_factor=1.0, high_freq_factor=4.0),
]


@pytest.mark.parametrize("scaling", SCALINGS, ids=lambda s: s.rope_type)
def test_rotary_scaling_survives_the_file(tmp_path: Path, scaling: RopeScaling) -> None:
    base = ModelConfig(32, 16, 24, 1, 4, 2, 64, 4096, rope_theta=500_000.0)
    config = dataclasses.replace(base, model_type="llama", qk_norm=False, rope_scaling=scaling)
    export_gguf(fresh_language_model(config, seed=1), None, tmp_path / "m.gguf", "f32")
    have = GgufFile(tmp_path / "m.gguf").config.rope_scaling
    assert have is not None
    for field in dataclasses.fields(scaling):
        have_value, want = getattr(have, field.name), getattr(scaling, field.name)
        assert have_value == want or abs(have_value / want - 1) < 1e-6, field.name


def test_llama3_factors_are_known_values_and_foreign_ones_are_refused() -> None:
    scaling = RopeScaling("llama3", 8.0, 8192, low_freq_factor=1.0, high_freq_factor=4.0)
    # waves of 1,024 positions turn 8 times in 8,192: above 4, kept; of 16,384 half a time: below 1, divided by 8;
    # of 3,277 they turn 2.5 times: halfway between, 1 / (0.5 / 8 + 0.5) = 16 / 9
    waves = np.array([1024.0, 8192 / 2.5, 16384.0])
    np.testing.assert_allclose(llama3_factors(scaling, waves), [1.0, 16 / 9, 8.0], rtol=1e-6)
    many = np.geomspace(6, 1e6, 32)
    assert llama3_scaling(llama3_factors(scaling, many), many) == scaling
    with pytest.raises(CheckpointError, match="rope_freqs"):
        llama3_scaling(np.linspace(1, 9, 32).astype(np.float32), many)


# Tokenizers


def model_of(tokenizer: Tokenizer) -> LanguageModel:
    config = ModelConfig(vocab_size=tokenizer.vocab_size, hidden_size=32, intermediate_size=48, head_dim=16)
    return fresh_language_model(config, seed=4)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    TOKENIZER.save(tmp_path / "tokenizer")
    export_gguf(model_of(TOKENIZER), tmp_path / "tokenizer", tmp_path / "m.gguf", "f32")
    return tmp_path / "m.gguf"


def test_a_model_of_ours_comes_back_whole_with_its_tokenizer(tmp_path: Path, exported: Path) -> None:
    import_gguf(exported, tmp_path / "back")
    assert Tokenizer.load(tmp_path / "back") == TOKENIZER
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    messages = [{"role": "user", "content": "法国的首都？"}]
    before = transformers.AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    have = theirs.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert have == before.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert "<|im_start|>user\n法国的首都？<|im_end|>" in have
    assert (theirs.eos_token_id, theirs.pad_token_id) == (TOKENIZER.im_end, TOKENIZER.pad)
    original = model_of(TOKENIZER)
    for name, parameter in hf.load_language_model(tmp_path / "back").named_parameters():
        assert torch.equal(parameter, dict(original.named_parameters())[name])


def test_our_own_pre_tokenizer_has_a_near_one_and_the_difference_is_said(tmp_path: Path) -> None:
    TOKENIZER.save(tmp_path)
    near = nearest_pre_tokenizer(json.loads((tmp_path / "tokenizer.json").read_text()))
    assert near.name == "smaug-bpe"
    assert set(near.other_ids) <= {PROBES[3], *PROBES[7:]}, "English, Chinese, code and spaces get the same ids"
    assert near.other_cuts
    warnings = export_gguf(model_of(TOKENIZER), tmp_path, tmp_path / "m.gguf", "q8_0")
    assert len(warnings) == 1 and "smaug-bpe" in warnings[0]


@pytest.mark.parametrize(
    ("pre", "name"),
    [
        (tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False), "gpt-2"),
        (
            tokenizers.pre_tokenizers.Sequence(
                [
                    tokenizers.pre_tokenizers.Digits(individual_digits=True),
                    tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
                ]
            ),
            "smollm",
        ),
    ],
    ids=["gpt-2", "smollm"],
)
def test_a_tokenizer_read_from_lists_alone_gives_the_ids_of_the_one_written(
    tmp_path: Path, pre: Any, name: str
) -> None:
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre, tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<|endoftext|>", "<|im_end|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(TEXTS, trainer)
    bpe.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))
    model = fresh_language_model(ModelConfig(vocab_size=512, hidden_size=32, intermediate_size=48, head_dim=16), seed=4)
    assert export_gguf(model, tmp_path, tmp_path / "m.gguf", "f16") == []
    file = GgufFile(tmp_path / "m.gguf")
    assert file.meta["tokenizer.ggml.pre"] == name
    assert file.meta["tokenizer.ggml.tokens"][-1] == "[PAD511]"
    lists = {k: v for k, v in file.meta.items() if k != "tokenizer.huggingface.json"}
    again = tokenizers.Tokenizer.from_str(tokenizer_files(lists, 512)["tokenizer.json"])
    for text in [*PROBES, *TEXTS[:3], "a<|im_end|>b"]:
        assert again.encode(text).ids == bpe.encode(text).ids, text
        assert again.decode(again.encode(text).ids) == bpe.decode(bpe.encode(text).ids)


def test_sentencepiece_scores_give_the_pieces_worked_by_hand() -> None:
    pieces = ["<unk>", "<s>", "</s>", *[f"<0x{b:02X}>" for b in range(256)], "▁", "a", "b", "ab", "▁a", "ba", "▁ab"]
    kinds = [2, 3, 3, *[6] * 256, *[1] * 7]
    #                                    ▁    a    b    ab   ▁a   ba   ▁ab
    scores = [0.0] * 3 + [0.0] * 256 + [-9.0, -8.0, -7.0, -1.0, -2.0, -0.5, -3.0]
    meta = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }
    bpe = tokenizers.Tokenizer.from_str(tokenizer_files(meta, len(pieces))["tokenizer.json"])
    # "aba" is read as ▁aba: ba (-0.5) is joined first, then ▁a (-2)
    assert bpe.encode("aba").tokens == ["<s>", "▁a", "ba"]
    # "ab" as ▁ab: ab (-1) before ▁a (-2), then ▁ab
    assert bpe.encode("ab").tokens == ["<s>", "▁ab"]
    # what is no piece is its bytes
    assert bpe.encode("é", add_special_tokens=False).tokens == ["▁", "<0xC3>", "<0xA9>"]
    assert bpe.decode(bpe.encode("ab é ab").ids) == "ab é ab"


def test_sentencepiece_goes_through_a_file_and_gives_the_same_ids(tmp_path: Path) -> None:
    pieces = ["<unk>", "<s>", "</s>", *[f"<0x{b:02X}>" for b in range(256)]]
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    bpe.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.Prepend("▁"), tokenizers.normalizers.Replace(" ", "▁")]
    )
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.Split("▁", "merged_with_next")  # as pieces of words are learnt
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=450, special_tokens=pieces, show_progress=False)
    bpe.train_from_iterator(TEXTS, trainer)
    bpe.pre_tokenizer = None
    data = json.loads(bpe.to_str())
    data["added_tokens"] = data["added_tokens"][:3]
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": False}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(named))
    size = len(data["model"]["vocab"])
    model = fresh_language_model(ModelConfig(size, 32, 48, 1, 4, 2, 16, 64), seed=4)
    export_gguf(model, tmp_path, tmp_path / "m.gguf", "f16")
    meta = {k: v for k, v in GgufFile(tmp_path / "m.gguf").meta.items() if k != "tokenizer.huggingface.json"}
    again = tokenizers.Tokenizer.from_str(tokenizer_files(meta, size)["tokenizer.json"])
    before = tokenizers.Tokenizer.from_str(json.dumps(data))
    for text in [*TEXTS[:3], "France is the best", "é 法国 ~"]:
        assert again.encode(text).ids == before.encode(text, add_special_tokens=False).ids
        assert again.decode(again.encode(text).ids) == text


# What is refused


def patched(source: Path, target: Path, **changes: Any) -> Path:
    """A copy of a file with fields changed, added, or taken away (None)."""
    reader = library.GGUFReader(source)
    fields = {n: (f.contents(), f.types) for n, f in reader.fields.items() if not n.startswith("GGUF.")}
    architecture = changes.pop("architecture", fields.pop("general.architecture")[0])
    writer = library.GGUFWriter(target, architecture)
    for name, (value, kinds) in fields.items():
        if name not in changes:
            writer.add_key_value(name, value, kinds[0], kinds[1] if len(kinds) > 1 else None)
    for name, value in changes.items():
        if isinstance(value, str):
            writer.add_string(name, value)
        elif value is not None:
            writer.add_uint32(name, value)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"architecture": "mamba"}, "'mamba' is not one"),
        ({"qwen3.rope.scaling.type": "longrope"}, "'longrope'"),
        ({"qwen3.block_count": 3}, r"lacks the tensor 'blk\.2\."),
        ({"qwen3.block_count": 1}, r"'blk\.1\.\w+\.weight' that its architecture does not use"),
        ({"qwen3.rope.dimension_count": 8}, "rope.dimension_count = 8"),
        ({"qwen3.embedding_length": None}, "lacks the field qwen3.embedding_length"),
        ({"tokenizer.ggml.model": "bert"}, "'bert'"),
        ({"tokenizer.ggml.pre": "viking", "tokenizer.huggingface.json": None}, "'viking'"),
        ({"tokenizer.ggml.merges": None, "tokenizer.huggingface.json": None}, "tokenizer.ggml.merges"),
    ],
)
def test_what_is_not_computed_here_is_refused_by_name(
    tmp_path: Path, exported: Path, changes: dict[str, Any], told: str
) -> None:
    small = fresh_language_model(dataclasses.replace(model_of(TOKENIZER).config, num_hidden_layers=2), seed=1)
    export_gguf(small, tmp_path / "tokenizer", exported, "f32")
    other = patched(exported, tmp_path / "other.gguf", **changes)
    with pytest.raises(CheckpointError, match=told):
        import_gguf(other, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_missing_cut_and_foreign_files_are_refused_in_one_sentence(tmp_path: Path, exported: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.gguf cannot be read"):
        load_language_model(tmp_path / "none.gguf")
    whole = exported.read_bytes()
    for cut in (b"GGUF", whole[:5000], whole[:-5000], b"PK" + whole):
        (tmp_path / "cut.gguf").write_bytes(cut)
        with pytest.raises(CheckpointError, match=r"cut\.gguf is (cut off or damaged|no GGUF file)"):
            load_language_model(tmp_path / "cut.gguf")
    with pytest.raises(ConfigError, match="did you mean 'q8_0'"):
        export_gguf(model_of(TOKENIZER), None, tmp_path / "x.gguf", "q8")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_type": "rwkv"}, "rwkv"),
        ({"model_type": "llama"}, "qk_norm"),
        ({"attention_bias": True}, "attention_bias"),
        ({"query_scale": 0.5}, "scales queries"),
        ({"rope_scaling": RopeScaling("dynamic", 2.0, 64)}, "dynamic"),
    ],
)
def test_a_model_that_the_file_cannot_hold_is_refused_and_nothing_is_written(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    config = dataclasses.replace(ModelConfig(96, 32, 48, 1, 4, 2, 16, 64), **changes)
    with pytest.raises(ConfigError, match=told):
        export_gguf(fresh_language_model(config, seed=1), None, tmp_path / "m.gguf", "f32")
    assert list(tmp_path.iterdir()) == []


def test_the_readable_types_are_those_that_the_library_can_turn_into_numbers() -> None:
    for name in READABLE:
        wanted = library.GGMLQuantizationType[name]
        block, size = library.GGML_QUANT_SIZES[wanted]
        assert library.quants.dequantize(np.zeros((2, size), np.uint8), wanted).shape in ((2, block), (2, 1), (2, 2))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 92871040\n",
            "a pointer of Git LFS to a file of 92871040",
        ),
        (b"<!DOCTYPE html><html>Repository not found</html>", "is a web page, perhaps of a download that failed"),
        (b"", "is empty"),
        (b"ggjt" + bytes(100), "does not begin with those letters"),
        (b"GGUF\x03\x00\x00\x00" + b"\xff" * 16 + bytes(40), "is cut off or damaged: it has 64 bytes"),
    ],
)
def test_what_is_no_whole_gguf_file_is_told_in_our_words(tmp_path, body, told):
    (tmp_path / "model.gguf").write_bytes(body)
    with pytest.raises(CheckpointError, match=told):
        GgufFile(tmp_path / "model.gguf")


def test_a_pointer_in_place_of_weights_is_told(tmp_path):
    from jielong.model.hf import Files

    (tmp_path / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:a\nsize 5\n")
    with pytest.raises(CheckpointError, match="fetch that with: git lfs pull"), Files(tmp_path):
        pass


@pytest.mark.parametrize("number", [1 << 20, 1 << 30, 1 << 40, (1 << 64) - 1])
@pytest.mark.parametrize("name", ["tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.merges"])
def test_a_count_beyond_the_file_is_refused_before_memory_is_taken(tmp_path, exported, name, number):
    small = fresh_language_model(dataclasses.replace(model_of(TOKENIZER).config, num_hidden_layers=1), seed=1)
    export_gguf(small, tmp_path / "tokenizer", exported, "f32")
    body = bytearray(exported.read_bytes())
    at = body.index(name.encode()) + len(name) + 8  # the name, the type of a list, the type of its items
    body[at : at + 8] = number.to_bytes(8, "little")
    (tmp_path / "damaged.gguf").write_bytes(body)
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="is cut off or damaged"):
        GgufFile(tmp_path / "damaged.gguf")
    assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"qwen3.block_count": 10_000_000}, "block_count"),
        ({"qwen3.block_count": 4000}, "lacks the tensor"),
        ({"qwen3.context_length": "long"}, "context_length"),
        ({"qwen3.attention.head_count": 0}, "num_attention_heads"),
        ({"tokenizer.ggml.eos_token_id": 5000}, "eos_token_id"),
        ({"tokenizer.chat_template": 3}, "chat_template"),
        ({"split.count": "two"}, "split.count"),
        ({"general.type": 1}, "general.type"),
    ],
)
def test_a_field_of_another_kind_or_size_is_refused_by_name(tmp_path, exported, changes, told):
    small = fresh_language_model(dataclasses.replace(model_of(TOKENIZER).config, num_hidden_layers=1), seed=1)
    export_gguf(small, tmp_path / "tokenizer", exported, "f32")
    other = patched(exported, tmp_path / "other.gguf", **changes)
    with pytest.raises(CheckpointError, match=told):
        import_gguf(other, tmp_path / "back")
