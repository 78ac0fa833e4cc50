"""The words of the study `imagenet-20`, from its stored tables."""

from __future__ import annotations

import polars as pl

from manifoldscope.report.findings.phrases import plural

TABLES = {
    "models": None,
    "geometry": (pl.col("attack").fill_null("") == "") & (pl.col("class_index") >= 0),
    "robustness": pl.col("iterate") == "any",
    "margins": None,
    "associations": (pl.col("model") != "*") & (pl.col("iterate") == "any"),
    "specifications": None,
    "checks": pl.col("passed").not_(),
}
FIGURES = ["dimension_against_accuracy"]
FINDINGS: list[str] = []
STRENGTHS = (0.0002, 0.0005)
ORIGINAL = {0.0002: -0.610, 0.0005: -0.636}
"""Pearson's r of ResNet-50 over 100 classes in the original table."""


def page(tables: dict[str, pl.DataFrame]) -> str:
    """The page, but for figures and what it took."""
    networks = tables["models"]["model"].to_list()
    rows = "\n".join(_row(tables, network, strength) for network in networks for strength in STRENGTHS)
    raw = [
        _cell(tables, network, strength, "robust_accuracy", "pearson") for network in networks for strength in STRENGTHS
    ]
    seen = [row for row in raw if row is not None and row["p_adjusted"] is not None and row["p_adjusted"] < 0.05]
    gates = sorted({row["gate"] for row in tables["associations"].iter_rows(named=True) if row["gate"]})
    answered = [
        row
        for network in networks
        for strength in STRENGTHS
        for row in [_cell(tables, network, strength, "log_odds", "two_draws", "margin")]
        if row is not None and row["coefficient"] is not None and not row["gate"]
    ]
    beyond = (
        f"With the margin held fixed it can be asked in {len(answered)} of {len(raw)} cells, and is seen in "
        f"{sum(row['p_adjusted'] < 0.05 for row in answered) or 'none'}."
        if answered
        else f"Whether anything is left beyond clean difficulty *cannot be answered* with these data ({', '.join(gates)})."
    )
    failed = tables["checks"]
    said = "; ".join(f"{row['model']}: {row['check']} ({row['note']})" for row in failed.iter_rows(named=True))
    n_images = tables["robustness"]["n_images"].max()
    return f"""# Twenty classes of photographs

ResNet-50, MobileNetV2 and EfficientNet-Lite0 on 20 ImageNet classes: are the classes with fewer dimensions before the
classifier the more robust, at the smallest epsilons of the original study? 50 images of each class are measured, {n_images} others
attacked (PGD, 10 steps, any iterate).

**Answer.** The raw correlation of PCA dimension and robust accuracy is seen in {len(seen) or "none"} of {len(raw)} cells, a network at an
epsilon each.
{beyond} Twenty classes of {n_images} images show only strong associations: the original had 100 classes of 50, and raw r of
{ORIGINAL[0.0002]:+.2f} and {ORIGINAL[0.0005]:+.2f} for ResNet-50.

| network | epsilon | clean | robust | PCA dimension (95%) | raw r (95%; adjusted p) | original | given the margin |
|---|---|---|---|---|---|---|---|
{rows}

r is Pearson's over the 20 classes; p is by joint permutations of the classes over all measures and epsilons of the network,
adjusted by the maximum statistic. The last column is the two-draw test of the log-odds among the images that are correct when
clean (docs/evidence.md). The original's networks have other weights, and its classes and images are others.

**What is in doubt.** {f"{plural(len(failed), 'check')} failed ({said})." if len(failed) else "Every check passed."} A dimension of 50 images
cannot exceed 49, and grows with their number: only its order over classes is used. Checks of attacks are on few images, since
they were run on a CPU. At full size: `full.toml`, not run.
"""


def _cell(
    tables: dict[str, pl.DataFrame], network: str, strength: float, outcome: str, method: str, controls: str = ""
) -> dict[str, float] | None:
    rows = tables["associations"].filter(
        (pl.col("model") == network)
        & (pl.col("measure") == "pca_dimension")
        & (pl.col("strength") == strength)
        & (pl.col("outcome") == outcome)
        & (pl.col("method") == method)
        & (pl.col("controls").fill_null("") == controls)
    )
    return rows.row(0, named=True) if len(rows) else None


def _row(tables: dict[str, pl.DataFrame], network: str, strength: float) -> str:
    robust = tables["robustness"].filter((pl.col("model") == network) & (pl.col("strength") == strength))
    n_images = robust["n_images"].sum()
    clean, kept = robust["n_clean_correct"].sum() / n_images, robust["n_robust"].sum() / n_images
    mean = tables["geometry"].filter(model=network, measure="pca_dimension")["value"].mean()
    raw = _told(_cell(tables, network, strength, "robust_accuracy", "pearson"))
    given = _told(_cell(tables, network, strength, "log_odds", "two_draws", "margin"))
    original = f"{ORIGINAL[strength]:+.2f}" if network == "resnet50" else "-"
    return f"| {network} | {strength:g} | {clean:.1%} | {kept:.1%} | {mean:.1f} | {raw} | {original} | {given} |"


def _told(row: dict[str, float] | None) -> str:
    if row is None or row["coefficient"] is None:
        return "cannot be answered" if row is None or row["gate"] else str(row["note"])
    text = f"{row['coefficient']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f}; {row['p_adjusted']:.2g})"
    return f"{text}, not reliable enough" if row["gate"] else text
