"""Noise: of each pixel and channel by itself, and the same at every image size."""

from __future__ import annotations

import torch
from torch import Tensor

from manifoldscope.attacks.corruptions.corruption import Generators, corruption, drawn


@corruption(0.08, 0.12, 0.18, 0.26, 0.38)
def gaussian_noise(images: Tensor, scale: float, generators: Generators) -> Tensor:
    """Normal noise, as of a sensor in poor light.

    Its standard deviation is 0.08, 0.12, 0.18, 0.26 or 0.38, in pixel units.
    """
    return images + scale * _normal(images, generators)


@corruption(60.0, 25.0, 12.0, 5.0, 3.0)
def shot_noise(images: Tensor, photons: float, generators: Generators) -> Tensor:
    """Poisson noise, of light that arrives in few photons.

    A white pixel expects 60, 25, 12, 5 or 3 of them.
    """
    rates = photons * images.cpu().float()  # on the CPU, as every draw
    counts = [torch.poisson(rate, generator) for rate, generator in zip(rates, generators, strict=True)]
    return torch.stack(counts).to(images) / photons


@corruption(0.03, 0.06, 0.09, 0.17, 0.27)
def impulse_noise(images: Tensor, share: float, generators: Generators) -> Tensor:
    """Salt and pepper: some values become 0 or 1, one as likely as the other.

    Their share is 0.03, 0.06, 0.09, 0.17 or 0.27; each channel of a pixel is hit by itself.
    """
    hit, salt = drawn(
        lambda g: torch.rand(2, *images.shape[1:], generator=g, dtype=torch.float32), generators, images
    ).unbind(1)
    return torch.where(hit < share, (salt < 0.5).to(images), images)


@corruption(0.15, 0.2, 0.35, 0.45, 0.6)
def speckle_noise(images: Tensor, scale: float, generators: Generators) -> Tensor:
    """Normal noise in proportion to the pixel: the brighter, the stronger.

    Its standard deviation is 0.15, 0.2, 0.35, 0.45 or 0.6 times the pixel's value.
    """
    return images + scale * images * _normal(images, generators)


def _normal(images: Tensor, generators: Generators) -> Tensor:
    return drawn(lambda g: torch.randn(images.shape[1:], generator=g, dtype=torch.float32), generators, images)
