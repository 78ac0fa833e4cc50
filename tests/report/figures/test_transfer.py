"""A row is what an image was made on, a column what judges it, and the diagonal is outlined."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.patches import Rectangle

from conftest import MODELS, chart_of, drawn, n_titles


def test_a_cell_stands_in_the_row_of_its_maker_and_the_column_of_its_judge(sampled: dict[str, pl.DataFrame]) -> None:
    (figure,) = drawn("transfer", sampled)
    table, chart = figure.table, figure.chart
    assert 0.0 not in table["strength"].to_list()  # nothing is made there
    panels = [axes for axes in chart.flat if axes.images]
    assert len(panels) == 4
    for axes, strength in zip(panels, (0.05, 0.1, 0.2, 0.3), strict=True):
        matrix = np.asarray(axes.images[0].get_array())
        panel = table.filter(strength=strength)
        for row in panel.iter_rows(named=True):
            place = MODELS.index(row["source_model"]), MODELS.index(row["target_model"])
            assert matrix[place] == row["share"] == row["n_misclassified"] / row["n_clean_correct"]
        outlined = [patch.get_xy() for patch in axes.patches if isinstance(patch, Rectangle)]
        assert [round(x + 0.46) for x, _ in outlined] == [round(y + 0.46) for _, y in outlined] == [0, 1, 2]
        assert (axes.get_xlabel(), panels[0].get_ylabel()) == ("target model", "source model")
    assert n_titles(chart) == 4 * 9


def test_two_networks_that_share_no_image_have_a_cell_without_a_share(sampled: dict[str, pl.DataFrame]) -> None:
    apart = (pl.col("source_model") == "random") & (pl.col("target_model") == "standard")
    none = {name: pl.when(apart).then(0).otherwise(name).alias(name) for name in ("n_clean_correct", "n_misclassified")}
    (figure,) = drawn("transfer", {"transfer": sampled["transfer"].with_columns(**none)})
    assert figure.table.filter(apart)["share"].null_count() == 4
    assert "–" in [text.get_text() for text in figure.chart.flat[0].texts]


def test_many_networks_are_drawn_as_far_as_there_are_colours(sampled: dict[str, pl.DataFrame]) -> None:
    one = sampled["transfer"].filter(source_model="standard", target_model="standard", strength=0.1)
    names = [f"a network with a long name {place}" for place in range(10)]
    many = [one.with_columns(source_model=pl.lit(a), target_model=pl.lit(b)) for a in names for b in names]
    chart = chart_of("transfer", {"transfer": pl.concat(many)})
    assert np.asarray(chart.flat[0].images[0].get_array()).shape == (8, 8)
    assert chart.svg()
