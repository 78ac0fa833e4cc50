"""Classes drawn by rank: all of few, both ends of many, and no network at chance level."""

from __future__ import annotations

import polars as pl
import pytest

from conftest import drawn, n_titles, study_tables
from manifoldscope.report.figures.classes import accuracy_by_rank


def test_classes_are_sorted_beside_the_band_of_noise(tables: dict[str, pl.DataFrame]) -> None:
    (figure,) = drawn("classes", tables)
    assert set(figure.table["model"]) == {"standard", "adversarial"}
    assert "Not drawn, as their clean accuracy is at chance level: random." in figure.caption
    one = figure.table.filter(model="standard")
    assert one["rank"].to_list() == list(range(1, 11))
    assert one["robust_accuracy"].is_sorted()
    assert (one["noise_low"] <= one["noise_high"]).all()
    assert one["noise_low"][0] < one["mean"][0] < one["noise_high"][9]
    assert n_titles(figure.chart) == 2 * 10
    labels = [text.get_text() for text in figure.chart.flat[0].get_xticklabels()]
    assert labels == one["class_name"].to_list()


def test_of_a_thousand_classes_both_ends_are_drawn_and_the_caption_says_so() -> None:
    (figure,) = drawn("classes", study_tables(1000, tuple(f"class number {label}" for label in range(1000))))
    assert n_titles(figure.chart) == 3 * 40
    assert figure.table.height == 3 * 1000
    assert "the 20 of the lowest and the 20 of the highest accuracy are drawn" in figure.caption
    assert "960 classes between" in figure.chart.svg()


@pytest.mark.parametrize("n_classes", [1, 2, 40, 41])
def test_any_number_of_classes_is_drawn(n_classes: int) -> None:
    known = study_tables(n_classes)
    (figure,) = drawn("classes", {"robustness": known["robustness"]})  # a network of one class is at chance level
    assert n_titles(figure.chart) == figure.table["model"].n_unique() * min(n_classes, 40)


def test_networks_at_chance_level_alone_are_not_drawn(tables: dict[str, pl.DataFrame]) -> None:
    alone = {name: tables[name].filter(model="random") for name in ("models", "robustness")}
    assert drawn("classes", alone) == []
    assert accuracy_by_rank(tables["robustness"].clear()).is_empty()
