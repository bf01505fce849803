"""8-bit RGB pictures as PNG bytes and back. Torch-free.

Every picture goes through one encoder: RGB, an sRGB chunk, no other metadata, pixel data stored without compression.
Files of pictures of one size have one length: neither length nor chunks tell whether a picture was perturbed.
"""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from core.errors import DataError

Pixels = NDArray[np.uint8]  # [height, width, 3]


def encode_png(pixels: Pixels) -> bytes:
    """Returns the PNG file of ``pixels`` (uint8, [height, width, 3], sRGB)."""
    metadata = PngImagePlugin.PngInfo()
    metadata.add(b"sRGB", b"\x00")  # rendering intent: perceptual
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode="RGB").save(buffer, format="PNG", pnginfo=metadata, compress_level=0)
    return buffer.getvalue()


def decode(data: bytes, where: str) -> Pixels:
    """Returns the RGB pixels (uint8, [height, width, 3]) of an image file's bytes.

    Raises:
        DataError: ``data`` is not a picture that can be read; the message names ``where``.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (UnidentifiedImageError, OSError, SyntaxError, zlib.error, ValueError) as error:
        raise DataError(
            f"{where}: expected a picture (PNG or JPEG), could not read it: {error}; replace the file"
        ) from None


def read(path: Path) -> Pixels:
    """Returns the RGB pixels (uint8, [height, width, 3]) of the picture at ``path``."""
    return decode(path.read_bytes(), str(path))


def png_chunks(data: bytes) -> tuple[tuple[str, int], ...]:
    """Returns (type, length) of each chunk of a PNG file, in order."""
    chunks, offset = [], 8
    while offset + 8 <= len(data):
        length = int.from_bytes(data[offset : offset + 4], "big")
        chunks.append((data[offset + 4 : offset + 8].decode("latin-1"), length))
        offset += 12 + length
    return tuple(chunks)
