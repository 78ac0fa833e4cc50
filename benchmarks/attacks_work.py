"""One attack by one library, in a process of its own; what benchmarks/attacks.py compares.

    python benchmarks/attacks_work.py WHO NETWORK ITERATE STEPS BATCH EPSILON [EPSILON ...]

WHO is ours, ours_plain (without the faster copy), ours_sweep, torchattacks, foolbox, art, or loop: a plain loop that
shrinks the batch as images fall. NETWORK is resnet20, robust or resnet50. ITERATE is last or any; the libraries know
the last alone. The budget is L-infinity, the step 2.5 epsilon / STEPS.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clock import resident, watched
from manifoldscope.robustness import PGD, evaluate
from manifoldscope.robustness.ball import random_start
from manifoldscope.vision.datasets import images as dataset
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network, Preprocessing
from manifoldscope.vision.sources import network as source
from real_networks import robust_cifar

SHARED = Path(os.environ.get("MANIFOLDSCOPE_DATA", "../shared/data"))
WEIGHTS = SHARED.parent / "weights"
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
PHOTOGRAPHS, IMAGES = 32, 1000


def prepared(name: str) -> tuple[Network, ImageSet]:
    """A network with real weights, and real images for it."""
    if name == "resnet50":
        found = source("torchvision:resnet50", weights=str(WEIGHTS / "imagenet" / "resnet50.safetensors"), **IMAGENET)
        wnids = [line.split()[0] for line in (SHARED / "imagenet-wnids.txt").read_text().splitlines()]
        drawn = dataset("folder", root=str(SHARED / "imagenet-20" / "val"), seed=0)
        few = torch.randperm(len(drawn), generator=torch.Generator().manual_seed(0))[:PHOTOGRAPHS].tolist()
        crop = Preprocessing(resize=224, crop=224)
        pixels = torch.stack([crop(drawn.read(place)) for place in few])
        labels = [wnids.index(drawn.class_names[int(drawn.labels[place])]) for place in few]
        return found, ImageSet.of(pixels, labels)
    many = dataset("folder", root=str(SHARED / "cifar10-jpeg" / "test"), images_per_class=IMAGES // 10, seed=0)
    drawn = ImageSet.of(torch.stack([many.read(place) for place in range(len(many))]).float() / 255, many.labels)
    if name == "resnet20":
        weights = str(WEIGHTS / "cifar10" / "resnet20-12fca82f.th")
        return source("small:resnet20", weights=weights, channels=3, size=32, n_classes=10, **IMAGENET), drawn
    return robust_cifar(), drawn


class Plain(nn.Module):
    """The network as other libraries want it: pixels in [0, 1] to logits, with its parameters as they come."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.module = network.module
        self.register_buffer("mean", torch.tensor(network.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(network.std).view(1, -1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.module((pixels - self.mean) / self.std)


Attack = Callable[[Tensor, Tensor, float, int], Tensor]


def torchattacks(model: nn.Module) -> Attack:
    import torchattacks

    return lambda x, y, epsilon, steps: torchattacks.PGD(model, eps=epsilon, alpha=2.5 * epsilon / steps, steps=steps)(
        x, y
    )


def foolbox(model: nn.Module) -> Attack:
    import foolbox

    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    return lambda x, y, epsilon, steps: foolbox.attacks.LinfPGD(rel_stepsize=2.5 / steps, steps=steps)(
        wrapped, x, y, epsilons=epsilon
    )[1]


def art(model: nn.Module) -> Attack:
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    def attack(x: Tensor, y: Tensor, epsilon: float, steps: int) -> Tensor:
        shape = tuple(x.shape[1:])
        classes = model(x[:1]).shape[1]
        wrapped = PyTorchClassifier(model, nn.CrossEntropyLoss(), shape, classes, clip_values=(0, 1), device_type="cpu")
        made = ProjectedGradientDescentPyTorch(
            wrapped,
            eps=epsilon,
            eps_step=2.5 * epsilon / steps,
            max_iter=steps,
            num_random_init=1,
            batch_size=len(x),
            verbose=False,
        )
        return torch.from_numpy(made.generate(x.numpy(), y.numpy()))

    return attack


def by_library(
    attack: Attack, model: nn.Module, x: Tensor, y: Tensor, batch: int, epsilon: float, steps: int
) -> Tensor:
    """(n,): what stands at the last iterate, judged by a pass of the plain network."""
    stands = []
    for own, labels in zip(x.split(batch), y.split(batch), strict=True):
        last = attack(own, labels, epsilon, steps)
        with torch.no_grad():
            stands.append((model(own).argmax(1) == labels) & (model(last).argmax(1) == labels))
    return torch.cat(stands)


def by_loop(model: nn.Module, x: Tensor, y: Tensor, batch: int, epsilon: float, steps: int) -> Tensor:
    """(n,): what stands at every iterate; a plain loop whose batch shrinks as images fall."""
    stands = torch.zeros(len(x), dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    for own in torch.arange(len(x)).split(batch):
        images, left = random_start(x[own], epsilon, generator), own
        for step in range(steps + 1):
            leaf = images.detach().requires_grad_(True)
            logits = model(leaf)
            stand = logits.argmax(1) == y[left]
            if step == steps or not stand.any():
                break
            (gradient,) = torch.autograd.grad(F.cross_entropy(logits, y[left], reduction="sum"), leaf)
            images = images + 2.5 * epsilon / steps * gradient.sign()
            images = torch.clamp(images, x[left] - epsilon, x[left] + epsilon).clamp(0, 1)[stand]
            left = left[stand]
        with torch.no_grad():
            stands[left[stand] if step == steps else left[:0]] = True
            stands[own] &= model(x[own]).argmax(1) == y[own]
    return stands


def main() -> None:
    """Attack, and print a line of JSON: seconds, bytes beyond the network and the images, and what stands."""
    who, name, iterate, steps, batch, *radii = sys.argv[1:]
    n_steps, size = int(steps), int(batch)
    epsilons = [float(radius) for radius in radii]
    network, drawn = prepared(name)
    network.module.eval()
    model = Plain(network).eval()
    x, y = network.pixels(drawn), drawn.labels

    def work() -> list[list[bool]]:
        if who.startswith("ours"):
            found = evaluate(
                network,
                drawn,
                [PGD(epsilon=epsilon, steps=n_steps) for epsilon in epsilons],
                batch_size=size,
                iterate="any" if iterate == "any" else "both",
                fast=who != "ours_plain",
                reuse=who == "ours_sweep",
            )
            column = "survived_any" if iterate == "any" else "survived_last"
            if found.fast is not None:
                print(f"faster copy: {found.fast}", file=sys.stderr)
            return [
                found.table.filter((found.table["strength"] - epsilon).abs() < 1e-9).sort("image")[column].to_list()
                for epsilon in epsilons
            ]
        order = np.argsort(np.array(drawn.names))
        if who == "loop":
            stands = [by_loop(model, x, y, size, epsilon, n_steps) for epsilon in epsilons]
        else:
            attack = globals()[who](model)
            stands = [by_library(attack, model, x, y, size, epsilon, n_steps) for epsilon in epsilons]
        return [[bool(one) for one in each[order]] for each in stands]

    with torch.no_grad():
        model(x[:size])  # the first pass pays for what is set up once
    before = resident()
    began = time.perf_counter()
    stands, highest = watched(work, every=0.02)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "bytes": max(0, highest - before), "answer": stands}))


if __name__ == "__main__":
    main()
