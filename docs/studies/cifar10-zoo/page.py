"""The words of the study `cifar10-zoo`, from its stored tables."""

from __future__ import annotations

import polars as pl

from manifoldscope.report.findings.phrases import plural

TABLES = {
    "models": None,
    "geometry": (pl.col("attack").fill_null("") == "") & (pl.col("class_index") >= 0),
    "robustness": pl.col("strength") > 0,
    "associations": (pl.col("model") == "*") & (pl.col("attack") == "autoattack"),
    "within_between": pl.col("attack") == "autoattack",
    "checks": pl.col("passed").not_(),
}
FIGURES = ["comparison"]
FINDINGS: list[str] = []
NAMES = {
    "pca_dimension": "PCA dimension (95%)",
    "participation_ratio": "participation ratio",
    "two_nn": "TwoNN",
    "radius": "radius (mean field)",
    "capacity": "capacity (mean field)",
    "centroid_distance": "centroid distance",
    "within_between_ratio": "within / between variance",
}
BUDGETS = ((0.00784, "2/255"), (0.03137, "8/255"))


def page(tables: dict[str, pl.DataFrame]) -> str:
    """The page, but for figures and what it took."""
    networks = _networks(tables)
    clean, dimension = networks["clean"], networks["pca_dimension"]
    across = tables["associations"].filter((pl.col("outcome") == "robust_accuracy") & (pl.col("method") == "spearman"))
    cells = {(row["measure"], row["strength"]): row for row in across.iter_rows(named=True)}
    first = cells["pca_dimension", 0.00784]
    smallest = min(row["p_adjusted"] for row in cells.values())
    ratio = networks["pca_dimension"].max() / networks["pca_dimension"].min()
    between = "\n".join(
        f"| {name} | " + " | ".join(_told(cells[measure, strength]) for strength, _ in BUDGETS) + " |"
        for measure, name in NAMES.items()
    )
    rows = "\n".join(
        f"| {row['model'].removeprefix('cifar_')} | {row['clean']:.1%} | {row['0.00784']:.1%} | {row['0.03137']:.1%} | "
        f"{row['pca_dimension']:.1f} | {row['participation_ratio']:.1f} |"
        for row in networks.iter_rows(named=True)
    )
    failed = tables["checks"]
    said = "; ".join(
        f"{row['model'].removeprefix('cifar_')}: {row['check']} ({row['note']})" for row in failed.iter_rows(named=True)
    )
    return f"""# Twelve CIFAR-10 networks under AutoAttack

Are the robust classes, and the robust networks, those whose class manifolds have fewer dimensions? Twelve trained networks
(standard, adversarial and verified training; clean accuracy {clean.min():.0%} to {clean.max():.0%} on these images), the layer
before the classifier; 100 images of each class are measured and 20 others are attacked. The images are CIFAR-10's test images
saved as JPEG, on which the standard networks lose about ten points.

**Answer.** Within a network: *cannot be answered* with ten classes, on which clean difficulty cannot be held fixed. Between
the networks there is no sign that fewer dimensions go with robustness: the rank correlation of the mean PCA dimension with
AutoAttack accuracy at 2/255 is {first["coefficient"]:+.2f} ({first["low"]:+.2f} to {first["high"]:+.2f}), which is if anything
the other way round; adjusted for all measures, attacks and epsilons of the study no p below is smaller than
{smallest:.2f}. Twelve networks would show
only very strong associations. They also differ in architecture, width of the layer and training all at once (the mean dimension
differs {ratio:.1f}-fold, {dimension.min():.0f} to {dimension.max():.0f}): no order among them says what makes a network robust.

| between networks, Spearman (95%; adjusted p) | AutoAttack 2/255 | AutoAttack 8/255 |
|---|---|---|
{between}

p is by permutations of the networks, joint over all measures, attacks and epsilons of the study, PGD's included, and
adjusted by the maximum statistic.

| network | clean | AutoAttack 2/255 | AutoAttack 8/255 | PCA dimension (95%) | participation ratio |
|---|---|---|---|---|---|
{rows}

Accuracies are of 200 images, so that 50% is known to about seven points; the two measures are means over the ten classes.

**What is in doubt.** {f"{plural(len(failed), 'check')} failed ({said})." if len(failed) else "Every check passed."} The studies that
had fewer dimensions in more robust networks compared networks of one architecture, trained in different ways; these networks
cannot repeat that.
"""


def _told(row: dict[str, float]) -> str:
    return f"{row['coefficient']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f}; {row['p_adjusted']:.2f})"


def _networks(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """A row per network: accuracies over all classes, and means of measures over them."""
    robust = tables["robustness"].filter(pl.col("attack") == "autoattack")
    pooled = robust.group_by("model", "strength").agg(
        accuracy=pl.col("n_robust").sum() / pl.col("n_images").sum(),
        clean=pl.col("n_clean_correct").sum() / pl.col("n_images").sum(),
    )
    found = pooled.group_by("model").agg(pl.col("clean").first())
    for strength, _ in BUDGETS:
        here = pooled.filter(pl.col("strength") == strength)
        found = found.join(here.select("model", pl.col("accuracy").alias(str(strength))), on="model", how="left")
    for measure in ("pca_dimension", "participation_ratio"):
        mean = tables["geometry"].filter(measure=measure).group_by("model").agg(pl.col("value").mean().alias(measure))
        found = found.join(mean, on="model", how="left")
    return found.sort("0.00784", "model", descending=[True, False])
