"""A panel per network, a line a class that falls in steps, and a mark where half of the class has fallen."""

from __future__ import annotations

import math

import pytest

from conftest import drawn, n_titles
from manifoldscope.report.figures.minimal import robust_accuracy_steps
from manifoldscope.tables import conform

SMALLEST = {"a": [0.0, 0.1, 0.2, math.inf], "b": [0.3, math.inf, math.inf, math.inf]}


def searched():
    outcomes = [
        {
            "model": "m",
            "attack": "s",
            "strength": 0.5,
            "image": f"{name}/{i}",
            "label": label,
            "minimal_epsilon": each,
        }
        for label, (name, values) in enumerate(SMALLEST.items())
        for i, each in enumerate(values)
    ]
    rows = [
        {"n_clean_correct": 3, "n_found": 2, "lower_quartile": 0.0, "median": 0.1, "upper_quartile": 0.2},
        {"n_clean_correct": 4, "n_found": 1, "lower_quartile": 0.3, "median": math.inf, "upper_quartile": math.inf},
    ]
    shared = {"model": "m", "attack": "s", "norm": "linf", "largest": 0.5, "n_images": 4}
    smallest = [{**shared, "class_index": i, "class_name": "ab"[i], **row} for i, row in enumerate(rows)]
    return conform("minimal", smallest), conform("outcomes", outcomes)


def test_a_line_falls_from_clean_accuracy_to_what_was_not_found():
    smallest, outcomes = searched()
    steps = robust_accuracy_steps(outcomes, attack="s").filter(class_index=0)
    corners = [(0.0, 1.0), (0.0, 0.75), (0.1, 0.75), (0.1, 0.5), (0.2, 0.5), (0.2, 0.25), (0.5, 0.25)]
    assert [row[1] for row in steps.select("epsilon", "robust_accuracy").rows()[-4:]] == [0.5, 0.5, 0.25, 0.25]
    assert set(corners) <= {(0.0, 1.0), *steps.select("epsilon", "robust_accuracy").rows()}
    (figure,) = drawn("minimal", {"minimal": smallest, "outcomes": outcomes})
    assert figure.table["share_not_found"].to_list() == pytest.approx([0.25, 0.75])
    assert n_titles(figure.chart) == 1  # one median was not reached
