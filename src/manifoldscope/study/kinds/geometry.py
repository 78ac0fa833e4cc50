"""Measure the manifold of one class, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import polars as pl

from manifoldscope.geometry import Cloud, FeatureCorrelation, Spectrum, feature_correlation
from manifoldscope.pictures import Picture
from manifoldscope.recordings.rows import Row, class_rows, curve_rows, estimate_row, extrapolation_rows
from manifoldscope.seeds import derive
from manifoldscope.study.context import Context, Tick
from manifoldscope.study.cost import POINTS, SECONDS_OF_A_UNIT, Costs, Need
from manifoldscope.study.kinds.margins import asks_for_margins, margin_row, margin_table
from manifoldscope.study.measuring import (
    by_scaling,
    frame,
    measures_classes,
    measures_of,
    named,
    of_layer,
    points_and_logits,
    settings_of,
)
from manifoldscope.study.measuring_cost import SECONDS_OF_A_VALUE, class_seconds, reading_seconds
from manifoldscope.study.planning import PlannedNetwork, Planning
from manifoldscope.study.refs import ClassRef, NetworkRef, unkeyed
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Gradients, Payload, Unit, kind
from manifoldscope.tables import BOOLEAN, INTEGER, REAL, TEXT, Schema
from manifoldscope.vision.jacobian import jacobian_norm
from manifoldscope.vision.memory import NOTHING

GEOMETRY = Schema(
    name="geometry",
    row="a measure of one class manifold (class_index -1: of a whole layer)",
    columns={
        "model": TEXT,
        "layer": TEXT,
        "class_index": INTEGER,
        "class_name": TEXT,
        "measure": TEXT,
        "parameters": TEXT,
        "attack": TEXT,
        "strength": REAL,
        "value": REAL,
        "stderr": REAL,
        "n_points": INTEGER,
        "n_features": INTEGER,
        "pool": TEXT,
        "ceiling": REAL,
        "null": REAL,
        "null_p": REAL,
        "describes_sample": BOOLEAN,
        "falls_when_halved": BOOLEAN,
        "split": TEXT,
        "note": TEXT,
    },
    identity=("model", "layer", "measure", "parameters", "attack", "strength", "class_index"),
)

CURVES = Schema(
    name="curves",
    row="a measure of one class manifold (class_index -1: of a whole layer) at one number of points",
    columns={
        "model": TEXT,
        "layer": TEXT,
        "class_index": INTEGER,
        "class_name": TEXT,
        "measure": TEXT,
        "parameters": TEXT,
        "n_points": INTEGER,
        "value": REAL,
        "standard_deviation": REAL,
        "ceiling": REAL,
        "extrapolated": BOOLEAN,
        "note": TEXT,
    },
    identity=("model", "layer", "measure", "parameters", "class_index", "n_points", "extrapolated"),
    optional=True,
)


@kind("geometry", place=30)
@dataclass(frozen=True, kw_only=True)
class Geometry(Unit):
    """One network and one class: every layer, measures of a class.

    Attributes:
        measures: with their settings and versions.
        sampling: how sure a value is, what chance gives, and whether it grows with more images.
        projections: for the norm of the Jacobian; 0: none.
        hardness: whether the study asks for margins of these images, which the same pass gives.
        example: whether correlations of features are kept as pictures.
    """

    version = 7
    files = ("geometry.parquet", "curves.parquet", "margins.parquet")
    tables = (GEOMETRY, CURVES)

    network: NetworkRef
    images: ClassRef
    layers: tuple[str, ...]
    measures: tuple[Mapping[str, Any], ...]
    sampling: Mapping[str, Any]
    projections: int
    seed: int
    batch_size: int
    example: bool = unkeyed()
    hardness: bool = unkeyed()

    @classmethod
    def of_network(cls, planning: Planning, network: PlannedNetwork) -> Iterator[Self]:
        study = planning.study
        if not measures_classes(study):
            return
        measures = tuple(measures_of(study, joint=False))
        for images in planning.classes("geometry"):
            yield cls(
                network=network.ref,
                images=images,
                layers=planning.layers(network),
                measures=measures,
                sampling=settings_of(study, "split_halves", "null", "curve", "extrapolate") if measures else {},
                projections=study.jacobian_norm,
                seed=study.seed,
                batch_size=study.batch_size,
                example=planning.is_example(images.index),
                hardness=asks_for_margins(study) and not study.data.same_images,
            )

    @property
    def parts(self) -> tuple[str, ...]:
        return (str(self.images),)

    def compute(self, context: Context, tick: Tick) -> Payload:
        """Every measure of each layer, and what pictures need: spectra, correlations."""
        label, study = self.images.index, context.study
        network, images = context.network(self.network.name), context.images("geometry", label)
        manifolds, logits = points_and_logits(context, network, images, self.layers)
        sampling = study.sampling
        rows: list[Row] = []
        curves: list[Row] = []
        spectra: dict[str, Spectrum] = {}
        correlations: dict[str, FeatureCorrelation] = {}
        for done, manifold in enumerate(manifolds):
            tick(done / len(manifolds))
            for scaling, wanted in by_scaling(study.measures, joint=False).items():
                cloud = Cloud(manifold, scaling=scaling)
                stream: dict[str, Any] = {"label": label, "seed": self.seed}
                found = class_rows(cloud, wanted, split_halves=sampling.split_halves, null=sampling.null, **stream)
                rows += of_layer(manifold, found)
                if sampling.curve:
                    curves += of_layer(manifold, curve_rows(cloud, wanted, draws=sampling.curve, **stream))
                if sampling.extrapolate:
                    found = extrapolation_rows(cloud, wanted, factor=sampling.extrapolate, **stream)
                    curves += of_layer(manifold, found)
                spectra[f"{manifold.layer}/{scaling}"] = cloud.spectrum
            if self.projections:
                sensed = jacobian_norm(
                    network,
                    images,
                    layer=manifold.layer,
                    n_projections=self.projections,
                    seed=derive(self.seed, "sensitivity", label),
                    batch_size=context.at_once(network, images, gradient=True),
                )[label]
                rows += of_layer(manifold, [estimate_row("jacobian_norm", sensed)])
            if self.example:
                correlations[manifold.layer] = feature_correlation(manifold)
        return Payload(
            tables={
                "geometry": frame(rows, "geometry"),
                "curves": frame(curves, "curves"),
                "margins": margin_table(images, logits),
            },
            arrays={
                **{f"spectrum/{name}": spectrum.eigenvalues.numpy() for name, spectrum in spectra.items()},
                **{f"correlation/{name}": found.matrix.numpy() for name, found in correlations.items()},
            },
            facts={
                "shapes": {manifold.layer: [manifold.n_points, manifold.n_features] for manifold in manifolds},
                "correlations": {
                    name: {"mean_absolute": found.mean_absolute, "baseline": found.chance}
                    for name, found in correlations.items()
                    if math.isfinite(found.mean_absolute)
                },
            },
        )

    @property
    def gradients(self) -> Gradients:
        return "own" if self.projections else "none"

    @property
    def measured_layers(self) -> tuple[str, ...]:
        return self.layers

    def need(self, costs: Costs) -> Need:
        n, widths = self.images.n_images, costs.widths(self.layers)
        return costs.passing(
            n,
            gradient=costs.network.own.memory if self.projections else NOTHING,
            n_attacked=n if self.projections else 0,
            fixed=costs.measuring(n, widths, may_lie_in_file=True),
            widths=widths,
            reduce=POINTS,
        )

    def seconds(self, costs: Costs, at_once: int) -> float:
        n = self.images.n_images
        gradients = self.projections * len(self.layers) * costs.gradient_seconds(n, at_once)
        widths = costs.widths(self.layers)
        measuring = class_seconds(self.measures, self.sampling, n, widths)
        measuring += SECONDS_OF_A_VALUE * n * sum(widths) + reading_seconds(n, widths)  # to keep them; for the pictures
        return SECONDS_OF_A_UNIT + costs.forward_seconds(n, at_once) + gradients + measuring

    @classmethod
    def rows(cls, store: Store, units: Sequence[Self]) -> dict[str, list[pl.DataFrame]]:
        return {
            "geometry": [
                named(store.table(unit, "geometry"), **unit._names, split=unit.images.split) for unit in units
            ],
            "curves": [named(store.table(unit, "curves"), **unit._names) for unit in units],
            "margins": [
                margin_row(store.table(unit, "margins"), unit.network, unit.images, "geometry")
                for unit in units
                if unit.hardness
            ],
        }

    @property
    def _names(self) -> dict[str, Any]:
        """What tables call it; units of one key may have several names."""
        return {"model": self.network.name, "class_index": self.images.index, "class_name": self.images.name}

    def pictures(self, store: Store) -> Iterator[Picture]:
        """Spectra of every class, and correlations of features of the examples."""
        arrays, facts = store.arrays(self), store.facts(self)
        names = self._names
        for name, array in arrays.items():
            what, rest = name.split("/", 1)
            if what == "correlation" and rest in facts["correlations"]:
                yield Picture("correlation", {**names, "layer": rest, **facts["correlations"][rest]}, {"matrix": array})
            elif what == "spectrum":
                layer, scaling = rest.rsplit("/", 1)
                if scaling == "none" or f"spectrum/{layer}/none" not in arrays:
                    n_points, n_features = facts["shapes"][layer]
                    shown = layer if scaling == "none" else f"{layer} ({scaling})"
                    shape = {"n_points": n_points, "n_features": n_features}
                    yield Picture("spectrum", {**names, "layer": shown, **shape}, {"eigenvalues": array})
