"""Making stimuli: attacked on the 8-bit lattice, written, read again, and only then described."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from core import attacks, files, pictures, rng
from core.attacks.budget import Budget
from core.attacks.front import answers, check_answers
from core.attacks.minimal import minimal_levels, on_lattice
from core.attacks.pgd import RelativePgd, pgd
from core.datasets.split import Split
from core.evaluation import judge
from core.manifest import Stimulus, map_name, png_name, stimulus_id
from core.pictures import Pixels
from core.purification.pipeline import Purified, reseed
from core.regions import Region, budget_in
from core.stimulus_regions import Levels, Maps, allowed, decode_map, encode_map
from core.stimulus_request import Cell, Request
from core.tensors import Bytes, Classifier, Images, Labels, Salience, generator, to_unit


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source model: the name and method of its run, and its classifier."""

    run: str
    method: str
    model: Classifier


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What came of one source picture: its rows, the reference first, or why it was left out."""

    source_id: str
    left_out: str | None = None
    stimuli: tuple[Stimulus, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """All that is needed to make stimuli of any pictures: where they go, of which models, and as what request says."""

    directory: Path
    classes: tuple[str, ...]
    sources: tuple[Source, ...]
    request: Request
    maps: Maps | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Pictures that are attacked together, as they were read from their files; ``number`` names the batch.

    ``references`` and ``salience`` (levels, with the hashes of their files) belong to ``pictures``, one each.
    """

    number: str
    pictures: Split
    references: tuple[tuple[str, Pixels], ...]
    salience: tuple[tuple[str | None, Levels | None], ...]

    @property
    def levels(self) -> Bytes | None:
        """The maps as a tensor, [N, 1, H, W]."""
        found = [levels for _, levels in self.salience if levels is not None]
        return torch.from_numpy(np.stack(found)).unsqueeze(1).to(self.pictures.pixels.device) if found else None


def make_batch(workshop: Workshop, pictures_: Split, number: str, advance: Callable[[int], object]) -> list[Tried]:
    """Writes the files of some source pictures and returns what came of each, in their order.

    ``advance`` is told how many sources are done. Everything that a row says is measured on the files as read again.
    """
    references = [_write(workshop.directory, picture) for picture in channels_last(pictures_.pixels)]
    salience = _written_maps(workshop, pictures_)
    threshold, regions = workshop.request.threshold, workshop.request.regions
    empty = [_empty_region(regions, levels, threshold) for _, levels in salience]
    kept = [place for place, region in enumerate(empty) if region is None]
    left_out = {pictures_.ids[place]: f"region {region} is empty" for place, region in enumerate(empty) if region}
    shown = tensor([pixels for _, pixels in references], pictures_.pixels)
    rows = torch.tensor(kept, dtype=torch.int64, device=shown.device)
    chosen = Split(pixels=shown[rows], labels=pictures_.labels[rows], ids=tuple(pictures_.ids[place] for place in kept))
    batch = Batch(
        number=number,
        pictures=chosen,
        references=tuple(references[place] for place in kept),
        salience=tuple(salience[place] for place in kept),
    )
    done = {row.source_id: row for row in _attacked(workshop, batch)} if kept else {}
    advance(len(pictures_))
    return [done.get(name) or Tried(source_id=name, left_out=left_out[name]) for name in pictures_.ids]


def perturb(
    attack: attacks.Attack, model: Classifier, x: Images, y: Labels, budget: Budget, random: torch.Generator
) -> Images:
    """Returns ``x`` as ``attack`` perturbs it within ``budget``, for people to look at and for ``model`` to judge.

    PGD is carried through all its steps, even when the picture is fooled before: what people see at an ε shall not
    depend on how soon it worked. Other attacks stop where they succeed. Those leave a picture that is wrong already as
    it is, which would be no stimulus: they move it away from the class that it is given.
    """
    if isinstance(attack, RelativePgd) and attack.restarts == attack.eot == 1:
        step_size = float(attack.relative_step * budget.eps.max() / attack.steps)
        return pgd(model, x, y, budget, steps=attack.steps, step_size=step_size, generator=random)
    logits = answers(model, x)
    check_answers(logits, y)
    return attacks.run(attack, model, x, logits.argmax(1), budget, random)


def verdict(model: Classifier, x: Images, y: Labels) -> tuple[Labels, Tensor]:
    """Returns predictions and margins, [B] each, in float32; a randomised model's with its randomness fixed.

    Raises:
        DataError: a logit is no number, or a label is not among the classes.
    """
    found = judge(model.fixed(0) if isinstance(model, Purified) else model, x, y)
    return found.predictions, found.margins


