"""Which figures a report shows, in which order, and what is said of each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from manifoldscope.evidence import guessing
from manifoldscope.report import behind, figures, words
from manifoldscope.report.chart import Chart
from manifoldscope.report.pictures import Pictures
from manifoldscope.tables import TABLES, conform

MOST_MEASURES = 4
MOST_ATTACKS = 3


@dataclass(frozen=True)
class Plate:
    """One figure with its words and the table behind it; a plate for `more` waits folded."""

    name: str
    title: str
    caption: str
    chart: Chart
    table: pl.DataFrame
    more: bool = False


@dataclass(frozen=True)
class Gallery:
    """The figures that answer one question, or why there are none."""

    id: str
    title: str
    plates: Sequence[Plate]
    missing: str


@dataclass(frozen=True)
class Contents:
    """What every figure is made from."""

    tables: Mapping[str, pl.DataFrame]
    pictures: Pictures
    models: Sequence[str]
    layers: Sequence[str]
    attacks: Sequence[str]
    measures: Sequence[tuple[str, str]]

    def iterate(self, attack: str) -> str:
        """`last` (Algorithm 1 as written) where it was judged."""
        rows = behind.with_attack(self.tables["robustness"]).filter(pl.col("attack") == attack)
        return "last" if "last" in rows["iterate"].to_list() else "any"


def gather(study: Mapping[str, Any], tables: Mapping[str, pl.DataFrame], pictures: Pictures) -> Contents:
    every = {name: conform(name, tables.get(name, [])) for name in TABLES}
    geometry, robustness = behind.clean_geometry(every["geometry"]), behind.with_attack(every["robustness"])
    models = {*every["models"]["model"], *geometry["model"], *robustness["model"]}
    models |= {p.model for group in (pictures.spectra, pictures.correlations, pictures.examples) for p in group}
    return Contents(
        tables=every,
        pictures=pictures,
        models=_as_listed(models, _names(study, "models")),
        layers=_as_listed({*geometry["layer"], *(p.layer for p in pictures.spectra)}, _names(study, "layers")),
        attacks=_as_listed(set(robustness["attack"]), _names(study, "threats")),
        measures=behind.measured(every["geometry"]),
    )


def _names(study: Mapping[str, Any], section: str) -> list[str]:
    items = study.get(section) or []
    named = (item.get("name") or item.get("kind") if isinstance(item, Mapping) else item for item in items)
    return [str(name) for name in named]


def _as_listed(present: set[str], listed: Sequence[str]) -> list[str]:
    """The names that are present in the order of the study file, where `name/seed` and `name ...` follow `name`."""

    def place(name: str) -> int:
        owners = (
            index for index, known in enumerate(listed) if name == known or name.startswith((f"{known}/", f"{known} "))
        )
        return next(owners, len(listed))

    return sorted(present, key=lambda name: (place(name), name))


# The figures, with what is said of them ----------------------------------------------------------------------------


def galleries(contents: Contents) -> Iterator[Gallery]:
    no_geometry = "no class has a value in the table geometry"
    no_robustness = "the table robustness has no rows"
    either = no_geometry if not contents.measures else no_robustness
    kinds: list[tuple[str, str, Callable[[Contents], Iterator[Plate]], str]] = [
        (
            "dimension-against-accuracy",
            "Are the classes that survive the ones with fewer dimensions?",
            _central,
            f"{either}, or no class has both.",
        ),
        ("accuracy", "How does accuracy fall with the strength of the attack?", _accuracy, f"{no_robustness}."),
        ("comparison", "How do the networks compare?", _comparison, f"{no_geometry}."),
        ("histograms", "How do dimensions spread over the classes?", _histograms, f"{no_geometry}."),
        ("spectra", "How is the variance of a class shared out?", _spectra, "no spectra were kept."),
        (
            "correlations",
            "How correlated are the features within a class?",
            _correlations,
            "no correlations were kept.",
        ),
        ("examples", "What do the attacks look like?", _examples, "no attacked images were kept."),
    ]
    for name, title, plates, missing in kinds:
        made = sorted(plates(contents), key=lambda plate: plate.more)
        yield Gallery(f"figures-{name}", title, made, "" if made else f"Not drawn: {missing}")


def _combinations(contents: Contents) -> Iterator[tuple[str, str, str, str, bool]]:
    """(measure, parameters, layer, attack, shown at once): the first measure under the first attack is not folded."""
    ways = itertools.product(enumerate(contents.measures[:MOST_MEASURES]), enumerate(contents.attacks[:MOST_ATTACKS]))
    for (rank, (measure, parameters)), (place, attack) in ways:
        if rank and place:
            continue
        for layer in contents.layers[: figures.MOST_LAYERS]:
            yield measure, parameters, layer, attack, rank == place == 0


def _central(contents: Contents) -> Iterator[Plate]:
    captioned = folded_captioned = False
    for measure, parameters, layer, attack, first in _combinations(contents):
        table = behind.dimension_beside_accuracy(
            contents.tables["geometry"],
            contents.tables["robustness"],
            layer=layer,
            measure=measure,
            parameters=parameters,
            attack=attack,
            iterate=contents.iterate(attack),
        )
        if table.is_empty():
            continue
        label, threat, n = words.measure(measure, parameters), words.threat(attack), number_range(table["n_images"])
        noun, judged = words.noun(label), words.iterate(contents.iterate(attack))
        guessers = list(guessing(contents.tables["models"]))
        associations = contents.tables["associations"].filter(~pl.col("model").is_in(guessers))
        telling = behind.telling_strengths(table)
        yield Plate(
            name=words.slug("dimension-against-accuracy", measure, parameters, layer, attack),
            title=f"{label} against accuracy under {threat}, layer {layer}",
            caption=(
                f"Each point is a class: across, the {noun} of its activations in layer {layer}; upwards, the share "
                f"of its {n} images that are still classified correctly under {threat} ({judged}). The line through a "
                "point is the 95% Wilson interval of that share; the dimension has an error of its own that is not "
                "drawn. Where classes with more dimensions are more fragile, the cloud falls to the right and r is "
                "negative; an interval of r that holds 0 means that these classes cannot tell. A dashed line is the "
                "ceiling: the largest value that so many points can give. Each network is shown at the strength "
                "where the accuracies of its classes differ most; that choice does not look at dimensions, and every "
                "strength is in the figures folded below. A network that guesses when clean has no r: its accuracies "
                "say nothing. Point at a class for its name and numbers."
            )
            if not captioned
            else f"As figure 1, for {noun} in layer {layer} under {threat}.",
            chart=figures.dimension_against_accuracy(
                telling, associations, measure=measure, parameters=parameters, models=contents.models
            ),
            table=telling,
            more=not first,
        )
        captioned = True
        if table["strength"].n_unique() > 1:
            yield Plate(
                name=words.slug("dimension-against-accuracy-by-strength", measure, parameters, layer, attack),
                title=f"The same at every strength: {label}, layer {layer}, {threat}",
                caption=(
                    "A row is a network, a column a strength; otherwise as above. At strength 0 the height is the "
                    "accuracy on clean images: a class that is hard without any attack is hard under one, so an r "
                    "that is already there at 0 is not about robustness. Where all classes stand at 0% or 100% there "
                    "is nothing left to explain, and r says little."
                )
                if not folded_captioned
                else f"As the first of these, for {noun} in layer {layer} under {threat}.",
                chart=figures.dimension_against_accuracy_by_strength(
                    table, associations, measure=measure, parameters=parameters, models=contents.models
                ),
                table=table,
                more=True,
            )
            folded_captioned = True


def _accuracy(contents: Contents) -> Iterator[Plate]:
    for place, attack in enumerate(contents.attacks[:MOST_ATTACKS]):
        table = behind.mean_accuracy(contents.tables["robustness"], attack=attack)
        if table.is_empty():
            continue
        threat = words.threat(attack)
        yield Plate(
            name=words.slug("accuracy-by-strength", attack),
            title=f"Accuracy under {threat}",
            caption=(
                f"The share of all images that are classified correctly under {threat}, with its 95% Wilson interval "
                "as a band. Solid: the last iterate, the attack as it is usually written. Dashed: no iterate on the "
                "way was misclassified, never above the solid line; where the two part, the attack had already won "
                "and walked on. Thin lines are single classes. An undefended network that does not come near 0 at a "
                "large strength points to a weak attack rather than a strong network."
            ),
            chart=figures.accuracy_by_strength(contents.tables["robustness"], attack=attack, models=contents.models),
            table=table,
            more=place > 0,
        )


def _comparison(contents: Contents) -> Iterator[Plate]:
    attack = contents.attacks[0] if contents.attacks else "pgd"
    for rank, (measure, parameters) in enumerate(contents.measures[:MOST_MEASURES]):
        label = words.measure(measure, parameters)
        noun = words.noun(label)
        arguments = {
            "measure": measure,
            "parameters": parameters,
            "attack": attack,
            "iterate": contents.iterate(attack),
        }
        geometry, robustness = contents.tables["geometry"], contents.tables["robustness"]
        yield Plate(
            name=words.slug("comparison", measure, parameters),
            title=f"{label} and accuracy, network by network",
            caption=(
                "Left, a panel a layer: each point is a class, the bar and the number are the mean over classes of "
                f"its {noun}; a dashed line is the ceiling, left out where it lies far above. Right: accuracy on "
                f"clean images (open) and under {words.threat(attack)} (filled) at the strength where "
                "the networks differ most, with 95% Wilson intervals. The spread of the points is "
                "between classes: it is not the uncertainty of the mean over retrained networks, which only several "
                "seeds can show."
            ),
            chart=figures.network_comparison(
                geometry, robustness, models=contents.models, layers=contents.layers, **arguments
            ),
            table=behind.comparison_table(geometry, robustness, **arguments),
            more=rank > 0,
        )


def _histograms(contents: Contents) -> Iterator[Plate]:
    for rank, (measure, parameters) in enumerate(contents.measures[:MOST_MEASURES]):
        label = words.measure(measure, parameters)
        noun = words.noun(label)
        table = behind.clean_geometry(contents.tables["geometry"]).filter(
            (pl.col("measure") == measure) & (pl.col("parameters").fill_null("") == parameters)
        )
        n = number_range(table["n_points"])
        yield Plate(
            name=words.slug("histograms", measure, parameters),
            title=f"{label}: how many classes have which value",
            caption=(
                f"How many classes have which {noun}; the ticks under the bars are the single classes. Networks share "
                "their axis within a layer. The dashed line is the ceiling, or an arrow points to it where it lies "
                f"far to the right: the largest value that {n} points a class can give. Classes that crowd against it "
                "describe the number of images and not the manifold."
            ),
            chart=figures.dimension_histograms(
                contents.tables["geometry"],
                measure=measure,
                parameters=parameters,
                models=contents.models,
                layers=contents.layers,
            ),
            table=table.select(
                "model",
                "layer",
                "class_index",
                "class_name",
                "value",
                "stderr",
                "n_points",
                "n_features",
                "ceiling",
                "note",
            ),
            more=rank > 0,
        )


def _spectra(contents: Contents) -> Iterator[Plate]:
    if contents.pictures.spectra:
        yield Plate(
            name="variance-spectra",
            title="Variance along the principal axes",
            caption=(
                "The share of a class's variance along each of its principal axes, largest first; both axes are "
                "logarithmic. The line is the median over classes, the band the middle 80% of them. The marker "
                "stands where 95% of the variance is reached, as the median over classes. A "
                "straight line is a power law; the sudden fall at the end comes from the number of points, not from "
                "the class."
            ),
            chart=figures.variance_spectra(contents.pictures.spectra, models=contents.models, layers=contents.layers),
            table=behind.spectra_table(contents.pictures.spectra),
        )


def _correlations(contents: Contents) -> Iterator[Plate]:
    if contents.pictures.correlations:
        yield Plate(
            name="feature-correlations",
            title="Correlations between features within a class",
            caption=(
                "The Pearson correlation of every two features over the images of one class: red where they rise "
                "together, blue where one falls as the other rises, grey where a feature never changes. Above each, "
                "the mean of |r| off the diagonal beside what unrelated features give by chance with as many images: "
                "only the excess over chance is correlation. Few dimensions and high correlation are two faces of "
                "the same thing."
            ),
            chart=figures.feature_correlations(contents.pictures.correlations, models=contents.models),
            table=behind.correlations_table(contents.pictures.correlations),
        )


def _examples(contents: Contents) -> Iterator[Plate]:
    if contents.pictures.examples:
        yield Plate(
            name="attacked-examples",
            title="Original, perturbation, adversarial image",
            caption=(
                "Left the original, right the attacked image, between them what was added, magnified by the factor "
                "below it. In grey images red adds light and blue takes it away; in colour images mid-grey means no "
                "change. Under each image is what the network sees in it; bold where the attacked image is "
                "misclassified. These are a few images of the first classes, not a selection of the most striking."
            ),
            chart=figures.attacked_examples(contents.pictures.examples, models=contents.models),
            table=behind.examples_table(contents.pictures.examples),
        )


def number_range(values: pl.Series) -> str:
    numbers = values.drop_nulls()
    if numbers.is_empty():
        return "the"
    low, high = int(numbers.min()), int(numbers.max())  # type: ignore[arg-type]  # whole numbers
    return words.number(low) if low == high else f"{words.number(low)} to {words.number(high)}"
