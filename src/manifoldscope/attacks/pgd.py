"""Projected gradient descent in the L-infinity or the L2 ball (Madry et al. 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from manifoldscope.attacks.ball import Norm, check_radius, direction, distance, per_image, projected, random_start
from manifoldscope.attacks.losses import LOSSES, LossName
from manifoldscope.attacks.perturbation import ATTACKS, Outcome, Perturbation, Rows, Seen, State
from manifoldscope.errors import AttackError

LARGEST = 80.0
"""The logarithm of how much larger than one gradient a velocity may become: float32 ends at 88."""

TargetClass = int | Literal["random", "least_likely"]


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
        momentum: what is kept of the gradients before, each of mean absolute value 1 (Dong et al. 2018); 0: nothing.
        returns: which iterate counts as the last: the "last" one, or of all the one of the largest loss ("best"),
            which costs a pass more.
        target: None attacks away from the label. A class index, "random" (another class, drawn once per image) or
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
    counts: ClassVar[Outcome] = "both"
    asks_gradients: ClassVar[bool] = True
    nested: ClassVar[bool] = True

    epsilon: float
    norm: Norm = "linf"
    loss: LossName = "ce"
    steps: int = 20
    step_size: float | None = None
    relative_step_size: float | None = None
    restarts: int = 1
    random_start: bool = True
    momentum: float = 0.0
    returns: Literal["last", "best"] = "last"
    target: TargetClass | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_radius(self.epsilon, self.norm)
        if not (math.isfinite(self.momentum) and self.momentum >= 0):
            raise AttackError(f"momentum = {self.momentum}; expected a share of at least 0, such as 1.0")
        if self.momentum > 1 and self._n_steps * math.log(self.momentum) > LARGEST:
            raise AttackError(
                f"momentum = {self.momentum:g} in {self.steps} steps adds up to more than float32 holds; expected at "
                "most 1, or fewer steps"
            )
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
        return self._relative * self.epsilon

    @property
    def _relative(self) -> float:
        return self.relative_step_size if self.relative_step_size is not None else 2.5 / self.steps

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
        described = f"{norm}loss={self.loss} steps={self.steps} {size} restarts={self.restarts}"
        return f"{described}{start}{momentum}{returns}{target}"

    @property
    def passes(self) -> tuple[int, int]:
        return (self.restarts, (self._n_steps + (self.returns == "best")) * self.restarts)

    @property
    def _n_steps(self) -> int:
        """In a ball of no size one step shows what all of them would."""
        return self.steps if self.epsilon > 0 else 1

    def n_runs(self, n_classes: int) -> int:
        return self.restarts

    def start(self, rows: Rows, radius: Tensor | None = None) -> State:
        """As any attack; `radius` (n,) is of a ball for each image, instead of epsilon."""
        if radius is None:
            radius = rows.clean.new_full((len(rows),), self.epsilon)
        goals = self._goals(rows)
        images = random_start(rows.clean, radius, rows.streams, self.norm) if self.random_start else rows.clean
        state = {"images": images, "goals": goals, "radius": radius, "steps": torch.zeros_like(rows.labels)}
        if self.momentum:
            state["velocity"] = torch.zeros_like(images)
        if self.returns == "best":
            state |= {"best": images, "highest": torch.full_like(radius, -torch.inf)}
        return state

    def loss_of(self, logits: Tensor, rows: Rows, state: State) -> Tensor:
        return LOSSES[self.loss](logits, rows.labels, None if self.target is None else state["goals"])

    def step(self, rows: Rows, state: State, seen: Seen) -> State:
        """The iterate (not the step) is brought into the ball and into [0, 1]."""
        images, gradient, radius, state = state["images"], seen.gradient, state["radius"], dict(state)
        state["steps"] = state["steps"] + 1
        if self.target is not None:
            gradient = torch.where(per_image(state["goals"] == rows.labels), 0, gradient)
        if self.returns == "best":
            better = seen.loss > state["highest"]  # one that is NaN is no larger
            state["best"] = torch.where(per_image(better), images, state["best"])
            state["highest"] = torch.where(better, seen.loss, state["highest"])
        if self.momentum:
            size = gradient.abs().flatten(1).mean(1).clamp_min(torch.finfo(gradient.dtype).tiny)
            state["velocity"] = gradient = self.momentum * state["velocity"] + gradient / per_image(size)
        size = radius * self._relative if self.step_size is None else torch.full_like(radius, self.step_size)
        state["images"] = projected(
            images + per_image(size) * direction(gradient, self.norm), rows.clean, radius, self.norm
        )
        if self.returns == "best":
            last = per_image(state["steps"] > self._n_steps)
            state["images"] = torch.where(last, state["best"], state["images"])
        return state

    def finished(self, state: State) -> Tensor:
        return state["steps"] >= self._n_steps + (self.returns == "best")

    def excess(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        return distance(clean, perturbed, self.norm) - self.epsilon

    def _goals(self, rows: Rows) -> Tensor:
        """(n,) the classes to descend to; the labels where there is no such class."""
        if self.target is None:
            return rows.labels
        n_classes = rows.logits.shape[1]
        if self.target == "least_likely":
            return rows.logits.argmin(1)
        if self.target == "random":
            streams = [rows.streams] * len(rows) if isinstance(rows.streams, torch.Generator) else rows.streams
            offsets = [int(torch.randint(1, n_classes, (), generator=each, device="cpu")) for each in streams]
            return (rows.labels + rows.labels.new_tensor(offsets)) % n_classes
        if not 0 <= int(self.target) < n_classes:
            raise AttackError(f"target = {self.target}; the network has classes 0 to {n_classes - 1}")
        return torch.full_like(rows.labels, int(self.target))
