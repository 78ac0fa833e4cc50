"""What the units that measure do: one class, all classes of one layer together, and attacked images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import polars as pl
import torch

from manifoldscope.geometry import ClassManifold, Cloud, FeatureCorrelation, Scaling, Spectrum, feature_correlation
from manifoldscope.geometry.displacement import displacement_estimates
from manifoldscope.geometry.separation import nearest_classes
from manifoldscope.robustness.evaluation import evaluate
from manifoldscope.seeds import derive, generator
from manifoldscope.study.bench import Bench, Tick
from manifoldscope.study.plan import MeasurePlan
from manifoldscope.study.rows import (
    Row,
    class_rows,
    curve_rows,
    estimate_row,
    extrapolation_rows,
    joint_rows,
    reliability_row,
)
from manifoldscope.study.unit import Payload, Unit
from manifoldscope.tables import TABLES
from manifoldscope.vision.activations import activations, n_features
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.jacobian import sensitivity
from manifoldscope.vision.network import Network

NAMED = ("model", "class_index", "other_class_index", "class_name", "split", "threat", "strength")
"""Columns that come from the plan when tables are made, so that renaming computes nothing again."""

DIRECTIONS = 1000
"""How many directions of a layer's covariance stand beside displacements, for each class."""


def geometry(unit: Unit, bench: Bench, tick: Tick) -> Payload:
    """Every measure of each layer for the images of one class, and what pictures need: spectra, correlations."""
    label = unit.names["class_index"]
    network, images = bench.network(unit.names["model"]), bench.images("geometry", label)
    manifolds = _activations(bench, network, images, unit.inputs["layers"])
    sampling = bench.study.sampling
    rows: list[Row] = []
    curves: list[Row] = []
    spectra: dict[str, Spectrum] = {}
    correlations: dict[str, FeatureCorrelation] = {}
    for done, manifold in enumerate(manifolds):
        tick(done / len(manifolds))
        for scaling, wanted in _by_scaling(bench.study.measures, joint=False).items():
            cloud = Cloud(manifold, scaling=scaling)
            stream: dict[str, Any] = {"label": label, "seed": bench.study.seed}
            found = class_rows(cloud, wanted, halvings=sampling.halvings, null=sampling.null, **stream)
            rows += _of_layer(manifold.layer, found)
            if sampling.curve:
                curves += _of_layer(manifold.layer, curve_rows(cloud, wanted, draws=sampling.curve, **stream))
            if sampling.extrapolate:
                found = extrapolation_rows(cloud, wanted, factor=sampling.extrapolate, **stream)
                curves += _of_layer(manifold.layer, found)
            spectra[f"{manifold.layer}/{scaling}"] = cloud.spectrum
        if bench.study.sensitivity:
            sensed = sensitivity(
                network,
                images,
                layer=manifold.layer,
                n_projections=bench.study.sensitivity,
                seed=derive(bench.study.seed, "sensitivity", label),
                batch_size=bench.at_once(network, images, gradient=True),
            )[label]
            rows += _of_layer(manifold.layer, [estimate_row("sensitivity", sensed)])
        if unit.names["example"]:
            correlations[manifold.layer] = feature_correlation(manifold)
    return Payload(
        tables={"geometry": _frame(rows, "geometry"), "curves": _frame(curves, "curves")},
        arrays={
            **{f"spectrum/{name}": spectrum.variances.numpy() for name, spectrum in spectra.items()},
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


def layer(unit: Unit, bench: Bench, tick: Tick) -> Payload:
    """What needs all classes of one layer together: joint measures, and the reliability of every measure."""
    study, name = bench.study, unit.inputs["layer"]
    manifolds = _activations(bench, bench.network(unit.names["model"]), bench.draws["geometry"].images, [name])
    tick(0.3)
    sampling = study.sampling
    found: list[Row] = []
    curves: list[Row] = []
    for scaling, wanted in _by_scaling(study.measures, joint=True).items():
        common: dict[str, Any] = {"scaling": scaling, "seed": study.seed}
        found += joint_rows(manifolds, wanted, halvings=sampling.halvings, null=sampling.null, **common)
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
                seed=study.seed,
            )
        )
    pairs = [row for row in found if row["other_place"] is not None]
    rows = [row for row in found if row["other_place"] is None]
    return Payload(
        tables={
            "geometry": _frame(_of_layer(name, rows), "geometry", "place"),
            "pairs": _frame(_of_layer(name, pairs), "pairs", "place", "other_place"),
            "curves": _frame(_of_layer(name, curves), "curves"),
            "reliability": _frame(_of_layer(name, agreement), "reliability"),
        }
    )


