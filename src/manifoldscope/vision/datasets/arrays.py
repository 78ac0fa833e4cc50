"""Images of your own in one npz file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from manifoldscope.errors import DataError
from manifoldscope.files import open_regular
from manifoldscope.vision.datasets.dataset import DATASETS
from manifoldscope.vision.datasets.unpacking import DENSEST, most_unpacked
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.printable import printable


@DATASETS.register("arrays", splits=("all",), needs_root="an npz file with the arrays `images` and `labels`")
def arrays(*, split: str = "all", root: str | None = None) -> ImageSet:
    """Images of your own in one npz file: `images`, `labels` and, if you like, `class_names`.

    `images` is (n, height, width), (n, height, width, channels) or (n, channels, height, width), uint8 or floating
    point in [0, 1]; `labels` holds n class indices, or the n names of the classes, which are then numbered in the order
    of their names. Nothing in the file is unpickled.
    """
    file = Path(root or "")
    if not file.is_file():
        raise DataError(f"arrays: {str(file)!r} is no file; expected an npz file with the arrays `images` and `labels`")
    try:
        with open_regular(file) as opened:
            if opened.read(6) == b"\x93NUMPY":
                raise DataError(f"arrays: {file.name} holds a single array; save `images` and `labels` with np.savez")
            opened.seek(0)
            _check_unpacked_size(opened, file)
            archive: Any = np.load(opened, allow_pickle=False)
            if missing := [name for name in ("images", "labels") if name not in archive.files]:
                held = ", ".join(map(printable, archive.files[:10]))
                raise DataError(f"arrays: {file.name} has no array `{missing[0]}`; it has: {held or 'none'}")
            pixels, labels = archive["images"], archive["labels"]
            names = (
                [printable(str(name)) for name in archive["class_names"]] if "class_names" in archive.files else None
            )
            if labels.dtype.kind == "U":
                if names is not None:
                    raise DataError(
                        f"arrays: {file.name} names classes in `labels` and in `class_names`; save one of them"
                    )
                named, labels = np.unique(labels, return_inverse=True)
                names = [printable(str(name)) for name in named]
    except DataError:
        raise
    except Exception as error:  # numpy raises many kinds for a broken file, and ValueError for objects inside
        objects = "allow_pickle" in str(error)
        told = printable(" ".join(str(error).split())[:200]) or type(error).__name__
        raise DataError(
            f"arrays: {file.name} holds pickled objects, which could run code; save plain arrays of numbers"
            if objects
            else f"arrays: {file.name} cannot be read as npz ({told})"
        ) from error
    return ImageSet.of(_channels_first(pixels), labels, class_names=names, source="arrays", split=split)


def _check_unpacked_size(opened: BinaryIO, file: Path) -> None:
    """Refuse an archive that is tiny and claims to hold a great deal."""
    if zipfile.is_zipfile(opened):
        opened.seek(0)
        wanted = [e for e in zipfile.ZipFile(opened).infolist() if e.filename in _ARRAYS]
        _refuse_bomb("arrays", file, sum(entry.file_size for entry in wanted))
    opened.seek(0)


_ARRAYS = ("images.npy", "labels.npy", "class_names.npy")


def _refuse_bomb(source: str, file: Path, unpacked: int) -> None:
    packed = file.stat().st_size
    if unpacked > most_unpacked(packed):
        raise DataError(
            f"{source}: {file.name} claims to hold {unpacked / 2**20:,.0f} MiB in {packed / 2**20:,.2f} MiB, more than "
            f"{DENSEST} times its size; it was not unpacked: save it without compression if that is right"
        )


def _channels_first(pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    if pixels.ndim == 3:
        return pixels[:, None]
    if pixels.ndim != 4:
        raise DataError(f"arrays: `images` has shape {pixels.shape}; expected (n, h, w), (n, h, w, c) or (n, c, h, w)")
    first, last = pixels.shape[1] in (1, 3), pixels.shape[3] in (1, 3)
    if first and last:
        raise DataError(
            f"arrays: `images` has shape {pixels.shape}, where either the second or the last dimension may be the "
            "channels; save grey images as (n, h, w), or pad them"
        )
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)) if last else pixels
