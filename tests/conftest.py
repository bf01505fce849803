"""Fixtures that several levels share: small real stimulus sets, made of photographs with bounded noise."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the nets of the tests are tiny; set before torch is imported

import numpy as np
import pytest
import skimage.data
from hypothesis import settings

from core import files, pictures, rng
from core.manifest import SCHEMA_VERSION, SetRecord, Stimulus, png_name, seal

settings.register_profile("percepsilon", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("percepsilon")

EPS = (0, 1, 2, 4, 8, 16, 32)
RUNS = {"standard": "standard", "pgd-at": "pgd-at", "sip-at": "sip-at"}


def build_stimulus_set(directory: Path, *, sources: int = 60, size: int = 32, seed: int = 1) -> Path:
    """Writes a stimulus set: patches of three photographs, perturbed by ±ε noise in place of an attack."""
    stimuli = [row for source in range(sources) for row in _source_rows(directory, source, size, seed)]
    record = SetRecord(
        schema_version=SCHEMA_VERSION, name=directory.name, seed=seed, eps=EPS, runs=tuple(RUNS),
        attacks=("noise",), sources=sources, stimuli=0, manifest_sha256="",
    )  # fmt: skip
    seal(directory, stimuli, record)
    return directory


def _source_rows(directory: Path, source: int, size: int, seed: int) -> list[Stimulus]:
    names = ("astronaut", "chelsea", "coffee")
    photograph = getattr(skimage.data, names[source % 3])()
    generator = rng.numpy_generator(seed, "patch", source)
    top, left = (int(generator.integers(0, limit - size)) for limit in photograph.shape[:2])
    reference = photograph[top : top + size, left : left + size]
    source_id = f"test/{names[source % 3]}/{source:03d}"
    rows = [_row(directory, source_id, names[source % 3], None, 0, reference, reference, seed)]
    for run in RUNS:
        for eps in EPS[1:]:
            signs = generator.choice([-1, 1], size=reference.shape)
            noisy = np.clip(reference.astype(int) + eps * signs, 0, 255).astype(np.uint8)
            rows.append(_row(directory, source_id, names[source % 3], run, eps, reference, noisy, seed))
    return rows


def _row(directory, source_id, source_class, run, eps, reference, picture, seed) -> Stimulus:
    data = pictures.encode_png(picture)
    sha256 = files.sha256_bytes(data)
    path = directory / png_name(sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    difference = np.abs(picture.astype(int) - reference.astype(int))
    return Stimulus(
        stimulus_id=f"{source_id}/reference" if run is None else f"{source_id}/{run}/full/{eps}",
        source_id=source_id,
        source_class=source_class,
        run=run,
        method=RUNS.get(run) if run else None,
        attack="noise" if run else None,
        norm="linf",
        region="full",
        eps_asked=eps,
        eps_measured=int(difference.max()),
        prediction_before=source_class if run else None,
        prediction_after=source_class if run else None,
        fooled=False if run else None,
        margin=1.0 if run else None,
        l2=float(np.sqrt(((difference / 255) ** 2).sum())),
        ssim=1.0 if eps == 0 else 0.9,
        mask_area=0.0 if eps == 0 else 1.0,
        seed=seed,
        sha256=sha256,
        width=picture.shape[1],
        height=picture.shape[0],
    )


def pytest_collection_modifyitems(items):
    """Begins with the demo, which takes longest, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: "system" not in item.path.parts)


@pytest.fixture(scope="session")
def stimulus_set(tmp_path_factory) -> Path:
    return build_stimulus_set(tmp_path_factory.mktemp("stimuli") / "noise")
