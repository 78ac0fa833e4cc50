"""Image files in folders, one folder a class: listed, and not read."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch

from manifoldscope.errors import DataError
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.printable import printable
from manifoldscope.vision.raw import FileImages

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"})
"""What the name of an image file ends in; other files in a class's folder are passed over."""


LEFT_BEHIND = frozenset({"__MACOSX", "__pycache__"})
"""Folders that other programs leave, and that are no class."""


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def folders(place: Path) -> list[str]:
    """The folders in a folder that are not hidden, by name."""
    named = (e for e in _entries(place) if not e.name.startswith(".") and e.name not in LEFT_BEHIND)
    return [e.name for e in named if _is_folder(e)]


def n_images_in(place: Path | str) -> int:
    """How many image files lie directly in a folder."""
    return sum(_is_image(entry.name) for entry in _entries(place))


def say_left_out(source: str, place: Path) -> None:
    """Warn of images beside the class folders that belong to no class."""
    loose = n_images_in(place)
    hidden = [e.name for e in _entries(place) if e.name.startswith(".") and _is_folder(e) and n_images_in(e.path)]
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
        deeper = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                deeper.append((entry.path, f"{before}{entry.name}/"))
            elif _is_image(entry.name):
                found.append(before + entry.name)
        waiting += reversed(deeper)
    return sorted(found)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def file_images(source: str, split: str, place: Path, prefix: str, of_classes: Mapping[int, str]) -> ImageSet:
    """The image files below `place` in the folder of each class index, listed and not read.

    Args:
        prefix: what names begin with.

    Raises:
        DataError: a class without an image file, or two names that would be shown alike.
    """
    paths: list[str] = []
    counts: list[int] = []
    for label in sorted(of_classes):
        found = _images_under(str(place / of_classes[label]), f"{prefix}{of_classes[label]}/")
        if not found:
            shown = printable(of_classes[label])
            raise DataError(f"{source}: class folder {shown!r} holds no image file; fill it, or take it away")
        paths += found
        counts.append(len(found))
    class_names = {label: printable(name) for label, name in of_classes.items()}
    names = [printable(path) for path in paths]
    if names == paths:
        names = paths  # which they share: a dataset may list a million
    for what, known in (("class folders", list(class_names.values())), ("images", names)):
        if known is not paths and (twice := [name for name, count in Counter(known).items() if count > 1]):
            raise DataError(f"{source}: two {what} would be called {twice[0]!r}; rename one of them")
    return ImageSet(
        raw=FileImages(paths, root=place.parent if prefix else place),
        labels=torch.tensor(sorted(of_classes)).repeat_interleave(torch.tensor(counts)),
        names=names,
        class_names=class_names,
        source=source,
        split=split,
    )
