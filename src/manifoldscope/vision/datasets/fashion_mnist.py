"""Fashion-MNIST, in its idx files."""

from __future__ import annotations

from manifoldscope.vision.datasets.dataset import DATASETS
from manifoldscope.vision.datasets.idx import idx_images
from manifoldscope.vision.images import ImageSet

_FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)  # fmt: skip


@DATASETS.register(
    "fashion-mnist", splits=("train", "test"), needs_root="the folder of the four idx files", fetches=True
)
def fashion_mnist(*, split: str = "test", root: str | None = None) -> ImageSet:
    """Clothes of ten kinds, 28 x 28 grey pixels (Xiao, Rasul & Vollgraf 2017): 60,000 to train on and 10,000 to test.

    Reads the same files as `mnist` does, and downloads them likewise.
    """
    return idx_images("fashion-mnist", "FashionMNIST", _FASHION, split, root)
