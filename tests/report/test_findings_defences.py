"""What is said of defences and of the number of classes has real minus signs."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from manifoldscope.report.findings import defences, number_of_classes
from manifoldscope.tables import conform

RECORDED = Path(__file__).parents[2] / "docs" / "studies" / "defences" / "tables" / "defences.csv"


def test_a_loss_below_zero_has_a_real_minus() -> None:
    told = defences.found({"defences": conform("defences", pl.read_csv(RECORDED, infer_schema_length=None))})
    assert re.search(r"\(loss −\d\.\d points, 95%: −\d\.\d to \d\.\d\)", told[0].text)


def test_a_network_that_stands_alone_is_not_the_most_robust() -> None:
    table = conform("defences", pl.read_csv(RECORDED, infer_schema_length=None)).head(1)
    assert defences.found({"defences": table})[0].title.startswith("No network of ")


def test_a_change_below_zero_has_a_real_minus() -> None:
    models = [{"model": str(n), "n_trained_classes": n, "recipe": "small:cnn standard"} for n in (3, 6)]
    geometry = [
        {"model": row["model"], "layer": "flatten", "class_index": label, "class_name": str(label), "value": value}
        | {"measure": "pca_dimension", "parameters": "fraction=0.95"}
        for row, value in zip(models, (8.0, 5.0), strict=True)
        for label in range(3)
    ]
    told = number_of_classes.found({"models": conform("models", models), "geometry": conform("geometry", geometry)})
    assert "the mean changes by −3 (95%: −3 to −3, over classes)" in told[0].text
