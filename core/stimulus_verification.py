"""Proof that a stimulus set on disk is what its manifest says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from core import files, pictures
from core.errors import StimulusError
from core.evaluation import judge
from core.manifest import Stimulus, StimulusSet
from core.pictures import Pixels
from core.stimulus_sets import Source, measure
from core.tensors import to_unit

_BATCH = 256
_MARGIN_TOLERANCE = 1e-3  # logits; another machine sums in another order


def verify_pictures(stimuli: StimulusSet, advance: Callable[[int], object]) -> None:
    """Proves every row from the files: hash, encoding, size, and ε, L2 and SSIM measured again.

    Raises:
        StimulusError: the first thing that is not as the manifest says.
    """
    references = {row.source_id: read(stimuli, row) for row in stimuli.stimuli if row.is_reference}
    for row in stimuli.stimuli:
        if row.source_id not in references:
            raise StimulusError(
                f"{row.stimulus_id}: expected a reference of {row.source_id}, found none; make the set again"
            )
        _compare(row, measure(references[row.source_id], read(stimuli, row)))
        advance(1)
    _refuse_strangers(stimuli)


def read(stimuli: StimulusSet, row: Stimulus) -> Pixels:
    """Returns the pixels of one stimulus after proving its file's hash, chunks and size."""
    path = stimuli.png(row)
    if not path.is_file():
        raise StimulusError(
            f"{path}: expected the picture of {row.stimulus_id}, found none; restore it or make the set again"
        )
    data = path.read_bytes()
    if (found := files.sha256_bytes(data)) != row.sha256:
        raise StimulusError(f"{path}: expected SHA-256 {row.sha256}, got {found}; the picture was changed: restore it")
    chunks = [name for name, _ in pictures.png_chunks(data)]
    if chunks != ["IHDR", "sRGB", "IDAT", "IEND"]:
        raise StimulusError(
            f"{path}: expected the chunks IHDR, sRGB, IDAT, IEND, got {', '.join(chunks)}; make the set again"
        )
    pixels = pictures.decode(data, str(path))
    if pixels.shape[:2] != (row.height, row.width):
        raise StimulusError(
            f"{path}: expected {row.width}×{row.height} pixels, got {pixels.shape[1]}×{pixels.shape[0]}"
        )
    return pixels


def verify_predictions(stimuli: StimulusSet, source: Source, classes: Sequence[str], device: torch.device) -> None:
    """Proves predictions and margins of one source model's stimuli, in float32, from the files.

    Raises:
        StimulusError: the model says otherwise of a stimulus.
    """
    rows = [row for row in stimuli.stimuli if row.run == source.run]
    for first in range(0, len(rows), _BATCH):
        _check_predictions(stimuli, rows[first : first + _BATCH], classes, source, device)


def _check_predictions(
    stimuli: StimulusSet, rows: Sequence[Stimulus], classes: Sequence[str], source: Source, device: torch.device
) -> None:
    pixels = torch.from_numpy(np.stack([read(stimuli, row) for row in rows])).permute(0, 3, 1, 2).to(device)
    labels = torch.tensor([classes.index(row.source_class) for row in rows], device=device)
    verdict = judge(source.model, to_unit(pixels), labels)
    for row, prediction, margin in zip(rows, verdict.predictions.tolist(), verdict.margins.tolist(), strict=True):
        assert row.margin is not None
        if abs(margin - row.margin) > _MARGIN_TOLERANCE:
            raise StimulusError(
                f"{row.stimulus_id}: expected margin {row.margin:.4f} from {source.run}, got {margin:.4f} "
                f"({classes[prediction]}); is it the run that the set was made from?"
            )


def _compare(row: Stimulus, measured: dict[str, float]) -> None:
    for name, value in measured.items():
        if (said := getattr(row, name)) != value:
            raise StimulusError(f"{row.stimulus_id}: expected {name} {said}, measured {value}; make the set again")
    if row.eps_measured > row.eps_asked:
        raise StimulusError(
            f"{row.stimulus_id}: expected at most {row.eps_asked} grey levels, measured {row.eps_measured}"
        )


def _refuse_strangers(stimuli: StimulusSet) -> None:
    known = {stimuli.png(row) for row in stimuli.stimuli}
    strangers = sorted(set(Path(stimuli.directory, "png").glob("*/*")) - known)
    if strangers:
        raise StimulusError(f"{strangers[0]}: expected only the pictures of the manifest; remove it")
