"""Named sources of labelled images: each lists all of its images, and decodes none of those in files.

A dataset is a function `(*, split, root) -> ImageSet`, registered where it is defined. Traits: `splits`, the parts it
has (empty where the folder decides); `needs_root`, what the user must point to ("" for nothing); and `fetches`, true
where files that are missing are downloaded.
"""

from __future__ import annotations

import gzip
import math
import os
import tempfile
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch

from manifoldscope.errors import DataError, unknown
from manifoldscope.files import open_regular, read_bytes
from manifoldscope.registry import Registry
from manifoldscope.vision.images import FileImages, ImageSet, choose_classes, draw
from manifoldscope.vision.printable import printable

DATASETS = Registry("dataset", package="manifoldscope.vision")

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"})
"""What the name of an image file ends in; other files in a class's folder are passed over."""


def load(source: str, *, root: str | os.PathLike[str] | None = None, split: str | None = None) -> ImageSet:
    """Every image of a dataset, listed and not decoded.

    Args:
        source: the name of a dataset, for example "mnist".
        root: the folder (for `arrays` the file) that holds it.
        split: the part of it; None takes the one that the dataset is usually evaluated on.

    Raises:
        StudyError: no such dataset.
        DataError: no such split, or files that are missing, truncated or not what they should be.

    Example:
        >>> len(load("digits"))
        1797
    """
    entry = DATASETS[source]
    splits: tuple[str, ...] = entry.traits["splits"]
    if split is not None and splits and split not in splits:
        raise DataError(f"{source}: {unknown('split', split, splits)}; its splits: {', '.join(splits)}")
    place = None if root is None else os.path.expanduser(os.fspath(root))
    if place is None and entry.traits["needs_root"]:
        raise DataError(f"{source}: no root was given; expected {entry.traits['needs_root']}")
    fetches = entry.traits.get("fetches", False)  # a folder that is to be filled need not be there yet
    if place is not None and entry.traits["needs_root"] and not fetches and not os.path.exists(place):
        raise DataError(f"{source}: there is no {place!r}; expected {entry.traits['needs_root']}")
    found: ImageSet = entry.target(root=place) if split is None else entry.target(root=place, split=split)
    return found


def images(
    source: str,
    *,
    root: str | os.PathLike[str] | None = None,
    split: str | None = None,
    classes: int | Sequence[int | str] | None = None,
    images_per_class: int | None = None,
    seed: int = 0,
) -> ImageSet:
    """Images of a dataset, drawn by `seed`: the same ones wherever and in whatever order the files are listed.

    An image that cannot be read is left out with a warning, and another of its class takes its place.

    Args:
        source, root, split: see `load`.
        classes: how many to sample, or which ones by index or name; None takes all.
        images_per_class: the most of each; None takes all. A larger draw contains the smaller one.

    Raises:
        StudyError: no such dataset.
        DataError: no such split or class, too few classes, or a class without readable images.

    Example:
        >>> images("digits", classes=[3, 8], images_per_class=5).classes
        [3, 8]
    """
    every = load(source, root=root, split=split)
    drawn = draw(
        every,
        classes=choose_classes(every, classes, seed=seed),
        images_per_class=images_per_class,
        seed=seed,
    )
    if drawn.set_aside:
        name, _, reason = drawn.set_aside[0]
        more = f", and {len(drawn.set_aside) - 1} more" if len(drawn.set_aside) > 1 else ""
        warnings.warn(f"{source}: left out {name} ({reason}){more}", stacklevel=2)
    return drawn.images


# -- arrays ------------------------------------------------------------------------------------------------------------


@DATASETS.register("digits", splits=("all",), needs_root="")
def digits(*, split: str = "all", root: str | None = None) -> ImageSet:
    """1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn (Alpaydin & Kaynak 1998); no files needed.

    Pixels are 0..16, divided by 16.
    """
    from sklearn.datasets import load_digits

    bundled = load_digits()
    pixels = torch.from_numpy((bundled.images / 16).astype(np.float32))[:, None]
    return ImageSet.of(
        pixels, bundled.target, class_names=[str(digit) for digit in range(10)], source="digits", split=split
    )


