"""MNIST, in its idx files."""

from __future__ import annotations

from manifoldscope.vision.datasets.dataset import DATASETS
from manifoldscope.vision.datasets.idx import idx_images
from manifoldscope.vision.images import ImageSet


@DATASETS.register("mnist", splits=("train", "test"), needs_root="the folder of the four idx files", fetches=True)
def mnist(*, split: str = "test", root: str | None = None) -> ImageSet:
    """Handwritten digits of 28 x 28 grey pixels (LeCun et al. 1998): 60,000 to train on and 10,000 to test.

    Reads the idx files, gzipped or not, in the folder or where torchvision puts them under it; where none is there,
    torchvision is asked to download them into the folder.
    """
    return idx_images("mnist", "MNIST", [str(digit) for digit in range(10)], split, root)
