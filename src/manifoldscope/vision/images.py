"""ImageSet: labelled raw images, in memory or on disk; and the seeded draw of some images of some classes."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from manifoldscope.errors import DataError, unknown
from manifoldscope.files import open_regular
from manifoldscope.vision.decoding import MAX_BYTES, decode, reason
from manifoldscope.vision.printable import printable
from manifoldscope.vision.whole import check_whole


class RawImages(Protocol):
    """Images before any network's preprocessing: read one by one, by position."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> Tensor:
        """Image `index`: (channels, height, width), uint8 in 0..255 or float32 in [0, 1]. Raises DataError."""
        ...

    def check(self, index: int) -> None:
        """Raise DataError where `read` would, as cheaply as that can be known."""
        ...

    def digest(self, index: int) -> bytes:
        """A SHA-256 of the image's content, as stored. What is read later has it, or DataError is raised."""
        ...

    def fingerprint(self) -> str:
        """A cheap text that changes when any image may have: file names, sizes and times, or a hash of the array."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Images held in memory: (n, channels, height, width), uint8 or float32 in [0, 1]."""

    pixels: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, index: int) -> Tensor:
        return self.pixels[index]

    def check(self, index: int) -> None:
        """Pixels in memory can always be read."""

    def digest(self, index: int) -> bytes:
        image = self.pixels[index].contiguous()
        return hashlib.sha256(str(tuple(image.shape)).encode() + image.numpy().tobytes()).digest()

    def fingerprint(self) -> str:
        content = hashlib.sha256(str(tuple(self.pixels.shape)).encode())
        content.update(np.ascontiguousarray(self.pixels.numpy()).data)
        return content.hexdigest()


@dataclass(frozen=True, eq=False)
class FileImages:
    """Images in files, decoded when they are read (see `decode`); the same contents each time, or an error.

    Once the digest of a file's content is known (by `check` or `digest`), every later read must have that digest. Once
    the `fingerprint` was taken, and as long as the content is not known, every read must find the file with the size
    and the times that it had then: of its content, and of its change of any kind, which cannot be set back. So a file
    that is replaced while a study runs never enters under its old name.

    Attributes:
        paths: the files, absolute or relative to `root`.
        root: the folder that relative paths start from; it enters no digest and no message.
    """

    paths: Sequence[Path | str]
    root: Path = Path()

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Tensor:
        return self._decoded(index, self._content(index), small=False)

    def check(self, index: int) -> None:
        content = self._content(index)
        self._decoded(index, content, small=True)
        self._remember(index, content)

    def digest(self, index: int) -> bytes:
        if not self._digests[index].any():
            self._remember(index, self._content(index))
        return bytes(self._digests[index])

    def fingerprint(self) -> str:
        content = hashlib.sha256()
        for index, path in enumerate(self.paths):
            try:
                status = (self.root / path).stat()
                self._statuses[index] = _status(status)
                told = f"{path}\x1f{status.st_size}\x1f{status.st_mtime_ns}\n"
            except (OSError, ValueError):  # a link to nothing, say: it is set aside when it is drawn
                told = f"{path}\x1fgone\n"
            content.update(told.encode(errors="surrogatepass"))
        return content.hexdigest()

    @cached_property
    def _digests(self) -> npt.NDArray[np.uint8]:
        """(n, 32): the SHA-256 of each content; zeros where it is not known."""
        return np.zeros((len(self), 32), np.uint8)

    @cached_property
    def _statuses(self) -> npt.NDArray[np.int64]:
        """(n, 3): size and times of each file at the fingerprint; zeros where none was taken."""
        return np.zeros((len(self), 3), np.int64)

    def _remember(self, index: int, content: bytes) -> None:
        self._digests[index] = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)

    def _content(self, index: int) -> bytes:
        path = self.root / self.paths[index]
        try:
            with open_regular(path) as file:
                status = _status(os.fstat(file.fileno()))
                content = file.read(MAX_BYTES + 1)
        except (OSError, MemoryError) as error:
            raise DataError(f"{printable(path.name)} cannot be read: {reason(error)}") from error
        if len(content) > MAX_BYTES:
            raise DataError(f"{printable(path.name)} is larger than {MAX_BYTES // 2**20} MiB; it was not read")
        if self._digests[index].any():
            changed = hashlib.sha256(content).digest() != bytes(self._digests[index])
        else:
            changed = bool(self._statuses[index].any()) and status != tuple(self._statuses[index].tolist())
        if changed:
            raise DataError(
                f"{printable(path.name)} has changed since the study was planned; start again, so that it is planned "
                "with the images that are there now"
            )
        return content

    def _decoded(self, index: int, content: bytes, *, small: bool) -> Tensor:
        try:
            return decode(content, small=small)
        except Exception as error:  # a hostile file makes the decoder raise anything at all
            name = printable(Path(self.paths[index]).name)
            raise DataError(f"{name} cannot be read as an image: {reason(error)}") from error


