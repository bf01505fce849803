"""The classifiers that attacks are measured on: small, trained here once, kept in a work folder; and their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from core import config, datasets, files, models, rng, runs, train
from core import recipe as recipes
from core.recipe import Recipe
from core.tensors import Classifier, Images, Labels, to_unit

CONFIGS = Path(__file__).resolve().parents[1] / "core" / "configs"


@dataclass(frozen=True, kw_only=True)
class Victim:
    """A trained classifier with test pictures, and the hash that tells whether two are the same."""

    model: Classifier
    x: Images
    y: Labels
    fingerprint: str


def trained(run: Path, config_name: str, overrides: Sequence[str]) -> Path:
    """Returns the directory of a run after a recipe of core/configs/, trained now if it is not finished."""
    if not runs.finished(run):
        recipe = config.load(Recipe, CONFIGS / f"{config_name}.toml", overrides)
        train.train(recipe, run, torch.device("cpu"))
    return run


def victim(run: Path, pictures: int, seed: int, device: torch.device) -> Victim:
    """Returns the classifier of a run and the first ``pictures`` of its test pictures in an order drawn by ``seed``."""
    test = datasets.load(recipes.read(run).data).test
    order = torch.from_numpy(rng.numpy_generator(seed, "test pictures").permutation(len(test))[:pictures])
    x, y = to_unit(test.pixels[order]), test.labels[order]
    data = x.numpy().tobytes() + y.numpy().tobytes()
    return Victim(
        model=models.load_classifier(run, device),
        x=x.to(device),
        y=y.to(device),
        fingerprint=files.sha256_bytes(files.sha256_file(run / "weights.safetensors").encode() + data),
    )
