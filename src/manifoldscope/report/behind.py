"""The tables behind the figures: what a figure shows, as rows, so that nothing has to be read off a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from manifoldscope.evidence import attacks, beside_clean, falls, strengths, wilson
from manifoldscope.report import words
from manifoldscope.report.chart import plain
from manifoldscope.report.pictures import CorrelationPicture, ExamplePicture, SpectrumPicture

Reals = NDArray[np.float64]

SHARES = ("own", "toward", "outside")
"""The parts of a displacement, as the table `geometry` names them."""


def of_measure(table: pl.DataFrame, measure: str, parameters: str) -> pl.DataFrame:
    """The rows of one measure with its parameters."""
    return table.filter((pl.col("measure") == measure) & (pl.col("parameters").fill_null("") == (parameters or "")))


def measures_in(table: pl.DataFrame) -> list[tuple[str, str]]:
    """Every (measure, parameters) that has a finite value in a table; what most readers look for comes first."""
    found = table.filter(pl.col("value").is_finite()).select("measure", pl.col("parameters").fill_null("")).unique()
    return sorted(found.rows(), key=lambda pair: (pair[0] not in ("pca_dimension", "centre_distance"), pair))


def with_chance(table: pl.DataFrame) -> pl.DataFrame:
    """The table without the columns of what chance gives, where it holds none."""
    empty = [name for name in ("null", "null_p") if name in table.columns and table[name].is_null().all()]
    return table.drop(empty)


def clean_geometry(geometry: pl.DataFrame) -> pl.DataFrame:
    """The rows of `geometry` that measure one class on unattacked images and have a finite value."""
    return geometry.filter(
        (pl.col("class_index") >= 0)
        & (pl.col("threat").fill_null("") == "")
        & pl.col("value").is_not_null()
        & pl.col("value").is_finite()
    )


def measured(geometry: pl.DataFrame) -> list[tuple[str, str]]:
    """Every (measure, parameters) that has a value for a class; the PCA dimension comes first."""
    pairs = clean_geometry(geometry).select("measure", pl.col("parameters").fill_null("")).unique().rows()
    return sorted(pairs, key=lambda pair: (pair[0] != "pca_dimension", pair))


def with_attack(table: pl.DataFrame) -> pl.DataFrame:
    """`evidence.with_attack`."""
    return attacks.with_attack(table)


def _with_interval(table: pl.DataFrame) -> pl.DataFrame:
    low, high = wilson(reals(table, "n_survived"), reals(table, "n_images"))
    return table.with_columns(
        pl.Series("accuracy_low", low, dtype=pl.Float64), pl.Series("accuracy_high", high, dtype=pl.Float64)
    )


def class_accuracy(robustness: pl.DataFrame, *, attack: str | None = None, iterate: str | None = None) -> pl.DataFrame:
    """Accuracy class by class with its 95% Wilson interval, for one attack (all, if None) and one iterate."""
    table = with_attack(robustness).filter(pl.col("accuracy").is_not_null() & pl.col("accuracy").is_finite())
    if attack is not None:
        table = table.filter(pl.col("attack") == attack)
    if iterate is not None:
        table = table.filter(pl.col("iterate") == iterate)
    columns = ("model", "attack", "strength", "iterate", "class_index", "class_name", "n_images", "n_survived")
    return _with_interval(table.select(*columns, "accuracy")).sort(
        "attack", "model", "iterate", "strength", "class_index"
    )


def mean_accuracy(robustness: pl.DataFrame, *, attack: str, iterate: str | None = None) -> pl.DataFrame:
    """Accuracy over the images of all classes with its 95% Wilson interval: a row a model, strength and iterate."""
    table = class_accuracy(robustness, attack=attack, iterate=iterate)
    keys = ("model", "iterate", "strength")
    pooled = table.group_by(keys).agg(pl.len().alias("n_classes"), pl.col("n_images").sum(), pl.col("n_survived").sum())
    return _with_interval(pooled.with_columns((pl.col("n_survived") / pl.col("n_images")).alias("accuracy"))).sort(keys)


def transfer_table(transfer: pl.DataFrame) -> pl.DataFrame:
    """What was made on one network and judged on another, with the share that fell and its 95% Wilson interval.

    Strength 0 is left out where there are others: there nothing is made.
    """
    table = with_attack(transfer).filter(
        (pl.col("strength") > 0) | (pl.col("strength").max().over("attack") == 0)  # an attack of strength 0 alone
    )
    low, high = wilson(reals(table, "n_fell"), reals(table, "n_clean_correct"))
    return table.select(
        *("attack", "strength", "made_on", "judged_on", "n_images", "n_clean_correct", "n_fell"),
        (pl.when(pl.col("n_clean_correct") > 0).then(pl.col("n_fell") / pl.col("n_clean_correct"))).alias("share"),
        pl.Series("share_low", low, dtype=pl.Float64).fill_nan(None),
        pl.Series("share_high", high, dtype=pl.Float64).fill_nan(None),
    ).sort("attack", "strength", "made_on", "judged_on")


def convergence_table(convergence: pl.DataFrame) -> pl.DataFrame:
    """The table `convergence` with accuracies and their 95% Wilson intervals; `doubled` is twice as many steps."""
    table = convergence.with_columns(
        doubled=pl.col("n_steps") > pl.col("n_steps").min().over("model"),
        accuracy=pl.col("n_survived") / pl.col("n_images"),
    )
    return _with_interval(table).sort("model", "doubled", "step")


def training_table(training: pl.DataFrame) -> pl.DataFrame:
    """The table `training` with the 95% Wilson interval of accuracy under PGD."""
    low, high = wilson(reals(training, "n_survived_pgd"), reals(training, "n_images"))
    return training.with_columns(
        fgsm_accuracy=pl.when(pl.col("n_images") > 0).then(pl.col("n_survived_fgsm") / pl.col("n_images")),
        pgd_accuracy=pl.when(pl.col("n_images") > 0).then(pl.col("n_survived_pgd") / pl.col("n_images")),
        pgd_low=pl.Series(low, dtype=pl.Float64).fill_nan(None),
        pgd_high=pl.Series(high, dtype=pl.Float64).fill_nan(None),
    ).sort("model", "epoch")


def dimension_beside_accuracy(
    geometry: pl.DataFrame,
    robustness: pl.DataFrame,
    *,
    layer: str,
    measure: str = "pca_dimension",
    parameters: str = "fraction=0.95",
    attack: str = "pgd",
    iterate: str = "last",
) -> pl.DataFrame:
    """A row a model, strength and class: the value of the measure beside the accuracy with its 95% Wilson interval."""
    values = clean_geometry(geometry).filter(
        (pl.col("layer") == layer)
        & (pl.col("measure") == measure)
        & (pl.col("parameters").fill_null("") == (parameters or ""))
    )
    accuracies = class_accuracy(robustness, attack=attack, iterate=iterate).drop("class_name")
    return (
        values.select("model", "layer", "class_index", "class_name", "value", "ceiling", "n_points")
        .join(accuracies, on=("model", "class_index"), how="inner")
        .sort("model", "strength", "class_index")
    )


def telling_strengths(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of a table at the strength of `evidence.telling_strengths`."""
    return table.join(strengths.telling_strengths(table), on=("model", "strength"), how="semi")


