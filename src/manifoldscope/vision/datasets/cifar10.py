"""CIFAR-10, in its binary release."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from manifoldscope.errors import DataError
from manifoldscope.files import read_bytes
from manifoldscope.vision.datasets.dataset import DATASETS
from manifoldscope.vision.datasets.unpacking import MUCH
from manifoldscope.vision.images import ImageSet

_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR_ROW = 1 + 3 * 32 * 32


@DATASETS.register(
    "cifar10", splits=("train", "test"), needs_root="the folder of the binary release (data_batch_1.bin, ...)"
)
def cifar10(*, split: str = "test", root: str | None = None) -> ImageSet:
    """Ten kinds of animals and vehicles, 32 x 32 colour pixels (Krizhevsky 2009): 50,000 to train on, 10,000 to test.

    Reads the binary release, in the folder or in `cifar-10-batches-bin` under it. The Python release is pickled, and
    never read.
    """
    folder = Path(root or "")
    places = [place for place in (folder, folder / "cifar-10-batches-bin") if any(place.glob("*_batch*.bin"))]
    if not places:
        pickled = [folder / "data_batch_1", folder / "cifar-10-batches-py", folder / "cifar-10-python.tar.gz"]
        why = (
            "has only the pickled release, and reading a pickle runs code from the file; get cifar-10-binary.tar.gz"
            if any(path.exists() for path in pickled)
            else "has none of data_batch_1.bin to data_batch_5.bin and test_batch.bin; unpack cifar-10-binary.tar.gz"
        )
        raise DataError(f"cifar10: {str(folder)!r} {why} from the dataset's page and unpack it there")
    wanted = ["test_batch.bin"] if split == "test" else [f"data_batch_{number}.bin" for number in range(1, 6)]
    rows = np.concatenate([_read_cifar(places[0] / name) for name in wanted])
    pixels = np.ascontiguousarray(rows[:, 1:]).reshape(-1, 3, 32, 32)
    return ImageSet.of(pixels, rows[:, 0], class_names=_CIFAR10, source="cifar10", split=split)


def _read_cifar(path: Path) -> npt.NDArray[np.uint8]:
    """Rows of one label and 3,072 pixels, in a file of the binary release."""
    try:
        content = np.frombuffer(read_bytes(path, at_most=MUCH), np.uint8)
    except OSError as error:
        raise DataError(f"cifar10: {path.name} cannot be read: {(error.strerror or str(error)).lower()}") from error
    if not len(content) or len(content) % _CIFAR_ROW:
        raise DataError(
            f"cifar10: {path.name} has {len(content)} bytes; expected a multiple of {_CIFAR_ROW}. It is truncated or "
            "corrupt: download it again"
        )
    rows = content.reshape(-1, _CIFAR_ROW)
    if rows[:, 0].max() >= len(_CIFAR10):
        raise DataError(f"cifar10: {path.name} has label {rows[:, 0].max()}; expected 0 to 9 (is it CIFAR-100?)")
    return rows
