"""Profiles through the depth drawn: layers in order, by name or by depth, ceilings, pools and associations."""

from __future__ import annotations

import io
import re

import polars as pl
import pytest
from matplotlib.image import imread
from tests.evidence.deep_tables import deep_tables

from conftest import arguments, drawn, n_titles
from manifoldscope.report import Figure, render
from manifoldscope.report.figures.depth_profile import NAMED_LAYERS

HUNCH = (5, 9, 14, 20, 15, 8, 3)
CORRELATIONS = (-0.1, -0.3, -0.6, -0.7, -0.2, 0.1, 0.2)


def hunch(at: int, label: int) -> float:
    return HUNCH[at % 7] + 0.3 * label


def figure_of(**settings: object) -> Figure:
    (figure,) = drawn("depth_profile", deep_tables(hunch, **settings))  # type: ignore[arg-type]  # settings of its own
    return figure


def test_one_network_has_its_layers_by_name_in_the_order_of_execution() -> None:
    figure = figure_of(correlations=CORRELATIONS)
    profile, association = figure.chart.flat
    names = [f"layer{at}" for at in range(7)]
    assert [text.get_text() for text in profile.get_xticklabels()] == names
    (line,) = profile.lines
    assert line.get_xdata().tolist() == list(range(7))
    assert line.get_ydata() == pytest.approx([value + 1.35 for value in HUNCH])
    assert association.lines[0].get_ydata().tolist() == list(CORRELATIONS)
    assert figure.title == "PCA dimension (95% of variance) through the depth of net"
    assert figure.table["layer"].to_list() == names
    assert figure.table["correlation"].to_list() == list(CORRELATIONS)


def test_every_mark_is_explained_and_evidence_and_samples_are_told_by_filling() -> None:
    figure = figure_of(correlations=CORRELATIONS)
    assert n_titles(figure.chart) == 14
    texts = [text for texts in figure.chart.tooltips.values() for text in texts]
    assert (
        "net, layer3 (64 features, flatten, depth 0.50): PCA dimension (95% of variance) 21.4 (95%: 20.7 to 22)"
        in texts
    )
    assert "net, layer3: r = −0.70 (−0.90 to −0.50), adjusted p = 0.01, 10 classes" in texts
    n_marks = [len(texts) for texts in figure.chart.tooltips.values()]
    assert n_marks == [6, 1, 2, 5]  # filled and hollow: the first layer describes the sample; two layers have evidence


def test_several_networks_are_drawn_by_relative_depth() -> None:
    figure = figure_of(models=("a", "b"))
    (axes,) = figure.chart.flat
    assert len(axes.lines) == 2
    assert axes.lines[0].get_xdata() == pytest.approx([at / 6 for at in range(7)])
    assert axes.get_xlabel() == "Relative depth"
    assert "relative depth: the place of a layer" in figure.caption
    assert len(figure.chart.legends) == 1


def test_layers_that_are_pooled_otherwise_are_crosses_and_no_part_of_the_line() -> None:
    figure = figure_of(pools=("mean", "mean", "flatten", "flatten", "flatten", "", ""))
    (axes,) = figure.chart.flat
    assert axes.lines[0].get_xdata().tolist() == [2, 3, 4, 5, 6]
    assert "Crosses are layers that were pooled otherwise (mean)" in figure.caption
    assert figure.table["compared"].to_list() == [False] * 2 + [True] * 5
    assert "Crosses" not in figure_of().caption


def test_a_near_ceiling_is_drawn_and_a_far_one_is_noted() -> None:
    near, far, none = (figure_of(ceiling=ceiling).chart.flat[0] for ceiling in (25.0, 600.0, None))
    texts = [[text.get_text() for text in axes.texts] for axes in (near, far, none)]
    assert [any("ceiling" in text for text in each) for each in texts] == [False, True, False]
    drawn_at = {
        segment[0][1] for each in near.collections if hasattr(each, "get_segments") for segment in each.get_segments()
    }
    assert 25.0 in drawn_at


def test_a_panel_per_measure_and_further_measures_wait() -> None:
    measures = ("pca_dimension", "two_nn", "participation_ratio", "effective_rank", "mle", "gride")
    first, more = drawn("depth_profile", deep_tables(hunch, measures=measures, correlations=CORRELATIONS))
    assert (len(first.chart.panels), len(more.chart.panels)) == (4, 2)
    assert (first.more, more.more) == (False, True)
    assert first.name != more.name
    assert first.title == "Four measures through the depth of net"
    assert {*first.table["measure"], *more.table["measure"]} == set(measures)


def test_of_many_layers_some_names_are_written_and_the_ends_of_long_ones() -> None:
    name = "features.denseblock3.denselayer{}.conv2 [mean]".format
    figure = figure_of(n_layers=150, names=name)
    (axes,) = figure.chart.flat
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert len(labels) == NAMED_LAYERS
    assert all(len(label) <= 22 and label.startswith("…") for label in labels)
    assert labels[0].endswith("layer0.conv2 [mean]")
    assert len(figure.chart.svg()) < 500_000
    assert (imread(io.BytesIO(figure.chart.png(dpi=50)))[..., :3] < 0.99).any(axis=2).sum() > 2_000


def test_many_networks_are_drawn_in_a_bounded_number() -> None:
    figure = figure_of(models=tuple(f"net{at}" for at in range(12)), correlations=CORRELATIONS)
    assert figure.table["model"].n_unique() == 8
    assert "Of 12 networks, 8 are drawn." in figure.caption


def test_networks_at_chance_level_have_a_profile_beside_no_association() -> None:
    tables = deep_tables(hunch, correlations=CORRELATIONS)
    chance = tables | {"models": tables["models"].with_columns(clean_accuracy=pl.lit(0.1))}
    (figure,) = drawn("depth_profile", chance)
    assert len(figure.chart.flat) == 1


def test_two_layers_are_not_drawn_and_the_page_says_why() -> None:
    tables = deep_tables(hunch, n_layers=2)
    assert drawn("depth_profile", tables) == []
    page = render(**arguments(tables=tables, pictures=[]))["report.html"].decode()
    assert "no network has 3 or more measured layers that were pooled alike" in page
    assert not re.search("depth_profile", page)


def test_the_caption_stands_alone() -> None:
    caption = figure_of(correlations=CORRELATIONS).caption
    assert caption.endswith(".")
    for said in ("middle 80% of the classes", "95% intervals", "Not shown", "PGD at ε = 0.1"):
        assert said in caption
