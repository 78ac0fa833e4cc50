"""Subject: the images that a network is attacked on, with what it says of them when they are clean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from manifoldscope.attacks.engine import Source, require_class, require_label
from manifoldscope.attacks.perturbation import Rows
from manifoldscope.vision.batching import BatchSize
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network, first_pass, predicted
from manifoldscope.vision.reader import Reader


@dataclass(frozen=True, eq=False)
class Subject:
    """n images and a network.

    Attributes:
        logits, predictions: (n, n_classes) and (n,), on the CPU: what the network says of the clean images.
    """

    network: Network
    images: ImageSet
    logits: Tensor
    predictions: Tensor

    @classmethod
    def of(cls, network: Network, images: ImageSet, batch: BatchSize, logits: Tensor | None = None) -> Subject:
        """Show the clean images to the network, unless it is known what it says of them.

        Raises:
            DataError: images differ in size, and the network does not crop.
            ModelError: it gives NaN for every image, or has fewer outputs than there are labels.
        """
        if logits is None:
            logits = _logits(network, images, batch)
        predictions = predicted(logits)
        require_class(network, predictions)
        require_label(network, int(images.labels.max()), logits.shape[1])
        return cls(network, images, logits, predictions)

    @property
    def correct(self) -> Tensor:
        """(n,) which images are classified correctly when clean."""
        return self.predictions == self.images.labels

    def source(self, places: Tensor, *, stream: Callable[..., torch.Generator], ahead: int) -> Source:
        """Where an attack has its rows from.

        Args:
            places: (k,) which images are attacked, in the order in which they first come.
            stream: random numbers for the image of a name; in later runs, for that and their number.
            ahead: how many to read before they are asked for.
        """
        reader = Reader(self.network, self.images.subset(places), ahead=ahead)

        def source(places: Sequence[int], runs: Sequence[int]) -> Rows:
            some, device = torch.tensor(places, device="cpu"), self.network.device
            first = runs.count(0)  # these come first
            again = some[first:]
            clean = [reader.take(first)] if first else []
            clean += [self.network.pixels(self.images.subset(again)).to(device)] if len(again) else []
            self.network.check_sizes(part.shape[1:] for part in clean)
            named = [
                (self.images.names[place], *([run] if run else [])) for place, run in zip(places, runs, strict=True)
            ]
            return Rows(
                some.to(device),
                torch.tensor(runs, device=device),
                torch.cat(clean),
                self.images.labels[some].to(device),
                self.logits[some].to(device),
                [stream(*each) for each in named],
            )

        return source


def _logits(network: Network, images: ImageSet, batch: BatchSize) -> Tensor:
    """(n, n_classes), on the CPU, of clean images."""
    parts: list[Tensor] = []
    first = network.pixels(images, slice(0, 1)).shape[1:]

    def ask(where: slice) -> None:
        pixels = network.pixels(images, where)
        network.check_sizes([first, pixels.shape[1:]])
        with torch.no_grad():
            parts.append(first_pass(network, pixels).cpu())

    batch.over(len(images), ask)
    return torch.cat(parts)
