"""A figure depends on its tables alone."""

from __future__ import annotations

import matplotlib as mpl
import polars as pl

from conftest import chart_of


def test_figures_leave_the_users_matplotlib_settings_alone_and_do_not_depend_on_them(
    tables: dict[str, pl.DataFrame],
) -> None:
    before = dict(mpl.rcParams)
    usual = chart_of("histograms", tables)
    svg, png = usual.svg(), usual.png(50)
    assert dict(mpl.rcParams) == before
    with mpl.rc_context({"font.size": 30, "axes.grid": False, "svg.fonttype": "path", "lines.linewidth": 9}):
        changed = chart_of("histograms", tables)
        assert changed.svg() == svg
        assert changed.png(50) == png
