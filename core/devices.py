"""Where to compute, and how to get the same numbers twice."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch

from core.errors import MachineError

Precision = Literal["float32", "bfloat16"]


def pick(name: Literal["auto", "cpu", "cuda"] = "auto") -> torch.device:
    """Returns the device of that name; ``"auto"`` is a GPU if there is one.

    Raises:
        MachineError: a GPU was asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise MachineError("--device cuda: expected a GPU, found none; use --device cpu")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


@contextmanager
def deterministic() -> Iterator[None]:
    """Has torch use algorithms that give the same numbers on every run of one machine, and float32 be float32.

    Restores what was set.
    """
    before = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=True)
    torch.backends.cudnn.benchmark = False
    try:
        with exact_float32():
            yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = benchmark


@contextmanager
def exact_float32() -> Iterator[None]:
    """Has GPUs compute float32 in float32, and not in TensorFloat-32 (10 bits of mantissa), as convolutions else do.

    Restores what was set. The old switches go first: torch refuses to read them where only the new ones were set.
    """
    before = [place.fp32_precision for place in _places_of_float32()]
    _set_float32(["ieee"] * len(before))
    try:
        yield
    finally:
        _set_float32(before)


def _places_of_float32() -> tuple[Any, ...]:
    cudnn: Any = torch.backends.cudnn  # the stub lacks its parts
    return cudnn.conv, cudnn.rnn, torch.backends.cuda.matmul


def _set_float32(precisions: Sequence[str]) -> None:
    torch.backends.cudnn.allow_tf32 = precisions[0] == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = precisions[2] == "tf32"
    for place, precision in zip(_places_of_float32(), precisions, strict=True):
        place.fp32_precision = precision


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Returns the context in which forward passes run in ``precision``; sums, losses and budgets stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def memory_format(*, channels_last: bool) -> torch.memory_format:
    """Returns how pictures and weights lie in memory."""
    return torch.channels_last if channels_last else torch.contiguous_format


def fits(tensor: torch.Tensor, device: torch.device) -> bool:
    """Returns whether ``tensor`` may be kept on ``device`` for good: it takes at most half of the memory free there."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return tensor.numel() * tensor.element_size() <= free // 2


def out_of_memory(error: RuntimeError) -> bool:
    """Returns whether torch ran out of memory, on a GPU or on the CPU (whose allocator has no error of its own)."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