def _status(found: os.stat_result) -> tuple[int, int, int]:
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images as a dataset gives them; each network brings its own preprocessing (see `Network.pixels`).

    Attributes:
        raw: the images.
        labels: (n,) int64 class indices.
        names: one name an image, unique, that says where it is from ("mnist/test/17", "val/n01440764/x.JPEG").
        class_names: name of each class index that may occur, whether or not an image has it.
        aliases: other names by which a class may be asked for, such as ImageNet's WordNet ids.
        source, split: the dataset and the part of it, for the tables.

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
    aliases: Mapping[str, int] = field(default_factory=dict, repr=False)
    _positions: Tensor | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self._positions is None:
            object.__setattr__(self, "_positions", torch.arange(len(self.raw)))
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
            class_names: name of each class; the index as text where left out.
            names: one unique name an image; "source/split/index" where left out.

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
            hint = "; move the last dimension to place 1" if tensor.shape[3] in (1, 3) else ""
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

    @property
    def positions(self) -> Tensor:
        """(n,) int64: where each image of this set stands in `raw`."""
        assert self._positions is not None
        return self._positions

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> list[int]:
        """The class indices that occur, sorted."""
        return [int(label) for label in torch.unique(self.labels)]

    def read(self, index: int) -> Tensor:
        """Raw image `index`: (channels, height, width), uint8 or float32 in [0, 1]. Raises DataError."""
        return self.raw.read(int(self.positions[index]))

    def subset(self, indices: Tensor | Sequence[int]) -> ImageSet:
        """The images at these positions of this set, in this order, or those where a mask is true; nothing is read."""
        chosen = torch.as_tensor(indices)
        chosen = chosen.nonzero().flatten() if chosen.dtype == torch.bool else chosen.long()
        return ImageSet(
            raw=self.raw,
            labels=self.labels[chosen],
            names=[self.names[index] for index in chosen.tolist()],
            class_names=self.class_names,
            aliases=self.aliases,
            source=self.source,
            split=self.split,
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
    set_aside: tuple[tuple[str, str, str], ...] = ()


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
    An image that cannot be read is set aside with its reason, and the next one takes its place.

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
        raise DataError(f"{images_per_class} images a class were asked for; expected at least 1, or all")
    chosen: list[int] = []
    set_aside: list[tuple[str, str, str]] = []
    by_class, order = images.labels.sort(stable=True)
    for label in classes:
        first, last = torch.searchsorted(by_class, torch.tensor([label, label + 1])).tolist()
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
                set_aside.append((images.names[index], images.class_names[label], str(error)))
                continue
            chosen.append(index)
            taken += 1
        if taken < at_least:
            raise DataError(
                f"class {images.class_names.get(label, str(label))!r} of {images.source} ({images.split}) has {taken} "
                f"readable images left for this draw; at least {at_least} are needed"
                + (f" ({len(set_aside)} could not be read: {set_aside[-1][2]})" if set_aside else "")
                + (
                    f" ({n_taken} of its images belong to other draws)"
                    if (n_taken := len(of_class) - len(candidates))
                    else ""
                )
            )
    return Draw(images.subset(chosen), tuple(set_aside))


def _rank(seed: int, *names: str) -> bytes:
    return hashlib.sha256("\x1f".join([str(seed), *names]).encode(errors="surrogatepass")).digest()


def batches(n: int, batch_size: int) -> Iterator[slice]:
    """Consecutive slices of at most `batch_size` that cover 0..n."""
    for start in range(0, n, batch_size):
        yield slice(start, min(start + batch_size, n))
