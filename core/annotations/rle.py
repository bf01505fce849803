"""Run lengths of masks: COCO's, in columns, and the decoder of Label Studio's brush.

COCO counts alternate between unpainted and painted pixels, column by column, and begin with the unpainted ones. As text
each count, from the fourth on its difference from the last but one, is written in groups of five bits, lowest first: a
character is 48 + five bits + 32 where more follow, and the last group's bit 16 is the sign. This is the published
format of COCO's ``maskApi``.

Label Studio packs a picture of four 8-bit channels (RGBA, row by row) into runs, bit by bit, highest bit first: 32 bits
number of values, 5 bits word length less 1, four times 4 bits of run length sizes less 1; then, until all values are
there, one bit that says whether a run of one value follows or that many values, two bits naming the size, and the
length less 1 in so many bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.annotations.raster import Mask
from core.errors import DataError


def counts_of(mask: Mask) -> list[int]:
    """Returns COCO's uncompressed counts of a mask, bool [height, width]."""
    flat = mask.reshape(-1, order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    begin = [0, 0] if flat.size and flat[0] else [0]
    ends = [*begin, *changes.tolist(), flat.size]
    return [int(after) - int(before) for before, after in itertools.pairwise(ends)]


def mask_of(counts: Sequence[Any], width: int, height: int) -> Mask:
    """Returns the mask, bool [height, width], of COCO's uncompressed counts.

    Raises:
        DataError: the counts are negative or do not cover the picture.
    """
    if any(not isinstance(count, int) or count < 0 for count in counts) or sum(counts) != width * height:
        raise DataError(
            f"COCO RLE: expected counts of {width}×{height} = {width * height} pixels in all, got {sum(counts)}; "
            "export the masks again"
        )
    painted = np.arange(len(counts)) % 2 == 1
    return np.repeat(painted, counts).reshape((height, width), order="F")


def text_of(counts: Sequence[int]) -> str:
    """Returns COCO's compressed string of counts."""
    letters = []
    for place, count in enumerate(counts):
        value, more = count - counts[place - 2] if place > 2 else count, True
        while more:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            letters.append(chr(48 + bits + (32 if more else 0)))
    return "".join(letters)


def counts_of_text(text: str) -> list[int]:
    """Returns the counts in COCO's compressed string.

    Raises:
        DataError: the string holds other characters, or ends within a number.
    """
    counts: list[int] = []
    value, shift = 0, 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64:
            raise DataError(f"COCO RLE: expected characters from '0' to 'o', got {letter!r}; export the masks again")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        value -= (1 << shift) if bits & 16 else 0
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise DataError(f"COCO RLE: expected a whole string, got one that ends within a number: {text[-8:]!r}")
    return counts


def segmentation(mask: Mask) -> dict[str, Any]:
    """Returns a mask as COCO's ``segmentation``: its size, [height, width], and the compressed counts."""
    return {"size": [mask.shape[0], mask.shape[1]], "counts": text_of(counts_of(mask))}


def brush_of(packed: Sequence[int], width: int, height: int) -> Mask:
    """Returns the mask, bool [height, width], of Label Studio's brush: what is at least half opaque is painted.

    Args:
        packed: the ``rle`` of a region, bytes.
        width: of the picture, Label Studio's ``original_width``.
        height: of the picture.

    Raises:
        DataError: it is no such packing, or not of this size.
    """
    try:
        bits = np.unpackbits(np.asarray(packed, dtype=np.uint8))
        values = _unpacked(bits, 4 * width * height)
    except (ValueError, OverflowError, TypeError) as error:
        raise DataError(
            f"Label Studio RLE: expected a packed brush, could not read it: {error}; export the annotations again"
        ) from None
    return np.asarray(values.reshape(height, width, 4)[:, :, 3] >= 128, dtype=np.bool_)


def _unpacked(bits: NDArray[np.uint8], total: int) -> NDArray[np.int64]:
    """Returns the values of Label Studio's packing, of which there must be so many."""
    if (held := _read(bits, 0, 32)) != total:
        raise ValueError(f"it holds {held} values, not four of each pixel, {total}")
    word, place = _read(bits, 32, 5) + 1, 53
    sizes = [_read(bits, 37 + 4 * index, 4) + 1 for index in range(4)]
    parts, done = [np.zeros(0, np.int64)], 0
    while done < total:
        repeated, size = _read(bits, place, 1), sizes[_read(bits, place + 1, 2)]
        length = _read(bits, place + 3, size) + 1
        words = 1 if repeated else length
        values = _words(bits, place + 3 + size, words, word)
        parts.append(np.repeat(values, length) if repeated else values)
        place, done = place + 3 + size + words * word, done + length
    return np.concatenate(parts)[:total]


def _read(bits: NDArray[np.uint8], place: int, count: int) -> int:
    return int(_words(bits, place, 1, count)[0])


def _words(bits: NDArray[np.uint8], place: int, words: int, length: int) -> NDArray[np.int64]:
    """Returns numbers of ``length`` bits each, highest bit first."""
    chosen = bits[place : place + words * length]
    if len(chosen) < words * length:
        raise ValueError(f"it ends after {len(bits)} bits")
    weights = 1 << np.arange(length - 1, -1, -1, dtype=np.int64)
    return np.asarray(chosen.reshape(words, length).astype(np.int64) @ weights)
