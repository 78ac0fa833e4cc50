"""Projected gradient descent in the L-infinity ball (Madry et al. 2018)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.errors import ThreatError
from manifoldscope.robustness.threat import THREATS, Target, Threat

TargetClass = int | Literal["random", "least_likely"]


def random_start(clean: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
    """Uniform in the L-infinity ball of radius epsilon around each image, cut to [0, 1].

    The numbers are drawn on the CPU, so that every device starts at the same place.
    """
    noise = torch.rand(clean.shape, generator=generator, dtype=clean.dtype).to(clean.device)
    return (clean + epsilon * (2 * noise - 1)).clamp_(0, 1)


def step(images: Tensor, gradient: Tensor, clean: Tensor, epsilon: float, step_size: float) -> Tensor:
    """One step of steepest ascent, projected: the iterate (not the step) is cut to the ball and to [0, 1]."""
    moved = images + step_size * gradient.sign()
    return torch.clamp(moved, clean - epsilon, clean + epsilon).clamp_(0, 1)


def ascend(
    gradient: Callable[[Tensor], Tensor], start: Tensor, clean: Tensor, *, epsilon: float, step_size: float, steps: int
) -> Tensor:
    """`steps` steps from `start`, for callers that need the images alone (adversarial training)."""
    images = start
    for _ in range(steps):
        images = step(images, gradient(images), clean, epsilon, step_size)
    return images


@THREATS.register("pgd")
@dataclass(frozen=True, kw_only=True)
class PGD(Threat):
    """L-infinity projected gradient descent with a uniform random start (Madry et al. 2018, section 2.1).

    x0 = clip(x + uniform(-epsilon, epsilon), 0, 1), then `steps` times
    x = clip(clip(x + step_size sign(grad loss), x_clean - epsilon, x_clean + epsilon), 0, 1).

    Attributes:
        epsilon: radius of the ball, in pixel units: pixels are in [0, 1], so 8/255 and not 8.
        step_size: in pixel units; 2.5 epsilon / steps where left out.
        relative_step_size: the step size as a share of epsilon, instead of step_size.
        steps: number of gradient steps, at least 1.
        restarts: how often to start anew; an image survives only if it survives every restart.
        random_start: False starts at the clean image.
        loss: "ce", cross-entropy.
        target: None attacks away from the label. A class index, "random" (another class, drawn once an image) or
            "least_likely" (by the clean logits) descends towards that class; images that belong to it stay where
            they are. In every case an image has survived if it is still classified as its label.

    Raises:
        ThreatError: an impossible value.

    Example:
        >>> PGD(epsilon=8/255, steps=10).resolved_step_size == 2.5 * (8/255) / 10
        True
    """

    kind: ClassVar[str] = "pgd"
    strength_setting: ClassVar[str] = "epsilon"
    iterative: ClassVar[bool] = True

    epsilon: float
    loss: Literal["ce"] = "ce"
    steps: int = 20
    step_size: float | None = None
    relative_step_size: float | None = None
    restarts: int = 1
    random_start: bool = True
    target: TargetClass | None = None

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon)
        if self.steps < 1:
            raise ThreatError(f"steps = {self.steps}; expected at least 1 (epsilon = 0 measures clean accuracy)")
        if self.restarts < 1:
            raise ThreatError(f"restarts = {self.restarts}; expected at least 1")
        if self.step_size is not None and self.relative_step_size is not None:
            raise ThreatError("step_size and relative_step_size are both given; expected one of them")
        for name in ("step_size", "relative_step_size"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ThreatError(f"{name} = {value}; expected a positive number")

    @property
    def resolved_step_size(self) -> float:
        """The step size in pixel units."""
        if self.step_size is not None:
            return self.step_size
        relative = self.relative_step_size if self.relative_step_size is not None else 2.5 / self.steps
        return relative * self.epsilon

    @property
    def parameters(self) -> str:
        """Steps and what else defines the attack; the step size is relative to epsilon unless it was given."""
        size = (
            f"step_size={self.step_size:.6g}"
            if self.step_size is not None
            else f"relative_step_size={self.relative_step_size or 2.5 / self.steps:.6g}"
        )
        start = "" if self.random_start else " random_start=false"
        target = "" if self.target is None else f" target={self.target}"
        return f"loss={self.loss} steps={self.steps} {size} restarts={self.restarts}{start}{target}"

    @property
    def passes(self) -> tuple[int, int]:
        return (self.restarts, self.steps * self.restarts)

    def perturb(self, target: Target, generator: torch.Generator) -> None:
        goals = self._goals(target, generator)
        for _ in range(self.restarts):
            # Numbers are drawn for the whole batch: no image's start depends on which others are still under attack.
            start = random_start(target.whole, self.epsilon, generator) if self.random_start else target.whole
            images = target.of_active(start)
            for _ in range(self.steps):
                if not len(images):
                    break
                if goals is None:
                    gradient = target.gradient(images, partial(_cross_entropy, labels=target.labels))
                else:
                    towards = target.of_active(goals)
                    gradient = -target.gradient(images, partial(_cross_entropy, labels=towards))
                    gradient[towards == target.labels] = 0
                images = step(images, gradient, target.clean, self.epsilon, self.resolved_step_size)
                images = target.standing(images)
            target.conclude(images)
            target.standing(images)

    def excess(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        return (perturbed - clean).abs().flatten(1).amax(1) - self.epsilon

    def _goals(self, target: Target, generator: torch.Generator) -> Tensor | None:
        if self.target is None:
            return None
        logits, labels = target.whole_clean_logits, target.whole_labels
        n_classes = logits.shape[1]
        if self.target == "least_likely":
            return logits.argmin(1)
        if self.target == "random":
            offset = torch.randint(1, n_classes, labels.shape, generator=generator).to(labels.device)
            return (labels + offset) % n_classes
        if not 0 <= int(self.target) < n_classes:
            raise ThreatError(f"target = {self.target}; the network has classes 0 to {n_classes - 1}")
        return torch.full_like(labels, int(self.target))


def check_epsilon(epsilon: float) -> None:
    """Raise ThreatError unless epsilon is a radius in pixel units."""
    if not (math.isfinite(epsilon) and epsilon >= 0):
        raise ThreatError(f"epsilon = {epsilon}; expected a number from 0 to 1, in pixel units")
    if epsilon >= 1:
        raise ThreatError(
            f"epsilon = {epsilon:g}; pixels are in [0, 1], so that an L-infinity epsilon of 1 or more allows any image"
            + (f"; did you mean {epsilon:g}/255 = {epsilon / 255:.6g}?" if epsilon <= 255 else "")
        )


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="none")
