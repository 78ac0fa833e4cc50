"""The words of the study `cifar10-zoo-profiles`, from its stored tables."""

from __future__ import annotations

from collections import Counter

import polars as pl

from manifoldscope.evidence.depth import Profile, profiles

TABLES = {
    "models": None,
    "layers": None,
    "geometry": (pl.col("attack").fill_null("") == "") & (pl.col("class_index") >= 0),
}
UNUSED = ("note", "split", "stderr", "falls_when_halved")
FIGURES = ["depth_profile"]
FINDINGS: list[str] = []
NAMES = {"pca_dimension": "PCA dimension (95%)", "participation_ratio": "participation ratio", "two_nn": "TwoNN"}
SHAPES = {
    "peak": "rise to a peak and fall",
    "rises": "rise",
    "falls": "fall",
    "open": "neither rise nor fall clearly",
}


def page(tables: dict[str, pl.DataFrame]) -> str:
    """The page, but for figures and what it took."""
    found = profiles(tables)
    by_measure = {name: [each for each in found if each.measure == name] for name in NAMES}
    answers = "; ".join(f"{NAMES[name]}: {_shapes(each)}" for name, each in by_measure.items())
    rows = "\n".join(_row(each) for each in by_measure["pca_dimension"])
    intrinsic = "\n".join(_row(each) for each in by_measure["two_nn"])
    n_layers = tables["layers"].group_by("model").len()["len"]
    return f"""# Twelve CIFAR-10 networks through their depth

How do the dimensions of class manifolds change from the first layer to the last? The twelve networks of
[cifar10-zoo](../cifar10-zoo/README.md), every layer ({n_layers.min()} to {n_layers.max()} a network), 100 images of each class;
layers are flattened, as in the original study, and nothing is attacked.

**Answer.** Of the twelve networks, by what the intervals over ten classes support: {answers}.

| PCA dimension (95%), mean over classes | layers | first | largest | last | shape |
|---|---|---|---|---|---|
{rows}

| TwoNN, mean over classes | layers | first | largest | last | shape |
|---|---|---|---|---|---|
{intrinsic}

In brackets the layer at which the mean is largest, and its relative depth. "Peak" means that the largest mean exceeds both
ends by more than simultaneous 95% intervals over the classes leave open.

**What is in doubt.** 100 images bound every PCA dimension by 99, and in wide layers it comes near that: such values tell of the
sample, and a profile of them falls where layers become narrower than the sample is large. The intrinsic dimension (TwoNN) is not
bounded so. Ten classes of one dataset; networks of {n_layers.min()} to {n_layers.max()} layers, half of them of {n_layers.median():.0f} or fewer.
"""


def _shapes(found: list[Profile]) -> str:
    counted = Counter(each.shape for each in found)
    return ", ".join(f"{n} {SHAPES[shape]}" for shape, n in counted.most_common())


def _row(each: Profile) -> str:
    peak = f"{each.peak.mean.value:.1f} ({each.peak.layer}, {each.peak.depth:.2f})"
    ends = f"{each.first.mean.value:.1f} | {peak} | {each.last.mean.value:.1f}"
    return f"| {each.model.removeprefix('cifar_')} | {len(each.compared)} | {ends} | {each.shape} |"
