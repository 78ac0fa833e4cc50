"""What the objectives share that attack the images they train on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from manifoldscope.attacks.ball import check_epsilon
from manifoldscope.attacks.engine import INSIDE
from manifoldscope.attacks.pgd import PGD
from manifoldscope.errors import StudyError
from manifoldscope.training.objectives.objective import Objective, check_ramp, ramped
from manifoldscope.vision.gradient import pixel_gradient
from manifoldscope.vision.network import Network


@dataclass(frozen=True, kw_only=True)
class Attacked(Objective):
    """An objective on images that are attacked in an L-infinity ball.

    The network is attacked in evaluation mode, and trained in training mode.

    Attributes:
        epsilon: radius of the ball in pixel units (pixels are in [0, 1]).
        ramp: share of the training over which epsilon grows from 0 to its value; a ramp avoids the start at which a
            small network learns to answer the same for every image.
    """

    epsilon: float
    ramp: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_epsilon(self.epsilon)
        check_ramp(self.ramp)

    @property
    def radius(self) -> float:
        return self.epsilon

    def epsilon_at(self, progress: float) -> float:
        """Epsilon when this share of the training is done."""
        return ramped(self.epsilon, self.ramp, progress)


@dataclass(frozen=True, kw_only=True)
class AttackedBySteps(Attacked):
    """An objective on images that are attacked in several steps.

    Attributes:
        epsilon, ramp: see `Attacked`.
        steps: gradient steps for each batch.
        relative_step_size: step size as a share of epsilon; 2.5 / steps if omitted.
    """

    steps: int = 7
    relative_step_size: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise StudyError(f"steps = {self.steps}; expected at least 1 (the objective 'standard' attacks nothing)")
        self.pgd_at(1.0)  # which refuses an impossible step size

    def pgd_at(self, progress: float) -> PGD:
        """PGD with these steps, when this share of the training is done."""
        relative = self.relative_step_size if self.relative_step_size is not None else 2.5 / self.steps
        return PGD(epsilon=self.epsilon_at(progress), steps=self.steps, relative_step_size=relative)


@contextmanager
def evaluated(module: nn.Module) -> Iterator[None]:
    """A module in evaluation mode; each of its parts is then put back into its own."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def gradient_of(network: Network, pixels: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient by the pixels (n, channels, height, width) of a loss, a scalar, of the logits.

    Raises:
        NoGradientError: the network gives none.
    """
    # some modules have no gradient on the bounds of [0, 1] themselves: a clamp, for one
    leaf = pixels.detach().clamp(INSIDE, 1 - INSIDE).requires_grad_()
    return pixel_gradient(network.name, loss(network(leaf)), leaf)
