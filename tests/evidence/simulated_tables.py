"""Tables of a study whose classes are simulated, as `benchmarks/simulated.py` has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from manifoldscope.tables import TABLES, conform
from simulated import World


def simulated_tables(world: World, *, models: tuple[str, ...] = ("net",), same_images: bool = False) -> Any:
    """Each network has classes of its own; the measure "noise" beside the PCA dimension says nothing."""
    rng = np.random.default_rng(1)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for model in models:
        found = world.draw(rng)
        values = {"pca_dimension": found.measure, "noise": rng.normal(size=world.n_classes)}
        spread = np.sqrt(found.measure.var() * 3 / 7)  # a reliability of 0.7
        pairs = found.measure + spread * rng.normal(size=(2, world.n_classes))
        rows["models"].append({"model": model, "provenance": "{}"})
        draws = {"robustness": found.second} if same_images else {"geometry": found.first, "robustness": found.second}
        for label in range(world.n_classes):
            told = {"model": model, "class_index": label, "class_name": str(label)}
            here = told | {"layer": "deep", "parameters": ""}
            rows["geometry"] += [
                here | {"measure": name, "value": each[label], "n_points": world.n_images}
                for name, each in values.items()
            ]
            rows["draw_pairs"].append(
                here
                | {"measure": "pca_dimension", "n_points": world.n_images}
                | {"geometry": pairs[0, label], "robustness": pairs[1, label]}
            )
            rows["margins"] += [
                told
                | {"draw": draw, "n_images": int(one.n_images[label]), "n_correct": int(one.n_correct[label])}
                | {"margin": one.margin[label], "margin_sd": one.margin_sd[label]}
                for draw, one in draws.items()
            ]
            counts = {"n_images": world.n_images, "n_clean_correct": int(found.second.n_correct[label])}
            rows["robustness"].append(
                told
                | {"attack": "pgd", "parameters": "", "strength": 0.1, "iterate": "last", **counts}
                | {"n_robust": int(found.n_robust[label]), "robust_accuracy": found.n_robust[label] / world.n_images}
            )
    return {name: conform(name, rows[name]) for name in TABLES}


def without(tables: dict[str, pl.DataFrame], name: str) -> dict[str, pl.DataFrame]:
    """The same, with an empty table."""
    return tables | {name: tables[name].clear()}
