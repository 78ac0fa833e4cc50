"""Auto-PGD, whose step size needs no setting, on three losses (Croce & Hein 2020, Algorithm 1).

Each image has a schedule of its own: its step size is halved at checkpoints where its loss has not risen often enough,
or has not risen at all since the last, and it goes on from its best point.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from manifoldscope.attacks.ball import Norm, check_radius, direction, distance, drawn, per_image, projected
from manifoldscope.attacks.losses import LOSSES, LossName
from manifoldscope.attacks.perturbation import ATTACKS, Outcome, Perturbation, Rows, Seen, State
from manifoldscope.errors import AttackError

MOMENTUM = 0.75
"""Share of each step that is the present gradient's; the rest is that of the step before."""

RISES = 0.75
"""Share of the steps between two checkpoints at which the loss has to rise, for the step size to stay."""


@dataclass(frozen=True, kw_only=True)
class APGD(Perturbation):
    """What the three have in common.

    Attributes:
        epsilon: radius of the ball, in pixel units (pixels are in [0, 1]).
        norm: of the ball, "linf" or "l2".
        steps: gradient steps of a run, at least 1.
        restarts: runs from a random start that an image must be robust to.

    Raises:
        AttackError: an impossible value.
    """

    strength_setting: ClassVar[str] = "epsilon"
    counts: ClassVar[Outcome] = "any"
    asks_gradients: ClassVar[bool] = True
    loss: ClassVar[LossName]

    epsilon: float
    norm: Norm = "linf"
    steps: int = 100
    restarts: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_radius(self.epsilon, self.norm)
        at_least_one(steps=self.steps, restarts=self.restarts)

    @property
    def n_steps(self) -> int:
        return self.steps

    @property
    def passes(self) -> tuple[int, int]:
        return (self.restarts, self.restarts * (self.steps + 1))

    def n_runs(self, n_classes: int) -> int:
        return self.restarts

    @abstractmethod
    def goals(self, rows: Rows) -> Tensor | None:
        """(n,) the classes to move to in the present runs; None where it is away from the labels."""

    def start(self, rows: Rows) -> State:
        n = len(rows)
        draw = torch.rand if self.norm == "linf" else torch.randn
        noise = drawn(draw, rows.clean.shape, rows.streams).to(rows.clean)
        if self.norm == "linf":
            noise = 2 * noise - 1
            unit = noise / per_image(noise.abs().flatten(1).amax(1))
        else:
            unit = direction(noise, "l2")
        radius = rows.clean.new_full((n,), self.epsilon)
        images = projected(rows.clean + self.epsilon * unit, rows.clean, radius, self.norm)
        goals = self.goals(rows)
        length, none = self._first_interval, torch.zeros_like(rows.labels)
        return {
            "images": images,
            "before": images,
            "best": images,
            "best_gradient": torch.zeros_like(images),
            "highest": torch.full_like(radius, -torch.inf),
            "previous": torch.full_like(radius, torch.inf),
            "goals": rows.labels if goals is None else goals,
            "radius": radius,
            "size": 2 * radius,
            "steps": none,
            "rises": none,
            "since": none,
            "interval": torch.full_like(none, length),
            "highest_then": torch.full_like(radius, -torch.inf),
            "halved_then": torch.ones_like(none, dtype=torch.bool),
        }

    def loss_of(self, logits: Tensor, rows: Rows, state: State) -> Tensor:
        return LOSSES[self.loss](logits, rows.labels, state["goals"] if self.targeted else None)

    def step(self, rows: Rows, state: State, seen: Seen) -> State:
        images, gradient, state = state["images"], seen.gradient, dict(state)
        better = seen.loss > state["highest"]
        state["highest"] = torch.where(better, seen.loss, state["highest"])
        state["best"] = torch.where(per_image(better), images, state["best"])
        state["best_gradient"] = torch.where(per_image(better), gradient, state["best_gradient"])
        started = state["steps"] > 0
        state["rises"] = state["rises"] + (started & (seen.loss > state["previous"]))
        state["previous"] = seen.loss
        state["since"] = state["since"] + started
        first = ~started
        state["highest_then"] = torch.where(first, seen.loss, state["highest_then"])
        images, gradient, before = self._checked(state, images, gradient)
        size = per_image(state["size"])
        towards = projected(images + size * direction(gradient, self.norm), rows.clean, state["radius"], self.norm)
        share = per_image(torch.where(first, 1.0, MOMENTUM).to(images))
        moved = images + share * (towards - images) + (1 - share) * (images - before)
        state["before"] = images
        state["images"] = projected(moved, rows.clean, state["radius"], self.norm)
        state["steps"] = state["steps"] + 1
        return state

    def _checked(self, state: State, images: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Halve the step size of images at a checkpoint that have not got on: they step from their best point."""
        before = state["before"]
        due = state["since"] >= state["interval"]
        if not bool(due.any()):
            return images, gradient, before
        stuck = (state["highest_then"] >= state["highest"]) & ~state["halved_then"]
        halve = due & (stuck | (state["rises"] <= RISES * state["interval"]))
        state["size"] = torch.where(halve, state["size"] / 2, state["size"])
        state["halved_then"] = torch.where(due, halve, state["halved_then"])
        state["highest_then"] = torch.where(due, state["highest"], state["highest_then"])
        state["rises"], state["since"] = (torch.where(due, 0, state[name]) for name in ("rises", "since"))
        shorter = (state["interval"] - max(int(0.03 * self.steps), 1)).clamp_min(max(int(0.06 * self.steps), 1))
        state["interval"] = torch.where(due, shorter, state["interval"])
        where = per_image(halve)
        return (
            torch.where(where, state["best"], images),
            torch.where(where, state["best_gradient"], gradient),
            before,
        )

    @property
    def _first_interval(self) -> int:
        return max(int(0.22 * self.steps), 1)

    def finished(self, state: State) -> Tensor:
        return state["steps"] >= (self.steps if self.epsilon else 0)

    def excess(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        return distance(clean, perturbed, self.norm) - self.epsilon


@ATTACKS.register("apgd_ce", version=2)
@dataclass(frozen=True, kw_only=True)
class APGDCE(APGD):
    """Auto-PGD on the cross-entropy (Croce & Hein 2020, Algorithm 1).

    Attributes:
        epsilon, norm, steps, restarts: see `APGD`.
    """

    kind: ClassVar[str] = "apgd_ce"
    loss: ClassVar[LossName] = "ce"

    def goals(self, rows: Rows) -> None:
        return None


@ATTACKS.register("apgd_dlr", version=2)
@dataclass(frozen=True, kw_only=True)
class APGDDLR(APGD):
    """Auto-PGD on the difference of logits ratio, which no scaling of the logits changes (Croce & Hein 2020).

    Attributes:
        epsilon, norm, steps, restarts: see `APGD`.

    Raises:
        AttackError: an impossible value; a network of fewer than 3 classes.
    """

    kind: ClassVar[str] = "apgd_dlr"
    loss: ClassVar[LossName] = "dlr"

    def goals(self, rows: Rows) -> None:
        return None

    def refuse(self, shape: torch.Size, n_classes: int) -> None:
        if n_classes < 3:
            raise AttackError(
                f"{self.kind} divides by the difference of the first and the third logit, and the network has "
                f"{n_classes} classes; expected at least 3 (apgd_ce, fab_t and square need fewer)"
            )


@ATTACKS.register("apgd_t", version=2)
@dataclass(frozen=True, kw_only=True)
class APGDT(APGD):
    """Auto-PGD on the targeted difference-of-logits ratio, towards one class after another (Croce & Hein 2020).

    Attributes:
        epsilon, norm, steps: see `APGD`.
        restarts: runs towards each class.
        targets: how many classes to aim at, the likeliest first; all others where there are fewer.

    Raises:
        AttackError: an impossible value; a network of fewer than 4 classes.
    """

    kind: ClassVar[str] = "apgd_t"
    loss: ClassVar[LossName] = "dlr"

    targets: int = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(targets=self.targets)

    @property
    def targeted(self) -> bool:
        return True

    @property
    def passes(self) -> tuple[int, int]:
        n_runs = self.restarts * self.targets
        return (n_runs, n_runs * (self.steps + 1))

    def n_runs(self, n_classes: int) -> int:
        return self.restarts * min(self.targets, n_classes - 1)

    def goals(self, rows: Rows) -> Tensor:
        return goal_classes(rows, self.restarts)

    def refuse(self, shape: torch.Size, n_classes: int) -> None:
        if n_classes < 4:
            raise AttackError(
                f"{self.kind} divides by the difference of the first and the third and fourth logit, and the network "
                f"has {n_classes} classes; expected at least 4 (apgd_ce, fab_t and square need fewer)"
            )


def goal_classes(rows: Rows, restarts: int) -> Tensor:
    """(n,) the class at which each run aims: of the other classes the likeliest when clean, then the next, ..."""
    others = rows.logits.scatter(1, rows.labels[:, None], -torch.inf).argsort(1, descending=True)
    rank = torch.div(rows.run, restarts, rounding_mode="floor")
    return others.gather(1, rank[:, None]).squeeze(1)


def at_least_one(**counts: int) -> None:
    """Raise AttackError unless each is at least 1."""
    for name, count in counts.items():
        if count < 1:
            raise AttackError(f"{name} = {count}; expected at least 1")
