"""The handwritten digits that come with the package."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import torch

from manifoldscope.vision.datasets.dataset import DATASETS
from manifoldscope.vision.images import ImageSet


@DATASETS.register("digits", splits=("all",), needs_root="")
def digits(*, split: str = "all", root: str | None = None) -> ImageSet:
    """1,797 handwritten digits of 8 x 8 pixels (Alpaydin & Kaynak 1998), those of scikit-learn; no files needed.

    Pixels are 0..16, divided by 16. Source and licence: `digits-licence.txt`.
    """
    with (
        files("manifoldscope.vision.datasets").joinpath("digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as stored,
    ):
        images, labels = stored["images"], stored["labels"]
    pixels = torch.from_numpy((images / 16).astype(np.float32))[:, None]
    return ImageSet.of(pixels, labels, class_names=[str(digit) for digit in range(10)], source="digits", split=split)
