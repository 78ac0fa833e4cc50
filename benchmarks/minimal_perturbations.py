"""Searches for minimal perturbations beside each other, and beside Foolbox's FMN, on networks with real weights.

    python benchmarks/minimal_perturbations.py [--images N] [--norm NORM]

Of each search are counted the images on which it found nothing within the largest radius, and those that it placed more
than 1.2 times as far away as the nearest of all searches. Images are classified correctly when clean.
"""

from __future__ import annotations

import argparse
import math

import torch
from torch import Tensor

from manifoldscope.attacks import minimal_perturbation
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network
from peers import run_with_peers
from real_networks import exact_cifar, mnist, robust_cifar, zoo

LARGEST = {"linf": 0.5, "l2": 8.0}
FARTHER = 1.2
NETWORKS = ("mnist_madry_cnn_tiny", "mnist_conv_small_nat", "cifar_resnet4b")


def known(network: Network, images: ImageSet, n_images: int) -> ImageSet:
    """The first images that it classifies correctly."""
    with torch.no_grad():
        right = network(network.pixels(images)).argmax(1) == images.labels
    return images.subset(right.nonzero().flatten()[:n_images])


def foolbox_fmn(network: Network, images: ImageSet, norm: str) -> Tensor:
    """(n,) float64 distances, infinite where nothing was found."""
    import foolbox

    attack = {"linf": foolbox.attacks.LInfFMNAttack, "l2": foolbox.attacks.L2FMNAttack}[norm](steps=100)
    pixels = network.pixels(images)

    class Pixels(torch.nn.Module):
        def forward(self, shown: Tensor) -> Tensor:
            return network(shown)

    found = attack.run(
        foolbox.PyTorchModel(Pixels().eval(), bounds=(0, 1)), pixels, foolbox.criteria.Misclassification(images.labels)
    )
    away = torch.linalg.vector_norm((found - pixels).flatten(1).double(), ord=math.inf if norm == "linf" else 2, dim=1)
    with torch.no_grad():
        wrong = network(found).argmax(1) != images.labels
    return torch.where(wrong & (away <= LARGEST[norm]), away, torch.inf)


def distances(network: Network, images: ImageSet, norm: str) -> dict[str, Tensor]:
    """(n,) float64 by the name of the search."""
    found = {}
    for attack in ("pgd", "fab", "fmn"):
        table = minimal_perturbation(network, images, attack=attack, norm=norm, largest=LARGEST[norm], tolerance=1e-2)
        found[attack] = torch.tensor(table["minimal_epsilon"].to_list(), dtype=torch.float64)
    return found | {"Foolbox's fmn": foolbox_fmn(network, images, norm)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Searches for minimal perturbations beside each other.")
    parser.add_argument("--images", type=int, default=50, help="of each network; 50 if omitted")
    parser.add_argument("--norm", choices=LARGEST, help="both if omitted")
    options = parser.parse_args()
    run_with_peers("attacks")
    headings = ("network", "norm", "search", "images", "not found", "over 1.2 times the nearest", "median")
    print(f"| {' | '.join(headings)} |\n|{'---|' * len(headings)}")
    for name in NETWORKS:
        network = robust_cifar() if name == "cifar_resnet4b" else zoo(name)
        drawn = mnist(1 + options.images // 9) if name.startswith("mnist") else exact_cifar()
        images = known(network, drawn, options.images)
        for norm in [options.norm] if options.norm else LARGEST:
            found = distances(network, images, norm)
            nearest = torch.stack(list(found.values())).amin(0)
            for search, each in found.items():
                lost, far = int(each.isinf().sum()), int((each > FARTHER * nearest).sum())
                print(
                    f"| {name} | {norm} | {search} | {len(images)} | {lost} | {far} | {each.median():.4f} |", flush=True
                )


if __name__ == "__main__":
    main()
