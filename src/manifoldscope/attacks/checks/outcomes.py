"""Do the outcomes of one network agree with each other, with noise, and with what larger strengths must do?"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import polars as pl

from manifoldscope.attacks.checks.row import Row, check
from manifoldscope.attacks.perturbation import ATTACKS, CORRUPTIONS, Perturbation, registered

SILENT_SUCCESS = 0.05
"""Share of images that may be misclassified at some iterate and not at the last."""
LARGE_EPSILON = 0.5
"""From this L-infinity radius on, every image can be made the same grey one."""


def outcome_checks(
    outcomes: pl.DataFrame, kinds: Mapping[str, str] | None = None, reused: Collection[str] = ()
) -> list[Row]:
    """What can be seen in the outcomes of one network: whether its attacks agree with each other and with noise.

    Epsilon 0, the curve over strengths, a large epsilon, silent successes, the noise control, iterative against
    single-step attacks, and the worst case over several attacks.

    Only images that have an outcome under every attack and strength are counted, so that an unfinished run compares
    like with like.

    Args:
        outcomes: the table `outcomes` of one network.
        kinds: the kind of each attack by the name that the table gives it; the name itself if omitted.
        reused: names of the attacks under which an image that was misclassified at one strength was not attacked at a
            larger one: their curves decrease by construction, and are not checked.
    """
    by = ["attack", "parameters", "norm", "n_steps", "targeted", "strength"]
    settings = outcomes.select(by).n_unique()
    outcomes = outcomes.filter(pl.len().over("image") == settings)
    if not len(outcomes):
        return []
    summary = (
        outcomes.group_by(by)
        .agg(
            n=pl.len(),
            clean=(pl.col("clean_prediction") == pl.col("label")).sum(),
            last=pl.when(pl.col("robust_last").is_not_null().all()).then(pl.col("robust_last").sum()),
            any=pl.when(pl.col("robust_any").is_not_null().all()).then(pl.col("robust_any").sum()),
        )
        .with_columns(pl.col("n", "clean", "last", "any").cast(pl.Int64))
        .sort(by)
    )
    rows = _epsilon_zero(summary)
    kinds = kinds or {}
    for (attack, parameters), curve in summary.group_by(["attack", "parameters"], maintain_order=True):
        for iterate in ("last", "any"):
            swept = _swept(kinds.get(str(attack), str(attack)))
            if len(curve) > 1 and swept and not curve[iterate].null_count():
                label = f"{swept} curve ({attack}, {iterate})"
                rows.append(
                    _curve_by_construction(label)
                    if attack in reused
                    else _curve(curve, label, str(parameters), iterate)
                )
        if not curve["last"].null_count() and not curve["any"].null_count():
            rows.append(_silent_success(curve, str(attack)))
    controls = [name for name in outcomes["attack"].unique() if kinds.get(name, name) == "noise"]
    balls = [name for name in outcomes["attack"].unique() if _swept(kinds.get(name, name)) == "epsilon"]
    attacks = [attack for attack in map(_attack, summary.iter_rows(named=True), _kinds_of(summary, kinds)) if attack]
    rows += _noise_control(summary.filter(pl.col("attack").is_in(balls)), controls)
    rows += _large_epsilon(attacks, max(outcomes.unique("image")["label"].value_counts()["count"].to_list()))
    return rows + _single_step(attacks) + _aggregation(outcomes, attacks)


def _epsilon_zero(summary: pl.DataFrame) -> list[Row]:
    zero = summary.filter(pl.col("strength") == 0)
    if not len(zero):
        return []
    gaps = (zero["clean"] - zero["last"]).abs().to_list() + (zero["clean"] - zero["any"]).abs().to_list()
    gap = max(value for value in gaps if value is not None)
    return [check("epsilon 0", gap == 0, float(gap), "equals clean accuracy exactly")]


def _swept(kind: str) -> str | None:
    """The setting of an attack that must not help if it grows, such as "epsilon"; None where it may."""
    if kind not in (*ATTACKS.names(), *CORRUPTIONS.names()):
        return "epsilon"
    perturbation = cast("type[Perturbation]", registered(kind).target)
    return perturbation.strength_setting if perturbation.ordered else None


def _curve(curve: pl.DataFrame, label: str, parameters: str, iterate: str) -> Row:
    ordered = curve.sort("strength")[iterate].to_list()
    worst = max(0, *(after - before for before, after in pairwise(ordered)))
    # Starts differ between strengths, so that a borderline image may be misclassified at one and not at the next.
    allowed = max(1, round(0.01 * curve["n"].to_list()[0]))
    return check(
        label,
        worst <= allowed,
        float(worst),
        f"robust images rise by at most {allowed} from one strength to the next",
        parameters,
    )


def _curve_by_construction(label: str) -> Row:
    return check(
        label,
        None,
        None,
        "the robust images of independent runs hardly rise from one strength to the next",
        "monotone by construction, which proves nothing: an image that was misclassified at one strength was not "
        "attacked at a larger one; sweep = 'independent' would tell",
    )


def _silent_success(curve: pl.DataFrame, attack: str) -> Row:
    gaps = curve.with_columns(share=(pl.col("last") - pl.col("any")) / pl.col("n")).sort("share", descending=True)
    worst = gaps.row(0, named=True)
    return check(
        f"silent success ({attack})",
        worst["share"] <= SILENT_SUCCESS,
        worst["share"],
        f"at most {SILENT_SUCCESS:.0%} of the images are misclassified at some iterate and robust at the last",
        f"largest at strength {worst['strength']:g}; both outcomes are reported",
    )


def _noise_control(summary: pl.DataFrame, controls: list[str]) -> list[Row]:
    """An attack must misclassify at least as many images as noise in the same ball."""
    is_control = pl.col("attack").is_in(controls)
    noise = summary.filter(is_control & (pl.col("strength") > 0)).select("strength", control="last")
    both = summary.filter(~is_control).with_columns(robust=pl.coalesce("last", "any")).join(noise, on="strength")
    return [
        check(
            f"random noise ({row['attack']} at {row['strength']:g})",
            row["robust"] <= row["control"],
            float(row["robust"] - row["control"]),
            "misclassifies at least as many images as uniform noise in the same ball",
            f"{row['robust']} of {row['n']} are robust to it, and {row['control']} to noise",
        )
        for row in both.iter_rows(named=True)
    ]


@dataclass(frozen=True)
class _Attack:
    """One attack at one epsilon, as its rows in the table `outcomes` tell it.

    Attributes:
        norm: of the ball; None where that is not known.
        steps: gradient steps; None where it is not told by their number.
    """

    attack: str
    parameters: str
    norm: str | None
    epsilon: float
    steps: int | None
    targeted: bool
    n_images: int
    n_robust: int


def _kinds_of(summary: pl.DataFrame, kinds: Mapping[str, str]) -> list[str]:
    return [kinds.get(name, name) for name in summary["attack"]]


def _attack(row: Mapping[str, Any], kind: str) -> _Attack | None:
    """An attack in a ball of positive radius; None for noise, corruptions and epsilon 0."""
    if kind == "noise" or _swept(kind) != "epsilon" or row["strength"] == 0:
        return None
    return _Attack(
        row["attack"],
        row["parameters"],
        row["norm"],
        row["strength"],
        row["n_steps"],
        bool(row["targeted"]),
        row["n"],
        row["any"] if row["last"] is None else row["last"],
    )


def _large_epsilon(attacks: Sequence[_Attack], largest_class: int) -> list[Row]:
    """The largest epsilon of each sweep, if it is so large that no attack can be excused."""
    largest: dict[str, _Attack] = {}
    for attack in attacks:
        if attack.norm == "linf" and attack.epsilon >= LARGE_EPSILON and attack.steps != 1:
            largest[attack.attack] = max(attack, largest.get(attack.attack, attack), key=lambda one: one.epsilon)
    return [
        check(
            f"large epsilon ({attack.attack} at {attack.epsilon:g})",
            attack.n_robust <= largest_class,
            attack.n_robust / attack.n_images,
            f"at most chance, {largest_class} of {attack.n_images} images: all can be made the same grey one",
            f"{attack.n_robust} are robust",
        )
        for attack in largest.values()
    ]


def _single_step(attacks: Sequence[_Attack]) -> list[Row]:
    """Many steps must misclassify at least as many images as one step in the same ball."""
    return [
        check(
            f"iterative beats single-step ({many.attack} and {one.attack} at {many.epsilon:g})",
            many.n_robust <= one.n_robust,
            float(many.n_robust - one.n_robust),
            "many steps misclassify at least as many images as one step in the same ball",
            f"{many.n_robust} of {many.n_images} are robust to {many.steps} steps, and {one.n_robust} to one",
        )
        for one in attacks
        for many in attacks
        if one.steps == 1
        and many.steps is not None
        and many.steps > 1
        and (one.norm, one.epsilon) == (many.norm, many.epsilon)
        and not many.targeted
    ]


def _aggregation(outcomes: pl.DataFrame, attacks: Sequence[_Attack]) -> list[Row]:
    """The worst case image by image over all attacks in one ball, beside the smallest of their accuracies."""
    balls: dict[tuple[str | None, float], list[_Attack]] = {}
    for attack in attacks:
        balls.setdefault((attack.norm, attack.epsilon), []).append(attack)
    rows = []
    for (norm, epsilon), together in balls.items():
        if len(together) < 2:
            continue
        within = outcomes.join(
            pl.DataFrame([{"attack": one.attack, "parameters": one.parameters} for one in together]),
            on=["attack", "parameters"],
            how="semi",
        ).filter(pl.col("strength") == epsilon)
        robust = within.group_by("image").agg(pl.coalesce("robust_last", "robust_any").all().alias("all"))["all"]
        worst = int(robust.sum())
        best = min(together, key=lambda one: one.n_robust)
        rows.append(
            check(
                f"aggregation ({norm} at {epsilon:g})",
                worst <= best.n_robust,
                worst / best.n_images,
                "the robust accuracy to report is that over images that are robust to every attack, not the smallest "
                "mean",
                f"{worst} of {best.n_images} images are robust to all {len(together)} attacks; {best.n_robust} to "
                f"{best.attack}, the strongest one alone",
            )
        )
    return rows
