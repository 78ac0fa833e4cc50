"""What is measured of points, as rows of the tables: for the units of a study, and for points without one.

A row has the columns of its table in `tables.py` that say nothing of a model, a layer or a class. Every random draw has
a stream of its own, named by what it is for, the class and the measure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from manifoldscope.errors import GeometryError
from manifoldscope.geometry import (
    ClassManifold,
    Cloud,
    Clouds,
    Estimate,
    JointNull,
    Null,
    Scaling,
    curve,
    extrapolate,
    gaussian_null,
    measure,
    reliability,
    shuffled_labels,
    subsampled,
)
from manifoldscope.geometry.subsets import as_subject, described, sizes_of
from manifoldscope.seeds import generator
from manifoldscope.tables import WHOLE, parameters_text

Wanted = Sequence[tuple[str, Mapping[str, Any]]]
"""Measures with their parameters."""

Row = dict[str, Any]

EXTRAPOLATION_DRAWS = 20
"""How many draws of each size, and how many split halves, an extrapolation rests on."""


def class_rows(
    points: ClassManifold | Cloud, wanted: Wanted, *, label: int, split_halves: int, null: int = 0, seed: int
) -> list[Row]:
    """Measures of one class, a row each as in the table `geometry`.

    Args:
        points: (n_points, n_features) of the class.
        wanted: measures of one class.
        label: of the class, which names its streams of random numbers.
        split_halves: random halves for standard errors; 0: none.
        null: draws of an isotropic Gaussian null; 0: none.
        seed: of every draw.

    Raises:
        GeometryError: points that cannot be measured.
    """
    subject = as_subject(points, [name for name, _ in wanted], "none")
    assert isinstance(subject, Cloud)
    found = (
        subsampled(subject, wanted, n_splits=split_halves, generator=generator(seed, "halves", label))
        if split_halves
        else [measure(name, subject, **settings) for name, settings in wanted]
    )
    rows = []
    for (name, settings), estimate in zip(wanted, found, strict=True):
        drawing = generator(seed, "null", label, name)
        chance = gaussian_null(name, subject, draws=null, generator=drawing, **settings) if null else None
        rows.append(estimate_row(name, estimate, chance))
    return rows


def joint_rows(
    manifolds: Sequence[ClassManifold],
    wanted: Wanted,
    *,
    scaling: Scaling = "none",
    split_halves: int,
    null: int = 0,
    seed: int,
) -> list[Row]:
    """Joint measures of the classes of a layer, as in the tables `geometry` and `pairs`.

    Each row names its class by the `place` in the list, -1 for the whole; `other_place` is None but for pairs.

    Args:
        manifolds: (n_points, n_features) each.
        wanted: joint measures.
        scaling: as for `measure`.
        split_halves: random halves for standard errors; 0: none.
        null: draws of shuffled labels; 0: none.
        seed: of every draw.

    Raises:
        GeometryError: points that cannot be measured, or too few classes.
    """
    clouds = Clouds(manifolds, scaling=scaling)
    found = (
        subsampled(clouds, wanted, n_splits=split_halves, generator=generator(seed, "halves"))
        if split_halves
        else [measure(name, clouds, **settings) for name, settings in wanted]
    )
    rows = []
    for (name, settings), joint in zip(wanted, found, strict=True):
        drawing = generator(seed, "null", name)
        chance = (
            shuffled_labels(name, manifolds, draws=null, generator=drawing, scaling=scaling, **settings)
            if null
            else JointNull()
        )
        if joint.whole is not None:
            rows.append({"place": WHOLE, "other_place": None, **estimate_row(name, joint.whole, chance.whole)})
        for place, estimate in enumerate(joint.classes):
            expected = chance.classes[place] if chance.classes else None
            rows.append({"place": place, "other_place": None, **estimate_row(name, estimate, expected)})
        for (first, second), estimate in joint.pairs.items():
            expected = chance.pairs.get((first, second))
            rows.append({"place": first, "other_place": second, **estimate_row(name, estimate, expected)})
    return rows


def estimate_row(name: str, estimate: Estimate, chance: Null | None = None) -> Row:
    """One value, beside what chance gives where that was asked for."""
    caveat = f"null: {chance.note}" if chance and chance.note and math.isfinite(estimate.value) else ""
    return {
        "measure": name,
        "parameters": parameters_text(estimate.parameters),
        "value": float(estimate.value),
        "stderr": estimate.stderr,
        "ceiling": _real(estimate.ceiling),
        "null": chance.mean if chance else None,
        "null_p": chance.p_value if chance else None,
        "n_points": estimate.n_points,
        "n_features": estimate.n_features,
        "describes_sample": estimate.describes_sample,
        "falls_when_halved": estimate.falls_when_halved,
        "note": "; ".join(filter(None, [estimate.note, caveat])),
    }


def curve_rows(
    points: ClassManifold | Cloud | Sequence[ClassManifold] | Clouds,
    wanted: Wanted,
    *,
    label: int = WHOLE,
    draws: int,
    scaling: Scaling = "none",
    seed: int,
) -> list[Row]:
    """Each measure against the number of points, as in the table `curves`; of joint measures the value of the whole.

    A measure that has no such value makes one row, with NaN and the reason.

    Args:
        points: (n_points, n_features) of one class, or a list of them for joint measures.
        wanted: measures of one class, or joint ones.
        label: of the class, which names its streams of random numbers.
        draws: how many of each number of points.
        scaling: as for `measure`.
        seed: of every draw.
    """
    subject = as_subject(points, [name for name, _ in wanted], scaling)
    rows = []
    for name, settings in wanted:
        drawing = generator(seed, "curve", label, name)
        try:
            found = curve(name, subject, draws=draws, generator=drawing, **settings)
        except GeometryError as error:
            parameters = parameters_text(described(settings, subject))
            rows.append(_curve_row(name, parameters, min(sizes_of(subject)), note=str(error)))
            continue
        rows += [
            _curve_row(
                name,
                parameters_text(found.parameters),
                size,
                value=found.mean[at],
                standard_deviation=found.standard_deviation[at],
                ceiling=_real(found.ceiling[at]),
                note=found.note,
            )
            for at, size in enumerate(found.sizes)
        ]
    return rows


def extrapolation_rows(
    points: ClassManifold | Cloud, wanted: Wanted, *, label: int, factor: float, scaling: Scaling = "none", seed: int
) -> list[Row]:
    """Each measure for `factor` times the points, as in the table `curves`; NaN and the reason where it is refused.

    Args:
        points: (n_points, n_features) of one class.
        wanted: measures of one class.
        label: of the class, which names its streams of random numbers.
        factor: how many times the points; at least 1, and beyond `extrapolation.FARTHEST` all is refused.
        scaling: as for `measure`.
        seed: of every draw.

    Raises:
        GeometryError: points that cannot be measured.
    """
    subject = as_subject(points, [name for name, _ in wanted], scaling)
    assert isinstance(subject, Cloud)
    rows = []
    for name, settings in wanted:
        drawing = generator(seed, "extrapolate", label, name)
        size = round(factor * subject.n_points)
        found = extrapolate(name, subject, n_points=size, draws=EXTRAPOLATION_DRAWS, generator=drawing, **settings)
        rows.append(
            _curve_row(
                name,
                parameters_text(found.parameters),
                size,
                value=found.value,
                standard_deviation=found.stderr,
                extrapolated=True,
                note=found.note,
            )
        )
    return rows


def _curve_row(
    name: str,
    parameters: str,
    n_points: int,
    *,
    value: float = math.nan,
    standard_deviation: float | None = None,
    ceiling: float | None = None,
    extrapolated: bool = False,
    note: str = "",
) -> Row:
    return {
        "measure": name,
        "parameters": parameters,
        "n_points": n_points,
        "value": value,
        "standard_deviation": standard_deviation,
        "ceiling": ceiling,
        "extrapolated": extrapolated,
        "note": note,
    }


def reliability_row(
    name: str,
    settings: Mapping[str, Any],
    manifolds: Sequence[ClassManifold] | Clouds,
    *,
    splits: int,
    scaling: Scaling = "none",
    seed: int,
) -> Row:
    """How well two samples of the points agree on the classes, as in the table `reliability`.

    Where that cannot be told (fewer than three classes, or four points of one; a measure that says nothing of single
    classes), the row has NaN and the reason.

    Args:
        name: a measure of one class, or a joint one.
        settings: its parameters.
        manifolds: (n_points, n_features) each.
        splits: how many times the points are halved.
        scaling: as for `measure`.
        seed: of every draw.
    """
    clouds = as_subject(manifolds, [name], scaling)
    assert isinstance(clouds, Clouds)
    drawing = generator(seed, "reliability", name)
    try:
        found = reliability(name, clouds, n_splits=splits, generator=drawing, **settings)
    except GeometryError as error:
        nothing = dict.fromkeys(
            ("reliability", "low", "high", "of_ranks", "standard_deviation", "standard_error"), math.nan
        )
        parameters = parameters_text(described(settings, clouds))
        return {"measure": name, "parameters": parameters, **nothing, "n_classes": 0, "note": str(error)}
    return {
        "measure": name,
        "parameters": parameters_text(found.parameters),
        "reliability": found.pearson.full,
        "low": found.pearson.low,
        "high": found.pearson.high,
        "of_ranks": found.spearman.full,
        "standard_deviation": found.standard_deviation,
        "standard_error": found.standard_error,
        "n_classes": found.n_classes,
        "note": found.note,
    }


def _real(number: float | None) -> float | None:
    return None if number is None else float(number)
