"""Noise on the image, and a vote over several draws of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from manifoldscope.errors import ModelError, StudyError
from manifoldscope.seeds import generator
from manifoldscope.settings import check_setting
from manifoldscope.vision.defences.defence import DEFENCES, Defence
from manifoldscope.vision.network import Network, as_logits, as_network


@DEFENCES.register("noise_vote")
@dataclass(frozen=True, kw_only=True)
class NoiseVote(Defence):
    """The mean of the class probabilities of several copies of an image, each with Gaussian noise of its own.

    After the smoothed classifier of Cohen et al. (2019), which counts the most probable class of each copy. A mean of
    probabilities has a gradient, and the noise is drawn once, so that an attack on this network is the attack on the
    expectation over its noise that Athalye et al. (2018) ask for, and repeated passes agree. Noise that is drawn anew
    is another network, `with_other_noise`, which an attack has not seen. As there, noisy pixels are not clipped.

    In training mode one copy of each image is shown to the network, with noise that is drawn anew from torch's global
    generator, as dropout does: so that any objective trains it on noisy images.

    Attributes:
        std: standard deviation of the noise, in pixel units (pixels are in [0, 1]).
        votes: number of copies. A pass takes about as many times the time and memory of one of the network alone.
        seed: of the noise, which is the same for all images.
    """

    std: float = 0.25
    votes: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.std) and self.std >= 0):
            raise StudyError(f"std = {self.std}; expected a standard deviation of at least 0, in pixel units")
        if self.votes < 1:
            raise StudyError(f"votes = {self.votes}; expected at least 1")

    def around(self, network: Network | nn.Module, *, seed: int = 0) -> Network:
        network = as_network(network)
        scale = torch.tensor([self.std / std for std in network.std])
        module = Votes(network.module, scale, votes=self.votes, seed=self.seed, name=network.name)
        return replace(network, module=module.to(network.device))


class Votes(nn.Module):
    """The logarithm of the mean probabilities that a module gives to noisy copies of its images.

    Args:
        module: from normalised images to logits.
        scale: (channels,) or (1,) standard deviation of the noise in the units of the normalised images.
        votes, seed: see `NoiseVote`.
        name: of the network, for errors.
    """

    scale: Tensor

    def __init__(self, module: nn.Module, scale: Tensor, *, votes: int, seed: int, name: str) -> None:
        super().__init__()
        self.module = module
        self.training = module.training
        self.register_buffer("scale", scale.view(-1, 1, 1), persistent=False)
        self._votes, self._seed, self._name = votes, seed, name

    def extra_repr(self) -> str:
        """What its weights do not say."""
        return f"votes={self._votes}, seed={self._seed}"

    def forward(self, images: Tensor) -> object:
        """Normalised images (n, channels, height, width) -> log probabilities (n, n_classes)."""
        scale = self.scale.to(images.dtype)
        if self.training:
            return self.module(images + scale * torch.randn_like(images))
        shape, stream = (self._votes, *images.shape[1:]), generator(self._seed, "votes")
        numbers = torch.randn(shape, generator=stream, dtype=torch.float32, device="cpu")
        noise = scale * numbers.to(images)
        # The last copy goes alone: whoever listens to a layer hears its last call, with a row for each image.
        parts = [images + noise[-1]]
        if self._votes > 1:
            parts.insert(0, (images + noise[:-1, None]).flatten(0, 1))
        logits = torch.cat([as_logits(self.module(part), len(part), name=self._name) for part in parts])
        votes = logits.view(self._votes, len(images), -1).log_softmax(-1)
        return votes.logsumexp(0) - math.log(self._votes)


def with_other_noise(network: Network, *, seed: int) -> Network:
    """A network that votes over noise, with noise of another seed; the module within is the same.

    An attack on the one network knows the noise of the one: how many of its adversarial examples the other
    misclassifies says how far robust accuracy depends on that.

    Raises:
        ModelError: the network does not vote over noise.
    """
    check_setting(StudyError, "seed", seed, int)
    votes = network.module
    if not isinstance(votes, Votes):
        raise ModelError(f"{network.name} does not vote over noise; make it one by NoiseVote().around(network)")
    other = Votes(votes.module, votes.scale, votes=votes._votes, seed=seed, name=votes._name)
    return replace(network, module=other)
