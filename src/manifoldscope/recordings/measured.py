"""Measures of points that are there already, such as recordings of neurons: one table, without a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from manifoldscope.errors import GeometryError, StudyError
from manifoldscope.geometry import MEASURES, ClassManifold, Cloud, Scaling, equal_sizes
from manifoldscope.recordings.reading import PointSet
from manifoldscope.recordings.rows import (
    Row,
    Wanted,
    class_rows,
    curve_rows,
    extrapolation_rows,
    joint_rows,
    reliability_row,
)
from manifoldscope.seeds import generator
from manifoldscope.tables import WHOLE

Asked = Sequence[str | tuple[str, Mapping[str, Any]]]
"""Measures by name, or by name and parameters."""


def measured(
    manifolds: Sequence[ClassManifold],
    wanted: Asked,
    *,
    scaling: Scaling = "none",
    split_halves: int = 5,
    null: int = 0,
    seed: int = 0,
) -> pl.DataFrame:
    """Every measure of every class, a row each; of joint measures a row also for the whole and for each pair.

    Args:
        manifolds: the classes; one, or more for joint measures.
        wanted: the measures by name, or by name and parameters: ["two_nn", ("pca_dimension", {"fraction": 0.9})].
        scaling: as for `measure`.
        split_halves: random halves for standard errors and for what falls with fewer points; none for 0.
        null: draws of a Gaussian null of the same size (of shuffled labels for a joint measure); none for 0.
        seed: of every random draw.

    Returns:
        label (None for the whole of a layer), other (the other label of a pair), measure, parameters, value, stderr,
        ceiling, null (mean of the null), null_p (two-sided, by rank), n_points, n_features, describes_sample,
        falls_when_halved (None where nothing was halved), note.

    Raises:
        GeometryError: points that cannot be measured, named by their label.
        StudyError: a joint measure of one class.
    """
    single, joint = _apart(wanted)
    rows: list[Row] = []
    for manifold in manifolds if single else ():
        try:
            cloud = Cloud(manifold, scaling=scaling)
            found = class_rows(cloud, single, label=manifold.label, split_halves=split_halves, null=null, seed=seed)
        except GeometryError as error:
            raise GeometryError(f"label {_label(manifold)}: {error}") from None
        rows += [{"label": _label(manifold), "other": None, **row} for row in found]
    if joint:
        _require_classes(manifolds, joint)
        names = {WHOLE: None, None: None} | {place: _label(manifold) for place, manifold in enumerate(manifolds)}
        found = joint_rows(manifolds, joint, scaling=scaling, split_halves=split_halves, null=null, seed=seed)
        for row in found:
            place, other = row.pop("place"), row.pop("other_place")
            rows.append({"label": names[place], "other": names[other], **row})
    return _frame(rows)


def stepwise(sets: Sequence[PointSet], table: Callable[[list[ClassManifold]], pl.DataFrame]) -> pl.DataFrame:
    """The table of each set of points, below one another, with a column for each axis that was taken step by step.

    Args:
        sets: as `load_sets` reads them.
        table: from the manifolds of a set to its table, such as `measured` with its arguments.

    Raises:
        GeometryError, StudyError: what `table` raises, with the place.

    Example:
        >>> import torch
        >>> steps = [PointSet({"time": at}, [ClassManifold(torch.eye(4)[:, : at + 1], name="v1")]) for at in (1, 2)]
        >>> found = stepwise(steps, lambda each: measured(each, ["pca_dimension"], split_halves=0))
        >>> found.select("time", "value").rows()
        [(1, 2.0), (2, 3.0)]
    """
    frames = []
    for one in sets:
        try:
            found = table(one.manifolds)
        except (GeometryError, StudyError) as error:
            raise type(error)(f"{one.place}: {error}" if one.at else str(error)) from None
        if taken := [name for name in one.at if name in found.columns]:
            raise StudyError(f"the axis {taken[0]!r} has the name of a column of the table; give it another")
        frames.append(found.select(*(pl.lit(at, pl.Int64).alias(name) for name, at in one.at.items()), pl.all()))
    return pl.concat(frames, how="vertical_relaxed")


def curves(
    manifolds: Sequence[ClassManifold], wanted: Asked, *, scaling: Scaling = "none", draws: int = 10, seed: int = 0
) -> pl.DataFrame:
    """Each measure against the number of points: of each class, and of joint measures of the whole.

    Returns:
        label (None for the whole), measure, parameters, n_points, value (mean over draws), standard_deviation, ceiling,
        note.

    Raises:
        StudyError: a joint measure of one class.
    """
    single, joint = _apart(wanted)
    common: dict[str, Any] = {"draws": draws, "scaling": scaling, "seed": seed}
    rows: list[Row] = []
    for manifold in manifolds if single else ():
        found = curve_rows(manifold, single, label=manifold.label, **common)
        rows += [{"label": _label(manifold), **row} for row in found]
    if joint:
        _require_classes(manifolds, joint)
        rows += [{"label": None, **row} for row in curve_rows(manifolds, joint, **common)]
    return _frame(rows).drop("extrapolated")


def extrapolations(
    manifolds: Sequence[ClassManifold], wanted: Asked, *, factor: float, scaling: Scaling = "none", seed: int = 0
) -> pl.DataFrame:
    """What each measure would show of `factor` times the points of each class, or NaN and the reason in the note.

    Returns:
        label, measure, parameters, n_points (extrapolated to), value, stderr, note.

    Raises:
        StudyError: a joint measure.
    """
    single, joint = _apart(wanted)
    if joint:
        raise StudyError(f"{joint[0][0]} compares classes; only measures of one class are extrapolated")
    rows: list[Row] = []
    for manifold in manifolds:
        found = extrapolation_rows(manifold, single, label=manifold.label, factor=factor, scaling=scaling, seed=seed)
        rows += [{"label": _label(manifold), **row} for row in found]
    return _frame(rows).rename({"standard_deviation": "stderr"}).drop("ceiling", "extrapolated")


def reliabilities(
    manifolds: Sequence[ClassManifold], wanted: Asked, *, scaling: Scaling = "none", splits: int = 10, seed: int = 0
) -> pl.DataFrame:
    """How well two samples of the points agree on the classes, a row per measure; NaN where the note says why.

    Returns:
        measure, parameters, reliability (Pearson, at full length), low, high, of_ranks (Spearman), standard_deviation,
        standard_error, n_classes, note.
    """
    return _frame(
        [
            reliability_row(name, settings, manifolds, splits=splits, scaling=scaling, seed=seed)
            for name, settings in _named(wanted)
        ]
    )


def equally_many(manifolds: Sequence[ClassManifold], *, seed: int = 0) -> list[ClassManifold]:
    """As many points of each class, drawn at random without replacement, as the smallest class has."""
    return equal_sizes(manifolds, generator=generator(seed, "equal sizes"))


def _named(wanted: Asked) -> list[tuple[str, Mapping[str, Any]]]:
    """Measures with their parameters, checked and filled in."""
    pairs = [(item, {}) if isinstance(item, str) else item for item in wanted]
    return [(name, MEASURES[name].validate(parameters)) for name, parameters in pairs]


def _apart(wanted: Asked) -> tuple[Wanted, Wanted]:
    """Measures of one class, and joint ones."""
    named = _named(wanted)
    joint = [item for item in named if MEASURES[item[0]].traits["reads"] == "clouds"]
    return [item for item in named if item not in joint], joint


def _require_classes(manifolds: Sequence[ClassManifold], joint: Wanted) -> None:
    if len(manifolds) < 2:
        raise StudyError(f"{joint[0][0]} compares classes; give their labels, or a file of several manifolds")


def _label(manifold: ClassManifold) -> str:
    return manifold.name or str(manifold.label)


def _frame(rows: Sequence[Row]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), infer_schema_length=None)
