"""The figure of defences: its costs can be read where they hardly differ."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import polars as pl

from manifoldscope.report import draw
from manifoldscope.report.settling import renderer_of
from manifoldscope.tables import conform

RECORDED = Path(__file__).parents[3] / "docs" / "studies" / "defences" / "tables" / "defences.csv"


def test_labels_of_a_cost_that_is_the_same_for_all_stand_apart() -> None:
    table = conform("defences", pl.read_csv(RECORDED, infer_schema_length=None))
    alike = table.with_columns(multiply_adds=pl.lit(174_000.0).cast(table.schema["multiply_adds"]))
    (figure,) = draw("defences", {"defences": alike})
    axes = figure.chart.flat[-1]
    renderer = renderer_of(figure.chart)
    figure.chart.draw(renderer)  # ticks are placed then
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    boxes = [tick.label1.get_window_extent(renderer) for tick in ticks]
    assert len(boxes) >= 2
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
