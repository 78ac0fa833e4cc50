"""Tables of networks of which many layers were measured, with values that are set by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from manifoldscope.tables import TABLES, conform

N_CLASSES = 10


def deep_tables(
    values: Callable[[int, int], float],
    *,
    n_layers: int = 7,
    n_classes: int = N_CLASSES,
    models: Sequence[str] = ("net",),
    measures: Sequence[str] = ("pca_dimension",),
    pools: Sequence[str] = (),
    ceiling: float | None = 60.0,
    correlations: Sequence[float] = (),
    names: Callable[[int], str] = "layer{}".format,
) -> dict[str, pl.DataFrame]:
    """Layers in order, and a value for each of them and each class.

    Args:
        values: of a layer and a class, by their places.
        pools: of each layer; flattened if omitted.
        correlations: with robust accuracy, of each layer; if omitted, there are none.
        names: of a layer by its place. One that is "layer3 [mean]" was asked for with a pool.
    """
    geometry: list[dict[str, Any]] = []
    layers: list[dict[str, Any]] = []
    associations: list[dict[str, Any]] = []
    robustness: list[dict[str, Any]] = []
    for model in models:
        for at in reversed(range(n_layers)):
            pool = pools[at] if pools else "flatten"
            told = {"model": model, "layer": names(at)}
            layers.append(
                {"model": model, "layer": names(at).split(" [")[0], "place": at, "depth": at / (n_layers - 1)}
            )
            for measure in measures:
                parameters = "fraction=0.95" if measure == "pca_dimension" else ""
                here = told | {"measure": measure, "parameters": parameters}
                geometry += [
                    here
                    | {"class_index": label, "class_name": f"class {label}", "value": float(values(at, label))}
                    | {"pool": pool, "n_features": 64, "n_points": 61, "ceiling": ceiling, "describes_sample": at == 0}
                    for label in range(n_classes)
                ]
                if correlations:
                    r = correlations[at]
                    associations.append(
                        here
                        | {"attack": "pgd", "strength": 0.1, "iterate": "last", "outcome": "robust_accuracy"}
                        | {"method": "pearson", "controls": "", "coefficient": r, "low": r - 0.2, "high": r + 0.2}
                        | {"p_value": 0.01, "p_adjusted": 0.01 if abs(r) > 0.5 else 0.4, "n": n_classes}
                    )
        robustness += [
            {"model": model, "attack": "pgd", "parameters": "", "strength": 0.1, "iterate": iterate}
            | {"class_index": label, "class_name": f"class {label}", "n_images": 100, "n_robust": 40 + label}
            | {"n_clean_correct": 95, "clean_accuracy": 0.95, "robust_accuracy": 0.4 + 0.01 * label}
            for iterate in ("last", "any")
            for label in range(n_classes)
        ]
    told_of = [{"model": model, "clean_accuracy": 0.95, "n_classes": n_classes} for model in models]
    rows = {"geometry": geometry, "layers": layers, "associations": associations, "models": told_of}
    rows["robustness"] = robustness
    return {name: conform(name, rows.get(name, [])) for name in TABLES}
