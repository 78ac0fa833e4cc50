"""Rotations and translations: small movements of the whole image, searched rather than ascended.

Engstrom et al. 2019, "Exploring the landscape of spatial robustness": the loss over poses has so many maxima that
gradient descent finds few of them, while a grid of poses is an adversary that a network can be held to.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.attacks.ball import drawn
from manifoldscope.attacks.perturbation import ATTACKS, Perturbation, Rows, State
from manifoldscope.errors import AttackError

Choice = Literal["grid", "random"]


def rotated(images: Tensor, degrees: Tensor) -> Tensor:
    """Each image turned about its centre, counter-clockwise; bilinear, with zeros from outside.

    Args:
        images: (n, channels, height, width), floating point in [0, 1].
        degrees: (n,), one angle an image.

    Example:
        >>> image = torch.rand(1, 3, 8, 8)
        >>> torch.allclose(rotated(image, torch.tensor([90.0])), image.rot90(1, (2, 3)), atol=1e-5)
        True
    """
    height, width = images.shape[-2:]
    angle = torch.deg2rad(degrees.to(images))
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # Coordinates run from -1 to 1 along either side, so that a turn of a wide image must know its sides.
    rows = [torch.stack([cos, -sin * height / width, zero], 1), torch.stack([sin * width / height, cos, zero], 1)]
    return _resampled(images, torch.stack(rows, 1))


def translated(images: Tensor, shifts: Tensor) -> Tensor:
    """Each image moved down and right; bilinear, with zeros from outside.

    Args:
        images: (n, channels, height, width), floating point in [0, 1].
        shifts: (n, 2), down as a share of the height and right as a share of the width; negative moves up and left.
    """
    down, right = (-2 * shifts.to(images)).unbind(1)
    one, zero = torch.ones_like(down), torch.zeros_like(down)
    rows = [torch.stack([one, zero, right], 1), torch.stack([zero, one, down], 1)]
    return _resampled(images, torch.stack(rows, 1))


def _resampled(images: Tensor, from_output: Tensor) -> Tensor:
    """The images under (n, 2, 3) affine maps from coordinates of the output to those of the input."""
    grid = F.affine_grid(from_output, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved.clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class Movement(Perturbation):
    """Movements of the whole image: it is robust only if the network classifies it correctly in every pose that is
    tried.

    The budget is the set of poses, which pixels do not show: what is checked of an image is [0, 1]. The grid of a
    larger strength need not hold the poses of a smaller one, so that the attacks are not nested.

    Attributes:
        choice: "grid" tries the same evenly spaced poses with every image, the extremes among them; "random" draws
            poses uniformly, each image its own ("worst of k" in the paper).
        candidates: how many poses are tried.
    """

    n_parameters: ClassVar[int]
    """How many numbers a pose has."""

    choice: Choice = "grid"
    candidates: int

    def __post_init__(self) -> None:
        super().__post_init__()
        smallest = 2 if self.choice == "grid" else 1
        if self.candidates < smallest:
            raise AttackError(f"candidates = {self.candidates}; expected at least {smallest} with {self.choice!r}")

    @property
    def passes(self) -> tuple[int, int]:
        return (self.candidates, 0)

    @abstractmethod
    def grid(self) -> Tensor:
        """(candidates, n_parameters) the poses, in units of the strength: from -1 to 1."""

    @abstractmethod
    def moved(self, images: Tensor, poses: Tensor) -> Tensor:
        """The images in poses (n, n_parameters), in units of the strength."""

    def n_runs(self, n_classes: int) -> int:
        return self.candidates

    def start(self, rows: Rows) -> State:
        if self.choice == "grid":
            poses = self.grid()[rows.run.cpu()]
        else:
            poses = 2 * drawn(torch.rand, (len(rows), self.n_parameters), rows.streams) - 1
        return {"images": self.moved(rows.clean, poses.to(rows.clean))}

    def excess(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        flat = perturbed.flatten(1)
        return torch.maximum(-flat.amin(1), flat.amax(1) - 1)


@ATTACKS.register("rotation")
@dataclass(frozen=True, kw_only=True)
class Rotation(Movement):
    """Turned by at most this many degrees, either way (Engstrom et al. 2019: 30 degrees, 31 angles).

    Attributes:
        degrees: the largest angle, 0 to 180.
        candidates: how many angles are tried.

    Raises:
        AttackError: an impossible value.

    Example:
        >>> Rotation(degrees=30.0, candidates=3).grid().flatten().tolist()
        [-1.0, 0.0, 1.0]
    """

    kind: ClassVar[str] = "rotation"
    strength_setting: ClassVar[str] = "degrees"
    n_parameters: ClassVar[int] = 1

    degrees: float
    candidates: int = 31

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.degrees) and 0 <= self.degrees <= 180):
            raise AttackError(f"degrees = {self.degrees}; expected an angle from 0 to 180 degrees")

    def grid(self) -> Tensor:
        return torch.linspace(-1, 1, self.candidates, dtype=torch.float32, device="cpu")[:, None]

    def moved(self, images: Tensor, poses: Tensor) -> Tensor:
        return rotated(images, self.degrees * poses[:, 0])


@ATTACKS.register("translation")
@dataclass(frozen=True, kw_only=True)
class Translation(Movement):
    """Moved by at most a share of each side (Engstrom et al. 2019: 3 of 32 pixels, a grid of 5 x 5).

    Attributes:
        shift: the largest movement along either axis, as a share of that side, from 0 to below 1: 3/32 and not 3.
        candidates: how many movements are tried; a square number on the grid, whose axes share it equally.

    Raises:
        AttackError: an impossible value.
    """

    kind: ClassVar[str] = "translation"
    strength_setting: ClassVar[str] = "shift"
    n_parameters: ClassVar[int] = 2

    shift: float
    candidates: int = 25

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.shift) and 0 <= self.shift < 1):
            raise AttackError(
                f"shift = {self.shift}; expected a share of the side from 0 to below 1: a movement of 3 in 32 pixels "
                "is 3/32"
            )
        if self.choice == "grid" and math.isqrt(self.candidates) ** 2 != self.candidates:
            raise AttackError(f"candidates = {self.candidates}; expected a square number on the grid, such as 25")

    def grid(self) -> Tensor:
        axis = torch.linspace(-1, 1, math.isqrt(self.candidates), dtype=torch.float32, device="cpu")
        return torch.cartesian_prod(axis, axis)

    def moved(self, images: Tensor, poses: Tensor) -> Tensor:
        return translated(images, self.shift * poses)
