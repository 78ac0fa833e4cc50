"""A fixed front end of Gabor filters, as in the primary visual cortex."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manifoldscope.errors import StudyError
from manifoldscope.vision.defences.defence import DEFENCES, Defence, with_front
from manifoldscope.vision.network import Network

LARGEST_REACH = 512
"""Pixels that a filter reaches to each side, at most."""


@DEFENCES.register("gabor", learned=True)
@dataclass(frozen=True, kw_only=True)
class Gabor(Defence):
    """A bank of fixed Gabor filters, rectified, and a learned 1x1 convolution back to the channels of an image.

    After VOneNet (Dapello et al. 2020), which draws the settings of its filters from recordings, adds noise, and hands
    its many channels to the network; here the filters are regular, without noise, and the network is as it was.

    Attributes:
        orientations: number of orientations, evenly over half a turn.
        frequency: the highest spatial frequency, in cycles per pixel.
        octaves: number of frequencies, each half the one before.
        width: standard deviation of the Gaussian envelope, in wavelengths.
    """

    orientations: int = 8
    frequency: float = 0.25
    octaves: int = 2
    width: float = 0.4

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("orientations", self.orientations), ("octaves", self.octaves)):
            if value < 1:
                raise StudyError(f"{name} = {value}; expected at least 1")
        if not 0 < self.frequency < 0.5:
            raise StudyError(
                f"frequency = {self.frequency}; expected cycles per pixel, more than 0 and less than 0.5, such as 0.25"
            )
        if not (math.isfinite(self.width) and self.width > 0):
            raise StudyError(f"width = {self.width}; expected wavelengths, more than 0")
        if self.width < self.frequency / 4:
            raise StudyError(
                f"width = {self.width}; expected at least {self.frequency / 4:g}, a quarter of a pixel at frequency = "
                f"{self.frequency}: narrower filters see a single pixel"
            )
        if 2 * self.width > LARGEST_REACH * math.ldexp(self.frequency, 1 - self.octaves):
            raise StudyError(
                f"width = {self.width}, frequency = {self.frequency}, octaves = {self.octaves}; the filters reach over "
                f"{LARGEST_REACH} pixels: raise the frequency, or give fewer octaves or a smaller width"
            )

    def around(self, network: Network | nn.Module, *, seed: int = 0) -> Network:
        even, odd = gabor_filters(
            self.orientations, [self.frequency / 2**octave for octave in range(self.octaves)], self.width
        )
        return with_front(network, GaborFront, name="gabor", seed=seed, even=even, odd=odd)


class GaborFront(nn.Module):
    """Simple and complex cells of each filter and channel, and a learned 1x1 convolution of them.

    Args:
        channels: of the images.
        even, odd: (n_filters, side, side) as `gabor_filters` gives them; they are not trained.
    """

    filters: Tensor

    def __init__(self, *, channels: int, even: Tensor, odd: Tensor) -> None:
        super().__init__()
        self.register_buffer("filters", torch.cat([even, odd]).repeat(channels, 1, 1)[:, None], persistent=False)
        self.mix = nn.Conv2d(5 * channels * len(even), channels, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        """(n, channels, height, width) -> the same shape."""
        mixed: Tensor = self.mix(self.cells(images))
        return mixed

    def cells(self, images: Tensor) -> Tensor:
        """(n, channels, height, width) -> (n, 5 channels n_filters, height, width), at least 0.

        Of each filter four simple cells, a quarter of a wave apart (the even and the odd response, of either sign,
        rectified), and a complex cell, the root of the sum of squares of both, which does not depend on the phase.
        """
        n, channels, height, width = images.shape
        margin = self.filters.shape[-1] // 2
        padded = F.pad(images, (margin,) * 4, mode="replicate")  # zeros would be edges
        responses = F.conv2d(padded, self.filters, groups=channels).view(n, channels, 2, -1, height, width)
        squared = responses.square().sum(2, keepdim=True)
        energy = (squared + torch.finfo(squared.dtype).tiny).sqrt()  # which has a gradient at 0, too
        return torch.cat([responses.relu(), (-responses).relu(), energy], dim=2).flatten(1, 3)


def gabor_filters(orientations: int, frequencies: list[float], width: float) -> tuple[Tensor, Tensor]:
    """Even and odd Gabor filters, (n_filters, side, side) each, by frequency and then by orientation.

    The orientation is that in which the wave varies: 0 along the rows of an image, from left to right. Filters reach
    two standard deviations of the widest envelope. The even ones are brought to a sum of 0, so that none responds to a
    uniform image, and both are scaled such that the complex cell responds with 1 to a wave of amplitude 1 that is like
    the filter.

    Example:
        >>> even, odd = gabor_filters(4, [0.25, 0.125], 0.4)
        >>> tuple(even.shape), tuple(odd.shape), bool(even.sum((1, 2)).abs().max() < 1e-6)
        ((8, 15, 15), (8, 15, 15), True)
    """
    reach = math.ceil(2 * width / min(frequencies))
    y, x = torch.meshgrid(*[torch.arange(-reach, reach + 1, dtype=torch.float64)] * 2, indexing="ij")
    even, odd = [], []
    for frequency in frequencies:
        envelope = torch.exp(-(x**2 + y**2) / (2 * (width / frequency) ** 2))
        envelope /= envelope.sum()
        for turn in range(orientations):
            angle = math.pi * turn / orientations
            phase = 2 * math.pi * frequency * (x * math.cos(angle) + y * math.sin(angle))
            wave = envelope * (phase.cos() - (envelope * phase.cos()).sum())
            even.append(wave / (wave * phase.cos()).sum())
            wave = envelope * phase.sin()
            odd.append(wave / (wave * phase.sin()).sum())
    return torch.stack(even).float(), torch.stack(odd).float()
