"""Weather: what stands in the light between the scene and the camera."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.attacks.corruptions.corruption import Generators, corruption, drawn
from manifoldscope.attacks.corruptions.resampling import reference_shape


@corruption((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))
def fog(images: Tensor, veil: tuple[float, float], generators: Generators) -> Tensor:
    """Fog: a fractal veil of white is added, and the image dimmed so that its brightest value stays.

    The veil weighs 1.5, 2, 2.5, 2.5 or 3 where it is thickest; what it varies by falls by 2, 2, 1.7, 1.5 or 1.4,
    squared, with each halving of the scale. It is drawn at 224 x 224 and resized.
    """
    weight, decay = veil
    height, width = reference_shape(images)
    side = 1 << (max(height, width) - 1).bit_length()
    plasma = drawn(partial(_plasma, side, decay**-2), generators, images)[:, None, :height, :width]
    plasma = F.interpolate(plasma, size=images.shape[-2:], mode="bilinear", antialias=True)
    brightest = images.amax((1, 2, 3), keepdim=True)
    return (images + weight * plasma) * brightest / (brightest + weight)


@corruption(0.1, 0.2, 0.3, 0.4, 0.5)
def brightness(images: Tensor, amount: float, _: Generators) -> Tensor:
    """More light: the value (of hue, saturation and value) grows by 0.1 to 0.5, and stops at 1."""
    value = images.amax(1, keepdim=True)
    brighter = (value + amount).clamp(max=1)
    return torch.where(value > 0, images * (brighter / value), brighter)


def _plasma(side: int, persistence: float, generator: torch.Generator) -> Tensor:
    """(side, side) in [0, 1]: a fractal by the diamond-square algorithm on a torus; side is a power of two.

    What each halving of the grid adds is uniform in an interval `persistence` times as wide as the one before.
    """
    heights, amplitude = torch.zeros(1, 1, dtype=torch.float32), 1.0
    while (n := len(heights)) < side:
        middles, downwards, rightwards = amplitude * (
            2 * torch.rand(3, n, n, generator=generator, dtype=torch.float32) - 1
        )
        above = heights + heights.roll(-1, 0)
        middles += (above + above.roll(-1, 1)) / 4
        downwards += (above + middles + middles.roll(1, 1)) / 4
        rightwards += (heights + heights.roll(-1, 1) + middles + middles.roll(1, 0)) / 4
        even = torch.stack([heights, rightwards], dim=-1).view(n, 2 * n)
        odd = torch.stack([downwards, middles], dim=-1).view(n, 2 * n)
        heights = torch.stack([even, odd], dim=1).view(2 * n, 2 * n)
        amplitude *= persistence
    heights -= heights.min()
    return heights / heights.max()
