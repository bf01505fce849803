"""``overlays.html``: the pictures on which annotators agree least, with each one's mask. Nothing is fetched."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core import files, picture_sets, pictures
from core.annotations import sets
from core.annotations.raster import Mask
from core.annotations.sets import Annotation, SetRecord
from core.picture_sets import Picture
from core.pictures import Pixels

_TEMPLATES = Path(__file__).resolve().parents[2] / "templates" / "annotations"
_SIDE = 160  # CSS pixels that a picture takes at least, if it is smaller; larger ones are shrunk to _LARGEST
_LARGEST = 320
_PAINT = np.asarray([213, 94, 0], dtype=np.float64)  # vermilion, which colour-blind people tell from most pictures
_OUTLINE = np.asarray([255, 255, 255], dtype=np.uint8)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A picture of the page: its annotations, and what was measured of them."""

    picture: Picture
    annotations: Sequence[Annotation]
    dice: float
    iou: float


def write(directory: Path, target: Path, record: SetRecord, shown: Sequence[Shown], pictures_from: Path | None) -> None:
    """Writes the page to ``target``; without the pictures' files masks are shown on grey.

    Args:
        directory: of the annotation set, whose masks are read.
        target: the file.
        record: of the set.
        shown: pictures, least agreement first.
        pictures_from: folder with ``png/`` of a picture set.
    """
    page = Template((_TEMPLATES / "overlays.html").read_text(encoding="utf-8"))
    lead = "No picture has two masks that could be compared."
    if shown:
        lead = (
            f"The {len(shown)} pictures with the lowest mean Dice of two annotators, lowest first: the picture, each "
            "annotator's mask in orange with a white edge, and the consensus (white = everybody painted)."
        )
    text = page.substitute(
        name=escape(record.name),
        style=(_TEMPLATES / "overlays.css").read_text(encoding="utf-8"),
        lead=lead,
        pictures="\n".join(_section(directory, target.parent, one, pictures_from) for one in shown),
        sha256=record.sha256,
    )
    files.write_text(target, text)


def painted(picture: Pixels, mask: Mask) -> Pixels:
    """Returns a picture with a mask laid over it: its pixels half orange, those at its edge white."""
    mixed = np.where(mask[:, :, None], (picture + _PAINT) / 2, picture).astype(np.uint8)
    return np.where(_edge(mask)[:, :, None], _OUTLINE, mixed)


def inline(pixels: NDArray[np.uint8]) -> str:
    """Returns a picture, [height, width] or [height, width, 3], as a data address; large ones are shrunk."""
    image = Image.fromarray(pixels)
    if max(image.size) > _LARGEST:
        image.thumbnail((_LARGEST, _LARGEST), Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def picture_of(picture: Picture, pictures_from: Path | None) -> Pixels:
    """Returns the pixels of a picture, or grey ones if its file is not there."""
    if pictures_from is not None and (file := pictures_from / picture_sets.png_name(picture.sha256)).is_file():
        return pictures.read(file)
    return np.full((picture.height, picture.width, 3), 128, dtype=np.uint8)


def _edge(mask: Mask) -> Mask:
    """Returns the painted pixels that have an unpainted neighbour above, below, left or right."""
    around = np.pad(mask, 1, mode="edge")
    return mask & ~(around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:])


def _section(directory: Path, here: Path, one: Shown, pictures_from: Path | None) -> str:
    pixels, size = picture_of(one.picture, pictures_from), (one.picture.width, one.picture.height)
    figures = [_figure(pixels, "the picture", one.picture)]
    for row in one.annotations:
        mask = sets.read_mask(directory, row, size)
        figures.append(_figure(painted(pixels, mask), f"{row.annotator}: {mask.mean():.0%}", one.picture))
    soft = np.asarray(Image.open(here / "maps" / f"{one.picture.source_id}.png"))
    figures.append(_figure(soft, "consensus", one.picture))
    return (
        f"<section>\n<h2>{escape(one.picture.source_id)}</h2>\n"
        f'<p class="numbers">Dice {one.dice:.3f} · IoU {one.iou:.3f} · {len(one.annotations)} annotators</p>\n'
        f'<div class="row" tabindex="0" role="group" aria-label="{escape(one.picture.source_id)}">\n'
        + "\n".join(figures)
        + "\n</div>\n</section>"
    )


def _figure(pixels: NDArray[np.uint8], caption: str, picture: Picture) -> str:
    longest = max(picture.width, picture.height)
    scale = max(1, -(-_SIDE // longest)) if longest <= _LARGEST else _LARGEST / longest
    width, height = round(picture.width * scale), round(picture.height * scale)
    return (
        f'<figure><img src="{inline(pixels)}" width="{width}" height="{height}" loading="lazy" '
        f'alt="{escape(caption)}"><figcaption>{escape(caption)}</figcaption></figure>'
    )
