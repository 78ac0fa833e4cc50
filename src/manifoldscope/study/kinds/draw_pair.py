"""Measure a class on both draws, on as many images of each: how reliable a measure is from one draw to the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch

from manifoldscope.geometry import Cloud
from manifoldscope.recordings.rows import Row, class_rows
from manifoldscope.seeds import generator
from manifoldscope.study.context import Context, Tick
from manifoldscope.study.cost import POINTS, SECONDS_OF_A_UNIT, Costs, Need
from manifoldscope.study.draws import Role
from manifoldscope.study.measuring import by_scaling, frame, measures_of, named, of_layer, points_of
from manifoldscope.study.measuring_cost import class_seconds
from manifoldscope.study.planning import PlannedNetwork, Planning
from manifoldscope.study.refs import ClassRef, NetworkRef
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Payload, Unit, kind
from manifoldscope.tables import INTEGER, REAL, TEXT, Schema
from manifoldscope.vision.images import ImageSet

DRAW_PAIRS = Schema(
    name="draw_pairs",
    row="a measure of one class manifold on as many images of the measured draw and of the attacked one",
    columns={
        "model": TEXT,
        "layer": TEXT,
        "class_index": INTEGER,
        "class_name": TEXT,
        "measure": TEXT,
        "parameters": TEXT,
        "n_points": INTEGER,
        "geometry": REAL,
        "robustness": REAL,
    },
    identity=("model", "layer", "measure", "parameters", "class_index"),
    optional=True,
)


@kind("draw_pair", place=32)
@dataclass(frozen=True, kw_only=True)
class DrawPair(Unit):
    """One network and one class: measures of a class on equally many images of two draws that share none."""

    version = 1
    files = ("draw_pairs.parquet",)
    tables = (DRAW_PAIRS,)

    network: NetworkRef
    measured: ClassRef
    attacked: ClassRef
    layers: tuple[str, ...]
    measures: tuple[Mapping[str, Any], ...]
    seed: int
    batch_size: int

    @classmethod
    def of_network(cls, planning: Planning, network: PlannedNetwork) -> Iterator[Self]:
        """Where a study has geometry and attacks, on different images."""
        study = planning.study
        measures = tuple(measures_of(study, joint=False))
        wanted = study.sampling.second_draw and "associations" in study.asked_tables
        if not wanted or not measures or study.data.same_images:
            return
        for measured, attacked in zip(planning.classes("geometry"), planning.classes("robustness"), strict=True):
            if min(measured.n_images, attacked.n_images) >= 2:
                yield cls(
                    network=network.ref,
                    measured=measured,
                    attacked=attacked,
                    layers=planning.layers(network),
                    measures=measures,
                    seed=study.seed,
                    batch_size=study.batch_size,
                )

    @property
    def n_images(self) -> int:
        """Of each draw."""
        return min(self.measured.n_images, self.attacked.n_images)

    @property
    def parts(self) -> tuple[str, ...]:
        return (f"class {self.measured.name}",)

    def compute(self, context: Context, tick: Tick) -> Payload:
        network, label = context.network(self.network.name), self.measured.index
        found: list[list[Row]] = []
        roles: tuple[Role, ...] = ("geometry", "robustness")
        for place, role in enumerate(roles):
            images = self._some(context.shown(self.network.name, role), label)
            rows: list[Row] = []
            for manifold in points_of(context, network, images, self.layers):
                for scaling, wanted in by_scaling(context.study.measures, joint=False).items():
                    cloud = Cloud(manifold, scaling=scaling)
                    rows += of_layer(manifold, class_rows(cloud, wanted, label=label, split_halves=0, seed=self.seed))
            found.append(rows)
            tick((1 + place) / 2)
        paired = [
            {**one, "geometry": one["value"], "robustness": other["value"]} for one, other in zip(*found, strict=True)
        ]
        return Payload(tables={"draw_pairs": frame(paired, "draw_pairs")})

    def _some(self, images: ImageSet, label: int) -> ImageSet:
        """As many images of the class as both draws have."""
        own = (images.labels == label).nonzero().flatten()
        order = torch.randperm(len(own), generator=generator(self.seed, "draw pair", label))
        return images.subset(own[order[: self.n_images]].sort().values)

    @property
    def measured_layers(self) -> tuple[str, ...]:
        return self.layers

    def need(self, costs: Costs) -> Need:
        widths = costs.widths(self.layers)
        fixed = costs.measuring(self.n_images, widths, may_lie_in_file=True)
        return costs.passing(self.n_images, fixed=fixed, widths=widths, reduce=POINTS)

    def seconds(self, costs: Costs, at_once: int) -> float:
        measuring = class_seconds(self.measures, {}, self.n_images, costs.widths(self.layers))
        return SECONDS_OF_A_UNIT + 2 * (costs.forward_seconds(self.n_images, at_once) + measuring)

    @classmethod
    def rows(cls, store: Store, units: Sequence[Self]) -> dict[str, list[Any]]:
        return {
            "draw_pairs": [
                named(
                    store.table(unit, "draw_pairs"),
                    model=unit.network.name,
                    class_index=unit.measured.index,
                    class_name=unit.measured.name,
                )
                for unit in units
            ]
        }
