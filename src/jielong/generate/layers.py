"""The layers of a packed model: norms folded into the matrices after them, and maps of one input joined.

A norm's gain and shift (and sqrt(C), and the scale of the scores) are multiplied into the weights; query, key and value
maps are one matrix, and so are gate and up. The two numbers of a rotary pair are adjacent, and rotate as one complex
number.
"""
# N tokens of all rows, flattened, C hidden width, D width of one head, H query heads, K key/value heads, E experts.

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from jielong.generate.matrices import KeptMatrix, PackedLinear, store_in_place
from jielong.model.transformer import ModelConfig, activation, mix


class Weights:
    """The float32 tensors of one submodule in a state dict, by their names below its prefix."""

    def __init__(self, state: Mapping[str, Tensor], prefix: str, config: ModelConfig, device: torch.device) -> None:
        self.state, self.prefix, self.config, self.device = state, prefix, config, device

    def part(self, prefix: str) -> Weights:
        return Weights(self.state, self.prefix + prefix, self.config, self.device)

    def __getitem__(self, name: str) -> Tensor:
        return self.state[self.prefix + name].to(self.device, torch.float32)

    def get(self, name: str) -> Tensor | None:
        return self[name] if self.prefix + name in self.state else None

    def gain(self, norm: str) -> Tensor:
        return self[f"{norm}.weight"] + self.config.norm_offset if self.config.norm_offset else self[f"{norm}.weight"]

    def fold_norm_into(self, norm: str, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Fold a norm's gain and shift into the linear map after it, so that only the normalisation remains."""
        shift = self.get(f"{norm}.bias")
        if shift is not None:
            bias = weight @ shift if bias is None else bias + weight @ shift
        return weight * (self.gain(norm) * math.sqrt(self.config.hidden_size)), bias

    def stacked(self, *names: str) -> tuple[Tensor, Tensor | None]:
        """Join several linear maps of the same input into one."""
        weight, bias = torch.cat([self[f"{name}.weight"] for name in names]), None
        if f"{self.prefix}{names[0]}.bias" in self.state:
            bias = torch.cat([self[f"{name}.bias"] for name in names])
        return weight, bias


class UnitNorm:
    """x / sqrt(sum of squares + width * eps) over the last axis: RMSNorm without its factor sqrt(width), which is
    folded into the weights.
    """

    def __init__(self, width: int, eps: float, device: torch.device) -> None:
        self.eps, self.is_on_gpu = eps, device.type == "cuda"
        self.floor = torch.tensor(math.sqrt(width * eps), device=device)
        self.share = torch.full((width,), width**-0.5, device=device)

    def __call__(self, x: Tensor) -> Tensor:
        if self.is_on_gpu:  # one kernel
            return F.rms_norm(x, x.shape[-1:], self.share, self.eps)
        return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).hypot_(self.floor)

    def centred(self, x: Tensor) -> Tensor:
        """Normalise x - mean(x), for LayerNorm."""
        return (
            F.layer_norm(x, x.shape[-1:], self.share, eps=self.eps)
            if self.is_on_gpu
            else self(x - x.mean(-1, keepdim=True))
        )


class PackedFeedForward:
    """A packed feed-forward block, or one expert, with the norm before it."""

    def __init__(self, config: ModelConfig, linear: Callable[[], KeptMatrix]) -> None:
        self.names = ("gate_proj", "up_proj") if config.gated_mlp else ("up_proj",)
        self.hidden_act = config.hidden_act
        self.up, self.down = linear(), linear()

    def load(self, layer: Weights, norm: str, prefix: str = "mlp.") -> None:
        mlp = layer.part(prefix)
        self.up.load(*layer.fold_norm_into(norm, *mlp.stacked(*self.names)))
        self.down.load(*mlp.stacked("down_proj"))

    def __call__(self, x: Tensor) -> Tensor:
        if len(self.names) == 1:
            return self.down(activation(self.up(x), self.hidden_act))
        gate, up = self.up(x).chunk(2, dim=-1)
        return self.down(activation(gate, self.hidden_act).mul_(up))


class PackedMixture:
    """A packed mixture of experts: the router, in float32, and the experts."""

    def __init__(self, config: ModelConfig, linear: Callable[[], KeptMatrix], device: torch.device) -> None:
        self.num_chosen, self.is_normalised = config.num_experts_per_tok, config.norm_topk_prob
        self.router = PackedLinear(torch.float32, device)
        self.experts = [PackedFeedForward(config, linear) for _ in range(config.num_experts)]

    def load(self, layer: Weights, norm: str) -> None:
        self.router.load(*layer.fold_norm_into(norm, layer["mlp.gate.weight"], None))
        for index, expert in enumerate(self.experts):
            expert.load(layer, norm, f"mlp.experts.{index}.")

    def __call__(self, x: Tensor) -> Tensor:
        return mix(x, self.router(x.float()), self.experts, self.num_chosen, self.is_normalised)


class PackedLayer:
    """One layer's packed weights."""

    after_attention: Tensor
    after_mlp: Tensor

    def __init__(self, config: ModelConfig, index: int, linear: Callable[[], KeptMatrix], device: torch.device) -> None:
        self.config, self.rope = config, config.rope_of(index)
        self.qkv, self.o = linear(), linear()
        self.mlp = PackedMixture(config, linear, device) if config.num_experts else PackedFeedForward(config, linear)
        heads = config.num_attention_heads + config.num_key_value_heads
        self.qk_gain = torch.ones(heads, config.head_dim, device=device)

    def load(self, layer: Weights) -> None:
        """Fold norms and scales into the layer's weights, and lay rotary pairs side by side."""
        config = self.config
        D, H, K = config.head_dim, config.num_attention_heads, config.num_key_value_heads
        # halves layout (i, i + D/2) to pairs side by side
        pairs = torch.arange(D, device=self.qk_gain.device).view(2, D // 2).T.flatten()
        rows = torch.arange((H + 2 * K) * D, device=self.qk_gain.device)
        rows[: (H + K) * D] = rows[: (H + K) * D].view(H + K, D)[:, pairs].flatten()
        weight, bias = layer.stacked("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
        weight, bias = weight[rows], None if bias is None else bias[rows]
        if config.qk_norm:
            # of the norm's sqrt(D) and the scores' scale, usually 1/sqrt(D), the queries take both, the keys one
            self.qk_gain[:H] = layer.gain("self_attn.q_norm")[pairs] * (math.sqrt(D) * config.score_scale)
            self.qk_gain[H:] = layer.gain("self_attn.k_norm")[pairs] * math.sqrt(D)
        else:
            weight[: H * D] *= config.score_scale
            if bias is not None:
                bias[: H * D] *= config.score_scale
        self.qkv.load(*layer.fold_norm_into("input_layernorm", weight, bias))
        self.o.load(*layer.stacked("self_attn.o_proj"))
        self.mlp.load(layer, "pre_feedforward_layernorm" if config.sandwich_norms else "post_attention_layernorm")
        if config.sandwich_norms:
            for name, norm in (("after_attention", "post_attention"), ("after_mlp", "post_feedforward")):
                store_in_place(self, name, layer.gain(f"{norm}_layernorm") * math.sqrt(config.hidden_size))
