"""Every two classes: what is measured between them, and beside it how often the one is misclassified as the other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from manifoldscope.evidence import PairAssociation, at_chance, confusions, mantel, with_attack_name
from manifoldscope.report import words
from manifoldscope.report.chart import FAINT, INK, Chart, plain
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import (
    MOST_LAYERS,
    MOST_MEASURES,
    MOST_MODELS,
    MOST_TOOLTIPS,
    heading,
    in_order,
    leave_empty,
    look_of,
    name_points,
)
from manifoldscope.report.lettering import wide
from manifoldscope.report.rows import (
    Reals,
    clean_geometry,
    number_range,
    of_measure,
    reals,
    strengths_of_classes,
    with_chance,
)

SECTION = Section(
    "pairs",
    "Are classes that lie near each other the ones that are confused?",
    place=70,
    terms={
        "Mantel's test": "A test of whether two tables over the same pairs go together. Pairs that share a class are "
        "not independent, so whole classes are permuted, and with each all of its pairs."
    },
)

NAMED_IN_MATRIX = 30  # up to that many classes are named beside a matrix
MANY_PAIRS = 1_000  # beyond these most pairs have few misclassified images
MOST_NAMED_PAIRS = 6  # of those with the largest shares

_MANY_CLASSES = 200  # with more than these a permutation of all pairs takes hundredths of a second
_NEAR_IS_LARGE = ("centroid_cosine", "effective_alignment")
_SIGNED = ("centroid_cosine",)
_OPTIMAL_LEAVES = 200  # beyond that many classes the best order of the leaves takes too long


@FIGURES.register("pairs", section=SECTION, optional=True, missing="no measure compares pairs of classes")
def pairs(contents: Contents) -> Iterator[Figure]:
    """Each measure of pairs of classes in each layer, beside the misclassifications under the first attack."""
    every = contents.tables["pairs"]
    attack = contents.attacks[0] if contents.attacks else "pgd"
    captioned = False
    for measure, parameters in contents.measures_in(every)[:MOST_MEASURES]:
        for layer in contents.layers_in(every)[:MOST_LAYERS]:
            table = pairs_beside_confusions(
                of_measure(every, measure, parameters).filter(pl.col("layer") == layer),
                contents.tables["outcomes"],
                contents.tables["robustness"],
                attack=attack,
                iterate=contents.iterate(attack),
            )
            if table.is_empty():
                continue
            label = words.measure(measure, parameters)
            yield Figure(
                name=words.slug("pairs", measure, parameters, layer),
                title=f"{label} of every two classes, layer {layer}",
                caption=_caption(contents, table, f"{words.noun(label)} in layer {layer}", attack, short=captioned),
                chart=class_pairs(
                    table,
                    _associations(contents, table),
                    measure=measure,
                    label=label,
                    attack=attack,
                    models=contents.models,
                ),
                table=with_chance(table),
                more=captioned,
            )
            captioned = True


def _caption(contents: Contents, table: pl.DataFrame, noun: str, attack: str, *, short: bool) -> str:
    measured = number_range(clean_geometry(contents.tables["geometry"])["n_points"])
    confused = table.filter(pl.col("share").is_finite())
    text = f"Left, the {noun} of every two classes, from {measured} clean images per class."
    if not short:
        text += _MATRIX
    if confused.is_empty():
        return text
    n_into, n_misclassified = (
        confused.group_by("model", "class_index")
        .agg(pl.col("n_into").sum(), pl.col("n_misclassified").first())
        .select(pl.col("n_into").sum(), pl.col("n_misclassified").sum())
        .row(0)
    )
    text += (
        " Right, each point is an ordered pair of classes: across, its value; upwards, of the images of the one class "
        f"that were classified correctly when clean and misclassified under {words.attack(attack)}, the share that "
        f"was misclassified as the other ({number_range(confused['n_misclassified'])} images per class: shares of few "
        "are coarse)."
    )
    if n_into < n_misclassified:
        share = (n_misclassified - n_into) / n_misclassified
        text += (
            f" Of all these images {share:.0%} were taken for classes that are not in this study; they have no point."
        )
    return text if short else text + _FALLS


_MATRIX = (
    " Dark is near or, between red and blue, darker is farther from 0; grey is a class beside itself, or a pair "
    "without a value. Each network has its own scale, and its own order of the classes, by a hierarchical clustering "
    "(average linkage), so that near ones are next to each other: the order is not a result."
)
_FALLS = (
    " The dotted line is the mean of all pairs, where misclassifications that are spread evenly would lie; black "
    "bars are the means of a fifth of the pairs each. ρ describes these pairs and no more, since pairs that share a "
    "class are not independent; Mantel's test therefore permutes whole classes, and its p is not adjusted for how "
    "many figures there are. Neither shows that images are misclassified because classes are near: what makes "
    "classes alike may do both. The strength is that at which the accuracies of the classes differ most."
)


def _associations(contents: Contents, table: pl.DataFrame) -> dict[str, PairAssociation]:
    """Of each network above chance level, how the values of pairs go with misclassifications."""
    left_out = at_chance(contents.tables["models"])
    found = {}
    for panel in table.filter(pl.col("share").is_finite().any().over("model")).partition_by("model"):
        model = str(panel["model"][0])
        if model not in left_out:
            shares, values = (square(panel, column)[1] for column in ("share", "value"))
            found[model] = mantel(shares, values, permutations=999 if len(values) <= _MANY_CLASSES else 199)
    return found


def pairs_beside_confusions(
    pairs: pl.DataFrame, outcomes: pl.DataFrame, robustness: pl.DataFrame, *, attack: str, iterate: str
) -> pl.DataFrame:
    """A row per model and ordered pair of classes: the value of the pair beside the share of the one that is
    misclassified as the other.

    `pairs` are the rows of one measure in one layer. Each network is taken at the strength where its classes differ
    most. `share` is `n_into` over `n_misclassified`, the images of the class that were taken for any other; it is null
    for a class of which none was.
    """
    other_way = pairs.rename({"class_index": "other_class_index", "other_class_index": "class_index"})
    both = pl.concat([pairs, other_way], how="diagonal")
    chosen = strengths_of_classes(robustness, attack=attack, iterate=iterate)
    here = (
        with_attack_name(outcomes)
        .filter(pl.col("attack_name") == attack)
        .join(chosen, on=("model", "strength"), how="semi")
    )
    confused = confusions(here).select("model", "class_index", "other_class_index", "n_into", "n_misclassified")
    names = robustness.select("class_index", "class_name").unique("class_index")
    return (
        both.join(chosen, on="model", how="left")
        .join(
            confused.select("model", "class_index", "n_misclassified").unique(), on=("model", "class_index"), how="left"
        )
        .join(confused.drop("n_misclassified"), on=("model", "class_index", "other_class_index"), how="left")
        .join(names, on="class_index", how="left")
        .join(names.rename(lambda column: f"other_{column}"), on="other_class_index", how="left")
        .with_columns(
            pl.col("class_name").fill_null(pl.format("class {}", "class_index")),
            pl.col("other_class_name").fill_null(pl.format("class {}", "other_class_index")),
            pl.when(pl.col("n_misclassified").is_not_null()).then(pl.col("n_into").fill_null(0)).alias("n_into"),
        )
        .with_columns((pl.col("n_into") / pl.col("n_misclassified")).alias("share"))
        .select(
            *("model", "layer", "class_index", "class_name", "other_class_index", "other_class_name"),
            *("value", "stderr", "null", "null_p", "strength", "n_into", "n_misclassified", "share", "note"),
        )
        .sort("model", "n_into", "class_index", "other_class_index", descending=[False, True, False, False])
    )


def square(pairs: pl.DataFrame, column: str) -> tuple[list[int], Reals]:
    """A column of ordered pairs of classes as a matrix: the classes in order, and (n, n), NaN where there is none."""
    classes = sorted({*pairs["class_index"], *pairs["other_class_index"]})
    matrix = np.full((len(classes), len(classes)), np.nan)
    rows, columns = (np.searchsorted(classes, pairs[name].to_numpy()) for name in ("class_index", "other_class_index"))
    matrix[rows, columns] = reals(pairs, column)
    return classes, matrix


def class_pairs(
    table: pl.DataFrame,
    found: Mapping[str, PairAssociation] | None = None,
    *,
    measure: str,
    label: str,
    attack: str,
    models: Sequence[str] = (),
) -> Chart:
    """Every two classes: a matrix of their values, and the misclassifications of one as the other against them.

    A row per network. `table` is `pairs_beside_confusions(...)`; `found` has Spearman's rho by the name of a network.
    Classes are in the order of a hierarchical clustering (average linkage), so that near ones are next to each other.
    """
    names = in_order(table["model"].unique().to_list(), models)[:MOST_MODELS]
    confused = table.filter(pl.col("share").is_finite())
    longest = max(wide(plain(name, 14)) for name in table["class_name"].unique())
    named = table["class_index"].n_unique() <= NAMED_IN_MATRIX
    margin = 0.45 + (0.06 * longest if named else 0)
    chart = Chart(
        rows=len(names),
        columns=1 if confused.is_empty() else 2,
        width=3.4,
        height=3.4,
        left=margin,
        top=0.45,
        right=1.0 if confused.is_empty() else 0.2,
        bottom=margin,
        across=1.65,
        down=margin + 0.65,
    )
    for row, name in zip(chart.panels, names, strict=True):
        panel = table.filter(pl.col("model") == name)
        _pair_matrix(chart, row[0], panel, measure, label)
        heading(row[0], name)
        if len(row) > 1:
            here = panel.filter(pl.col("share").is_finite())
            _falls_panel(chart, row[1], here, (found or {}).get(name), look_of(name, models or names), label, attack)
    return chart


def _pair_matrix(chart: Chart, axes: Axes, panel: pl.DataFrame, measure: str, label: str) -> None:
    classes, values = square(panel, "value")
    order = _clustered(values, near_is_large=measure in _NEAR_IS_LARGE)
    reach = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
    low, high = (-reach, reach) if measure in _SIGNED else (None, None)
    axes.set_facecolor("#d5d8db")  # a class beside itself, and a pair without a value
    image = axes.imshow(
        values[np.ix_(order, order)],
        cmap="RdBu_r" if measure in _SIGNED else "cividis_r" if measure in _NEAR_IS_LARGE else "cividis",
        vmin=low,
        vmax=high,
        interpolation="none" if len(classes) <= _OPTIMAL_LEAVES else "antialiased",
    )
    axes.grid(visible=False)
    axes.spines[["top", "right"]].set_visible(True)
    if len(classes) <= NAMED_IN_MATRIX:
        called = dict(panel.select("class_index", "class_name").iter_rows())
        texts = [plain(called[classes[place]], 14) for place in order]
        size = 8 if len(classes) <= 20 else 6.5
        axes.set_xticks(range(len(texts)), texts, fontsize=size, rotation=90 if max(map(wide, texts)) > 2 else 0)
        axes.set_yticks(range(len(texts)), texts, fontsize=size)
        axes.tick_params(length=0)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel(f"{len(classes)} classes, near ones together")
    place, inch = axes.get_position(), 1 / chart.get_figwidth()
    bar = chart.colorbar(image, cax=chart.add_axes((place.x1 + 0.12 * inch, place.y0, 0.12 * inch, place.height)))
    bar.outline.set_linewidth(0.5)
    bar.set_label(plain(label, 44))


def _clustered(values: Reals, *, near_is_large: bool) -> list[int]:
    """The order of the leaves of an average linkage; a pair without a value counts as an average one."""
    if len(values) < 3 or not np.isfinite(values).any():
        return list(range(len(values)))
    known = np.where(np.isfinite(values), values, np.nanmean(values))
    apart = known.max() - known if near_is_large else known - known.min()
    np.fill_diagonal(apart, 0.0)
    tree = linkage(squareform(apart, checks=False), "average", optimal_ordering=len(values) <= _OPTIMAL_LEAVES)
    return [int(leaf) for leaf in leaves_list(tree)]


def _falls_panel(
    chart: Chart,
    axes: Axes,
    panel: pl.DataFrame,
    found: PairAssociation | None,
    look: dict[str, Any],
    label: str,
    attack: str,
) -> None:
    if panel.is_empty():
        leave_empty(axes, "no image was misclassified")
        return
    x, y = reals(panel, "value"), reals(panel, "share")
    crowded = panel.height > MOST_TOOLTIPS // 4
    points = axes.scatter(
        x,
        y,
        s=24 if panel.height <= 100 else 8,
        alpha=0.7 if panel.height <= MANY_PAIRS else 0.3,
        linewidth=0,
        rasterized=crowded,
        zorder=3,
        **look,
    )
    if not crowded:
        chart.explain(
            points,
            [
                f"{row['class_name']} as {row['other_class_name']}: {row['n_into']} of {row['n_misclassified']} "
                f"images, {label} {words.number(row['value'])}"
                for row in panel.iter_rows(named=True)
            ],
        )
    _falls_axis(axes, float(y.max()), many=panel.height > MANY_PAIRS)
    axes.set_xlabel(plain(label, 60))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    even = float(y.mean())
    axes.axhline(even, color=FAINT, linewidth=1, linestyle=(0, (2, 2)))
    if panel.height >= 20:
        edges = np.quantile(x, np.linspace(0, 1, 6))
        fifth = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, 4)
        for place in np.unique(fifth):
            axes.hlines(y[fifth == place].mean(), edges[place], edges[place + 1], color=INK, linewidth=2, zorder=4)
    shown = np.argsort(-y, kind="stable")[:200]  # names are among the highest points, and keep clear of these
    called = [
        f"{plain(row['class_name'], 10)} → {plain(row['other_class_name'], 10)}"
        if rank < MOST_NAMED_PAIRS and row["share"] > even
        else ""
        for rank, row in enumerate(panel[shown].iter_rows(named=True))
    ]
    name_points(chart, axes, x[shown], y[shown], called)
    at = words.at_strength(attack, float(panel["strength"][0]))
    heading(axes, f"misclassified under {words.attack(attack)}", _pair_association_text(found), after=f" at {at}")


def _falls_axis(axes: Axes, highest: float, *, many: bool) -> None:
    """Shares of misclassified images; with many pairs, of which most have few, by their square root."""
    top = min(1.04, 1.15 * highest + 0.02)
    if many:
        axes.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
        axes.set_yticks([0, 0.01, 0.05, 0.1, 0.25, 0.5, 1])
    axes.set_ylim(0 if many else -0.03, top)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g}"))
    axes.set_ylabel("Share of a class's misclassified images (%)" + (", square-root scale" if many else ""))


def _pair_association_text(found: PairAssociation | None) -> str:
    if found is None:
        return "no ρ: the network is at chance level when clean"
    if not math.isfinite(found.coefficient):
        return f"ρ undefined, {words.number(found.n_pairs)} pairs"
    tested = f"Mantel p = {found.p_value:.2g}" if math.isfinite(found.p_value) else "not tested"
    return f"Spearman ρ = {words.coefficient(found.coefficient)}, {words.number(found.n_pairs)} pairs ({tested})"