def association(
    associations: pl.DataFrame,
    *,
    model: str,
    layer: str,
    measure: str,
    parameters: str,
    attack: str,
    strength: float,
    iterate: str,
) -> dict[str, Any] | None:
    """The row of `associations` for one panel, without controls; Pearson before Spearman before any other method."""
    rows = associations.filter(
        (pl.col("model") == model)
        & (pl.col("layer") == layer)
        & (pl.col("measure") == measure)
        & (pl.col("parameters").fill_null("") == (parameters or ""))
        & (pl.col("threat") == attack)
        & ((pl.col("strength") - strength).abs() < 1e-9)
        & (pl.col("iterate") == iterate)
        & (pl.col("controls").fill_null("") == "")
    ).to_dicts()
    preference = ("pearson", "spearman")
    rows.sort(key=lambda row: (preference.index(row["method"]) if row["method"] in preference else 9, row["method"]))
    return rows[0] if rows else None


def comparison_table(
    geometry: pl.DataFrame,
    robustness: pl.DataFrame,
    *,
    measure: str = "pca_dimension",
    parameters: str = "fraction=0.95",
    attack: str = "pgd",
    iterate: str = "last",
) -> pl.DataFrame:
    """A row a network: mean and spread over classes of the measure in each layer, and accuracy at each strength."""
    values = clean_geometry(geometry).filter(
        (pl.col("measure") == measure) & (pl.col("parameters").fill_null("") == (parameters or ""))
    )
    table = values.select("model").unique()
    for layer in sorted(values["layer"].unique()):
        summary = (
            values.filter(pl.col("layer") == layer)
            .group_by("model")
            .agg(
                pl.col("value").mean().alias(f"{layer}: mean"),
                pl.col("value").std().alias(f"{layer}: sd over classes"),
                pl.col("ceiling").max().alias(f"{layer}: ceiling"),
            )
        )
        table = table.join(summary, on="model", how="left")
    means = mean_accuracy(robustness, attack=attack, iterate=iterate)
    for value in sorted(means["strength"].unique()):
        column = means.filter(pl.col("strength") == value).select(
            "model", pl.col("accuracy").alias(f"accuracy at {words.at_strength(attack, value)}")
        )
        table = table.join(column, on="model", how="left")
    return table.sort("model")


