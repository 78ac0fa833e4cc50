"""Measures through the depth of networks, and beside them how each layer goes with robust accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from manifoldscope.evidence.depth import (
    FEWEST_LAYERS,
    AssociationAtLayer,
    AssociationProfile,
    AtLayer,
    Profile,
    association_profiles,
    profiles,
)
from manifoldscope.report import words
from manifoldscope.report.chart import FAINT, INK, Chart, plain
from manifoldscope.report.contents import Contents, Measure
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import (
    MOST_MEASURES,
    MOST_MODELS,
    dash_of,
    evenly,
    heading,
    in_order,
    leave_empty,
    look_of,
)
from manifoldscope.report.rows import Reals, number_range

NAMED_LAYERS = 20
"""Up to that many layers are named on an axis; of more, that many of them."""

LONGEST_NAME = 22
"""Letters of a layer's name on an axis; of a longer one, the last."""

SECTION = Section(
    "depth",
    "How do the manifolds change through the depth of a network?",
    place=55,
    terms={
        "Relative depth": "The place of a layer in the order in which the layers of a network finish, from 0, the "
        "first, to 1, the last."
    },
)

Association = Mapping[tuple[str, str, str], AssociationProfile]


@FIGURES.register(
    "depth_profile",
    section=SECTION,
    missing=f"no network has {FEWEST_LAYERS} or more measured layers that were pooled alike",
)
def depth_profile(contents: Contents) -> Iterator[Figure]:
    """Each measure layer by layer in the order of execution, beside its association with robust accuracy.

    It is not drawn with fewer than three layers of a network whose positions became points in the same way.
    """
    every = profiles(contents.tables)
    if not every:
        return
    associated = {(each.model, each.measure, each.parameters): each for each in association_profiles(contents.tables)}
    models = in_order(list({each.model for each in every}), contents.models)[:MOST_MODELS]
    shown = [each for each in every if each.model in models]
    present = {(each.measure, each.parameters) for each in shown}
    measures = [measure for measure in contents.measures if measure in present]
    for at in range(0, len(measures), MOST_MEASURES):
        some = measures[at : at + MOST_MEASURES]
        mine = [each for each in shown if (each.measure, each.parameters) in some]
        table = profile_table(mine, associated)
        yield Figure(
            name="depth_profile" if at == 0 else words.slug("depth_profile", *some[0]),
            title=_title(some, models),
            caption=_caption(mine, associated, n_networks=len({each.model for each in every})),
            chart=profile_chart(mine, associated, measures=some, models=models, looks=contents.models),
            table=table,
            more=at > 0,
        )


def _title(measures: Sequence[Measure], models: Sequence[str]) -> str:
    what = words.measure(*measures[0]) if len(measures) == 1 else words.count(len(measures), "measure").capitalize()
    return f"{what} through the depth of {models[0] if len(models) == 1 else words.count(len(models), 'network')}"


def _caption(shown: Sequence[Profile], associated: Association, *, n_networks: int) -> str:
    models = list(dict.fromkeys(each.model for each in shown))
    across = (
        "the layers that were measured, in the order in which they finish"
        if len(models) == 1
        else "relative depth: the place of a layer in the order in which the layers of its network finish, 0 the first "
        "and 1 the last"
    )
    n_classes = pl.Series([layer.n_classes for each in shown for layer in each.layers])
    text = (
        f"Across: {across}. A mark is the mean over {number_range(n_classes)} classes on clean images, and the band "
        "holds the middle 80% of the classes. Dashed in grey is the ceiling, the largest value that that many points "
        "and features can show; a hollow mark is a layer where most values describe the sample or the width of the "
        "layer, and not the manifold."
    )
    if any(each.pooled_otherwise for each in shown):
        text += (
            " Lines join layers whose positions became points in the same way. Crosses are layers that were pooled "
            f"otherwise ({_pools(shown)}), and are not to be compared with them."
        )
    found = [each for key, each in associated.items() if key in {_key(profile) for profile in shown}]
    if found:
        attacks = list(dict.fromkeys(f"{words.attack(e.attack)} at {_at(e)}" for e in found))
        text += (
            f" Right: {'Pearson' if found[0].method == 'pearson' else 'Spearman'}'s correlation of the measure with "
            f"robust accuracy across the classes, layer by layer, under {words.listing(attacks, 3)}, where the classes "
            "of a network differ most; bars are 95% intervals of one layer each, and filled marks those whose p is "
            "below 0.05 once it is adjusted for all cells of the network. How hard classes are when clean is not held "
            "fixed."
        )
    if n_networks > len(models):
        text += f" Of {n_networks} networks, {len(models)} are drawn."
    return f"{text} Not shown: single classes, which are in the table `geometry`."


def _at(found: AssociationProfile) -> str:
    return words.at_strength(found.attack, found.strength)


def _pools(shown: Sequence[Profile]) -> str:
    return words.listing(sorted({layer.pool for each in shown for layer in each.pooled_otherwise}))


def _key(profile: Profile) -> tuple[str, str, str]:
    return profile.model, profile.measure, profile.parameters


