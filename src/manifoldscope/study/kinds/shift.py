"""Measure accuracy on another dataset of the same classes: a distribution shift."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import polars as pl
import torch

from manifoldscope.attacks.shifts import accuracy_by_class
from manifoldscope.study.context import Context, Tick
from manifoldscope.study.cost import SECONDS_OF_A_UNIT, Costs, Need
from manifoldscope.study.draws import Drawn, Role
from manifoldscope.study.measuring import of_places
from manifoldscope.study.others import OtherDataset, draw_same_classes, refuse_other_shapes
from manifoldscope.study.plan import Study
from manifoldscope.study.planning import PlannedNetwork, Planning
from manifoldscope.study.refs import ClassRef, NetworkRef, unkeyed
from manifoldscope.study.section import setting
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Payload, Unit, kind
from manifoldscope.tables import INTEGER, REAL, TEXT, Schema

SHIFTS = Schema(
    name="shifts",
    row="a class on another dataset of the same classes, beside the study's own images",
    columns={
        "model": TEXT,
        "dataset": TEXT,
        "class_index": INTEGER,
        "class_name": TEXT,
        "n_images": INTEGER,
        "n_correct": INTEGER,
        "accuracy": REAL,
        "n_clean": INTEGER,
        "n_clean_correct": INTEGER,
        "clean_accuracy": REAL,
    },
    identity=("model", "dataset", "class_index"),
    optional=True,
)


class ShiftPlan(OtherDataset):
    """Another dataset of the same classes, on which accuracy is measured per class."""

    key: ClassVar[str] = "shifts"

    match: Literal["name", "index"] = setting(
        "name", "whether classes are matched by their names or by their indices", keyed=True
    )


@kind("shift", place=50)
@dataclass(frozen=True, kw_only=True)
class Shift(Unit):
    """One network, another dataset of the same classes.

    Attributes:
        images: of each class in that dataset.
        study_images: of each class, those of the study.
        dataset: what tables call it.
    """

    version = 3
    files = ("shifts.parquet",)
    tables = (SHIFTS,)
    section = ShiftPlan

    network: NetworkRef
    images: tuple[ClassRef, ...]
    study_images: tuple[ClassRef, ...]
    batch_size: int
    dataset: str = unkeyed()

    @classmethod
    def draw(cls, study: Study, store: Store, draws: Mapping[Role, Drawn]) -> dict[str, Drawn]:
        return {
            plan.name: draw_same_classes(study, store, plan, draws, by=plan.match) for plan in study.section(ShiftPlan)
        }

    @classmethod
    def of_network(cls, planning: Planning, network: PlannedNetwork) -> Iterator[Self]:
        for plan in planning.study.section(ShiftPlan):
            drawn = planning.others[plan.name]
            yield cls(
                network=network.ref,
                images=tuple(planning.class_of(drawn, label) for label in planning.labels),
                study_images=planning.classes("robustness"),
                batch_size=planning.study.batch_size,
                dataset=plan.name,
            )

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.dataset,)

    def compute(self, context: Context, tick: Tick) -> Payload:
        """Accuracy per class, beside that on the images of the study.

        Raises:
            DataError: the images reach the network in another shape.
        """
        network = context.network(self.network.name)
        own, drawn = context.shown(self.network.name, "robustness"), context.others[self.dataset].images
        other = drawn.subset(torch.isin(drawn.labels, own.labels))
        refuse_other_shapes(network, own, other)
        batch_size = context.at_once(network, own if len(own) > len(other) else other)
        clean = accuracy_by_class(network, own, batch_size=batch_size)
        tick(len(own) / (len(own) + len(other)))
        found = accuracy_by_class(network, other, batch_size=batch_size).join(
            clean.select("class_index", n_clean="n_images", n_clean_correct="n_correct", clean_accuracy="accuracy"),
            on="class_index",
            how="left",
        )
        places = {each.index: place for place, each in enumerate(self.images)}
        place = pl.col("class_index").replace_strict(places, return_dtype=pl.Int64)
        return Payload(tables={"shifts": found.with_columns(place=place).drop("class_index", "class_name")})

    @property
    def _n_images(self) -> int:
        return sum(each.n_images for each in (*self.images, *self.study_images))

    def need(self, costs: Costs) -> Need:
        return costs.passing(self._n_images)

    def seconds(self, costs: Costs, at_once: int) -> float:
        return SECONDS_OF_A_UNIT + costs.forward_seconds(self._n_images, at_once)

    @classmethod
    def rows(cls, store: Store, units: Sequence[Self]) -> dict[str, list[pl.DataFrame]]:
        return {
            "shifts": [
                of_places(store.table(unit, "shifts"), unit.images, model=unit.network.name, dataset=unit.dataset)
                for unit in units
            ]
        }
