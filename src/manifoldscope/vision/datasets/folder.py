"""Image files of your own, one folder a class."""

from __future__ import annotations

from pathlib import Path

from manifoldscope.errors import DataError, unknown
from manifoldscope.vision.datasets.dataset import DATASETS
from manifoldscope.vision.datasets.listing import file_images, folders, n_images_in, say_left_out
from manifoldscope.vision.images import ImageSet

_SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


@DATASETS.register("folder", splits=(), needs_root="a folder with one folder a class, or one folder a split above them")
def folder(*, split: str = "all", root: str | None = None) -> ImageSet:
    """Image files of your own, one folder a class: ROOT/SPLIT/CLASS/... or, as split "all", ROOT/CLASS/...

    Classes are numbered in the order of their names. Files are found at any depth, through links as well, and each
    folder once; hidden ones, and those whose name is not that of an image, are passed over. Images that lie in no class
    folder, and folders of images whose name begins with a dot, are no class; they are named in a warning.
    """
    place, prefix, found = Path(root or ""), "", folders(Path(root or ""))
    if split in found:
        place, prefix, found = place / split, f"{split}/", folders(place / split)
    elif split != "all":
        raise DataError(f"folder: {unknown(f'split in {str(place)!r}', split, found)}")
    elif found and set(map(str.lower, found)) <= _SPLIT_NAMES and any(folders(place / name) for name in found):
        raise DataError(f"folder: {str(place)!r} has the splits {', '.join(found)}; say which one with split")
    if not found:
        held = "only images in it" if n_images_in(place) else "no folders in it"
        raise DataError(f"folder: {str(place)!r} has {held}; expected one folder a class")
    listed = file_images("folder", split, place, prefix, dict(enumerate(found)))
    say_left_out("folder", place)
    return listed
