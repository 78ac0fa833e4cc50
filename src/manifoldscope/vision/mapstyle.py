"""Map-style datasets of (image, label), as torch's `DataLoader` takes them: read when asked for, and never held."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset, Subset

from manifoldscope.errors import DataError
from manifoldscope.vision.printable import printable


@dataclass(frozen=True, eq=False)
class DatasetImages:
    """The images of a map-style dataset; the same each time they are read, or an error.

    Once the digest of an image is known, every later read must have it: a transform that draws at random is noticed.

    Attributes:
        dataset: `dataset[index]` is (image, label).
        targets: (n,) int64, the label of each item, -1 where it is not known.
        state: a cheap text that changes when any image may have; every image is read for it if empty.
    """

    dataset: Any
    targets: Tensor
    state: str = ""
    _digests: dict[int, bytes] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.targets)

    def read(self, index: int) -> Tensor:
        where = f"item {index} of {self._name}"
        image, label = _item(self.dataset, index, where)
        known, found = int(self.targets[index]), whole_label(label, where)
        if found != known:
            raise DataError(f"{where} has label {found}, but the list of labels says {known}; make the two agree")
        pixels = as_pixels(image, where)
        if index in self._digests and self._digests[index] != _digest(pixels):
            raise DataError(
                f"{where} is another image than when it was read before; take what draws at random out of its transform"
            )
        return pixels

    def check(self, index: int) -> None:
        self.digest(index)

    def digest(self, index: int) -> bytes:
        if index not in self._digests:
            self._digests[index] = _digest(self.read(index))
        return self._digests[index]

    def fingerprint(self) -> str:
        return self.state or self._digest_of_all

    @cached_property
    def _digest_of_all(self) -> str:
        content = hashlib.sha256()
        for index in range(len(self)):
            try:
                content.update(self.digest(index))
            except DataError:  # it is skipped when it is drawn
                content.update(b"unreadable")
        return content.hexdigest()

    @property
    def _name(self) -> str:
        return type(self.dataset).__name__


def base_of(dataset: Any) -> tuple[Any, list[int]]:
    """The dataset that the `Subset`s around it take from, and which of its items they have.

    Raises:
        DataError: no map-style dataset.
    """
    if isinstance(dataset, type):
        raise DataError(f"the class {dataset.__name__} is no dataset; make one of it first, as {dataset.__name__}(...)")
    if isinstance(dataset, IterableDataset) or not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        reason = "has no place for each image" if isinstance(dataset, IterableDataset) else "is no dataset"
        raise DataError(
            f"{type(dataset).__name__} {reason}; expected a map-style dataset, with len(dataset) and "
            "dataset[index] = (image, label)"
        )
    if isinstance(dataset, Subset):
        base, within = base_of(dataset.dataset)
        return base, [within[index] for index in dataset.indices]
    return dataset, list(range(len(dataset)))


def targets_of(dataset: Any, indices: Sequence[int]) -> Tensor:
    """(len(dataset),) int64: the label of each item, -1 for those that are not among `indices`.

    Taken from `targets` or `labels` where the dataset has them and no `target_transform`; each item is read once
    otherwise.

    Raises:
        DataError: labels that are no class indices, or as many as there are not items.
    """
    n = len(dataset)
    listed = next((found for name in ("targets", "labels") if (found := _listed(dataset, name)) is not None), None)
    found = torch.full((n,), -1)
    for index in indices:
        where = f"item {index} of {type(dataset).__name__}"
        label = _item(dataset, index, where)[1] if listed is None else listed[index]
        found[index] = whole_label(label, where)
    return found


def _listed(dataset: Any, name: str) -> Any:
    """The list of labels that a dataset has under a name, if it is one."""
    listed = getattr(dataset, name, None)
    if getattr(dataset, "target_transform", None) is not None or not hasattr(listed, "__len__"):
        return None
    return listed if len(listed) == len(dataset) else None  # type: ignore[arg-type]  # it has a length


def class_names_of(dataset: Any, labels: Sequence[int]) -> dict[int, str]:
    """A name for each class: those in `classes` where the dataset has them, else the index as text.

    Several names of one class are joined; a name that two classes have is followed by the index.
    """
    told = getattr(dataset, "classes", None)
    names = {index: _name(one) for index, one in enumerate(told)} if isinstance(told, list | tuple) else {}
    names |= {label: str(label) for label in labels if label not in names}
    times = Counter(names.values())
    return {index: name if times[name] == 1 else f"{name} ({index})" for index, name in sorted(names.items())}


def _name(told: Any) -> str:
    return printable(", ".join(map(str, told)) if isinstance(told, list | tuple) else str(told))


def _item(dataset: Any, index: int, where: str) -> tuple[Any, Any]:
    try:
        item = dataset[index]
    except Exception as error:  # the dataset is the user's own, and may raise anything
        told = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{where} cannot be read ({printable(told)})") from error
    if not isinstance(item, tuple | list) or len(item) < 2:
        shown = f"keys {', '.join(map(str, item))}" if isinstance(item, Mapping) else type(item).__name__
        raise DataError(f"{where} has no label ({shown}); expected (image, label)")
    return item[0], item[1]


def whole_label(label: Any, where: str) -> int:
    """A class index. Raises DataError for anything else."""
    value = label.item() if isinstance(label, Tensor) and label.numel() == 1 else label
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise DataError(f"{where} has the label {label!r}; expected a class index, a whole number from 0")
    return int(value)


def as_pixels(image: Any, where: str) -> Tensor:
    """One image as (channels, height, width), uint8 or float32 in [0, 1].

    Args:
        image: a PIL image; a tensor (channels, height, width) or (height, width); or an array of either layout, or
            (height, width, channels). uint8, or floating point in [0, 1].
        where: what it is called in messages.

    Raises:
        DataError: another kind, type or shape, or values outside of [0, 1].
    """
    if isinstance(image, Image.Image):
        return _of_pil(image, where)
    if isinstance(image, np.ndarray):
        image = _channels_first(image, where)
    if not isinstance(image, Tensor):
        raise DataError(f"{where} is {type(image).__name__}; expected a PIL image, a tensor or an array")
    pixels = image.detach().cpu()
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3):
        raise DataError(
            f"{where} has shape {tuple(image.shape)}; expected (channels, height, width) with 1 or 3 channels, or "
            "(height, width)"
        )
    require_range(pixels, where)
    return pixels if pixels.dtype == torch.uint8 else pixels.float()


def batch_of(batch: Any, where: str) -> tuple[Tensor, Tensor]:
    """Pixels (n, channels, height, width), uint8 or float32 in [0, 1], and labels (n,) int64 of a loader's batch.

    Raises:
        DataError: anything else.
    """
    pair = tuple(batch[:2]) if isinstance(batch, tuple | list) else ()
    if len(pair) < 2 or not all(isinstance(part, Tensor) for part in pair):
        raise DataError(f"{where} is {type(batch).__name__}; expected a tensor of images and one of labels")
    pixels, labels = pair[0].detach().cpu(), pair[1].detach().cpu()
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
        raise DataError(
            f"{where} has images of shape {tuple(pixels.shape)}; expected (n, channels, height, width) with 1 or 3 "
            "channels"
        )
    if labels.shape != pixels.shape[:1] or labels.is_floating_point() or (labels.numel() and int(labels.min()) < 0):
        raise DataError(
            f"{where} has labels of shape {tuple(labels.shape)}; expected one class index per image, from 0"
        )
    require_range(pixels, where)
    return pixels if pixels.dtype == torch.uint8 else pixels.float(), labels.long()


def require_range(pixels: Tensor, where: str) -> None:
    """Raise DataError unless pixels of any shape are uint8, or floating point in [0, 1]."""
    if pixels.dtype == torch.uint8:
        return
    if not pixels.is_floating_point():
        raise DataError(f"{where} is {pixels.dtype}; expected uint8, or floating point in [0, 1]")
    low, high = (float(pixels.min()), float(pixels.max())) if pixels.numel() else (0.0, 1.0)
    if not (low >= 0 and high <= 1):  # also true of NaN
        raise DataError(
            f"{where} has pixels in [{low:.4g}, {high:.4g}]; expected [0, 1]: take the normalisation out of the "
            "dataset's transform, and give its mean and std to the network"
        )


def _of_pil(image: Image.Image, where: str) -> Tensor:
    """Grey stays grey; palettes and CMYK become RGB; transparency is dropped."""
    if image.mode.startswith(("I", "F")):
        raise DataError(f"{where} has pixels of mode {image.mode!r}, whose range is not known; convert it to L or RGB")
    if image.mode == "P":
        image = image.convert("RGBA")  # transparency of a palette; Pillow warns of the direct way
    pixels = np.array(image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB"))
    return torch.from_numpy(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1).copy())


def _channels_first(image: npt.NDArray[np.generic], where: str) -> Tensor:
    if image.dtype.kind == "f":
        image = image.astype(np.float32)
    elif image.dtype != np.uint8:
        raise DataError(f"{where} is {image.dtype}; expected uint8, or floating point in [0, 1]")
    if image.ndim == 3 and image.shape[2] in (1, 3):
        if image.shape[0] in (1, 3):
            raise DataError(
                f"{where} has shape {image.shape}, where either the first or the last dimension may be the channels; "
                "give it as a tensor (channels, height, width)"
            )
        image = image.transpose(2, 0, 1)
    return torch.from_numpy(np.array(image))  # a copy: of any layout, and safe to be written to


def _digest(pixels: Tensor) -> bytes:
    """As `ArrayImages` has it, so that equal images have equal digests wherever they are."""
    return hashlib.sha256(str(tuple(pixels.shape)).encode() + pixels.contiguous().numpy().tobytes()).digest()
