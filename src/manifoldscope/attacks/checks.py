"""Is this evaluation to be trusted? Each check is a row with its evidence.

The rules follow Carlini et al. 2019, "On evaluating adversarial robustness", and Pintor et al. 2022, "Indicators of
attack failure". A failed check does not stop anything: it is shown beside the result that it puts in doubt.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import polars as pl
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.attacks.outcomes import Failures, FastPath
from manifoldscope.attacks.perturbation import ATTACKS, CORRUPTIONS, Perturbation, registered
from manifoldscope.attacks.target import BUDGET_TOLERANCE
from manifoldscope.chance import near_chance
from manifoldscope.errors import ModelError
from manifoldscope.vision.images import ImageSet, batches
from manifoldscope.vision.memory import Memory
from manifoldscope.vision.network import Network, undisturbed

Row = dict[str, Any]

DETERMINISM_TOLERANCE = 1e-4
"""Repeated passes may differ by this share of the largest logit."""
SILENT_SUCCESS = 0.05
"""Share of images that may be misclassified at some iterate and not at the last."""
CHANCE_P_VALUE = 0.01
"""How rarely a network that is right half of the time may do as badly as one that is said to be at chance level."""
LARGE_EPSILON = 0.5
"""From this L-infinity radius on, every image can be made the same grey one."""
FAST_PATH_DIFFERS = 0.02
"""Share of outcomes that may differ between a faster copy's gradients and the network's own."""
UNTRAINED_LOSS = 0.95
"""A training loss that ends above this share of ln(classes) is at chance level."""
COLLAPSE = 0.1
"""A drop of accuracy under PGD during training, as a share of the images, that is a clear margin."""


def check(name: str, passed: bool | None, value: float | None, expected: str, note: str = "") -> Row:
    """One row of the table `checks`, but for the model's name; `passed` is None where nothing can be said."""
    return {"check": name, "passed": passed, "value": value, "expected": expected, "note": note}


