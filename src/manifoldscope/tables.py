"""The schemas of the tables: the contract between computing and concluding.

Names and types are stable. `conform` is the one door through which rows become a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from manifoldscope.errors import ManifoldscopeError, unknown

WHOLE = -1
"""The class index of a row that is of a whole layer."""

_TEXT, _WHOLE, _REAL, _TRUTH = pl.String(), pl.Int64(), pl.Float64(), pl.Boolean()


@dataclass(frozen=True)
class Schema:
    """One table: what a row is, its columns in order, and the columns that identify (and sort) a row.

    A table that is `optional` is filled where a study asks for it; without rows, it is missed by nobody.
    """

    row: str
    columns: Mapping[str, pl.DataType]
    identity: tuple[str, ...]
    optional: bool = False


TABLES: dict[str, Schema] = {
    "models": Schema(
        row="a network",
        columns={
            "model": _TEXT,
            "source": _TEXT,
            "n_parameters": _WHOLE,
            "dataset": _TEXT,
            "n_classes": _WHOLE,
            "clean_accuracy": _REAL,
            "provenance": _TEXT,
        },
        identity=("model",),
    ),
    "geometry": Schema(
        row="a measure of one class manifold (class_index -1: of a whole layer)",
        columns={
            "model": _TEXT,
            "layer": _TEXT,
            "class_index": _WHOLE,
            "class_name": _TEXT,
            "measure": _TEXT,
            "parameters": _TEXT,
            "attack": _TEXT,
            "strength": _REAL,
            "value": _REAL,
            "stderr": _REAL,
            "n_points": _WHOLE,
            "n_features": _WHOLE,
            "pool": _TEXT,
            "ceiling": _REAL,
            "null": _REAL,
            "null_p": _REAL,
            "describes_sample": _TRUTH,
            "falls_when_halved": _TRUTH,
            "split": _TEXT,
            "note": _TEXT,
        },
        identity=("model", "layer", "measure", "parameters", "attack", "strength", "class_index"),
    ),
    "pairs": Schema(
        row="a measure between two class manifolds",
        columns={
            "model": _TEXT,
            "layer": _TEXT,
            "class_index": _WHOLE,
            "other_class_index": _WHOLE,
            "measure": _TEXT,
            "parameters": _TEXT,
            "value": _REAL,
            "stderr": _REAL,
            "null": _REAL,
            "null_p": _REAL,
            "describes_sample": _TRUTH,
            "falls_when_halved": _TRUTH,
            "note": _TEXT,
        },
        identity=("model", "layer", "measure", "parameters", "class_index", "other_class_index"),
    ),
    "curves": Schema(
        row="a measure of one class manifold (class_index -1: of a whole layer) at one number of points",
        columns={
            "model": _TEXT,
            "layer": _TEXT,
            "class_index": _WHOLE,
            "class_name": _TEXT,
            "measure": _TEXT,
            "parameters": _TEXT,
            "n_points": _WHOLE,
            "value": _REAL,
            "standard_deviation": _REAL,
            "ceiling": _REAL,
            "extrapolated": _TRUTH,
            "note": _TEXT,
        },
        identity=("model", "layer", "measure", "parameters", "class_index", "n_points", "extrapolated"),
        optional=True,
    ),
    "reliability": Schema(
        row="how well two samples of the images agree on the classes",
        columns={
            "model": _TEXT,
            "layer": _TEXT,
            "measure": _TEXT,
            "parameters": _TEXT,
            "reliability": _REAL,
            "low": _REAL,
            "high": _REAL,
            "of_ranks": _REAL,
            "standard_deviation": _REAL,
            "standard_error": _REAL,
            "n_classes": _WHOLE,
            "note": _TEXT,
        },
        identity=("model", "layer", "measure", "parameters"),
        optional=True,
    ),
    "robustness": Schema(
        row="a class under an attack or corruption at a strength, for one choice of iterate",
        columns={
            "model": _TEXT,
            "attack": _TEXT,
            "parameters": _TEXT,
            "norm": _TEXT,
            "n_steps": _WHOLE,
            "strength": _REAL,
            "iterate": _TEXT,
            "class_index": _WHOLE,
            "class_name": _TEXT,
            "n_images": _WHOLE,
            "n_clean_correct": _WHOLE,
            "n_robust": _WHOLE,
            "clean_accuracy": _REAL,
            "robust_accuracy": _REAL,
            "split": _TEXT,
        },
        identity=("model", "attack", "parameters", "strength", "iterate", "class_index"),
    ),
    "outcomes": Schema(
        row="an image under an attack or corruption at a strength (prediction -1: the network gave NaN or infinity)",
        columns={
            "model": _TEXT,
            "attack": _TEXT,
            "parameters": _TEXT,
            "norm": _TEXT,
            "n_steps": _WHOLE,
            "targeted": _TRUTH,
            "strength": _REAL,
            "image": _TEXT,
            "label": _WHOLE,
            "clean_prediction": _WHOLE,
            "last_prediction": _WHOLE,
            "robust_last": _TRUTH,
            "robust_any": _TRUTH,
            "minimal_epsilon": _REAL,
        },
        identity=("model", "attack", "parameters", "strength", "image"),
    ),
    "minimal": Schema(
        row="the minimal perturbations that a search found for the images of a class (upper bounds)",
        columns={
            "model": _TEXT,
            "attack": _TEXT,
            "parameters": _TEXT,
            "norm": _TEXT,
            "largest": _REAL,
            "class_index": _WHOLE,
            "class_name": _TEXT,
            "n_images": _WHOLE,
            "n_clean_correct": _WHOLE,
            "n_found": _WHOLE,
            "lower_quartile": _REAL,
            "median": _REAL,
            "upper_quartile": _REAL,
            "split": _TEXT,
        },
        identity=("model", "attack", "parameters", "largest", "class_index"),
        optional=True,
    ),
    "transfer": Schema(
        row="adversarial examples of a source model by an attack at a strength, on a target model (last iterates)",
        columns={
            "source_model": _TEXT,
            "target_model": _TEXT,
            "attack": _TEXT,
            "parameters": _TEXT,
            "strength": _REAL,
            "n_images": _WHOLE,
            "n_clean_correct": _WHOLE,
            "n_misclassified": _WHOLE,
        },
        identity=("source_model", "target_model", "attack", "parameters", "strength"),
        optional=True,
    ),
    "training": Schema(
        row="an epoch of a network's training, with robust images after it where attacks were run",
        columns={
            "model": _TEXT,
            "epoch": _WHOLE,
            "loss": _REAL,
            "learning_rate": _REAL,
            "n_classes": _WHOLE,
            "epsilon": _REAL,
            "n_images": _WHOLE,
            "n_robust_fgsm": _WHOLE,
            "n_robust_pgd": _WHOLE,
        },
        identity=("model", "epoch"),
        optional=True,
    ),
    "convergence": Schema(
        row="images of a sample that are robust after a step of an attack (at every iterate so far)",
        columns={
            "model": _TEXT,
            "attack": _TEXT,
            "parameters": _TEXT,
            "strength": _REAL,
            "n_steps": _WHOLE,
            "step": _WHOLE,
            "n_images": _WHOLE,
            "n_robust": _WHOLE,
        },
        identity=("model", "attack", "parameters", "strength", "step"),
        optional=True,
    ),
    "shifts": Schema(
        row="a class on another dataset of the same classes, beside the study's own images",
        columns={
            "model": _TEXT,
            "dataset": _TEXT,
            "class_index": _WHOLE,
            "class_name": _TEXT,
            "n_images": _WHOLE,
            "n_correct": _WHOLE,
            "accuracy": _REAL,
            "n_clean": _WHOLE,
            "n_clean_correct": _WHOLE,
            "clean_accuracy": _REAL,
        },
        identity=("model", "dataset", "class_index"),
        optional=True,
    ),
    "ood": Schema(
        row="a score that tells OOD from in-distribution images (layer empty: by the output)",
        columns={
            "model": _TEXT,
            "dataset": _TEXT,
            "layer": _TEXT,
            "score": _TEXT,
            "auroc": _REAL,
            "low": _REAL,
            "high": _REAL,
            "n_in_distribution": _WHOLE,
            "n_ood": _WHOLE,
        },
        identity=("model", "dataset", "layer", "score"),
        optional=True,
    ),
    "associations": Schema(
        row="an association between a measure and robust accuracy across classes (model '*': across networks)",
        columns={
            "model": _TEXT,
            "layer": _TEXT,
            "measure": _TEXT,
            "parameters": _TEXT,
            "attack": _TEXT,
            "strength": _REAL,
            "iterate": _TEXT,
            "method": _TEXT,
            "controls": _TEXT,
            "coefficient": _REAL,
            "low": _REAL,
            "high": _REAL,
            "p_value": _REAL,
            "p_adjusted": _REAL,
            "n": _WHOLE,
            "note": _TEXT,
        },
        identity=("model", "layer", "measure", "parameters", "attack", "strength", "iterate", "method", "controls"),
    ),
    "checks": Schema(
        row="one check of one network's evaluation",
        columns={
            "model": _TEXT,
            "check": _TEXT,
            "passed": _TRUTH,
            "value": _REAL,
            "expected": _TEXT,
            "note": _TEXT,
        },
        identity=("model", "check"),
    ),
    "skipped_images": Schema(
        row="an image that could not be read, and was skipped",
        columns={"image": _TEXT, "class_name": _TEXT, "reason": _TEXT},
        identity=("image",),
    ),
}


_declared: dict[str, str] = {}


def declare(name: str, schema: Schema, *, by: str) -> None:
    """Add a table, which the module `by` fills.

    Raises:
        ManifoldscopeError: a table of this name is there already, and is not the module's own.
    """
    if name in TABLES and _declared.get(name) != by:
        raise ManifoldscopeError(f"the table {name!r} is there already; give another name")
    TABLES[name], _declared[name] = schema, by


def conform(name: str, rows: pl.DataFrame | Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """The rows as table `name`: columns in their order and types, sorted by identity; an omitted column is null.

    Raises ManifoldscopeError for a table or a column that the schema does not know.
    """
    if name not in TABLES:
        raise ManifoldscopeError(unknown("table", name, TABLES))
    schema = TABLES[name]
    if isinstance(rows, pl.DataFrame):
        frame = rows
    else:
        strangers = {column for row in rows for column in row} - set(schema.columns)
        if strangers:
            raise ManifoldscopeError(f"table {name}: {unknown('column', sorted(strangers)[0], schema.columns)}")
        frame = pl.DataFrame(
            {column: [row.get(column) for row in rows] for column in schema.columns}, schema=dict(schema.columns)
        )
    strangers = set(frame.columns) - set(schema.columns)
    if strangers:
        raise ManifoldscopeError(f"table {name}: {unknown('column', sorted(strangers)[0], schema.columns)}")
    return frame.select(
        (pl.col(column) if column in frame.columns else pl.lit(None)).cast(dtype).alias(column)
        for column, dtype in schema.columns.items()
    ).sort(schema.identity)


def parameters_text(parameters: Mapping[str, Any]) -> str:
    """The canonical short text of what defines a measure, attack or corruption: `key=value` in order, None omitted."""
    return " ".join(f"{key}={_text(value)}" for key, value in parameters.items() if value is not None)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)
