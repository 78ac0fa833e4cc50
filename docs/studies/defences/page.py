"""The words of the study `defences`, from its stored tables."""

from __future__ import annotations

import polars as pl

from manifoldscope.report.findings.phrases import plural
from manifoldscope.report.words import attack

TABLES = {
    "models": None,
    "defences": None,
    "robustness": pl.col("strength") > 0,
    "transfer": None,
    "checks": pl.col("passed").not_(),
    "training_costs": None,
}
FIGURES = ["defences"]
FINDINGS = ["defences"]
STRENGTH = 0.1


def page(tables: dict[str, pl.DataFrame]) -> str:
    """The page, but for figures and what it took."""
    rows = tables["defences"].filter(pl.col("strength") == STRENGTH).sort("robust_accuracy", descending=True)
    table = "\n".join(_row(row) for row in rows.iter_rows(named=True))
    of = {row["model"]: row for row in rows.iter_rows(named=True)}
    standard, best = of["standard"], rows.row(0, named=True)
    others = [row for name, row in of.items() if name not in ("standard", best["model"])]
    above = [row["model"] for row in others if row["robust_low"] > standard["robust_high"]]
    below = [row["model"] for row in others if row["robust_high"] < standard["robust_low"]]
    within = [row["model"] for row in others if row["model"] not in (*above, *below)]
    sides = [(above, "above standard training"), (within, "not told apart from it"), (below, "below it")]
    placed = "; ".join(f"{side}: {', '.join(names)}" for names, side in sides if names)
    clean, lost = rows["clean_accuracy"], [row["model"] for row in [*others, best] if (row["clean_loss_low"] or 0) > 0]
    cost = (
        f"{', '.join(lost)} lost clean accuracy by more than these images leave open"
        if lost
        else f"no loss of clean accuracy is seen ({clean.min():.1%} to {clean.max():.1%}, on {best['n_images']} images)"
    )
    failed = tables["checks"]
    said = "; ".join(f"{row['model']}: {row['check']} ({row['note']})" for row in failed.iter_rows(named=True))
    return f"""# What defences cost, and what they lose

Adversarial training, a fixed Gabor front end, a denoiser in front, noise on the input in training, and a vote over noisy
copies, beside standard training of the same small network (`small:cnn`) on MNIST, less than a minute of training each.
{best["n_images"]} images are attacked by AutoAttack and PGD; a network that votes is attacked with its noise known.

**Answer.** At epsilon {STRENGTH:g} (L-infinity) {best["model"]} keeps {best["robust_accuracy"]:.1%}
(95%: {best["robust_low"]:.1%} to {best["robust_high"]:.1%}), standard training {standard["robust_accuracy"]:.1%}
({standard["robust_low"]:.1%} to {standard["robust_high"]:.1%}). By the intervals of the images, {placed}. For what they gain,
{cost}. What they cost instead is time: of training, or, of a vote and a denoiser, of every image.

| network | clean | robust at {STRENGTH:g} | training time | multiply-adds per image | parameters |
|---|---|---|---|---|---|
{table}

Robust: misclassified by none of {" and ".join(attack(name) for name in rows["attacks"][0].split(" + "))}. Times are relative to standard training;
the networks were trained one after the other, with nothing beside.

{_transfer(tables)}

**What is in doubt.** {f"{plural(len(failed), 'check')} failed ({said})." if len(failed) else "Every check passed."} One network of each, so
that a difference of a few points may be one of seeds; one small network on MNIST, where noise and denoisers have it easy. At full size: `full.toml`, not run.
"""


def _row(row: dict[str, float]) -> str:
    robust = f"{row['robust_accuracy']:.1%} ({row['robust_low']:.1%} to {row['robust_high']:.1%})"
    relative = (
        "-" if row[name] is None else f"{row[name]:.2f}" for name in ("relative_seconds", "relative_multiply_adds")
    )
    return f"| {row['model']} | {row['clean_accuracy']:.1%} | {robust} | {' | '.join(relative)} | {row['n_parameters']:,} |"


def _transfer(tables: dict[str, pl.DataFrame]) -> str:
    """What examples of the vote do to the same weights under other noise."""
    name, other = "noise vote", "noise vote, other noise"
    rows = tables["transfer"].filter(
        (pl.col("strength") == STRENGTH)
        & (pl.col("source_model") == name)
        & pl.col("target_model").is_in([name, other])
    )
    by = rows.group_by("target_model").agg(share=pl.col("n_misclassified").sum() / pl.col("n_clean_correct").sum())
    found = dict(by.iter_rows())
    if other not in found:
        return "Transfer between the two draws of the vote's noise was not measured."
    return (
        f"The two votes have the same weights and other noise. Of the images that each classifies correctly, those that PGD "
        f"made with the noise of the first known are misclassified by the first in {found[name]:.1%} and by the second in "
        f"{found[other]:.1%} of cases at epsilon {STRENGTH:g}: the white-box figure above is of one draw of the noise."
    )
