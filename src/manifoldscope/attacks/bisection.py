"""Bisection for the smallest radius at which projected gradient ascent succeeds: each image has a ball of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from manifoldscope.attacks.ball import Norm, check_radius, direction, distance, drawn, per_image, projected
from manifoldscope.attacks.losses import cross_entropy, margin
from manifoldscope.attacks.perturbation import Outcome, Perturbation, Rows, Seen, State

SMALLER = 6
"""An image that is robust at the largest epsilon is tried at its halves, quarters, ... this often in all."""


@dataclass(frozen=True, kw_only=True)
class Bisection(Perturbation):
    """Attacks at `epsilon`, then between the largest radius that failed and the smallest that succeeded.

    An attack is projected gradient ascent with steps of 2.5 radius / steps, twice: on the cross-entropy from a random
    start, as `PGD` does; and where that fails, on the margin from the nearest adversarial example so far, brought into
    the ball, or from the clean image.

    Attributes:
        epsilon: the largest radius, in pixel units.
        norm: "linf" or "l2".
        steps: of one attack.
        tolerance: an image is finished where its bracket is narrower than this share of its upper end.
    """

    kind: ClassVar[str] = "bisection"
    strength_setting: ClassVar[str] = "epsilon"
    counts: ClassVar[Outcome] = "any"
    asks_gradients: ClassVar[bool] = True

    epsilon: float
    norm: Norm = "linf"
    steps: int = 20
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_radius(self.epsilon, self.norm)

    def start(self, rows: Rows) -> State:
        n = len(rows)
        radius = rows.clean.new_full((n,), self.epsilon)
        zero = torch.zeros_like(rows.labels)
        state = {
            "noise": 2 * drawn(torch.rand, rows.clean.shape, rows.streams).to(rows.clean) - 1,
            "nearest": rows.clean,
            "radius": radius,
            "low": torch.zeros_like(radius),
            "high": torch.full_like(radius, torch.inf),
            "attempts": zero,
            "steps": zero,
            "by_margin": zero.bool(),
            "decided": zero.bool(),
        }
        return state | {"images": self._random(rows, state)}

    def loss_of(self, logits: Tensor, rows: Rows, state: State) -> Tensor:
        return torch.where(state["by_margin"], margin(logits, rows.labels), cross_entropy(logits, rows.labels))

    def step(self, rows: Rows, state: State, seen: Seen) -> State:
        images, state, hit = state["images"], dict(state), seen.misclassified
        last = ~hit & (state["steps"] >= self.steps)
        failed, again = last & state["by_margin"], last & ~state["by_margin"]
        ended = hit | failed
        away = distance(rows.clean, images, self.norm).to(state["radius"])
        state["high"] = torch.where(hit, torch.minimum(state["radius"], away), state["high"])
        state["nearest"] = torch.where(per_image(hit), images, state["nearest"])
        state["low"] = torch.where(failed & state["high"].isfinite(), state["radius"], state["low"])
        state["attempts"] = state["attempts"] + ended
        state["decided"] = ended & ~self._undecided(state)
        state["radius"] = torch.where(ended, self._next_radius(state), state["radius"])
        size = per_image(2.5 / self.steps * state["radius"])
        moved = projected(images + size * direction(seen.gradient, self.norm), rows.clean, state["radius"], self.norm)
        if bool(ended.any()):
            moved = torch.where(per_image(ended), self._random(rows, state), moved)
        if bool(again.any()):
            inside = projected(state["nearest"], rows.clean, state["radius"], self.norm)
            moved = torch.where(per_image(again), inside, moved)
        state["images"] = torch.where(per_image(state["decided"]), images, moved)
        state["steps"] = torch.where(ended | again, 0, state["steps"] + 1)
        state["by_margin"] = torch.where(ended, False, state["by_margin"] | again)
        return state

    def finished(self, state: State) -> Tensor:
        return state["decided"]

    def excess(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        return distance(clean, perturbed, self.norm) - self.epsilon

    def _random(self, rows: Rows, state: State) -> Tensor:
        moved = rows.clean + per_image(state["radius"]) * state["noise"]
        return projected(moved, rows.clean, state["radius"], self.norm)

    def _undecided(self, state: State) -> Tensor:
        """(n,) where the bracket is wide, or nothing was found and smaller radii are left to try."""
        low, high = state["low"], state["high"]
        wide = high.isfinite() & (high - low > self.tolerance * high)
        return wide | (high.isinf() & (state["attempts"] < SMALLER))

    def _next_radius(self, state: State) -> Tensor:
        low, high = state["low"], state["high"]
        return torch.where(high.isfinite(), (low + high) / 2, self.epsilon / 2.0 ** state["attempts"].to(low))
