"""Projected gradient descent in the L-infinity or the L2 ball (Madry et al. 2018)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from manifoldscope.attacks.ball import Norm, check_radius, direction, distance, per_image, projected, random_start
from manifoldscope.attacks.losses import LOSSES, LossName
from manifoldscope.attacks.perturbation import ATTACKS, Perturbation
from manifoldscope.attacks.target import Target
from manifoldscope.errors import AttackError

TargetClass = int | Literal["random", "least_likely"]


def step(
    images: Tensor, gradient: Tensor, clean: Tensor, epsilon: float, step_size: float, norm: Norm = "linf"
) -> Tensor:
    """One step of steepest ascent, projected: the iterate (not the step) is brought into the ball and into [0, 1]."""
    moved = torch.add(images, direction(gradient, norm), alpha=step_size)
    if norm == "linf":
        for some, around in zip(torch.split(moved, 64), torch.split(clean, 64), strict=True):  # there may be many
            some.clamp_(around - epsilon, around + epsilon)
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


@ATTACKS.register("pgd")
@dataclass(frozen=True, kw_only=True)
class PGD(Perturbation):
    """Projected gradient descent with a uniform random start (Madry et al. 2018, section 2.1).

    x0 = clip(x + uniform(-epsilon, epsilon), 0, 1), then `steps` times
    x = clip(clip(x + step_size sign(grad loss), x_clean - epsilon, x_clean + epsilon), 0, 1).
    In the L2 norm the start is uniform in that ball, the step is along the gradient, and the projection is radial.

    Attributes:
        epsilon: radius of the ball, in pixel units: pixels are in [0, 1], so 8/255 and not 8.
        norm: "linf" or "l2".
        step_size: in pixel units; 2.5 epsilon / steps if omitted.
        relative_step_size: the step size as a share of epsilon, instead of step_size.
        steps: number of gradient steps, at least 1; where epsilon is 0 one is taken, since all iterates are the image.
        restarts: how often to start anew; an image is robust only if it is robust to every restart.
        random_start: False starts at the clean image.
        loss: "ce", cross-entropy; "cw", the margin; "dlr", the difference of logits ratio (see `losses`).
        fgsm_first: the first gradient also takes each image across the ball to its edge, clip(x + epsilon sign(grad),
            0, 1), which counts as an iterate and is not followed: FGSM with a random start. Most images of an
            undefended network are misclassified there, and with iterate = "any" cost a gradient and a forward pass.
        momentum: what is kept of the gradients before, each of mean absolute value 1 (Dong et al. 2018); 0: nothing.
        returns: which iterate counts as the last: the "last" one, or of all the one of the largest loss ("best"),
            which costs a pass more.
        target: None attacks away from the label. A class index, "random" (another class, drawn once an image) or
            "least_likely" (by the clean logits) descends towards that class; images that belong to it stay where
            they are. In every case an image is robust if it is still classified as its label.

    Raises:
        AttackError: an impossible value; "dlr" with fewer than 3 classes, or 4 where it is targeted.

    Example:
        >>> PGD(epsilon=8/255, steps=10).resolved_step_size == 2.5 * (8/255) / 10
        True
    """

    kind: ClassVar[str] = "pgd"
    strength_setting: ClassVar[str] = "epsilon"
    iterative: ClassVar[bool] = True
    nested: ClassVar[bool] = True
    rolling: ClassVar[bool] = True

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
            raise AttackError(f"momentum = {self.momentum}; expected a share of at least 0, such as 1.0")
        if self.steps < 1:
            raise AttackError(f"steps = {self.steps}; expected at least 1 (epsilon = 0 measures clean accuracy)")
        if self.restarts < 1:
            raise AttackError(f"restarts = {self.restarts}; expected at least 1")
        if self.step_size is not None and self.relative_step_size is not None:
            raise AttackError("step_size and relative_step_size are both given; expected one of them")
        for name in ("step_size", "relative_step_size"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise AttackError(f"{name} = {value}; expected a positive number")

    @property
    def n_steps(self) -> int:
        return self.steps

    @property
    def targeted(self) -> bool:
        return self.target is not None

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
        return (self.restarts * (1 + (self.returns == "best") + self.fgsm_first), self._n_steps * self.restarts)

    @property
    def _n_steps(self) -> int:
        """In a ball of no size one step shows what all of them would."""
        return self.steps if self.epsilon > 0 else 1

    def perturb(self, target: Target) -> None:
        rows = self._started(target, len(target.clean))
        while len(rows.images):
            rows = _Rows(*target.standing(*self._stepped(target, rows)))
            finished = rows.steps == self._n_steps
            if bool(finished.any()):
                rows, gone = self._concluded(target, rows, finished)
                rows = _Rows(*target.standing(*rows, finished=gone))
            if came := target.admit():
                rows = _Rows(*map(torch.cat, zip(rows, self._started(target, came), strict=True)))

    def _started(self, target: Target, n_came: int) -> _Rows:
        """The state of the last rows of the target, which have come."""
        last = slice(len(target.clean) - n_came, None)
        clean, streams = target.clean[last], target.generators[last]
        goals = self._goals(target.labels[last], target.clean_logits[last], streams)
        return self._begun(clean, goals, torch.zeros_like(goals), streams)

    def _begun(self, clean: Tensor, goals: Tensor, restarts: Tensor, streams: list[torch.Generator]) -> _Rows:
        """The state of n images before their first step. What is not needed has n rows of nothing."""
        start = random_start(clean, self.epsilon, streams, self.norm) if self.random_start else clean
        nothing = clean.new_empty(len(clean), 0)
        velocity = torch.zeros_like(clean) if self.momentum else nothing
        best = start if self.returns == "best" else nothing
        highest = clean.new_full((len(clean),), -torch.inf)
        return _Rows(start, goals, velocity, best, highest, torch.zeros_like(goals), restarts)

    def _stepped(self, target: Target, rows: _Rows) -> _Rows:
        """One step of every image."""
        images, velocity, best, highest = rows.images, rows.velocity, rows.best, rows.highest
        towards = None if self.target is None else rows.goals
        gradient, values = target.gradient(images, LOSSES[self.loss], target.labels, towards)
        if towards is not None:
            gradient[towards == target.labels] = 0
        if self.returns == "best":
            best, highest = _better(images, values, best, highest)
        if self.momentum:
            size = gradient.abs().flatten(1).mean(1).clamp_min(torch.finfo(gradient.dtype).tiny)
            velocity = gradient = self.momentum * velocity + gradient / per_image(size)
        if self.fgsm_first and len(first := (rows.steps == 0).nonzero().flatten()):
            across = images[first], gradient[first], target.clean[first], self.epsilon, 2 * self.epsilon
            target.show(step(*across, self.norm), first)
        images = step(images, gradient, target.clean, self.epsilon, self.resolved_step_size, self.norm)
        return _Rows(images, rows.goals, velocity, best, highest, rows.steps + 1, rows.restarts)

    def _concluded(self, target: Target, rows: _Rows, finished: Tensor) -> tuple[_Rows, Tensor]:
        """Judge the last iterates of those that are `finished` (n,); what starts anew has, and which are done with."""
        where = finished.nonzero().flatten()
        last = rows.images[where]
        if self.returns == "best":
            towards = None if self.target is None else rows.goals[where]
            values = target.values(last, LOSSES[self.loss], target.labels[where], towards, rows=where)
            last, _ = _better(last, values, rows.best[where], rows.highest[where])
        target.conclude(last, where, wait=self.restarts == 1)
        again = finished & target.stands & (rows.restarts + 1 < self.restarts)
        if bool(again.any()):
            where = again.nonzero().flatten()
            streams = [target.generators[row] for row in where.tolist()]
            anew = self._begun(target.clean[where], rows.goals[where], rows.restarts[where] + 1, streams)
            rows = _Rows(*(old.index_copy(0, where, new) for old, new in zip(rows, anew, strict=True)))
        return rows, finished & ~again

    def excess(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        return distance(clean, perturbed, self.norm) - self.epsilon

    def _goals(self, labels: Tensor, logits: Tensor, streams: list[torch.Generator]) -> Tensor:
        """(n,) the classes to descend to; the labels where there is no such class."""
        if self.target is None:
            return labels
        n_classes = logits.shape[1]
        if self.target == "least_likely":
            return logits.argmin(1)
        if self.target == "random":
            offsets = [int(torch.randint(1, n_classes, (), generator=each)) for each in streams]
            return (labels + labels.new_tensor(offsets)) % n_classes
        if not 0 <= int(self.target) < n_classes:
            raise AttackError(f"target = {self.target}; the network has classes 0 to {n_classes - 1}")
        return torch.full_like(labels, int(self.target))


class _Rows(NamedTuple):
    """The state of n images under attack.

    Attributes:
        images: (n, channels, height, width) the iterates.
        goals: (n,) the classes to descend to.
        velocity: like images, what momentum keeps of the gradients before.
        best, highest: like images, and (n,): the iterate of the largest loss, and that loss.
        steps: (n,) how many steps led to the iterate.
        restarts: (n,) how often the image has started anew.
    """

    images: Tensor
    goals: Tensor
    velocity: Tensor
    best: Tensor
    highest: Tensor
    steps: Tensor
    restarts: Tensor


def _better(images: Tensor, values: Tensor, best: Tensor, highest: Tensor) -> tuple[Tensor, Tensor]:
    """Of each image the iterate of the larger loss, and that loss; one that is NaN is no larger."""
    better = values > highest
    return torch.where(per_image(better), images, best), torch.where(better, values, highest)
