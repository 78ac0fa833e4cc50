"""Adversarial training, watched as it goes: does the network withstand one step and not many?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import polars as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.attacks.engine import INSIDE
from manifoldscope.attacks.evaluation import evaluate
from manifoldscope.attacks.fgsm import FGSM
from manifoldscope.attacks.pgd import PGD
from manifoldscope.seeds import generator
from manifoldscope.training.history import Epoch
from manifoldscope.vision.gradient import pixel_gradient
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network, undisturbed
from manifoldscope.vision.preprocessing import Preprocessing

EVALUATED = 200
"""Training images on which adversarial training is evaluated as it goes, at most."""
EVALUATION_STEPS = 10
"""Steps of the PGD that evaluates it."""
EVALUATION_PASSES = EVALUATION_STEPS + 2
"""Gradient passes of an image that is evaluated: of PGD, of FGSM's one step, and at the clean image."""
EVALUATION_SHARE = 0.05
"""What this evaluation may cost, as a share of the training itself: with few images, fewer epochs are evaluated."""


def evaluated_every(n_images: int, passes: float, n_evaluated: int) -> int:
    """After how many epochs adversarial training is evaluated again, by what both cost in gradient passes.

    Args:
        n_images: trained on in an epoch, each at a cost of `passes`.
        n_evaluated: on how many it is evaluated, by one step and by ten.

    Example:
        >>> evaluated_every(60_000, 8.5, 200), evaluated_every(1_000, 8.5, 200)
        (1, 6)
    """
    return max(1, math.ceil(n_evaluated * EVALUATION_PASSES / (EVALUATION_SHARE * n_images * passes)))


def evaluation(
    network: Network, pixels: Tensor, labels: Tensor, radius: float | None, *, seed: int, batch_size: int
) -> Callable[[Epoch], Epoch] | None:
    """What adds to an epoch how robust the network then is; None where the objective attacks nothing.

    It changes nothing that is trained, and draws from streams of its own.

    Args:
        pixels: (n, channels, height, width), all training images as the network sees them.
        labels: (n,) their classes.
        radius: epsilon of the L-infinity ball.
    """
    if not radius:
        return None
    chosen = torch.randperm(len(pixels), generator=generator(seed, "judged"), device="cpu")[:EVALUATED].sort().values
    sample = ImageSet.of(pixels[chosen], labels[chosen])
    prepared = replace(network, preprocessing=Preprocessing(channels=pixels.shape[1]))

    def evaluate_epoch(epoch: Epoch) -> Epoch:
        attacks = (FGSM(epsilon=radius), PGD(epsilon=radius, steps=EVALUATION_STEPS))
        found = evaluate(prepared, sample, attacks, seed=seed, batch_size=batch_size, iterate="any", fast=False).table
        one, many = (found.filter(pl.col("attack") == attack.kind) for attack in attacks)
        return replace(
            epoch,
            epsilon=radius,
            n_images=len(sample),
            n_robust_fgsm=int(one["robust_last"].sum()),
            n_robust_pgd=int(many["robust_any"].sum()),
            gradient_participation_ratio=gradient_participation_ratio(
                network, pixels[chosen], labels[chosen], batch_size=batch_size
            ),
        )

    return evaluate_epoch


def gradient_participation_ratio(
    network: Network, pixels: Tensor, labels: Tensor, *, batch_size: int = 128
) -> float | None:
    """On which share of its pixels the gradient of an image rests: the mean over images, in (0, 1].

    For one image it is (sum |g|)^2 / (d sum g^2), where g is the gradient of the cross-entropy by its d pixels: 1 where
    all are equally steep, 1 / d where a single one counts. FGSM moves all pixels alike, whatever their gradient; where
    the gradient is concentrated on few of them, training by such steps is prone to catastrophic overfitting (Mehouachi
    & Jabari 2025, "Catastrophic overfitting, entropy gap and participation ratio", PR_1 as a share of the pixels).

    Args:
        network: asked in evaluation mode, and found again as it was.
        pixels: (n, channels, height, width) in [0, 1], as the network sees them.
        labels: (n,) class indices.

    Returns:
        The mean over images whose gradient is finite and not zero; None where there is no such image.
    """
    ratios = []
    with undisturbed(network):
        for some, classes in zip(torch.split(pixels, batch_size), torch.split(labels, batch_size), strict=True):
            # some modules have no gradient on the bounds of [0, 1] themselves: a clamp, for one
            leaf = some.to(network.device).clamp(INSIDE, 1 - INSIDE).requires_grad_(True)
            loss = F.cross_entropy(network(leaf), classes.to(network.device), reduction="sum")
            gradient = pixel_gradient(network.name, loss, leaf).flatten(1).abs()
            gradient = gradient / gradient.amax(1, keepdim=True)  # squares of small numbers may vanish
            ratios.append((gradient.sum(1) ** 2 / (gradient.shape[1] * gradient.square().sum(1))).cpu())
    found = torch.cat(ratios).double()
    found = found[found.isfinite()]
    return float(found.mean()) if len(found) else None
