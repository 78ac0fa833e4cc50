"""Which images of a foreign dataset are shown to the networks, and which of its classes is which of the study."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from manifoldscope.errors import DataError, unknown
from manifoldscope.seeds import derive
from manifoldscope.study.challenges import ForeignPlan
from manifoldscope.study.draws import DRAWN, VERSION, Drawn, Role, fingerprint, publish, remembered
from manifoldscope.study.plan import Study
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Unit
from manifoldscope.vision.datasets import load
from manifoldscope.vision.images import Draw, ImageSet, choose_classes, draw


def draw_foreign(study: Study, store: Store, draws: Mapping[Role, Drawn]) -> dict[str, Drawn]:
    """Images of each foreign dataset by its name; what was drawn before is remembered and not read again.

    No image is drawn that a draw of the study has, stored alike, under whatever name. Where the classes are those of
    the study, the images have its labels and class names.

    Raises:
        DataError: the dataset or a class does not exist, a class has no readable image that is not in another draw,
            classes cannot be matched, or a class that should be foreign has the name of a known one.
    """
    return {plan.name: _one(study, store, plan, draws) for plan in study.foreign}


def _one(study: Study, store: Store, plan: ForeignPlan, draws: Mapping[Role, Drawn]) -> Drawn:
    own = draws["robustness"].images
    began = time.time()
    try:
        whole = load(plan.source, root=plan.root, split=plan.split)
        if plan.same_classes:
            labels = matched_classes(own, whole, by=plan.match)
        else:
            chosen = choose_classes(whole, plan.classes, seed=derive(study.seed, "foreign classes"))
            _refuse_known(study, own, whole, chosen)
            labels = {label: label for label in chosen}
        inputs: dict[str, Any] = {
            "version": VERSION,
            "source": plan.source,
            "split": whole.split,
            "classes": sorted([other, label] for label, other in labels.items()),
            "images_per_class": plan.images_per_class,
            "seed": study.seed,
            "files": fingerprint(whole),
            "apart_from": sorted({drawn.digest for drawn in draws.values()}),
        }
        unit = Unit("draw", inputs, names={"role": f"foreign {plan.name}"}, files=DRAWN)
        if (known := remembered(store, unit, whole)) is not None:
            return replace(known, images=_relabelled(known.images, labels, own) if plan.same_classes else known.images)
        result = _draw_apart(study, plan, whole, sorted(labels.values()), draws)
    except DataError as error:
        raise DataError(f"foreign {plan.name!r}: {error}") from None
    images = _relabelled(result.images, labels, own) if plan.same_classes else result.images
    drawn = Drawn(images, unit, {label: images.of_class(label).digest() for label in images.classes})
    publish(store, unit, drawn, result.set_aside, began)
    return drawn


def _draw_apart(
    study: Study, plan: ForeignPlan, whole: ImageSet, classes: list[int], draws: Mapping[Role, Drawn]
) -> Draw:
    """A draw without images of the study's own draws: contents decide, since names say little across datasets."""
    taken = {
        drawn.images.raw.digest(position) for drawn in draws.values() for position in drawn.images.positions.tolist()
    }
    shared: frozenset[str] = frozenset()
    while True:  # each turn finds more of what is shared, or ends
        result = draw(
            whole,
            classes=classes,
            images_per_class=plan.images_per_class,
            seed=derive(study.seed, "draw", "foreign"),
            exclude=shared,
        )
        images = result.images
        found = {
            name
            for name, position in zip(images.names, images.positions.tolist(), strict=True)
            if images.raw.digest(position) in taken
        }
        if not found:
            return result
        shared |= found


def matched_classes(own: ImageSet, other: ImageSet, *, by: str) -> dict[int, int]:
    """Which class of another dataset is each class of this one: {index here: index there}.

    Args:
        own: the images whose classes are to be found.
        by: "name", where other names of a class (such as WordNet ids) count as well; or "index".

    Raises:
        DataError: a class that is not there, or has no images there; or, by index, one whose name another index has.
    """
    here = f"class {{}} of {own.source}"
    names_there = {**other.aliases, **{name: label for label, name in other.class_names.items()}}
    found: dict[int, int] = {}
    for label in own.classes:
        name = own.class_names[label]
        if by == "index":
            if label not in other.class_names:
                raise DataError(f"{here.format(label)} ({name!r}) has no counterpart in {other.source}: no such index")
            if names_there.get(name, label) != label:
                raise DataError(
                    f"{here.format(label)} is {name!r}, which in {other.source} is class {names_there[name]}; "
                    "match them by name"
                )
            found[label] = label
        else:
            names = [name, *(alias for alias, of in own.aliases.items() if of == label)]
            there = next((names_there[known] for known in names if known in names_there), None)
            if there is None:
                raise DataError(
                    f"{unknown(f'class in {other.source}', name, names_there)} (or give match = 'index', where the "
                    "same index means the same class)"
                )
            found[label] = there
        if found[label] not in other.classes:
            raise DataError(f"class {name!r} has no images in {other.source} ({other.split})")
    return found


def _relabelled(images: ImageSet, labels: Mapping[int, int], own: ImageSet) -> ImageSet:
    """The images under the labels and class names of the study."""
    here = {there: label for label, there in labels.items()}
    return replace(
        images,
        labels=torch.tensor([here[label] for label in images.labels.tolist()], dtype=torch.int64),
        class_names=own.class_names,
        aliases={},
    )


def _refuse_known(study: Study, own: ImageSet, other: ImageSet, chosen: list[int]) -> None:
    """Refuse a foreign class that has the name of a known one.

    Known are the classes of the study; and where a network comes with weights, every class of the dataset. A bare
    number in a file of arrays is an index, and no name.
    """
    loaded = any(model.training is None for model in study.models)
    known = {own.class_names[label] for label in (own.class_names if loaded else own.classes)}
    known |= {alias for alias, label in own.aliases.items() if own.class_names[label] in known}
    others: dict[int, set[str]] = {
        label: {other.class_names[label], *(alias for alias, of in other.aliases.items() if of == label)}
        for label in chosen
    }
    for label, names in others.items():
        if other.source == "arrays" and names == {str(label)}:
            continue
        if both := sorted(names & known):
            raise DataError(
                f"class {both[0]!r} of {other.source} is known to the networks by that name; leave it out with a list "
                "of classes, or give same_classes = true"
            )