def pairs_beside_falls(
    pairs: pl.DataFrame,
    verdicts: pl.DataFrame,
    robustness: pl.DataFrame,
    *,
    layer: str,
    measure: str,
    parameters: str = "",
    attack: str = "pgd",
    iterate: str = "last",
) -> pl.DataFrame:
    """A row a model and ordered pair of classes: the value of the pair beside the falls from the one into the other.

    Each network is taken at its telling strength. `share` is `n_into` over `n_falls`, the images of the class that fell
    into any other; it is null for a class of which none fell.
    """
    one_way = of_measure(pairs, measure, parameters).filter(pl.col("layer") == layer)
    other_way = one_way.rename({"class_index": "other_class_index", "other_class_index": "class_index"})
    both = pl.concat([one_way, other_way], how="diagonal")
    strengths = telling_strengths(class_accuracy(robustness, attack=attack, iterate=iterate))
    chosen = strengths.select("model", "strength").unique()
    here = with_attack(verdicts).filter(pl.col("attack") == attack).join(chosen, on=("model", "strength"), how="semi")
    fallen = falls(here).select("model", "class_index", "other_class_index", "n_into", "n_falls")
    names = robustness.select("class_index", "class_name").unique("class_index")
    return (
        both.join(chosen, on="model", how="left")
        .join(fallen.select("model", "class_index", "n_falls").unique(), on=("model", "class_index"), how="left")
        .join(fallen.drop("n_falls"), on=("model", "class_index", "other_class_index"), how="left")
        .join(names, on="class_index", how="left")
        .join(names.rename(lambda column: f"other_{column}"), on="other_class_index", how="left")
        .with_columns(
            pl.col("class_name").fill_null(pl.format("class {}", "class_index")),
            pl.col("other_class_name").fill_null(pl.format("class {}", "other_class_index")),
            pl.when(pl.col("n_falls").is_not_null()).then(pl.col("n_into").fill_null(0)).alias("n_into"),
        )
        .with_columns((pl.col("n_into") / pl.col("n_falls")).alias("share"))
        .select(
            *("model", "layer", "class_index", "class_name", "other_class_index", "other_class_name"),
            *("value", "stderr", "null", "null_p", "strength", "n_into", "n_falls", "share", "note"),
        )
        .sort("model", "n_into", "class_index", "other_class_index", descending=[False, True, False, False])
    )


