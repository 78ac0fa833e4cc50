"""Specification curves drawn: cells above, their choices below, gates that close a panel, and bounded sizes."""

from __future__ import annotations

import io
import itertools

import numpy as np
import polars as pl
import pytest
from matplotlib.image import imread

from conftest import concluded_tables, drawn, n_titles, study_tables
from manifoldscope.report import Chart
from manifoldscope.report.figures.specifications import _BRIEF
from manifoldscope.report.findings.association import GATES
from manifoldscope.tables import conform

CONTROLS = {"": "pearson", "margin": "two_draws", "clean_accuracy": "two_draws"}


@pytest.fixture(scope="module")
def whole() -> dict[str, pl.DataFrame]:
    tables = study_tables()
    return tables | concluded_tables(tables)


def many(
    n_layers: int, n_strengths: int, *, gate: str = "", models: tuple[str, ...] = ("net",)
) -> dict[str, pl.DataFrame]:
    """That many layers and strengths, two iterates and two outcomes."""
    random = np.random.default_rng(0)
    rows = [
        {
            "model": model, "method": method, "controls": control, "layer": f"block{layer}", "measure": "pca_dimension",
            "parameters": "fraction=0.95", "attack": "pgd", "strength": 0.01 * strength, "iterate": iterate,
            "outcome": outcome, "coefficient": (r := float(random.uniform(-0.8, 0.4))), "low": max(-1.0, r - 0.3),
            "high": r + 0.3, "p_adjusted": 0.01 if r < -0.5 else 0.4, "gate": gate if control == "margin" else "",
        }
        for model, (control, method), layer, strength, iterate, outcome in itertools.product(
            models, CONTROLS.items(), range(n_layers), range(1, n_strengths + 1), ("last", "any"),
            ("robust_accuracy", "log_odds"),
        )
    ]  # fmt: skip
    medians = [
        {"model": model, "method": method, "controls": control, "n_cells": 1, "median": -0.2, "p_median": 0.04}
        for model, (control, method) in itertools.product(models, CONTROLS.items())
    ]
    return {"associations": conform("associations", rows), "specifications": conform("specifications", medians)}


def ink(chart: Chart) -> int:
    """Pixels that are not white."""
    return int((imread(io.BytesIO(chart.png(dpi=50)))[..., :3] < 0.99).any(axis=2).sum())


def texts(chart: Chart) -> str:
    return " | ".join(text.get_text() for axes in chart.axes for text in axes.texts)


def test_a_network_has_a_panel_for_each_control_with_its_choices_below(whole: dict[str, pl.DataFrame]) -> None:
    first, second = drawn("specifications", whole)
    assert [first.name, second.name] == ["specifications--standard", "specifications--adversarial"]
    assert (first.more, second.more) == (False, True)
    assert first.caption.endswith("Not drawn, as their clean accuracy is at chance level: random.")
    assert (
        n_titles(first.chart) == first.table.height == 3 * 16
    )  # at strength 0 the outcome is the clean accuracy, and no specification
    shown = texts(first.chart)
    for heading in ("nothing held fixed", "given the margin", "given clean accuracy"):
        assert heading in shown
    assert shown.count(", p = 0.2; ") == 3
    raster = first.chart.axes[3]
    labels = [label.get_text() for label in raster.get_yticklabels()]
    assert labels[:4] == [
        "PCA dimension (95% of variance)",
        "Participation ratio",
        "layer flatten",
        "layer penultimate",
    ]
    assert labels[4:8] == [f"PGD, ε = {strength}" for strength in ("0.05", "0.1", "0.2", "0.3")]
    assert labels[8:] == ["outcome robust accuracy", "outcome log-odds"]
    assert "The same in all: last iterate." in first.caption
    assert ink(first.chart) > 10_000


def test_a_tick_stands_below_each_cell_that_has_the_choice() -> None:
    (figure,) = drawn("specifications", many(2, 1))
    raster = figure.chart.axes[3]
    assert [label.get_text() for label in raster.get_yticklabels()][:2] == ["layer block0", "layer block1"]
    ranks = figure.table.filter(controls="", layer="block0")["rank"].to_list()
    across = np.asarray(raster.lines[0].get_xdata(), dtype=float)
    assert sorted(set(across[np.isfinite(across)])) == ranks


def test_a_gate_closes_a_panel_and_the_caption_says_why() -> None:
    (figure,) = drawn("specifications", many(2, 2, gate="few_classes unreliable_control"))
    shown = texts(figure.chart)
    assert "no answer: few classes, unreliable control" in shown
    assert shown.count("median") == 2
    assert "fewer than 20 classes and a control whose reliability" in figure.caption
    assert "the panel says nothing" in figure.caption


def test_images_that_are_shared_leave_a_panel_empty() -> None:
    tables = many(2, 2, gate="same_images")
    rows = tables["associations"]
    without = pl.when(pl.col("controls") == "margin").then(None).otherwise("coefficient")
    (figure,) = drawn("specifications", tables | {"associations": rows.with_columns(coefficient=without)})
    assert "no answer: shared images | no coefficient" in texts(figure.chart)
    assert n_titles(figure.chart) == 2 * 16


def test_every_reason_for_no_answer_has_its_words() -> None:
    assert set(_BRIEF) == set(GATES)


def test_two_thousand_cells_are_a_band_of_bounded_size() -> None:
    (figure,) = drawn("specifications", many(50, 10))
    assert figure.table.height == 3 * 2000
    svg = figure.chart.svg()
    assert len(svg) < 500_000
    assert svg.count("<title>") == 0
    assert "41 others" in svg
    assert "pooled into 150 groups" in figure.caption
    assert figure.chart.get_figheight() < 9
    assert ink(figure.chart) > 10_000


def test_of_many_networks_the_first_are_drawn_and_the_caption_says_so() -> None:
    figures = drawn("specifications", many(2, 1, models=tuple(f"net{place}" for place in range(11))))
    assert len(figures) == 8
    assert "Of 11 networks the first 8 are drawn." in figures[0].caption


def test_too_few_cells_and_a_median_that_was_not_tested_are_not_drawn() -> None:
    tables = many(2, 1)
    assert drawn("specifications", tables | {"associations": tables["associations"].head(3)}) == []
    assert drawn("specifications", tables | {"specifications": tables["specifications"].clear()}) == []
