"""The figure of the number of classes: a panel per layer, a line per recipe, and none where all are trained alike."""

from __future__ import annotations

import polars as pl

from manifoldscope.report import draw
from manifoldscope.tables import conform


def tables(*numbers: int) -> dict[str, pl.DataFrame]:
    models = [
        {"model": f"{recipe}/{n}", "n_trained_classes": n, "recipe": recipe}
        for n in numbers
        for recipe in ("small:cnn standard", "small:cnn n_fgsm")
    ]
    geometry = [
        {"model": row["model"], "layer": layer, "class_index": label, "class_name": str(label), "value": 3.0 + label}
        | {"measure": "pca_dimension", "parameters": "fraction=0.95"}
        for row in models
        for layer in ("flatten", "penultimate")
        for label in range(int(row["n_trained_classes"]))
    ]
    return {"models": conform("models", models), "geometry": conform("geometry", geometry)}


def test_a_panel_per_layer_and_a_line_per_recipe() -> None:
    (figure,) = draw("number_of_classes", tables(3, 5, 10))
    assert len(figure.chart.flat) == 2
    assert all(len(panel.containers) == 2 for panel in figure.chart.flat)
    assert len(figure.table) == 2 * 2 * 3
    assert "3 classes that all networks" in figure.caption
    assert figure.chart.svg().startswith("<?xml")


def test_networks_trained_on_as_many_classes_have_none() -> None:
    assert draw("number_of_classes", tables(5)) == []
