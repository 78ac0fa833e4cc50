"""Images and labels in idx files, the format of MNIST and of what was made in its image."""

from __future__ import annotations

import gzip
import math
import tempfile
import zlib
from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path

import numpy as np
import numpy.typing as npt

from manifoldscope.errors import DataError
from manifoldscope.files import open_regular
from manifoldscope.vision.datasets.unpacking import most_unpacked
from manifoldscope.vision.images import ImageSet

_IDX_PARTS = {"train": "train", "test": "t10k"}


def idx_images(source: str, release: str, class_names: Sequence[str], split: str, root: str | None) -> ImageSet:
    """The images of one split, "train" or "test", of which the files are there or torchvision can download them.

    Args:
        release: what torchvision calls the dataset.

    Raises:
        DataError: files that are missing, truncated, or not what they should be.
    """
    folder = Path(root or "")
    images_name, labels_name = f"{_IDX_PARTS[split]}-images-idx3-ubyte", f"{_IDX_PARTS[split]}-labels-idx1-ubyte"
    if not any(_idx_files(folder, release, f"{part}-") for part in _IDX_PARTS.values()):
        _fetch_idx(source, release, folder)
    paths = {}
    for name in (images_name, labels_name):
        found = _idx_files(folder, release, name)
        if not found:
            raise DataError(f"{source}: there is no {name} or {name}.gz in {str(folder)!r}")
        paths[name] = found[0]
    pixels, labels = _read_idx(paths[images_name], 3), _read_idx(paths[labels_name], 1)
    if len(pixels) != len(labels):
        raise DataError(
            f"{source}: {paths[images_name].name} has {len(pixels)} images and {paths[labels_name].name} has "
            f"{len(labels)} labels; one of them is of another dataset"
        )
    if len(labels) and labels.max() >= len(class_names):
        raise DataError(f"{source}: {paths[labels_name].name} has label {labels.max()}; expected 0 to 9")
    return ImageSet.of(pixels[:, None], labels, class_names=class_names, source=source, split=split)


def _idx_files(folder: Path, release: str, name: str) -> list[Path]:
    """Idx files whose name begins with `name`, in the folder or where torchvision puts them under it."""
    places = (folder, folder / "raw", folder / release / "raw")
    return [
        path
        for place in places
        for path in sorted(place.glob(f"{name}*"))
        if path.name.endswith(("-ubyte", "-ubyte.gz"))
    ]


def _fetch_idx(source: str, release: str, folder: Path) -> None:
    """Let torchvision download the release; its compressed files land in the folder, all of them or none."""
    from torchvision import datasets

    created = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as temporary:
            getattr(datasets, release)(temporary, download=True)
            for file in sorted(Path(temporary, release, "raw").glob("*.gz")):
                file.replace(folder / file.name)
    except Exception as error:  # offline, a mirror gone, a read-only folder: one sentence for all
        if created and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        names = ", ".join(
            f"{part}-{what}-ubyte.gz" for part in _IDX_PARTS.values() for what in ("images-idx3", "labels-idx1")
        )
        raise DataError(
            f"{source}: {str(folder)!r} has none of its files and they could not be downloaded "
            f"({' '.join(str(error).split())[:100] or type(error).__name__}); put {names} there"
        ) from error


def _read_idx(path: Path, n_dimensions: int) -> npt.NDArray[np.uint8]:
    """An idx file of unsigned bytes: two zeros, 8, the number of dimensions, each size in four bytes, the values."""
    try:
        with open_regular(path) as opened:
            packed: gzip.GzipFile | BufferedReader = gzip.GzipFile(fileobj=opened) if path.suffix == ".gz" else opened
            head = packed.read(4 + 4 * n_dimensions)
            if len(head) < 4 + 4 * n_dimensions or head[:4] != bytes((0, 0, 8, n_dimensions)):
                raise DataError(
                    f"{path.name} begins with {head[:4].hex() or 'nothing'}; expected 0000080{n_dimensions}, the mark "
                    f"of an idx file of unsigned bytes in {n_dimensions} dimension{'s' if n_dimensions > 1 else ''}"
                )
            shape = tuple(int(size) for size in np.frombuffer(head, ">u4", n_dimensions, offset=4))
            announced = f"its header announces {' x '.join(map(str, shape))} = {(expected := math.prod(shape))}"
            size = path.stat().st_size
            if expected > (size if packed is opened else most_unpacked(size)):
                raise DataError(f"{path.name} has {size} bytes; {announced}. It is truncated or corrupt: {_AGAIN}")
            content = packed.read(expected + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"{path.name} cannot be read ({reason}); it may be truncated: {_AGAIN}") from error
    if len(content) != expected:
        held = f"{len(content)} values" if len(content) < expected else "more values"
        raise DataError(f"{path.name} holds {held}; {announced}. It is truncated or corrupt: {_AGAIN}")
    return np.frombuffer(content, np.uint8).reshape(shape)


_AGAIN = "download it again"
