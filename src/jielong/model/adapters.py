"""Low-rank adapters: a frozen model, and beside each of its matrices W a small product B A that is trained instead.

LoRA (Hu et al. 2021): W x becomes W x + s B A x with A (r, in) drawn at random, B (out, r) zero and s = alpha / r, or
alpha / sqrt(r) (rank-stabilised, Kalajdzievski 2023). So an adapted model begins as the very function it was. Training,
checkpoints and saved files hold A and B alone; merging adds s B A into the weights, which are then an ordinary model for
the engine and for saving, and unmerging puts back the weights that were kept. Files are `adapter_files`' matter.

DoRA (Liu et al. 2024, arXiv 2402.09353) trains the length of each row as well: the weight is m V / |V| with V = W + s B A
and m (out,), which begins as the lengths of W's rows. As in the paper's section 4.3, no gradient goes through |V|.
"""
# B rows, T positions, N tokens of any leading shape, I inputs, O outputs, r rank.

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jielong.config import at_least, later
from jielong.errors import CheckpointError, ConfigError, did_you_mean
from jielong.model.quantised import QuantisedLinear, decoder_linears, full_weight, narrow, quantise, replace_module
from jielong.model.transformer import LanguageModel, Linear, ModelConfig, Transformer
from jielong.runs import derive_seed


@dataclass(frozen=True)
class AdapterConfig:
    """The matrices that get an adapter, its rank and strength, and the number type of the frozen ones."""

    rank: int = 16
    """The rank of the adapter's matrices: how much it can learn."""
    alpha: float = 32.0
    """The strength of the adapter, divided by its rank."""
    dropout: float = 0.0
    """The share of inputs that are dropped while training."""
    rank_stabilised: bool = False
    """Whether the strength is divided by the root of the rank instead."""
    # Last parts of names, such as q_proj or 0.mlp.up_proj; none: all linear maps of the layers.
    targets: tuple[str, ...] = ()
    # compute: in the dtype of the products, which changes no number; int8: a quarter of float32's memory.
    base: Literal["compute", "float32", "int8"] = "compute"
    decomposed: bool = later(False)
    """Whether the length of each row is trained apart from its direction (DoRA); a step takes longer."""

    def __post_init__(self) -> None:
        at_least(self, 1, "rank")
        if self.alpha <= 0:
            raise ConfigError(f"alpha is {self.alpha}; at 0 or below an adapter would change nothing")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout}; it must lie in [0, 1)")

    @property
    def scale(self) -> float:
        return self.alpha / (math.sqrt(self.rank) if self.rank_stabilised else self.rank)


class AdaptedLinear(nn.Module):
    """base(x) + scale * (drop(x) A^T) B^T in the dtype of x; A (r, I) and B (O, r) float32.

    Decomposed, each output is multiplied by its magnitude (O,) float32 over the length of its row.
    """

    lora_magnitude: nn.Parameter | None

    def __init__(self, base: nn.Module, config: AdapterConfig, seed: int) -> None:
        super().__init__()
        self.base = base
        inputs, outputs = cast(int, base.in_features), cast(int, base.out_features)
        generator = torch.Generator().manual_seed(seed)
        # Kaiming's uniform bound with a = sqrt(5), as linear layers are started: 1 / sqrt(inputs)
        bound = 1.0 / math.sqrt(inputs)
        self.lora_A = nn.Parameter(torch.rand(config.rank, inputs, generator=generator) * (2 * bound) - bound)
        self.lora_B = nn.Parameter(torch.zeros(outputs, config.rank))
        self.scale, self.dropout, self.is_on = config.scale, config.dropout, True
        self.row_keys: Tensor | None = None
        self.column_keys: Tensor
        keys = _draw_keys(inputs, generator) if config.dropout else torch.zeros(0, dtype=torch.long)
        self.register_buffer("column_keys", keys, persistent=False)
        lengths = nn.Parameter(self.row_lengths()) if config.decomposed else None
        self.register_parameter("lora_magnitude", lengths)

    def forward(self, x: Tensor) -> Tensor:
        """Return the base's output plus the adapter's, with dropout on the adapter's input while training."""
        out = cast(Tensor, self.base(x))
        if not self.is_on:
            return out
        dropped = x
        if self.row_keys is not None:
            keep = dropout_mask(self.row_keys[: x.shape[:-1].numel()], self.column_keys, self.dropout)
            dropped = torch.where(keep.view(x.shape), x / (1 - self.dropout), 0.0)
        change = F.linear(F.linear(dropped, self.lora_A.to(x.dtype)), self.lora_B.to(x.dtype)) * self.scale
        if self.lora_magnitude is None:
            return out + change
        # dropout acts on all that is trained, and the magnitude is: the base goes by it once whole, once dropped
        plain, bias = out if dropped is x else cast(Tensor, self.base(dropped)), cast("Tensor | None", self.base.bias)
        if bias is not None:
            plain = plain - bias.to(plain.dtype)
        ratio = self.ratio()
        # less 1 before it is rounded: near 1 bfloat16 has steps of 1/128
        return out + (ratio - 1).to(x.dtype) * plain + ratio.to(x.dtype) * change

    @property
    def weight(self) -> Tensor:
        """Return the effective weight (O, I), without dropout; heads are used as matrices, not called."""
        own = cast(Tensor, self.base.weight)
        return own + self.delta().to(own.dtype) if self.is_on else own

    def delta(self) -> Tensor:
        """Return the change that merging adds to the weight, (O, I) float32."""
        product = (self.lora_B @ self.lora_A) * self.scale
        if self.lora_magnitude is None:
            return product
        ratio = self.ratio()[:, None]
        return (ratio - 1) * full_weight(self.base) + ratio * product

    def ratio(self) -> Tensor:
        """Return the factor of each output of a decomposed map, (O,) float32: its magnitude over its row's length."""
        assert self.lora_magnitude is not None
        return self.lora_magnitude / self.row_lengths()

    @torch.no_grad()
    def row_lengths(self) -> Tensor:
        """Return the length of each row of W + s B A, (O,) float32, as a constant for gradients."""
        product = (self.lora_B @ self.lora_A) * self.scale
        lengths = torch.linalg.vector_norm(full_weight(self.base) + product, dim=1)
        return lengths.clamp_min(torch.finfo(lengths.dtype).tiny)  # a row of zeros has no direction

    def trained(self) -> dict[str, nn.Parameter]:
        """Return the adapter's parameters by their names in files."""
        found = {"lora_A.weight": self.lora_A, "lora_B.weight": self.lora_B}
        return found if self.lora_magnitude is None else found | {"lora_magnitude_vector": self.lora_magnitude}


