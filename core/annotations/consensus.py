"""What annotators agree upon, and how well: one pass over the masks of a set, a picture in memory at a time.

Writes ``maps/``, ``binary/``, ``maps.npz``, ``coco.json``, ``agreement.json``, ``agreement.csv`` and ``overlays.html``
into the set, and last ``annotations.json``, which names them; see docs/annotation.md.
"""

from __future__ import annotations

import csv
import dataclasses
import heapq
import io
import shutil
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core import files, picture_sets
from core.annotations import agreement, coco, overlays, sets
from core.annotations.agreement import LEAST_PICTURES, SUMS, Totals
from core.annotations.sets import Annotation, SetRecord
from core.annotations.staple import staple
from core.errors import DataError
from core.picture_sets import Picture

THRESHOLD_RULE = "a pixel is salient if level / 255 lies above the threshold"
_COLUMNS = (
    "source_id", "source_class", "annotators", "dice", "iou", "least_dice", "alpha_pixels", "fleiss_kappa", "area_mean",
    "area_least", "area_most", "consensus_area",
)  # fmt: skip
_NEW = ("maps", "binary", "maps.npz", "coco.json", "agreement.json", "agreement.csv", "overlays.html")
_TABLES = ("maps.npz", "coco.json", "agreement.json", "agreement.csv")
_OF_ANNOTATOR = ("pictures", "dice", "iou", "area")
Levels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How people's masks become one map.

    Attributes:
        method: ``"mean"``: the share of the annotators who painted a pixel; ``"staple"``: the probability that it
            belongs to the region, by STAPLE.
        threshold: of the binary map, by the rule of training: salient where the map lies above it.
        bootstrap: replicates of the intervals of agreement; 0: none.
        seed: of the replicates.
        shown: how many pictures of least agreement are on the page.
    """

    method: Literal["mean", "staple"] = "mean"
    threshold: float = 0.5
    bootstrap: int = 1000
    seed: int = 1
    shown: int = 24

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise DataError(f"threshold: expected at least 0 and below 1, got {self.threshold}; 0.5 is a majority")
        if self.shown < 0:
            raise DataError(f"shown: expected at least 0 pictures, got {self.shown}")
        agreement.check_replicates(self.bootstrap)


def mean_map(votes: NDArray[np.uint16], annotators: int) -> Levels:
    """Returns the soft map of votes (how many painted each pixel): 255 · votes / annotators, a half rounded down.

    So rounded, a pixel that exactly half of the annotators painted has level 127, which is not above one half.
    """
    table = np.ceil(255 * np.arange(annotators + 1) / annotators - 0.5).astype(np.uint8)
    return np.asarray(table[votes])


def salient(levels: Levels, threshold: float) -> NDArray[np.bool_]:
    """Returns where a map lies above the threshold, as training decides it: level / 255 in float32."""
    table = np.arange(256, dtype=np.float32) / np.float32(255) > np.float32(threshold)
    return np.asarray(table[levels])


def make(
    directory: Path,
    settings: Settings,
    pictures_from: Path | None = None,
    update: Callable[[int], object] = lambda _: None,
) -> SetRecord:
    """Writes consensus and agreement into an annotation set, in place of earlier ones; returns its new record.

    Args:
        directory: of the set.
        settings: how.
        pictures_from: folder of the picture set, for the overlays; without it the set's own ``png/``, or grey.
        update: is told of each picture done.

    Raises:
        DataError: the set is not what its record says, or nobody annotated a picture.
    """
    record = sets.read_record(directory)
    shown = {picture.source_id: picture for picture in picture_sets.rows(directory / "pictures.jsonl")}
    with files.atomic_directory(directory / ".consensus", replace=True) as here:
        work = _Pass(here, settings)
        maps = work.run(directory, record, shown, update)
        if not maps:
            raise DataError(
                f"{directory}: expected annotations that count, found none; every one was skipped or returned"
            )
        new = dataclasses.replace(record, maps=maps, sha256=sets.maps_sha256(maps), consensus=_consensus(settings))
        files.write_json(here / "agreement.json", work.table(new))
        overlays.write(directory, here / "overlays.html", new, work.least(shown), pictures_from or directory)
        tables = {name: files.sha256_file(here / name) for name in _TABLES}
    _take_place(directory)
    new = dataclasses.replace(new, tables={**_inputs(record), **tables})
    sets.write_record(directory, new)
    return new


class _Pass:
    """Sums that grow with groups, never with pictures, and the files under way."""

    def __init__(self, here: Path, settings: Settings) -> None:
        self.here, self.settings = here, settings
        self.everything = Totals(len(SUMS), settings.bootstrap)
        self.classes: dict[str, Totals] = {}
        self.annotators: dict[str, Totals] = {}
        self.work: dict[str, NDArray[np.float64]] = {}
        self.pairs: dict[tuple[str, str], NDArray[np.float64]] = {}
        self.lowest: list[tuple[float, str, list[Annotation], float]] = []
        self.alone = 0
        self.robots: set[str] = set()

    def run(
        self, directory: Path, record: SetRecord, shown: dict[str, Picture], update: Callable[[int], object]
    ) -> dict[str, str]:
        """Makes every map; returns the SHA-256 of each soft map's file."""
        maps = {}
        with ExitStack() as stack:
            archive = stack.enter_context(
                zipfile.ZipFile(self.here / "maps.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1)
            )
            masks_file = stack.enter_context(coco.opened(self.here / "coco.json", record.name, record.classes, shown))
            csv_file = stack.enter_context((self.here / "agreement.csv").open("w", encoding="utf-8", newline=""))
            rows = csv.DictWriter(csv_file, _COLUMNS, lineterminator="\n")
            rows.writeheader()
            for source_id, group in sets.by_picture(directory):
                picture = shown[source_id]
                masks = np.stack([sets.read_mask(directory, row, (picture.width, picture.height)) for row in group])
                levels, binary, votes = self._map(masks)
                maps[source_id] = self._keep(source_id, levels, binary, archive)
                shared = agreement.intersections(masks)
                for mask, row, area in zip(masks, group, np.diagonal(shared).tolist(), strict=True):
                    masks_file.add(picture, mask, area, kind="annotation", annotator=row.annotator)
                masks_file.add(picture, binary, int(binary.sum()), kind="consensus")
                rows.writerow(self._measure(picture, group, shared, votes, float(binary.mean())))
                update(1)
        return maps

    def _map(self, masks: NDArray[np.bool_]) -> tuple[Levels, NDArray[np.bool_], NDArray[np.int64]]:
        """Returns the soft map, the binary one, and how many pixels 0, 1, … annotators painted."""
        votes = masks.sum(axis=0, dtype=np.uint16)
        if self.settings.method == "mean":
            levels = mean_map(votes, len(masks))
        else:
            levels = np.rint(255 * staple(masks).probability).astype(np.uint8)
        counted = np.bincount(votes.reshape(-1), minlength=len(masks) + 1)
        return levels, salient(levels, self.settings.threshold), counted

    def _keep(self, source_id: str, levels: Levels, binary: NDArray[np.bool_], archive: zipfile.ZipFile) -> str:
        """Writes both maps of a picture; returns the SHA-256 of the soft one's file."""
        data = sets.encode_grey(levels)
        for folder, content in (("maps", data), ("binary", sets.encode_mask(binary))):
            path = self.here / folder / f"{source_id}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, levels, allow_pickle=False)
        entry = zipfile.ZipInfo(f"{source_id}.npy")  # of 1980: the clock must not show in the bytes
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, buffer.getvalue(), compresslevel=1)
        return files.sha256_bytes(data)

    def _measure(
        self,
        picture: Picture,
        group: list[Annotation],
        shared: NDArray[np.int64],
        votes: NDArray[np.int64],
        consensus_area: float,
    ) -> dict[str, Any]:
        """Adds a picture to the sums; returns its row of ``agreement.csv``."""
        areas = np.diagonal(shared) / votes.sum()
        row: dict[str, Any] = {
            "source_id": picture.source_id,
            "source_class": picture.source_class,
            "annotators": len(group),
            "area_mean": float(areas.mean()),
            "area_least": float(areas.min()),
            "area_most": float(areas.max()),
            "consensus_area": consensus_area,
        }
        for annotation, area in zip(group, areas.tolist(), strict=True):
            self._count(annotation, area)
        if len(group) < 2:
            self.alone += 1
            return row
        sums = agreement.sums_of(shared, votes)
        times = agreement.weights(self.settings.seed, picture.source_id, self.settings.bootstrap)
        self.everything.add(sums, times)
        self._totals(self.classes, picture.source_class, len(SUMS)).add(sums, times)
        dice, iou = agreement.overlaps(shared)
        self._compare(group, dice, iou, areas, times)
        heapq.heappush(self.lowest, (-float(sums[1]), picture.source_id, group, float(sums[2])))
        if len(self.lowest) > self.settings.shown:
            heapq.heappop(self.lowest)
        found = agreement.indices(sums)
        measured = {name: float(found[name]) for name in ("dice", "iou", "alpha_pixels", "fleiss_kappa")}
        return (
            row | {name: value for name, value in measured.items() if np.isfinite(value)} | {"least_dice": dice.min()}
        )

    def _count(self, row: Annotation, area: float) -> None:
        """Adds an annotation to its annotator's work: annotations, "none", seconds, those with seconds, area."""
        if row.robot:
            self.robots.add(row.annotator)
        of = self.work.setdefault(row.annotator, np.zeros(5))
        of += (1, row.outcome == "none", row.seconds or 0, row.seconds is not None, area)

    def _compare(
        self,
        group: list[Annotation],
        dice: NDArray[np.float64],
        iou: NDArray[np.float64],
        areas: NDArray[np.float64],
        times: NDArray[np.float64],
    ) -> None:
        """Adds what each annotator has in common with the others, and each two with each other."""
        others = len(group) - 1
        for place, row in enumerate(group):
            sums = np.asarray([1, (dice[place].sum() - 1) / others, (iou[place].sum() - 1) / others, areas[place]])
            self._totals(self.annotators, row.annotator, len(_OF_ANNOTATOR)).add(sums, times)
            for after in range(place + 1, len(group)):
                pair = self.pairs.setdefault((row.annotator, group[after].annotator), np.zeros(3))
                pair += (1, dice[place, after], iou[place, after])

    def _totals(self, groups: dict[str, Totals], name: str, size: int) -> Totals:
        if name not in groups:
            groups[name] = Totals(size, self.settings.bootstrap)
        return groups[name]

    def table(self, record: SetRecord) -> dict[str, Any]:
        """Returns ``agreement.json``."""
        resampled = agreement.over_annotators(self.pairs)
        return {
            "schema_version": 1,
            "name": record.name,
            "sha256": record.sha256,
            "consensus": record.consensus,
            "pictures": len(record.maps),
            "pictures_with_one_annotator": self.alone,
            "overall": self.everything.measures(),
            "over_annotators": resampled,
            "classes": {name: self.classes[name].measures() for name in sorted(self.classes)},
            "annotators": {name: self._of_annotator(name) for name in sorted(self.work)},
            "pairs": [
                {
                    "annotators": list(pair),
                    "pictures": int(sums[0]),
                    "dice": sums[1] / sums[0],
                    "iou": sums[2] / sums[0],
                }
                for pair, sums in sorted(self.pairs.items())
            ],
        }

    def _of_annotator(self, name: str) -> dict[str, Any]:
        made, nothing, seconds, timed, area = self.work[name].tolist()
        row: dict[str, Any] = {
            "robot": name in self.robots,
            "annotations": int(made),
            "none": int(nothing),
            "mean_seconds": seconds / timed if timed else None,
            "mean_area": area / made,
        }
        if name not in self.annotators:
            return row
        totals = self.annotators[name]
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = totals.drawn / totals.drawn[:, :1] if totals.sums[0] >= LEAST_PICTURES else totals.drawn[:0]
        point = totals.sums / totals.sums[0]
        compared = {
            key: agreement.estimate(float(point[place]), drawn[:, place], int(totals.sums[0]))
            for place, key in ((1, "dice"), (2, "iou"))
        }
        return row | {"compared_pictures": int(totals.sums[0]), **compared}

    def least(self, shown: dict[str, Picture]) -> list[overlays.Shown]:
        """Returns the pictures of least agreement, the lowest first."""
        return [
            overlays.Shown(picture=shown[name], annotations=group, dice=-negative, iou=iou)
            for negative, name, group, iou in sorted(self.lowest, key=lambda one: (-one[0], one[1]))
        ]


