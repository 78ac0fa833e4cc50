"""Each measure against the number of classes that networks are trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import polars as pl
from matplotlib.lines import Line2D

from manifoldscope.evidence.number_of_classes import NumberOfClasses, numbers_of_classes
from manifoldscope.report import words
from manifoldscope.report.chart import Chart, plain
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import MOST_LAYERS, MOST_MEASURES, heading, look_of

SECTION = Section("number-of-classes", "What does the number of training classes change?", place=64)


@FIGURES.register(
    "number_of_classes",
    section=SECTION,
    optional=True,
    missing="all networks are trained on as many classes",
)
def number_of_classes(contents: Contents) -> Iterator[Figure]:
    """A measure over the classes that all networks know, against the number that they are trained on.

    It is not drawn where all networks are trained on as many classes.
    """
    facts = numbers_of_classes(contents.tables, main=False)
    for rank, (measure, parameters) in enumerate(contents.measures[:MOST_MEASURES]):
        mine = [fact for fact in facts if (fact.measure, fact.parameters or "") == (measure, parameters)]
        if not mine:
            continue
        label = words.measure(measure, parameters)
        yield Figure(
            name=words.slug("number_of_classes", measure, parameters),
            title=f"{label} against the number of training classes",
            caption=(
                f"The mean {words.noun(label)} over the {mine[0].n_common} classes that all networks of a line know, "
                "measured on the same images; bars are 95% intervals over classes (Student's t). Networks trained on "
                "more classes have also seen more images. Measures of all classes together, such as capacity, are of "
                "all that a network knows."
            ),
            chart=number_of_classes_chart(mine, label=label, layers=contents.layers),
            table=pl.DataFrame([row for fact in mine for row in fact.rows]),
            more=rank > 0,
        )


def number_of_classes_chart(facts: Sequence[NumberOfClasses], *, label: str, layers: Sequence[str] = ()) -> Chart:
    """A panel per layer, with a line per recipe."""
    place = {layer: index for index, layer in enumerate(layers)}
    ordered = sorted(facts, key=lambda fact: (place.get(fact.layer, len(place)), fact.layer))
    panels = [(layer, list(group)) for layer, group in groupby(ordered, key=lambda fact: fact.layer)][:MOST_LAYERS]
    recipes = sorted({fact.recipe for fact in facts})
    chart = Chart(
        columns=len(panels),
        width=4.6 if len(panels) == 1 else 3.2,
        height=2.6,
        bottom=0.5 + 0.3 * (len(recipes) > 1),
        across=0.75,
    )
    for axes, (layer, mine) in zip(chart.flat, panels, strict=True):
        for fact in mine:
            look = look_of(fact.recipe, recipes)
            x = [each.n_classes for each in fact.trained]
            y = [each.value for each in fact.trained]
            below = [each.value - (each.value if each.low is None else each.low) for each in fact.trained]
            above = [(each.value if each.high is None else each.high) - each.value for each in fact.trained]
            axes.errorbar(x, y, yerr=[below, above], capsize=2, linewidth=1.2, **look)
        heading(axes, layer)
        axes.set_xscale("log")
        axes.set_xticks(sorted({each.n_classes for fact in mine for each in fact.trained}))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.minorticks_off()
        axes.set_xlabel("Classes trained on")
        axes.set_ylabel(label)
    if len(recipes) > 1:
        keys = [Line2D([], [], label=plain(recipe, 40), **look_of(recipe, recipes)) for recipe in recipes]
        chart.legend(handles=keys, loc="lower center", ncols=2, borderaxespad=0.3)
    return chart
