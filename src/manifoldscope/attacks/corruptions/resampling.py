"""Kernels and fields that are stated at 224 pixels, brought to images of any size."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

REFERENCE_SIDE = 224

Border = Literal["reflect", "replicate"]


def relative_size(images: Tensor) -> float:
    """Pixels of these images to a pixel at the reference size: their shorter side over 224."""
    return min(images.shape[-2:]) / REFERENCE_SIDE


def reference_shape(images: Tensor) -> tuple[int, int]:
    """Height and width, in pixels, of the same images with 224 pixels on the shorter side."""
    height, width = (round(side / relative_size(images)) for side in images.shape[-2:])
    return height, width


def gaussian(sigma: float, truncate: float) -> Tensor:
    """(k,) float64: a normalised Gaussian at whole pixels, up to `truncate` standard deviations; k is odd."""
    reach = int(truncate * sigma + 0.5)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / sigma) ** 2)
    return weights / weights.sum()


def resized(kernel: Tensor, scale: float) -> Tensor:
    """A kernel of odd length (or odd height and width), `scale` times as large, of the same sum and the same centre.

    Scaled down, each weight is shared by the two pixels beside its new place: that is the kernel seen by an image that
    is interpolated linearly, and it keeps a meaning below one pixel. Scaled up, the kernel is interpolated linearly. At
    scale 1 it is returned unchanged.
    """
    radius, spread = len(kernel) // 2, max(1.0, scale)
    reach = math.ceil(radius * scale + spread - 1e-9) - 1
    places = scale * torch.arange(-radius, radius + 1, dtype=kernel.dtype)
    pixels = torch.arange(-reach, reach + 1, dtype=kernel.dtype)
    shares = (1 - (pixels[:, None] - places).abs() / spread).clamp(min=0)
    shares /= shares.sum(0)
    return shares @ kernel if kernel.ndim == 1 else shares @ kernel @ shares.T


def correlate(image: Tensor, kernel: Tensor, border: Border) -> Tensor:
    """(channels, height, width): each pixel the sum of its neighbours, weighted by a kernel of odd sides.

    The border is mirrored without repeating the outermost pixel ("reflect"), or that pixel goes on ("replicate").
    """
    height, width = image.shape[-2:]
    down, right = len(kernel) // 2, kernel.shape[1] // 2
    padded = F.pad(image[None], (right, right, down, down), mode=border)[0]
    total = torch.zeros_like(image)
    for row, column in kernel.nonzero().tolist():  # a disk or a line: most weights are zero
        total.add_(padded[:, row : row + height, column : column + width], alpha=float(kernel[row, column]))
    return total


def smooth(images: Tensor, kernel: Tensor, border: Border) -> Tensor:
    """Rows and columns of (..., height, width) weighted by the same kernel (k,), k odd and of any length.

    The border is mirrored with its outermost pixel repeated ("reflect", as often as the kernel is long), or that pixel
    goes on ("replicate").
    """
    rows, columns = (_smoothing(side, kernel, border).to(images) for side in images.shape[-2:])
    return rows @ images @ columns.T


def _smoothing(side: int, kernel: Tensor, border: Border) -> Tensor:
    reach = len(kernel) // 2
    places = torch.arange(side)[:, None] + torch.arange(-reach, reach + 1)
    if border == "replicate":
        places = places.clamp(0, side - 1)
    else:
        places = places % (2 * side)
        places = torch.minimum(places, 2 * side - 1 - places)
    weights = torch.zeros(side, side, dtype=kernel.dtype)
    return weights.scatter_add_(1, places, kernel.expand_as(places))


def grid(images: Tensor) -> Tensor:
    """(2, height, width): column and row of each pixel."""
    height, width = images.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([columns, rows]).to(images)


def sample(images: Tensor, places: Tensor, *, repeat_border: bool) -> Tensor:
    """Images (n, channels, height, width) read at `places` (n, 2, height, width), columns before rows, in pixels.

    Between pixels they are interpolated linearly; outside they are mirrored, with or without repeating the outermost
    pixel.
    """
    height, width = images.shape[-2:]
    sides = torch.tensor([width, height]).to(images)[:, None, None]
    where = (2 * places + 1) / sides - 1 if repeat_border else 2 * places / (sides - 1) - 1
    return F.grid_sample(
        images, where.movedim(1, -1), mode="bilinear", padding_mode="reflection", align_corners=not repeat_border
    )
