"""Balls around clean images, in the L-infinity and the L2 norm: distance, projection, steepest direction."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from manifoldscope.errors import AttackError

Norm = Literal["linf", "l2"]


def check_epsilon(epsilon: float) -> None:
    """Raise AttackError unless epsilon is a radius in pixel units."""
    if not (math.isfinite(epsilon) and epsilon >= 0):
        raise AttackError(f"epsilon = {epsilon}; expected a number from 0 to 1, in pixel units")
    if epsilon >= 1:
        raise AttackError(
            f"epsilon = {epsilon:g}; pixels are in [0, 1], so that an L-infinity epsilon of 1 or more allows any image"
            + (f"; did you mean {epsilon:g}/255 = {epsilon / 255:.6g}?" if epsilon <= 255 else "")
        )


def check_radius(epsilon: float, norm: Norm) -> None:
    """Raise AttackError unless epsilon is the radius of a ball in this norm, in pixel units."""
    if norm == "linf":
        check_epsilon(epsilon)
    elif not (math.isfinite(epsilon) and epsilon >= 0):
        raise AttackError(f"epsilon = {epsilon}; expected a finite L2 norm of at least 0, in pixel units")


def distance(clean: Tensor, images: Tensor, norm: Norm) -> Tensor:
    """(n,) float64: how far each image is from its clean one, in pixel units."""
    difference = (images - clean).flatten(1)
    if difference.device.type == "mps":  # Apple's GPUs have no float64
        difference = difference.cpu()
    if norm == "l2":  # squares of many float32 pixels add up to errors beyond the budget's tolerance
        difference = difference.double()
    return lengths(difference, norm).double()


def lengths(rows: Tensor, norm: Norm) -> Tensor:
    """(n,) those of rows (n, n_features) in this norm."""
    if norm == "linf":
        return rows.abs().amax(1)  # several times as fast as vector_norm on a CPU
    found: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return found


def projected(images: Tensor, clean: Tensor, radius: Tensor, norm: Norm) -> Tensor:
    """The images brought into the ball around `clean` and into [0, 1]; a pixel that is NaN becomes the clean one.

    Args:
        images, clean: (n, channels, height, width); clean pixels in [0, 1].
        radius: (n,) of each ball, in pixel units.
    """
    radius = per_image(radius)
    if norm == "linf":
        inside = torch.minimum(torch.maximum(images, clean - radius), clean + radius).clamp_(0, 1)
        if inside.device.type == "cpu" and not bool(inside.sum().isnan()):  # a look is quicker than to choose
            return inside
        return torch.where(inside.isnan(), clean, inside)
    images = torch.where(images.isnan(), clean, images)
    length = per_image(distance(clean, images, "l2")).to(clean)
    shrink = (radius / length.clamp_min(torch.finfo(clean.dtype).tiny)).clamp(max=1)
    return (clean + shrink * (images - clean)).clamp_(0, 1)  # which only brings a pixel nearer to its clean one


Generators = torch.Generator | Sequence[torch.Generator]
"""One stream of random numbers for all images, or one for each."""


def random_start(clean: Tensor, radius: Tensor, generators: Generators, norm: Norm = "linf") -> Tensor:
    """Uniform in the ball of radius (n,) around each image, cut to [0, 1].

    The numbers are drawn on the CPU, so that every device starts at the same place.
    """
    radius = per_image(radius)
    if norm == "linf":
        noise = drawn(torch.rand, clean.shape, generators).to(clean.device)
        return noise.mul_(2).sub_(1).mul_(radius).add_(clean).clamp_(0, 1)
    away = direction(drawn(torch.randn, clean.shape, generators), norm)
    # a share r of the volume lies within r^(1 / dimensions) of the radius
    share = drawn(torch.rand, clean.shape[:1], generators) ** (1 / clean[0].numel())
    return (clean + radius * (per_image(share) * away).to(clean.device)).clamp_(0, 1)


def drawn(draw: Callable[..., Tensor], shape: Sequence[int], generators: Generators) -> Tensor:
    """Random float32 numbers of this shape, on the CPU; each of its rows from a stream of its own, where there are n.

    So they are whatever torch's default type and device are.

    Args:
        draw: torch.rand or torch.randn.
        shape: (n, ...).
    """
    if isinstance(generators, torch.Generator):
        return draw(shape, generator=generators, dtype=torch.float32, device="cpu")
    numbers = torch.empty(*shape, dtype=torch.float32, device="cpu")
    for row, generator in zip(numbers, generators, strict=True):
        draw(shape[1:], generator=generator, out=row, dtype=torch.float32, device="cpu")
    return numbers


def direction(gradient: Tensor, norm: Norm) -> Tensor:
    """The step of length 1 in this norm along which a linear function with this gradient rises most."""
    if norm == "linf":
        return gradient.sign()
    tiny = torch.finfo(gradient.dtype).tiny
    # squares of the small gradients of a confident network would underflow
    scaled = gradient / per_image(gradient.abs().flatten(1).amax(1).clamp_min(tiny))
    return scaled / per_image(torch.linalg.vector_norm(scaled.flatten(1), dim=1).clamp_min(tiny))


def per_image(values: Tensor) -> Tensor:
    """(n,) -> (n, 1, 1, 1), to stand beside a batch of images."""
    return values.view(-1, 1, 1, 1)
