"""ImageSet: labelled raw images, in memory or on disk; and the seeded draw of some images of some classes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from manifoldscope.errors import DataError, unknown
from manifoldscope.vision.batching import BatchSize
from manifoldscope.vision.mapstyle import DatasetImages, base_of, class_names_of, targets_of
from manifoldscope.vision.raw import ArrayImages, RawImages
from manifoldscope.vision.shown import counted, html_table
from manifoldscope.vision.whole import check_whole


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """Labelled images as a dataset gives them; each network brings its own preprocessing (see `Network.pixels`).

    Attributes:
        raw: the images.
        labels: (n,) int64 class indices.
        names: one name an image, unique, that says where it is from ("mnist/test/17", "val/n01440764/x.JPEG").
        class_names: name of each class index that may occur, whether or not an image has it.
        aliases: other names by which a class may be asked for, such as ImageNet's WordNet ids.
        source, split: the dataset and the part of it, for the tables.
        origin: what else tells whether images may have changed, such as a digest of the code that makes them.

    Example:
        >>> import torch
        >>> images = ImageSet.of(torch.rand(4, 3, 8, 8), torch.tensor([0, 0, 1, 1]))
        >>> len(images), images.classes
        (4, [0, 1])
    """

    raw: RawImages
    labels: Tensor
    names: Sequence[str]
    class_names: Mapping[int, str]
    source: str = "arrays"
    split: str = "all"
    aliases: Mapping[str, int] = field(default_factory=dict)
    origin: str = ""
    _positions: Tensor | None = None

    def __post_init__(self) -> None:
        if self._positions is None:
            object.__setattr__(self, "_positions", torch.arange(len(self.raw), device="cpu"))
        if not len(self.labels) == len(self.names) == len(self.positions):
            raise DataError(
                f"{len(self.positions)} images, {len(self.labels)} labels and {len(self.names)} names; "
                "expected one label and one name an image"
            )

    @classmethod
    def of(
        cls,
        pixels: Tensor | npt.NDArray[np.generic],
        labels: Tensor | npt.NDArray[np.generic] | Sequence[int],
        *,
        class_names: Mapping[int, str] | Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        source: str = "arrays",
        split: str = "all",
    ) -> ImageSet:
        """An image set from arrays.

        Args:
            pixels: (n, channels, height, width), uint8 in 0..255 or floating point in [0, 1], of any precision, byte
                order and layout in memory.
            labels: (n,) whole numbers, class indices from 0.
            class_names: name of each class; the index as text if omitted.
            names: one unique name an image; "source/split/index" if omitted.

        Raises:
            DataError: another shape, values outside the range, NaN, labels that do not fit, or names that repeat.
        """
        tensor = _tensor(pixels)
        if tensor.ndim != 4:
            raise DataError(
                f"pixels have shape {tuple(tensor.shape)}; expected (n, channels, height, width)"
                + ("; add a channel dimension with pixels[:, None]" if tensor.ndim == 3 else "")
            )
        if tensor.shape[1] not in (1, 3):
            hint = "; an attack called on a module, attack(module, images, labels), takes any number of channels"
            if tensor.shape[3] in (1, 3):
                hint = "; move the last dimension to place 1"
            raise DataError(f"pixels have {tensor.shape[1]} channels; expected 1 or 3{hint}")
        if tensor.is_floating_point():
            tensor = tensor.float()
            low, high = (float(tensor.min()), float(tensor.max())) if tensor.numel() else (0.0, 1.0)
            if not (low >= 0 and high <= 1):  # also true of NaN
                raise DataError(
                    f"pixels lie in [{low:.4g}, {high:.4g}]; expected [0, 1] (divide by 255, and leave "
                    "normalisation to the network), or uint8"
                )
        elif tensor.dtype != torch.uint8:
            raise DataError(f"pixels are {tensor.dtype}; expected uint8, or floating point in [0, 1]")
        classes = _labels(labels)
        if class_names is None:
            known = {int(label): str(int(label)) for label in torch.unique(classes)}
        elif isinstance(class_names, Mapping):
            known = dict(class_names)
        else:
            known = dict(enumerate(class_names))
        if missing := sorted({int(label) for label in torch.unique(classes)} - set(known)):
            raise DataError(f"label {missing[0]} has no class name; {len(known)} names were given")
        for what, given in (("class", list(known.values())), ("image", names or [])):
            if repeated := [name for name, count in Counter(given).items() if count > 1]:
                raise DataError(f"the {what} name {repeated[0]!r} is given twice; names must be unique")
        return cls(
            raw=ArrayImages(tensor),
            labels=classes,
            names=names if names is not None else [f"{source}/{split}/{index}" for index in range(len(tensor))],
            class_names=known,
            source=source,
            split=split,
        )

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        *,
        class_names: Mapping[int, str] | Sequence[str] | None = None,
        source: str | None = None,
        split: str = "all",
        state: str = "",
    ) -> ImageSet:
        """An image set from a map-style dataset of torch's kind; images are read when they are needed, and not held.

        Of a `Subset` (of another one), images are named by their place in the dataset that it takes from: two parts of
        one dataset share no name unless they share an image.

        Args:
            dataset: `dataset[index]` is (image, label), the image as for `as_pixels`: a PIL image, a tensor or an
                array; uint8, or floating point in [0, 1]. What its transform does must not be random. Labels are read
                from its `targets` or `labels` if it has them, and by one pass over the items otherwise.
            class_names: name of each class; `dataset.classes` if omitted, or the index as text.
            source: what tables call the dataset; the name of its class if omitted.
            split: the part of it, for the tables.
            state: a text that changes when any image may have, so that a study need not read them all to know.

        Raises:
            DataError: no map-style dataset, labels that are no class indices; later, an image that cannot be read, has
                values outside of [0, 1], or is another one than before.

        Example:
            >>> import torch
            >>> from torch.utils.data import TensorDataset
            >>> ImageSet.from_dataset(TensorDataset(torch.rand(4, 3, 8, 8), torch.tensor([0, 0, 1, 1])))
            ImageSet(4 images of 2 classes; TensorDataset, all)
        """
        base, indices = base_of(dataset)
        targets = targets_of(base, indices)
        chosen = torch.tensor(indices, dtype=torch.int64, device="cpu")
        present = [int(label) for label in torch.unique(targets[chosen])]
        if class_names is None:
            known = class_names_of(base, present)
        else:
            known = dict(class_names) if isinstance(class_names, Mapping) else dict(enumerate(class_names))
        if missing := [label for label in present if label not in known]:
            raise DataError(f"label {missing[0]} has no class name; {len(known)} names were given")
        source = type(base).__name__ if source is None else source
        return cls(
            raw=DatasetImages(base, targets, state),
            labels=targets[chosen],
            names=[f"{source}/{split}/{index}" for index in indices],
            class_names=known,
            source=source,
            split=split,
            _positions=chosen,
        )

    @property
    def positions(self) -> Tensor:
        """(n,) int64: where each image of this set stands in `raw`."""
        assert self._positions is not None
        return self._positions

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        classes = counted(len(self.classes), "class", "classes")
        return f"ImageSet({counted(len(self), 'image')} of {classes}; {self.source}, {self.split})"

    def _repr_html_(self) -> str:
        return html_table(
            repr(self),
            ("class", "name", "images"),
            [(label, self.class_names[label], int((self.labels == label).sum())) for label in self.classes],
        )

    @property
    def classes(self) -> list[int]:
        """The class indices that occur, sorted."""
        return [int(label) for label in torch.unique(self.labels)]

    def read(self, index: int) -> Tensor:
        """Raw image `index`: (channels, height, width), uint8 or float32 in [0, 1]. Raises DataError."""
        return self.raw.read(int(self.positions[index]))

    def subset(self, indices: Tensor | Sequence[int]) -> ImageSet:
        """The images at these positions of this set, in this order, or those where a mask is true; nothing is read."""
        chosen = torch.as_tensor(indices, device="cpu")
        chosen = chosen.nonzero().flatten() if chosen.dtype == torch.bool else chosen.long()
        return ImageSet(
            raw=self.raw,
            labels=self.labels[chosen],
            names=[self.names[index] for index in chosen.tolist()],
            class_names=self.class_names,
            aliases=self.aliases,
            source=self.source,
            split=self.split,
            origin=self.origin,
            _positions=self.positions[chosen],
        )

    def of_class(self, label: int) -> ImageSet:
        """The images of one class."""
        return self.subset(self.labels == label)

    def digest(self) -> str:
        """A SHA-256 of names, labels and contents: equal for equal images wherever they are stored."""
        content = hashlib.sha256()
        for name, label, position in zip(self.names, self.labels.tolist(), self.positions.tolist(), strict=True):
            content.update(f"{name}\x1f{label}\x1f".encode(errors="surrogatepass"))
            content.update(self.raw.digest(position))
        return content.hexdigest()


def as_image_set(images: Any) -> ImageSet:
    """An image set as it is; for those who pass over it more than once.

    Raises:
        DataError: anything else, with what to make of it.
    """
    if isinstance(images, ImageSet):
        return images
    given = type(images).__name__
    if isinstance(images, DataLoader):
        raise DataError(f"{given} gives its images once, in its own order; pass ImageSet.from_dataset(loader.dataset)")
    if isinstance(images, Dataset):
        raise DataError(f"{given} is a dataset; pass ImageSet.from_dataset(dataset)")
    raise DataError(f"images are {given}; pass an ImageSet, such as ImageSet.of(pixels, labels)")


def _tensor(pixels: Tensor | npt.NDArray[np.generic]) -> Tensor:
    """Pixels as a dense tensor on the CPU; every float as float32."""
    if isinstance(pixels, Tensor):
        if pixels.layout is not torch.strided or pixels.is_meta or pixels.is_quantized:
            raise DataError(
                f"pixels are a tensor of {pixels.layout} on {pixels.device}; expected a dense one with values"
            )
        tensor = pixels.detach().cpu()
        return tensor.float() if tensor.is_floating_point() else tensor
    if np.ma.is_masked(pixels):
        raise DataError("some pixels are masked; fill them, since every pixel is seen")
    try:
        array = np.asarray(pixels)
    except Exception as error:  # ragged lists, and objects that cannot become arrays
        raise DataError(f"pixels are no array ({' '.join(str(error).split())[:100]})") from error
    if array.dtype.kind not in "buifc":
        raise DataError(f"pixels are {array.dtype}; expected uint8, or floating point in [0, 1]")
    with np.errstate(over="ignore"):  # what is out of range is said with its range
        kind = np.float32 if array.dtype.kind == "f" else array.dtype.newbyteorder("=")
        if array.dtype.kind == "c":
            kind = np.complex64  # refused, as a tensor of that type is
        array = array.astype(kind, copy=False)
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    return torch.from_numpy(array)


def _labels(labels: Tensor | npt.NDArray[np.generic] | Sequence[int]) -> Tensor:
    """Class indices, (n,) int64."""
    expected = "labels must be a flat list of class indices: whole numbers from 0"
    if np.ma.is_masked(labels):
        raise DataError(f"{expected}; some are masked")
    try:
        whole = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
    except Exception as error:  # ragged lists, sparse tensors
        raise DataError(expected) from error
    if whole.ndim != 1 or (len(whole) and (whole.dtype.kind not in "iu" or whole.min() < 0 or whole.max() >= 2**63)):
        raise DataError(expected)
    return torch.from_numpy(whole.astype(np.int64))


@dataclass(frozen=True, eq=False)
class Draw:
    """The images drawn from a dataset, and those that could not be read: (name, class name, reason)."""

    images: ImageSet
    skipped_images: tuple[tuple[str, str, str], ...] = ()


def choose_classes(images: ImageSet, classes: int | Sequence[int | str] | None, *, seed: int) -> list[int]:
    """Class indices from a number to sample, or a list of indices and names; None means all that have images.

    Sampling is by a hash of (seed, class name): it does not depend on the order of anything.

    Raises:
        DataError: a class that does not exist or has no images, a class named twice, or more classes than there are.
    """
    check_whole(DataError, seed=seed)
    present = images.classes
    if classes is None:
        return present
    if isinstance(classes, bool):
        raise DataError(f"classes = {classes!r}; expected how many, or a list of indices and names")
    if isinstance(classes, int):
        if not 1 <= classes <= len(present):
            raise DataError(f"{classes} classes were asked for; {images.source} has {len(present)} with images")
        ranked = sorted(present, key=lambda label: _rank(seed, "class", images.class_names[label]))
        return sorted(ranked[:classes])
    if isinstance(classes, str):
        classes = [classes]
    by_name = {**images.aliases, **{name: label for label, name in images.class_names.items()}}
    chosen: list[int] = []
    for wanted in classes:
        if isinstance(wanted, bool):
            raise DataError(f"{wanted!r} is no class; expected an index or a name")
        label = wanted if isinstance(wanted, int) else by_name.get(wanted, -1)
        if label not in images.class_names:
            raise DataError(unknown(f"class in {images.source}", str(wanted), {*by_name, *map(str, by_name.values())}))
        if label not in present:
            raise DataError(f"class {images.class_names[label]!r} has no images in {images.source} ({images.split})")
        if label in chosen:
            raise DataError(f"class {images.class_names[label]!r} is listed twice")
        chosen.append(label)
    return sorted(chosen)


def draw(
    images: ImageSet,
    *,
    classes: Sequence[int],
    images_per_class: int | None,
    seed: int,
    exclude: frozenset[str] = frozenset(),
    at_least: int = 1,
) -> Draw:
    """Up to `images_per_class` readable images of each class, chosen by a hash of (seed, image name).

    The choice does not depend on the order in which images are listed, and a larger draw contains the smaller one.
    An image that cannot be read is skipped with its reason, and the next one takes its place.

    Args:
        classes: class indices.
        images_per_class: how many of each; None takes all.
        exclude: names of images that must not be drawn, because another draw has them.
        at_least: how many readable images each class must have.

    Raises:
        DataError: a class has fewer than `at_least` readable images left.
    """
    check_whole(DataError, images_per_class=images_per_class, seed=seed, at_least=at_least)
    if images_per_class is not None and images_per_class < 1:
        raise DataError(f"{images_per_class} images per class were asked for; expected at least 1, or all")
    chosen: list[int] = []
    skipped_images: list[tuple[str, str, str]] = []
    by_class, order = images.labels.sort(stable=True)
    for label in classes:
        first, last = torch.searchsorted(by_class, torch.tensor([label, label + 1], device="cpu")).tolist()
        of_class = order[first:last].tolist()
        candidates = [index for index in of_class if images.names[index] not in exclude]
        candidates.sort(key=lambda index: _rank(seed, "image", images.names[index]))
        taken = 0
        for index in candidates:
            if images_per_class is not None and taken == images_per_class:
                break
            try:
                images.raw.check(int(images.positions[index]))
            except DataError as error:
                skipped_images.append((images.names[index], images.class_names[label], str(error)))
                continue
            chosen.append(index)
            taken += 1
        if taken < at_least:
            raise DataError(
                f"class {images.class_names.get(label, str(label))!r} of {images.source} ({images.split}) has {taken} "
                f"readable images left for this draw; at least {at_least} are needed"
                + (f" ({len(skipped_images)} could not be read: {skipped_images[-1][2]})" if skipped_images else "")
                + (
                    f" ({n_taken} of its images belong to other draws)"
                    if (n_taken := len(of_class) - len(candidates))
                    else ""
                )
            )
    return Draw(images.subset(chosen), tuple(skipped_images))


def _rank(seed: int, *names: str) -> bytes:
    return hashlib.sha256("\x1f".join([str(seed), *names]).encode(errors="surrogatepass")).digest()


def batches(n: int, batch_size: int) -> Iterator[slice]:
    """Consecutive slices of at most `batch_size` that cover 0..n."""
    for start in range(0, n, BatchSize(batch_size).wanted):
        yield slice(start, min(start + batch_size, n))
