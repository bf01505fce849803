"""Graphics cards: what a measurement says of one, and the peaks that its maker publishes."""

from __future__ import annotations

import re
import subprocess

import torch

from benchmarks import claims

_DENSE_BF16 = {
    r"H100 80GB HBM3": 989.4,  # H100 Tensor Core GPU data sheet, SXM; half of the figure with sparsity
    r"H100 PCIe": 756.0,  # the same, PCIe
    r"H200(?! NVL)": 989.4,  # H200 Tensor Core GPU data sheet, SXM
    r"A100": 312.0,  # A100 Tensor Core GPU data sheet
}


def peak_tflops(name: str) -> float | None:
    """Returns the published dense bfloat16 peak of a card by torch's name of it, in 10¹² operations a second."""
    return next((peak for pattern, peak in _DENSE_BF16.items() if re.search(pattern, name)), None)


def hardware(device: torch.device) -> str:
    """Returns ``device`` in words: the processor, or the card with its driver and the CUDA version of torch."""
    if device.type != "cuda":
        return claims.hardware()
    name = torch.cuda.get_device_name(device)
    return f"{name}, driver {_driver()}, CUDA {torch.version.cuda}; {claims.hardware()}"


def peak_memory(device: torch.device) -> int | None:
    """Returns the bytes that torch held at most on a card since :func:`forget_peak`; ``None`` on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def forget_peak(device: torch.device) -> None:
    """Begins to watch the memory of a card anew."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def wait(device: torch.device) -> None:
    """Returns when ``device`` has done all that it was asked to: a clock is read after this."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"
