"""Digital: what is done to an image after it was taken."""

from __future__ import annotations

from functools import partial
from io import BytesIO

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.attacks.corruptions.corruption import SHORTEST_FOR_LENGTHS, Generators, corruption, drawn
from manifoldscope.attacks.corruptions.resampling import (
    gaussian,
    grid,
    reference_shape,
    relative_size,
    sample,
    smooth,
)


@corruption(0.4, 0.3, 0.2, 0.1, 0.05)
def contrast(images: Tensor, share: float, _: Generators) -> Tensor:
    """Less contrast: each channel keeps 0.4, 0.3, 0.2, 0.1 or 0.05 of its distance to its mean over the image."""
    means = images.mean((2, 3), keepdim=True)
    return means + share * (images - means)


@corruption((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2), needs_colour=True, ordered=False)
def saturate(images: Tensor, change: tuple[float, float], _: Generators) -> Tensor:
    """Paler or stronger colours: the saturation (of hue, saturation and value) is multiplied, and stops at 1.

    By 0.3, 0.1, 2, 5 or 20; 0.1 and 0.2 are added at severities 4 and 5, which tints grey pixels red. Severities 1
    and 2 fade and the others strengthen, so that accuracy need not fall from one severity to the next.
    """
    factor, added = change
    value = images.amax(1, keepdim=True)
    lacking = value - images
    range_ = lacking.amax(1, keepdim=True)
    saturation = torch.where(value > 0, range_ / value, 0)
    red = torch.tensor([0.0, 1.0, 1.0]).to(images)[:, None, None]
    hue = torch.where(range_ > 0, lacking / range_, red)
    return value * (1 - (factor * saturation + added).clamp(max=1) * hue)


@corruption(0.6, 0.5, 0.4, 0.3, 0.25, shortest_side=4)
def pixelate(images: Tensor, share: float, _: Generators) -> Tensor:
    """Too few pixels: the image is shrunk, and enlarged again without smoothing.

    To 0.6, 0.5, 0.4, 0.3 or 0.25 of its sides, rounded down to whole pixels.
    """
    rows, columns = (
        (_boxes(int(side * share), side) @ _boxes(side, int(side * share))).to(images) for side in images.shape[-2:]
    )
    return rows @ images @ columns.T


@corruption(25, 18, 15, 10, 7)
def jpeg_compression(images: Tensor, quality: int, _: Generators) -> Tensor:
    """JPEG at quality 25, 18, 15, 10 or 7, colours at half the resolution; from the image in 256 levels."""
    levels = (255 * images).round().byte().cpu().movedim(1, -1).numpy()
    return torch.stack([_jpeg(image, quality) for image in levels]).to(images) / 255


@corruption(
    (488.0, 170.8, 24.4),
    (488.0, 19.52, 48.8),
    (12.2, 2.44, 4.88),
    (17.08, 2.44, 4.88),
    (29.28, 2.44, 4.88),
    shortest_side=SHORTEST_FOR_LENGTHS,
    ordered=False,
)
def elastic_transform(images: Tensor, stretch: tuple[float, float, float], generators: Generators) -> Tensor:
    """A rubber sheet: three points are pulled at random, then each pixel a little way of its own.

    The points move by up to 24.4, 48.8 or 4.88 pixels along each axis at 224 x 224; the pixels by uniform noise that is
    smoothed over 170.8, 19.5 or 2.44 pixels and multiplied by 488, 488, 12.2, 17.1 or 29.3. Severities 1 and 2 move
    large parts, and the others small ones: accuracy need not fall from one to the next.
    """
    strength, sigma, pull = stretch
    scale, shape = relative_size(images), reference_shape(images)
    pulls = drawn(partial(_pull, shape, pull), generators, images)
    here = (grid(images) + 0.5) / scale - 0.5  # where the pixels would lie at 224 x 224
    there = torch.einsum("nij,jhw->nihw", pulls[..., :2], here) + pulls[..., 2, None, None]
    pulled = sample(images, (there + 0.5) * scale - 0.5, repeat_border=False)
    shifts = strength * drawn(partial(_smooth_noise, shape, sigma), generators, images)
    shifts = scale * F.interpolate(shifts, size=images.shape[-2:], mode="bilinear", align_corners=False)
    return sample(pulled, grid(images) + shifts, repeat_border=True)


def _boxes(source: int, target: int) -> Tensor:
    """(target, source): each new pixel the mean of the old ones whose centres it covers, or the nearest one alone.

    That is Pillow's resizing with a box filter.
    """
    width = source / target
    centres = (torch.arange(target, dtype=torch.float64) + 0.5) * width
    offsets = torch.arange(source, dtype=torch.float64) + 0.5 - centres[:, None]
    half = max(width, 1) / 2
    covered = ((offsets > -half) & (offsets <= half)).double()
    return covered / covered.sum(1, keepdim=True)


def _jpeg(levels: npt.NDArray[np.uint8], quality: int) -> Tensor:
    """(channels, height, width) uint8: what comes back of (height, width, channels) after JPEG."""
    stored = BytesIO()
    Image.fromarray(levels.squeeze(-1) if levels.shape[-1] == 1 else levels).save(stored, "JPEG", quality=quality)
    with Image.open(stored) as opened:
        restored = torch.from_numpy(np.array(opened))
    return restored.view(levels.shape).movedim(-1, 0)


def _pull(shape: tuple[int, int], distance: float, generator: torch.Generator) -> Tensor:
    """(2, 3): the affine map that reads three points around the middle from where they were before they were pulled."""
    height, width = shape
    arm = min(shape) // 3
    corners = torch.tensor([[1, 1], [1, -1], [-1, -1]], dtype=torch.float64)
    before = torch.tensor([width // 2, height // 2]) + arm * corners
    after = before + distance * (2 * torch.rand(3, 2, generator=generator, dtype=torch.float32).double() - 1)
    affine: Tensor = torch.linalg.solve(torch.cat([after, torch.ones(3, 1).double()], dim=1), before)
    return affine.T


def _smooth_noise(shape: tuple[int, int], sigma: float, generator: torch.Generator) -> Tensor:
    """(2, *shape) float64: uniform noise in [-1, 1] under a Gaussian."""
    noise = 2 * torch.rand(2, *shape, generator=generator, dtype=torch.float32).double() - 1
    return smooth(noise, gaussian(sigma, truncate=3), "reflect")
