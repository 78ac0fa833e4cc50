"""The words of the study `cifar10-zoo`, from its stored tables."""

from __future__ import annotations

import polars as pl
from scipy import stats

TABLES = {
    "models": None,
    "geometry": pl.col("attack").fill_null("") == "",
    "robustness": None,
    "associations": pl.col("method").is_in(["pearson", "two_draws"]),
    "within_between": None,
    "checks": pl.col("passed").not_(),
    "margins": None,
}
FIGURES = ["within_between", "comparison"]
FINDINGS = ["networks", "within_between", "checks"]


def page(tables: dict[str, pl.DataFrame]) -> str:
    """The page, but for figures, findings and what it took."""
    rows = _networks(tables)
    clean, geometry = rows["clean"], rows["dimension"]
    lines = []
    for column, name in (("aa_2", "2/255"), ("aa_8", "8/255")):
        known = rows.filter(pl.col(column).is_finite() & pl.col("dimension").is_finite())
        rho = stats.spearmanr(known["dimension"], known[column])
        lines.append(f"{rho.statistic:+.2f} at {name} (p = {rho.pvalue:.2g}, {len(known)} networks)")
    table = "\n".join(
        f"| {row['model'].removeprefix('cifar_')} | {row['clean']:.1%} | {row['aa_2']:.1%} | {row['aa_8']:.1%} | "
        f"{row['dimension']:.1f} | {row['ratio']:.1f} |"
        for row in rows.iter_rows(named=True)
    )
    return f"""# Twelve CIFAR-10 networks under AutoAttack

Are the robust classes, and the robust networks, those whose class manifolds have fewer dimensions? Twelve trained
networks (standard, adversarial and verified training; clean accuracy {clean.min():.0%} to {clean.max():.0%} on these
images), the layer before the classifier, 100 images of each class measured and 20 others attacked, by AutoAttack at 2/255
and 8/255. The images are test images of CIFAR-10 that were saved as JPEG.

**Answer.** Within a network: cannot be answered. Ten classes and 20 images a class are too few to hold clean difficulty
fixed. Between networks: Spearman's correlation of the mean PCA dimension with AutoAttack accuracy is {" and ".join(lines)}.
The mean dimension goes from {geometry.min():.1f} to {geometry.max():.1f}; but these networks differ in architecture, width
of the layer and training all at once, so that no order among them says what makes a network robust.

| network | clean | AutoAttack 2/255 | AutoAttack 8/255 | PCA dimension (95%) | participation ratio |
|---|---|---|---|---|---|
{table}

Accuracies are of 200 images, clean ones included; the two measures are means over the ten classes.
"""


def _networks(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """A row per network: accuracies over all classes, and means of measures over them."""
    robust = tables["robustness"].filter((pl.col("attack") == "autoattack") & (pl.col("iterate") == "any"))
    pooled = robust.group_by("model", "strength").agg(
        accuracy=pl.col("n_robust").sum() / pl.col("n_images").sum(),
        clean=pl.col("n_clean_correct").sum() / pl.col("n_images").sum(),
    )
    found = pooled.group_by("model").agg(pl.col("clean").first())
    for name, low, high in (("aa_2", 0.0, 0.01), ("aa_8", 0.01, 1.0)):
        here = pooled.filter((pl.col("strength") > low) & (pl.col("strength") <= high))
        found = found.join(here.select("model", pl.col("accuracy").alias(name)), on="model", how="left")
    for name, measure in (("dimension", "pca_dimension"), ("ratio", "participation_ratio")):
        here = tables["geometry"].filter((pl.col("measure") == measure) & (pl.col("class_index") >= 0))
        mean = here.group_by("model").agg(pl.col("value").mean().alias(name))
        found = found.join(mean, on="model", how="left")
    return found.sort("aa_2", descending=True)
