"""Proof that a stimulus set on disk is what its manifest says; a source in memory at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from core import files, pictures
from core.errors import DataError, StimulusError
from core.manifest import SetRecord, Stimulus, by_source, duplicate, map_name, png_name, rows, stimulus_id
from core.pictures import Pixels
from core.stimulus_index import Index, index
from core.stimulus_regions import Levels, allowed, decode_map
from core.stimulus_sets import Source, measure, tensor, verdict
from core.tensors import to_unit

_BATCH = 256
_MARGIN_TOLERANCE = 1e-3  # logits; another machine sums in another order
_AGAIN = "make the set again"


def verify_pictures(directory: Path, record: SetRecord, advance: Callable[[int], object]) -> None:
    """Proves every row from the files: hash, encoding, size, region, and ε, L2, SSIM and mask area measured again.

    Every source has one picture of every cell, every name is there once, and no file that is in no row.

    Raises:
        StimulusError: the first thing that is not as the manifest says.
    """
    _verify_sheet(directory, record)
    classes: Counter[str] = Counter()
    with index() as known:
        for group in by_source(rows(directory)):
            _note(directory, group, known)
            _check_cells(directory, record, group)
            _verify_source(directory, record, group)
            classes[group[0].source_class] += 1
            advance(len(group))
        for stranger in known.strangers(directory):
            raise StimulusError(f"{stranger}: expected only the pictures of the manifest; remove it")
    _check_counts(directory, record, classes)


def verify_predictions(directory: Path, source: Source, classes: Sequence[str], device: torch.device) -> None:
    """Proves predictions and margins of one source model's stimuli, in float32, from the files.

    Raises:
        StimulusError: the model says otherwise of a stimulus.
    """
    pairs: list[_Pair] = []
    for pair in _pairs(directory, source.run):
        pairs.append(pair)
        if len(pairs) == _BATCH:
            _check_predictions(pairs, classes, source, device)
            pairs = []
    if pairs:
        _check_predictions(pairs, classes, source, device)


def read(directory: Path, row: Stimulus) -> Pixels:
    """Returns the pixels of one stimulus after proving its file's hash, chunks and size."""
    path = directory / png_name(row.sha256)
    data = _proved(path, row.sha256, f"the picture of {row.stimulus_id}")
    chunks = [name for name, _ in pictures.png_chunks(data)]
    if chunks != ["IHDR", "sRGB", "IDAT", "IEND"]:
        raise StimulusError(f"{path}: expected the chunks IHDR, sRGB, IDAT, IEND, got {', '.join(chunks)}; {_AGAIN}")
    try:
        pixels = pictures.decode(data, str(path))
    except DataError as error:
        raise StimulusError(f"{error}, or {_AGAIN}") from None
    if pixels.shape[:2] != (row.height, row.width):
        raise StimulusError(
            f"{path}: expected {row.width}×{row.height} pixels, got {pixels.shape[1]}×{pixels.shape[0]}"
        )
    return pixels


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """A row with its pixels and those of its reference."""

    row: Stimulus
    pixels: Pixels
    reference: Pixels


def _verify_sheet(directory: Path, record: SetRecord) -> None:
    if record.sheet_sha256 is not None:
        _proved(directory / "sheet.html", record.sheet_sha256, "the contact sheet")


def _proved(path: Path, sha256: str, what: str) -> bytes:
    if not path.is_file():
        raise StimulusError(f"{path}: expected {what}, found none; restore it or {_AGAIN}")
    data = path.read_bytes()
    if (found := files.sha256_bytes(data)) != sha256:
        raise StimulusError(f"{path}: expected SHA-256 {sha256}, got {found}; the picture was changed: restore it")
    return data


def _note(directory: Path, group: Sequence[Stimulus], known: Index) -> None:
    for row in group:
        if not known.note_name(row.stimulus_id):
            raise duplicate(directory, row.stimulus_id)
        known.note_file(png_name(row.sha256))
        if row.map_sha256 is not None:
            known.note_file(map_name(row.map_sha256))


def _check_cells(directory: Path, record: SetRecord, group: Sequence[Stimulus]) -> None:
    """Checks that a source has its reference first and then a row for every cell, named as it is."""
    name, cells = group[0].source_id, _cells(record, group)
    wanted = [f"{name}/reference", *(stimulus_id(name, *cell) for cell in cells)]
    found = [row.stimulus_id for row in group]
    told = [(row.run, row.attack, row.region, row.eps_asked) for row in group if not row.is_reference]
    if found != wanted or told != cells or not group[0].is_reference:
        odd = next((pair for pair in zip(wanted, found, strict=False) if pair[0] != pair[1]), (wanted[-1], found[-1]))
        raise StimulusError(
            f"{directory / 'manifest.jsonl'}: expected of {name} its reference and the {len(cells)} cells of "
            f"set.json in order, found {len(group)} rows, {odd[1]} in the place of {odd[0]}; {_AGAIN}"
        )


def _cells(record: SetRecord, group: Sequence[Stimulus]) -> list[tuple[str, str, str, int]]:
    """Returns the cells that a source must have; of a minimal set with the levels of its rows, where they can be."""
    if record.selected_on != "minimal":
        return list(record.cells)
    levels = [row.eps_asked for row in group[1:]] + [0] * len(record.cells)
    return [
        (run, attack, region, level if 1 <= level <= highest else highest)
        for (run, attack, region, highest), level in zip(record.cells, levels, strict=False)
    ]


