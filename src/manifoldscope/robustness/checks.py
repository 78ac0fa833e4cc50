"""Is this evaluation to be trusted? Each check is a row with its evidence.

The rules follow Carlini et al. 2019, "On evaluating adversarial robustness", and Pintor et al. 2022, "Indicators of
attack failure". A failed check does not stop anything: it is shown beside the result that it puts in doubt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import polars as pl
import torch
from scipy import stats
from torch.nn import functional as F

from manifoldscope.errors import ModelError
from manifoldscope.robustness.threat import THREATS, Threat
from manifoldscope.tables import near_chance
from manifoldscope.vision.images import ImageSet, batches
from manifoldscope.vision.network import Network, undisturbed

Row = dict[str, Any]

DETERMINISM_TOLERANCE = 1e-4
"""Repeated passes may differ by this share of the largest logit."""
SILENT_SUCCESS = 0.05
"""Share of images that may be misclassified at some iterate and not at the last."""
CHANCE_P_VALUE = 0.01
"""How rarely a network that is right half of the time may do as badly as one that is said to guess."""


def check(name: str, passed: bool, value: float | None, expected: str, note: str = "") -> Row:
    """One row of the table `checks`, but for the model's name."""
    return {"check": name, "passed": passed, "value": value, "expected": expected, "note": note}


def network_checks(network: Network, images: ImageSet, *, batch_size: int = 128) -> list[Row]:
    """What can be seen of a network without attacking it: inputs, state, outputs, determinism, gradients.

    Args:
        images: clean images; at most the first `batch_size` are used.

    Raises:
        ModelError: logits that are NaN or infinite, or not of shape (n, n_classes).
    """
    where = next(batches(len(images), batch_size))
    pixels = network.pixels(images, where).to(network.device)
    labels = images.labels[where].to(network.device)
    before = {name: value.clone() for name, value in network.module.state_dict().items()}
    with undisturbed(network):
        with torch.no_grad():
            first, second = network(pixels), network(pixels)
        if first.ndim != 2 or not torch.isfinite(first).all():
            raise ModelError(
                f"{network.name} gives outputs of shape {tuple(first.shape)}"
                + ("" if torch.isfinite(first).all() else " that hold NaN or infinity")
                + "; expected finite logits of shape (n, n_classes)"
            )
        leaf = pixels.detach().requires_grad_(True)
        logits = network(leaf)
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), leaf)
    changed = [name for name, value in network.module.state_dict().items() if not torch.equal(value, before[name])]
    low, high = float(pixels.min()), float(pixels.max())
    scale = max(float(first.abs().max()), torch.finfo(first.dtype).tiny)
    difference = float((first - second).abs().max()) / scale
    normalised = bool((first >= 0).all()) and bool(torch.allclose(first.sum(1), torch.ones(len(first)).to(first)))
    zero = float((gradient.flatten(1).abs().amax(1) == 0).float().mean())
    certain = float((torch.softmax(first.float(), dim=1).amax(1) == 1).float().mean())
    return [
        check("input contract", low >= 0 and high <= 1, high, "pixels in [0, 1]", f"seen: [{low:.3g}, {high:.3g}]"),
        check("state", not changed, float(len(changed)), "no parameter or buffer changes", ", ".join(changed[:3])),
        check(
            "logits",
            not normalised,
            None,
            "unnormalised logits",
            "outputs lie in [0, 1] and sum to 1: gradients through a softmax vanish; give the logits" * normalised,
        ),
        check(
            "determinism",
            difference <= DETERMINISM_TOLERANCE,
            difference,
            f"repeated passes differ by at most {DETERMINISM_TOLERANCE:g} of the largest logit",
        ),
        check(
            "vanishing gradient",
            zero == 0,
            zero,
            "no image has an all-zero input gradient",
            f"confidence rounds to 1 in float32 for {certain:.1%} of the images" * (certain > 0),
        ),
    ]


@dataclass(frozen=True)
class Chance:
    """How clean accuracy compares with guessing.

    Attributes:
        near: accuracy is hardly above chance (`tables.near_chance`).
        guesses: that, and so few correct images would be rare (p < 0.01) for a network that is right half of the time:
            with very few images nothing can be said.
        expected, text: the rule and what was seen, in words.
    """

    near: bool
    guesses: bool
    expected: str
    text: str


def chance(n_correct: int, n_images: int, n_classes: int) -> Chance:
    """Judge clean accuracy against guessing among `n_classes`, by the size of the difference.

    A test of "better than guessing" would be passed by scrambled labels of which a few happen to fit.
    """
    near = near_chance(n_correct / n_images, n_classes)
    rare = float(stats.binom.cdf(n_correct, n_images, 0.5)) < CHANCE_P_VALUE
    return Chance(
        near,
        near and rare,
        "well above guessing",
        f"{n_correct} of {n_images} clean images are classified correctly, and chance is 1 in {n_classes}",
    )