@DATASETS.register("arrays", splits=("all",), needs_root="an npz file with the arrays `images` and `labels`")
def arrays(*, split: str = "all", root: str | None = None) -> ImageSet:
    """Images of your own in one npz file: `images`, `labels` and, if you like, `class_names`.

    `images` is (n, height, width), (n, height, width, channels) or (n, channels, height, width), uint8 or floating
    point in [0, 1]; `labels` holds n class indices. Nothing in the file is unpickled.
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


MUCH = 64 * 2**20
DENSEST = 100
"""A compressed file is unpacked where that gives at most so many bytes, or at most so many times its own size."""


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
    if unpacked > max(MUCH, DENSEST * packed):
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


# -- idx files ---------------------------------------------------------------------------------------------------------

_IDX_PARTS = {"train": "train", "test": "t10k"}
_FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)  # fmt: skip


@DATASETS.register("mnist", splits=("train", "test"), needs_root="the folder of the four idx files", fetches=True)
def mnist(*, split: str = "test", root: str | None = None) -> ImageSet:
    """Handwritten digits of 28 x 28 grey pixels (LeCun et al. 1998): 60,000 to train on and 10,000 to test.

    Reads the idx files, gzipped or not, in the folder or where torchvision puts them under it; where none is there,
    torchvision is asked to download them into the folder.
    """
    return _idx_images("mnist", "MNIST", [str(digit) for digit in range(10)], split, root)


@DATASETS.register(
    "fashion-mnist", splits=("train", "test"), needs_root="the folder of the four idx files", fetches=True
)
def fashion_mnist(*, split: str = "test", root: str | None = None) -> ImageSet:
    """Clothes of ten kinds, 28 x 28 grey pixels (Xiao, Rasul & Vollgraf 2017): 60,000 to train on and 10,000 to test.

    Reads the same files as `mnist` does, and downloads them likewise.
    """
    return _idx_images("fashion-mnist", "FashionMNIST", _FASHION, split, root)


def _idx_images(source: str, release: str, class_names: Sequence[str], split: str, root: str | None) -> ImageSet:
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
            if expected > (size if packed is opened else max(MUCH, DENSEST * size)):
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


# -- CIFAR-10 ----------------------------------------------------------------------------------------------------------

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


# -- folders -----------------------------------------------------------------------------------------------------------

_SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


@DATASETS.register("folder", splits=(), needs_root="a folder with one folder a class, or one folder a split above them")
def folder(*, split: str = "all", root: str | None = None) -> ImageSet:
    """Image files of your own, one folder a class: ROOT/SPLIT/CLASS/... or, as split "all", ROOT/CLASS/...

    Classes are numbered in the order of their names. Files are found at any depth, through links as well, and each
    folder once; hidden ones, and those whose name is not that of an image, are passed over. Images that lie in no class
    folder, and folders of images whose name begins with a dot, are no class; they are named in a warning.
    """
    place, prefix, found = Path(root or ""), "", _folders(Path(root or ""))
    if split in found:
        place, prefix, found = place / split, f"{split}/", _folders(place / split)
    elif split != "all":
        raise DataError(f"folder: {unknown(f'split in {str(place)!r}', split, found)}")
    elif found and set(map(str.lower, found)) <= _SPLIT_NAMES and any(_folders(place / name) for name in found):
        raise DataError(f"folder: {str(place)!r} has the splits {', '.join(found)}; say which one with split")
    if not found:
        held = "only images in it" if _n_images_in(place) else "no folders in it"
        raise DataError(f"folder: {str(place)!r} has {held}; expected one folder a class")
    listed = _file_images("folder", split, place, prefix, dict(enumerate(found)))
    _say_left_out("folder", place)
    return listed


@DATASETS.register("imagenet", splits=("train", "val"), needs_root="the folder that holds train/ and val/")
def imagenet(*, split: str = "val", root: str | None = None) -> ImageSet:
    """ImageNet-1K (Russakovsky et al. 2015) or some classes of it: ROOT/SPLIT/WNID/..., one folder a WordNet id.

    The class index comes from the id (n01440764 is 0) and never from the order of the folders that are there.
    """
    place = Path(root or "") / split
    wnids = imagenet_wnids()
    if not place.is_dir():
        itself = any(name in wnids for name in _folders(Path(root or "")))
        raise DataError(
            f"imagenet: {str(root)!r} has no folder {split!r}"
            + (f"; it holds class folders itself: name it {split!r} and give the folder above it" if itself else "")
        )
    found = _folders(place)
    strangers = [name for name in found if name not in wnids]
    if not found or strangers:
        raise DataError(f"imagenet: {str(place)!r} {_why_not_imagenet(place, found, strangers)}")
    by_index = {wnids[name]: name for name in found}
    listed = _file_images("imagenet", split, place, f"{split}/", by_index)
    _say_left_out("imagenet", place)
    return ImageSet(
        raw=listed.raw,
        labels=listed.labels,
        names=listed.names,
        class_names=dict(enumerate(imagenet_class_names())),
        aliases=wnids,
        source="imagenet",
        split=split,
    )


def _why_not_imagenet(place: Path, found: Sequence[str], strangers: Sequence[str]) -> str:
    wanted = "expected one folder a WordNet id, such as n01440764"
    if not found:
        if flat := _n_images_in(place):
            return (
                f"has {flat} images and no class folders, as the validation images are released; {wanted}: move each "
                "image into the folder of its class first (ImageNet's development kit lists the classes)"
            )
        return f"is empty; {wanted}"
    if all(name.isdigit() for name in strangers):
        return (
            f"has folders named by numbers ({', '.join(strangers[:3])}), which different releases count differently; "
            f"{wanted}: rename them, or use the dataset `folder` with a network of your own labels"
        )
    shown = ", ".join(map(repr, strangers[:3])) + (", ..." if len(strangers) > 3 else "")
    return (
        f"has {len(strangers)} of {len(found)} folders that are no class of ImageNet-1K ({shown}); {wanted}: rename or "
        "remove them, or use the dataset `folder`"
    )


@cache
def imagenet_wnids() -> Mapping[str, int]:
    """The class index of each of the 1,000 WordNet ids of ImageNet-1K, in timm's copy of their order."""
    from timm.data.imagenet_info import ImageNetInfo

    info: Any = ImageNetInfo()
    return {str(wnid): index for index, wnid in enumerate(info.label_names())}


