"""A data set in the layout of a folder: ten classes of 32 × 32 noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core import pictures, rng


def write_noise_pictures(root: Path, *, train: int, test: int, seed: int = 1) -> Path:
    """Writes ``train`` and ``test`` pictures of each class; returns ``root``."""
    for split, count in (("train", train), ("test", test)):
        for number in range(10):
            folder = root / split / f"class{number}"
            folder.mkdir(parents=True)
            for index in range(count):
                noise = rng.numpy_generator(seed, split, number, index).integers(0, 256, (32, 32, 3), dtype=np.uint8)
                (folder / f"{index}.png").write_bytes(pictures.encode_png(noise))
    return root
