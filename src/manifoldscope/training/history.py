"""Epoch: what one pass over the training images showed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """What one pass over the images showed.

    Attributes:
        loss: mean training loss.
        learning_rate: at the end of the epoch.
        epsilon: radius of the L-infinity ball in which the network was then attacked; None where it was not.
        n_images: on how many of the training images.
        n_robust_fgsm, n_robust_pgd: how many of these are classified correctly when clean and under one step, or
            at every iterate of ten.
        gradient_participation_ratio: of the gradients of the loss at these images when clean, their mean in (0, 1];
            None where there is none (see `watch.gradient_participation_ratio`).
        seconds: that its steps took, without evaluating and saving; the one attribute that differs from run to run.
    """

    epoch: int
    loss: float
    learning_rate: float
    epsilon: float | None = None
    n_images: int = 0
    n_robust_fgsm: int | None = None
    n_robust_pgd: int | None = None
    gradient_participation_ratio: float | None = None
    seconds: float = 0.0
