"""How each salience source makes its maps, and what they are made of, which is what a cache must agree on."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import torch
from torch import Tensor

from core import files, runs
from core.datasets.split import Split
from core.errors import ConfigError, DataError
from core.salience.annotations import Annotations, read_annotations, set_sha256
from core.salience.boxes import Boxes, filled, read_boxes
from core.salience.cam import EigenCam, GradCam, LayerCam, eigen_cam, grad_cam, layer_cam
from core.salience.drawn import CentreGaussian, RandomArea, centre_gaussian, random_area
from core.salience.gradient import GradientTopK, gradient_top_k
from core.salience.masks import Masks, mask_files
from core.salience.matching import Levels, Size, check_names, read_grey
from core.salience.spectral import SpectralResidual, spectral_residual
from core.tensors import Classifier, Salience, to_unit

OfRun = GradCam | LayerCam | EigenCam | GradientTopK
OfFiles = Masks | Boxes | Annotations
Source = SpectralResidual | OfRun | OfFiles | CentreGaussian | RandomArea
LoadClassifier = Callable[[Path, torch.device], Classifier]
MapsOfBatch = Callable[[Split], Salience]


@dataclass(frozen=True, kw_only=True)
class Making:
    """Maps about to be made.

    Attributes:
        inputs: all that decides them, as JSON values.
        annotated: which pictures have a map, bool [N].
        start: loads what is needed; returns the function that gives the raw maps of a batch.
    """

    inputs: dict[str, Any]
    annotated: Tensor
    start: Callable[[], MapsOfBatch]


def prepare(
    source: Source,
    split: Split,
    seed: int,
    device: torch.device,
    load_classifier: LoadClassifier | None,
    originals: Mapping[str, Size],
) -> Making:
    """Returns the making of the maps of ``split``; reads and checks what they come from, but makes none yet.

    Raises:
        ConfigError: a source that needs a classifier, and no way to load one.
        DataError: the maps do not belong to the pictures.
        RunError: the run is not finished.
    """
    height, width = split.pixels.shape[2:]
    inputs: dict[str, Any] = {"source": source.source, "settings": _settings(source), "pictures": _sha256(split)}
    everyone = torch.ones(len(split), dtype=torch.bool)
    match source:
        case SpectralResidual():
            return Making(inputs=inputs, annotated=everyone, start=lambda: _spectral)
        case CentreGaussian():
            bump = centre_gaussian(height, width, source.sigma)
            return Making(inputs=inputs, annotated=everyone, start=lambda: lambda part: bump.repeat(len(part), 1, 1, 1))
        case RandomArea():
            inputs["seed"] = seed
            return Making(
                inputs=inputs,
                annotated=everyone,
                start=lambda: lambda part: random_area(part.ids, height, width, source.share, seed),
            )
        case GradCam() | LayerCam() | EigenCam() | GradientTopK():
            inputs["weights_sha256"] = _weights_sha256(source, split)
            return Making(inputs=inputs, annotated=everyone, start=lambda: _explaining(source, device, load_classifier))
        case Masks() | Boxes() | Annotations():
            return _of_files(source, split, originals, inputs)
        case unknown:
            assert_never(unknown)


def part(split: Split, rows: slice) -> Split:
    """Returns some of the pictures of ``split``."""
    return Split(pixels=split.pixels[rows], labels=split.labels[rows], ids=split.ids[rows])


def _settings(source: Source) -> dict[str, Any]:
    """Returns the settings that decide the maps: not where they lie, not which of them are taken away later."""
    values = {field.name: getattr(source, field.name) for field in dataclasses.fields(source)}
    left_out = ("source", "unannotated", "extra")
    return {name: value for name, value in values.items() if name not in left_out and not isinstance(value, Path)}


def _sha256(split: Split) -> str:
    digest = hashlib.sha256(f"{tuple(split.pixels.shape)}\n".encode())
    digest.update("\n".join(split.ids).encode())
    digest.update(split.labels.cpu().numpy().tobytes())
    digest.update(np.ascontiguousarray(split.pixels.cpu().numpy()).data)
    return digest.hexdigest()


def _spectral(pictures: Split) -> Salience:
    return spectral_residual(to_unit(pictures.pixels))


def _weights_sha256(source: OfRun, split: Split) -> str:
    """Returns the hash of the weights of a run that can judge these pictures."""
    weights, record = runs.weights_path(source.run), runs.read_run(source.run)
    if (record.height, record.width) != tuple(split.pixels.shape[2:]):
        height, width = split.pixels.shape[2:]
        raise DataError(
            f"{source.run}: expected a run on pictures of {width}×{height} pixels, got one on "
            f"{record.width}×{record.height}; name another salience.run, or set data.size"
        )
    if int(split.labels.max()) >= len(record.classes):
        raise DataError(
            f"{source.run}: expected a run of at least {int(split.labels.max()) + 1} classes, got one of "
            f"{len(record.classes)}; name another salience.run"
        )
    return files.sha256_file(weights)


def _explaining(source: OfRun, device: torch.device, load_classifier: LoadClassifier | None) -> MapsOfBatch:
    if load_classifier is None:
        raise ConfigError(
            f"salience: {source.source} needs the classifier of a run, and got no way to load it; pass "
            "load_classifier=core.checkpoints.load_classifier"
        )
    model = load_classifier(source.run, device)
    return lambda pictures: _explained(source, model, pictures)


def _explained(source: OfRun, model: Classifier, pictures: Split) -> Salience:
    x = to_unit(pictures.pixels)
    if isinstance(source, EigenCam):
        return eigen_cam(model, x, source.upsampling)
    classes = pictures.labels if source.target == "label" else None
    match source:
        case GradCam():
            return grad_cam(model, x, classes, source.upsampling)
        case LayerCam():
            return layer_cam(model, x, classes, source.upsampling)
        case GradientTopK():
            return gradient_top_k(model, x, classes, source.share, source.smoothing)
        case unknown:
            assert_never(unknown)


def _of_files(source: OfFiles, split: Split, originals: Mapping[str, Size], inputs: dict[str, Any]) -> Making:
    """Returns the making of maps that lie in files; pictures without one are not annotated."""
    height, width = split.pixels.shape[2:]
    names, digest, read = _opened(source, split.ids, (width, height), originals)
    sizes = [(name, *originals[name]) for name in split.ids if name in originals]
    if isinstance(source, Annotations):
        inputs = inputs | {"annotation_set": set_sha256(source.path)}
    return Making(
        inputs=inputs | {"files_sha256": digest, "originals_sha256": files.sha256_bytes(repr(sizes).encode())},
        annotated=torch.tensor([name in names for name in split.ids]),
        start=lambda: lambda pictures: _stacked(pictures, names, read),
    )


def _opened(
    source: OfFiles, ids: Sequence[str], shown: Size, originals: Mapping[str, Size]
) -> tuple[set[str], str, Callable[[str], Levels]]:
    """Returns the source_ids that have a map, the hash of all that is read, and the reader of one map."""
    if isinstance(source, Boxes):
        boxes = read_boxes(source.path)
        check_names(source, boxes, ids)
        return (
            set(boxes),
            files.sha256_file(source.path),
            lambda name: filled(boxes[name], shown, originals.get(name), f"{source.path}: {name}"),
        )
    if isinstance(source, Masks):
        found, resize = mask_files(source, ids), source.resize
    else:
        found, resize = read_annotations(source.path), "bilinear"
        check_names(source, found, ids)
    digest = files.sha256_bytes("".join(f"{name} {files.sha256_file(found[name])}\n" for name in found).encode())
    return set(found), digest, lambda name: read_grey(found[name], shown, originals.get(name), resize)


def _stacked(pictures: Split, names: set[str], read: Callable[[str], Levels]) -> Salience:
    height, width = pictures.pixels.shape[2:]
    blank = np.zeros((height, width), np.uint8)
    with ThreadPoolExecutor() as pool:
        levels = list(pool.map(lambda name: read(name) if name in names else blank, pictures.ids))
    return to_unit(torch.from_numpy(np.stack(levels)).unsqueeze(1))
