"""From a raw image to the pixels that a network is shown: its size, its crop, grey or colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.errors import ModelError
from manifoldscope.vision.whole import check_whole

Interpolation = Literal["bilinear", "bicubic", "nearest"]


@dataclass(frozen=True)
class Preprocessing:
    """From a raw image to pixels in [0, 1]: resize the shorter side, crop the centre.

    Attributes:
        crop: side of the square that the network sees; None leaves every image as it is.
        resize: length to which the shorter side is brought before the crop; None resizes only where the image is
            smaller than the crop. An image that already has the crop size is never rescaled.
        channels: 1 or 3; grey becomes three equal channels, colour becomes luminance (ITU-R BT.601). None leaves those
            that the image has; a `Network` fills in what its first layer takes, if that is clear.
    """

    crop: int | None = None
    resize: int | None = None
    channels: int | None = None
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        check_whole(ModelError, crop=self.crop, resize=self.resize, channels=self.channels)
        if self.channels not in (None, 1, 3):
            raise ModelError(f"channels = {self.channels}: expected 1 (grey) or 3 (colour)")
        if self.crop is not None and self.crop < 1:
            raise ModelError(f"crop = {self.crop}: expected a side of at least 1 pixel")
        if self.resize is not None and self.resize < (self.crop or 1):
            raise ModelError(f"resize = {self.resize}: expected at least the crop ({self.crop or 1})")

    def __call__(self, image: Tensor) -> Tensor:
        """(..., channels, height, width), uint8 or float in [0, 1] -> the same in float32, cropped."""
        image = in_channels(image, self.channels)
        if self.crop is not None and image.shape[-2:] != (self.crop, self.crop):
            shorter = min(image.shape[-2:])
            side = self.resize or max(self.crop, shorter)
            if shorter != side:
                image = resized(image, side, self.interpolation)
            image = _transforms().center_crop(image, [self.crop, self.crop])
        return image.float().div_(255) if image.dtype == torch.uint8 else image.float().clamp(0, 1)


def resized(image: Tensor, side: int, interpolation: Interpolation) -> Tensor:
    """(..., channels, height, width) with a shorter side of `side`; whole levels stay whole, rounded as Pillow does.

    torch's own arithmetic for whole levels, on every processor: torchvision takes another where it thinks that faster,
    and a sixth of the pixels then differ by a level.
    """
    height, width = image.shape[-2:]
    size = (side, int(side * width / height)) if height <= width else (int(side * height / width), side)
    whole = image.dtype == torch.uint8 and image.device.type != "cpu"  # elsewhere torch has none
    smooth = {} if interpolation == "nearest" else {"antialias": True, "align_corners": False}
    batch = image.reshape(-1, *image.shape[-3:])
    made = F.interpolate(batch.float() if whole else batch, size, mode=interpolation, **smooth)
    made = made.round_().clamp_(0, 255).to(torch.uint8) if whole else made
    return made.reshape(*image.shape[:-2], *size)


def in_channels(image: Tensor, channels: int | None) -> Tensor:
    """(..., any channels, height, width) in 1 or 3 channels; None leaves those that it has."""
    if channels is None or image.shape[-3] == channels:
        return image
    grey: Tensor = _transforms().rgb_to_grayscale(image) if channels == 1 else image
    return grey.expand(*image.shape[:-3], channels, *image.shape[-2:])


def _transforms() -> Any:
    """Those of torchvision, whose import takes as long as that of torch; many images need none of them."""
    from torchvision.transforms.v2 import functional

    return functional
