"""The spectra of variance of the classes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from manifoldscope.report import words
from manifoldscope.report.behind import reaches, shares
from manifoldscope.report.chart import Chart, plain, styled
from manifoldscope.report.figures.panel import (
    MOST_LAYERS,
    MOST_MODELS,
    dash_of,
    heading,
    in_order,
    leave_empty,
    look_of,
)
from manifoldscope.report.pictures import SpectrumPicture


@styled
def variance_spectra(
    spectra: Sequence[SpectrumPicture], *, models: Sequence[str] = (), layers: Sequence[str] = ()
) -> Chart:
    """The share of variance along each principal axis, on two logarithmic axes: a panel a layer, a line a network.

    The line is the median over classes and the band holds the middle 80% of them. The marker stands at the component
    where the median class has reached 95% of its variance.
    """
    usable = [picture for picture in spectra if shares(picture.variances).size]
    names = in_order([picture.model for picture in usable], models)[:MOST_MODELS]
    shown = in_order([picture.layer for picture in usable], layers)[:MOST_LAYERS]
    columns = min(2, max(1, len(shown)))
    chart = Chart(
        rows=max(1, math.ceil(len(shown) / 2)),
        columns=columns,
        width=4.6 if columns == 2 else 5.6,
        height=3.1,
        top=0.42,
        down=0.95,
        across=0.75,
    )
    for axes, layer in itertools.zip_longest(chart.flat, shown):
        if layer is None:
            leave_empty(axes, "" if shown else "no spectra were kept")
            continue
        floor = 1.0
        for name in names:
            group = [shares(p.variances) for p in usable if p.model == name and p.layer == layer]
            if not group:
                continue
            length = int(np.median([len(share) for share in group]))
            stack = np.full((len(group), length), np.nan)
            for line, share in zip(stack, group, strict=True):
                part = share[:length]
                line[: part.size] = np.where(part > 1e-12, part, np.nan)
            kept = np.flatnonzero(np.isfinite(stack).any(axis=0))
            kept = kept[np.unique(np.geomspace(1, kept.size, min(kept.size, 120)).astype(int)) - 1]
            low, middle, high = np.nanquantile(stack[:, kept], (0.1, 0.5, 0.9), axis=0)
            look, rank = look_of(name, models or names), kept + 1
            axes.fill_between(rank, low, high, color=look["color"], alpha=0.16, linewidth=0)
            axes.plot(rank, middle, color=look["color"], linestyle=dash_of(name, models or names))
            reach = int(np.median([reaches(np.cumsum(share), 0.95) for share in group]))
            height = float(np.interp(reach, rank, middle))
            axes.plot([reach], [height], markersize=7, markeredgecolor="white", linestyle="none", zorder=4, **look)
            axes.plot(
                [],
                [],
                linestyle=dash_of(name, models or names),
                markersize=6,
                markeredgecolor="white",
                label=f"{plain(name, 26)}: 95% at {reach}",
                **look,
            )
            floor = min(floor, float(np.nanmin(middle[middle > 1e-9], initial=1.0)))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(floor / 2, 1e-8))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if axis is axes.xaxis else (1,), numticks=8))
            axis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.number(value)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g}%"))
        axes.set_xlabel("Principal component")
        axes.set_ylabel("Share of the class's variance")
        axes.legend(loc="lower left", handlelength=2.6)
        points = sorted({picture.n_points for picture in usable if picture.layer == layer})
        size = f"{points[0]} to {points[-1]}" if len(points) > 1 else str(points[0])
        features = sorted({picture.n_features for picture in usable if picture.layer == layer})
        heading(
            axes, f"layer {plain(layer, 30)}", f"{size} points a class, {' / '.join(map(str, features[:3]))} features"
        )
    return chart
