"""The attack and twice its steps are drawn, with the attack's own number of steps marked."""

from __future__ import annotations

import numpy as np
import polars as pl

from conftest import MODELS, drawn, n_titles
from manifoldscope.report.figures.convergence import convergence_table


def test_each_network_has_the_attack_twice_its_steps_and_a_mark_where_the_attack_ends(
    sampled: dict[str, pl.DataFrame],
) -> None:
    (figure,) = drawn("convergence", sampled)
    table, chart = figure.table, figure.chart
    assert len(chart.flat) == 3
    for axes, model in zip(chart.flat, MODELS, strict=True):
        twice, once, mark = axes.lines
        for line, doubled, n_steps in ((once, False, 20), (twice, True, 40)):
            x, y = (np.asarray(part) for part in line.get_data())
            panel = table.filter(model=model, doubled=doubled)
            assert x.tolist() == list(range(n_steps + 1))
            assert y.tolist() == (panel["n_robust"] / panel["n_images"]).to_list()
        assert set(np.asarray(mark.get_xdata())) == {20}
        assert len(axes.collections) == 4  # a band and an end of each
    assert n_titles(chart) == 3 * 2


def test_an_attack_of_which_only_its_own_steps_are_known_is_not_drawn_as_doubled(
    sampled: dict[str, pl.DataFrame],
) -> None:
    table = convergence_table(sampled["convergence"].filter(n_steps=20))
    assert not table["doubled"].any()
