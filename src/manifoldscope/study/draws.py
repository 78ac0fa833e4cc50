"""Which images a study uses for what: three draws that share no image, unless the study asks for the same ones.

All three take theirs from one seeded order of the images of a class: those to attack from its beginning, those to
measure from its end, those to train on from its middle. So the size of one changes what the others take only where they
meet; and then the images to attack come first, those to measure next.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Self

import polars as pl
import torch

from manifoldscope.errors import DataError
from manifoldscope.seeds import derive, generator
from manifoldscope.study.plan import DrawPlan, Study
from manifoldscope.study.progress import Progress
from manifoldscope.study.refs import unkeyed
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Payload, Unit, kind
from manifoldscope.tables import TEXT, Schema, conform
from manifoldscope.vision.datasets import dataset_entry, load
from manifoldscope.vision.images import Draw as Chosen
from manifoldscope.vision.images import ImageSet, batches, choose_classes, draw

SKIPPED_IMAGES = Schema(
    name="skipped_images",
    row="an image that could not be read, and was skipped",
    columns={"image": TEXT, "class_name": TEXT, "reason": TEXT},
    identity=("image",),
)


Role = Literal["robustness", "geometry", "training"]


@kind("draw", place=-1)
@dataclass(frozen=True, kw_only=True)
class Draw(Unit):
    """Which images were drawn for something, and which could not be read.

    Attributes:
        role: for what.
        classes: by index; of another dataset, with the index in the study.
        fingerprint: of the files from which images are drawn.
        apart_from: digests of draws with which it shares no image.
        rivals: keys of the draws, of the same part of the dataset, that were made before.
    """

    version = 5
    files = ("images.parquet", "skipped_images.parquet")
    tables = (SKIPPED_IMAGES,)

    source: str
    split: str
    classes: tuple[int | tuple[int, int], ...]
    images_per_class: int | None
    seed: int
    fingerprint: str
    apart_from: tuple[str, ...] = ()
    rivals: tuple[str, ...] = unkeyed(())  # in the key as needs
    role: str = unkeyed()

    @property
    def needs(self) -> tuple[str, ...]:
        return self.rivals

    @property
    def label(self) -> str:
        return f"{self.role} · {self.kind}"

    @classmethod
    def rows(cls, store: Store, units: Sequence[Self]) -> dict[str, pl.DataFrame]:
        return (
            {"skipped_images": pl.concat(store.table(unit, "skipped_images") for unit in units).unique()}
            if units
            else {}
        )


CHUNK = 25
"""Images of a class that are attacked as one unit of work. A larger draw begins with the smaller one, and so with its
chunks; were they smaller, storing them would cost more than attacking a small network does."""

AT_LEAST: Mapping[Role, int] = {"robustness": 1, "geometry": 2, "training": 1}
"""How many images of each class a draw needs: one point has no spectrum."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """The images of one draw, the unit that remembers them, and digests of each class's images, `CHUNK` in turn."""

    images: ImageSet
    unit: Draw
    digests: Mapping[int, tuple[str, ...]]

    @property
    def digest(self) -> str:
        """A digest of all the images."""
        return joined(digest for label in sorted(self.digests) for digest in self.digests[label])

    def of_class(self, label: int) -> str:
        """A digest of the images of one class."""
        return joined(self.digests[label])


