"""A small network that takes noise out of an image before the classifier sees it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from manifoldscope.errors import ModelError, StudyError
from manifoldscope.vision.defences.defence import DEFENCES, Defence, Front, with_front
from manifoldscope.vision.network import Network


@DEFENCES.register("denoiser", learned=True)
@dataclass(frozen=True, kw_only=True)
class Denoiser(Defence):
    """A residual convolutional network in front, which predicts the noise that is then subtracted.

    After DnCNN (Zhang et al. 2017), with fewer layers and without batch norm. Its last layer starts at 0, so that the
    network begins as it is without it. It is trained together with the network, by any objective; `denoise` teaches
    it to take out Gaussian noise.

    Attributes:
        layers: number of 3x3 convolutions.
        channels: of the layers between the first and the last.
    """

    layers: int = 4
    channels: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers < 2:
            raise StudyError(f"layers = {self.layers}; expected at least 2, a first one and a last one")
        if self.channels < 1:
            raise StudyError(f"channels = {self.channels}; expected at least 1")

    def around(self, network: Network | nn.Module, *, seed: int = 0) -> Network:
        return with_front(network, DenoiserFront, name="denoiser", seed=seed, layers=self.layers, hidden=self.channels)


class DenoiserFront(nn.Module):
    """An image without the noise that a network predicts in it.

    Attributes:
        noise: from images to their noise, (n, channels, height, width) both.
    """

    def __init__(self, *, channels: int, layers: int, hidden: int) -> None:
        super().__init__()
        widths = [channels, *[hidden] * (layers - 1), channels]
        parts: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            parts += [nn.Conv2d(n_in, n_out, kernel_size=3, padding=1), nn.ReLU()]
        self.noise = nn.Sequential(*parts[:-1])
        last = parts[-2]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(n, channels, height, width), normalised -> the same shape."""
        denoised: Tensor = images - self.noise(images)
        return denoised


def denoiser_of(network: Network) -> Front:
    """The module of a network that has a denoiser: `front` is the denoiser, `module` what stands behind it.

    Raises:
        ModelError: it has none.
    """
    module = network.module
    if not (isinstance(module, Front) and isinstance(module.front, DenoiserFront)):
        raise ModelError(
            f"{network.name} has no denoiser; give its table of [[models]] defence = 'denoiser', or in Python take "
            "Denoiser().around(network)"
        )
    return module