def verdict_checks(verdicts: pl.DataFrame, kinds: Mapping[str, str] | None = None) -> list[Row]:
    """What can be seen in the verdicts of one network: epsilon 0, the curve, silent successes, the noise control.

    Only images that every threat and strength has judged are counted, so that an unfinished run compares like with
    like.

    Args:
        verdicts: the table `verdicts` of one network.
        kinds: the kind of each threat by the name that the table gives it; the name itself where left out.
    """
    by = ["threat", "parameters", "strength"]
    settings = verdicts.select(by).n_unique()
    verdicts = verdicts.filter(pl.len().over("image") == settings)
    if not len(verdicts):
        return []
    summary = (
        verdicts.group_by(by)
        .agg(
            n=pl.len(),
            clean=(pl.col("clean_prediction") == pl.col("label")).sum(),
            last=pl.when(pl.col("survived_last").is_not_null().all()).then(pl.col("survived_last").sum()),
            any=pl.when(pl.col("survived_any").is_not_null().all()).then(pl.col("survived_any").sum()),
        )
        .with_columns(pl.col("n", "clean", "last", "any").cast(pl.Int64))
        .sort(by)
    )
    rows = _epsilon_zero(summary)
    kinds = kinds or {}
    for (threat, parameters), curve in summary.group_by(["threat", "parameters"], maintain_order=True):
        for iterate in ("last", "any"):
            swept = _swept(kinds.get(str(threat), str(threat)))
            if len(curve) > 1 and swept and not curve[iterate].null_count():
                rows.append(_curve(curve, f"{swept} curve ({threat}, {iterate})", str(parameters), iterate))
        if not curve["last"].null_count() and not curve["any"].null_count():
            rows.append(_silent_success(curve, str(threat)))
    controls = [name for name in verdicts["threat"].unique() if kinds.get(name, name) == "noise"]
    return rows + _noise_control(summary, controls)


def _epsilon_zero(summary: pl.DataFrame) -> list[Row]:
    zero = summary.filter(pl.col("strength") == 0)
    if not len(zero):
        return []
    gaps = (zero["clean"] - zero["last"]).abs().to_list() + (zero["clean"] - zero["any"]).abs().to_list()
    gap = max(value for value in gaps if value is not None)
    return [check("epsilon 0", gap == 0, float(gap), "equals clean accuracy exactly")]


def _swept(kind: str) -> str | None:
    """The setting of a threat that must not help if it grows, such as "epsilon"; None where it may."""
    if kind not in THREATS.names():
        return "epsilon"
    threat = cast("type[Threat]", THREATS[kind].target)
    return threat.strength_setting if threat.ordered else None


def _curve(curve: pl.DataFrame, label: str, parameters: str, iterate: str) -> Row:
    ordered = curve.sort("strength")[iterate].to_list()
    worst = max(0, *(after - before for before, after in pairwise(ordered)))
    # Starts differ between strengths, so that a borderline image may fall at one and not at the next.
    allowed = max(1, round(0.01 * curve["n"].to_list()[0]))
    return check(
        label,
        worst <= allowed,
        float(worst),
        f"survivors rise by at most {allowed} images from one strength to the next",
        parameters,
    )


def _silent_success(curve: pl.DataFrame, threat: str) -> Row:
    gaps = curve.with_columns(share=(pl.col("last") - pl.col("any")) / pl.col("n")).sort("share", descending=True)
    worst = gaps.row(0, named=True)
    return check(
        f"silent success ({threat})",
        worst["share"] <= SILENT_SUCCESS,
        worst["share"],
        f"at most {SILENT_SUCCESS:.0%} of the images fall at some iterate and stand at the last",
        f"largest at strength {worst['strength']:g}; both verdicts are reported",
    )


def _noise_control(summary: pl.DataFrame, controls: list[str]) -> list[Row]:
    """An attack must fell at least as many images as noise in the same ball."""
    is_control = pl.col("threat").is_in(controls)
    noise = summary.filter(is_control & (pl.col("strength") > 0)).select("strength", control="last")
    both = summary.filter(~is_control).with_columns(survived=pl.coalesce("last", "any")).join(noise, on="strength")
    return [
        check(
            f"random noise ({row['threat']} at {row['strength']:g})",
            row["survived"] <= row["control"],
            float(row["survived"] - row["control"]),
            "fells at least as many images as uniform noise in the same ball",
            f"{row['survived']} of {row['n']} survive it, and {row['control']} survive noise",
        )
        for row in both.iter_rows(named=True)
    ]