def verify(directory: Path, update: Callable[[int], object] = lambda _: None) -> SetRecord:
    """Returns the record of a set after proving it: masks are their operations', maps are their masks', tables whole.

    Raises:
        DataError: something is absent, changed, or does not follow from what it was made of.
    """
    record = sets.read_record(directory)
    shown = {picture.source_id: picture for picture in picture_sets.rows(directory / "pictures.jsonl")}
    for name in record.tables:
        _check(directory / name, record.tables[name], "the table that annotations.json names")
    found = set()
    for row in sets.rows(directory):
        if row.source_id not in shown:
            raise DataError(
                f"{directory}: annotation {row.annotation_id}: expected a picture of the set, got {row.source_id!r}"
            )
        sets.verify_mask(directory, row, shown[row.source_id])
        if row.counts:
            found.add(row.source_id)
        update(1)
    if record.consensus is not None and found != set(record.maps):
        raise DataError(f"{directory}: expected a map of each annotated picture, got others; run consensus again")
    for name, sha256 in record.maps.items():
        _check(directory / "maps" / f"{name}.png", sha256, "the map that annotations.json names")
    return record


def _check(path: Path, sha256: str, what: str) -> None:
    if not path.is_file() or files.sha256_file(path) != sha256:
        raise DataError(
            f"{path}: expected {what}, it is absent or changed; run python -m core.annotations consensus again"
        )


def _consensus(settings: Settings) -> dict[str, Any]:
    chosen = {name: getattr(settings, name) for name in ("method", "threshold", "bootstrap", "seed")}
    return chosen | {"threshold_rule": THRESHOLD_RULE}


def _inputs(record: SetRecord) -> dict[str, str]:
    return {name: sha256 for name, sha256 in record.tables.items() if name in sets.INPUTS}


def _take_place(directory: Path) -> None:
    """Moves what was made into the set; until annotations.json is written too, the set does not name it."""
    for name in _NEW:
        old, new = directory / name, directory / ".consensus" / name
        if old.is_dir():
            shutil.rmtree(old)
        new.replace(old)
    shutil.rmtree(directory / ".consensus")