def joined(digests: Iterable[str]) -> str:
    """One digest of several."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def in_chunks(images: ImageSet) -> tuple[str, ...]:
    """Digests of the images of one class, `CHUNK` in turn."""
    places = torch.arange(len(images))
    return tuple(images.subset(places[part]).digest() for part in batches(len(images), CHUNK))


def of_classes(drawn: Drawn, labels: Sequence[int]) -> Drawn:
    """The images of some of the classes of a draw; nothing is read."""
    kept = torch.isin(drawn.images.labels, torch.tensor(labels))
    digests = {label: each for label, each in drawn.digests.items() if label in set(labels)}
    return replace(drawn, images=drawn.images.subset(kept), digests=digests)


def draw_images(study: Study, store: Store, progress: Progress | None = None) -> dict[Role, Drawn]:
    """The draws of a study; what was drawn before, from files that have not changed, is remembered and not read again.

    Asking for more images of one draw leaves the others as they are, as long as a class has enough for all (and no
    network trains on all that are left). Where it has not, the images to attack are taken first, since attacks are
    expensive. Training images are drawn only where a network learns from them.

    Equal sizes are made last, so that they change neither what is attacked nor what networks are trained on.

    Raises:
        DataError: the dataset or a class does not exist, or has too few readable images.
    """
    splits = _Splits(study, progress or Progress(quiet=True))
    chosen = chosen_classes(study, splits[study.data.robustness.split])
    draws: dict[Role, Drawn] = {
        "robustness": _one(study, store, splits, "robustness", study.data.robustness, chosen, [])
    }
    if study.data.same_images:
        draws["geometry"] = draws["robustness"]
    else:
        draws["geometry"] = _one(study, store, splits, "geometry", study.data.geometry, chosen, [draws["robustness"]])
    if any(model.training is not None and model.training.made().trains for model in study.models):
        plan = study.data.training
        if plan.split is None:  # a dataset names its training part first; one without parts has only the whole
            splits_of = dataset_entry(study.data.source).traits["splits"] or (study.data.robustness.split,)
            plan = DrawPlan(split=splits_of[0], images_per_class=plan.images_per_class)
        draws["training"] = _one(study, store, splits, "training", plan, chosen, list(draws.values()))
    if study.sampling.equal_sizes:
        draws["geometry"] = _of_equal_sizes(draws["geometry"], study.seed)
    return draws


def chosen_classes(study: Study, images: ImageSet) -> list[int]:
    """The classes of a study, by index.

    Raises:
        DataError: one that does not exist or has no images, or more than there are.
    """
    classes = study.data.classes
    try:
        return choose_classes(images, classes, seed=derive(study.seed, "classes"))
    except DataError as error:
        advice = '; give a number from 1 to that many, or "all"' if isinstance(classes, int) else ""
        raise DataError(f"data.classes: {error}{advice}") from None


def too_few(study: Study, draws: Mapping[Role, Drawn]) -> Iterator[str]:
    """What is to be said of each draw in which classes have fewer images than the study asks for."""
    for role, drawn in draws.items():
        asked = getattr(study.data, role).images_per_class
        if asked is None or (role == "geometry" and (study.data.same_images or study.sampling.equal_sizes)):
            continue
        sizes = {label: int((drawn.images.labels == label).sum()) for label in drawn.images.classes}
        fewer = [label for label, size in sizes.items() if size < asked]
        if fewer:
            label = min(fewer, key=sizes.__getitem__)
            have = "has" if len(fewer) == 1 else "have"
            yield (
                f"data.{role}: {len(fewer)} of {len(sizes)} classes {have} fewer than the {asked} images asked for; "
                f"{drawn.images.class_names[label]!r} has {sizes[label]}"
            )


def _of_equal_sizes(drawn: Drawn, seed: int) -> Drawn:
    """As many images of each class as the smallest has, each class by a stream of its own; nothing is read.

    The digest of a class that loses images is that of all of them, with the seed and how many are left.
    """
    images = drawn.images
    sizes = {label: int((images.labels == label).sum()) for label in images.classes}
    smallest = min(sizes.values())
    kept, digests = [], dict(drawn.digests)
    for label, size in sizes.items():
        rows = (images.labels == label).nonzero().flatten()
        if size > smallest:
            rows = rows[torch.randperm(size, generator=generator(seed, "equal sizes", label))[:smallest]]
            digests[label] = (joined([drawn.of_class(label), f"\x1f{seed}\x1f{smallest}"]),)
        kept.append(rows)
    return replace(drawn, images=images.subset(torch.cat(kept).sort().values), digests=digests)


class _Splits:
    """The parts of the dataset, each listed once."""

    def __init__(self, study: Study, progress: Progress) -> None:
        self._data, self.progress = study.data, progress
        self._loaded: dict[str | None, ImageSet] = {}
        self._fingerprints: dict[str | None, str] = {}

    def __getitem__(self, split: str | None) -> ImageSet:
        if split not in self._loaded:
            with self.progress.stage(f"listing the images of {self._data.source}"):
                self._loaded[split] = load(self._data.source, root=self._data.root, split=split)
        return self._loaded[split]

    def fingerprint(self, split: str | None) -> str:
        """A text that changes when files, labels or names do."""
        if split not in self._fingerprints:
            with self.progress.stage(f"looking whether {len(self[split]):,} images have changed"):
                self._fingerprints[split] = fingerprint(self[split])
        return self._fingerprints[split]


def fingerprint(images: ImageSet) -> str:
    """A text that changes when files, labels or names do; nothing is decoded."""
    named = hashlib.sha256(images.labels.numpy().tobytes())
    named.update("\x1f".join([*images.names, *map(str, sorted(images.class_names.items()))]).encode())
    return "-".join(part for part in (images.raw.fingerprint(), named.hexdigest(), images.origin) if part)


def remembered(store: Store, unit: Draw, whole: ImageSet) -> Drawn | None:
    """What a unit has drawn from these images, if it is done."""
    if not store.done(unit):
        return None
    position = {name: index for index, name in enumerate(whole.names)}
    images = whole.subset([position[name] for name in store.table(unit, "images")["image"]])
    return Drawn(images, unit, {int(label): tuple(each) for label, each in store.facts(unit)["digests"].items()})


def publish(
    store: Store, unit: Draw, drawn: Drawn, skipped_images: Sequence[tuple[str, str, str]], began: float
) -> None:
    """Remember a draw; `skipped_images` are images that could not be read: (name, class name, reason)."""
    payload = Payload(
        tables={
            "images": pl.DataFrame({"image": list(drawn.images.names), "label": drawn.images.labels.tolist()}),
            "skipped_images": conform(
                SKIPPED_IMAGES,
                [{"image": image, "class_name": name, "reason": reason} for image, name, reason in skipped_images],
            ),
        },
        facts={"digests": {str(label): list(each) for label, each in drawn.digests.items()}},
    )
    store.publish(unit, payload, {"started": began, "seconds": time.time() - began})


def _one(
    study: Study, store: Store, splits: _Splits, role: Role, plan: DrawPlan, classes: list[int], others: list[Drawn]
) -> Drawn:
    whole = splits[plan.split]
    present = set(whole.classes)
    if missing := [label for label in classes if label not in present]:
        raise DataError(
            f"class {whole.class_names.get(missing[0], missing[0])!r} has no images in {whole.source} ({whole.split}), "
            f"from which data.{role} draws"
        )
    rivals = [other for other in others if other.images.split == whole.split]
    unit = Draw(
        role=role,
        source=study.data.source,
        split=whole.split,
        classes=tuple(classes),
        images_per_class=plan.images_per_class,
        seed=study.seed,
        fingerprint=splits.fingerprint(plan.split),
        rivals=tuple(other.unit.key for other in rivals),
    )
    if (known := remembered(store, unit, whole)) is not None:
        return known
    began = time.time()
    measured = study.data.same_images and "geometry" in study.asked_tables
    taken = frozenset(name for other in rivals for name in other.images.names)
    try:
        with splits.progress.stage(f"reading images of {len(classes):,} classes ({role})"):
            found = [
                _chosen(
                    whole.of_class(label),
                    plan.images_per_class,
                    place=partial(_place, study.seed, role),
                    taken=taken,
                    at_least=AT_LEAST["geometry" if measured else role],
                )
                for label in classes
            ]
    except DataError as error:
        names = " or ".join(f"data.{other.unit.role}" for other in rivals)
        advice = "; leave the class out of data.classes"
        if rivals:
            advice += f", reduce images_per_class of {names}, or set data.same_images = true"
        raise DataError(f"data.{role}: {error}{advice}") from None
    position = {name: index for index, name in enumerate(whole.names)}
    images = whole.subset([position[name] for each in found for name in each.images.names])
    digests: dict[int, tuple[str, ...]] = {}
    with splits.progress.stage(f"reading and digesting {len(images):,} images ({role})") as tick:
        n_done = 0
        for label, each in zip(classes, found, strict=True):
            digests[label] = in_chunks(each.images)
            tick(n_done := n_done + len(each.images))
    drawn = Drawn(images, unit, digests)
    publish(store, unit, drawn, [skipped for each in found for skipped in each.skipped_images], began)
    return drawn


def _place(seed: int, role: Role, name: str) -> int:
    """Where an image stands for one use of it, by its place in the order that all share: a number of 256 bits.

    Those to attack are the first, those to measure the last, and those to train on the ones in the middle.
    """
    shared = derive(seed, "draw", "robustness")
    digest = hashlib.sha256(f"{shared}\x1fimage\x1f{name}".encode(errors="surrogatepass")).digest()
    first = int.from_bytes(digest, "big")
    places: dict[Role, int] = {"robustness": first, "geometry": -first, "training": abs(first - 2**255)}
    return places[role]


def _chosen(
    of_class: ImageSet, n: int | None, *, place: Callable[[str], int], taken: frozenset[str], at_least: int
) -> Chosen:
    """The readable images of one class that come first by their place and are not taken: n of them, or all.

    Raises:
        DataError: there are fewer than `at_least`.
    """
    of_these = partial(draw, of_class, classes=of_class.classes, seed=0)
    ordered = sorted((name for name in of_class.names if name not in taken), key=place)
    within = len(ordered) if n is None else n
    while True:  # as much farther as there are images that cannot be read
        left_out = frozenset(of_class.names) - frozenset(ordered[:within])
        found = of_these(images_per_class=None, exclude=left_out, at_least=0)
        missing = 0 if n is None else n - len(found.images)
        if missing == 0 or within >= len(ordered):
            break
        within += missing
    if len(found.images) < at_least:
        of_these(images_per_class=n, exclude=taken, at_least=at_least)  # which says why
    position = {name: index for index, name in enumerate(found.images.names)}
    return replace(found, images=found.images.subset([position[name] for name in ordered if name in position]))
