"""How large a study is: classes, images of each and networks, by its file and where that does not say by its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from manifoldscope.errors import DataError
from manifoldscope.study.draws import AT_LEAST, chosen_classes
from manifoldscope.study.plan import Study
from manifoldscope.vision.datasets import load


@dataclass(frozen=True)
class Size:
    """What a study asks for.

    Attributes:
        n_measured, n_attacked: images of a class whose geometry is measured, and that are attacked; of classes that
            have different numbers, the fewest.
        n_networks: another training seed of a network is no other network.
        same_images: both are the same ones.
    """

    n_classes: int
    n_measured: int
    n_attacked: int
    n_networks: int
    same_images: bool


def size_of(study: Study) -> Size:
    """The size of a study; images are listed, and not read, where the study file asks for all classes or all images.

    Raises:
        DataError: the dataset or a class does not exist, or a class has too few images.
    """
    data = study.data
    asked = data.robustness.images_per_class, data.geometry.images_per_class
    if data.classes is not None and None not in asked:
        n_classes = data.classes if isinstance(data.classes, int) else len(data.classes)
        n_attacked, n_measured = (each or 0 for each in asked)
    else:
        n_classes, n_attacked, n_measured = _listed(study)
    return Size(n_classes, n_measured, n_attacked, len(study.models), data.same_images)


def _listed(study: Study) -> tuple[int, int, int]:
    """Classes, and images of each that are attacked and measured: as `draw_images` takes them."""
    data = study.data
    splits = {plan.split for plan in (data.robustness, data.geometry)}
    listed = {split: load(data.source, root=data.root, split=split) for split in splits}
    chosen = chosen_classes(study, listed[data.robustness.split])

    def fewest(role: Literal["robustness", "geometry"], taken: int) -> int:
        plan = getattr(data, role)
        images = listed[plan.split]
        there, label = min((int((images.labels == label).sum()), label) for label in chosen)
        left = max(0, there - taken)
        found = left if plan.images_per_class is None else min(left, plan.images_per_class)
        if found < AT_LEAST[role]:
            raise DataError(
                f"data.{role}: class {images.class_names[label]!r} of {images.source} ({images.split}) has {there} "
                f"images, of which {left} are left for this draw; at least {AT_LEAST[role]} are needed: leave the "
                "class out of data.classes, reduce images_per_class of data.robustness, or set data.same_images = true"
            )
        return found

    attacked = fewest("robustness", 0)
    if data.same_images:
        return len(chosen), attacked, attacked
    one = listed[data.robustness.split].split == listed[data.geometry.split].split
    return len(chosen), attacked, fewest("geometry", attacked if one else 0)
