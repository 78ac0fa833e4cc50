"""What the units that measure do: one class, all classes of one layer together, and attacked images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import torch

from manifoldscope.geometry import (
    Cloud,
    Clouds,
    Estimate,
    FeatureCorrelation,
    JointEstimate,
    Spectrum,
    feature_correlation,
)
from manifoldscope.geometry.displacement import displacement_estimates
from manifoldscope.geometry.sampling import subsampled
from manifoldscope.geometry.separation import nearest_classes
from manifoldscope.robustness.threat import evaluate
from manifoldscope.seeds import derive, generator
from manifoldscope.study.bench import Bench, Tick
from manifoldscope.study.store import Payload, Unit
from manifoldscope.tables import TABLES, WHOLE, parameters_text
from manifoldscope.vision.activations import activations
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.jacobian import sensitivity


def geometry(unit: Unit, bench: Bench, tick: Tick) -> Payload:
    """Every measure of each layer for the images of one class, and what pictures need: spectra, correlations."""
    label = unit.names["class_index"]
    network, images = bench.network(unit.names["model"]), bench.images("geometry", label)
    manifolds = activations(
        network,
        images,
        layers=unit.inputs["layers"],
        batch_size=bench.study.batch_size,
        folder=bench.store.folder,
    )
    plans = [plan for plan in bench.study.measures if not plan.joint]
    rows: list[dict[str, Any]] = []
    spectra: dict[str, Spectrum] = {}
    correlations: dict[str, FeatureCorrelation] = {}
    for done, manifold in enumerate(manifolds):
        tick(done / len(manifolds))
        for scaling in dict.fromkeys(plan.scaling for plan in plans):
            cloud = Cloud(manifold, scaling=scaling)
            same = [plan for plan in plans if plan.scaling == scaling]
            estimates = subsampled(
                cloud,
                [(plan.name, plan.settings) for plan in same],
                n_splits=bench.study.halvings,
                generator=generator(bench.study.seed, "halves", label),
            )
            rows += [_row(manifold.layer, plan.name, found) for plan, found in zip(same, estimates, strict=True)]
            spectra[f"{manifold.layer}/{scaling}"] = cloud.spectrum
        if bench.study.sensitivity:
            found = sensitivity(
                network,
                images,
                layer=manifold.layer,
                n_projections=bench.study.sensitivity,
                seed=derive(bench.study.seed, "sensitivity", label),
                batch_size=bench.study.batch_size,
            )[label]
            rows.append(_row(manifold.layer, "sensitivity", found))
        if unit.names["example"]:
            correlations[manifold.layer] = feature_correlation(manifold)
    return Payload(
        tables={"geometry": _frame(rows, "geometry")},
        arrays={
            **{f"spectrum/{name}": spectrum.variances.numpy() for name, spectrum in spectra.items()},
            **{f"correlation/{name}": found.matrix.numpy() for name, found in correlations.items()},
        },
        facts={
            "shapes": {manifold.layer: [manifold.n_points, manifold.n_features] for manifold in manifolds},
            "correlations": {
                name: {"mean_absolute": found.mean_absolute, "baseline": found.chance}
                for name, found in correlations.items()
                if not found.note
            },
        },
    )


def layer(unit: Unit, bench: Bench, tick: Tick) -> Payload:
    """The joint measures of one layer: all classes together."""
    manifolds = activations(
        bench.network(unit.names["model"]),
        bench.draws["geometry"].images,
        layers=[unit.inputs["layer"]],
        batch_size=bench.study.batch_size,
        folder=bench.store.folder,
    )
    tick(0.3)
    plans = [plan for plan in bench.study.measures if plan.joint]
    rows: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    for scaling in dict.fromkeys(plan.scaling for plan in plans):
        clouds = Clouds(manifolds, scaling=scaling)
        same = [plan for plan in plans if plan.scaling == scaling]
        joint = subsampled(
            clouds,
            [(plan.name, plan.settings) for plan in same],
            n_splits=bench.study.halvings,
            generator=generator(bench.study.seed, "halves"),
        )
        for plan, found in zip(same, joint, strict=True):
            _add(rows, pairs, unit.inputs["layer"], plan.name, found)
    return Payload(tables={"geometry": _frame(rows, "geometry"), "pairs": _frame(pairs, "pairs")})


def _add(rows: list[dict[str, Any]], pairs: list[dict[str, Any]], layer: str, name: str, found: JointEstimate) -> None:
    """The rows of a joint measure; classes are named by their place in the unit's list of them, -1 the whole layer."""
    if found.whole is not None:
        rows.append({**_row(layer, name, found.whole), "place": WHOLE})
    rows += [{**_row(layer, name, estimate), "place": place} for place, estimate in enumerate(found.classes)]
    for (first, second), estimate in found.pairs.items():
        row = _row(layer, name, estimate)
        pairs.append(
            {"place": first, "other_place": second}
            | {key: row[key] for key in ("layer", "measure", "parameters", "value", "stderr", "note")}
        )