def measure(reference: Pixels, picture: Pixels) -> dict[str, float]:
    """Returns ``eps_measured`` (grey levels), ``l2`` ([0, 1] units) and ``ssim`` of a picture to its reference."""
    difference = picture.astype(np.int16) - reference.astype(np.int16)
    side = min(7, *reference.shape[:2])
    similarity = structural_similarity(reference, picture, channel_axis=2, win_size=side - (side + 1) % 2)
    return {
        "eps_measured": int(np.abs(difference).max()),
        "l2": round(float(np.linalg.norm(difference / 255)), 6),
        "ssim": round(float(similarity), 6),
    }


def channels_last(pixels: Bytes) -> list[Pixels]:
    """Returns pictures as arrays, [height, width, 3] each."""
    return list(pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def tensor(read: Sequence[Pixels], like: Tensor) -> Bytes:
    """Returns arrays as pictures on the device of ``like``."""
    return torch.from_numpy(np.stack(read)).permute(0, 3, 1, 2).contiguous().to(like.device)


def _attacked(workshop: Workshop, batch: Batch) -> list[Tried]:
    rows = [[_reference(workshop, batch, place)] for place in range(len(batch.pictures))]
    reasons: list[str | None] = [None] * len(rows)
    x, y = to_unit(batch.pictures.pixels), batch.pictures.labels
    before = {source.run: verdict(source.model, x, y) for source in workshop.sources}
    models = {source.run: source for source in workshop.sources}
    make = _make_least if workshop.request.require == "minimal" else _make
    for cell in workshop.request.cells:
        made = make(workshop.request, models[cell.run].model, batch, cell)
        described = _describe(workshop, batch, cell, models[cell.run], before[cell.run][0], made)
        for place, row in enumerate(described):
            rows[place].append(row)
            reasons[place] = reasons[place] or _refused(workshop.request, row)
    return [
        Tried(source_id=name, left_out=reason, stimuli=() if reason else tuple(found))
        for name, reason, found in zip(batch.pictures.ids, reasons, rows, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class _Made:
    """Pictures of a cell, and the budget of each in whole grey levels."""

    pixels: Bytes
    eps: list[int]


def _make(request: Request, model: Classifier, batch: Batch, cell: Cell) -> _Made:
    """Returns 8-bit pictures within ε whole grey levels: a point of the lattice, so rounding does not leave it."""
    x, y, purpose = to_unit(batch.pictures.pixels), batch.pictures.labels, _purpose(batch, cell)
    reseed(model, rng.derive(request.seed, *purpose))
    random, budget = generator(x.device, request.seed, *purpose), _budget(request, batch, cell.region, cell.eps / 255)
    pixels = on_lattice(perturb(attacks.named(cell.attack), model, x, y, budget, random))
    return _Made(pixels=pixels, eps=[cell.eps] * len(y))


def _make_least(request: Request, model: Classifier, batch: Batch, cell: Cell) -> _Made:
    """Returns pictures at the least level that fools; where none up to the cell's does, the clean one at the cell's."""
    pixels, labels, seed = (
        batch.pictures.pixels,
        batch.pictures.labels,
        rng.derive(request.seed, *_purpose(batch, cell)),
    )
    reseed(model, seed)
    allowed_ = _budget(request, batch, cell.region, 1.0).eps.expand(len(pixels), 1, *pixels.shape[2:])
    attack = attacks.named(cell.attack)
    found = minimal_levels(attack, model, pixels, labels, seed, highest=cell.eps, allowed=allowed_)
    return _Made(pixels=found.pixels, eps=found.levels.clamp(max=cell.eps).tolist())


def _purpose(batch: Batch, cell: Cell) -> tuple[str | int, ...]:
    return ("stimuli", cell.run, cell.attack, cell.region, cell.eps, batch.number)


def _budget(request: Request, batch: Batch, region: Region, eps: float) -> Budget:
    levels = batch.levels
    salience: Salience | None = None if levels is None else to_unit(levels)
    return budget_in(region, "linf", eps, to_unit(batch.pictures.pixels), salience, request.threshold)


def _describe(
    workshop: Workshop, batch: Batch, cell: Cell, source: Source, before: Labels, made: _Made
) -> list[Stimulus]:
    written = [_write(workshop.directory, picture) for picture in channels_last(made.pixels)]
    labels = batch.pictures.labels
    predictions, margins = verdict(source.model, to_unit(tensor([pixels for _, pixels in written], labels)), labels)
    judged = zip(before.tolist(), predictions.tolist(), margins.tolist(), strict=True)
    return [
        _row(workshop, batch, replace(cell, eps=made.eps[place]), source.method, place, written[place], outcome)
        for place, outcome in enumerate(judged)
    ]


def _row(
    workshop: Workshop, batch: Batch, cell: Cell, method: str, place: int, written: tuple[str, Pixels],
    outcome: tuple[int, int, float],
) -> Stimulus:  # fmt: skip
    """Returns the row of one perturbed picture; ``outcome``: predictions before and after, and the margin."""
    (sha256, pixels), (before, after, margin_after) = written, outcome
    name, classes = batch.pictures.ids[place], workshop.classes
    label = int(batch.pictures.labels[place])
    map_sha256, levels = batch.salience[place] if cell.region != "full" else (None, None)
    may_change = allowed(cell.region, levels, workshop.request.threshold, pixels.shape[:2])
    return Stimulus(
        stimulus_id=stimulus_id(name, cell.run, cell.attack, cell.region, cell.eps),
        source_id=name,
        source_class=classes[label],
        run=cell.run,
        method=method,
        attack=cell.attack,
        norm="linf",
        region=cell.region,
        eps_asked=cell.eps,
        prediction_before=classes[before],
        prediction_after=classes[after],
        fooled=after != label,
        margin=margin_after,
        mask_area=round(float(may_change.mean()), 6),
        seed=workshop.request.seed,
        sha256=sha256,
        width=pixels.shape[1],
        height=pixels.shape[0],
        map_sha256=map_sha256,
        **measure(batch.references[place][1], pixels),  # type: ignore[arg-type]
    )


def _reference(workshop: Workshop, batch: Batch, place: int) -> Stimulus:
    sha256, pixels = batch.references[place]
    return Stimulus(
        stimulus_id=f"{batch.pictures.ids[place]}/reference",
        source_id=batch.pictures.ids[place],
        source_class=workshop.classes[int(batch.pictures.labels[place])],
        run=None,
        method=None,
        attack=None,
        norm="linf",
        region="full",
        eps_asked=0,
        eps_measured=0,
        prediction_before=None,
        prediction_after=None,
        fooled=None,
        margin=None,
        l2=0.0,
        ssim=1.0,
        mask_area=0.0,
        seed=workshop.request.seed,
        sha256=sha256,
        width=pixels.shape[1],
        height=pixels.shape[0],
    )


def _refused(request: Request, row: Stimulus) -> str | None:
    """Returns why a source of this row cannot be kept, if it cannot."""
    if request.require == "none" or (row.prediction_before == row.source_class and row.fooled):
        return None
    if row.prediction_before != row.source_class:
        return f"{row.run}: wrong before any attack"
    if request.require == "minimal":
        return f"{row.run}/{row.attack}/{row.region}: no level up to {request.levels[-1]} fools"
    return f"{row.run}/{row.attack}/{row.region}/{row.eps_asked}: not fooled"


def _empty_region(regions: Sequence[str], levels: Levels | None, threshold: float) -> str | None:
    asked = [region for region in regions if region != "full"]
    return next((name for name in asked if not allowed(name, levels, threshold, (1, 1)).any()), None)


def _written_maps(workshop: Workshop, chosen: Split) -> list[tuple[str | None, Levels | None]]:
    """Writes the maps of pictures; returns hashes and levels as read again, or nothing where no region needs one."""
    if workshop.maps is None:
        return [(None, None)] * len(chosen)
    found: list[tuple[str | None, Levels | None]] = []
    for levels in workshop.maps.of(chosen).squeeze(1).cpu().numpy():
        data = encode_map(levels)
        sha256 = files.sha256_bytes(data)
        path = workshop.directory / map_name(sha256)
        _put(path, data)
        found.append((sha256, decode_map(path.read_bytes(), path, levels.shape)))
    return found


def _write(directory: Path, picture: Pixels) -> tuple[str, Pixels]:
    """Writes a picture under its hash; returns the hash and the pixels as read again from the file."""
    data = pictures.encode_png(picture)
    sha256 = files.sha256_bytes(data)
    path = directory / png_name(sha256)
    _put(path, data)
    return sha256, pictures.read(path)


def _put(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all; whether it came to the disk is proved at a resume and at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(path)
