"""The floating-point work of a step and its convolutions, recorded as they are called, and each timed alone."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from benchmarks.gpu.peak import device_seconds
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

__all__ = ["Recorder", "alone_seconds", "searching"]

aten = torch.ops.aten
CONVOLUTIONS = (aten.convolution.default, aten.convolution_backward.default)


@dataclass(frozen=True)
class Like:
    """What makes two tensors alike to a convolution."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    def filled(self, device: torch.device) -> torch.Tensor:
        """A random tensor like it."""
        if 0 in self.stride:  # expanded from a scalar: what cannot be filled is made whole
            return torch.randn(self.shape, dtype=self.dtype, device=device)
        tensor = torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=device)
        return tensor.normal_()


Call = tuple[Any, tuple[Any, ...]]
"""An operator and its arguments, tensors as `Like`."""


class Recorder(TorchDispatchMode):
    """Counts the work and the convolutions that are called while it is open, forward and backward.

    `FlopCounterMode` does the same for the work, but follows modules, which `torch.autograd.grad` does not allow.

    Attributes:
        flop: Floating-point operations of convolutions and matrix products.
        calls: How often each convolution was called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flop = 0
        self.calls: Counter[Call] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Note what is called, and let it happen."""
        if func in CONVOLUTIONS:
            self.calls[func, tuple(frozen(argument) for argument in args)] += 1
        out = func(*args, **(kwargs or {}))
        counted = flop_registry.get(func.overloadpacket)
        if counted is not None:
            self.flop += counted(*args, **(kwargs or {}), out_val=out)
        return out


def frozen(argument: Any) -> Any:
    """An argument that can be counted."""
    if isinstance(argument, torch.Tensor):
        return Like(tuple(argument.shape), tuple(argument.stride()), argument.dtype)
    return tuple(argument) if isinstance(argument, list) else argument


def alone_seconds(calls: Counter[Call], device: torch.device, rounds: int) -> Iterator[tuple[Call, int, float]]:
    """Time each kind of call on random tensors, the largest first.

    Yields:
        The call, how often it is made, and the median seconds of one.
    """

    def elements(item: tuple[Call, int]) -> int:
        (_, arguments), count = item
        return count * sum(torch.Size(one.shape).numel() for one in arguments if isinstance(one, Like))

    for call, count in sorted(calls.items(), key=elements, reverse=True):
        yield call, count, statistics.median(device_seconds(replay(call, device), device, rounds))


def replay(call: Call, device: torch.device) -> Callable[[], object]:
    """The call with tensors of its own."""
    operator, arguments = call
    given = [one.filled(device) if isinstance(one, Like) else one for one in arguments]
    given = [list(one) if isinstance(one, tuple) else one for one in given]
    return lambda: operator(*given)


@contextmanager
def searching(wanted: bool) -> Iterator[None]:
    """Let cuDNN try all its algorithms for each new shape and keep the best, or choose by rule."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = wanted
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