def _verify_source(directory: Path, record: SetRecord, group: Sequence[Stimulus]) -> None:
    reference = read(directory, group[0])
    _compare(group[0], reference, reference, mask_area=0.0)
    levels: dict[str | None, Levels | None] = {None: None}
    for row in group[1:]:
        if row.map_sha256 not in levels:
            levels[row.map_sha256] = _read_map(directory, row)
        if row.region != "full" and row.map_sha256 is None:
            raise StimulusError(f"{row.stimulus_id}: expected the map of region {row.region}, found none; {_AGAIN}")
        may_change = allowed(
            row.region, levels[row.map_sha256], record.salience.get("threshold", 0.5), reference.shape[:2]
        )
        pixels = read(directory, row)
        _compare(row, reference, pixels, mask_area=round(float(may_change.mean()), 6))
        _check_inside(row, (pixels != reference).any(axis=2) & ~may_change)
        _check_selected(record, row)


def _read_map(directory: Path, row: Stimulus) -> Levels:
    assert row.map_sha256 is not None
    path = directory / map_name(row.map_sha256)
    return decode_map(_proved(path, row.map_sha256, f"the map of {row.stimulus_id}"), path, (row.height, row.width))


def _compare(row: Stimulus, reference: Pixels, pixels: Pixels, mask_area: float) -> None:
    for name, value in {**measure(reference, pixels), "mask_area": mask_area}.items():
        if (said := getattr(row, name)) != value:
            raise StimulusError(f"{row.stimulus_id}: expected {name} {said}, measured {value}; {_AGAIN}")
    if row.eps_measured > row.eps_asked:
        raise StimulusError(
            f"{row.stimulus_id}: expected at most {row.eps_asked} grey levels, measured {row.eps_measured}; {_AGAIN}"
        )
    if not row.is_reference and row.fooled != (row.prediction_after != row.source_class):
        raise StimulusError(
            f"{row.stimulus_id}: expected fooled to say whether {row.prediction_after} is not {row.source_class}, "
            f"got {row.fooled}; {_AGAIN}"
        )


def _check_selected(record: SetRecord, row: Stimulus) -> None:
    if record.selected_on != "none" and not (row.fooled and row.prediction_before == row.source_class):
        raise StimulusError(
            f"{row.stimulus_id}: expected right before and fooled, as all of a set selected on {record.selected_on!r}, "
            f"got {row.prediction_before} before and {row.prediction_after} after; {_AGAIN}"
        )


def _check_inside(row: Stimulus, outside: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> None:
    if outside.any():
        y, x = (int(place) for place in np.argwhere(outside)[0])
        raise StimulusError(
            f"{row.stimulus_id}: expected pixels outside the region {row.region} as in the reference, found "
            f"{int(outside.sum())} changed, the first at column {x}, line {y}; {_AGAIN}"
        )


def _check_counts(directory: Path, record: SetRecord, classes: Counter[str]) -> None:
    sources, each = sum(classes.values()), sorted(set(classes.values()))
    if (sources, sources * (1 + len(record.cells))) != (record.sources, record.stimuli) or len(each) != 1:
        raise StimulusError(
            f"{directory}: expected {record.sources} sources and {record.stimuli} stimuli, as many of each class, "
            f"found {sources} sources, {' or '.join(map(str, each))} of a class; {_AGAIN}"
        )


def _pairs(directory: Path, run: str) -> Iterator[_Pair]:
    for group in by_source(rows(directory)):
        reference = read(directory, group[0])
        yield from (_Pair(row=row, pixels=read(directory, row), reference=reference) for row in group if row.run == run)


def _check_predictions(pairs: Sequence[_Pair], classes: Sequence[str], source: Source, device: torch.device) -> None:
    labels = torch.tensor([_label(pair.row, classes, source) for pair in pairs], device=device)
    before = verdict(source.model, to_unit(tensor([pair.reference for pair in pairs], labels)), labels)
    after = verdict(source.model, to_unit(tensor([pair.pixels for pair in pairs], labels)), labels)
    for place, pair in enumerate(pairs):
        margin, said = float(after[1][place]), pair.row.margin
        prediction = classes[int(after[0][place])]
        if said is None or abs(margin - said) > _MARGIN_TOLERANCE:
            raise _another_run(pair.row, source, f"margin {said}", f"{margin:.4f} ({prediction})")
        if pair.row.prediction_after != prediction and abs(margin) > _MARGIN_TOLERANCE:
            raise _another_run(pair.row, source, f"{pair.row.prediction_after} after the attack", prediction)
        first = classes[int(before[0][place])]
        if pair.row.prediction_before != first and abs(float(before[1][place])) > _MARGIN_TOLERANCE:
            raise _another_run(pair.row, source, f"{pair.row.prediction_before} before the attack", first)


def _label(row: Stimulus, classes: Sequence[str], source: Source) -> int:
    if row.source_class not in classes:
        raise StimulusError(
            f"{row.stimulus_id}: expected one of the classes of {source.run} ({', '.join(classes)}), got "
            f"{row.source_class}; is it the run that the set was made from?"
        )
    return classes.index(row.source_class)


def _another_run(row: Stimulus, source: Source, expected: str, got: str) -> StimulusError:
    return StimulusError(
        f"{row.stimulus_id}: expected {expected} from {source.run}, got {got}; "
        "is it the run that the set was made from?"
    )
