"""The digits of scikit-learn."""

from __future__ import annotations

import numpy as np
import torch

from manifoldscope.vision.datasets.dataset import DATASETS
from manifoldscope.vision.images import ImageSet


@DATASETS.register("digits", splits=("all",), needs_root="")
def digits(*, split: str = "all", root: str | None = None) -> ImageSet:
    """1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn (Alpaydin & Kaynak 1998); no files needed.

    Pixels are 0..16, divided by 16.
    """
    from sklearn.datasets import load_digits

    bundled = load_digits()
    pixels = torch.from_numpy((bundled.images / 16).astype(np.float32))[:, None]
    return ImageSet.of(
        pixels, bundled.target, class_names=[str(digit) for digit in range(10)], source="digits", split=split
    )
