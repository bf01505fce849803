"""Random numbers are made from (seed, purpose) and from nothing else.

A stream is named by the seed of the study or run and by what it is for, such as ``("attack", epoch, batch)``.
There is no state to save: whoever knows the name can make the stream again. See docs/adr/0004.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, *purpose: str | int) -> int:
    """Returns a 63-bit seed for one purpose: the head of SHA-256 over the seed and the purpose's parts."""
    name = "\x1f".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def numpy_generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Returns a NumPy generator (PCG64) for one purpose."""
    return np.random.Generator(np.random.PCG64(derive(seed, *purpose)))
