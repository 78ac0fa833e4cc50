"""Accuracy and measures by epoch: means over classes, or the whole layer where there are none."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest

from conftest import MODELS, drawn, n_titles
from manifoldscope.tables import WHOLE, conform

EPOCHS = (0, 2, 4)


@pytest.fixture
def probed() -> dict[str, pl.DataFrame]:
    """Two networks of three classes; class c has value epoch + c, and a whole layer epoch."""
    classes = [(0, "a"), (1, "b"), (2, "c")]
    probes = [
        {
            "model": model, "epoch": epoch, "layer": layer, "class_index": label, "class_name": name,
            "measure": measure, "parameters": "", "value": float(epoch + max(label, 0)), "n_points": 20,
        }
        for model, epoch, layer in itertools.product(MODELS[1:], EPOCHS, ("flatten", "penultimate"))
        for measure in ("participation_ratio", "capacity", "simulated_capacity")
        for label, name in (
            [*(classes if measure != "simulated_capacity" else []), (WHOLE, "")]
            if measure != "participation_ratio"
            else classes
        )
    ]  # fmt: skip
    accuracy = [
        {
            "model": model, "epoch": epoch, "class_index": label, "class_name": name, "n_images": 40,
            "n_clean_correct": 8 * epoch, "n_robust": 4 * epoch + label, "attack": "pgd", "epsilon": 0.1,
        }
        for model, epoch, (label, name) in itertools.product(MODELS[1:], EPOCHS, classes)
    ]  # fmt: skip
    return {
        "training_probes": conform("training_probes", probes),
        "training_accuracy": conform("training_accuracy", accuracy),
    }


def test_accuracies_are_of_all_classes_and_measures_their_mean(probed: dict[str, pl.DataFrame]) -> None:
    figures = drawn("training_probes", probed)
    assert [(figure.name, figure.more) for figure in figures] == [
        ("training_probes--penultimate", False),
        ("training_probes--flatten", True),
    ]
    chart = figures[0].chart
    accuracy, *panels = chart.flat[:4]
    clean, robust, *_ = accuracy.lines
    assert np.asarray(clean.get_xdata()).tolist() == list(EPOCHS)
    assert np.asarray(clean.get_ydata()).tolist() == [8 * epoch / 40 for epoch in EPOCHS]
    assert np.asarray(robust.get_ydata()).tolist() == [(12 * epoch + 3) / 120 for epoch in EPOCHS]
    values = [np.asarray(panel.lines[0].get_ydata()).tolist() for panel in panels]
    assert sorted(values) == [[0, 2, 4], [1, 3, 5], [1, 3, 5]]
    assert n_titles(chart) == 2 * 3 * (2 + 3)
    assert chart.svg()
    row = figures[0].table.filter(model="standard", measure="capacity", epoch=4).to_dicts()
    assert row == [
        {
            "model": "standard", "measure": "capacity", "parameters": "", "epoch": 4, "mean": 5.0, "lowest": 4.0,
            "highest": 6.0, "n_classes": 3,
        }
    ]  # fmt: skip


def test_without_measures_or_attacks_clean_accuracy_is_shown_alone(probed: dict[str, pl.DataFrame]) -> None:
    clean = probed["training_accuracy"].with_columns(
        pl.lit(None, dtype=pl.Int64).alias("n_robust"), pl.lit(None, dtype=pl.Float64).alias("epsilon")
    )
    (figure,) = drawn("training_probes", {"training_accuracy": clean})
    assert len(figure.chart.flat) == 1
    assert "PGD" not in figure.caption
    assert figure.table["robust_accuracy"].null_count() == figure.table.height
    assert n_titles(figure.chart) == 2 * 3
    assert figure.chart.svg()


def test_nothing_is_drawn_of_no_probe() -> None:
    assert drawn("training_probes", {}) == []
