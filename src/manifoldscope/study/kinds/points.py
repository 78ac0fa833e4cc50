"""Keep points of several classes in coordinates that they share, clean and attacked, so that they can be looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from manifoldscope.attacks.evaluation import evaluate
from manifoldscope.errors import GeometryError
from manifoldscope.geometry import ClassManifold
from manifoldscope.geometry.subspace import Span
from manifoldscope.pictures import Picture
from manifoldscope.seeds import derive
from manifoldscope.study.context import Context, Tick
from manifoldscope.study.cost import POINTS, SECONDS_OF_A_UNIT, Costs, Need
from manifoldscope.study.kinds.margins import margins_of
from manifoldscope.study.measuring import points_in_turn, points_of
from manifoldscope.study.measuring_cost import reading_seconds
from manifoldscope.study.plan import Study
from manifoldscope.study.planning import PlannedNetwork, Planning
from manifoldscope.study.refs import AttackRef, ClassRef, NetworkRef
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Gradients, Payload, Unit, kind
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.layers import Layer
from manifoldscope.vision.network import Network

Item = TypeVar("Item")

MOST_IMAGES = 2_000
"""Of one network, evenly divided among its classes."""

FEWEST_IMAGES = 10
"""Of a class, where there are so many; beyond, half of those that are attacked."""

MOST_CLASSES = 60
"""Of a network with more, as many evenly spaced by index."""

MOST_LAYERS = 4
"""Of a network of which more are measured, as many evenly spaced in their order, the first and the last among them."""

THUMBNAIL = 32
"""Pixels along the longer side of a thumbnail, at most."""

THUMBNAIL_BYTES = 2 * 2**20
"""Of the thumbnails of one network together: of many images they are smaller."""

AT_A_TIME = 500
"""Images that are attacked together: of that many, pixels and all layers are in memory at once."""

ROWS = 100
"""Images or points that are taken to double precision, or made small, at a time."""


@kind("points", place=42)
@dataclass(frozen=True, kw_only=True)
class Points(Unit):
    """One network: images of its classes as points of a few layers, when clean and after one attack.

    Attributes:
        images: of each class, those that are attacked; points are kept of `images_per_class` of them, evenly spaced.
        axes: how many principal axes of all these clean points are kept.
        attack: the study's attack of fewest gradients, at the lower middle one of its strengths above 0; None where
            no attack asks for any.
        iterate: which of its images are shown: the last, or under "any" the first that is misclassified.
        copy: whose gradients are taken (the study's `gradients`).
    """

    version = 3
    files = ("arrays.safetensors",)

    network: NetworkRef
    images: tuple[ClassRef, ...]
    layers: tuple[str, ...]
    attack: AttackRef | None
    iterate: str
    images_per_class: int
    axes: int
    copy: str
    seed: int
    batch_size: int

    @classmethod
    def of_network(cls, planning: Planning, network: PlannedNetwork) -> Iterator[Self]:
        """One unit, where a study measures manifolds and has a layer in which an image is one point."""
        study = planning.study
        if not study.points.images_per_class or "geometry" not in study.asked_tables:
            return
        layers = [layer for layer in planning.layers(network) if Layer.of(layer).pool != "positions"]
        images = evenly(planning.classes("robustness"), MOST_CLASSES)
        if not layers:
            return
        attack = _shown_attack(study)
        yield cls(
            network=network.ref,
            images=tuple(images),
            layers=tuple(evenly(layers, MOST_LAYERS)),
            attack=attack,
            iterate="" if attack is None else study.attack(attack.name, attack.strength)[0].iterate,
            images_per_class=_looked_at(study, images),
            axes=study.points.axes,
            copy=study.gradients,
            seed=study.seed,
            batch_size=study.batch_size,
        )

    @property
    def parts(self) -> tuple[str, ...]:
        return () if self.attack is None else (str(self.attack),)

    def compute(self, context: Context, tick: Tick) -> Payload:
        """Coordinates in the principal axes of all clean points, and what shares of variance are told from."""
        network = context.network(self.network.name)
        images = self._chosen(context)
        margins = margins_of(context.logits(network.name, images), images.labels)
        found: dict[str, _Coordinates] = {}
        for manifolds in points_in_turn(context, network, images, self.layers):
            tick(0.4 * len(found) / len(self.layers))
            with suppress(GeometryError):  # one point, or points that are all equal: there is nothing to see
                found[manifolds[0].layer] = _Coordinates.of(manifolds, self.axes)
        predicted = torch.tensor(margins["prediction"])
        attacked = predicted.clone()
        if self.attack is not None:
            attacked = self._attacked(context, network, images, found, lambda share: tick(0.4 + 0.6 * share))
        arrays: dict[str, Tensor] = {
            "label": images.labels,
            "prediction": predicted,
            "margin": torch.tensor(margins["margin"], dtype=torch.float32),
            "thumbnails": thumbnails(network, images),
        }
        if self.attack is not None:
            arrays["adversarial_prediction"] = attacked
        for place, coordinates in enumerate(found.values()):
            arrays |= {f"{name}/{place}": array for name, array in coordinates.arrays(self.attack is not None).items()}
        known = network.class_names or ()
        names = {index: known[index] for index in {*predicted.tolist(), *attacked.tolist()} if 0 <= index < len(known)}
        return Payload(
            arrays={name: array.contiguous().numpy() for name, array in arrays.items()},
            facts={
                "layers": [coordinates.facts for coordinates in found.values()],
                "output_names": {str(index): name for index, name in sorted(names.items())},
            },
        )

    def _chosen(self, context: Context) -> ImageSet:
        """The images of the unit, class by class in the order of their indices."""
        drawn = context.shown(self.network.name, "robustness")
        rows = [(drawn.labels == label).nonzero().flatten().tolist() for label in sorted(i.index for i in self.images)]
        return drawn.subset([row for some in rows for row in evenly(some, self.images_per_class)])

    def _attacked(
        self, context: Context, network: Network, images: ImageSet, found: dict[str, _Coordinates], tick: Tick
    ) -> Tensor:
        """Attack the images, tell `found` where their points go, and give the predictions (n,) of what was attacked.

        The images are attacked as by the units of the attack, with the same random numbers, at this strength alone.
        """
        assert self.attack is not None
        plan, attack = context.study.attack(self.attack.name, self.attack.strength)
        predictions: list[int] = []
        begin = 0
        for some in _blocks(images.labels, AT_A_TIME):
            tick(begin / len(images))
            part = images.subset(torch.arange(begin, begin + some))
            begin += some
            outcomes = evaluate(
                network,
                part,
                attack,
                seed=derive(self.seed, "attack"),
                batch_size=self.batch_size,
                iterate=plan.iterate,
                keep_images=True,
                fast=context.fast(network.name),
                clean_logits=context.logits(network.name, part),
                memory=context.memory,
            )
            predictions += outcomes.predictions[0].tolist()
            moved = ImageSet.of(outcomes.adversarial[0].cpu(), part.labels, class_names=part.class_names)
            if found:
                before, after = (points_of(context, network, each, list(found)) for each in (part, moved))
                for clean, adversarial in zip(before, after, strict=True):
                    found[clean.layer].move(clean.points, adversarial.points)
        return torch.tensor(predictions)

    @property
    def gradients(self) -> Gradients:
        return "search" if self.attack is not None and self.attack.passes[1] else "none"

    @property
    def measured_layers(self) -> tuple[str, ...]:
        return self.layers

    @property
    def _n_images(self) -> int:
        return sum(min(each.n_images, self.images_per_class) for each in self.images)

    def need(self, costs: Costs) -> Need:
        n, widths = self._n_images, costs.widths(self.layers)
        fixed = costs.measuring(n, widths, may_lie_in_file=True) + 4.0 * n * max(widths)
        fixed += (8.0 * self.axes + 8.0 * min(n, AT_A_TIME)) * sum(widths)  # the axes; points before and after
        if self.attack is None:
            return costs.passing(n, fixed=fixed, widths=widths, reduce=POINTS)
        together = min(n, AT_A_TIME)
        return costs.attacking(self.attack, together, kept=True, fixed=fixed, widths=widths, reduce=POINTS)

    def seconds(self, costs: Costs, at_once: int) -> float:
        n, widths = self._n_images, costs.widths(self.layers)
        seconds = SECONDS_OF_A_UNIT + 2 * costs.forward_seconds(n, at_once) + reading_seconds(n, widths)
        return seconds + (0 if self.attack is None else costs.attack_seconds(self.attack, n, n, at_once, more=2))

    def pictures(self, store: Store) -> Iterator[Picture]:
        """The points of each layer, and the images themselves, small."""
        arrays, facts = store.arrays(self), store.facts(self)
        attack = self.attack
        names = {
            "model": self.network.name,
            "attack": None if attack is None else attack.name,
            "strength": None if attack is None else attack.strength,
            "class_names": {each.index: each.name for each in self.images},
            "output_names": {int(index): name for index, name in facts["output_names"].items()},
        }
        of_images = {name: array for name, array in arrays.items() if "/" not in name}
        thumbs = of_images.pop("thumbnails")
        for place, layer in enumerate(facts["layers"]):
            own = {name.split("/")[0]: array for name, array in arrays.items() if name.endswith(f"/{place}")}
            yield Picture("points", {**names, **layer}, {**of_images, **own})
        yield Picture("thumbnails", {"model": self.network.name}, {"thumbnails": thumbs})


def _looked_at(study: Study, images: Sequence[ClassRef]) -> int:
    """Of how many images of a class points are kept: they are attacked once more, and a picture needs no more."""
    half = max(each.n_images for each in images) // 2
    return min(study.points.images_per_class, MOST_IMAGES // len(images), max(FEWEST_IMAGES, half))


def _shown_attack(study: Study) -> AttackRef | None:
    """The one of fewest gradients, the first of these, at the lower middle one of its strengths."""
    found: list[tuple[int, AttackRef]] = []
    for plan in study.attacks:
        above = sorted((each for each in plan.perturbations() if each.strength > 0), key=lambda each: each.strength)
        if above and above[0].asks_gradients:
            found.append((above[0].passes[1], AttackRef.of(above[(len(above) - 1) // 2], plan.name)))
    return min(found, key=lambda each: each[0])[1] if found else None


@dataclass
class _Coordinates:
    """The points of one layer in the axes of all of them.

    Attributes:
        basis: (axes, n_features) float64, orthonormal; `centre` the mean of all clean points.
        clean: (n, axes) float32, of `centre`.
        variance: (n_classes,) float64, of a class's points: their mean squared distance from their mean.
        distances: (n_classes, n_classes) float64, squared, between means of classes.
        adversarial: as `clean`, in blocks; `moved` the squared length of all displacements, `within` of what lies in
            the axes.
    """

    facts: dict[str, Any]
    basis: Tensor
    centre: Tensor
    clean: Tensor
    variance: Tensor
    distances: Tensor
    adversarial: list[Tensor] = field(default_factory=list)
    moved: float = 0.0
    within: float = 0.0

    @classmethod
    def of(cls, manifolds: Sequence[ClassManifold], axes: int) -> Self:
        """Those of one layer, a manifold for each class.

        Raises:
            GeometryError: fewer than two points, or points that are all equal.
        """
        span = Span.of(torch.cat([manifold.points for manifold in manifolds]))
        basis = span.leading(min(axes, span.rank))
        means = torch.stack([manifold.points.mean(0, dtype=torch.float64) for manifold in manifolds])
        variance = [
            sum(_squares(rows, mean) for rows in _some(manifold.points)) / manifold.n_points
            for manifold, mean in zip(manifolds, means, strict=True)
        ]
        first = manifolds[0]
        facts = {"layer": first.layer, "pool": first.pool, "n_features": first.n_features, "moved_within": None}
        return cls(
            facts,
            basis,
            span.centre,
            _within(span.points, span.centre, basis).float(),
            torch.tensor(variance, dtype=torch.float64),
            torch.stack([(means - mean).square().sum(1) for mean in means]),
        )

    def move(self, clean: Tensor, adversarial: Tensor) -> None:
        """The next few points, before and after the attack."""
        after = _within(adversarial, self.centre, self.basis)
        self.within += float((after - _within(clean, self.centre, self.basis)).square().sum())
        blocks = zip(_some(adversarial), _some(clean), strict=True)
        self.moved += sum(_squares(*each) for each in blocks)
        self.adversarial.append(after.float())
        self.facts["moved_within"] = min(1.0, self.within / self.moved) if self.moved else None

    def arrays(self, attacked: bool) -> dict[str, Tensor]:
        """What is stored of them."""
        found = {"clean": self.clean, "variance": self.variance, "distances": self.distances}
        return {**found, "adversarial": torch.cat(self.adversarial)} if attacked else found


def _within(points: Tensor, centre: Tensor, basis: Tensor) -> Tensor:
    """(n, axes) float64: coordinates of points in some axes around a centre."""
    return torch.cat([(rows.double() - centre) @ basis.T for rows in _some(points)])


def _some(points: Tensor) -> Iterator[Tensor]:
    """The points, a few at a time."""
    return (points[begin : begin + ROWS] for begin in range(0, len(points), ROWS))


def _squares(points: Tensor, centre: Tensor) -> float:
    """The squared distances of points from one centre, or each from its own, in all."""
    return float((points.double() - centre.double()).square().sum())


def _blocks(labels: Tensor, most: int) -> list[int]:
    """Lengths of blocks of whole classes, of `most` images together where a class has no more."""
    lengths: list[int] = []
    for count in torch.unique_consecutive(labels, return_counts=True)[1].tolist():
        if lengths and lengths[-1] + count <= most:
            lengths[-1] += count
        else:
            lengths.append(count)
    return lengths


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most that many of the items, evenly spaced, the first and the last among them.

    Example:
        >>> evenly([0, 1, 2, 3, 4, 5, 6], 3)
        [0, 3, 6]
    """
    if len(items) <= most:
        return list(items)
    if most == 1:
        return [items[-1]]
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def thumbnails(network: Network, images: ImageSet) -> Tensor:
    """Images as the network sees them, small: (n, height, width, channels) uint8."""
    first = network.pixels(images, slice(0, 1))
    channels, *sides = first.shape[1:]
    fits = (THUMBNAIL_BYTES / (len(images) * channels)) ** 0.5
    scale = min(1.0, THUMBNAIL / max(sides), fits / (sides[0] * sides[1]) ** 0.5)
    size = [max(1, int(scale * side)) for side in sides]
    small = []
    for begin in range(0, len(images), ROWS):
        pixels = network.pixels(images, slice(begin, begin + ROWS))
        made = pixels if scale == 1 else interpolate(pixels, size, mode="area")
        small.append((255 * made).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1))
    return torch.cat(small)
