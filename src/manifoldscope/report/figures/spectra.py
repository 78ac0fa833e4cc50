"""The spectra of variance of the classes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from manifoldscope.errors import ManifoldscopeError
from manifoldscope.pictures import Picture
from manifoldscope.report import words
from manifoldscope.report.chart import Chart, plain
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import (
    MOST_LAYERS,
    MOST_MODELS,
    dash_of,
    heading,
    in_order,
    leave_empty,
    look_of,
)
from manifoldscope.report.rows import Reals

SECTION = Section("spectra", "How is the variance of a class shared out?", place=140)


@FIGURES.register("spectra", section=SECTION, missing="no spectra were saved")
def spectra(contents: Contents) -> Iterator[Figure]:
    """The share of variance along each principal axis of the classes.

    A picture "spectrum" has the names model, layer, class_name, n_points and n_features, and the array eigenvalues,
    (k,): those along the principal axes, largest first, in squared units of the features.
    """
    pictures = contents.pictures_of("spectrum")
    if pictures:
        yield Figure(
            name="spectra",
            title="Variance along the principal axes",
            caption=(
                "The share of a class's variance along each of its principal axes, largest first; both axes are "
                "logarithmic. The line is the median over classes, the band the middle 80% of them. The marker "
                "is where 95% of the variance is reached, as the median over classes. A straight line is a power "
                "law; the sudden drop at the end comes from the number of points, not from the class."
            ),
            chart=variance_spectra(pictures, models=contents.models, layers=contents.layers),
            table=spectra_table(pictures),
        )


def spectra_table(spectra: Sequence[Picture]) -> pl.DataFrame:
    """A row per class spectrum: its size and how its variance is shared out."""
    rows = []
    for picture in spectra:
        eigenvalues = picture.arrays["eigenvalues"]
        share = shares(eigenvalues)
        cumulative = np.cumsum(share)
        rows.append(
            {
                **{name: picture.names[name] for name in ("model", "layer", "class_name", "n_points", "n_features")},
                "total_variance": float(eigenvalues.sum()),
                "first_component": float(share[0]) if share.size else None,
                "first_ten_components": float(cumulative[min(9, share.size - 1)]) if share.size else None,
                "components_for_95_percent": reaches(cumulative, 0.95) if share.size else None,
            }
        )
    return pl.DataFrame(rows)


def shares(eigenvalues: Reals) -> Reals:
    """The finite eigenvalues over their sum; none where that is 0."""
    if eigenvalues.ndim != 1:
        raise ManifoldscopeError(f"a spectrum has eigenvalues of shape {eigenvalues.shape}; expected one dimension")
    finite = np.clip(eigenvalues[np.isfinite(eigenvalues)], 0, None)
    return finite / finite.sum() if finite.sum() > 0 else np.empty(0)


def reaches(cumulative: Reals, fraction: float) -> int:
    """How many components it takes to reach this share."""
    return min(int(np.searchsorted(cumulative, fraction - 1e-12)) + 1, cumulative.size)


def variance_spectra(spectra: Sequence[Picture], *, models: Sequence[str] = (), layers: Sequence[str] = ()) -> Chart:
    """The share of variance along each principal axis, on two logarithmic axes: a panel per layer, a line per network.

    The line is the median over classes and the band holds the middle 80% of them. The marker is at the component
    where the median class has reached 95% of its variance.
    """
    usable = [(picture.names, shares(picture.arrays["eigenvalues"])) for picture in spectra]
    usable = [(named, share) for named, share in usable if share.size]
    names = in_order([named["model"] for named, _ in usable], models)[:MOST_MODELS]
    shown = in_order([named["layer"] for named, _ in usable], layers)[:MOST_LAYERS]
    columns = min(2, max(1, len(shown)))
    chart = Chart(
        rows=max(1, math.ceil(len(shown) / 2)),
        columns=columns,
        width=4.6 if columns == 2 else 5.6,
        height=3.1,
        left=0.85,
        top=0.42,
        down=0.95,
        across=0.95,
    )
    for axes, layer in itertools.zip_longest(chart.flat, shown):
        if layer is None:
            leave_empty(axes, "" if shown else "no spectra were saved")
            continue
        floor = 1.0
        for name in names:
            group = [share for named, share in usable if named["model"] == name and named["layer"] == layer]
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
        here = [named for named, _ in usable if named["layer"] == layer]
        points = sorted({named["n_points"] for named in here})
        size = f"{points[0]} to {points[-1]}" if len(points) > 1 else str(points[0])
        features = sorted({named["n_features"] for named in here})
        heading(axes, f"layer {layer}", f"{size} points per class, {' / '.join(map(str, features[:3]))} features")
    return chart
