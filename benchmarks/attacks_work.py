"""One attack by one library, in a process of its own; what benchmarks/attacks.py compares.

    python benchmarks/attacks_work.py WHO NETWORK DEVICE IMAGES ITERATE STEPS BATCH EPSILON [EPSILON ...]

WHO is ours, ours_plain (without the faster copy), ours_sweep (strengths in one evaluation, which reuses outcomes),
ours_apart (each strength in an evaluation of its own), torchattacks, foolbox, art, or loop (a plain loop that shrinks
the batch as images are misclassified), all for PGD with a step of 2.5 epsilon / STEPS; ours_apgd and pyautoattack_apgd
for APGD-CE; ours_autoattack, pyautoattack_autoattack and torchattacks_autoattack for AutoAttack. NETWORK is resnet20,
robust, oval or resnet50; DEVICE cpu or cuda. ITERATE is last or any; the libraries know the last alone. The budget is
L-infinity.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import real_networks
from clock import resident, watched
from manifoldscope.attacks import APGDCE, PGD, AutoAttack, evaluate
from manifoldscope.attacks.ball import random_start
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network


def prepared(name: str, n_images: int, device: str = "cpu") -> tuple[Network, ImageSet]:
    """A network with real weights, and real images for it: as many of each class."""
    if name == "resnet50":
        network = real_networks.resnet50()
        both = [real_networks.photographs(n_images // 20, easy=easy) for easy in (True, False)]
        pixels = torch.cat([network.pixels(some) for some in both])
        return network.to(device), ImageSet.of(pixels, torch.cat([some.labels for some in both]))
    made = {"resnet20": real_networks.resnet20, "robust": real_networks.robust_cifar, "oval": real_networks.oval_base}
    drawn = real_networks.exact_cifar() if n_images == 200 else real_networks.cifar(n_images // 10)
    return made[name]().to(device), drawn


class Plain(nn.Module):
    """The network as other libraries want it: pixels in [0, 1] to logits, with its parameters as they come."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.module = network.module
        self.register_buffer("mean", torch.tensor(network.mean, device=network.device).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(network.std, device=network.device).view(1, -1, 1, 1))

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

    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=next(model.parameters()).device)
    return lambda x, y, epsilon, steps: foolbox.attacks.LinfPGD(rel_stepsize=2.5 / steps, steps=steps)(
        wrapped, x, y, epsilons=epsilon
    )[1]


def art(model: nn.Module) -> Attack:
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    def attack(x: Tensor, y: Tensor, epsilon: float, steps: int) -> Tensor:
        shape, device = tuple(x.shape[1:]), "gpu" if x.is_cuda else "cpu"
        classes = model(x[:1]).shape[1]
        wrapped = PyTorchClassifier(
            model, nn.CrossEntropyLoss(), shape, classes, clip_values=(0, 1), device_type=device
        )
        made = ProjectedGradientDescentPyTorch(
            wrapped,
            eps=epsilon,
            eps_step=2.5 * epsilon / steps,
            max_iter=steps,
            num_random_init=1,
            batch_size=len(x),
            verbose=False,
        )
        return torch.from_numpy(made.generate(x.cpu().numpy(), y.cpu().numpy())).to(x)

    return attack


def pyautoattack_apgd(model: nn.Module) -> Attack:
    import logging

    from pyautoattack.autopgd_base import APGDAttack

    def attack(x: Tensor, y: Tensor, epsilon: float, steps: int) -> Tensor:
        settings = {"eps": epsilon, "norm": "Linf", "device": x.device, "n_iter": steps, "loss": "ce"}
        made = APGDAttack(model, **settings, logger=logging.getLogger("apgd"))
        made.init_hyperparam(x)
        best, robust, _, adversarial = made.attack_single_run(x, y)
        return torch.where(robust.view(-1, 1, 1, 1), best, adversarial)

    return attack


def pyautoattack_autoattack(model: nn.Module) -> Attack:
    import pyautoattack

    def attack(x: Tensor, y: Tensor, epsilon: float, steps: int) -> Tensor:
        made = pyautoattack.AutoAttack(model, eps=epsilon, norm="Linf", seed=0)
        return made.run_standard_evaluation(x, y, batch_size=len(x))[0]

    return attack


