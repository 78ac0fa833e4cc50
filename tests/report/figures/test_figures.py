"""Every class is drawn, and no shape of a study breaks a figure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from conftest import beside, beside_falls, foreign_tables, moved, n_titles, sampled_tables, study_tables
from manifoldscope.report import (
    Chart,
    CorrelationPicture,
    ExamplePicture,
    SpectrumPicture,
    accuracy_by_step,
    accuracy_by_strength,
    attacked_examples,
    class_pairs,
    convergence_table,
    detection_by_score,
    dimension_against_accuracy,
    dimension_against_accuracy_by_strength,
    dimension_beside_accuracy,
    dimension_histograms,
    displacement_by_class,
    feature_correlations,
    network_comparison,
    reliability_by_measure,
    shifted_accuracy,
    shifted_beside_clean,
    telling_strengths,
    training_history,
    training_table,
    transfer_matrix,
    transfer_table,
    value_by_points,
    variance_spectra,
)
from manifoldscope.report.figures import MOST_TOOLTIPS
from manifoldscope.tables import conform


@pytest.mark.parametrize("n_classes", [1, 100, 1000])
def test_any_number_of_classes_is_drawn(n_classes: int) -> None:
    tables = study_tables(n_classes, tuple(f"class number {label}" for label in range(n_classes)))
    geometry, robustness, associations = (tables[name] for name in ("geometry", "robustness", "associations"))
    table = beside(tables)
    assert n_titles(dimension_against_accuracy(telling_strengths(table), associations)) == 3 * n_classes
    crowded = 15 * n_classes > MOST_TOOLTIPS
    chart = dimension_against_accuracy_by_strength(table, associations)
    assert n_titles(chart) == (0 if crowded else 15 * n_classes)
    for other in (
        dimension_histograms(geometry),
        accuracy_by_strength(robustness),
        network_comparison(geometry, robustness),
        chart,
    ):
        assert len(other.svg()) < 2_500_000


def test_one_network_one_layer_and_many_networks_are_drawn(tables: dict[str, pl.DataFrame]) -> None:
    geometry, robustness = tables["geometry"], tables["robustness"]
    alone = pl.col("model") == "natural"
    few = geometry.filter(alone & (pl.col("layer") == "flatten"))
    many = [f"a network with a long name {place}" for place in range(9)]

    def repeat(table: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([table.filter(alone).with_columns(pl.lit(name).alias("model")) for name in many])

    for shape, attacked in ((few, robustness.filter(alone)), (repeat(geometry), repeat(robustness))):
        joined = dimension_beside_accuracy(shape, attacked, layer="flatten")
        for chart in (
            dimension_against_accuracy(telling_strengths(joined)),
            dimension_against_accuracy_by_strength(joined),
            dimension_histograms(shape),
            accuracy_by_strength(attacked),
            network_comparison(shape, attacked),
        ):
            assert chart.svg()


@pytest.mark.parametrize(
    "draw",
    [
        lambda geometry, robustness: dimension_against_accuracy(
            telling_strengths(dimension_beside_accuracy(geometry, robustness, layer="flatten"))
        ),
        lambda geometry, robustness: dimension_against_accuracy_by_strength(
            dimension_beside_accuracy(geometry, robustness, layer="flatten")
        ),
        lambda geometry, robustness: dimension_histograms(geometry),
        lambda geometry, robustness: accuracy_by_strength(robustness),
        lambda geometry, robustness: network_comparison(geometry, robustness),
    ],
)
def test_no_rows_and_no_numbers_give_a_figure_that_says_so(
    draw: Callable[[pl.DataFrame, pl.DataFrame], Chart], tables: dict[str, pl.DataFrame]
) -> None:
    empty = draw(conform("geometry", []), conform("robustness", []))
    nothing = pl.lit(float("nan"))
    blank = draw(
        tables["geometry"].with_columns(nothing.alias("value")),
        tables["robustness"].with_columns(nothing.alias("accuracy")),
    )
    for chart in (empty, blank):
        assert any("no " in text.get_text() for text in chart.flat[0].texts)


@pytest.mark.parametrize("n_classes", [2, 31, 100])
def test_pairs_displacements_and_curves_of_any_number_of_classes_are_drawn(n_classes: int) -> None:
    tables = sampled_tables(n_classes, tuple(f"class number {label}" for label in range(n_classes)))
    for chart in (
        class_pairs(beside_falls(tables), measure="centre_correlation"),
        displacement_by_class(*moved(tables)),
        value_by_points(tables["curves"], measure="participation_ratio"),
    ):
        assert len(chart.svg()) < 2_500_000
    named = class_pairs(beside_falls(tables), measure="centre_correlation").flat[0].get_xticklabels()
    assert len(named) == (n_classes if n_classes <= 30 else 0)


@pytest.mark.parametrize("n_classes", [1, 31, 1000])
def test_foreign_datasets_of_any_number_of_classes_are_drawn(n_classes: int) -> None:
    tables = foreign_tables(n_classes)
    for chart in (
        shifted_accuracy(shifted_beside_clean(tables["shifted"], dataset="photographs")),
        detection_by_score(tables["detection"]),
    ):
        assert len(chart.svg()) < 2_500_000


def test_figures_of_samples_without_rows_say_so() -> None:
    nothing = {name: conform(name, []) for name in ("pairs", "verdicts", "robustness", "geometry")}
    for chart in (
        class_pairs(beside_falls(nothing), measure="centre_correlation"),
        displacement_by_class(*moved(nothing)),
        value_by_points(conform("curves", []), measure="pca_dimension"),
        reliability_by_measure(conform("reliability", [])),
        transfer_matrix(transfer_table(conform("transfer", []))),
        accuracy_by_step(convergence_table(conform("convergence", []))),
        training_history(training_table(conform("training", []))),
        shifted_accuracy(shifted_beside_clean(conform("shifted", []), dataset="photographs")),
        detection_by_score(conform("detection", [])),
    ):
        assert any("no " in text.get_text() for text in chart.flat[0].texts)


def test_pictures_that_are_missing_or_degenerate_are_drawn() -> None:
    flat = SpectrumPicture("a", "l", 0, "zero", np.zeros(5), 6, 8)
    lone = SpectrumPicture("a", "l", 1, "one", np.array([2.0]), 2, 8)
    holed = SpectrumPicture("b", "l", 1, "holes", np.array([2.0, np.nan, 0.0]), 4, 8)
    for spectra in ([], [flat], [lone], [flat, lone, holed]):
        assert variance_spectra(spectra).svg()
    constant = CorrelationPicture("a", "l", 0, "c", np.full((3, 3), np.nan), float("nan"), 0.1)
    for correlations in ([], [constant], [constant] * 30):
        assert feature_correlations(correlations).svg()
    still = ExamplePicture("a", "noise", 3, "c", "i", np.ones((4, 4, 1)), np.ones((4, 4, 1)), 0, 0, 0)
    colour = ExamplePicture("a", "pgd", 8 / 255, "c", "i", np.zeros((4, 4, 3)), np.full((4, 4, 3), 0.03), 0, 0, 1)
    for examples in ([], [still], [still, colour], [colour] * 30):
        assert attacked_examples(examples).svg()
