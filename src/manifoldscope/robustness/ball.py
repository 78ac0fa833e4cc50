"""Balls around clean images, in the L-infinity and the L2 norm: distance, projection, steepest direction."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from manifoldscope.errors import ThreatError
from manifoldscope.robustness.pgd import check_epsilon

Norm = Literal["linf", "l2"]


def check_radius(epsilon: float, norm: Norm) -> None:
    """Raise ThreatError unless epsilon is the radius of a ball in this norm, in pixel units."""
    if norm == "linf":
        check_epsilon(epsilon)
    elif not (math.isfinite(epsilon) and epsilon >= 0):
        raise ThreatError(f"epsilon = {epsilon}; expected a finite L2 norm of at least 0, in pixel units")


def distance(clean: Tensor, images: Tensor, norm: Norm) -> Tensor:
    """(n,) float64: how far each image is from its clean one, in pixel units."""
    difference = (images - clean).flatten(1)
    if difference.device.type == "mps":  # Apple's GPUs have no float64
        difference = difference.cpu()
    # Squares of many float32 pixels add up to errors beyond the budget's tolerance.
    difference = difference.double()
    away: Tensor = torch.linalg.vector_norm(difference, ord=math.inf if norm == "linf" else 2, dim=1)
    return away


def projected(images: Tensor, clean: Tensor, epsilon: float | Tensor, norm: Norm) -> Tensor:
    """The images brought into the ball around `clean` and into [0, 1]; a pixel that is NaN becomes the clean one.

    Args:
        images, clean: (n, channels, height, width); clean pixels in [0, 1].
        epsilon: radius in pixel units, one for all or (n, 1, 1, 1).
    """
    images = torch.where(images.isnan(), clean, images).clamp(0, 1)
    if norm == "linf":
        return torch.clamp(images, clean - epsilon, clean + epsilon).clamp_(0, 1)
    length = per_image(distance(clean, images, "l2")).to(clean)
    shrink = (epsilon / length.clamp_min(torch.finfo(clean.dtype).tiny)).clamp(max=1)
    return clean + shrink * (images - clean)


def direction(gradient: Tensor, norm: Norm) -> Tensor:
    """The step of length 1 in this norm along which a linear function with this gradient rises most."""
    if norm == "linf":
        return gradient.sign()
    length = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return gradient / per_image(length.clamp_min(torch.finfo(gradient.dtype).tiny))


def per_image(values: Tensor) -> Tensor:
    """(n,) -> (n, 1, 1, 1), to stand beside a batch of images."""
    return values.view(-1, 1, 1, 1)
