"""ImageNet-1K, as folders of WordNet ids; and the names of its classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from manifoldscope.errors import DataError
from manifoldscope.vision.datasets.dataset import DATASETS
from manifoldscope.vision.datasets.listing import file_images, folders, n_images_in, say_left_out
from manifoldscope.vision.images import ImageSet


@DATASETS.register("imagenet", splits=("train", "val"), needs_root="the folder that holds train/ and val/")
def imagenet(*, split: str = "val", root: str | None = None) -> ImageSet:
    """ImageNet-1K (Russakovsky et al. 2015) or some classes of it: ROOT/SPLIT/WNID/..., one folder a WordNet id.

    The class index comes from the id (n01440764 is 0) and never from the order of the folders that are there.
    """
    place = Path(root or "") / split
    wnids = imagenet_wnids()
    if not place.is_dir():
        itself = any(name in wnids for name in folders(Path(root or "")))
        raise DataError(
            f"imagenet: {str(root)!r} has no folder {split!r}"
            + (f"; it holds class folders itself: name it {split!r} and give the folder above it" if itself else "")
        )
    found = folders(place)
    strangers = [name for name in found if name not in wnids]
    if not found or strangers:
        raise DataError(f"imagenet: {str(place)!r} {_why_not_imagenet(place, found, strangers)}")
    by_index = {wnids[name]: name for name in found}
    listed = file_images("imagenet", split, place, f"{split}/", by_index)
    say_left_out("imagenet", place)
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
        if flat := n_images_in(place):
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
    """The class index of each of the 1,000 WordNet ids of ImageNet-1K."""
    return {wnid: index for index, (wnid, _) in enumerate(_classes())}


@cache
def imagenet_class_names() -> tuple[str, ...]:
    """A name for each of the 1,000 classes as torchvision has them: all different, also the two cranes."""
    return tuple(name for _, name in _classes())


def _classes() -> list[tuple[str, str]]:
    """WordNet id and name of each class, by class index; their source and licence stand at the head of the file."""
    text = files("manifoldscope.vision.datasets").joinpath("imagenet-classes.txt").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return [(wnid, name) for wnid, name in rows]
