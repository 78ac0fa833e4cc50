"""Context: what a unit of work needs at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from manifoldscope.errors import ModelError
from manifoldscope.study.draws import Drawn, Role, of_classes
from manifoldscope.study.networks import made
from manifoldscope.study.plan import Study
from manifoldscope.study.planning import PlannedNetwork
from manifoldscope.study.store import Store
from manifoldscope.vision.activations import IN_MEMORY, n_values
from manifoldscope.vision.fast import SEEN, FastNetwork, faster
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.memory import Footprint, Memory
from manifoldscope.vision.network import Network, logits
from manifoldscope.vision.weights import fit as fit_weights

POINTS = 0.25
"""Share of the memory that a process may take that the points of all layers take, at most; others lie in files."""

KEPT_LOGITS = 2**26
"""Bytes of the logits of clean images that are kept."""

Tick = Callable[[float], None]


class Context:
    """What a unit needs at hand: the study's images, its networks, and the store. One network is kept loaded."""

    def __init__(
        self,
        study: Study,
        store: Store,
        draws: Mapping[Role, Drawn],
        networks: Mapping[str, PlannedNetwork],
        device: torch.device,
        others: Mapping[str, Drawn] | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.study, self.store, self.draws, self.networks, self.device = study, store, draws, networks, device
        self.others, self.memory = others or {}, memory or Memory()
        self._loaded: tuple[str, Network] | None = None
        self._logits: dict[str, Tensor] = {}
        self._values: dict[tuple[str | int, ...], dict[str, int]] = {}
        self._fast: tuple[Network, FastNetwork] | None = None

    def shown(self, network: str, role: Role) -> ImageSet:
        """The images of one draw that a network is shown: of the classes that it is trained on."""
        labels = self.networks[network].labels
        return (self.draws[role] if labels is None else of_classes(self.draws[role], labels)).images

    def images(self, role: Role, label: int) -> ImageSet:
        """The images of one class in one draw."""
        return self.draws[role].images.of_class(label)

    def at_once(self, network: Network, images: ImageSet, *, widths: Sequence[int] = (), gradient: bool = False) -> int:
        """How many images go through a network at a time, of whose layers that many features are kept."""
        beside = Footprint(0, 8 * sum(widths))  # what a layer gives, and as it is copied
        most = min(self.study.batch_size, len(images))
        pixels = network.pixels(images, slice(0, 1))
        fits = self.memory.batch(network, pixels, most, gradient=gradient, beside=beside)
        return fits if fits < most else self.study.batch_size

    def points(self, n_layers: int) -> float:
        """Bytes that the points of each of so many layers may take in memory; those of a larger one lie in a file."""
        return min(IN_MEMORY, POINTS * self.memory.limit / max(1, n_layers))

    def untrained(self, name: str, *, seed: int | None = None) -> Network:
        """The network as its source makes it, with its defence; without the checkpoint, where it is trained here.

        Raises:
            ModelError: it cannot be made, or its weights cannot be loaded.
        """
        return made(self.networks[name], seed=seed).to(self.device)

    def network(self, name: str) -> Network:
        """The network, ready to be measured and attacked."""
        if self._loaded is None or self._loaded[0] != name:
            self._loaded = self._fast = None  # free the one before
            self._logits, self._values = {}, {}
            network = self.untrained(name)
            checkpoint = self.networks[name].checkpoint
            if checkpoint is not None:
                path, digest = self.store.checkpoint(checkpoint)
                if fit_weights(network.module, path, f"the checkpoint of {name}").digest != digest:
                    raise ModelError(f"the checkpoint of {name} has changed since it was written; run the study again")
            self._loaded = (name, network)
        return self._loaded[1]

    def logits(self, name: str, images: ImageSet) -> Tensor:
        """(n, n_classes) of clean images of the draws, on the CPU: each is shown once while the network is loaded."""
        network = self.network(name)
        if sum(row.nbytes for row in self._logits.values()) > KEPT_LOGITS:
            self._logits = {}
        new = [place for place, image in enumerate(images.names) if image not in self._logits]
        if new:
            some = images.subset(new)
            found = logits(network, some, batch_size=self.at_once(network, some))
            self._logits |= zip(some.names, found, strict=True)
        return torch.stack([self._logits[image] for image in images.names])

    def n_values(self, network: Network, images: ImageSet, layers: Sequence[str]) -> dict[str, int]:
        """How many values one image has in each layer; of the network that is loaded each is found once."""
        pixels = network.pixels(images, slice(0, 1))
        if self._loaded is None or network is not self._loaded[1]:
            return n_values(network, layers, pixels)
        asked = (*layers, *pixels.shape)
        if asked not in self._values:
            self._values[asked] = n_values(network, layers, pixels)
        return self._values[asked]

    def fast(self, name: str) -> FastNetwork:
        """The copy of the network that attacks ask, as the study has it; made once for all units in a row."""
        network = self.network(name)
        if self._fast is None or self._fast[0] is not network:
            self._fast = (network, self._made_faster(network))
        return self._fast[1]

    def _made_faster(self, network: Network) -> FastNetwork:
        if self.study.gradients == "own":
            return FastNetwork(network)
        return faster(network, network.pixels(self.draws["robustness"].images, slice(0, SEEN)).to(self.device))
