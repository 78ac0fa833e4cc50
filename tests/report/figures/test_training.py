"""The loss of every network that was trained, and accuracy under attack of those that were judged."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from conftest import drawn, n_titles


def test_losses_are_drawn_for_all_and_accuracies_at_the_epochs_that_were_judged(
    sampled: dict[str, pl.DataFrame],
) -> None:
    (figure,) = drawn("training", sampled)
    table = figure.table
    loss, attacked = figure.chart.flat
    standard, adversarial, guessing = loss.lines
    assert len(standard.get_xdata()) == len(adversarial.get_xdata()) == 40
    assert np.asarray(guessing.get_ydata()).tolist() == pytest.approx([math.log(10)] * 2)
    fgsm, pgd = attacked.lines
    for line, attack in ((fgsm, "fgsm"), (pgd, "pgd")):
        judged = table.filter(pl.col("n_images") > 0)
        assert np.asarray(line.get_xdata()).tolist() == judged["epoch"].to_list() == list(range(5, 41, 5))
        assert np.asarray(line.get_ydata()).tolist() == (judged[f"n_robust_{attack}"] / judged["n_images"]).to_list()
    assert n_titles(figure.chart) == 2 * 8


def test_a_history_that_was_never_judged_has_its_loss_alone(sampled: dict[str, pl.DataFrame]) -> None:
    old = sampled["training"].with_columns(
        n_images=None, n_robust_pgd=None, n_robust_fgsm=None, epsilon=None, learning_rate=None
    )
    (figure,) = drawn("training", {"training": old.cast(sampled["training"].schema)})
    assert len(figure.chart.flat) == 1
    assert "Right" not in figure.caption


def test_the_participation_ratio_of_the_gradients_has_a_panel_where_it_is_known(
    sampled: dict[str, pl.DataFrame],
) -> None:
    ratio = pl.when(pl.col("n_images") > 0).then(1 / pl.col("epoch"))
    table = sampled["training"].with_columns(gradient_participation_ratio=ratio)
    (figure,) = drawn("training", {"training": table})
    _, _, concentrated = figure.chart.flat
    (line,) = concentrated.lines
    assert np.asarray(line.get_ydata()).tolist() == pytest.approx([1 / epoch for epoch in range(5, 41, 5)])
    assert n_titles(figure.chart) == 3 * 8
    assert "early sign" in figure.caption
