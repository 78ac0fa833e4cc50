"""The words of the study `n-classes`, from its stored tables."""

from __future__ import annotations

import polars as pl

from manifoldscope.evidence.number_of_classes import numbers_of_classes

TABLES = {
    "models": None,
    "geometry": (pl.col("attack").fill_null("") == "") & (pl.col("class_index") >= 0),
    "robustness": pl.col("iterate") == "any",
    "checks": pl.col("passed").not_(),
    "training_costs": None,
}
FIGURES = ["number_of_classes"]
FINDINGS: list[str] = []
NAMES = {
    "pca_dimension": "PCA dimension (95%)",
    "participation_ratio": "participation ratio",
}


def page(tables: dict[str, pl.DataFrame]) -> str:
    """The page, but for figures and what it took."""
    facts = {fact.measure: fact for fact in numbers_of_classes(tables, main=False)}
    fact = facts["pca_dimension"]
    numbers = [each.n_classes for each in fact.trained]
    rows = "\n".join(
        f"| {NAMES[name]} | "
        + " | ".join(f"{each.value:.3g} ({each.low:.3g} to {each.high:.3g})" for each in facts[name].trained)
        + f" | {facts[name].change:+.3g} ({facts[name].change_low:.3g} to {facts[name].change_high:.3g}) |"
        for name in NAMES
        if name in facts
    )
    seeds = "; ".join(
        f"{each.n_classes} classes: {each.seed_deviation:.2g}"
        for each in fact.trained
        if each.seed_deviation is not None
    )
    way = "more" if fact.change > 0 else "fewer"
    clear = fact.change_low * fact.change_high > 0
    answer = (
        f"Class manifolds have {way} dimensions in networks that are trained on more classes"
        if clear
        else "No clear change of the dimension with the number of classes"
    )
    accuracies = _accuracies(tables["robustness"], fact.n_common)
    return f"""# Dimension against the number of training classes

The original study asked whether class manifolds take more dimensions the more classes a network has to tell apart. The same
small network (`small:resnet8`, 32 x 32 pixels) is trained on the first {", ".join(map(str, numbers[:-1]))} and {numbers[-1]} of 40 classes
of Tiny ImageNet, 200 images of each, two seeds; 100 other images of each class are measured before the classifier. All numbers
are of the {fact.n_common} classes that every network knows.

**Answer.** {answer}: from {numbers[0]} to {numbers[-1]} classes the mean PCA dimension goes from {fact.trained[0].value:.3g} to
{fact.trained[-1].value:.3g}, a change of {fact.change:+.3g} (95%: {fact.change_low:.3g} to {fact.change_high:.3g}, over the
{fact.n_common} classes); it is larger for {fact.n_rising} of them.

| | {" | ".join(f"{n} classes" for n in numbers)} | change, first to last |
|---|{"---|" * (len(numbers) + 1)}
{rows}

In brackets 95% intervals over the common classes (Student's t, {fact.n_common - 1} degrees of freedom). Standard deviation of
the mean dimension over the two seeds: {seeds}.

{accuracies}

**What is in doubt.** More classes are more images and more steps as well: {numbers[0]} classes are {200 * numbers[0]:,} training
images, {numbers[-1]} are {200 * numbers[-1]:,}, with as many epochs. Networks on few classes are also easier and see less, and
the accuracies above show how far these small networks are from solving their task. Two seeds and {fact.n_common} classes show
large changes only. Radius and capacity were measured too (`tables/geometry.csv`), but are of all classes that a network
knows together, so that they cannot be compared between these networks. At full size: `manifoldscope run n-classes`.
"""


def _accuracies(robustness: pl.DataFrame, n_common: int) -> str:
    """Clean and robust accuracy on the common classes, by network."""
    own = robustness.filter((pl.col("class_index") >= 0) & (pl.col("class_index") < n_common))
    found = own.group_by("model", "strength").agg(accuracy=pl.col("n_robust").sum() / pl.col("n_images").sum())
    wide = found.pivot("strength", index="model", values="accuracy", sort_columns=True)
    order = wide.with_columns(place=pl.col("model").str.extract(r"(\d+)").cast(pl.Int64)).sort("place", "model")
    strengths = [column for column in order.columns if column not in ("model", "place")]
    rows = "\n".join(
        f"| {row['model']} | " + " | ".join(f"{row[column]:.1%}" for column in strengths) + " |"
        for row in order.iter_rows(named=True)
    )
    heads = " | ".join("clean" if float(each) == 0 else f"PGD {255 * float(each):.2g}/255" for each in strengths)
    return f"| on the common classes | {heads} |\n|---|{'---|' * len(strengths)}\n{rows}"
