"""Are these the right mean and std? Clean accuracy may hardly tell, and robust accuracy fall to nothing.

A network that was trained on other values often classifies clean images as well as ever: the rows show what its first
layer sees, and how accurate it is under the usual alternatives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from manifoldscope.attacks.checks.row import Row, check, share_interval
from manifoldscope.errors import AttackError
from manifoldscope.vision.images import ImageSet, batches
from manifoldscope.vision.network import Network, predicted, undisturbed

N_IMAGES = 128
"""Images that are shown under each normalisation."""

CLEARLY = 0.05
"""A difference of clean accuracy that is a clear margin."""


@dataclass(frozen=True)
class Usual:
    """A mean and std in common use.

    Attributes:
        channels: of the images it is used for; None for any.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int | None = None


USUAL = (
    Usual("none", (0.0,), (1.0,)),
    Usual("0.5 / 0.5", (0.5,), (0.5,)),
    Usual("pixels to 255", (0.0,), (1 / 255,)),
    Usual("MNIST's", (0.1307,), (0.3081,), channels=1),
    Usual("ImageNet's", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), channels=3),
    Usual("CIFAR-10's", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), channels=3),
)

N_PASSES = 1 + len(USUAL)
"""What the rows cost at most, in passes of each image."""


def normalisation_checks(network: Network, images: ImageSet, *, batch_size: int = 128) -> list[Row]:
    """The rows on what the first layer sees, and on the clean accuracy under the usual means and stds.

    The second fails only where another normalisation is clearly better: by more than 5 points, and by more than the 95%
    interval of its accuracy.

    Args:
        network: found again as it was.
        images: labelled images; at most 128 of them, evenly spread, are used.
        batch_size: images at a time.

    Raises:
        AttackError: no images.
    """
    pixels, labels = evenly_spread(network, images)
    with undisturbed(network), _first_layer(network) as seen:
        n_correct = correct_among(network, pixels, labels, batch_size)
    rows = [_range(network, seen)]
    others = [
        (usual, replace(network, mean=usual.mean, std=usual.std))
        for usual in USUAL
        if usual.channels in (None, pixels.shape[1]) and not _same(usual, network)
    ]
    with undisturbed(network):
        counts = {usual.name: correct_among(other, pixels, labels, batch_size) for usual, other in others}
    return [*rows, _alternatives(network, n_correct, counts, len(labels))]


def evenly_spread(network: Network, images: ImageSet) -> tuple[Tensor, Tensor]:
    """Pixels (n, channels, height, width) and labels (n,) of at most `N_IMAGES` images, from the first to the last.

    Raises:
        AttackError: no images.
    """
    if not len(images):
        raise AttackError("0 images; expected at least one")
    spread = slice(0, len(images), -(-len(images) // N_IMAGES))
    return network.pixels(images, spread), images.labels[spread]


def correct_among(network: Network, pixels: Tensor, labels: Tensor, batch_size: int) -> int:
    """How many of pixels (n, channels, height, width) a network, as it is, classifies correctly."""
    with torch.no_grad():
        classes = [predicted(network(pixels[where].to(network.device))) for where in batches(len(pixels), batch_size)]
    return int((torch.cat(classes).cpu() == labels).sum())


@dataclass
class _Seen:
    """The values that the first layer saw."""

    layer: str = ""
    low: float = torch.inf
    high: float = -torch.inf
    total: float = 0.0
    n: int = 0

    def add(self, layer: str, values: Tensor) -> None:
        low, high = (float(end) for end in torch.aminmax(values))
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.total, self.n, self.layer = self.total + float(values.double().sum()), self.n + values.numel(), layer


@contextmanager
def _first_layer(network: Network) -> Iterator[_Seen]:
    """What the first convolution, linear layer or batch norm sees; where there is none, the whole network."""
    kinds = (nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._BatchNorm)
    layers: dict[nn.Module, str] = {
        child: name for name, child in network.module.named_modules() if isinstance(child, kinds)
    }
    seen = _Seen()
    first: list[nn.Module] = []

    def note(module: nn.Module, given: Sequence[Tensor]) -> None:
        if not first:
            first.append(module)
        if module is first[0] and given:
            seen.add(layers.get(module, "") or "the network", given[0])

    handles = [child.register_forward_pre_hook(note) for child in layers or [network.module]]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _range(network: Network, seen: _Seen) -> Row:
    note = "no layer with weights was seen"
    if seen.n:
        note = (
            f"{seen.low:.3g} to {seen.high:.3g}, mean {seen.total / seen.n:.3g}, in {seen.layer}, with mean "
            f"{_values(network.mean)} and std {_values(network.std)}"
        )
    return check("normalisation", None, None, "pixels the first layer sees: those that it was trained on", note)


def _alternatives(network: Network, n_correct: int, counts: dict[str, int], n: int) -> Row:
    present = n_correct / n
    best = max(counts, key=lambda name: counts[name])
    gain = counts[best] / n - present
    better = gain > CLEARLY and share_interval(counts[best], n)[0] > present
    each = ", ".join(f"{count / n:.1%} with {name}" for name, count in counts.items())
    close = [name for name, count in counts.items() if count / n >= present - CLEARLY]
    note = f"clean accuracy on {n} images: {present:.1%} as it is, {each}"
    if better:
        mean, std = next((_values(usual.mean), _values(usual.std)) for usual in USUAL if usual.name == best)
        note += f"; is {best} what it was trained with? If so, give it as mean = [{mean}] and std = [{std}]"
    elif close:
        note += (
            f"; clean accuracy does not tell {' or '.join(close)} from the present one, and robust accuracy may: look "
            "up what the network was trained with"
        )
    return check(
        "usual normalisations",
        False if better else None,
        gain,
        f"no other mean and std is better by more than {CLEARLY:.0%} of the images, beyond its 95% interval",
        note,
    )


def _same(usual: Usual, network: Network) -> bool:
    """Equal to two digits or so, where one value may stand for every channel: no more than that is often quoted."""
    pairs = ((usual.mean, network.mean), (usual.std, network.std))
    return all(abs(a - b) <= 5e-3 for ours, theirs in pairs for a, b in zip(*_matched(ours, theirs), strict=True))


def _matched(one: Sequence[float], other: Sequence[float]) -> tuple[list[float], list[float]]:
    n = max(len(one), len(other))
    return list(one) * (n // len(one)), list(other) * (n // len(other))


def _values(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in (values if len(set(values)) > 1 else values[:1]))
