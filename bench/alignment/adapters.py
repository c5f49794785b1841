"""Whether adapters are PEFT's: logits of ours opened there, of theirs opened here, and of both merged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from torch import Tensor, nn

from bench.alignment.setting import Setting
from bench.rows import Row
from jielong.model import adapter_files, hf
from jielong.model.adapters import AdaptedModel, AdapterConfig
from jielong.model.config import ModelConfig
from jielong.model.transformer import LanguageModel, fresh_language_model

SEEDS = 3
BOUND = 1e-5
KINDS = {
    "LoRA": {},
    "rsLoRA": {"rank_stabilised": True},
    "DoRA": {"decomposed": True},
    "DoRA with rsLoRA's strength": {"decomposed": True, "rank_stabilised": True},
}
SHAPE = ModelConfig(
    vocab_size=128,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=64,
)


def base_in(folder: Path, family: str, seed: int) -> Path:
    """Write a small base model of a family."""
    folder.mkdir(parents=True, exist_ok=True)
    if family == "Qwen3":
        hf.save(fresh_language_model(SHAPE, seed), folder, eos_token_id=3, pad_token_id=1)
    else:
        torch.manual_seed(seed)
        small = {"vocab_size": 128, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 2}
        transformers.GPT2LMHeadModel(transformers.GPT2Config(**small, bos_token_id=0, eos_token_id=0)).save_pretrained(
            folder
        )
    return folder


def disturb(model: nn.Module, generator: torch.Generator) -> None:
    """Move all adapters of a model away from their start, lengths of rows included."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
            if "lora_magnitude" in name:
                parameter.mul_(0.7 + 0.6 * torch.rand(parameter.shape, generator=generator))


def _ours(model: Any, inputs: Tensor) -> Tensor:
    logits: Tensor = model.logits(model(inputs))
    return logits.float()


@torch.no_grad()
def differences(folder: Path, family: str, changes: dict[str, Any], seed: int) -> dict[str, float]:
    """Return the largest difference of logits: of ours opened by PEFT, of PEFT's opened by us, and of ours merged."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(0, 128, (3, 24), generator=generator)
    base = base_in(folder / "base", family, seed)

    def fresh() -> LanguageModel:
        return hf.load_language_model(base)

    def theirs_on_base() -> Any:
        return transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)

    ours = AdaptedModel(fresh(), AdapterConfig(rank=3, alpha=5.0, base="float32", **changes), seed)
    disturb(ours, generator)
    mine, other = folder / "ours", folder / "theirs"
    mine.mkdir(exist_ok=True)
    adapter_files.save(ours, mine, str(base))
    expected = _ours(ours, inputs)
    opened = peft.PeftModel.from_pretrained(theirs_on_base(), str(mine)).eval()
    config = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        use_dora=bool(changes.get("decomposed")),
        use_rslora=bool(changes.get("rank_stabilised")),
        fan_in_fan_out=family == "GPT-2",
    )
    theirs = peft.get_peft_model(theirs_on_base(), config).eval()
    disturb(theirs, generator)
    theirs.save_pretrained(other)
    found = {
        "ours opened by PEFT": (opened(inputs).logits, expected),
        "PEFT's opened here": (_ours(adapter_files.load(other, fresh()), inputs), theirs(inputs).logits),
        "ours merged": (_ours(ours.merge(), inputs), expected),
    }
    return {name: float((one - two).abs().max()) for name, (one, two) in found.items()}


def rows(setting: Setting) -> Iterator[Row]:
    """A row for each kind, family and direction: the largest difference over all seeds."""
    for kind, changes in KINDS.items():
        for family in ("Qwen3", "GPT-2"):
            worst: dict[str, float] = {}
            for seed in setting.seeds:
                folder = setting.folder / f"{kind}-{family}-{seed}".replace(" ", "-").replace("'", "")
                for name, value in differences(folder, family, changes, seed).items():
                    worst[name] = max(worst.get(name, 0.0), value)
            for name, value in worst.items():
                told = f"{kind}, {family}, PEFT {peft.__version__}, {name}: largest difference of logits"
                yield Row(told, f"at most {BOUND:g}", value, value <= BOUND, seeds=setting.seeds)
