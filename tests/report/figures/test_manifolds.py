"""The figure of manifolds in the axes that they share."""

from __future__ import annotations

import pytest
from made_points import class_points

from conftest import drawn
from manifoldscope.pictures import Picture


def test_the_figure_shows_three_classes_of_the_last_layer_of_each_network():
    _, picture = class_points(n_features=5, d=5)
    deeper = Picture("points", {**picture.names, "layer": "b"}, picture.arrays)
    (figure,) = drawn("manifolds", {}, [picture, deeper])
    assert figure.table["layer"].unique().to_list() == ["b"]
    assert figure.table["class_name"].n_unique() == 3
    assert len(figure.chart.axes) == 3
    first = figure.table.row(0, named=True)
    labels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.chart.axes]
    for place in (1, 2, 3):
        share = f"{100 * first[f'share_{place}']:.2g}%"
        assert any(f"Axis {place} ({share}" in text for pair in labels for text in pair)
    assert "attacked" in figure.caption


def test_without_an_attack_it_shows_clean_points():
    _, picture = class_points(n_features=5, d=5)
    arrays = {name: a for name, a in picture.arrays.items() if not name.startswith("adversarial")}
    (figure,) = drawn("manifolds", {}, [Picture("points", {**picture.names, "attack": None, "strength": None}, arrays)])
    assert figure.table["adversarial_axis_1"].null_count() == figure.table.height
    assert "attacked" not in figure.caption


@pytest.mark.parametrize("counts", [[5], [3, 4]])
def test_one_class_or_two_are_enough(counts):
    _, picture = class_points(n_features=3, d=2, counts=counts)
    (figure,) = drawn("manifolds", {}, [picture])
    assert figure.table.height == sum(counts)


def test_there_is_none_without_points():
    assert drawn("manifolds", {}, []) == []
