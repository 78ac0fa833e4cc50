"""Measure what needs all classes of one layer together: joint measures, and the reliability of every measure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import polars as pl

from manifoldscope.geometry import ClassManifold
from manifoldscope.recordings.rows import Row, curve_rows, joint_rows, reliability_row
from manifoldscope.study.context import Context, Tick
from manifoldscope.study.cost import POINTS, SECONDS_OF_A_UNIT, Costs, Need
from manifoldscope.study.measuring import (
    by_scaling,
    frame,
    measures_of,
    named,
    of_layer,
    of_places,
    passes,
    points_in_turn,
    points_together,
    settings_of,
)
from manifoldscope.study.measuring_cost import joint_seconds, reliability_seconds
from manifoldscope.study.planning import PlannedNetwork, Planning
from manifoldscope.study.refs import ClassRef, NetworkRef
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Payload, Unit, kind
from manifoldscope.tables import BOOLEAN, INTEGER, REAL, TEXT, WHOLE, Schema

PAIRS = Schema(
    name="pairs",
    row="a measure between two class manifolds",
    columns={
        "model": TEXT,
        "layer": TEXT,
        "class_index": INTEGER,
        "other_class_index": INTEGER,
        "measure": TEXT,
        "parameters": TEXT,
        "value": REAL,
        "stderr": REAL,
        "null": REAL,
        "null_p": REAL,
        "describes_sample": BOOLEAN,
        "falls_when_halved": BOOLEAN,
        "note": TEXT,
    },
    identity=("model", "layer", "measure", "parameters", "class_index", "other_class_index"),
)

RELIABILITY = Schema(
    name="reliability",
    row="how well two samples of the images agree on the classes",
    columns={
        "model": TEXT,
        "layer": TEXT,
        "measure": TEXT,
        "parameters": TEXT,
        "reliability": REAL,
        "low": REAL,
        "high": REAL,
        "of_ranks": REAL,
        "standard_deviation": REAL,
        "standard_error": REAL,
        "n_classes": INTEGER,
        "note": TEXT,
    },
    identity=("model", "layer", "measure", "parameters"),
    optional=True,
)


@kind("layer", place=31)
@dataclass(frozen=True, kw_only=True)
class Layer(Unit):
    """One network and one layer: all classes together.

    Attributes:
        measures: the joint ones, with their settings and versions.
        reliability: how often classes are halved, and the measures of one class with their versions; None: not asked.
    """

    at_a_time = 600.0
    version = 5
    files = ("geometry.parquet", "pairs.parquet", "curves.parquet", "reliability.parquet")
    tables = (PAIRS, RELIABILITY)

    network: NetworkRef
    classes: tuple[ClassRef, ...]
    layer: str
    measures: tuple[Mapping[str, Any], ...]
    sampling: Mapping[str, Any]
    reliability: Mapping[str, Any] | None
    seed: int
    batch_size: int

    @classmethod
    def of_network(cls, planning: Planning, network: PlannedNetwork) -> Iterator[Self]:
        study = planning.study
        joint, splits = tuple(measures_of(study, joint=True)), study.sampling.reliability
        if not joint and not splits:
            return
        for layer in planning.layers(network):
            yield cls(
                network=network.ref,
                classes=planning.classes("geometry"),
                layer=layer,
                measures=joint,
                sampling=settings_of(study, "split_halves", "null", "curve") if joint else {},
                reliability={"splits": splits, "measures": measures_of(study, joint=False)} if splits else None,
                seed=study.seed,
                batch_size=study.batch_size,
            )

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.layer,)

    @property
    def group(self) -> tuple[str, ...]:
        return (*super().group, self.layer)

    @property
    def together(self) -> tuple[Any, ...]:
        """Layers of one network share passes of the images; what is found in one does not depend on the others."""
        return (self.kind, self.network.name)

    def compute(self, context: Context, tick: Tick) -> Payload:
        return self.compute_together([self], context, tick)[0]

    @classmethod
    def compute_together(cls, units: Sequence[Self], context: Context, tick: Tick) -> list[Payload]:
        name = units[0].network.name
        network, images = context.network(name), context.shown(name, "geometry")
        points = points_in_turn(context, network, images, [unit.layer for unit in units])
        payloads: list[Payload] = []
        for unit in units:

            def part(share: float) -> None:
                tick((len(payloads) + share) / len(units))

            payloads.append(unit._measured(next(points), context, part))  # no name: the points go before the next come
        return payloads

    def _measured(self, manifolds: Sequence[ClassManifold], context: Context, tick: Tick) -> Payload:
        tick(0.3)
        study, sampling = context.study, context.study.sampling
        found: list[Row] = []
        curves: list[Row] = []
        for scaling, wanted in by_scaling(study.measures, joint=True).items():
            common: dict[str, Any] = {"scaling": scaling, "seed": self.seed}
            found += joint_rows(manifolds, wanted, split_halves=sampling.split_halves, null=sampling.null, **common)
            if sampling.curve:
                curves += curve_rows(manifolds, wanted, draws=sampling.curve, **common)
        agreement: list[Row] = []
        for done, plan in enumerate(study.measures if sampling.reliability else ()):
            tick(0.6 + 0.4 * done / len(study.measures))
            agreement.append(
                reliability_row(
                    plan.name,
                    plan.settings,
                    manifolds,
                    splits=sampling.reliability,
                    scaling=plan.scaling,
                    seed=self.seed,
                )
            )
        pairs = [row for row in found if row["other_place"] is not None]
        rows = [row for row in found if row["other_place"] is None]
        return Payload(
            tables={
                "geometry": frame(of_layer(manifolds[0], rows), "geometry", "place"),
                "pairs": frame(of_layer(manifolds[0], pairs), "pairs", "place", "other_place"),
                "curves": frame(of_layer(manifolds[0], curves), "curves"),
                "reliability": frame(of_layer(manifolds[0], agreement), "reliability"),
            }
        )

    @property
    def measured_layers(self) -> tuple[str, ...]:
        return (self.layer,)

    @property
    def _n_images(self) -> int:
        return sum(each.n_images for each in self.classes)

    def need(self, costs: Costs) -> Need:
        widths = costs.widths(self.measured_layers)
        held = costs.measuring(self._n_images, widths, may_lie_in_file=True)
        own = sum(self._sizes(costs)[layer] for layer in self.measured_layers)
        beside = min(points_together(costs.context), sum(self._sizes(costs).values())) - own
        return costs.passing(self._n_images, fixed=held + max(0.0, beside), widths=widths, reduce=POINTS)

    def seconds(self, costs: Costs, at_once: int) -> float:
        shape = (self._n_images // len(self.classes), len(self.classes), costs.widths(self.measured_layers))
        sizes = self._sizes(costs)
        share = len(passes(sizes, points_together(costs.context))) / len(sizes)
        seconds = SECONDS_OF_A_UNIT + share * costs.forward_seconds(self._n_images, at_once)
        seconds += joint_seconds(self.measures, self.sampling, *shape)
        if self.reliability is None:
            return seconds
        measures = (*self.reliability["measures"], *self.measures)
        return seconds + reliability_seconds(measures, self.reliability["splits"], *shape)

    def _sizes(self, costs: Costs) -> dict[str, float]:
        """Bytes of the points of every layer that is measured in the network."""
        return {layer: 4.0 * self._n_images * values for layer, values in costs.network.values.items()}

    @classmethod
    def rows(cls, store: Store, units: Sequence[Self]) -> dict[str, list[pl.DataFrame]]:
        whole = {"class_index": WHOLE, "class_name": ""}
        return {
            "geometry": [
                of_places(
                    store.table(unit, "geometry"),
                    unit.classes,
                    model=unit.network.name,
                    split=unit.classes[0].split,
                )
                for unit in units
            ],
            "pairs": [
                of_places(store.table(unit, "pairs"), unit.classes, model=unit.network.name).drop("class_name")
                for unit in units
            ],
            "curves": [named(store.table(unit, "curves"), model=unit.network.name, **whole) for unit in units],
            "reliability": [named(store.table(unit, "reliability"), model=unit.network.name) for unit in units],
        }
