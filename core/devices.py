"""Where to compute, and how to get the same numbers twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

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
    """Has torch use algorithms that give the same numbers on every run of one machine; restores what was set."""
    before = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = benchmark


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Returns the context in which forward passes run in ``precision``; sums, losses and budgets stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
