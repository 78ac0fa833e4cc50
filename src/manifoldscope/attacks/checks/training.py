"""Did a training learn anything, and did adversarial training collapse?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from manifoldscope.attacks.checks.row import Row, check, share_interval

UNTRAINED_LOSS = 0.95
"""A training loss that ends above this share of ln(classes) is at chance level."""
COLLAPSE = 0.1
"""A drop of accuracy under PGD during training, as a share of the images, that is a clear margin."""
GAP = 0.3
"""What accuracy under one step may end above that under many, as a share of the images."""
CONCENTRATED = 0.5
"""A participation ratio of the gradients that is at most this share of what it was is worth a mention."""


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
        gradient_participation_ratio: of the gradients at these images when clean, their mean in (0, 1]; None where it
            is not known.
    """

    epoch: int
    n_images: int
    fgsm: int
    pgd: int
    gradient_participation_ratio: float | None = None


def collapse_check(evaluated: Sequence[Evaluated]) -> Row:
    """The row on adversarial training: it collapsed if its end withstands one step and not many.

    A network can learn to hide its gradient from an attack of few steps (catastrophic overfitting; Wong, Rice & Kolter
    2020). The last epoch is held against the one with the best accuracy under PGD: flagged where that accuracy has
    dropped by a tenth of the images, the 95% intervals of the two do not meet, and accuracy under FGSM has risen. Also
    flagged is a network that never withstood many steps: accuracy under FGSM ends 30% of the images above that under
    PGD, and their intervals do not meet.

    Of a collapse the note also says whether the gradients had concentrated on few pixels by then, which is an early
    sign of it (Mehouachi & Jabari 2025); it decides nothing.

    Args:
        evaluated: in the order of epochs; of fewer than two nothing is said.
    """
    expected = (
        f"accuracy under PGD does not end {COLLAPSE:.0%} of the images below its best epoch, beyond 95% intervals, "
        f"with accuracy under FGSM above what it was there; nor {GAP:.0%} of the images below that under FGSM"
    )
    if len(evaluated) < 2:
        return check("training collapse", None, None, expected, "fewer than two epochs were evaluated")
    last, best = evaluated[-1], max(evaluated, key=lambda one: one.pgd / one.n_images)
    drop = best.pgd / best.n_images - last.pgd / last.n_images
    beyond = share_interval(last.pgd, last.n_images)[1] < share_interval(best.pgd, best.n_images)[0]
    rises = last.fgsm / last.n_images > best.fgsm / best.n_images
    collapsed = drop >= COLLAPSE and beyond and rises
    return check(
        "training collapse",
        not (collapsed or _apart(last)),
        drop,
        expected,
        f"epoch {best.epoch}: {best.pgd} of {best.n_images} are robust to PGD and {best.fgsm} FGSM; "
        f"epoch {last.epoch}, the last: {last.pgd} and {last.fgsm}"
        + (_early_sign(evaluated, best) if collapsed else ""),
    )


def _apart(last: Evaluated) -> bool:
    """Whether one step is withstood far more often than many, beyond 95% intervals."""
    beyond = share_interval(last.pgd, last.n_images)[1] < share_interval(last.fgsm, last.n_images)[0]
    return beyond and (last.fgsm - last.pgd) / last.n_images >= GAP


def _early_sign(evaluated: Sequence[Evaluated], best: Evaluated) -> str:
    """That the gradients concentrated on few pixels, up to the epoch in which the collapse shows; empty if not."""
    before = best.gradient_participation_ratio
    if before is None:
        return ""
    for each in evaluated[evaluated.index(best) + 1 :]:
        now = each.gradient_participation_ratio
        shows = best.pgd / best.n_images - each.pgd / each.n_images >= COLLAPSE
        if now is not None and now <= CONCENTRATED * before:
            when = "when accuracy collapsed" if shows else "before accuracy collapsed"
            return (
                f"; the participation ratio of the gradients fell from {before:.2g} to {now:.2g} by epoch "
                f"{each.epoch}, {when}"
            )
        if shows:
            break
    return ""
