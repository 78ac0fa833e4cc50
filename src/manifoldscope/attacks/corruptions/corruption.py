"""Corruption: what cameras, weather and storage do to an image, without any knowledge of the network.

The corruptions and their five severities are those of Hendrycks & Dietterich 2019, "Benchmarking neural network
robustness to common corruptions and perturbations" (ImageNet-C), whose parameters are stated for images of 224 pixels.
At another size every length is scaled by side / 224, where side is the shorter one: kernels and fields of displacement
are built at 224 pixels and brought to the image's size, so that the same seed deforms a small image and a large one
alike. What has no length (noise, contrast, colour, JPEG quality) is the same at every size. (CIFAR-10-C uses milder
noise and hand-picked lengths at 32 pixels; its accuracies are not comparable with these.)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from manifoldscope.attacks.perturbation import CORRUPTIONS, Perturbation, Rows, State
from manifoldscope.errors import AttackError

Value = TypeVar("Value")
Generators = Sequence[torch.Generator]

SEVERITIES = range(1, 6)
SHORTEST_FOR_LENGTHS = 28
"""The shortest side, in pixels, at which lengths are scaled: there a pixel of a 224-pixel image is an eighth of one."""


@dataclass(frozen=True, kw_only=True)
class Corruption(Perturbation):
    """A common corruption at one severity (Hendrycks & Dietterich 2019, section 3 and appendix B).

    Its budget is [0, 1] alone: a corrupted image may be anywhere in it. Values are not rounded to 256 levels, and
    nothing is saved as JPEG in between, as it is in the published image files.

    Attributes:
        severity: 1 to 5.

    Raises:
        AttackError: another severity; when applied, images that are too small or lack the colour it needs.

    Example:
        >>> fog = make("fog", {"severity": 3})
        >>> fog.apply(torch.rand(2, 3, 32, 32), seeds=[0, 1]).shape
        torch.Size([2, 3, 32, 32])
    """

    strength_setting: ClassVar[str] = "severity"
    shortest_side: ClassVar[int]
    """The shortest side, in pixels, of an image for which the corruption has a meaning."""
    needs_colour: ClassVar[bool]
    """Whether it has no meaning for grey images."""

    severity: int

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise AttackError(f"severity = {self.severity}; expected a whole number from 1 (slight) to 5 (strong)")

    @abstractmethod
    def corrupt(self, images: Tensor, generators: Generators) -> Tensor:
        """The corrupted images, not yet cut to [0, 1]; one generator of random numbers an image."""

    def apply(self, images: Tensor, seeds: Sequence[int]) -> Tensor:
        """The corrupted images, on the device and in the dtype of the clean ones.

        Random numbers are drawn on the CPU, from a stream of its own for each image: an image is corrupted alike on
        every device and in whatever company. A severity sees the same numbers as another one where it can.

        Args:
            images: (n, 1 or 3, height, width), floating point in [0, 1].
            seeds: n whole numbers.

        Raises:
            AttackError: the corruption has no meaning for images of this size or without colour; not one seed per
                image.
        """
        self._check(images)
        if len(seeds) != len(images):
            raise AttackError(f"{len(images)} images and {len(seeds)} seeds; expected one seed per image")
        if not len(images):
            return images
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        with torch.device("cpu"):  # whatever torch's default device is
            return self.corrupt(images, generators).clamp(0, 1)

    def start(self, rows: Rows) -> State:
        streams = [rows.streams] * len(rows) if isinstance(rows.streams, torch.Generator) else rows.streams
        seeds = [int(torch.randint(2**63 - 1, (), generator=each, device="cpu")) for each in streams]
        return {"images": self.apply(rows.clean, seeds)}

    def excess(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        flat = perturbed.flatten(1)
        return torch.maximum(-flat.amin(1), flat.amax(1) - 1)

    def _check(self, images: Tensor) -> None:
        channels, height, width = images.shape[1:]
        if min(height, width) < self.shortest_side:
            raise AttackError(
                f"{self.kind} has no meaning for images of {height} x {width} pixels: its lengths, a few pixels in "
                f"224, would be far below one; it is defined from {self.shortest_side} x {self.shortest_side} on"
            )
        if self.needs_colour and channels != 3:
            raise AttackError(
                f"{self.kind} has no meaning for images of {channels} channel, which have no colour; leave it out"
            )


def corruption(
    *values: Value, shortest_side: int = 1, needs_colour: bool = False, ordered: bool = True, version: int = 1
) -> Callable[[Callable[[Tensor, Value, Generators], Tensor]], type[Corruption]]:
    """Decorator that makes a corruption of a function (images, value, generators) -> images, and registers it.

    Args:
        values: what the function is given at severities 1 to 5.
        shortest_side: from which size on it has a meaning, in pixels.
        needs_colour: whether grey images are refused.
        ordered: whether each severity is meant to be harder than the one before.
        version: raise it when a change makes the corruption another one, so that old results are not taken for new.
    """
    if len(values) != len(SEVERITIES):
        raise AttackError(f"a corruption of {len(values)} values; expected {len(SEVERITIES)}, one for each severity")
    traits = {"shortest_side": shortest_side, "needs_colour": needs_colour, "ordered": ordered}

    def register(function: Callable[[Tensor, Value, Generators], Tensor]) -> type[Corruption]:
        class Registered(Corruption):
            kind = function.__name__

            def corrupt(self, images: Tensor, generators: Generators) -> Tensor:
                return function(images, values[int(self.severity) - 1], generators)

        names = ("__name__", "__qualname__", "__module__", "__doc__")
        for name, value in {**traits, **{name: getattr(function, name) for name in names}}.items():
            setattr(Registered, name, value)
        return CORRUPTIONS.register(function.__name__, version=version)(Registered)

    return register


def drawn(draw: Callable[[torch.Generator], Tensor], generators: Generators, like: Tensor) -> Tensor:
    """One draw per image, stacked, on the device and in the dtype of `like`."""
    return torch.stack([draw(generator) for generator in generators]).to(like)
