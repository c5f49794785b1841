"""A GPU for machines without one: tensors that say "cuda", keep to CUDA's rules, and are computed on the CPU.

`python -m pytest -p tests.pretend_gpu FILE` runs FILE's tests with it. Real are the numbers and the rules that code for
GPUs breaks most easily: operands lie on one device, a captured graph waits for nobody, copies nothing to or from the CPU,
and reads and writes, when it is replayed, the memory that it was captured with; deterministic products want cuBLAS to be
told so. Not real are speed, memory, streams and the rounding of CUDA's own kernels.

It has to be loaded before torch, hence a process of its own. Needs a C++ compiler.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any


def _load_before_torch() -> None:
    assert "torch" not in sys.modules, "load this with pytest's -p"
    source = Path(__file__).with_suffix(".cpp")
    spec = importlib.util.find_spec("torch")
    assert spec is not None and spec.origin is not None
    torch_path = Path(spec.origin).parent
    for_this = f"{torch_path} {importlib.metadata.version('torch')}".encode()
    digest = hashlib.blake2b(source.read_bytes() + for_this, digest_size=8).hexdigest()
    built = Path(tempfile.gettempdir()) / f"pretend_gpu_{os.getuid()}_{digest}.so"
    if not built.exists():
        aside = built.with_suffix(f".{os.getpid()}")
        libraries = ["-L", torch_path / "lib", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{torch_path / 'lib'}"]
        flags = ["-std=c++20", "-shared", "-fPIC", "-I", torch_path / "include"]
        subprocess.run(["g++", *flags, source, "-o", aside, *libraries], check=True)
        aside.replace(built)
    ctypes.CDLL(str(built), ctypes.RTLD_GLOBAL)


_load_before_torch()

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing  # noqa: E402
from torch.utils._pytree import tree_map  # noqa: E402

aten = torch.ops.aten
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
WAITS = {aten._local_scalar_dense, aten.equal, aten.nonzero, aten.masked_select, aten.unique_dim, aten._unique2}
"""What the CPU waits for: numbers, and shapes that depend on numbers."""
PRODUCTS = {aten.mm, aten.bmm, aten.addmm, aten.baddbmm}
INDEXED = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
"""Their indices may lie on the CPU."""
TOO_LARGE = 2**34
"""Multiplications of a product that is taken as done: nothing but the measurement of a machine is so large."""


class GpuTensor(Tensor):
    """Says that it lies on the GPU; its numbers are those of `elem`."""

    elem: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, elem: Tensor) -> GpuTensor:
        made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, elem.size(), elem.stride(), elem.storage_offset(), dtype=elem.dtype, device=GPU
        )
        made.elem = elem
        return made

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def new_tensor(self, data: Any, **options: Any) -> Tensor:  # type: ignore[override]
        return torch.tensor(data, **{"dtype": self.dtype, "device": self.device} | options)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.cpu().__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class Pretend(TorchDispatchMode):
    """Sees every operation, those that make a tensor of nothing too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _each(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """`value` with its tensors changed, which may stand in lists."""
    if isinstance(value, Tensor):
        return change(value)
    return type(value)(_each(item, change) for item in value) if isinstance(value, list | tuple) else value


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _elem(tensor: Tensor) -> Tensor:
    return tensor.elem if isinstance(tensor, GpuTensor) else tensor


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [*_tensors(args), *_tensors(kwargs.values())]
    is_on_gpu = [isinstance(tensor, GpuTensor) for tensor in tensors]
    has_gpu = any(is_on_gpu)
    device = kwargs.get("device")
    device = None if device is None else torch.device(device)
    packet = func.overloadpacket
    if packet is aten._fused_sdp_choice and has_gpu:
        return 0  # the plain formula: the fused kernels of the CPU would not do for others
    crosses = packet is aten._to_copy and device is not None and has_gpu != (device.type == "cuda")
    crosses |= packet is aten.copy_ and len(set(is_on_gpu)) == 2
    if has_gpu or crosses:
        _check_rules(func, packet, tensors, is_on_gpu, crosses)
    if device is not None and device.type == "cuda":
        kwargs = {**kwargs, "device": CPU}
    plain_args = _each(args, _elem)
    plain_kwargs = {name: _each(value, _elem) for name, value in kwargs.items()}
    if packet is aten.mm and plain_args[0].numel() * plain_args[1].shape[1] > TOO_LARGE:
        out = plain_args[0].new_zeros(len(plain_args[0]), plain_args[1].shape[1])
    else:
        out = func(*plain_args, **plain_kwargs)
    if not (has_gpu if device is None else device.type == "cuda"):
        return out
    if Graph.under_way is not None:
        Graph.under_way.note(func, plain_args, plain_kwargs, out)
    wrapped = _each(out, GpuTensor)
    return return_and_correct_aliasing(func, args, kwargs, wrapped) if has_gpu else wrapped


def _check_rules(func: Any, packet: Any, tensors: list[Tensor], is_on_gpu: list[bool], crosses: bool) -> None:
    """Raise what CUDA would raise."""
    if not crosses and packet not in INDEXED:
        for tensor, is_there in zip(tensors, is_on_gpu, strict=True):
            if not is_there and tensor.dim():
                raise RuntimeError(
                    f"Expected all tensors to be on the same device: {func} got {tensor.shape} on the CPU"
                )
    if packet in PRODUCTS and torch.are_deterministic_algorithms_enabled():
        if "CUBLAS_WORKSPACE_CONFIG" not in os.environ:
            raise RuntimeError("Deterministic behavior was enabled, but CUBLAS_WORKSPACE_CONFIG is not :4096:8")
    if Graph.under_way is not None:
        picks = packet in INDEXED and any(t.dtype == torch.bool for t in tensors[1:])
        if crosses or picks or packet in WAITS or not all(is_on_gpu):
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")


class Graph:
    """What was done on the GPU while it was captured, to be done again in the same memory."""

    under_way: Graph | None = None

    def __init__(self) -> None:
        self.steps: list[tuple[Any, Any, Any, list[Tensor | None]]] = []
        self.replays = 0

    def note(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """What was done, and which tensors it made: not those that are in the memory of what it was given."""
        given = {t.untyped_storage().data_ptr() for t in (*_tensors(args), *_tensors(kwargs.values()))}
        made = [None if t.untyped_storage().data_ptr() in given else t for t in _tensors([out])]
        self.steps.append((func, args, kwargs, made))

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        for func, args, kwargs, made in self.steps:
            for place, new in zip(made, _tensors([func(*args, **kwargs)]), strict=True):
                if place is not None:
                    place.copy_(new)

    def spoil(self) -> None:
        """A captured pass has not run: what it would have made is not there yet."""
        for *_, made in self.steps:
            for tensor in made:
                if tensor is not None and tensor.is_floating_point():
                    tensor.fill_(torch.nan)


@contextlib.contextmanager
def capture(graph: Graph, **_: Any) -> Iterator[None]:
    Graph.under_way = graph
    try:
        yield
    finally:
        Graph.under_way = None
    graph.spoil()


class Stream:
    """The one stream that there is."""

    def wait_stream(self, other: Stream) -> None: ...

    def synchronize(self) -> None: ...


def _nothing(*args: Any, **kwargs: Any) -> None: ...


def _instead(**replacements: Callable[..., Any] | type) -> None:
    for name, value in replacements.items():
        assert hasattr(torch.cuda, name), name
        setattr(torch.cuda, name, value)


_instead(
    _lazy_init=_nothing,
    is_available=lambda: True,
    is_initialized=lambda: True,
    device_count=lambda: 1,
    current_device=lambda: 0,
    synchronize=_nothing,
    empty_cache=_nothing,
    mem_get_info=lambda *_: (8 << 30, 16 << 30),
    get_device_capability=lambda *_: (9, 0),
    get_device_name=lambda *_: "pretended",
    CUDAGraph=Graph,
    graph=capture,
    graph_pool_handle=lambda: (0, 0),
    Stream=Stream,
    current_stream=lambda *_: Stream(),
    stream=lambda _: contextlib.nullcontext(),
)
torch.accelerator.synchronize = _nothing  # type: ignore[assignment]


def _moved_after(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`torch.tensor` copies to its device by itself, unseen by the mode."""

    def made(data: Any, *, device: Any = None, **options: Any) -> Tensor:
        tensor = make(data, **options)
        return tensor if device is None else tensor.to(device)

    return made


def _loaded_then_moved(load: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.load` fills memory of the device itself."""

    def loaded(*args: Any, map_location: Any = CPU, **options: Any) -> Any:
        found = load(*args, map_location=CPU, **options)
        return tree_map(lambda value: value.to(map_location) if isinstance(value, Tensor) else value, found)

    return loaded


Tensor.pin_memory = lambda tensor, device=None: tensor  # type: ignore[assignment,method-assign]
torch.load = _loaded_then_moved(torch.load)
torch.tensor = _moved_after(torch.tensor)  # type: ignore[assignment]
torch.__future__.set_overwrite_module_params_on_conversion(True)  # a parameter on the GPU is another kind of object
torch.inference_mode = torch.no_grad  # type: ignore[assignment,misc]  # there, operations come before they are taken apart
Pretend().__enter__()
