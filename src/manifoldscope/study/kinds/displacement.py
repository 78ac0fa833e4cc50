"""Measure where attacked images move in each layer, and how far their classes have collapsed there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import polars as pl
import torch

from manifoldscope.attacks.evaluation import evaluate
from manifoldscope.geometry import ClassManifold
from manifoldscope.geometry.displacement import displacement_estimates
from manifoldscope.geometry.separation import nearest_classes
from manifoldscope.recordings.rows import Row, estimate_row, joint_rows
from manifoldscope.seeds import derive, generator
from manifoldscope.study.context import Context, Tick
from manifoldscope.study.cost import POINTS, Costs, Need
from manifoldscope.study.measuring import frame, of_places, points_of, refuse_positions
from manifoldscope.study.measuring_cost import reading_seconds
from manifoldscope.study.plan import Study
from manifoldscope.study.planning import PlannedNetwork, Planning
from manifoldscope.study.refs import AttackRef, ClassRef, NetworkRef
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Gradients, Payload, Unit, kind
from manifoldscope.tables import WHOLE
from manifoldscope.vision.images import ImageSet

COLLAPSE = ("nc1_variability", "nc2_equinorm", "nc2_equiangularity", "nc4_nearest_centroid")
"""Measures of neural collapse, of attacked images; at strength 0 of the same images when clean."""

DIRECTIONS = 1000
"""How many directions of a layer's covariance stand beside displacements, for each class."""


@kind("displacement", place=41)
@dataclass(frozen=True, kw_only=True)
class Displacement(Unit):
    """One network, one attack at one strength: where its images move, class by class.

    Attributes:
        images: of each class, those that are attacked.
        measured: of each class, those whose manifolds say in which directions they move.
        copy: whose gradients are taken (the study's `gradients`).
    """

    version = 9
    files = ("geometry.parquet",)

    network: NetworkRef
    images: tuple[ClassRef, ...]
    measured: tuple[ClassRef, ...]
    layers: tuple[str, ...]
    attack: AttackRef
    copy: str
    seed: int
    batch_size: int

    @classmethod
    def fits(cls, study: Study) -> None:
        for plan in study.perturbations:
            if plan.displacement:
                refuse_positions(study, f"displacement of {plan.name!r}")

    @classmethod
    def of_network(cls, planning: Planning, network: PlannedNetwork) -> Iterator[Self]:
        study = planning.study
        for plan in study.perturbations:
            for attack in plan.perturbations() if plan.displacement else ():
                yield cls(
                    network=network.ref,
                    images=planning.classes("robustness"),
                    measured=planning.classes("geometry"),
                    layers=planning.layers(network),
                    attack=AttackRef.of(attack, plan.name),
                    copy=study.gradients,
                    seed=study.seed,
                    batch_size=study.batch_size,
                )

    @property
    def parts(self) -> tuple[str, ...]:
        return (str(self.attack),)

    @property
    def group(self) -> tuple[str, ...]:
        return (*super().group, self.attack.name, str(self.attack.strength))

    def compute(self, context: Context, tick: Tick) -> Payload:
        """Where the attacked images move; only those classified correctly.

        The subspaces are those of the images that geometry is measured on; what is attacked again here is what the
        units of the attack have attacked, with the same random numbers and every step taken.
        """
        network = context.network(self.network.name)
        _, attack = context.study.attack(self.attack.name, self.attack.strength)
        layers, n = self.layers, len(self.images)
        measured = points_of(context, network, context.shown(self.network.name, "geometry"), layers, in_file=False)
        own = {layer: measured[place * n : (place + 1) * n] for place, layer in enumerate(layers)}
        nearest = {layer: nearest_classes(own[layer]) for layer in layers}
        together = {layer: torch.cat([manifold.points for manifold in own[layer]]) for layer in layers}
        rows: list[Row] = []
        moved_to: dict[str, list[tuple[int, ClassManifold]]] = {layer: [] for layer in layers}
        for place, label in enumerate(each.index for each in self.images):
            tick(place / n)
            images = context.images("robustness", label)
            outcomes = evaluate(
                network,
                images,
                attack,
                seed=derive(self.seed, "attack"),
                batch_size=self.batch_size,
                keep_images=True,
                fast=context.fast(network.name),
                memory=context.memory,
            )
            known = {row["image"]: row["clean_prediction"] == label for row in outcomes.table.iter_rows(named=True)}
            attacked = torch.tensor([known[name] for name in images.names])
            if not attacked.any():
                continue
            moved = ImageSet.of(outcomes.adversarial[0].cpu(), images.labels, class_names=images.class_names)
            before, after = (points_of(context, network, shown, layers, in_file=False) for shown in (images, moved))
            for layer, clean, adversarial in zip(layers, before, after, strict=True):
                found = displacement_estimates(
                    clean.points[attacked],
                    adversarial.points[attacked],
                    own=own[layer][place],
                    other=own[layer][nearest[layer][place]],
                    held_out=clean,
                    layer=together[layer],
                    n_random=DIRECTIONS,
                    generator=generator(self.seed, "directions", label),
                )
                where = {"layer": layer, "pool": clean.pool, "place": place}
                rows += [{**where, **estimate_row(name, estimate)} for name, estimate in found.items()]
                kept = replace(adversarial, points=adversarial.points[attacked])
                moved_to[layer] += [(place, kept)] if kept.n_points >= 2 else []
        for classes in moved_to.values():
            rows += self._collapse(classes)
        return Payload(tables={"geometry": frame(rows, "geometry", "place")})

    def _collapse(self, classes: Sequence[tuple[int, ClassManifold]]) -> list[Row]:
        """Neural collapse of the attacked images of one layer, class by class and of the whole."""
        if len(classes) < 2:
            return []
        places = {at: place for at, (place, _) in enumerate(classes)}
        wanted: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in COLLAPSE]
        first = classes[0][1]
        found = joint_rows([manifold for _, manifold in classes], wanted, split_halves=0, seed=self.seed)
        return [
            {"layer": first.layer, "pool": first.pool, **row, "place": places.get(row["place"], WHOLE)}
            for row in found
            if row["other_place"] is None
        ]

    @property
    def gradients(self) -> Gradients:
        return "search" if self.attack.passes[1] else "none"

    @property
    def _n_images(self) -> int:
        return sum(each.n_images for each in self.images)

    @property
    def measured_layers(self) -> tuple[str, ...]:
        return self.layers

    def need(self, costs: Costs) -> Need:
        n, widths = self._n_images, costs.widths(self.layers)
        held = 4.0 * n * sum(widths)  # all classes of a layer once more, beside those attacked
        return costs.attacking(
            self.attack,
            n,
            kept=True,
            fixed=costs.measuring(n, widths, may_lie_in_file=False) + held,
            widths=widths,
            reduce=POINTS,
        )

    def seconds(self, costs: Costs, at_once: int) -> float:
        n, widths = self._n_images, costs.widths(self.layers)
        attacks = costs.attack_seconds(self.attack, n, n, at_once, more=2)
        return attacks + 2 * reading_seconds(n, widths) + len(self.images) * 4e-11 * DIRECTIONS * n * sum(widths)

    @classmethod
    def rows(cls, store: Store, units: Sequence[Self]) -> dict[str, list[pl.DataFrame]]:
        return {
            "geometry": [
                of_places(
                    store.table(unit, "geometry"),
                    unit.images,
                    model=unit.network.name,
                    split=unit.images[0].split,
                    attack=unit.attack.name,
                    strength=unit.attack.strength,
                )
                for unit in units
            ]
        }
