"""The words of the study `mnist`, from its stored tables."""

from __future__ import annotations

import polars as pl

TABLES = {
    "models": None,
    "geometry": (pl.col("attack").fill_null("") == "") & (pl.col("class_index") >= 0),
    "robustness": pl.col("strength").is_in([0.3, 0.4]),
    "associations": pl.col("model") == "*",
    "checks": pl.col("passed").not_(),
    "training_costs": None,
}
FIGURES = ["comparison"]
FINDINGS: list[str] = []
TRAINED = ("random", "standard", "adversarial")
ORIGINAL = {"random": (502, "0.4%"), "standard": (322, "7.8%"), "adversarial": (148, "31.6%")}


def page(tables: dict[str, pl.DataFrame]) -> str:
    """The page, but for figures and what it took."""
    rows = [_row(tables, name) for name in TRAINED]
    flat = {name: _mean(tables, name, "flatten", standardised=True) for name in TRAINED}
    last = {name: _mean(tables, name, "penultimate", standardised=False) for name in TRAINED}
    orders = [" > ".join(sorted(found, key=lambda name: -found[name][0])) for found in (flat, last)]
    same = orders[0] == "random > standard > adversarial"
    ratio = {
        name: _mean(tables, name, "penultimate", standardised=False, measure="participation_ratio") for name in TRAINED
    }
    of_ratio = " > ".join(sorted(ratio, key=lambda name: -ratio[name][0]))
    compared = "\n".join(
        f"| {name} | {flat[name][0]:.0f} ({flat[name][1]:.0f}) | {ORIGINAL[name][0]} | "
        f"{_robust(tables, name, 'fgsm', 0.4)} | {ORIGINAL[name][1]} |"
        for name in TRAINED
    )
    others = "\n".join(_other(tables, name) for name in tables["models"]["model"] if not name.startswith(TRAINED))
    across = tables["associations"].filter(
        (pl.col("measure") == "pca_dimension")
        & ~pl.col("parameters").str.contains("standardise")
        & (pl.col("attack") == "pgd")
        & (pl.col("strength") == 0.3)
        & (pl.col("outcome") == "robust_accuracy")
        & (pl.col("method") == "spearman")
    )
    tested = "; ".join(
        f"{row['layer']}, {row['iterate']} iterate: {row['coefficient']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f}), adjusted p = "
        f"{row['p_adjusted']:.2g}, {row['n']} networks"
        for row in across.iter_rows(named=True)
        if row["p_adjusted"] is not None and row["low"] is not None
    )
    return f"""# What training does to the class manifolds of MNIST networks

Random weights, standard and adversarial training (PGD at epsilon 0.3) of `small:cnn`, three seeds each, beside six trained
networks of other people. 500 images of each class are measured, 50 others attacked. Training takes 2,000 images of each class;
at full size (`full.toml`) it takes all.

**Answer.** At the flattened convolution, with standardised features as in the original study, the order of the mean dimensions
is {orders[0]}: {"the order of the original study" if same else "not the order of the original study, random > standard > adversarial"}.
At the last hidden layer, plain PCA, it is {orders[1]}{" too" if orders[1] == orders[0] else ""}; by the participation ratio there it is {of_ratio}.
{"So which training has the fewer dimensions depends on the measure." if of_ratio != orders[1] else "So the measures agree on the order."}
Across all networks the rank correlation of dimension and accuracy under PGD at 0.3 is: {tested or "not tested (too few networks)"}.

| training | clean | PGD 0.3 | dimension, flattened convolution | dimension, last hidden layer | participation ratio, last hidden layer |
|---|---|---|---|---|---|
{chr(10).join(rows)}

Means over ten classes and three seeds; in brackets the standard deviation of that mean over seeds.

| beside the original | dimension, standardised | original | FGSM 0.4 | original |
|---|---|---|---|---|
{compared}

The original's dimensions are of another number of images, of which they depend; only their order can be compared.

| other networks | clean | PGD 0.3 | dimension, last hidden layer |
|---|---|---|---|
{others}

**What is in doubt.** {_failed(tables)} Within a network, ten classes cannot hold clean difficulty fixed. One architecture and
three seeds of three trainings say what these trainings do to this network, and nothing of why robust networks are robust.
"""


def _of(table: pl.DataFrame, name: str) -> pl.DataFrame:
    return table.filter((pl.col("model") == name) | pl.col("model").str.starts_with(f"{name}/"))


def _mean(
    tables: dict[str, pl.DataFrame], name: str, layer: str, *, standardised: bool, measure: str = "pca_dimension"
) -> tuple[float, float]:
    """The mean over classes and seeds, and its standard deviation over seeds."""
    rows = _of(tables["geometry"], name).filter(
        (pl.col("layer") == layer)
        & (pl.col("measure") == measure)
        & (pl.col("parameters").fill_null("").str.contains("standardise") == standardised)
    )
    seeds = rows.group_by("model").agg(pl.col("value").mean())["value"]
    return float(seeds.mean()), float(seeds.std() or 0.0)


def _robust(tables: dict[str, pl.DataFrame], name: str, attack: str, strength: float) -> str:
    rows = _of(tables["robustness"], name).filter((pl.col("attack") == attack) & (pl.col("strength") == strength))
    iterate = "any" if attack == "pgd" else "last"
    counted = rows.filter(pl.col("iterate") == iterate)
    seeds = counted.group_by("model").agg((pl.col("n_robust").sum() / pl.col("n_images").sum()).alias("rate"))["rate"]
    return f"{seeds.mean():.1%}" + (f" ({100 * seeds.std():.1f})" if len(seeds) > 1 else "")


def _row(tables: dict[str, pl.DataFrame], name: str) -> str:
    clean = _of(tables["models"], name)["clean_accuracy"]
    cells = [
        _mean(tables, name, "flatten", standardised=False),
        _mean(tables, name, "penultimate", standardised=False),
        _mean(tables, name, "penultimate", standardised=False, measure="participation_ratio"),
    ]
    told = " | ".join(f"{mean:.1f} ({deviation:.1f})" for mean, deviation in cells)
    return f"| {name} | {clean.mean():.1%} | {_robust(tables, name, 'pgd', 0.3)} | {told} |"


def _other(tables: dict[str, pl.DataFrame], name: str) -> str:
    clean = _of(tables["models"], name)["clean_accuracy"][0]
    mean, _ = _mean(tables, name, "penultimate", standardised=False)
    return f"| {name} | {clean:.1%} | {_robust(tables, name, 'pgd', 0.3)} | {mean:.1f} |"


def _failed(tables: dict[str, pl.DataFrame]) -> str:
    failed = tables["checks"].filter(~pl.col("model").str.starts_with("random"))
    if failed.is_empty():
        return "Every check passed."
    said = [f"{row['model']}: {row['check']}" for row in failed.iter_rows(named=True)]
    return f"{len(said)} checks failed ({'; '.join(said)})."
