"""Would a better attack have found more? The expensive checks of an evaluation: other attacks on a sample of its
images.

Each asks of one PGD whether its outcomes would change: with logits of another scale, with more steps, with a margin
loss, with more restarts, or without any gradient (Carlini et al. 2019; Pintor et al. 2022). What is misclassified is
counted image by image among those that were robust at every iterate: a difference of two accuracies hides what changes
one way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from manifoldscope.attacks.checks import Row, check, share_interval
from manifoldscope.attacks.evaluation import evaluate
from manifoldscope.attacks.outcomes import Outcomes
from manifoldscope.attacks.perturbation import Perturbation, make
from manifoldscope.attacks.pgd import PGD
from manifoldscope.attacks.square import Square
from manifoldscope.errors import AttackError, ManifoldscopeError
from manifoldscope.seeds import derive, generator
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.memory import Memory
from manifoldscope.vision.network import Network, as_logits

SAMPLE = 200
"""Images on which a network's attack is checked, at most."""
SCALES = (3.0, 0.1)
"""By what logits are multiplied: a softmax that saturates has no gradient in float32, and at another scale it has."""
MORE_BY_SCALE = 0.01
MORE_BY_STEPS = 0.01
MORE_BY_SEARCH = 0.02
MORE_WITHOUT_GRADIENT = 0.01
"""Shares of the images that may be misclassified beside those that the attack misclassified."""
RESTARTS = 5
QUERIES = 1000
"""Forward passes of the search without gradients, of each robust image."""

N_ATTACKS = 1 + len(SCALES) + 2 + 1 + RESTARTS
"""What the checks cost, in runs of the attack that is checked, beside those queries."""


@dataclass(frozen=True)
class StepCurve:
    """How many images are robust after each step of an attack.

    Attributes:
        parameters: the attack's, as in tables.
        n_images: how many it was shown.
        n_robust: after 0, 1, ... steps, how many were classified correctly when clean and at every iterate so far.
            Of several restarts it follows the first.
    """

    parameters: str
    n_images: int
    n_robust: tuple[int, ...]


@dataclass(frozen=True)
class AttackChecks:
    """What stronger attacks found.

    Attributes:
        rows: of the table `checks`, without the model's name.
        curves: the attack step by step, and with twice as many steps.
    """

    rows: list[Row]
    curves: tuple[StepCurve, ...]


def attack_checks(
    network: Network,
    images: ImageSet,
    attack: PGD,
    *,
    seed: int = 0,
    n_images: int = SAMPLE,
    batch_size: int = 128,
    memory: Memory | None = None,
) -> AttackChecks:
    """What stronger attacks find on images that were robust to an attack.

    It costs about 11 times the attack itself, and 1000 forward passes of each robust image.

    Args:
        network: found again as it was.
        images: labelled images; a random sample of at most `n_images` is used.
        attack: the attack whose outcomes are in question, with an epsilon above 0.
        seed: of the sample and of the random starts.
        batch_size: images at a time; changes the answer by rounding only.
        memory: how much may be taken; most of what is available if omitted.

    Raises:
        ModelError: the network gives NaN, or has fewer outputs than there are labels.
        AttackError: epsilon is 0, at which no attack finds anything.
    """
    if attack.epsilon == 0:
        raise AttackError("epsilon = 0; expected one above 0: at 0 no attack can find more than another")
    chosen = torch.randperm(len(images), generator=generator(seed, "selftest"))[:n_images].sort().values
    sample = images.subset(chosen)

    def attacked(attack: Perturbation, *, on: ImageSet = sample, of: Network = network, start: int = seed) -> Outcomes:
        settings: dict[str, Any] = {"seed": start, "batch_size": batch_size, "memory": memory}
        return evaluate(of, on, attack, iterate="any", fast=False, **settings)

    def robust(attack: Perturbation, *, on: ImageSet = sample, **how: Any) -> Tensor:
        return _robust(attacked(attack, on=on, **how), attack, on)

    more = replace(attack, steps=2 * attack.steps)
    runs = [attacked(attack), attacked(more)]
    first, after_more = (_robust(run, attack, sample) for run in runs)
    name = f"{attack.kind} at {attack.epsilon:g}"
    standing = sample.subset(first)
    rows = [_rescaled(network, first, attack, robust, name), _convergence(first, ~after_more, name)]
    curves = tuple(_curve(run, each, len(sample)) for run, each in zip(runs, (attack, more), strict=True))
    if not len(standing):
        return AttackChecks(rows, curves)
    margin = _with_margin_loss(attack)
    rows.append(
        _not_run("second loss", name, "this attack has no margin loss")
        if margin is None
        else _search(
            "second loss",
            name,
            robust(margin, on=standing),
            len(sample),
            "a margin loss (Carlini and Wagner) in place of the cross-entropy",
        )
    )
    again = replace(attack, restarts=RESTARTS * attack.restarts)
    found = robust(again, on=standing, start=derive(seed, "restarts"))
    rows.append(_search("restarts", name, found, len(sample), f"{again.restarts} other random starts"))
    return AttackChecks([*rows, _gradient_free(standing, attack, robust, name)], curves)


