"""Images of another dataset that are shown to the networks, and which of its classes is which of the study."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from pydantic import field_validator, model_validator

from manifoldscope.errors import DataError, unknown
from manifoldscope.seeds import derive
from manifoldscope.study.draws import Draw, Drawn, Role, fingerprint, in_chunks, publish, remembered
from manifoldscope.study.plan import Study
from manifoldscope.study.section import HowMany, KindSection, known_dataset, setting
from manifoldscope.study.store import Store
from manifoldscope.vision.datasets import load
from manifoldscope.vision.images import Draw as Chosen
from manifoldscope.vision.images import ImageSet, choose_classes, draw
from manifoldscope.vision.network import Network


class OtherDataset(KindSection):
    """Another dataset that is shown to the networks."""

    column: ClassVar[str] = "dataset"

    name: str = setting("", "what tables and figures call it; its source by default", keyed=False)
    source: str = setting(..., "a dataset by name: see `manifoldscope list datasets`", keyed=True)
    root: str | None = setting(None, "folder or file of the dataset", keyed=False)
    split: str | None = setting(None, "part of the dataset; the dataset's last one by default", keyed=True)
    images_per_class: HowMany = setting(None, "how many images of each class; all by default", keyed=True, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and not raw.get("name") and isinstance(raw.get("source"), str):
            return {**raw, "name": raw["source"]}
        return raw

    @field_validator("source")
    @classmethod
    def _known(cls, source: str) -> str:
        return known_dataset(source)


def draw_same_classes(study: Study, store: Store, plan: OtherDataset, draws: Mapping[Role, Drawn], *, by: str) -> Drawn:
    """Images of the classes of the study in another dataset, under the study's labels and class names.

    No image is drawn that a draw of the study has, stored alike, under whatever name. What was drawn before is
    remembered and not read again.

    Args:
        by: "name" or "index": how classes are matched.

    Raises:
        DataError: the dataset or a class does not exist, classes cannot be matched, or a class has no readable image
            that is not in another draw.
    """
    own = draws["robustness"].images
    try:
        whole = load(plan.source, root=plan.root, split=plan.split)
        labels = matched_classes(own, whole, by=by)
    except DataError as error:
        raise DataError(f"{plan.key} {plan.name!r}: {error}") from None
    drawn = _one(study, store, plan, whole, labels, draws)
    return replace(drawn, images=_relabelled(drawn.images, labels, own))


def draw_other_classes(
    study: Study,
    store: Store,
    plan: OtherDataset,
    draws: Mapping[Role, Drawn],
    classes: int | list[int | str] | None,
) -> Drawn:
    """Images of classes that the study does not have.

    No image is drawn that a draw of the study has, stored alike, under whatever name. What was drawn before is
    remembered and not read again.

    Raises:
        DataError: the dataset or a class does not exist, has no readable image that is not in another draw, or has
            the name of a class that the networks know.
    """
    try:
        whole = load(plan.source, root=plan.root, split=plan.split)
        chosen = choose_classes(whole, classes, seed=derive(study.seed, "foreign classes"))
        _refuse_known(study, draws["robustness"].images, whole, chosen)
    except DataError as error:
        raise DataError(f"{plan.key} {plan.name!r}: {error}") from None
    return _one(study, store, plan, whole, {label: label for label in chosen}, draws)


def _one(
    study: Study,
    store: Store,
    plan: OtherDataset,
    whole: ImageSet,
    labels: Mapping[int, int],
    draws: Mapping[Role, Drawn],
) -> Drawn:
    began = time.time()
    unit = Draw(
        role=f"{plan.key} {plan.name}",
        source=plan.source,
        split=whole.split,
        classes=tuple(sorted((other, label) for label, other in labels.items())),
        images_per_class=plan.images_per_class,
        seed=study.seed,
        fingerprint=fingerprint(whole),
        apart_from=tuple(sorted({drawn.digest for drawn in draws.values()})),
    )
    if (known := remembered(store, unit, whole)) is not None:
        return known
    try:
        result = _draw_apart(study, plan, whole, sorted(labels.values()), draws)
    except DataError as error:
        raise DataError(f"{plan.key} {plan.name!r}: {error}") from None
    images = result.images
    drawn = Drawn(images, unit, {label: in_chunks(images.of_class(other)) for label, other in labels.items()})
    publish(store, unit, drawn, result.skipped_images, began)
    return drawn


def _draw_apart(
    study: Study, plan: OtherDataset, whole: ImageSet, classes: list[int], draws: Mapping[Role, Drawn]
) -> Chosen:
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
    """Refuse an OOD class that has the name of one of the study.

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
                "of classes, or list the dataset among [[shifts]]"
            )


def refuse_other_shapes(network: Network, known: ImageSet, other: ImageSet) -> None:
    """Images of another size would be told apart by it, and a network made for one size may not take another.

    Raises:
        DataError: they reach the network in another shape.
    """
    shapes = [tuple(network.pixels(images, slice(0, 1)).shape[2:]) for images in (known, other)]
    if shapes[0] != shapes[1]:
        raise DataError(
            f"images of {other.source} reach {network.name} with {shapes[1][0]} x {shapes[1][1]} pixels, those of the "
            f"study with {shapes[0][0]} x {shapes[0][1]}; bring both to one size, as with crop = {min(shapes[0])} in "
            "its table of [[models]]"
        )