@cache
def imagenet_class_names() -> tuple[str, ...]:
    """A name for each of the 1,000 classes as torchvision has them: all different, also the two cranes."""
    from torchvision.models import ResNet50_Weights

    return tuple(str(name) for name in ResNet50_Weights.IMAGENET1K_V1.meta["categories"])


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def _folders(place: Path) -> list[str]:
    """The folders in a folder that are not hidden, by name."""
    return [e.name for e in _entries(place) if not e.name.startswith((".", "__")) and _is_folder(e)]


def _n_images_in(place: Path | str) -> int:
    """How many image files lie directly in a folder."""
    return sum(_is_image(entry.name) for entry in _entries(place))


def _say_left_out(source: str, place: Path) -> None:
    """Warn of images beside the class folders that belong to no class."""
    loose = _n_images_in(place)
    hidden = [e.name for e in _entries(place) if e.name.startswith(".") and _is_folder(e) and _n_images_in(e.path)]
    left = [f"{loose} images in no class folder"] if loose else []
    left += [f"the folder {printable(name)!r}, whose name begins with a dot" for name in hidden[:3]]
    if left:
        warnings.warn(f"{source}: left out {' and '.join(left)} in {str(place)!r}", stacklevel=4)


def _entries(place: Path | str) -> list[os.DirEntry[str]]:
    """What lies in a folder, by name."""
    try:
        with os.scandir(place) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"{printable(str(place)[-200:])!r} cannot be listed: {(error.strerror or str(error)).lower()}"
        ) from error


def _images_under(place: str, prefix: str) -> list[str]:
    """Image files at any depth, as prefix and path from `place`, sorted; each folder once, however links lead to it."""
    found: list[str] = []
    waiting, seen = [(place, prefix)], set()
    while waiting:
        folder, before = waiting.pop()
        entries = _entries(folder)
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        folders = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                folders.append((entry.path, f"{before}{entry.name}/"))
            elif _is_image(entry.name):
                found.append(before + entry.name)
        waiting += reversed(folders)
    return sorted(found)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _file_images(source: str, split: str, place: Path, prefix: str, folders: Mapping[int, str]) -> ImageSet:
    paths: list[str] = []
    counts: list[int] = []
    for label in sorted(folders):
        found = _images_under(str(place / folders[label]), f"{prefix}{folders[label]}/")
        if not found:
            shown = printable(folders[label])
            raise DataError(f"{source}: class folder {shown!r} holds no image file; fill it, or take it away")
        paths += found
        counts.append(len(found))
    class_names = {label: printable(name) for label, name in folders.items()}
    names = [printable(path) for path in paths]
    if names == paths:
        names = paths  # which they share: a dataset may list a million
    for what, known in (("class folders", list(class_names.values())), ("images", names)):
        if known is not paths and (twice := [name for name, count in Counter(known).items() if count > 1]):
            raise DataError(f"{source}: two {what} would be called {twice[0]!r}; rename one of them")
    return ImageSet(
        raw=FileImages(paths, root=place.parent if prefix else place),
        labels=torch.tensor(sorted(folders)).repeat_interleave(torch.tensor(counts)),
        names=names,
        class_names=class_names,
        source=source,
        split=split,
    )