def _draw_keys(count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(1 << 20, 1 << 31, (count,), generator=generator) | 1


def dropout_mask(row_keys_N: Tensor, column_keys_I: Tensor, dropout: float) -> Tensor:
    """Return (N, I) bool, False with probability `dropout`.

    Middle bits of the product of two random keys: the mask is a function of keys that are drawn outside of compiled
    code and follow from seed and step, so that a resumed run drops what an unbroken one drops.
    """
    bits = (row_keys_N[:, None] * column_keys_I) >> 22 & 0xFFFFF
    return bits >= round(dropout * (1 << 20))


class AdaptedModel(nn.Module):
    """A language model with frozen weights and trained adapters; it stands wherever a `LanguageModel` is trained.

    `base` is taken over: its linear maps are replaced in place. `state_dict` is that of the adapters alone, under the
    names of the maps that they belong to.
    """

    def __init__(self, base: LanguageModel, config: AdapterConfig, seed: int = 0) -> None:
        super().__init__()
        self.base, self.adapter, self.seed = base, config, seed
        self.draws = 0
        base.requires_grad_(False)
        if config.base == "int8":
            quantise(base)
        elif config.base == "compute":
            narrow(base, base.model.compute_dtype)
        self.linears: dict[str, AdaptedLinear] = {}
        for name, linear in chosen_linears(base, config.targets).items():
            self.linears[name] = AdaptedLinear(linear, config, derive_seed(seed, "adapter", name))
            replace_module(base, name, self.linears[name])
        self._kept: dict[str, nn.Parameter] = {}

    # As a language model ---------------------------------------------------------------------------------------------

    @property
    def config(self) -> ModelConfig:
        return self.base.config

    @property
    def model(self) -> Transformer:
        return self.base.model

    @property
    def head(self) -> Tensor:
        return self.base.head

    def forward(self, inputs: Tensor, positions: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """Return hidden states (B, T, C) float32. Dropout acts where gradients are made and `train` is on."""
        keys = None
        if self.adapter.dropout and self.training and torch.is_grad_enabled():
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "dropout", self.draws))
            self.draws += 1
            keys = _draw_keys(inputs.numel(), generator).to(inputs.device)
        for linear in self.linears.values():
            linear.row_keys = keys
        return cast(Tensor, self.base(inputs, positions, segments))

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of hidden states (..., C), in the compute dtype."""
        return self.base.logits(hidden)

    # The adapters ----------------------------------------------------------------------------------------------------

    @property
    def num_trained(self) -> int:
        """Parameters of all adapters together."""
        return sum(p.numel() for linear in self.linears.values() for p in linear.trained().values())

    @contextmanager
    def off(self) -> Iterator[None]:
        """Switch the adapters off while inside: the base model, bit for bit."""
        for linear in self.linears.values():
            linear.is_on = False
        try:
            yield
        finally:
            for linear in self.linears.values():
                linear.is_on = True

    @torch.no_grad()
    def merge(self, *, keep: bool = True) -> LanguageModel:
        """Add the adapters to the base's weights and return it: an ordinary frozen model, the same object as `base`.

        Without `keep` the old weights are given up, so that there is no way back. ConfigError where the weights are not
        float32 any more: the addition would be lost in their rounding.
        """
        assert not self._kept, "merged already"
        for name, linear in self.linears.items():
            inner = linear.base
            if not isinstance(inner, Linear) or inner.weight.dtype != torch.float32:
                kind = "int8" if isinstance(inner, QuantisedLinear) else str(inner.weight.dtype).removeprefix("torch.")
                raise ConfigError(
                    f"{name} is kept in {kind}, which cannot take up an adapter; open the base with base = 'float32' to merge"
                )
        for name, linear in self.linears.items():
            inner = cast(Linear, linear.base)
            if keep:
                self._kept[name] = cast(nn.Parameter, inner.weight)
            inner.weight = nn.Parameter(inner.weight + linear.delta(), requires_grad=False)
            replace_module(self.base, name, inner)
        return self.base

    def unmerge(self) -> None:
        """Restore the weights that `merge` kept, and the adapters beside them."""
        for name, weight in self._kept.items():
            linear = self.linears[name]
            cast(Linear, linear.base).weight = weight
            replace_module(self.base, name, linear)
        self._kept.clear()

    @torch.no_grad()
    def merged_state(self) -> dict[str, Tensor]:
        """Return the weights of the model with its adapters added in float32, as `LanguageModel.state_dict` names them.

        Nothing of the model changes, so an engine can be given what the training has come to.
        """
        state = {name: t for name, t in self.base.state_dict().items() if name.rpartition(".")[0] not in self.linears}
        for name, linear in self.linears.items():
            inner = {key: state.pop(f"{name}.base.{key}") for key in linear.base.state_dict()}
            scale = inner.pop("scale", None)
            weight = inner["weight"].float()
            state |= {f"{name}.{key}": tensor for key, tensor in inner.items()}
            state[f"{name}.weight"] = (weight if scale is None else weight * scale[:, None]) + linear.delta()
        return state

    # State -----------------------------------------------------------------------------------------------------------

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return the name of the map -> its adapter's parameters, and how often dropout was drawn."""
        del args, kwargs
        state = {
            f"{name}.{part}": parameter.detach()
            for name, linear in self.linears.items()
            for part, parameter in linear.trained().items()
        }
        return {**state, "draws": torch.tensor(self.draws)}

    @torch.no_grad()
    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load the adapters of a state; CheckpointError names one that is missing, left over or of another shape."""
        del args, kwargs
        state = dict(state_dict)
        self.draws = int(state.pop("draws", 0))
        for name, linear in self.linears.items():
            for part, parameter in linear.trained().items():
                key = f"{name}.{part}"
                if key not in state:
                    raise CheckpointError(f"the adapter lacks {key!r}")
                tensor = state.pop(key)
                if tensor.shape != parameter.shape:
                    have, want = tuple(tensor.shape), tuple(parameter.shape)
                    raise CheckpointError(f"the adapter's {key} has shape {have}; this model and rank ask for {want}")
                parameter.copy_(tensor)
        if state:
            raise CheckpointError(f"the adapter has {sorted(state)[0]!r}, for which this model has no place")


def weights_of(model: nn.Module) -> Mapping[str, Tensor]:
    """Return a language model's weights for an engine; of an adapted one with the adapters merged."""
    return model.merged_state() if isinstance(model, AdaptedModel) else model.state_dict()


def chosen_linears(model: LanguageModel, targets: Iterable[str]) -> dict[str, nn.Module]:
    """Return the linear maps whose names end in one of `targets`, by name; all of the layers when none is named.

    ConfigError for a target that fits no map.
    """
    every = decoder_linears(model)
    if hasattr(model, "lm_head"):
        every["lm_head"] = model.lm_head
    targets = tuple(targets)
    if not targets:
        return {name: linear for name, linear in every.items() if name != "lm_head"}
    for target in targets:
        if not any(ends_in(name, target) for name in every):
            known = dict.fromkeys(name.rpartition(".")[2] for name in every)
            raise ConfigError(f"no linear map is called {target!r}; {did_you_mean(target, known)}")
    return {name: linear for name, linear in every.items() if any(ends_in(name, t) for t in targets)}


def ends_in(name: str, target: str) -> bool:
    return name == target or name.endswith("." + target)