def not_found(smallest: pl.DataFrame, *, threat: str) -> pl.DataFrame:
    """The rows of `smallest` of one search, with the share of each class that stood up to the largest epsilon."""
    stood = (pl.col("n_clean_correct") - pl.col("n_found")) / pl.col("n_images")
    rows = smallest.filter(pl.col("threat") == threat).with_columns(stood.alias("share_not_found"))
    return rows.drop("threat").sort("model", "class_index")


def survival_steps(verdicts: pl.DataFrame, *, threat: str) -> pl.DataFrame:
    """The share of each class that stands beyond each epsilon of one search: corners of a curve that falls in steps.

    A row a model, class and corner: model, class_index, epsilon, accuracy; from epsilon 0 to the largest searched.
    """
    rows = []
    found = verdicts.filter((pl.col("threat") == threat) & pl.col("smallest_strength").is_not_null())
    for (model, label), group in found.group_by("model", "label", maintain_order=True):
        epsilons = np.sort(reals(group, "smallest_strength"))
        standing = 1 - np.arange(len(epsilons) + 1) / len(epsilons)
        fell = int(np.isfinite(epsilons).sum())
        across = [0.0, *np.repeat(epsilons[:fell], 2), float(reals(group, "strength").max())]
        up = np.repeat(standing[: fell + 1], 2)
        rows.append(
            pl.DataFrame({"epsilon": across, "accuracy": up}).with_columns(model=pl.lit(model), class_index=label)
        )
    empty = {"model": pl.String, "class_index": pl.Int64, "epsilon": pl.Float64, "accuracy": pl.Float64}
    return pl.concat(rows).select(*empty) if rows else pl.DataFrame(schema=empty)


def square(pairs: pl.DataFrame, column: str) -> tuple[list[int], Reals]:
    """A column of ordered pairs of classes as a matrix: the classes in order, and (n, n), NaN where there is none."""
    classes = sorted({*pairs["class_index"], *pairs["other_class_index"]})
    matrix = np.full((len(classes), len(classes)), np.nan)
    rows, columns = (np.searchsorted(classes, pairs[name].to_numpy()) for name in ("class_index", "other_class_index"))
    matrix[rows, columns] = reals(pairs, column)
    return classes, matrix


def displaced(geometry: pl.DataFrame) -> pl.DataFrame:
    """The rows of `geometry` that say where attacked images of a class moved."""
    return geometry.filter(
        (pl.col("threat").fill_null("") != "")
        & (pl.col("class_index") >= 0)
        & pl.col("measure").str.starts_with("displacement")
    )


def displacement_table(geometry: pl.DataFrame, *, layer: str, threat: str) -> pl.DataFrame:
    """A row a model, strength and class: how far its attacked images moved, and what shares of it lie where.

    The columns are the measures without `displacement_`, with `_stderr` for the standard errors of the shares;
    `n_images` moved. Classes of which none moved are left out.
    """
    rows = displaced(geometry).filter((pl.col("layer") == layer) & (pl.col("threat") == threat))
    columns = ["size", "relative", "cosine", *SHARES]
    columns += [f"{share}_{control}" for share in SHARES for control in ("held_out", "random", "layer")]
    of = {name: pl.col("measure") == ("displacement" if name == "size" else f"displacement_{name}") for name in columns}
    value, stderr = (pl.col(name).fill_nan(None) for name in ("value", "stderr"))
    table = rows.group_by("model", "strength", "class_index").agg(
        pl.col("class_name").first(),
        pl.col("n_points").filter(of["size"]).first().alias("n_images"),
        *(value.filter(which).first().alias(name) for name, which in of.items()),
        *(stderr.filter(of[name]).first().alias(f"{name}_stderr") for name in SHARES),
    )
    return table.filter(pl.col("own").is_not_null()).sort("model", "strength", "class_index")


def telling_displacement(table: pl.DataFrame, robustness: pl.DataFrame, *, threat: str, iterate: str) -> pl.DataFrame:
    """Of a table of displacements, each network's rows at its telling strength, or else at the largest there is."""
    strengths = telling_strengths(class_accuracy(robustness, attack=threat, iterate=iterate))
    wanted = strengths.select("model", pl.col("strength").alias("wanted")).unique()
    return (
        table.join(wanted, on="model", how="left")
        .filter(
            pl.when((pl.col("strength") == pl.col("wanted")).any().over("model"))
            .then(pl.col("strength") == pl.col("wanted"))
            .otherwise(pl.col("strength") == pl.col("strength").max().over("model"))
        )
        .drop("wanted")
        .sort("model", "class_index")
    )


