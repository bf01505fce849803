"""How two sources of salience maps differ on the same pictures: overlap, rank correlation and area."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from analysis.intervals import LEVEL, mean_interval
from analysis.wording import NONE, number
from core import config, kept_maps
from core.annotations.agreement import LEAST_PICTURES
from core.annotations.consensus import salient
from core.annotations.sets import SetRecord
from core.kept_maps import KeptMaps

Levels = NDArray[np.uint8]
Row = dict[str, Any]
MEASURES = ("iou", "rank_correlation", "area_people", "area_other", "area_difference")
_DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """Maps to compare with: ``levels`` gives one by source_id, ``None`` where the source has none of a picture."""

    name: str
    threshold: float
    levels: Callable[[str], Levels | None]


def of_set(directory: Path, record: SetRecord) -> Source:
    """Returns the consensus maps of an annotation set, at the threshold of its consensus."""
    threshold = float((record.consensus or {}).get("threshold", _DEFAULT_THRESHOLD))

    def levels(source_id: str) -> Levels | None:
        if source_id not in record.maps:
            return None
        return np.asarray(Image.open(directory / "maps" / f"{source_id}.png"))

    return Source(name=record.name, threshold=threshold, levels=levels)


def automatic(runs: Sequence[Path]) -> list[Source]:
    """Returns the maps that runs were trained with and that people did not draw, each once.

    Raises:
        RunError: the maps of a run are absent, damaged, or without the names of their pictures.
    """
    found: dict[str, Source] = {}
    for run in runs:
        for kept in kept_maps.read(run):
            if kept.source != "annotations" and kept.name not in found:
                found[kept.name] = Source(name=_name(kept, found), threshold=_threshold(run), levels=kept.levels.get)
    return list(found.values())


def by_picture(people: Source, other: Source, record: SetRecord, classes: dict[str, str]) -> tuple[list[Row], int]:
    """Returns a row a picture that both have a map of, in order, and how many were left out for their size."""
    rows, left_out = [], 0
    for source_id in sorted(record.maps):
        mine, theirs = people.levels(source_id), other.levels(source_id)
        if mine is None or theirs is None:
            continue
        if mine.shape != theirs.shape:
            left_out += 1
            continue
        measured = compare(mine, theirs, people.threshold, other.threshold)
        rows.append({"source_id": source_id, "source_class": classes[source_id], **measured})
    return rows, left_out


def compare(people: Levels, other: Levels, people_threshold: float, other_threshold: float) -> Row:
    """Returns how two maps of a picture differ.

    ``iou``: of what is salient (level / 255 above each map's threshold); 1 where nothing is in either.
    ``rank_correlation``: Spearman's ρ over pixels, ties at their mean rank; ``None`` where a map is constant.
    ``area_…``: shares of salient pixels; the difference is the other's less the people's.
    """
    mine, theirs = salient(people, people_threshold), salient(other, other_threshold)
    either = int((mine | theirs).sum())
    return {
        "iou": float((mine & theirs).sum() / either) if either else 1.0,
        "rank_correlation": spearman(people, other),
        "area_people": float(mine.mean()),
        "area_other": float(theirs.mean()),
        "area_difference": float(theirs.mean() - mine.mean()),
    }


def interval(found: Row | None, form: Callable[[float | None], str] = number) -> str:
    """Returns ``estimate [low, high]``, or the estimate alone where no interval could be made."""
    if found is None or found["estimate"] is None:
        return NONE
    if found["low"] is None:
        return form(found["estimate"])
    return f"{form(found['estimate'])} [{form(found['low'])}, {form(found['high'])}]"


def spearman(one: Levels, two: Levels) -> float | None:
    """Returns Spearman's ρ of two maps over their pixels; of 256 levels, so ranks follow from counts."""
    ranks = [_ranks(levels) for levels in (one, two)]
    centred = [rank - rank.mean() for rank in ranks]
    scale = float(np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum() / scale) if scale > 0 else None


def summarised(rows: Sequence[Row], level: float = LEVEL) -> Row:
    """Returns the mean of each measure over pictures with its t interval, of five pictures or more."""
    found: Row = {"pictures": len(rows)}
    for key in MEASURES:
        values = np.asarray([row[key] for row in rows if row[key] is not None], dtype=float)
        enough = len(values) >= LEAST_PICTURES
        bounds = mean_interval(values, level) if enough else (values.mean() if len(values) else None, None, None)
        found[key] = {
            name: None if bound is None else float(bound)
            for name, bound in zip(("estimate", "low", "high"), bounds, strict=True)
        }
    return found


def _ranks(levels: Levels) -> NDArray[np.float64]:
    counts = np.bincount(levels.reshape(-1), minlength=256)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[levels.reshape(-1)])


def _name(kept: KeptMaps, found: dict[str, Source]) -> str:
    """Returns the source's name; with the head of its hash where two sources share it."""
    return kept.name if any(source.name == kept.source for source in found.values()) else kept.source


def _threshold(run: Path) -> float:
    """Returns the threshold of a run's objective: what it took for salient."""
    path = run / "config.toml"
    objective = config.read_toml(path).get("objective", {}) if path.is_file() else {}
    return float(objective.get("threshold", _DEFAULT_THRESHOLD))


def with_bar(pairs: Sequence[tuple[Source, Source]], shown: bool) -> Iterator[tuple[Source, Source]]:
    """Yields pairs of sources with a bar on stderr."""
    yield from tqdm(pairs, desc="compare maps", unit="source", disable=not shown)