def profile_table(shown: Sequence[Profile], associated: Association) -> pl.DataFrame:
    """A row per network, measure and layer: its place, its values over classes, and its association."""
    rows = []
    for profile in shown:
        along = associated.get(_key(profile))
        coefficients = {layer.layer: layer.coefficient for layer in along.layers} if along else {}
        for at, layer in enumerate(profile.layers):
            r = coefficients.get(layer.layer)
            rows.append(
                {
                    **{name: getattr(profile, name) for name in ("model", "measure", "parameters")},
                    **{name: getattr(layer, name) for name in ("layer", "place", "depth", "pool", "n_features")},
                    "compared": at in profile.compared,
                    "n_classes": layer.n_classes,
                    "mean": layer.mean.value,
                    "low": layer.mean.low,
                    "high": layer.mean.high,
                    "standard_deviation": layer.standard_deviation,
                    "tenth": layer.tenth,
                    "ninetieth": layer.ninetieth,
                    "ceiling": layer.ceiling,
                    "of_sample": layer.of_sample,
                    "correlation": r.value if r else None,
                    "correlation_low": r.low if r else None,
                    "correlation_high": r.high if r else None,
                    "correlation_p_adjusted": r.p_adjusted if r else None,
                }
            )
    return pl.DataFrame(rows, infer_schema_length=None)


