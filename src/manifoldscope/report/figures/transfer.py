"""Images made on one network and judged on another: a matrix for each strength of an attack."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from manifoldscope.report import words
from manifoldscope.report.behind import Reals
from manifoldscope.report.chart import INK, Chart, plain, styled
from manifoldscope.report.figures.panel import MOST_MODELS, MOST_STRENGTHS, evenly, heading, in_order, leave_empty

_CELL = 0.52  # inches
_DARK = 0.5  # a share from which the ground of a cell is too dark for dark letters


@styled
def transfer_matrix(table: pl.DataFrame, *, attack: str = "pgd", models: Sequence[str] = ()) -> Chart:
    """The share of images that fall, by the network they were made on (rows) and the one that judges (columns).

    A panel a strength, of one attack; `table` is `transfer_table(...)`. The diagonal is outlined.
    """
    names = in_order(list({*table["made_on"], *table["judged_on"]}), models)[:MOST_MODELS]
    strengths = evenly(table["strength"].unique().to_list(), MOST_STRENGTHS)
    columns = max(1, min(len(strengths), 3 if len(names) <= 4 and len(strengths) != 4 else 2))
    side = max(1.9, _CELL * len(names))
    longest = max((len(plain(name, 18)) for name in names), default=1)
    margin = 0.45 + 0.065 * longest
    chart = Chart(
        rows=max(1, math.ceil(len(strengths) / columns)),
        columns=columns,
        width=side,
        height=side,
        left=margin + 0.2,
        right=0.95,
        top=0.4,
        bottom=margin,
        across=0.35,
        down=margin + 0.4,
    )
    if not names:
        leave_empty(chart.flat[0], "no images were judged on other networks")
        return chart
    image = None
    for place, axes in enumerate(chart.flat):
        if place >= len(strengths):
            axes.set_axis_off()
            continue
        panel = table.filter(pl.col("strength") == strengths[place])
        shares = _matrix(panel, names)
        axes.set_facecolor("#d5d8db")  # a pair of networks without an image that counts
        image = axes.imshow(shares, cmap="cividis_r", vmin=0, vmax=1, interpolation="none")
        _cells(chart, axes, panel, names)
        axes.grid(visible=False)
        axes.spines[["top", "right"]].set_visible(True)
        axes.tick_params(length=0)
        texts = [plain(name, 18) for name in names]
        axes.set_xticks(range(len(names)), texts, rotation=90 if longest * len(names) > 16 else 0)
        axes.set_yticks(range(len(names)), texts if place % columns == 0 else [""] * len(names))
        axes.set_xlabel("judged on")
        if place % columns == 0:
            axes.set_ylabel("made on")
        heading(axes, words.at_strength(attack, strengths[place]))
    if image is not None:
        _, inch = chart.flat[0], 1 / chart.get_figwidth()
        at = chart.flat[columns - 1].get_position()
        bar = chart.colorbar(image, cax=chart.add_axes((at.x1 + 0.12 * inch, at.y0, 0.12 * inch, at.height)))
        bar.outline.set_linewidth(0.5)
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g}"))
        bar.set_label("Images that fall (%)")
    return chart


def _matrix(panel: pl.DataFrame, names: Sequence[str]) -> Reals:
    """(makers, judges): shares, NaN where there is none."""
    shares = np.full((len(names), len(names)), np.nan)
    for row in panel.iter_rows(named=True):
        if row["share"] is not None and row["made_on"] in names and row["judged_on"] in names:
            shares[names.index(row["made_on"]), names.index(row["judged_on"])] = row["share"]
    return shares


def _cells(chart: Chart, axes: Axes, panel: pl.DataFrame, names: Sequence[str]) -> None:
    """Write each share with its interval, and outline the diagonal."""
    places, texts = [], []
    for row in panel.iter_rows(named=True):
        if row["made_on"] not in names or row["judged_on"] not in names:
            continue
        up, across = names.index(row["made_on"]), names.index(row["judged_on"])
        places.append((across, up))
        fall = f"{row['n_fell']} of {row['n_clean_correct']} fall" + ", the attack itself" * (up == across)
        texts.append(f"made on {row['made_on']}, judged on {row['judged_on']}: {fall}")
        if row["share"] is None:
            axes.text(across, up, "–", ha="center", va="center", fontsize=8.5)
            continue
        colour = "white" if row["share"] > _DARK else INK
        bold = "bold" if up == across else "normal"
        axes.text(
            across, up - 0.12, f"{row['share'] * 100:.0f}", ha="center", va="center", color=colour, fontweight=bold
        )
        interval = f"{row['share_low'] * 100:.0f}–{row['share_high'] * 100:.0f}"
        axes.text(across, up + 0.24, interval, ha="center", va="center", color=colour, fontsize=6.5)
    across_all, up_all = ([place[axis] for place in places] for axis in (0, 1))
    chart.explain(axes.scatter(across_all, up_all, s=400, marker="s", alpha=0), texts)
    for place in range(len(names)):
        axes.add_patch(
            Rectangle((place - 0.46, place - 0.46), 0.92, 0.92, fill=False, edgecolor="#D55E00", linewidth=1.4)
        )
