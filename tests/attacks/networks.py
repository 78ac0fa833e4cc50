"""Small networks and images for the tests of this room."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network
from manifoldscope.vision.preprocessing import Preprocessing


def images(n: int = 24, n_classes: int = 4, *, side: int = 8, channels: int = 3, seed: int = 0) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % n_classes
    base = torch.rand(n_classes, channels, side, side, generator=generator)
    pixels = (0.6 * base[labels] + 0.4 * torch.rand(n, channels, side, side, generator=generator)).clamp(0, 1)
    return ImageSet.of(pixels, labels)


def convolutional(n_classes: int = 4, *, channels: int = 3, seed: int = 0) -> Network:
    """A smooth random network with batch norm and normalisation inside, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(8 * 64, n_classes),
        )
    module.eval()
    return Network(
        module,
        name="convolutional",
        mean=(0.4,) * channels,
        std=(0.3,) * channels,
        preprocessing=Preprocessing(channels=channels),
    )


def fitted(images: ImageSet, *, steps: int = 60) -> Network:
    """The same network, trained until it knows these images."""
    network = convolutional(len(images.classes))
    pixels, labels = network.pixels(images), images.labels
    optimiser = torch.optim.Adam(network.module.parameters(), lr=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(pixels), labels).backward()
        optimiser.step()
    return network


class Wrapped(nn.Module):
    """A network as a plain module on images in [0, 1], as other libraries want it."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.inner = network.module
        self._network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return self._network(pixels)