def profile_chart(
    shown: Sequence[Profile],
    associated: Association,
    *,
    measures: Sequence[Measure],
    models: Sequence[str],
    looks: Sequence[str] = (),
) -> Chart:
    """A row per measure: the profiles of the networks and, where there are associations, these beside them."""
    places = _places(shown) if len(models) == 1 else None
    columns = 2 if any(_key(each) in associated for each in shown) else 1
    names = max((len(_short(name)) for name in places), default=0) if places else 0
    chart = Chart(
        rows=len(measures),
        columns=columns,
        width=4.4 if columns == 2 else 6.2,
        height=2.1,
        left=0.7,
        top=0.45,
        bottom=0.12 + 0.062 * names if places else 0.58 + 0.2 * -(-len(models) // 4),
        down=0.62,
        across=0.72,
    )
    for row, measure in enumerate(measures):
        mine = [each for each in shown if (each.measure, each.parameters) == measure]
        label = words.measure(*measure)
        _panel(chart, chart.panels[row][0], mine, places, looks or models, label)
        if columns == 2:
            _associations(chart, chart.panels[row][1], mine, associated, places, looks or models)
        for axes in chart.panels[row]:
            _across(axes, places, named=row == len(measures) - 1 or chart.apart)
    if len(models) > 1:
        marks = [
            Line2D([], [], label=plain(name, 24), linestyle=dash_of(name, looks or models), **look_of(name, looks))
            for name in models
        ]
        chart.legend(handles=marks, loc="lower center", ncols=min(len(marks), 4), borderaxespad=0.2, handlelength=2.6)
    return chart


def _places(shown: Sequence[Profile]) -> list[str]:
    """The layers of one network in the order of execution, whichever measure they have."""
    place = {layer.layer: (layer.place, layer.layer) for each in shown for layer in each.layers}
    return sorted(place, key=lambda layer: place[layer])


def _x(layers: Sequence[AtLayer] | Sequence[AssociationAtLayer], places: Sequence[str] | None) -> Reals:
    """Where layers are drawn: by their order, or by their relative depth."""
    found = [layer.depth if places is None else places.index(layer.layer) for layer in layers]
    return np.array(found, dtype=np.float64)


def _panel(
    chart: Chart, axes: Axes, shown: Sequence[Profile], places: Sequence[str] | None, looks: Sequence[str], label: str
) -> None:
    for profile in shown:
        look = look_of(profile.model, looks)
        colour, dash = look["color"], dash_of(profile.model, looks)
        joined = [profile.layers[at] for at in profile.compared]
        x, mean = _x(joined, places), np.array([layer.mean.value for layer in joined])
        low, high = (np.array([getattr(layer, name) for layer in joined]) for name in ("tenth", "ninetieth"))
        axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
        axes.plot(x, mean, color=colour, linestyle=dash, zorder=3)
        size = 24 if len(joined) <= 2 * NAMED_LAYERS else 9
        filled = [layer.of_sample < 0.5 for layer in joined]
        _marks(chart, axes, x, mean, filled, [_told(profile, layer, label) for layer in joined], look, size)
        if others := profile.pooled_otherwise:
            crosses = axes.scatter(
                _x(others, places), [each.mean.value for each in others], s=size, color=colour, marker="x", linewidth=1
            )
            chart.explain(crosses, [_told(profile, layer, label) for layer in others])
    _ceilings(axes, shown, places)
    axes.set_ylabel("Mean over classes")
    heading(axes, label if len(shown) > 1 or not shown else f"{label}, {shown[0].model}")


def _marks(
    chart: Chart,
    axes: Axes,
    x: Reals,
    y: Reals,
    filled: Sequence[bool],
    texts: Sequence[str],
    look: Mapping[str, Any],
    size: float,
) -> None:
    """A mark per layer with its tooltip, filled or hollow."""
    for want, colour in ((True, look["color"]), (False, "white")):
        at = [place for place, is_filled in enumerate(filled) if is_filled is want]
        if at:
            edge: dict[str, Any] = {"facecolor": colour, "edgecolor": look["color"], "marker": look["marker"]}
            points = axes.scatter(x[at], y[at], s=size, linewidth=1, zorder=4, **edge)
            chart.explain(points, [texts[place] for place in at])


def _told(profile: Profile, layer: AtLayer, label: str) -> str:
    pooled = f", {layer.pool}" if layer.pool else ""
    features = "" if layer.n_features is None else f"{layer.n_features:,} features{pooled}, "
    told = f"{profile.model}, {layer.layer} ({features}depth {layer.depth:.2f}): {label} "
    told += words.number(layer.mean.value)
    if layer.mean.low is None:
        return told
    return f"{told} (95%: {words.number(layer.mean.low)} to {words.number(layer.mean.high)})"


def _ceilings(axes: Axes, shown: Sequence[Profile], places: Sequence[str] | None) -> None:
    """The ceiling of each layer as far as it lies near the values, or a note where it is."""
    known = [
        (x, layer.ceiling)
        for profile in shown
        for x, layer in zip(_x(profile.layers, places), profile.layers, strict=True)
        if layer.ceiling is not None
    ]
    top = max((layer.ninetieth for profile in shown for layer in profile.layers), default=1.0)
    bottom = min((layer.tenth for profile in shown for layer in profile.layers), default=0.0)
    limit = top + 0.6 * (top - min(0.0, bottom))
    near = sorted({(x, value) for x, value in known if value <= limit})
    if near:
        width = 0.4 if places is not None else 0.015
        for x, value in near:
            axes.hlines(value, x - width, x + width, color=FAINT, linewidth=1.1, linestyle=(0, (2.5, 1.5)))
    elif known:
        note = f"ceiling from {words.number(min(value for _, value in known))} ↑"
        axes.text(0.99, 0.98, note, transform=axes.transAxes, ha="right", va="top", fontsize=7.5, color=FAINT)


def _associations(
    chart: Chart,
    axes: Axes,
    shown: Sequence[Profile],
    associated: Association,
    places: Sequence[str] | None,
    looks: Sequence[str],
) -> None:
    found = [associated[_key(each)] for each in shown if _key(each) in associated]
    if not any(layer.coefficient for along in found for layer in along.layers):
        leave_empty(axes, "no association across the classes")
        return
    for along in found:
        layers = [layer for layer in along.layers if layer.coefficient and (not places or layer.layer in places)]
        look = look_of(along.model, looks)
        x, r = _x(layers, places), np.array([layer.coefficient.value for layer in layers if layer.coefficient])
        axes.plot(x, r, color=look["color"], linestyle=dash_of(along.model, looks), linewidth=0.9, alpha=0.7)
        for at, layer in zip(x, layers, strict=True):
            if layer.coefficient and layer.coefficient.low is not None and layer.coefficient.high is not None:
                axes.vlines(at, layer.coefficient.low, layer.coefficient.high, color=look["color"], alpha=0.6, lw=1)
        filled = [layer.coefficient is not None and layer.coefficient.seen for layer in layers]
        _marks(chart, axes, x, r, filled, [_associated(along, layer) for layer in layers], look, 22)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_ylim(-1.05, 1.05)
    axes.set_ylabel("r with robust accuracy")
    named = list(dict.fromkeys(f"{words.attack(along.attack)}, {_at(along)}" for along in found))
    heading(axes, "Association across classes", named[0] if len(named) == 1 else "")


def _associated(along: AssociationProfile, layer: AssociationAtLayer) -> str:
    r = layer.coefficient
    assert r is not None
    interval = f" ({words.coefficient(r.low)} to {words.coefficient(r.high)})" if r.low is not None else ""
    p = "" if r.p_adjusted is None else f", adjusted p = {r.p_adjusted:.2g}"
    return f"{along.model}, {layer.layer}: r = {words.coefficient(r.value)}{interval}{p}, {layer.n} classes"


def _across(axes: Axes, places: Sequence[str] | None, *, named: bool) -> None:
    """The x axis: relative depth, or the names of the layers, of which at most so many are written."""
    if not axes.axison:
        return
    if places is None:
        axes.set_xlim(-0.03, 1.03)
        axes.set_xlabel("Relative depth" if named else "")
        return
    ticks = [int(place) for place in evenly(list(range(len(places))), NAMED_LAYERS)]
    texts = [_short(places[at]) for at in ticks] if named else []
    axes.set_xlim(-0.6, len(places) - 0.4)
    axes.set_xticks(ticks, texts or [""] * len(ticks), rotation=90, fontsize=7)
    axes.grid(visible=len(places) <= NAMED_LAYERS, axis="x")


def _short(name: str) -> str:
    """The end of a long name, which tells layers of one block apart."""
    line = plain(name)
    return line if len(line) <= LONGEST_NAME else "…" + line[1 - LONGEST_NAME :]
