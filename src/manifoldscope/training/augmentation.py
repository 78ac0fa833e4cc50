"""Random changes of training images that keep their class."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.attacks.ball import drawn
from manifoldscope.errors import StudyError
from manifoldscope.settings import check_setting

AugmentName = Literal["none", "shift_flip"]

LARGEST_SHIFT = 4
"""Pixels, in each direction."""


def augmented(pixels: Tensor, name: str, generator: torch.Generator) -> Tensor:
    """A batch of training images, each changed at random; the same shape and type, on the same device.

    "shift_flip" moves each image by up to 4 pixels up or down and by up to 4 to a side, with 0 (black) for what comes
    from outside, and mirrors it with probability 1/2 (He et al. 2016, section 4.2). It is meant for photographs of 32
    or 64 pixels: a mirrored digit is another sign, and 4 of 8 pixels are half of an image.

    Args:
        pixels: (n, channels, height, width) in [0, 1].
        name: "none" changes nothing, and draws nothing.
        generator: on the CPU, so that every device sees the same changes.

    Raises:
        StudyError: no such augmentation.

    Example:
        >>> augmented(torch.ones(8, 3, 32, 32), "shift_flip", torch.Generator().manual_seed(0)).shape
        torch.Size([8, 3, 32, 32])
    """
    check_setting(StudyError, "augment", name, AugmentName)
    if name == "none":
        return pixels
    n, channels, height, width = pixels.shape
    corners = torch.randint(0, 2 * LARGEST_SHIFT + 1, (2, n, 1), generator=generator, device="cpu")
    mirrored = drawn(torch.rand, (n, 1), generator) < 0.5
    across = torch.arange(width, device="cpu").expand(n, width)
    rows = corners[0] + torch.arange(height, device="cpu")
    columns = corners[1] + torch.where(mirrored, across.flip(1), across)
    padded = F.pad(pixels, (LARGEST_SHIFT,) * 4)
    rows, columns = rows.to(pixels.device), columns.to(pixels.device)
    taken: Tensor = padded[
        torch.arange(n, device=pixels.device).view(n, 1, 1, 1),
        torch.arange(channels, device=pixels.device).view(1, channels, 1, 1),
        rows.view(n, 1, height, 1),
        columns.view(n, 1, 1, width),
    ]
    return taken
