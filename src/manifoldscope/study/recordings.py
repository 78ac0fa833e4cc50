"""Measures of points that are there already, such as recordings of neurons: one table, without a study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from manifoldscope.errors import GeometryError, StudyError
from manifoldscope.geometry import (
    MEASURES,
    ClassManifold,
    Cloud,
    Clouds,
    Estimate,
    Scaling,
    curve,
    equal_sizes,
    gaussian_null,
    measure,
    reliability,
    shuffled_labels,
    subsampled,
)
from manifoldscope.seeds import generator
from manifoldscope.tables import parameters_text

Wanted = Sequence[tuple[str, Mapping[str, Any]]]
"""Measures with their parameters."""


def measured(
    manifolds: Sequence[ClassManifold],
    wanted: Wanted,
    *,
    scaling: Scaling = "none",
    halvings: int = 5,
    null: int = 0,
    equal: bool = False,
    seed: int = 0,
) -> pl.DataFrame:
    """Every measure of every class, a row each; of joint measures a row also for the whole and for each pair.

    Args:
        manifolds: the classes; one, or more for joint measures.
        wanted: the measures, with their parameters.
        halvings: random halves for standard errors and for what falls with fewer points; none for 0.
        null: draws of a Gaussian null of the same size (of shuffled labels for a joint measure); none for 0.
        equal: measure as many points of each class as the smallest has.
        seed: of every random draw.

    Returns:
        label (None for the whole of a layer), other (the other label of a pair), measure, parameters, value, stderr,
        ceiling, null (mean of the null), null_p (two-sided, by rank), n_points, n_features, note.

    Raises:
        GeometryError: points that cannot be measured, named by their label; a joint measure of one class.
    """
    if equal:
        manifolds = equal_sizes(manifolds, generator=generator(seed, "equal sizes"))
    single = [item for item in wanted if MEASURES[item[0]].traits["reads"] != "clouds"]
    joint = [item for item in wanted if item not in single]
    rows: list[dict[str, Any]] = []
    for manifold in manifolds:
        try:
            cloud = Cloud(manifold, scaling=scaling)
            drawing = generator(seed, "halves", manifold.label)
            found = (
                subsampled(cloud, single, n_splits=halvings, generator=drawing)
                if halvings
                else [measure(name, cloud, **settings) for name, settings in single]
            )
        except GeometryError as error:
            raise GeometryError(f"label {manifold.name or manifold.label}: {error}") from None
        for (name, settings), estimate in zip(single, found, strict=True):
            row = {"label": _label(manifold), "other": None, **_row(name, estimate)}
            if null:
                drawing = generator(seed, "null", manifold.label, name)
                expected = gaussian_null(name, cloud, draws=null, generator=drawing, **settings)
                row |= {"null": expected.mean, "null_p": expected.p_value}
            rows.append(row)
    if joint:
        rows += _joint_rows(manifolds, joint, scaling=scaling, halvings=halvings, null=null, seed=seed)
    return _frame(rows)


def _joint_rows(
    manifolds: Sequence[ClassManifold], wanted: Wanted, *, scaling: Scaling, halvings: int, null: int, seed: int
) -> Iterator[dict[str, Any]]:
    if len(manifolds) < 2:
        raise StudyError(f"{wanted[0][0]} compares classes; give their labels, or a file of several manifolds")
    clouds = Clouds(manifolds, scaling=scaling)
    found = (
        subsampled(clouds, wanted, n_splits=halvings, generator=generator(seed, "halves"))
        if halvings
        else [measure(name, clouds, **settings) for name, settings in wanted]
    )
    labels = [_label(manifold) for manifold in manifolds]
    for (name, settings), joint in zip(wanted, found, strict=True):
        expected = (
            shuffled_labels(
                name, manifolds, draws=null, generator=generator(seed, "null", name), scaling=scaling, **settings
            )
            if null
            else None
        )
        if joint.whole is not None:
            chance = expected.whole if expected else None
            yield {"label": None, "other": None, **_row(name, joint.whole), **_beside(chance)}
        for place, estimate in enumerate(joint.classes):
            chance = expected.classes[place] if expected else None
            yield {"label": labels[place], "other": None, **_row(name, estimate), **_beside(chance)}
        for (first, second), estimate in joint.pairs.items():
            chance = expected.pairs[first, second] if expected else None
            yield {"label": labels[first], "other": labels[second], **_row(name, estimate), **_beside(chance)}


def curves(
    manifolds: Sequence[ClassManifold], wanted: Wanted, *, scaling: Scaling = "none", draws: int = 10, seed: int = 0
) -> pl.DataFrame:
    """Each measure against the number of points: of each class, and of joint measures of the whole.

    Returns:
        label, measure, parameters, n_points, value (mean over draws), spread, ceiling, note.
    """
    rows: list[dict[str, Any]] = []
    for name, settings in wanted:
        joint = MEASURES[name].traits["reads"] == "clouds"
        for label, points in [(None, manifolds)] if joint else [(_label(m), m) for m in manifolds]:
            drawing = generator(seed, "curve", name, str(label))
            found = curve(name, points, draws=draws, generator=drawing, scaling=scaling, **settings)
            rows += [
                {
                    "label": label,
                    "measure": name,
                    "parameters": parameters_text(found.parameters),
                    "n_points": size,
                    "value": found.mean[at],
                    "spread": found.spread[at],
                    "ceiling": found.ceiling[at],
                    "note": found.note,
                }
                for at, size in enumerate(found.sizes)
            ]
    return _frame(rows)


def reliabilities(
    manifolds: Sequence[ClassManifold], wanted: Wanted, *, scaling: Scaling = "none", splits: int = 10, seed: int = 0
) -> pl.DataFrame:
    """How well two samples of the points agree on the classes, a row a measure that has a value for each class.

    Returns:
        measure, parameters, reliability (Pearson, at full length), low, high, of_ranks (Spearman), spread, noise,
        n_classes, note.
    """
    rows: list[dict[str, Any]] = []
    for name, settings in wanted:
        drawing = generator(seed, "reliability", name)
        found = reliability(name, manifolds, n_splits=splits, generator=drawing, scaling=scaling, **settings)
        rows.append(
            {
                "measure": name,
                "parameters": parameters_text(found.parameters),
                "reliability": found.pearson.full,
                "low": found.pearson.low,
                "high": found.pearson.high,
                "of_ranks": found.spearman.full,
                "spread": found.spread,
                "noise": found.noise,
                "n_classes": found.n_classes,
                "note": found.note,
            }
        )
    return _frame(rows)


def _label(manifold: ClassManifold) -> str:
    return manifold.name or str(manifold.label)


def _beside(chance: Any) -> dict[str, Any]:
    return {} if chance is None else {"null": chance.mean, "null_p": chance.p_value}


def _row(name: str, estimate: Estimate) -> dict[str, Any]:
    return {
        "measure": name,
        "parameters": parameters_text(estimate.parameters),
        "value": estimate.value,
        "stderr": estimate.stderr,
        "ceiling": None if estimate.ceiling is None else float(estimate.ceiling),
        "null": None,
        "null_p": None,
        "n_points": estimate.n_points,
        "n_features": estimate.n_features,
        "note": estimate.note,
    }


def _frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), infer_schema_length=None)