def _row(layer: str, name: str, estimate: Estimate) -> dict[str, Any]:
    return {
        "layer": layer,
        "measure": name,
        "parameters": parameters_text(estimate.parameters),
        "value": float(estimate.value),
        "stderr": estimate.stderr,
        "n_points": estimate.n_points,
        "n_features": estimate.n_features,
        "ceiling": estimate.ceiling,
        "note": estimate.note,
    }


def _frame(rows: Sequence[dict[str, Any]], table: str) -> pl.DataFrame:
    """Rows with the types that the table has; which class a row is of is told by its place."""
    columns = TABLES[table].columns
    names = list(rows[0]) if rows else ["layer", "measure", "parameters", "value"]
    schema = {name: columns.get(name, pl.Int64()) for name in names}
    return pl.DataFrame({name: [row.get(name) for row in rows] for name in names}, schema=schema)


def displacement(unit: Unit, bench: Bench, tick: Tick) -> Payload:
    """Where the images that a threat attacks move in each layer, class by class; only those classified correctly.

    The subspaces are those of the images that geometry is measured on; what is attacked again here is what the units
    `attack` have attacked, with the same random numbers and every step taken.
    """
    network, study = bench.network(unit.names["model"]), bench.study
    plan = next(plan for plan in study.threats if plan.name == unit.names["threat"])
    threat = next(threat for threat in plan.threats() if threat.strength == unit.inputs["strength"])
    layers, labels = unit.inputs["layers"], [label for label, _ in unit.names["classes"]]
    measured = activations(network, bench.draws["geometry"].images, layers=layers, batch_size=study.batch_size)
    own = {layer: measured[place * len(labels) : (place + 1) * len(labels)] for place, layer in enumerate(layers)}
    nearest = {layer: nearest_classes(own[layer]) for layer in layers}
    rows: list[dict[str, Any]] = []
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
        )
        known = {row["image"]: row["clean_prediction"] == label for row in verdicts.table.iter_rows(named=True)}
        attacked = torch.tensor([known[name] for name in images.names])
        if not attacked.any():
            continue
        moved = ImageSet.of(verdicts.adversarial[0].cpu(), images.labels, class_names=images.class_names)
        before = activations(network, images, layers=layers, batch_size=study.batch_size)
        after = activations(network, moved, layers=layers, batch_size=study.batch_size)
        for layer, clean, adversarial in zip(layers, before, after, strict=True):
            found = displacement_estimates(
                clean.points[attacked],
                adversarial.points[attacked],
                own=own[layer][place],
                other=own[layer][nearest[layer][place]],
                held_out=clean,
            )
            rows += [{**_row(layer, name, estimate), "place": place} for name, estimate in found.items()]
    return Payload(tables={"geometry": _frame(rows, "geometry")})
