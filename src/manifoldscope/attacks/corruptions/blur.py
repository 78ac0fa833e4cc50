"""Blur: lengths in pixels at 224 pixels, scaled to the image."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.attacks.corruptions.corruption import SHORTEST_FOR_LENGTHS, Generators, corruption, drawn
from manifoldscope.attacks.corruptions.resampling import (
    correlate,
    gaussian,
    grid,
    reference_shape,
    relative_size,
    resized,
    sample,
    smooth,
)


@corruption((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5), shortest_side=SHORTEST_FOR_LENGTHS)
def defocus_blur(images: Tensor, lens: tuple[int, float], _: Generators) -> Tensor:
    """A lens out of focus: every point of light becomes a disk.

    Radius 3, 4, 6, 8 or 10 pixels at 224 x 224; its edge is softened.
    """
    kernel = resized(_disk(*lens), relative_size(images))
    return torch.stack([correlate(image, kernel, "reflect") for image in images])


@corruption((10, 3.0), (15, 5.0), (15, 8.0), (15, 12.0), (20, 15.0), shortest_side=SHORTEST_FOR_LENGTHS)
def motion_blur(images: Tensor, motion: tuple[int, float], generators: Generators) -> Tensor:
    """A camera that moves along a line, at a random angle of at most 45 degrees.

    The trace fades as a Gaussian of standard deviation 3, 5, 8, 12 or 15 pixels at 224 x 224, cut after 20, 30, 30, 30
    or 40.
    """
    scale = relative_size(images)
    angles = (
        drawn(
            lambda g: torch.rand((), generator=g, dtype=torch.float32), generators, torch.empty(0, dtype=torch.float32)
        )
        * (math.pi / 2)
        - math.pi / 4
    )
    return torch.stack(
        [
            correlate(image, resized(_trace(*motion, angle), scale), "replicate")
            for image, angle in zip(images, angles.tolist(), strict=True)
        ]
    )


@corruption((11, 1), (15, 1), (20, 2), (24, 2), (30, 3), shortest_side=SHORTEST_FOR_LENGTHS)
def zoom_blur(images: Tensor, zoom: tuple[int, int], _: Generators) -> Tensor:
    """A camera that moves towards the scene: the mean of the image and of what is seen on the way.

    The farthest is 11, 15, 20, 24 or 30 per cent larger, at every image size, in steps of 1, 1, 2, 2 or 3 per cent.
    """
    farthest, step = zoom
    factors = [1 + percent / 100 for percent in range(0, farthest + 1, step)]
    return (images + sum(_zoomed(images, factor) for factor in factors)) / (len(factors) + 1)


@corruption(1.0, 2.0, 3.0, 4.0, 6.0, shortest_side=SHORTEST_FOR_LENGTHS)
def gaussian_blur(images: Tensor, sigma: float, _: Generators) -> Tensor:
    """Gaussian blur.

    Standard deviation 1, 2, 3, 4 or 6 pixels at 224 x 224.
    """
    return _gaussian_blur(images, sigma)


@corruption(
    (0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2), shortest_side=SHORTEST_FOR_LENGTHS, ordered=False
)
def glass_blur(images: Tensor, glass: tuple[float, int, int], generators: Generators) -> Tensor:
    """Frosted glass: pixels are copied from places nearby, between two slight Gaussian blurs.

    Gaussians of 0.7, 0.9, 1, 1.1 or 1.5 pixels; copies from up to 1, 2, 2, 3 or 4 pixels away, done 2, 1, 3, 2 or 2
    times over the image, at 224 x 224. A smaller image reads the same displacements, shrunk, between its pixels.
    Severity 3, of three passes, may be harder than severity 4.
    """
    sigma, distance, passes = glass
    shape = reference_shape(images)
    shifts = drawn(partial(_shuffle, shape, distance, passes), generators, images)
    shifts = relative_size(images) * F.interpolate(shifts, size=images.shape[-2:], mode="nearest-exact")
    moved = sample(_gaussian_blur(images, sigma), grid(images) + shifts, repeat_border=True)
    return _gaussian_blur(moved, sigma)


def _gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    return smooth(images, resized(gaussian(sigma, truncate=4), relative_size(images)), "replicate")


def _disk(radius: int, softness: float) -> Tensor:
    """(k, k): a disk of pixels, softened by a Gaussian that is cut at one pixel (two, if the radius exceeds 8).

    Its square is as narrow as the published one's, at whose sides the disk is mirrored: for radius 8 and 10 it sums to
    1.01, which brightens the image by as much.
    """
    reach, cut = (8, 1) if radius <= 8 else (radius, 2)
    places = torch.arange(-reach, reach + 1, dtype=torch.float64)
    disk = (places[:, None] ** 2 + places**2 <= radius**2).double()
    edge = gaussian(softness, truncate=cut / softness)
    mirrored = F.pad((disk / disk.sum())[None, None], (cut, cut, cut, cut), mode="reflect")
    return F.conv2d(mirrored, torch.outer(edge, edge)[None, None])[0, 0]


def _trace(radius: int, sigma: float, angle: float) -> Tensor:
    """(4 radius + 1, 4 radius + 1): half a Gaussian along a line of whole pixels that begins in the middle."""
    length = 2 * radius
    steps = torch.arange(length + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (steps / sigma) ** 2)
    rows, columns = (torch.ceil(steps * part - 0.5).long() + length for part in (math.sin(angle), math.cos(angle)))
    trace = torch.zeros(2 * length + 1, 2 * length + 1, dtype=torch.float64)
    return trace.index_put_((rows, columns), weights / weights.sum(), accumulate=True)


def _zoomed(images: Tensor, factor: float) -> Tensor:
    """The middle of each image, `factor` times as large; factor >= 1."""
    sides = images.shape[-2:]
    seen = [math.ceil(side / factor - 1e-9) for side in sides]
    top, left = ((side - part) // 2 for side, part in zip(sides, seen, strict=True))
    middle = images[..., top : top + seen[0], left : left + seen[1]]
    large = [round(part * factor) for part in seen]
    enlarged = F.interpolate(middle, size=large, mode="bilinear", align_corners=True)
    top, left = ((part - side) // 2 for side, part in zip(sides, large, strict=True))
    return enlarged[..., top : top + sides[0], left : left + sides[1]]


def _shuffle(shape: tuple[int, int], distance: int, passes: int, generator: torch.Generator) -> Tensor:
    """(2, *shape): columns and rows to the pixel that ends up in each place.

    Pixel after pixel, from the last to the first, is overwritten by one that is nearby: a later one that has been
    overwritten itself, or an earlier one as it was. (The published code means to swap the two, and copies.) What a
    pixel reads in the end is found by following the chain of copies, at doubled strides.
    """
    height, width = shape
    here = torch.arange(height * width).view(height, width)
    inner = (slice(distance + 1, height - distance + 1), slice(distance + 1, width - distance + 1))
    origin = here.flatten()
    for _ in range(passes):
        down, right = torch.randint(-distance, distance, (2, *shape), generator=generator)
        source = here.clone()
        source[inner] += (down * width + right)[inner]
        source = source.flatten()
        link = torch.where(source > here.flatten(), source, here.flatten())
        while not torch.equal(farther := link[link], link):
            link = farther
        origin = origin[source[link]]
    origin = origin.view(shape)
    return torch.stack([origin % width - here % width, origin // width - here // width])
