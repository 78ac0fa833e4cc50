"""FMN, the fast minimum-norm attack (Pintor et al. 2021, "Fast minimum-norm adversarial attacks")."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from manifoldscope.attacks.apgd import at_least_one
from manifoldscope.attacks.ball import Norm, check_radius, direction, distance, per_image, projected
from manifoldscope.attacks.losses import margin
from manifoldscope.attacks.perturbation import ATTACKS, Outcome, Perturbation, Rows, Seen, State

LARGEST_STEP, SMALLEST_STEP = 1.0, 0.01
"""Step sizes of the first and the last step, in pixel units and in the L2 norm."""

ACROSS = 1e-6
"""Beyond the distance at which a linear network would misclassify, lest the rounding of pixels end short of it."""

FASTEST, SLOWEST = 0.05, 0.001
"""Shares by which the radius grows or shrinks at the first and the last step."""


@ATTACKS.register("fmn", version=2)
@dataclass(frozen=True, kw_only=True)
class FMN(Perturbation):
    """Steps along the gradient of the margin in a ball that shrinks while the image is misclassified, and grows else.

    It minimises the norm and does not stop at epsilon; what it finds outside that ball does not count. Until an image
    is misclassified, the next ball is larger than the last by what a linear network would still need. (The paper adds
    that to the length of the perturbation; where [0, 1] cuts it short, a linear network is never misclassified.)

    On some networks it loses images that other attacks find. A step has a length in the L2 norm, whatever the norm of
    the ball, so that the pixels of the largest gradients reach 0 or 1 first, and an image can stay at a local maximum
    of the margin, below 0, in a ball that has outgrown all pixels. That is so of the published algorithm, and of other
    implementations; docs/robustness.md has the figures.

    Attributes:
        epsilon: radius of the ball, in pixel units (pixels are in [0, 1]).
        norm: of the ball, "linf" or "l2".
        steps: at least 1.

    Raises:
        AttackError: an impossible value.
    """

    kind: ClassVar[str] = "fmn"
    strength_setting: ClassVar[str] = "epsilon"
    counts: ClassVar[Outcome] = "any"
    asks_gradients: ClassVar[bool] = True
    bounded: ClassVar[bool] = False

    epsilon: float
    norm: Norm = "linf"
    steps: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        check_radius(self.epsilon, self.norm)
        at_least_one(steps=self.steps)

    @property
    def n_steps(self) -> int:
        return self.steps

    @property
    def passes(self) -> tuple[int, int]:
        return (1, self.steps)

    def start(self, rows: Rows) -> State:
        never = rows.clean.new_full((len(rows),), torch.inf)
        return {
            "images": rows.clean,
            "nearest": rows.clean,
            "distance": never,
            "radius": never,
            "reach": torch.zeros_like(never),
            "steps": torch.zeros_like(rows.labels),
        }

    def loss_of(self, logits: Tensor, rows: Rows, state: State) -> Tensor:
        return margin(logits, rows.labels)

    def step(self, rows: Rows, state: State, seen: Seen) -> State:
        images, state, hit = state["images"], dict(state), seen.misclassified
        away = distance(rows.clean, images, self.norm).to(images)
        nearer = hit & (away < state["distance"])
        state["distance"] = torch.where(nearer, away, state["distance"])
        state["nearest"] = torch.where(per_image(nearer), images, state["nearest"])
        share = self._between(FASTEST, SLOWEST, state["steps"]).to(images)
        dual = torch.linalg.vector_norm(seen.gradient.flatten(1), ord=1 if self.norm == "linf" else 2, dim=1)
        boundary = seen.loss.abs() / dual.clamp_min(torch.finfo(images.dtype).tiny)
        linear = state["reach"] + boundary + ACROSS
        inside = torch.minimum(state["radius"] * (1 - share), state["distance"])
        grown = torch.where(state["distance"].isinf(), linear, state["radius"] * (1 + share))
        state["radius"] = torch.where(hit, inside, grown)
        size = self._between(LARGEST_STEP, SMALLEST_STEP, state["steps"]).to(images)
        moved = images + per_image(size) * direction(seen.gradient, "l2")
        state["steps"] = state["steps"] + 1
        ball = torch.where(self.finished(state), self.epsilon, state["radius"])
        shown = torch.where(per_image(self.finished(state)), state["nearest"], moved)
        state["reach"] = torch.minimum(distance(rows.clean, shown, self.norm).to(images), ball)  # before [0, 1] cuts it
        state["images"] = projected(shown, rows.clean, ball, self.norm)
        return state

    def finished(self, state: State) -> Tensor:
        return state["steps"] > self.steps

    def excess(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        return distance(clean, perturbed, self.norm) - self.epsilon

    def _between(self, first: float, last: float, steps: Tensor) -> Tensor:
        """(n,) from the first value to the last, along half a cosine."""
        share = (steps.float() / max(1, self.steps)).clamp(max=1)
        return last + (first - last) * (1 + torch.cos(math.pi * share)) / 2
