"""How far a faster copy of a network is off: on the few images it is compared on, and on the way of an attack.

    python benchmarks/copies.py

Real networks and images (MANIFOLDSCOPE_DATA; ../shared/data if omitted); about a minute on two CPU cores. A copy's
word on a class is believed by the first of these, times 100 (`manifoldscope.vision.fast`); the last column says how far
a single logit went beyond it.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

import real_networks
from manifoldscope.attacks.pgd import ascend
from manifoldscope.vision.fast import SEEN, faster
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network, undisturbed

STEPS = 10


def furthest(network: Network, images: ImageSet, epsilon: float) -> tuple[float, float]:
    """Difference of a logit, as a share of the largest: on the sample, and the largest on all iterates of PGD."""
    pixels, labels, off = network.pixels(images), images.labels, 0.0
    with undisturbed(network):
        fast = faster(network, pixels[:SEEN], propose=False)

        def gradient(iterate: torch.Tensor) -> torch.Tensor:
            nonlocal off
            leaf = iterate.detach().requires_grad_(True)
            logits = fast.network(leaf)
            with torch.no_grad():
                shares = (logits - network(leaf)).abs().amax(1) / logits.abs().amax(1).clamp_min(fast.largest)
            off = max(off, float(shares.max()))
            return torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), leaf)[0]

        ascend(gradient, pixels, pixels, epsilon=epsilon, step_size=epsilon / 4, steps=STEPS)
    return fast.difference, off


def main() -> None:
    """Print a line for each network and epsilon."""
    photographs = real_networks.photographs(2, easy=True)
    cifar, digits = real_networks.cifar(30), real_networks.mnist(30)
    print(f"{'network':<14} {'epsilon':>8} {'images':>7} {'sample':>9} {'iterates':>9} {'times':>6}")
    for network, images, radii in (
        (real_networks.robust_cifar(), cifar, (1 / 255, 8 / 255)),
        (real_networks.resnet20(), cifar, (1 / 255, 8 / 255)),
        (real_networks.robust_mnist(), digits, (0.1, 0.3)),
        (real_networks.resnet50(), photographs, (1 / 255, 4 / 255)),
        (real_networks.mobilenet(), photographs, (1 / 255, 4 / 255)),
    ):
        for epsilon in radii:
            sample, off = furthest(network, images, epsilon)
            print(
                f"{network.name:<14} {epsilon:>8.4f} {len(images):>7} {sample:>9.1e} {off:>9.1e} {off / sample:>6.1f}"
            )


if __name__ == "__main__":
    main()
