"""Which figures a report shows, in which order, and what is said of each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import polars as pl

from manifoldscope.evidence import PairAssociation, guessing, mantel
from manifoldscope.evidence.across_classes import RELIABLE
from manifoldscope.report import behind, figures, words
from manifoldscope.report.attack_plates import accuracy, convergence, smallest, training, transfer
from manifoldscope.report.contents import (
    MOST_ATTACKS,
    MOST_MEASURES,
    Contents,
    Gallery,
    Plate,
    as_listed,
    number_range,
)

MANY_CLASSES = 200  # with more than these a permutation of all pairs takes hundredths of a second


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
        ("accuracy", "How does accuracy fall with the strength of the attack?", accuracy, f"{no_robustness}."),
        ("smallest", "How small a perturbation fells the images of a class?", smallest, ""),
        ("transfer", "Do images made on one network deceive another?", transfer, ""),
        ("convergence", "Would more steps of the attack find more?", convergence, ""),
        ("comparison", "How do the networks compare?", _comparison, f"{no_geometry}."),
        ("pairs", "Are classes that lie near each other the ones that are confused?", _pairs, ""),
        ("displacement", "Where do attacked images move?", _displacement, ""),
        ("shifted", "How well are the same classes known in other images?", _shifted, ""),
        ("detection", "Are images of no known class noticed?", _detection, ""),
        ("histograms", "How do dimensions spread over the classes?", _histograms, f"{no_geometry}."),
        ("curves", "How do the values depend on the number of images?", _curves, ""),
        ("reliability", "Would other images say the same of the classes?", _reliability, ""),
        ("spectra", "How is the variance of a class shared out?", _spectra, "no spectra were kept."),
        (
            "correlations",
            "How correlated are the features within a class?",
            _correlations,
            "no correlations were kept.",
        ),
        ("training", "How did training go?", training, ""),
        ("examples", "What do the attacks look like?", _examples, "no attacked images were kept."),
    ]
    for name, title, plates, missing in kinds:
        made = sorted(plates(contents), key=lambda plate: plate.more)
        if not made and not missing:  # a study that did not ask for it misses nothing
            continue
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
            table=behind.with_chance(
                table.select(
                    *("model", "layer", "class_index", "class_name", "value", "stderr"),
                    *("n_points", "n_features", "ceiling", "null", "null_p", "note"),
                )
            ),
            more=rank > 0,
        )


def _pairs(contents: Contents) -> Iterator[Plate]:
    pairs, verdicts, robustness = (contents.tables[name] for name in ("pairs", "verdicts", "robustness"))
    attack = contents.attacks[0] if contents.attacks else "pgd"
    captioned = False
    for measure, parameters in behind.measures_in(pairs)[:MOST_MEASURES]:
        for layer in _layers(contents, pairs):
            table = behind.pairs_beside_falls(
                pairs,
                verdicts,
                robustness,
                layer=layer,
                measure=measure,
                parameters=parameters,
                attack=attack,
                iterate=contents.iterate(attack),
            )
            if table.is_empty():
                continue
            label = words.measure(measure, parameters)
            yield Plate(
                name=words.slug("class-pairs", measure, parameters, layer),
                title=f"{label} of every two classes, layer {layer}",
                caption=_pairs_caption(contents, table, words.noun(label), attack)
                if not captioned
                else f"As the first of these figures, for {words.noun(label)} in layer {layer}.",
                chart=figures.class_pairs(
                    table,
                    _beside_falls(contents, table),
                    measure=measure,
                    parameters=parameters,
                    attack=attack,
                    models=contents.models,
                ),
                table=behind.with_chance(table),
                more=captioned,
            )
            captioned = True


def _pairs_caption(contents: Contents, table: pl.DataFrame, noun: str, attack: str) -> str:
    measured = number_range(behind.clean_geometry(contents.tables["geometry"])["n_points"])
    fallen = table.filter(pl.col("share").is_finite())
    text = (
        f"Left, the {noun} of every two classes, from {measured} clean images a class: dark is near or, between red "
        "and blue, darker is farther from 0; grey is a class beside itself, or a pair without a value. Each network "
        "has its own scale, and its own order of the classes, by a hierarchical clustering (average linkage), so that "
        "near ones stand together: the order is no result."
    )
    if fallen.is_empty():
        return text
    images, of_class = number_range(fallen["n_falls"]), fallen.group_by("model", "class_index")
    into = of_class.agg(pl.col("n_into").sum(), pl.col("n_falls").first()).select("n_into", "n_falls").sum().row(0)
    elsewhere = ""
    if into[0] < into[1]:
        share = (into[1] - into[0]) / into[1]
        elsewhere = (
            f" Of all falls {share:.0%} went into classes that are not in this study; they count, and have no point."
        )
    return (
        f"{text} Right, each point is an ordered pair of classes: across, its value; upwards, of the images of the one "
        f"class that were classified correctly when clean and fell under {words.threat(attack)}, the share that fell "
        f"into the other ({images} falls a class: shares of few are coarse).{elsewhere} The dotted line is the mean of "
        "all pairs, where falls that are spread evenly would lie; black bars are the means of a fifth of the pairs "
        "each. ρ describes these pairs and no more, since pairs that share a class are not independent; Mantel's test "
        "therefore permutes whole classes, and its p is not adjusted for how many figures there are. Neither shows "
        "that images fall because classes are near: what makes classes alike may do both. The strength is that at "
        "which the accuracies of the classes differ most."
    )


def _beside_falls(contents: Contents, table: pl.DataFrame) -> dict[str, PairAssociation]:
    """Of each network that does not guess, how the values of pairs go with falls."""
    guessers = guessing(contents.tables["models"])
    found = {}
    for panel in table.filter(pl.col("share").is_finite().any().over("model")).partition_by("model"):
        model = str(panel["model"][0])
        if model not in guessers:
            shares, values = (behind.square(panel, column)[1] for column in ("share", "value"))
            found[model] = mantel(shares, values, permutations=999 if len(values) <= MANY_CLASSES else 199)
    return found


def _layers(contents: Contents, table: pl.DataFrame) -> list[str]:
    """The layers of a table in the order of the study, as many as are drawn."""
    return as_listed(set(table["layer"]), contents.layers)[: figures.MOST_LAYERS]


def _displacement(contents: Contents) -> Iterator[Plate]:
    geometry, robustness = contents.tables["geometry"], contents.tables["robustness"]
    rows = behind.displaced(geometry)
    captioned = False
    for threat in as_listed(set(rows["threat"]), contents.attacks)[:MOST_ATTACKS]:
        for layer in _layers(contents, rows):
            every = behind.displacement_table(geometry, layer=layer, threat=threat)
            if every.is_empty():
                continue
            iterate = contents.iterate(threat)
            chosen = behind.telling_displacement(every, robustness, threat=threat, iterate=iterate)
            yield Plate(
                name=words.slug("displacement", layer, threat),
                title=f"Displacement under {words.threat(threat)}, layer {layer}",
                caption=_displacement_caption(chosen, threat)
                if not captioned
                else f"As the first of these figures, in layer {layer} under {words.threat(threat)}.",
                chart=figures.displacement_by_class(chosen, every, threat=threat, models=contents.models),
                table=every,
                more=captioned,
            )
            captioned = True


def _displacement_caption(chosen: pl.DataFrame, threat: str) -> str:
    return (
        f"Each filled mark is a class: the displacements of its {number_range(chosen['n_images'])} images that were "
        f"classified correctly when clean and attacked by {words.threat(threat)}, with standard errors. The squared "
        "length of a displacement is split in three parts that add up to 100%: along the principal axes of the class's "
        "own clean images; along what the direction to the nearest class centre adds to these; and the rest. A share "
        "says nothing alone, so beside it stands that of the deviations of clean held-out images from their centre "
        "(open), and that of a direction at random (dash) and, where it was asked for, at random with the covariance "
        "of the layer (cross): an attack that leaves the manifold lies further outside than the open marks. Classes "
        "are in the order of the first panel, the strength is that at which their accuracies differ most. In the last "
        "panel lengths are in units of the class's radius, thin lines are classes, and the thick line is their mean. "
        "Not shown: what the displacement does to the output, and single images."
    )


def _shifted(contents: Contents) -> Iterator[Plate]:
    every = contents.tables["shifted"]
    for rank, dataset in enumerate(every["dataset"].unique(maintain_order=True)):
        table = behind.shifted_beside_clean(every, dataset=dataset)
        here, own = number_range(table["n_images"]), number_range(table["n_clean"])
        yield Plate(
            name=words.slug("shifted-accuracy", dataset),
            title=f"Accuracy on {dataset} beside clean accuracy",
            caption=(
                f"Each point is a class: across, the share of its {own} images of the study that are classified "
                f"correctly without any attack; upwards, that of its {here} images of {dataset}. Lines are 95% Wilson "
                "intervals. On the dashed line nothing changes; below it the class is known less well there. Where a "
                "point's lines reach the dashed one, chance may have moved it. Images of the study that are in "
                f"{dataset} as well, stored alike, are left out; whether a network that came with its weights was "
                "trained on any of them cannot be seen here."
            )
            if not rank
            else f"As the first of these figures, for {dataset}, of {here} images a class.",
            chart=figures.shifted_accuracy(table, models=contents.models),
            table=table,
            more=rank > 2,
        )


def _detection(contents: Contents) -> Iterator[Plate]:
    every = contents.tables["detection"]
    for rank, dataset in enumerate(every["dataset"].unique(maintain_order=True)):
        table = every.filter(pl.col("dataset") == dataset)
        known, foreign = number_range(table["n_known"]), number_range(table["n_foreign"])
        yield Plate(
            name=words.slug("detection", dataset),
            title=f"Images of {dataset} told from known ones",
            caption=(
                f"AUROC: the chance that one of {foreign} images of {dataset} looks more foreign than one of {known} "
                "known images, ties counting half. Known images count whether or not they are classified correctly. "
                "First by the output: how small the largest softmax probability is. Then by "
                "distances in a layer: to the nearest class centre; the Mahalanobis distance to it, under one "
                "covariance for all classes; and what lies outside the principal subspace of the class with the "
                "nearest centre. Centres, covariance and subspaces come from the images that geometry is measured on, "
                "which are not among the known ones here, and nothing is fitted to foreign images. Left of the dashed "
                "line foreign images look more familiar than known ones. Lines are 95% intervals over images (DeLong): "
                "they say nothing of other foreign datasets. Not shown: what is noticed. Images may be told apart by "
                "their colours, sharpness or storage, and not because their classes are unknown."
            )
            if not rank
            else f"As the first of these figures, for {dataset}: {foreign} images against {known} known ones.",
            chart=figures.detection_by_score(table, models=contents.models, layers=contents.layers),
            table=table.drop("dataset"),
            more=rank > 2,
        )


def _curves(contents: Contents) -> Iterator[Plate]:
    curves = contents.tables["curves"]
    for rank, (measure, parameters) in enumerate(behind.measures_in(curves)[:MOST_MEASURES]):
        table = behind.of_measure(curves, measure, parameters)
        measured = table.filter(pl.col("extrapolated").not_().fill_null(True))
        label = words.measure(measure, parameters)
        yield Plate(
            name=words.slug("value-by-points", measure, parameters),
            title=f"{label} against the number of images",
            caption=(
                f"The {words.noun(label)} of each class (a thin line) when {number_range(measured['n_points'])} of its "
                "images are measured, as a mean over draws; a thick line is a measure of all classes together. Dashed "
                "is the ceiling, the largest value that so many points can give. A line that still rises where it ends "
                "says that the value belongs to the number of images; one that runs along the ceiling says nothing of "
                "the class. Open marks, where there are any, are extrapolated by a law that the points themselves "
                "follow; where they follow none there is no mark, and the table says why. Not shown: the spread "
                "between draws, which is in the table and says nothing of other images, since all draws share theirs."
            )
            if not rank
            else f"As the first of these figures, for {words.noun(label)}.",
            chart=figures.value_by_points(
                curves, measure=measure, parameters=parameters, models=contents.models, layers=contents.layers
            ),
            table=table,
            more=rank > 0,
        )


def _reliability(contents: Contents) -> Iterator[Plate]:
    table = contents.tables["reliability"]
    if table.is_empty():
        return
    n = number_range(table["n_classes"])
    yield Plate(
        name="reliability",
        title="Reliability of the measures across classes",
        caption=(
            f"How well the values of {n} classes would correlate with those from other images of the same classes, as "
            "many as were measured here: two halves of the images are compared, and the correlation is corrected for "
            "their size (Spearman and Brown). Lines are 95% intervals over classes; a mark that is missing has its "
            f"reason in the table. Left of the dashed line, at {RELIABLE:g}, noise hides much of what differs between "
            "classes, and an association with the measure is attenuated: on average it is what it would be without "
            "that noise, times the root of the reliability. Not shown: whether the values are right. A measure that "
            "is wrong by as much for every class is as reliable as a true one."
        ),
        chart=figures.reliability_by_measure(table, models=contents.models, layers=contents.layers),
        table=table,
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
