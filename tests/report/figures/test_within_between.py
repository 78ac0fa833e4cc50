"""Within and between networks drawn: every class and mean, a reversal named, and nothing of one network."""

from __future__ import annotations

import io

import polars as pl
import pytest
from matplotlib.image import imread

from conftest import MODELS, concluded_tables, drawn, n_titles, study_tables
from manifoldscope.evidence.within_between import within_between_table


def planted(n_networks: int = 5, n_classes: int = 12) -> dict[str, pl.DataFrame]:
    """Within each network classes with more dimensions are less robust; networks with more are more robust."""
    tables = study_tables(n_classes)
    names = [f"net{place}" for place in range(n_networks)]
    label, strength = pl.col("class_index"), pl.col("strength")

    def copies(table: pl.DataFrame) -> pl.DataFrame:
        one = table.filter(model="standard")
        return pl.concat([one.with_columns(model=pl.lit(name), place=pl.lit(at)) for at, name in enumerate(names)])

    value = (10.0 + 3 * pl.col("place") + label % 7).cast(pl.Float64)
    share = (0.5 + 0.4 / n_networks * pl.col("place") - 0.015 * (label % 7) - 0.005 * (label % 5)) * (1 - strength)
    geometry = copies(tables["geometry"]).with_columns(value=value).drop("place")
    robustness = copies(tables["robustness"]).with_columns(robust_accuracy=share, n_robust=(40 * share).cast(pl.Int64))
    models = copies(tables["models"]).drop("place")
    found = {"geometry": geometry, "robustness": robustness.drop("place"), "models": models}
    return found | {"within_between": within_between_table(**found, permutations=99)}


def test_a_reversal_is_in_the_title_and_above_its_panel() -> None:
    (figure,) = drawn("within_between", planted())
    assert figure.title.startswith("Simpson's reversal: PCA dimension (95% of variance) against robust accuracy")
    shown = [text.get_text() for text in figure.chart.flat[0].texts]
    assert "layer flatten · Simpson's reversal" in shown
    assert any(text.startswith("within r = −0.") and ", between r = 1.00" in text for text in shown)
    assert any("(adjusted p = 0.02)" in text for text in shown)
    assert "must not be carried over to classes" in figure.caption


def test_every_class_its_line_and_the_means_of_networks_are_drawn() -> None:
    (figure,) = drawn("within_between", planted())
    assert n_titles(figure.chart) == figure.table.height == 2 * 5 * 12
    axes = figure.chart.flat[0]
    assert len(axes.lines) == 5 + 1
    slopes = [line.get_ydata()[1] - line.get_ydata()[0] for line in axes.lines]
    assert all(slope < 0 for slope in slopes[:5])
    assert slopes[5] > 0
    assert len(axes.collections) == 5 + 5
    assert (imread(io.BytesIO(figure.chart.png(dpi=50)))[..., :3] < 0.99).any(axis=2).sum() > 5_000


def test_networks_at_chance_level_are_left_out_and_two_networks_have_no_r_between() -> None:
    tables = study_tables()
    (figure,) = drawn("within_between", tables | concluded_tables(tables))
    assert not figure.title.startswith("Simpson")
    assert set(figure.table["model"]) == set(MODELS) - {"random"}
    assert figure.caption.endswith("Not drawn, as their clean accuracy is at chance level: random.")
    assert any("two networks, no r between" in text.get_text() for text in figure.chart.flat[0].texts)


@pytest.mark.parametrize(("n_networks", "n_classes"), [(30, 12), (4, 1000)])
def test_many_networks_and_classes_are_drawn_in_a_bounded_size(n_networks: int, n_classes: int) -> None:
    (figure,) = drawn("within_between", planted(n_networks, n_classes))
    assert len(figure.chart.svg()) < 1_500_000


def test_one_network_is_not_drawn() -> None:
    assert drawn("within_between", planted(1)) == []