def share_interval(n_hits: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The two-sided Clopper-Pearson interval of a share, from `n_hits` of `n`; n at least 1.

    Example:
        >>> [round(end, 3) for end in share_interval(3, 100)]
        [0.006, 0.085]
    """
    interval = stats.binomtest(n_hits, n).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


def network_checks(
    network: Network, images: ImageSet, *, batch_size: int = 128, memory: Memory | None = None
) -> list[Row]:
    """What can be seen of a network without attacking it: inputs, state, outputs, determinism, gradients.

    Args:
        images: clean images; at most the first `batch_size` are used.
        memory: how much may be taken, so that they go through the network in parts; most of what is available if
            omitted.

    Raises:
        ModelError: logits that are NaN or infinite, or not of shape (n, n_classes).
    """
    where = next(batches(len(images), batch_size))
    pixels = network.pixels(images, where).to(network.device)
    labels = images.labels[where].to(network.device)
    before = {name: value.clone() for name, value in network.module.state_dict().items()}
    fits = (memory or Memory()).batch(network, pixels[:1], len(pixels), gradient=True)
    parts = torch.split(pixels, fits)
    with undisturbed(network):
        with torch.no_grad():
            first, second = (torch.cat([network(part) for part in parts]) for _ in range(2))
        finite = torch.isfinite(first).flatten(1).all(1)
        if first.ndim != 2 or not bool(finite.any()):
            raise ModelError(
                f"{network.name} gives outputs of shape {tuple(first.shape)}"
                + " that hold NaN or infinity" * (not bool(finite.any()))
                + "; expected finite logits of shape (n, n_classes)"
            )
        gradient = torch.cat([_gradient(network, *each) for each in zip(parts, torch.split(labels, fits), strict=True)])
        # `undisturbed` puts buffers back when it ends: look before.
        changed = [name for name, value in network.module.state_dict().items() if not torch.equal(value, before[name])]
    low, high = float(pixels.min()), float(pixels.max())
    first, second, gradient = first[finite], second[finite], gradient[finite]
    scale = max(float(first.abs().max()), torch.finfo(first.dtype).tiny)
    difference = float((first - second).abs().max()) / scale
    normalised = bool((first >= 0).all()) and bool(torch.allclose(first.sum(1), torch.ones(len(first)).to(first)))
    zero = float((gradient.flatten(1).abs().amax(1) == 0).float().mean())
    certain = float((torch.softmax(first.float(), dim=1).amax(1) == 1).float().mean())
    return [
        check("input contract", low >= 0 and high <= 1, high, "pixels in [0, 1]", f"seen: [{low:.3g}, {high:.3g}]"),
        check("state", not changed, float(len(changed)), "no parameter or buffer changes", ", ".join(changed[:3])),
        check(
            "finite outputs",
            bool(finite.all()),
            float((~finite).float().mean()),
            "no NaN or infinity among the logits",
            f"{int((~finite).sum())} of {len(finite)} images have no class; they count as misclassified"
            * (not bool(finite.all())),
        ),
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


def _gradient(network: Network, pixels: Tensor, labels: Tensor) -> Tensor:
    leaf = pixels.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(F.cross_entropy(network(leaf), labels, reduction="sum"), leaf)
    return gradient


@dataclass(frozen=True)
class Chance:
    """How clean accuracy compares with chance level.

    Attributes:
        near: accuracy is hardly above chance (`chance.near_chance`).
        at_chance: that, and so few correct images would be rare (p < 0.01) for a network that is right half of the
            time: with very few images nothing can be said.
        expected, text: the rule and what was seen, in words.
    """

    near: bool
    at_chance: bool
    expected: str
    text: str


def chance(n_correct: int, n_images: int, n_classes: int) -> Chance:
    """Compare clean accuracy with chance level among `n_classes`, by the size of the difference.

    A test of "better than chance" would be passed by scrambled labels of which a few happen to fit.
    """
    near = near_chance(n_correct / n_images, n_classes)
    rare = float(stats.binom.cdf(n_correct, n_images, 0.5)) < CHANCE_P_VALUE
    return Chance(
        near,
        near and rare,
        "well above chance level",
        f"{n_correct} of {n_images} clean images are classified correctly, and chance is 1 in {n_classes}",
    )


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


def feasibility(clean: Tensor, adversarial: Tensor, attack: Perturbation) -> dict[str, Any]:
    """Whether adversarial images that are stored stay within their budget, as JSON values; see `feasibility_check`.

    Args:
        clean: (n, channels, height, width), pixels in [0, 1].
        adversarial: the same shape, as it is stored: floating point in [0, 1], or uint8 in 0..255.

    Returns:
        How pixels are `stored` (the type), n_images, how many of them are not finite (`n_not_finite`), and by how much
        the others exceed the budget or [0, 1] (`excess`, in the budget's unit; 0 where none does).
    """
    stored = str(adversarial.dtype).removeprefix("torch.")
    if adversarial.dtype == torch.uint8:
        adversarial = adversarial.to(clean) / 255
    finite = torch.isfinite(adversarial).flatten(1).all(1)
    kept, origin = adversarial[finite], clean[finite]
    excess = 0.0
    if len(kept):
        outside = float(torch.maximum(-kept.amin(), kept.amax() - 1))
        excess = max(0.0, outside, float(attack.excess(origin, kept).max()))
    return {"stored": stored, "n_images": len(finite), "n_not_finite": int((~finite).sum()), "excess": excess}


def feasibility_check(attack: str, found: Sequence[Mapping[str, Any]]) -> Row:
    """The row on the adversarial images of one attack that are stored, from what `feasibility` found in parts."""
    n_images = sum(part["n_images"] for part in found)
    stored = " or ".join(sorted({part["stored"] for part in found}))
    broken = sum(part["n_not_finite"] for part in found)
    excess = max((part["excess"] for part in found), default=0.0)
    return check(
        f"feasibility ({attack})",
        broken == 0 and excess <= BUDGET_TOLERANCE,
        excess,
        f"images that are stored exceed their budget and [0, 1] by at most {BUDGET_TOLERANCE:g}, and none has NaN",
        f"{n_images} images of the classes with examples, stored as {stored}"
        + f"; {broken} hold NaN or infinity" * (broken > 0),
    )


def fast_path_check(attack: str, found: Sequence[FastPath]) -> Row:
    """The row on what a faster copy of the network made of the outcomes under one attack, from its parts.

    Where the copy was dropped, what was compared are clean images: they are told apart from the outcomes.
    """
    used, dropped = ([part for part in found if part.dropped is so] for so in (False, True))
    whole = FastPath(
        "; or ".join(sorted({part.means for part in found})),
        sum(part.n_checked for part in used),
        sum(part.n_differ for part in used),
    )
    share = whole.n_differ / whole.n_checked if whole.n_checked else None
    notes = [f"gradients of a copy ({whole.means})"]
    if used:
        notes.append(
            f"{whole.n_differ} of {whole.n_checked} outcomes differ, so that at most {whole.at_most:.1%} of all do "
            "(one-sided 95% bound)"
        )
    if dropped:
        notes.append(
            f"in {len(dropped)} of {len(found)} parts the copy was dropped, since it said something else of "
            f"{sum(part.n_differ for part in dropped)} of {sum(part.n_checked for part in dropped)} clean images"
        )
    return check(
        f"fast path ({attack})",
        False if dropped else None if share is None else share <= FAST_PATH_DIFFERS,
        share,
        f"at most {FAST_PATH_DIFFERS:.0%} of the outcomes differ from those found with the network's own gradients, "
        "and the copy agrees on clean images",
        "; ".join(notes),
    )


def failures_check(attack: str, found: Sequence[Failures]) -> Row:
    """The row on what went wrong under one attack and did not stop it, from its parts; at least one part."""
    no_class, no_gradient = (
        sum(getattr(part, f"n_without_{what}") for part in found) for what in ("class", "gradient")
    )
    sizes = [part.batch_size for part in found if part.batch_size is not None]
    return check(
        f"finite outputs ({attack})",
        no_class + no_gradient == 0,
        float(no_class + no_gradient),
        "no image for which the network gives NaN or infinity, as logits or as a gradient",
        f"{no_class} images without a class count as misclassified; {no_gradient} had steps without a gradient"
        + (f"; memory ran out, and batches went down to {min(sizes)} images" if sizes else ""),
    )


def training_check(losses: Sequence[float], n_classes: int) -> Row:
    """The row on the training of a network: it failed if its loss is stuck at chance level, at ln(classes).

    Args:
        losses: mean training loss of each epoch, at least one.
        n_classes: classes of the training images, at least 2.
    """
    at_chance = math.log(n_classes)
    return check(
        "training loss",
        losses[-1] <= UNTRAINED_LOSS * at_chance,
        losses[-1],
        f"ends below {UNTRAINED_LOSS:.0%} of ln({n_classes}) = {at_chance:.3g}, the loss at chance level",
        f"{losses[0]:.3g} in the first epoch and {losses[-1]:.3g} in the last of {len(losses)}",
    )


@dataclass(frozen=True)
class Evaluated:
    """How many of the same images a network classified correctly after an epoch of its training.

    Attributes:
        fgsm, pgd: of `n_images`, how many are robust to one step, and to many.
    """

    epoch: int
    n_images: int
    fgsm: int
    pgd: int


def collapse_check(evaluated: Sequence[Evaluated]) -> Row:
    """The row on adversarial training: it collapsed if its end withstands one step better than before, and many worse.

    A network can learn to hide its gradient from an attack of few steps (catastrophic overfitting; Wong, Rice & Kolter
    2020). The last epoch is held against the one with the best accuracy under PGD: flagged where that accuracy has
    dropped by a tenth of the images, the 95% intervals of the two do not meet, and accuracy under FGSM has risen.

    Args:
        evaluated: in the order of epochs; of fewer than two nothing is said.
    """
    expected = (
        f"accuracy under PGD does not end {COLLAPSE:.0%} of the images below its best epoch, beyond 95% intervals, "
        "with accuracy under FGSM above what it was there"
    )
    if len(evaluated) < 2:
        return check("training collapse", None, None, expected, "fewer than two epochs were evaluated")
    last, best = evaluated[-1], max(evaluated, key=lambda one: one.pgd / one.n_images)
    drop = best.pgd / best.n_images - last.pgd / last.n_images
    beyond = share_interval(last.pgd, last.n_images)[1] < share_interval(best.pgd, best.n_images)[0]
    rises = last.fgsm / last.n_images > best.fgsm / best.n_images
    return check(
        "training collapse",
        not (drop >= COLLAPSE and beyond and rises),
        drop,
        expected,
        f"epoch {best.epoch}: {best.pgd} of {best.n_images} are robust to PGD and {best.fgsm} FGSM; "
        f"epoch {last.epoch}, the last: {last.pgd} and {last.fgsm}",
    )
