"""Named sources of labelled images: each lists all of its images, and decodes none of those in files.

A dataset is a function `(*, split, root) -> ImageSet`, registered where it is defined. Traits: `splits`, the parts it
has (empty where the folder decides); `needs_root`, what the user must point to ("" for nothing); and `fetches`, true
where files that are missing are downloaded. A source of many datasets, such as torchvision, is a function
`(name, *, split, root) -> ImageSet` with the trait `named`, which says what stands after its colon.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

from manifoldscope.errors import DataError, StudyError, unknown
from manifoldscope.registry import Entry, Registry
from manifoldscope.vision.images import ImageSet, choose_classes, draw

DATASETS = Registry("dataset", package="manifoldscope.vision.datasets")


def dataset_entry(source: str) -> Entry:
    """What is registered for a dataset, "mnist" or "torchvision:CIFAR10".

    Raises:
        StudyError: no such dataset, or a name where none belongs, or none where one does.

    Example:
        >>> dataset_entry("torchvision:CIFAR10").name
        'torchvision'
    """
    scheme, colon, name = source.partition(":")
    entry = DATASETS[scheme]
    named = entry.traits.get("named", "")
    if named and not name:
        raise StudyError(f"the dataset {source!r} does not say which one; expected {scheme}:{named}")
    if colon and not named:
        raise StudyError(f"there is no dataset {source!r}; {scheme!r} is one by itself, without a colon")
    return entry


def source_schema() -> dict[str, Any]:
    """A JSON schema of what `load` takes as a source."""
    plain = [entry.name for entry in DATASETS if not entry.traits.get("named")]
    schemes = [entry.name for entry in DATASETS if entry.traits.get("named")]
    return {"anyOf": [{"enum": plain}, {"pattern": f"^({'|'.join(schemes)}):."}]}


def load(source: str, *, root: str | os.PathLike[str] | None = None, split: str | None = None) -> ImageSet:
    """Every image of a dataset, listed and not decoded.

    Args:
        source: the name of a dataset, for example "mnist", or of one of many, such as "torchvision:CIFAR10".
        root: the folder (for `arrays` the file) that holds it.
        split: the part of it; None takes the one that the dataset is usually evaluated on.

    Raises:
        StudyError: no such dataset.
        DataError: no such split, or files that are missing, truncated or not what they should be.

    Example:
        >>> len(load("digits"))
        1797
    """
    entry = dataset_entry(source)
    splits: tuple[str, ...] = entry.traits["splits"]
    if split is not None and splits and split not in splits:
        raise DataError(f"{source}: {unknown('split', split, splits)}; its splits: {', '.join(splits)}")
    place = None if root is None else os.path.expanduser(os.fspath(root))
    if place is None and entry.traits["needs_root"]:
        raise DataError(f"{source}: no root was given; expected {entry.traits['needs_root']}")
    fetches = entry.traits.get("fetches", False)  # a folder that is to be filled need not be there yet
    if place is not None and entry.traits["needs_root"] and not fetches and not os.path.exists(place):
        raise DataError(f"{source}: there is no {place!r}; expected {entry.traits['needs_root']}")
    named = [source.partition(":")[2]] if entry.traits.get("named") else []
    settings = {"root": place} if split is None else {"root": place, "split": split}
    with entry.named(DataError):
        found = entry.target(*named, **settings)
    if not isinstance(found, ImageSet):
        raise DataError(
            f"the dataset {source} gave {type(found).__name__}; expected an ImageSet, as ImageSet.of(images, labels)"
        )
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
        classes: how many to sample, or which ones by index or name, at least one; None takes all.
        images_per_class: the most of each; None takes all. A larger draw contains the smaller one.

    Raises:
        StudyError: no such dataset.
        DataError: no such split or class, too few classes, or a class without readable images.

    Example:
        >>> images("digits", classes=[3, 8], images_per_class=5).classes
        [3, 8]
    """
    if classes is not None and not isinstance(classes, int) and len(classes) == 0:
        raise DataError("classes is empty; give at least one class, or None for all")
    every = load(source, root=root, split=split)
    drawn = draw(
        every,
        classes=choose_classes(every, classes, seed=seed),
        images_per_class=images_per_class,
        seed=seed,
    )
    if drawn.skipped_images:
        name, _, reason = drawn.skipped_images[0]
        more = f", and {len(drawn.skipped_images) - 1} more" if len(drawn.skipped_images) > 1 else ""
        warnings.warn(f"{source}: left out {name} ({reason}){more}", stacklevel=2)
    return drawn.images
