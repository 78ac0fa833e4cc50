"""Associations in tables: every measure against every accuracy of a study, and two columns of anyone's table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import polars as pl

from manifoldscope.errors import StudyError, unknown
from manifoldscope.evidence.adjustment import holm
from manifoldscope.evidence.association import Association, associate, nearly_constant
from manifoldscope.evidence.attacks import with_attack_name
from manifoldscope.evidence.coefficient import Method
from manifoldscope.evidence.measures import of_classes
from manifoldscope.evidence.numbers import FloatArray, as_numbers
from manifoldscope.evidence.replicates import replicates
from manifoldscope.tables import INTEGER, REAL, TEXT, Schema, conform

ASSOCIATIONS = Schema(
    name="associations",
    row="an association between a measure and robust accuracy across classes (model '*': across networks)",
    columns={
        "model": TEXT,
        "layer": TEXT,
        "measure": TEXT,
        "parameters": TEXT,
        "attack": TEXT,
        "strength": REAL,
        "iterate": TEXT,
        "method": TEXT,
        "controls": TEXT,
        "coefficient": REAL,
        "low": REAL,
        "high": REAL,
        "p_value": REAL,
        "p_adjusted": REAL,
        "n": INTEGER,
        "note": TEXT,
    },
    identity=("model", "layer", "measure", "parameters", "attack", "strength", "iterate", "method", "controls"),
)


FEWEST_NETWORKS = 5
"""With fewer networks than this there is no association across networks, only a comparison."""

_ANSWER = ("method", "coefficient", "low", "high", "p_value", "n", "note")
"""Columns of `associate_frame`."""


def association_table(
    geometry: pl.DataFrame,
    robustness: pl.DataFrame,
    models: pl.DataFrame,
    *,
    methods: Sequence[Literal["pearson", "spearman", "partial"]] = ("pearson", "spearman", "partial"),
    bootstrap: int = 2000,
    permutations: int = 10_000,
    seed: int = 0,
) -> pl.DataFrame:
    """Every measure against every accuracy: the table "associations".

    Within a network the pairs are its classes. Rows of the network "*" compare networks: the mean of the measure over
    classes against the mean accuracy, where at least five networks have both; the replicates of one network (named by
    "replicate_of" in `models.provenance`) are averaged first and count as one. "partial" is Pearson's given the clean
    accuracy; it has no row where accuracy is the clean accuracy. Measures of a whole layer, and of attacked images,
    are not used. A row without a coefficient has nulls, and the reason in `note`: too few classes, a constant, or a
    measure that is constant but for one or two classes (`nearly_constant`). Where one class carries a coefficient, the
    note says so.

    `p_adjusted` is Holm's over one family: all rows of one method within one network (all layers, measures, attacks,
    strengths and iterates), and within "*" likewise. `attack` names an attack as `with_attack_name` does.

    Raises:
        StudyError: an unknown method.

    Example:
        >>> from manifoldscope.tables import conform
        >>> empty = {name: conform(name, []) for name in ("geometry", "robustness", "models")}
        >>> len(association_table(**empty))
        0
    """
    for method in methods:
        if method not in ("pearson", "spearman", "partial"):
            raise StudyError(unknown("method", method, ("pearson", "spearman", "partial")))
    classes = _paired(geometry, robustness)
    rows: list[dict[str, Any]] = []
    key = ["model", "layer", "measure", "parameters", "attack", "strength", "iterate"]
    for frame in (classes, _network_means(classes, models)):
        for identity, group in frame.group_by(key, maintain_order=True):
            if identity[0] == "*" and len(group) < FEWEST_NETWORKS:
                continue
            x, y, clean = (group[column].to_numpy() for column in ("value", "robust_accuracy", "clean_accuracy"))
            for method in methods:
                controls = {"clean_accuracy": clean} if method == "partial" else {}
                if controls and np.array_equal(y, clean):
                    continue
                of: Method = "spearman" if method == "spearman" else "pearson"
                if few := nearly_constant(paired := x[np.isfinite(x) & np.isfinite(y)]):
                    result = _resting_on_few(few, paired, of, tuple(controls))
                else:
                    result = associate(
                        x,
                        y,
                        method=of,
                        controls=controls,
                        bootstrap=bootstrap,
                        permutations=permutations,
                        seed=seed,
                        names=("measure", "accuracy"),
                    )
                rows.append(
                    dict(zip(key, identity, strict=True))
                    | {"method": method, "controls": " ".join(result.controls), "n": result.n, "note": result.note}
                    | {name: _or_null(getattr(result, name)) for name in ("coefficient", "low", "high", "p_value")}
                )
    for model, method in {(row["model"], row["method"]) for row in rows}:
        family = [row for row in rows if (row["model"], row["method"]) == (model, method)]
        known = [math.nan if row["p_value"] is None else row["p_value"] for row in family]
        for row, adjusted in zip(family, holm(known), strict=True):
            row["p_adjusted"] = _or_null(float(adjusted))
    return conform(ASSOCIATIONS, rows)


def associate_frame(
    frame: pl.DataFrame,
    x: str,
    y: str,
    *,
    controls: Sequence[str] = (),
    by: str | None = None,
    bootstrap: int = 2000,
    permutations: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> pl.DataFrame:
    """Pearson, Spearman and, given controls, partial correlation of two columns of anyone's table.

    Args:
        frame: one row a pair.
        x, y, controls: names of columns of numbers; null is a missing pair.
        by: name of a column; there is one association for each of its values, in order.
        bootstrap, permutations, confidence, seed: see `associate`.

    Returns:
        Columns `by` (where given), method, coefficient, low, high, p_value, n, note.

    Raises:
        StudyError: a column that is not there, is named twice, or does not hold numbers; or a table without rows.

    Example:
        >>> frame = pl.DataFrame({"size": [1, 2, 3, 4, 5], "speed": [9, 7, 8, 5, 4]})
        >>> associate_frame(frame, "size", "speed")["coefficient"].round(3).to_list()
        [-0.915, -0.9]
    """
    numeric = [x, y, *controls]
    for name in [*numeric, *([by] if by is not None else [])]:
        if name not in frame.columns:
            raise StudyError(unknown("column", name, frame.columns))
        if numeric.count(name) > 1:
            raise StudyError(f"column {name!r} is named twice among x, y and the controls; give each its own column")
    if by in _ANSWER:
        raise StudyError(f"column {by!r} is also one of the answer; give it another name")
    if by is not None and (frame[by].dtype.is_nested() or frame[by].dtype == pl.Object):
        raise StudyError(f"column {by!r} holds {frame[by].dtype}; expected numbers or text to group by")
    for name in numeric:
        as_numbers(frame[name], f"column {name!r}")
    if frame.is_empty():
        raise StudyError("the table has no rows; expected one row a pair")
    groups: list[tuple[Any, pl.DataFrame]] = [(None, frame)]
    if by is not None:
        groups = [(value, group) for (value,), group in frame.sort(by).group_by(by, maintain_order=True)]
    rows = []
    for value, group in groups:
        columns = {name: group[name] for name in numeric}
        held = {name: columns[name] for name in controls}
        asked: list[tuple[str, Method, dict[str, pl.Series]]] = [
            ("pearson", "pearson", {}),
            ("spearman", "spearman", {}),
        ]
        if controls:
            asked.append(("partial", "pearson", held))
        for name, method, given in asked:
            result = associate(
                columns[x],
                columns[y],
                method=method,
                controls=given,
                bootstrap=bootstrap,
                permutations=permutations,
                confidence=confidence,
                seed=seed,
            )
            rows.append(
                ({} if by is None else {by: value})
                | {"method": name, "coefficient": result.coefficient, "low": result.low, "high": result.high}
                | {"p_value": result.p_value, "n": result.n, "note": result.note}
            )
    return pl.DataFrame(rows, schema_overrides={} if by is None else {by: frame[by].dtype})


def _paired(geometry: pl.DataFrame, robustness: pl.DataFrame) -> pl.DataFrame:
    """Each measure of each class beside each accuracy of the class; several runs of one attack told apart."""
    measured = of_classes(geometry).select("model", "layer", "measure", "parameters", "class_index", "value")
    robust = with_attack_name(robustness).select(
        "model", "strength", "iterate", "class_index", "robust_accuracy", "clean_accuracy", attack="attack_name"
    )
    return measured.join(robust, on=["model", "class_index"]).sort(
        "model", "layer", "measure", "parameters", "attack", "strength", "iterate", "class_index"
    )


def _network_means(paired: pl.DataFrame, models: pl.DataFrame) -> pl.DataFrame:
    """One row per network in place of its classes, under the model "*"; replicates averaged."""
    keys = ["layer", "measure", "parameters", "attack", "strength", "iterate"]
    numbers = ["value", "robust_accuracy", "clean_accuracy"]
    finite = paired.filter(pl.all_horizontal(pl.col(name).is_finite() for name in numbers))
    names = replicates(models)
    each = finite.group_by(["model", *keys], maintain_order=True).agg(pl.col(numbers).mean())
    counted = each.with_columns(network=pl.col("model").replace(names))
    means = counted.group_by(["network", *keys], maintain_order=True).agg(pl.col(numbers).mean())
    return means.with_columns(model=pl.lit("*")).sort(*keys, "network")


def _resting_on_few(few: int, values: FloatArray, method: Method, controls: tuple[str, ...]) -> Association:
    """No coefficient: the values are the same but for a few, one or two."""
    n, shared = len(values), np.median(values)
    note = f"measure is {shared:.4g} for all but {few} of {n} pairs, on which alone a coefficient would rest"
    return Association(method, math.nan, math.nan, math.nan, math.nan, n, controls, note)


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value
