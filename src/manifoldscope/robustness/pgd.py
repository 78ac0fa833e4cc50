"""Projected gradient descent in the L-infinity or the L2 ball (Madry et al. 2018)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from manifoldscope.errors import ThreatError
from manifoldscope.robustness.ball import Norm, check_radius, direction, distance, per_image, projected, random_start
from manifoldscope.robustness.losses import LOSSES, LossName
from manifoldscope.robustness.target import Target
from manifoldscope.robustness.threat import THREATS, Threat

TargetClass = int | Literal["random", "least_likely"]


def step(
    images: Tensor, gradient: Tensor, clean: Tensor, epsilon: float, step_size: float, norm: Norm = "linf"
) -> Tensor:
    """One step of steepest ascent, projected: the iterate (not the step) is brought into the ball and into [0, 1]."""
    moved = torch.add(images, direction(gradient, norm), alpha=step_size)
    if norm == "linf":
        for some, around in zip(torch.split(moved, 64), torch.split(clean, 64), strict=True):  # there may be many
            some.copy_(torch.clamp(some, around - epsilon, around + epsilon))
        return moved.clamp_(0, 1)
    return projected(moved, clean, epsilon, norm)


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
    """Projected gradient descent with a uniform random start (Madry et al. 2018, section 2.1).

    x0 = clip(x + uniform(-epsilon, epsilon), 0, 1), then `steps` times
    x = clip(clip(x + step_size sign(grad loss), x_clean - epsilon, x_clean + epsilon), 0, 1).
    In the L2 norm the start is uniform in that ball, the step is along the gradient, and the projection is radial.

    Attributes:
        epsilon: radius of the ball, in pixel units: pixels are in [0, 1], so 8/255 and not 8.
        norm: "linf" or "l2".
        step_size: in pixel units; 2.5 epsilon / steps where left out.
        relative_step_size: the step size as a share of epsilon, instead of step_size.
        steps: number of gradient steps, at least 1.
        restarts: how often to start anew; an image survives only if it survives every restart.
        random_start: False starts at the clean image.
        loss: "ce", cross-entropy; "cw", the margin; "dlr", the difference of logits ratio (see `losses`).
        fgsm_first: the first gradient also takes each image across the ball to its edge, clip(x + epsilon sign(grad),
            0, 1), which counts as an iterate and is not followed: FGSM with a random start. Most images of an
            undefended network fall there, so that with iterate = "any" they cost a gradient and a forward pass.
        momentum: what is kept of the gradients before, each of mean absolute value 1 (Dong et al. 2018); 0: nothing.
        returns: which iterate counts as the last: the "last" one, or of all the one of the largest loss ("best"),
            which costs a pass more.
        target: None attacks away from the label. A class index, "random" (another class, drawn once an image) or
            "least_likely" (by the clean logits) descends towards that class; images that belong to it stay where
            they are. In every case an image has survived if it is still classified as its label.

    Raises:
        ThreatError: an impossible value; "dlr" with fewer than 3 classes, or 4 where it is targeted.

    Example:
        >>> PGD(epsilon=8/255, steps=10).resolved_step_size == 2.5 * (8/255) / 10
        True
    """

    kind: ClassVar[str] = "pgd"
    strength_setting: ClassVar[str] = "epsilon"
    iterative: ClassVar[bool] = True
    nested: ClassVar[bool] = True

    epsilon: float
    norm: Norm = "linf"
    loss: LossName = "ce"
    steps: int = 20
    step_size: float | None = None
    relative_step_size: float | None = None
    restarts: int = 1
    random_start: bool = True
    fgsm_first: bool = False
    momentum: float = 0.0
    returns: Literal["last", "best"] = "last"
    target: TargetClass | None = None

    def __post_init__(self) -> None:
        check_radius(self.epsilon, self.norm)
        if not (math.isfinite(self.momentum) and self.momentum >= 0):
            raise ThreatError(f"momentum = {self.momentum}; expected a share of at least 0, such as 1.0")
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
        norm = "" if self.norm == "linf" else f"norm={self.norm} "
        momentum = f" momentum={self.momentum:.6g}" if self.momentum else ""
        returns = "" if self.returns == "last" else f" returns={self.returns}"
        first = " fgsm_first=true" if self.fgsm_first else ""
        described = f"{norm}loss={self.loss} steps={self.steps} {size} restarts={self.restarts}"
        return f"{described}{start}{first}{momentum}{returns}{target}"

    @property
    def passes(self) -> tuple[int, int]:
        return (self.restarts * (1 + (self.returns == "best") + self.fgsm_first), self.steps * self.restarts)

    def perturb(self, target: Target) -> None:
        goals = self._goals(target)
        for _ in range(self.restarts):
            images, goals = self._climb(target, self._start(target), goals)
            target.conclude(images)
            (goals,) = target.standing(goals)

    def _start(self, target: Target) -> Tensor:
        if not self.random_start:
            return target.clean
        return random_start(target.clean, self.epsilon, target.generators, self.norm)

    def _climb(self, target: Target, images: Tensor, goals: Tensor) -> tuple[Tensor, Tensor]:
        """The iterates that count, of the images that are still under attack, and their goals."""
        loss, n = LOSSES[self.loss], len(images)
        # Where there is no momentum, or the last iterate counts, these are (n, 0): they shrink with the others.
        velocity = torch.zeros_like(images) if self.momentum else images.new_empty(n, 0)
        best = images if self.returns == "best" else images.new_empty(n, 0)
        highest = images.new_full((n,), -torch.inf)
        for number in range(self.steps):
            if not len(images):
                return images, goals
            towards = None if self.target is None else goals
            gradient, values = target.gradient(images, loss, target.labels, towards)
            if towards is not None:
                gradient[towards == target.labels] = 0
            if self.returns == "best":
                best, highest = _better(images, values, best, highest)
            if self.momentum:
                size = gradient.abs().flatten(1).mean(1).clamp_min(torch.finfo(gradient.dtype).tiny)
                velocity = gradient = self.momentum * velocity + gradient / per_image(size)
            if self.fgsm_first and number == 0:
                target.show(step(images, gradient, target.clean, self.epsilon, 2 * self.epsilon, self.norm))
                images, gradient, goals, velocity, best, highest = target.standing(
                    images, gradient, goals, velocity, best, highest
                )
            images = step(images, gradient, target.clean, self.epsilon, self.resolved_step_size, self.norm)
            del gradient  # or it would be held beside the next one
            images, goals, velocity, best, highest = target.standing(images, goals, velocity, best, highest)
        if self.returns == "best" and len(images):
            values = target.values(images, loss, target.labels, None if self.target is None else goals)
            images, _ = _better(images, values, best, highest)
        return images, goals

    def excess(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        return distance(clean, perturbed, self.norm) - self.epsilon

    def _goals(self, target: Target) -> Tensor:
        """(n,) the classes to descend to; the labels where there is no such class."""
        labels = target.labels
        if self.target is None:
            return labels
        logits = target.clean_logits
        n_classes = logits.shape[1]
        if self.target == "least_likely":
            return logits.argmin(1)
        if self.target == "random":
            offsets = [int(torch.randint(1, n_classes, (), generator=each)) for each in target.generators]
            return (labels + labels.new_tensor(offsets)) % n_classes
        if not 0 <= int(self.target) < n_classes:
            raise ThreatError(f"target = {self.target}; the network has classes 0 to {n_classes - 1}")
        return torch.full_like(labels, int(self.target))


def _better(images: Tensor, values: Tensor, best: Tensor, highest: Tensor) -> tuple[Tensor, Tensor]:
    """Of each image the iterate of the larger loss, and that loss."""
    return torch.where(per_image(values > highest), images, best), torch.maximum(values, highest)
