"""Displacements are drawn beside their controls."""

from __future__ import annotations

import numpy as np
import polars as pl

from conftest import MODELS, STRENGTHS, moved
from manifoldscope.report import displacement_by_class


def test_displacements_stand_beside_their_controls_and_the_table_keeps_every_strength(
    sampled: dict[str, pl.DataFrame],
) -> None:
    chosen, every = moved(sampled)
    assert every.height == 3 * 10 * (len(STRENGTHS) - 1)
    assert chosen.height == 3 * 10
    assert chosen.group_by("model").agg(pl.col("strength").n_unique())["strength"].to_list() == [1, 1, 1]
    chart = displacement_by_class(chosen, every, models=MODELS)
    assert [len(row) for row in chart.panels] == [4, 4, 4]
    panel = chosen.filter(pl.col("model") == "random").sort("own", descending=True)
    for axes, part in zip(chart.panels[0], ("own", "toward", "outside"), strict=False):
        heights = [sorted(np.asarray(each.get_offsets())[:, 1]) for each in axes.collections if len(each.get_offsets())]
        for wanted in (part, f"{part}_held_out", f"{part}_random"):
            assert sorted(panel[wanted]) in heights
    labels = [text.get_text() for text in chart.legends[0].get_texts()]
    assert labels[-2:] == ["clean images, held out", "random direction"]
    one = chosen.filter(pl.col("model") == "natural")
    assert len(displacement_by_class(one, one).flat) == 3
