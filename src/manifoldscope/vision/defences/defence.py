"""Defence: what is put in front of a network or around it, and the registry of all there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

from torch import Tensor, nn

from manifoldscope.errors import ModelError, StudyError
from manifoldscope.registry import Registry
from manifoldscope.settings import check_setting, check_settings
from manifoldscope.vision.network import Network, as_network, seeded

DEFENCES = Registry("defence", package="manifoldscope.vision.defences")
"""Every defence: a frozen dataclass derived from `Defence`, whose fields are its settings.

One that has parameters of its own, which have to be trained with the network, says `learned=True`.
"""


class Defence(ABC):
    """Makes of a network another one, of the same classes and for the same images."""

    def __post_init__(self) -> None:
        """Raise StudyError where a setting is not of its type; a subclass that checks more calls it first."""
        check_settings(StudyError, self)

    @abstractmethod
    def around(self, network: Network | nn.Module, *, seed: int = 0) -> Network:
        """The defended network: its name, preprocessing, normalisation and provenance are those of `network`.

        The module of `network` is not copied: it is the submodule `module` of the new one.

        Args:
            network: found again as it was; a module is shown pixels in [0, 1].
            seed: of the first weights, where the defence has any.

        Raises:
            ModelError: it does not fit this network, or there is none.
        """


class Front(nn.Module):
    """A module behind another one that changes its images.

    Attributes:
        front: from normalised images (n, channels, height, width) to images of the same shape.
        module: from these to logits.
    """

    def __init__(self, front: nn.Module, module: nn.Module) -> None:
        super().__init__()
        self.front, self.module = front, module
        self.training = module.training

    def forward(self, images: Tensor) -> object:
        """What the module gives for the changed images."""
        return self.module(self.front(images))


def with_front(
    network: Network | nn.Module, make: type[nn.Module], *, name: str, seed: int, **settings: object
) -> Network:
    """The network behind `make(channels=..., **settings)`, whose weights come from the stream of `name` under `seed`.

    The front is of the type, on the device and in the mode of the network.

    Raises:
        ModelError: it is not known how many channels the images have.
    """
    check_setting(StudyError, "seed", seed, int)
    network = as_network(network)
    channels = network.preprocessing.channels
    if channels is None:
        raise ModelError(
            f"{network.name} does not tell how many channels its images have, which the defence {name!r} has to know; "
            "give the network channels = 1 or 3"
        )
    with seeded(seed, "defence", name):
        front = make(channels=channels, **settings)
    like = next(network.module.parameters(), None)
    if like is not None:
        front = front.to(like.device, like.dtype if like.is_floating_point() else None)
    front.train(network.module.training)
    return replace(network, module=Front(front, network.module))
