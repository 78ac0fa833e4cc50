"""The fast gradient sign method: one step to the edge of the ball."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from torch import Tensor

from manifoldscope.attacks.ball import Norm, check_radius, distance
from manifoldscope.attacks.losses import LossName
from manifoldscope.attacks.perturbation import ATTACKS, Perturbation, Rows, Seen, State
from manifoldscope.attacks.pgd import PGD
from manifoldscope.errors import AttackError

_FROM_RANDOM = 1.25
"""The step from a random start, as a share of epsilon (Wong, Rice & Kolter 2020)."""


@ATTACKS.register("fgsm")
@dataclass(frozen=True, kw_only=True)
class FGSM(Perturbation):
    """One gradient step of the size of epsilon from the clean image (Goodfellow et al. 2015).

    An attack of many steps must misclassify at least as many images: if this one does better, that one is broken.

    Attributes:
        epsilon: radius of the ball, in pixel units.
        norm: "linf", the sign of the gradient; "l2", its direction.
        loss: as for `PGD`.
        random_start: begin at a random point of the ball, and step 1.25 epsilon (Wong, Rice & Kolter 2020).
        restarts: how many random starts an image must be robust to.

    Raises:
        AttackError: an impossible value; restarts from the same start.
    """

    kind: ClassVar[str] = "fgsm"
    strength_setting: ClassVar[str] = "epsilon"
    asks_gradients: ClassVar[bool] = True

    epsilon: float
    norm: Norm = "linf"
    loss: LossName = "ce"
    random_start: bool = False
    restarts: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_radius(self.epsilon, self.norm)
        if self.restarts < 1 or (self.restarts > 1 and not self.random_start):
            raise AttackError(f"restarts = {self.restarts}; expected 1, or more with random_start = true")

    @property
    def n_steps(self) -> int:
        return 1

    @property
    def passes(self) -> tuple[int, int]:
        return (self.restarts, self.restarts)

    @cached_property
    def _pgd(self) -> PGD:
        """The same as steps of PGD, of whose iterates the last one counts."""
        return PGD(
            epsilon=self.epsilon,
            norm=self.norm,
            loss=self.loss,
            steps=1,
            relative_step_size=_FROM_RANDOM if self.random_start else 1.0,
            random_start=self.random_start,
        )

    def n_runs(self, n_classes: int) -> int:
        return self.restarts

    def start(self, rows: Rows) -> State:
        return self._pgd.start(rows)

    def loss_of(self, logits: Tensor, rows: Rows, state: State) -> Tensor:
        return self._pgd.loss_of(logits, rows, state)

    def step(self, rows: Rows, state: State, seen: Seen) -> State:
        return self._pgd.step(rows, state, seen)

    def finished(self, state: State) -> Tensor:
        return self._pgd.finished(state)

    def excess(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        return distance(clean, perturbed, self.norm) - self.epsilon
