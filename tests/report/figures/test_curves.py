"""A line per class, that ends where its points end, and open marks where it is extrapolated."""

from __future__ import annotations

import numpy as np
import polars as pl

from conftest import N_POINTS, chart_of


def test_curves_have_a_line_a_class_and_open_marks_where_they_are_extrapolated(
    sampled: dict[str, pl.DataFrame],
) -> None:
    chart = chart_of("curves", sampled)
    assert [len(row) for row in chart.panels] == [2, 2, 2]
    axes = chart.panels[0][0]
    measured, _ = (each for each in axes.collections if hasattr(each, "get_segments"))
    assert len(measured.get_segments()) == 10
    assert all(max(line[:, 0]) == N_POINTS for line in measured.get_segments())
    (open_marks,) = (
        each
        for each in axes.collections
        if len(each.get_offsets()) == 5 and each.get_facecolor()[0].tolist() == [1.0] * 4
    )
    assert set(np.asarray(open_marks.get_offsets())[:, 0]) == {4 * N_POINTS}
    assert any("ceiling 79 ↑" in text.get_text() for text in axes.texts)
    labels = [text.get_text() for text in chart.legends[0].get_texts()]
    assert labels == ["a class", "all classes of the layer", "ceiling", "extrapolated"]


def test_curves_are_drawn_in_the_same_order_each_time(sampled: dict[str, pl.DataFrame]) -> None:
    first, *others = (chart_of("curves", sampled).svg() for _ in range(4))
    assert others == [first] * 3
