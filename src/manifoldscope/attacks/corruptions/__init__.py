"""Common corruptions, each at severities 1 to 5."""

from manifoldscope.attacks.corruptions.blur import (
    defocus_blur,
    gaussian_blur,
    glass_blur,
    motion_blur,
    zoom_blur,
)
from manifoldscope.attacks.corruptions.corruption import Corruption, corruption
from manifoldscope.attacks.corruptions.digital import (
    contrast,
    elastic_transform,
    jpeg_compression,
    pixelate,
    saturate,
)
from manifoldscope.attacks.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from manifoldscope.attacks.corruptions.weather import brightness, fog

__all__ = [
    "Corruption",
    "brightness",
    "contrast",
    "corruption",
    "defocus_blur",
    "elastic_transform",
    "fog",
    "gaussian_blur",
    "gaussian_noise",
    "glass_blur",
    "impulse_noise",
    "jpeg_compression",
    "motion_blur",
    "pixelate",
    "saturate",
    "shot_noise",
    "speckle_noise",
    "zoom_blur",
]
