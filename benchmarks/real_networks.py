"""Networks with real weights, and real images for them: what benchmarks and tests share.

Images are found through MANIFOLDSCOPE_DATA and weights through MANIFOLDSCOPE_WEIGHTS; where these are not set, in
../shared/data, and in the folder `weights` beside the images.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manifoldscope.vision.datasets import images as dataset
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network
from manifoldscope.vision.preprocessing import Preprocessing
from manifoldscope.vision.sources import network as source
from manifoldscope.vision.weights import fit, load_weights

DATA = Path(os.environ.get("MANIFOLDSCOPE_DATA", "../shared/data"))
WEIGHTS = Path(os.environ.get("MANIFOLDSCOPE_WEIGHTS", DATA.parent / "weights"))
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
IMAGENETTE = (
    *("n01440764", "n02102040", "n02979186", "n03000684", "n03028079"),
    *("n03394916", "n03417042", "n03425413", "n03445777", "n03888257"),
)
"""The ten easy classes of ImageNet."""


class RobustBlock(nn.Module):
    """Two convolutions and a projected shortcut."""

    def __init__(self, n_in: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(n_in, 32, 3, stride, 1), nn.Conv2d(32, 32, 3, 1, 1)
        self.shortcut = nn.Sequential(nn.Conv2d(n_in, 32, 1, stride)) if stride > 1 else nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.shortcut(x))


class Robust(nn.Module):
    """The small adversarially trained residual network of the shared weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 2, 1)
        self.layer1 = nn.Sequential(RobustBlock(16, 2), RobustBlock(32, 1))
        self.layer2 = nn.Sequential(RobustBlock(32, 2), RobustBlock(32, 1))
        self.linear1, self.linear2 = nn.Linear(512, 100), nn.Linear(100, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(F.relu(self.conv1(x))))
        return self.linear2(F.relu(self.linear1(x.flatten(1))))


def robust_cifar(weights: Path = WEIGHTS) -> Network:
    """An adversarially trained residual network for CIFAR-10, 0.1 million parameters, without batch norm."""
    module = Robust().eval()
    fit(module, load_weights(weights / "cifar10" / "resnet4b-robust.pth"), "the robust network")
    return Network(module, name="robust", mean=(0.4914, 0.4822, 0.4465), std=(0.2471, 0.2435, 0.2616))


def oval_base(weights: Path = WEIGHTS) -> Network:
    """A small network of the OVAL benchmark for CIFAR-10, trained to be provably robust."""
    layers = [nn.Conv2d(3, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 4, 2, 1), nn.ReLU(), nn.Flatten()]
    module = nn.Sequential(*layers, nn.Linear(1024, 100), nn.ReLU(), nn.Linear(100, 10)).eval()
    fit(module, load_weights(weights / "zoo" / "cifar10" / "cifar_oval_base.safetensors"), "the OVAL network")
    return Network(module, mean=(0.485, 0.456, 0.406), std=(0.225,) * 3, name="oval_base")


def resnet20(weights: Path = WEIGHTS) -> Network:
    """ResNet-20 for CIFAR-10, trained without attacks."""
    file = weights / "cifar10" / "resnet20-12fca82f.th"
    return source("small:resnet20", weights=str(file), channels=3, size=32, n_classes=10, **IMAGENET)


def cifar_zoo(weights: Path = WEIGHTS) -> Iterator[tuple[Network, dict[str, float]]]:
    """Twelve small networks for CIFAR-10 of many trainings; with each, accuracies that were told of it.

    These are on the images of `exact_cifar`: "clean", and "pgd_2" and "pgd_8" under PGD of 20 steps at 2/255 and 8/255.
    """
    for row in _zoo_rows(weights):
        if row["dataset"] == "cifar10":
            yield zoo(row["name"], weights), {name: float(row[name]) for name in ("clean", "pgd_2", "pgd_8")}


def zoo(name: str, weights: Path = WEIGHTS) -> Network:
    """A small network for CIFAR-10 or MNIST, by its name in the list of the shared weights."""
    folder = weights / "zoo"
    (row,) = (row for row in _zoo_rows(weights) if row["name"] == name)
    scale = {key: [float(value) for value in row[key].split()] for key in ("mean", "std")}
    network = source(f"python:{folder / 'zoo.py'}:{row['function']}", weights=str(folder / row["file"]), **scale)
    return replace(network, name=name)


def _zoo_rows(weights: Path) -> list[dict[str, str]]:
    with (weights / "zoo" / "networks.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def robust_mnist(weights: Path = WEIGHTS) -> Network:
    """An adversarially trained network of two convolutions for MNIST."""
    convolutions = [nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten()]
    module = nn.Sequential(*convolutions, nn.Linear(1568, 100), nn.ReLU(), nn.Linear(100, 10)).eval()
    fit(module, load_weights(weights / "mnist" / "mnist_cnn_a_adv.pth"), "the robust network")
    return Network(module, name="mnist_cnn", preprocessing=Preprocessing(channels=1))


def resnet50(weights: Path = WEIGHTS) -> Network:
    """ResNet-50 for ImageNet at 224 pixels."""
    return source("torchvision:resnet50", weights=str(weights / "imagenet" / "resnet50.safetensors"), **IMAGENET)


def mobilenet(weights: Path = WEIGHTS) -> Network:
    """MobileNetV2 for ImageNet at 224 pixels, which sees pixels as 2 x - 1."""
    file = weights / "imagenet" / "mobilenet_v2.safetensors"
    return source("torchvision:mobilenet_v2", weights=str(file), mean=[0.5] * 3, std=[0.5] * 3)


def cifar(n_per_class: int, data: Path = DATA) -> ImageSet:
    """Test images of CIFAR-10 that were saved as lossy JPEG, as float pixels."""
    drawn = dataset("folder", root=str(data / "cifar10-jpeg" / "test"), images_per_class=n_per_class, seed=0)
    return ImageSet.of(torch.stack([drawn.read(place) for place in range(len(drawn))]).float() / 255, drawn.labels)


def exact_cifar(data: Path = DATA) -> ImageSet:
    """200 test images of CIFAR-10 as they are."""
    return dataset("arrays", root=data / "cifar10-lossless-200.npz")


def mnist(n_per_class: int, data: Path = DATA) -> ImageSet:
    """Test images of MNIST."""
    return dataset("mnist", root=str(data / "mnist"), images_per_class=n_per_class, seed=0)


def photographs(n_per_class: int, *, easy: bool, data: Path = DATA) -> ImageSet:
    """Photographs of the ten easy classes of ImageNet, or of ten breeds of dogs; labels are those of ImageNet."""
    drawn = dataset("imagenet", root=str(data / "imagenet-20"), images_per_class=n_per_class, seed=0)
    wnids = [line.split()[0] for line in (data / "imagenet-wnids.txt").read_text(encoding="utf-8").splitlines()]
    wanted = {wnids.index(wnid) for wnid in IMAGENETTE}
    return drawn.subset(torch.tensor([(label in wanted) == easy for label in drawn.labels.tolist()]))
