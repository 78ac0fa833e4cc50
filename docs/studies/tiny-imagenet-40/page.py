"""The words of the study `tiny-imagenet-40`, from its stored tables."""

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
    "training_costs": None,
}
FIGURES = ["dimension_against_accuracy", "specifications"]
FINDINGS = ["association", "specifications"]
STRENGTH = 0.00392
OUTCOMES = (
    ("robust_accuracy", "pearson", ""),
    ("log_odds", "two_draws", "margin"),
    ("log_odds", "two_draws", "clean_accuracy"),
)


def page(tables: dict[str, pl.DataFrame]) -> str:
    """The page, but for figures and what it took."""
    networks = tables["models"]["model"].to_list()
    cells = {
        (row["model"], row["outcome"], row["method"], row["controls"] or ""): row
        for row in tables["associations"]
        .filter((pl.col("measure") == "pca_dimension") & (pl.col("attack") == "pgd") & (pl.col("strength") == STRENGTH))
        .iter_rows(named=True)
    }
    rows = "\n".join(_row(tables, cells, network) for network in networks)
    failed = tables["checks"]
    said = "; ".join(f"{row['model']}: {row['check']} ({row['note']})" for row in failed.iter_rows(named=True))
    return f"""# Forty classes of Tiny ImageNet

Are the classes with fewer dimensions more robust, beyond how hard they are when clean? Ten classes cannot say; here are 40.
`small:resnet8` at 32 x 32 pixels, trained on 200 images of each class, standard and adversarial (N-FGSM at 2/255), two seeds
each. 100 other images of each class are measured before the classifier, 50 of the validation set attacked.

**Answer.** {_answer(cells, networks)}

| network | clean | PGD 1/255 | PGD 2/255 | PCA dimension (95%) | raw r, PGD 1/255 | given the margin | given clean accuracy |
|---|---|---|---|---|---|---|---|
{rows}

r is Pearson's, of PCA dimension and robust accuracy over the 40 classes at 1/255, any iterate. The next columns are the
two-draw test of the log-odds among the images that are correct when clean: difficulty is held fixed on both draws of images,
by the margin and by clean accuracy (docs/evidence.md). In brackets 95% intervals; p is by joint permutations of the classes
over all measures, attacks and epsilons of the network, adjusted by the maximum statistic. A strong claim needs both controls.

**What is in doubt.** {f"{plural(len(failed), 'check')} failed ({said})." if len(failed) else "Every check passed."} The networks are small
and far from solving their task, and 40 classes of 50 attacked images show strong associations only: `manifoldscope plan` says
how many more would be needed. Two seeds of two trainings of one architecture. At full size: `full.toml`, not run.
"""


def _answer(cells: dict[tuple[str, ...], dict[str, float]], networks: list[str]) -> str:
    """What is seen raw, and of that with difficulty held fixed: by the adjusted p, at one epsilon."""
    raw, *given = ([cells[network, *which] for network in networks] for which in OUTCOMES)
    gates = {row["gate"] for rows in given for row in rows if row["gate"]}
    left = (
        f"In some networks difficulty cannot be held fixed ({', '.join(sorted(gates))})"
        if gates
        else "Difficulty can be held fixed in every network"
    )
    clear, *counts = [sum((row["p_adjusted"] or 1) < 0.05 for row in rows) for rows in (raw, *given)]
    least = min(row["low"] for rows in given for row in rows)
    highest = max(row["high"] for rows in given for row in rows)
    most = max(abs(row["coefficient"]) for rows in given for row in rows)
    return (
        f"Raw, the classes with fewer dimensions are the more robust in every network (r = {_all(raw)}; adjusted p below 0.05 in "
        f"{clear} of {len(networks)}), as in the original study"
        if max(row["coefficient"] for row in raw) < 0
        else f"Raw, the sign differs between networks (r = {_all(raw)})"
    ) + (
        f". {left}, and then nothing is seen: with the margin held fixed r = {_all(given[0])}, with clean accuracy {_all(given[1])}. "
        f"How hard a class is when clean is enough to explain the raw association; the intervals below, {least:+.2f} to {highest:+.2f} "
        "in all, do not exclude a moderate one beside it."
        if not any(counts)
        else f". {left}: an association is left given the margin in {counts[0]}, given clean accuracy in {counts[1]} of "
        f"{len(networks)} networks, of {most:.2f} at most."
    )


def _all(rows: list[dict[str, float]]) -> str:
    return ", ".join(f"{row['coefficient']:+.2f}" for row in rows)


def _row(tables: dict[str, pl.DataFrame], cells: dict[tuple[str, ...], dict[str, float]], network: str) -> str:
    robust = tables["robustness"].filter((pl.col("model") == network) & (pl.col("attack") == "pgd"))
    pooled = dict(robust.group_by("strength").agg(pl.col("n_robust").sum() / pl.col("n_images").sum()).iter_rows())
    clean = tables["models"].filter(model=network)["clean_accuracy"][0]
    mean = tables["geometry"].filter(model=network, measure="pca_dimension")["value"].mean()
    told = " | ".join(_told(cells.get((network, *which))) for which in OUTCOMES)
    return f"| {network} | {clean:.1%} | {pooled[STRENGTH]:.1%} | {pooled[0.00784]:.1%} | {mean:.1f} | {told} |"


def _told(row: dict[str, float] | None) -> str:
    if row is None or row["coefficient"] is None:
        return "cannot be answered" if row is None or row["gate"] else str(row["note"])
    text = f"{row['coefficient']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f}; p = {row['p_adjusted']:.2g})"
    return f"{text}, not reliable enough" if row["gate"] else text
