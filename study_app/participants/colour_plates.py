"""Plates of coloured dots with a digit that needs normal colour vision to be read; made here, from a seed.

The digit and its ground differ along a confusion line: only in the response of the long-wave cones (a protanope lacks
them), only in that of the middle-wave cones (a deuteranope lacks those), or, on the control plate, in brightness, which
everybody sees. Each dot's brightness is jittered, so that brightness tells nothing on the other plates. Cone responses:
Viénot, Brettel & Mollon 1999 (from Smith & Pokorny 1975). Screens differ: this is a screening, not a diagnosis.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from core import rng

Kind = Literal["control", "protan", "deutan"]
Floats = NDArray[np.float64]

SIDE, SUPERSAMPLING = 440, 3  # pixels of a plate; drawn larger, then averaged
DIGITS = "235689"  # none that are taken for one another when dots are missing: no 0, 1, 4, 7
KINDS: tuple[Kind, ...] = ("control", "deutan", "protan", "deutan", "protan", "deutan")
MAY_MISS = 1  # of the plates that are no control

RADII = np.linspace(9.5, 3.0, 14)  # of dots, pixels, large ones first
TRIES = 600  # places tried for each radius
GAP = 1.5  # pixels between two dots
LMS = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
BASE = np.array([0.36, 0.24, 0.12])  # linear sRGB between digit and ground
CONTRAST = 0.6  # share of the way to the edge of what a screen can show
JITTER = 0.25  # of a dot's brightness, to both sides
CONTROL_RATIO = 3.2  # of brightness between digit and ground


@dataclass(frozen=True, kw_only=True)
class Dots:
    """The dots of a plate.

    Attributes:
        centres: [n, 2], x and y in pixels.
        radii: [n], pixels.
        in_digit: [n], whether a dot belongs to the digit.
        colours: [n, 3], linear sRGB in [0, 1].
    """

    centres: Floats
    radii: Floats
    in_digit: NDArray[np.bool_]
    colours: Floats


def digits(seed: int) -> tuple[str, ...]:
    """Returns the digit on each plate of a seed, in the order of showing."""
    generator = rng.numpy_generator(seed, "digits of the plates")
    return tuple(DIGITS[place] for place in generator.integers(len(DIGITS), size=len(KINDS)))


def passes(given: tuple[str, ...], shown: tuple[str, ...]) -> bool:
    """Returns whether answers show normal colour vision: the control plate right, and at most one other wrong.

    Somebody who guesses all of the others, and knows which digits there are, passes with a probability below 0.004.
    """
    right = [answer.strip() == digit for answer, digit in zip(given, shown, strict=True)]
    control = [each for each, kind in zip(right, KINDS, strict=True) if kind == "control"]
    others = [each for each, kind in zip(right, KINDS, strict=True) if kind != "control"]
    return all(control) and others.count(False) <= MAY_MISS


@lru_cache(maxsize=64)
def png(seed: int, index: int) -> bytes:
    """Returns plate ``index`` of a seed as a PNG file; the same arguments give the same bytes."""
    return render(dots(seed, index))


def dots(seed: int, index: int) -> Dots:
    """Returns the dots of plate ``index`` of a seed."""
    generator = rng.numpy_generator(seed, "plate", index)
    centres, radii = _packed(generator)
    mask = _digit_mask(digits(seed)[index])
    columns, rows = centres.astype(int).T
    in_digit = mask[rows, columns]
    swapped = bool(generator.integers(2))
    pair = _pair(KINDS[index])[:: -1 if swapped else 1]
    brightness = generator.uniform(1 - JITTER, 1 + JITTER, (len(radii), 1))
    colours = np.where(in_digit[:, None], pair[0], pair[1]) * brightness
    return Dots(centres=centres, radii=radii, in_digit=in_digit, colours=colours)


def render(plate: Dots) -> bytes:
    """Returns the PNG file of a plate, on white."""
    image = Image.new("RGB", (SIDE * SUPERSAMPLING, SIDE * SUPERSAMPLING), "white")
    draw = ImageDraw.Draw(image)
    for (x, y), radius, colour in zip(plate.centres, plate.radii, _encoded(plate.colours), strict=True):
        box = [(x - radius) * SUPERSAMPLING, (y - radius) * SUPERSAMPLING]
        draw.ellipse([*box, *(edge + 2 * radius * SUPERSAMPLING for edge in box)], fill=tuple(map(int, colour)))
    buffer = io.BytesIO()
    image.resize((SIDE, SIDE), Image.Resampling.BOX).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _pair(kind: Kind) -> tuple[Floats, Floats]:
    """Returns the two colours of a plate before jitter, linear sRGB."""
    if kind == "control":
        return BASE / np.sqrt(CONTROL_RATIO), BASE * np.sqrt(CONTROL_RATIO)
    direction = np.linalg.inv(LMS)[:, {"protan": 0, "deutan": 1}[kind]]
    reach = CONTRAST * min(_reach(direction), _reach(-direction))
    return BASE + reach * direction, BASE - reach * direction


def _reach(direction: Floats) -> float:
    """Returns how far one can go from the base colour until a channel of a jittered dot would leave [0, 1]."""
    edges = np.where(direction > 0, 1 / (1 + JITTER), 0.0)
    return float(((edges - BASE) / direction).min())


def _packed(generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Returns centres and radii of dots that do not touch, within the disc of the plate."""
    centres, radii = np.empty((0, 2)), np.empty(0)
    for radius in RADII:
        for place in generator.uniform(radius, SIDE - radius, (TRIES, 2)):
            inside = np.hypot(*(place - SIDE / 2)) + radius <= SIDE / 2
            if inside and (np.hypot(*(centres - place).T) > radii + radius + GAP).all():
                centres, radii = np.vstack([centres, place]), np.append(radii, radius)
    return centres, radii


def _digit_mask(digit: str) -> NDArray[np.bool_]:
    image = Image.new("1", (SIDE, SIDE))
    ImageDraw.Draw(image).text(
        (SIDE / 2, SIDE / 2), digit, fill=1, anchor="mm", font=ImageFont.load_default(SIDE * 0.9), stroke_width=12
    )
    return np.asarray(image)


def _encoded(linear: Floats) -> NDArray[np.uint8]:
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)
    return (255 * curved).round().astype(np.uint8)
