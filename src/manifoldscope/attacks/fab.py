"""The fast adaptive boundary attack, towards one class after another (Croce & Hein 2020).

It looks for the nearest image of another class, and epsilon does not bound it: near an image the network is taken as
linear, the class boundary is a plane, and a step leads onto it or just beyond.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from manifoldscope.attacks.apgd import at_least_one, goal_classes
from manifoldscope.attacks.ball import Norm, check_radius, distance, lengths, per_image, projected, random_start
from manifoldscope.attacks.perturbation import ATTACKS, Outcome, Perturbation, Rows, Seen, State

ALPHA_MAX = 0.1
"""Largest weight of the step from the clean image, beside that from the present one."""

ETA = 1.05
"""How far a step goes, as a share of the way to the boundary."""

BETA = 0.9
"""Share of its way from the clean image that a misclassified image keeps when it is pulled back."""


MOST_TURNS = 50
"""Of Newton's method, which needs a few."""

IN_CACHE = 1 << 17
"""Numbers that are worked on at a time on a CPU: on more, the method waits for memory, and takes twice as long."""


@ATTACKS.register("fab_t", version=2)
@dataclass(frozen=True, kw_only=True)
class FABT(Perturbation):
    """The fast adaptive boundary attack, targeted: the nearest point of another class (Croce & Hein 2020, "Minimally
    distorted adversarial examples with a fast adaptive boundary attack", Algorithm 1).

    It minimises the norm and does not stop at epsilon. What it shows outside the ball does not count; a run ends with
    its nearest misclassified image, projected onto the ball, or with the clean image where it found none.

    Attributes:
        epsilon: radius of the ball, in pixel units (pixels are in [0, 1]).
        norm: of the ball, "linf" or "l2".
        steps: steps of a run, at least 1. After each a misclassified image is pulled back, which costs a pass more.
        restarts: runs towards each class; all but the first from a random start.
        targets: how many classes to aim at, the likeliest first; all others where there are fewer.

    Raises:
        AttackError: an impossible value.
    """

    kind: ClassVar[str] = "fab_t"
    strength_setting: ClassVar[str] = "epsilon"
    counts: ClassVar[Outcome] = "any"
    asks_gradients: ClassVar[bool] = True
    bounded: ClassVar[bool] = False

    epsilon: float
    norm: Norm = "linf"
    steps: int = 100
    restarts: int = 1
    targets: int = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        check_radius(self.epsilon, self.norm)
        at_least_one(steps=self.steps, restarts=self.restarts, targets=self.targets)

    @property
    def n_steps(self) -> int:
        return self.steps

    @property
    def targeted(self) -> bool:
        return True

    @property
    def passes(self) -> tuple[int, int]:
        n_runs = self.restarts * self.targets
        return (n_runs, n_runs * 2 * self.steps)

    def n_runs(self, n_classes: int) -> int:
        return self.restarts * min(self.targets, n_classes - 1)

    def start(self, rows: Rows) -> State:
        clean = images = rows.clean
        if self.restarts > 1:
            half = clean.new_full((len(rows),), self.epsilon / 2)
            again = per_image(rows.run % self.restarts > 0)
            images = torch.where(again, random_start(clean, half, rows.streams, self.norm), clean)
        no = torch.zeros_like(rows.labels, dtype=torch.bool)
        return {
            "images": images,
            "goals": goal_classes(rows, self.restarts),
            "nearest": clean,
            "distance": clean.new_full((len(rows),), torch.inf),
            "steps": torch.zeros_like(rows.labels),
            "stepped": no,
            "over": no if self.epsilon else ~no,
        }

    def loss_of(self, logits: Tensor, rows: Rows, state: State) -> Tensor:
        """By how much the goal's logit exceeds that of the label: 0 on the boundary between the two."""
        goal, label = (logits.gather(1, classes[:, None]).squeeze(1) for classes in (state["goals"], rows.labels))
        return goal - label

    def step(self, rows: Rows, state: State, seen: Seen) -> State:
        """A misclassified image that a step has led to is pulled back; from all others a step is taken."""
        images, clean, state = state["images"], rows.clean, dict(state)
        wrong = seen.misclassified
        away = distance(clean, images, self.norm).to(clean)
        nearer = wrong & (away < state["distance"])
        state["nearest"] = torch.where(per_image(nearer), images, state["nearest"])
        state["distance"] = torch.where(nearer, away, state["distance"])
        back = wrong & state["stepped"]
        # without a slope an image would stay where it is for ever
        sloped = torch.isfinite(seen.loss) & (seen.gradient != 0).flatten(1).any(1)
        over = (state["steps"] >= self.steps) | ~(back | sloped)
        state["stepped"] = steps = ~(back | over)
        state["steps"] = state["steps"] + steps
        state["over"] = over
        moved = torch.where(per_image(back), clean + BETA * (images - clean), images)
        where = steps.nonzero().flatten()
        if len(where):
            towards = self._beyond(images[where], clean[where], seen.gradient[where], seen.loss[where])
            moved = moved.index_copy(0, where, towards)
        if bool(over.any()):
            radius = clean.new_full((len(rows),), self.epsilon)
            ends = projected(state["nearest"], clean, radius, self.norm)
            moved = torch.where(per_image(over), ends, moved)
        state["images"] = moved
        return state

    def _beyond(self, images: Tensor, clean: Tensor, gradient: Tensor, loss: Tensor) -> Tensor:
        """The images moved just beyond the boundary, and a little to where it is nearest to the clean image."""
        n = len(images)
        present, origin, normal = (each.flatten(1) for each in (images, clean, gradient))
        # the plane is where the loss, taken as linear around the present image, is 0
        rise = torch.cat([-loss, (normal * (present - origin)).sum(1) - loss])
        way = to_plane(torch.cat([present, origin]), torch.cat([normal, normal]), rise, self.norm)
        length = lengths(way, self.norm).clamp_min(1e-8)
        alpha = (length[:n] / (length[:n] + length[n:])).clamp(max=ALPHA_MAX)[:, None]
        ends: Tensor = (1 - alpha) * (present + ETA * way[:n]) + alpha * (origin + ETA * way[n:])
        return ends.clamp(0, 1).view_as(images)

    def finished(self, state: State) -> Tensor:
        return state["over"]

    def excess(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        return distance(clean, perturbed, self.norm) - self.epsilon


def to_plane(points: Tensor, normal: Tensor, rise: Tensor, norm: Norm) -> Tensor:
    """The shortest ways d to a plane within [0, 1]: those of least norm with normal . d = rise and 0 <= point + d <= 1.

    A feature moves at the same speed as all others (linf), or as fast as its part of the normal is large (l2), until
    it meets the box. How long they have to move is found by Newton's method, in a few turns as a rule.

    Args:
        points: (n, n_features) in [0, 1].
        normal: (n, n_features), finite.
        rise: (n,)

    Returns:
        (n, n_features). Where the plane does not meet the box it leads as near to it as the box allows; 0 where the
        normal is 0.

    Example:
        >>> to_plane(torch.tensor([[0.5, 0.9]]), torch.tensor([[1.0, 1.0]]), torch.tensor([0.4]), "linf")
        tensor([[0.3000, 0.1000]])
    """
    at_once = max(1, IN_CACHE // points.shape[1] if points.device.type == "cpu" else len(points))
    pieces = zip(torch.split(points, at_once), torch.split(normal, at_once), torch.split(rise, at_once), strict=True)
    return torch.cat([_to_plane(*piece, norm) for piece in pieces])


def _to_plane(points: Tensor, normal: Tensor, rise: Tensor, norm: Norm) -> Tensor:
    limits = torch.finfo(points.dtype)
    scale = normal.abs().amax(1).clamp_min(limits.tiny)
    normal = normal / scale[:, None] * torch.where(rise < 0, -1.0, 1.0).to(rise)[:, None]
    wanted = rise.abs() / scale
    weight = normal.abs()
    room = torch.where(normal > 0, 1 - points, points).clamp_(min=0).mul_(weight.sign())
    gain = weight if norm == "linf" else weight * weight
    time, moved = torch.zeros_like(wanted), torch.zeros_like(room)
    for _ in range(MOST_TURNS):
        # what is reached is concave in time: along its slope it is never overshot
        slope = torch.linalg.vecdot(gain, (room - moved).sign_())
        missing = wanted - torch.linalg.vecdot(weight, moved)
        further = torch.where(slope > 0, missing / slope.clamp_min(limits.tiny), 0).clamp_(min=0)
        time = time + further
        moved = torch.minimum(time[:, None] if norm == "linf" else weight * time[:, None], room)
        if bool((further <= 16 * limits.eps * time).all()):
            break
    return normal.sign() * moved
