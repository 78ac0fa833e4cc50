"""From the content of an image file to its pixels, within bounds."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from manifoldscope.vision.printable import printable

MAX_BYTES = 256 * 2**20
"""Bytes of an image file; a longer one is not read."""

MAX_PIXELS = 100_000_000
"""Pixels of an image; a larger one is not decoded, since its file may be tiny and its pixels fill the memory."""

_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

_PHOTOMETRIC, _BITS = 262, 258  # tags of a TIFF file


def decode(content: bytes, *, small: bool = False) -> Tensor:
    """The pixels of an image file: (channels, height, width), uint8 in 0..255 or float32 in [0, 1].

    Grey stays grey, with 16 bits as float32; CMYK and palettes become RGB; transparency is dropped, so that pixels
    have the colour that is stored under it; the orientation that a camera recorded is applied; of several frames or
    pages the first is taken.

    Args:
        small: the same checks on an eighth of the size where the format can do that; every byte is still decoded.

    Raises:
        Exception: of any kind, where the content is broken or hostile; `reason` puts it into words.
    """
    with Image.open(io.BytesIO(content), formats=formats()) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            raise ValueError(f"it has {opened.width} x {opened.height} pixels; at most {_LIMIT} are read")
        if small:
            opened.draft(opened.mode, (1, 1))
        image = ImageOps.exif_transpose(opened)
        if image.mode in ("I", "F"):
            raise ValueError(f"pixels are of mode {image.mode!r}, whose range is not known")
        if image.mode.startswith("I;16"):
            return torch.from_numpy(_sixteen_bits(opened, image))
        if image.mode == "P":
            image = image.convert("RGBA")  # transparency of a palette; Pillow warns of the direct way
        image = image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB")
        pixels = np.array(image)
    if not pixels.size:
        raise ValueError("it has no pixels")
    return torch.from_numpy(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1).copy())


@cache
def formats() -> tuple[str, ...]:
    """What is decoded, whatever the file is called; others that Pillow knows start programs, or hold no pixels."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


_LIMIT = f"{MAX_PIXELS // 10**6} megapixels"


def _sixteen_bits(opened: Image.Image, image: Image.Image) -> npt.NDArray[np.float32]:
    """Grey of 16 bits, in either byte order, as (1, height, width) in [0, 1]."""
    tags = getattr(opened, "tag_v2", {})
    bits = tags.get(_BITS, 16)
    if bits not in (16, (16,)):
        raise ValueError(f"pixels have {bits} bits, whose range is not known")
    levels = np.array(image).astype(np.uint16)[None]
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero
        levels = ~levels
    return levels.astype(np.float32) / np.float32(65535)


def reason(error: Exception) -> str:
    """Why a file could not be decoded, without the folders of this machine."""
    if isinstance(error, UnidentifiedImageError):
        return "it is no image, or in a format that is not known"
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"it has too many pixels; at most {_LIMIT} are read"
    if isinstance(error, MemoryError):
        return "it does not fit into memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return printable(" ".join(str(error).split())[:200]) or type(error).__name__