def _activations(
    bench: Bench, network: Network, images: ImageSet, layers: Sequence[str], *, in_file: bool = True
) -> list[ClassManifold]:
    """The points of some layers, of as many images at a time as fit into memory; large ones `in_file`."""
    widths = n_features(network, layers, network.pixels(images, slice(0, 1)))
    return activations(
        network,
        images,
        layers=layers,
        batch_size=bench.at_once(network, images, widths=list(widths.values())),
        folder=bench.store.folder if in_file else None,
        in_memory=bench.points(len(layers)),
    )


def _by_scaling(plans: Sequence[MeasurePlan], *, joint: bool) -> dict[Scaling, list[tuple[str, dict[str, Any]]]]:
    """The measures of one class, or the joint ones: those of one scaling share what they read."""
    mine = [plan for plan in plans if plan.joint is joint]
    return {
        scaling: [(plan.name, plan.settings) for plan in mine if plan.scaling == scaling]
        for scaling in dict.fromkeys(plan.scaling for plan in mine)
    }


def _of_layer(layer: str, rows: Sequence[Row]) -> list[Row]:
    return [{"layer": layer, **row} for row in rows]


def _frame(rows: Sequence[Row], table: str, *places: str) -> pl.DataFrame:
    """Rows with the types that the table has, less what is named when tables are made; `places` tell the classes."""
    columns = {name: dtype for name, dtype in TABLES[table].columns.items() if name not in NAMED}
    schema = {**dict.fromkeys(places, pl.Int64()), **columns}
    return pl.DataFrame({name: [row.get(name) for row in rows] for name in schema}, schema=schema)


def displacement(unit: Unit, bench: Bench, tick: Tick) -> Payload:
    """Where the images that a threat attacks move in each layer, class by class; only those classified correctly.

    The subspaces are those of the images that geometry is measured on; what is attacked again here is what the units
    `attack` have attacked, with the same random numbers and every step taken.
    """
    network, study = bench.network(unit.names["model"]), bench.study
    plan = next(plan for plan in study.threats if plan.name == unit.names["threat"])
    threat = next(threat for threat in plan.threats() if threat.strength == unit.inputs["strength"])
    layers, labels = unit.inputs["layers"], [label for label, _ in unit.names["classes"]]
    measured = _activations(bench, network, bench.draws["geometry"].images, layers, in_file=False)
    own = {layer: measured[place * len(labels) : (place + 1) * len(labels)] for place, layer in enumerate(layers)}
    nearest = {layer: nearest_classes(own[layer]) for layer in layers}
    together = {layer: torch.cat([manifold.points for manifold in own[layer]]) for layer in layers}
    rows: list[Row] = []
    for place, label in enumerate(labels):
        tick(place / len(labels))
        images = bench.images("robustness", label)
        verdicts = evaluate(
            network,
            images,
            threat,
            seed=derive(study.seed, "attack", label),
            batch_size=study.batch_size,
            keep_images=True,
            fast=bench.fast(network.name),
            memory=bench.memory,
        )
        known = {row["image"]: row["clean_prediction"] == label for row in verdicts.table.iter_rows(named=True)}
        attacked = torch.tensor([known[name] for name in images.names])
        if not attacked.any():
            continue
        moved = ImageSet.of(verdicts.adversarial[0].cpu(), images.labels, class_names=images.class_names)
        before, after = (_activations(bench, network, shown, layers, in_file=False) for shown in (images, moved))
        for layer, clean, adversarial in zip(layers, before, after, strict=True):
            found = displacement_estimates(
                clean.points[attacked],
                adversarial.points[attacked],
                own=own[layer][place],
                other=own[layer][nearest[layer][place]],
                held_out=clean,
                layer=together[layer],
                n_random=DIRECTIONS,
                generator=generator(study.seed, "directions", label),
            )
            rows += [
                {"layer": layer, "place": place, **estimate_row(name, estimate)} for name, estimate in found.items()
            ]
    return Payload(tables={"geometry": _frame(rows, "geometry", "place")})
