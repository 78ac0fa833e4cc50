"""The memory that a layer too large to hold takes: ResNet-50's first convolution, 802,816 features, 500 images.

    python benchmarks/large_layer.py [--network resnet50] [--layer conv1] [--images 500] [--folder DIR]

VGG-16's 25,088 features: --network vgg16 --layer avgpool.

The weights are random and so are the images: neither changes the cost. The points (1.5 GiB in float32) lie in a
nameless file of the folder; what stands in memory at once is a batch of images, a block of features and the inner
products of the points. The peak counts everything that the process holds, torch and the network included, and pages of
the file that the system keeps at hand until something else needs the memory.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import torch
from torchvision.models import get_model

from manifoldscope.geometry import Cloud, measure
from manifoldscope.vision.activations import activations
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network
from manifoldscope.vision.preprocessing import Preprocessing


def peak() -> float:
    """The most memory that the process has held, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Measure the layer and print seconds and memory."""
    parser = argparse.ArgumentParser(description="The memory that a layer too large to hold takes.")
    parser.add_argument("--network", default="resnet50", help="one of torchvision")
    parser.add_argument("--layer", default="conv1")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    torch.manual_seed(0)
    preprocessing = Preprocessing(resize=224, crop=224)
    network = Network(get_model(options.network), name=options.network, preprocessing=preprocessing)
    generator = torch.Generator().manual_seed(0)
    images = ImageSet.of(torch.rand(options.images, 3, 64, 64, generator=generator), [0] * options.images)
    print(f"network and images: {peak():.2f} GiB at most")
    began = time.perf_counter()
    (manifold,) = activations(network, images, layers=[options.layer], batch_size=16, folder=options.folder)
    size = f"{manifold.n_points} x {manifold.n_features:,}"
    print(f"{size} points: {time.perf_counter() - began:.0f} s, {peak():.2f} GiB")
    began = time.perf_counter()
    cloud = Cloud(manifold).reduced()
    for name in ("pca_dimension", "participation_ratio", "decay_exponent", "two_nn", "mle"):
        print(f"{name:<20} {measure(name, cloud).value:.4g}")
    print(f"measured: {time.perf_counter() - began:.0f} s, {peak():.2f} GiB at most")


if __name__ == "__main__":
    main()