def torchattacks_autoattack(model: nn.Module) -> Attack:
    import torchattacks

    def attack(x: Tensor, y: Tensor, epsilon: float, steps: int) -> Tensor:
        made = torchattacks.AutoAttack(model, norm="Linf", eps=epsilon, seed=0)
        for stage in made._autoattack.attacks[:3]:
            stage.steps = 100  # as its authors have it; here it is 10
        return made(x, y)

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
    stands = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    generator = torch.Generator().manual_seed(0)
    for own in torch.arange(len(x), device=x.device).split(batch):
        images, left = random_start(x[own], x.new_full((len(own),), epsilon), generator), own
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


def gradient_flops(model: nn.Module, image: Tensor) -> int:
    """Floating point operations of one gradient of an image (1, channels, height, width)."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        leaf = image.clone().requires_grad_(True)
        model(leaf).sum().backward()
    return int(counter.get_total_flops())


def product_rate(device: torch.device) -> float:
    """Operations a second of this device's float32 matrix products: the best of several."""
    one = torch.rand(2048, 2048, device=device)
    seconds = []
    for _ in range(6):
        began = time.perf_counter()
        float((one @ one)[0, 0])  # waits for the device
        seconds.append(time.perf_counter() - began)
    return 2 * 2048**3 / min(seconds)


def main() -> None:
    """Attack, and print a line of JSON: seconds, bytes beyond the network and the images, and what stands.

    For last iterates also the share of the machine's rate that the gradients alone reach.
    """
    who, name, device, n_images, iterate, steps, batch, *radii = sys.argv[1:]
    n_steps, size = int(steps), int(batch)
    epsilons = [float(radius) for radius in radii]
    network, drawn = prepared(name, int(n_images), device)
    network.module.eval()
    model = Plain(network).eval()
    x, y = network.pixels(drawn).to(device), drawn.labels.to(device)

    def work() -> list[list[bool]]:
        if who.startswith("ours"):
            made = {"ours_apgd": APGDCE, "ours_autoattack": AutoAttack}.get(who, PGD)
            attacks = [made(epsilon=epsilon, steps=n_steps) for epsilon in epsilons]
            found = [
                evaluate(
                    network,
                    drawn,
                    some,
                    batch_size=size,
                    iterate="any" if iterate == "any" else "both",
                    fast=who != "ours_plain",
                    reuse=who == "ours_sweep",
                ).table
                for some in ([attacks] if who == "ours_sweep" else attacks)
            ]
            column = "robust_any" if iterate == "any" and made is PGD else "robust_last"
            parts = [part for each in found for part in each.partition_by("strength", maintain_order=True)]
            return [
                part.sort("image")[column].to_list() for part in sorted(parts, key=lambda part: part["strength"][0])
            ]
        order = np.argsort(np.array(drawn.names))
        if who == "loop":
            stands = [by_loop(model, x, y, size, epsilon, n_steps) for epsilon in epsilons]
        else:
            attack = globals()[who](model)
            stands = [by_library(attack, model, x, y, size, epsilon, n_steps) for epsilon in epsilons]
        return [[bool(one) for one in each.cpu()[order]] for each in stands]

    with torch.no_grad():
        model(x[:size])  # the first pass pays for what is set up once
    if x.is_cuda:
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if x.is_cuda else resident()
    began = time.perf_counter()
    stands, highest = watched(work, every=0.02)
    seconds = time.perf_counter() - began
    highest = torch.cuda.max_memory_allocated() if x.is_cuda else highest
    found = {"seconds": seconds, "bytes": max(0, highest - before), "answer": stands}
    if iterate == "last":
        with torch.no_grad():
            n_in_distribution = int((model(x).argmax(1) == y).sum())
        n_attacked = n_in_distribution if who.startswith("ours") else len(x)
        operations = n_attacked * n_steps * gradient_flops(model, x[:1])
        found["share_of_rate"] = operations / seconds / product_rate(x.device)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
