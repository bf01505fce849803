"""``sheet.html``: a stimulus set to look at. References, stimuli and their differences, of some of its sources.

Pictures are those of the set, named by their path beside the page; differences are inside the page. Nothing is fetched.
"""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

from core import files, pictures
from core.manifest import SetRecord, Stimulus, by_source, png_name, rows
from core.pictures import Pixels

_TEMPLATES = Path(__file__).resolve().parents[1] / "templates" / "stimuli"
_SIDE = 120  # CSS pixels that a picture takes at least, if it is smaller
_PIXELS = 4_000_000  # of differences on a page: about as many bytes of it


def write(directory: Path, record: SetRecord, sources: int) -> Path:
    """Writes the contact sheet of a sealed set and returns its path; a source in memory at a time, but for the page.

    Args:
        directory: of the set.
        record: its record.
        sources: at most so many are shown, evenly spread over the set; fewer where pictures are large.
    """
    page = Template((_TEMPLATES / "sheet.html").read_text(encoding="utf-8"))
    shown = list(_chosen(directory, record, sources))
    text = page.substitute(
        name=escape(record.name),
        style=(_TEMPLATES / "sheet.css").read_text(encoding="utf-8"),
        lead=_lead(record),
        choice=_choice(record, len(shown)),
        sources="\n".join(_source(directory, group) for group in shown),
        footer=f"Manifest SHA-256 <code>{record.manifest_sha256}</code>. Prove the set: "
        f"<code>python -m core.stimuli verify DIR</code>",
    )
    files.write_text(directory / "sheet.html", text)
    return directory / "sheet.html"


def gain(eps: int) -> int:
    """Returns the whole number by which a difference of at most ``eps`` is multiplied to fill the grey levels."""
    return max(1, 127 // eps)


def difference(reference: Pixels, picture: Pixels, times: int) -> Pixels:
    """Returns 128 + ``times`` × (picture − reference), cut to 0..255."""
    offset = picture.astype(np.int32) - reference.astype(np.int32)
    return np.clip(128 + times * offset, 0, 255).astype(np.uint8)


def _chosen(directory: Path, record: SetRecord, sources: int) -> Iterator[list[Stimulus]]:
    """Yields the rows of sources 0, S/n, 2S/n, … of S."""
    for place, group in enumerate(by_source(rows(directory))):
        if place == 0:
            area = group[0].width * group[0].height * max(1, len(record.cells))
            sources = max(1, min(sources, record.sources, _PIXELS // area))
            wanted = {number * record.sources // sources for number in range(sources)}
        if place in wanted:
            yield group


def _lead(record: SetRecord) -> str:
    parts = [
        f"{record.stimuli:,} stimuli of {record.sources:,} source pictures",
        f"models {', '.join(record.runs)}",
        f"attacks {', '.join(record.attacks)}",
        f"regions {', '.join(record.regions)}",
        f"ε {_ladder(record)} grey levels",
    ]
    return " · ".join(escape(part) for part in parts)


def _ladder(record: SetRecord) -> str:
    if record.selected_on == "minimal":
        return f"at most {record.eps[-1]}"
    return ", ".join(str(eps) for eps in record.eps if eps)


def _choice(record: SetRecord, shown: int) -> str:
    spread = ", evenly spread over the set" if shown < record.sources else ""
    selected = {
        "none": "The set is not selected on what came of the attacks.",
        "fooled": "The set holds only sources that every model got right before and wrong in every cell.",
        "minimal": "The set holds only sources that every model got right before and wrong in every cell; each picture "
        "is at the least ε that fools.",
    }[record.selected_on]
    return f"Shown are {shown} of {record.sources:,} sources{spread}. {selected}"


def _source(directory: Path, group: Sequence[Stimulus]) -> str:
    reference = group[0]
    pixels = pictures.read(directory / png_name(reference.sha256))
    kinds = itertools.groupby(group[1:], key=lambda row: (row.run, row.attack, row.region))
    strips = "\n".join(_strip(directory, reference, pixels, list(strip)) for _, strip in kinds)
    return (
        f'<section>\n<h2>{escape(reference.source_class)}</h2>\n<p class="id">{escape(reference.source_id)} · '
        f"{reference.width} × {reference.height} pixels</p>\n{strips}\n</section>"
    )


def _strip(directory: Path, reference: Stimulus, pixels: Pixels, strip: Sequence[Stimulus]) -> str:
    """Returns the row of one model, attack and region: the reference, then ε rising."""
    first = strip[0]
    label = f"{first.run}, {first.attack}, {first.region}"
    region = "" if first.region == "full" else f", {first.mask_area:.0%} of the pixels"
    figures = "\n".join(_stimulus(directory, row, pixels) for row in strip)
    return (
        f"<h3>{escape(first.run or '')} <small>{escape(first.attack or '')} · region {escape(first.region)}{region}"
        f'</small></h3>\n<div class="row" tabindex="0" role="group" aria-label="{escape(label)}">\n'
        f"{_reference(reference, first)}\n{figures}\n</div>"
    )


def _reference(reference: Stimulus, first: Stimulus) -> str:
    alt = f"Reference of class {reference.source_class}"
    seen = escape(first.prediction_before or "")
    return (
        f'<figure class="reference">{_image(png_name(reference.sha256), reference, alt)}'
        f"<figcaption><b>reference</b><span>seen as {seen}</span></figcaption></figure>"
    )


def _stimulus(directory: Path, row: Stimulus, reference: Pixels) -> str:
    times = gain(row.eps_asked)
    changed = difference(reference, pictures.read(directory / png_name(row.sha256)), times)
    outcome = f"{row.prediction_before} → {row.prediction_after}"
    alt = f"Stimulus at ε {row.eps_asked} from {row.run}, seen as {row.prediction_after}"
    return (
        f"<figure>{_image(png_name(row.sha256), row, alt)}"
        f"{_image(_data(changed), row, f'Its difference from the reference, times {times}')}"
        f"<figcaption><b>ε = {row.eps_asked}</b><span>{escape(outcome)}</span>{_mark(row)}"
        f"<span>SSIM {row.ssim:.3f}</span><span>difference ×&nbsp;{times}</span></figcaption></figure>"
    )


def _mark(row: Stimulus) -> str:
    if not row.fooled:
        return '<span class="mark stands">✓ stands</span>'
    if row.prediction_before != row.source_class:
        return '<span class="mark before">– wrong before</span>'
    return '<span class="mark fooled">✗ fooled</span>'


def _image(source: str, row: Stimulus, alt: str) -> str:
    scale = max(1, -(-_SIDE // max(row.width, row.height)))
    return (
        f'<img src="{source}" width="{row.width * scale}" height="{row.height * scale}" loading="lazy" '
        f'alt="{escape(alt)}">'
    )


def _data(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode="RGB").save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