def _robust(found: Outcomes, attack: Perturbation, images: ImageSet) -> Tensor:
    """(n,) which images are classified correctly when clean and at every iterate."""
    column = "robust_any" if attack.iterative else "robust_last"
    robust = dict(zip(found.table["image"], found.table[column], strict=True))
    return torch.tensor([robust[name] for name in images.names], dtype=torch.bool)


def _curve(found: Outcomes, attack: PGD, n_images: int) -> StepCurve:
    """How many images are robust after each step."""
    n_correct = int((found.table["clean_prediction"] == found.table["label"]).sum())
    after = found.misclassified_after[0]
    n_wrong = [int(((after >= 0) & (after <= step)).sum()) for step in range(attack.steps + 1)]
    return StepCurve(attack.parameters, n_images, tuple(n_correct - each for each in n_wrong))


class _Rescaled(nn.Module):
    """A network whose logits are multiplied by a number: the same predictions, another gradient in float32."""

    def __init__(self, inner: nn.Module, scale: float) -> None:
        super().__init__()
        self.inner, self.scale = inner, scale

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.scale * as_logits(self.inner(pixels), len(pixels))
        return logits


def _rescaled(network: Network, first: Tensor, attack: PGD, robust: Callable[..., Tensor], name: str) -> Row:
    counts = []
    for scale in SCALES:
        scaled = replace(network, module=_Rescaled(network.module, scale))
        counts.append(int((first & ~robust(attack, of=scaled)).sum()))
    low, high = share_interval(max(counts), len(first))
    each = " and ".join(f"{count} at x {scale:g}" for scale, count in zip(SCALES, counts, strict=True))
    passed = max(counts) / len(first) <= MORE_BY_SCALE or low <= MORE_BY_SCALE
    return check(
        f"rescaled logits ({name})",
        passed,
        max(counts) / len(first),
        f"misclassifies at most {MORE_BY_SCALE:.0%} more of the images when it sees the logits at another scale, or "
        "their 95% interval reaches that low",
        f"of {int(first.sum())} robust images {each} are misclassified ({low:.1%} to {high:.1%} of all)"
        + "; losses that no scale changes, as those of autoattack, find more" * (not passed),
    )


def _convergence(first: Tensor, misclassified: Tensor, name: str) -> Row:
    """The row on twice the steps, `misclassified` (n,) being which images are so under these."""
    n_more = int((first & misclassified).sum())
    low, high = share_interval(n_more, len(first))
    return check(
        f"convergence ({name})",
        n_more / len(first) <= MORE_BY_STEPS or low <= MORE_BY_STEPS,
        n_more / len(first),
        f"twice the steps misclassify at most {MORE_BY_STEPS:.0%} more of the images, or their 95% interval reaches "
        "that low",
        f"{n_more} of {len(first)} more are misclassified ({low:.1%} to {high:.1%}); step by step: the table "
        "convergence",
    )


def _search(what: str, name: str, stands: Tensor, n_images: int, means: str) -> Row:
    """A row on what another search found among the robust images, `stands` (n,) being which of them still are."""
    n_more, allowed = int((~stands).sum()), _allowed(MORE_BY_SEARCH, n_images)
    return check(
        f"{what} ({name})",
        n_more <= allowed,
        n_more / n_images,
        f"misclassifies at most {allowed} more of {n_images} images",
        f"{means}: {n_more} of {len(stands)} robust images are misclassified",
    )


def _gradient_free(standing: ImageSet, attack: PGD, robust: Callable[..., Tensor], name: str) -> Row:
    square = Square(epsilon=attack.epsilon, queries=QUERIES, rescale_schedule=True)
    stands = robust(square, on=standing)
    n_more = int((~stands).sum())
    low, high = share_interval(n_more, len(stands))
    return check(
        f"gradient-free ({name})",
        n_more <= 1 or low <= MORE_WITHOUT_GRADIENT,
        n_more / len(stands),
        f"misclassifies one robust image at most, or a share whose 95% interval reaches {MORE_WITHOUT_GRADIENT:.0%}; "
        "else gradients may be masked",
        f"Square with {QUERIES} queries misclassifies {n_more} of {len(stands)} robust images ({low:.1%} to "
        f"{high:.1%})",
    )


def _not_run(what: str, name: str, why: str) -> Row:
    return check(f"{what} ({name})", None, None, "what it finds beside the attack", f"not run: {why}")


def _allowed(share: float, n_images: int) -> int:
    """How many images may be misclassified; one always may, since starts differ."""
    return max(1, round(share * n_images))


def _with_margin_loss(attack: PGD) -> Perturbation | None:
    """The same attack on the margin loss; None where it has no such loss."""
    try:
        return make(attack.kind, {**asdict(attack), "loss": "cw"})
    except ManifoldscopeError:
        return None