def shifted_beside_clean(shifted: pl.DataFrame, *, dataset: str) -> pl.DataFrame:
    """A row a model and class: accuracy on another dataset beside the clean one, and the change, with 95% intervals.

    Of the accuracies the intervals are Wilson's; of the change Newcombe's, for independent images.
    """
    table = beside_clean(shifted.filter(pl.col("dataset") == dataset))
    low, high = wilson(reals(table, "n_correct"), reals(table, "n_images"))
    clean_low, clean_high = wilson(reals(table, "n_clean_correct"), reals(table, "n_clean"))
    return table.with_columns(
        pl.Series("accuracy_low", low, dtype=pl.Float64),
        pl.Series("accuracy_high", high, dtype=pl.Float64),
        pl.Series("clean_low", clean_low, dtype=pl.Float64),
        pl.Series("clean_high", clean_high, dtype=pl.Float64),
    ).select(
        *("model", "class_index", "class_name", "n_images", "accuracy", "accuracy_low", "accuracy_high"),
        *("n_clean", "clean_accuracy", "clean_low", "clean_high", "change", "change_low", "change_high"),
    )


def spectra_table(spectra: Sequence[SpectrumPicture]) -> pl.DataFrame:
    """A row a class spectrum: its size and how its variance is shared out."""
    rows = []
    for picture in spectra:
        share = shares(picture.variances)
        cumulative = np.cumsum(share)
        rows.append(
            {
                "model": picture.model,
                "layer": picture.layer,
                "class_name": picture.class_name,
                "n_points": picture.n_points,
                "n_features": picture.n_features,
                "total_variance": float(picture.variances.sum()),
                "first_component": float(share[0]) if share.size else None,
                "first_ten_components": float(cumulative[min(9, share.size - 1)]) if share.size else None,
                "components_for_95_percent": reaches(cumulative, 0.95) if share.size else None,
            }
        )
    return pl.DataFrame(rows)


def correlations_table(correlations: Sequence[CorrelationPicture]) -> pl.DataFrame:
    """A row a correlation matrix: its mean absolute correlation beside the chance baseline."""
    return pl.DataFrame(
        [
            {
                "model": picture.model,
                "layer": picture.layer,
                "class_name": picture.class_name,
                "features_drawn": picture.matrix.shape[0],
                "mean_absolute_correlation": picture.mean_absolute,
                "by_chance": picture.baseline,
            }
            for picture in correlations
        ]
    )


def examples_table(examples: Sequence[ExamplePicture]) -> pl.DataFrame:
    """A row an attacked image: what the network said before and after, and how far the farthest pixel moved."""
    return pl.DataFrame(
        [
            {
                "model": picture.model,
                "image": picture.image,
                "class_name": picture.class_name,
                "threat": picture.threat,
                "strength": picture.strength,
                "predicted_before": predicted(picture.clean_name, picture.clean_prediction),
                "predicted_after": predicted(picture.last_name, picture.last_prediction),
                "largest_change": float(np.abs(picture.adversarial - picture.original).max(initial=0.0)),
            }
            for picture in examples
        ]
    )


def reals(table: pl.DataFrame, column: str) -> Reals:
    return np.asarray(table[column].cast(pl.Float64).fill_null(float("nan")).to_numpy(), dtype=np.float64)


def shares(variances: Reals) -> Reals:
    finite = np.clip(variances[np.isfinite(variances)], 0, None)
    return finite / finite.sum() if finite.sum() > 0 else np.empty(0)


def reaches(cumulative: Reals, fraction: float) -> int:
    return min(int(np.searchsorted(cumulative, fraction - 1e-12)) + 1, cumulative.size)


def predicted(name: str, index: int) -> str:
    return plain(name) if name else f"class {index}"
