"""What each objective does to a small network on the digits: the table in docs/training.md.

    python benchmarks/objectives.py [--seeds 3] [--epochs 15]
    python benchmarks/objectives.py --costs

Prints clean accuracy, accuracy under PGD-20 at epsilon 0.1, and for shaping objectives the penalty of other images:
with the first weights, after standard training, and after training for the objective. Means over seeds.
With `--costs`, milliseconds on one thread: of each penalty with its gradients, of a training step, and of one with
channels last.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import mean, median

import torch
from torch import Tensor

from manifoldscope.attacks import PGD, evaluate
from manifoldscope.training import OBJECTIVES, Objective, Shaping, fit, logits_and_features
from manifoldscope.vision.datasets import images
from manifoldscope.vision.network import Network
from manifoldscope.vision.preprocessing import Preprocessing
from manifoldscope.vision.small import build

EPSILON, BATCH_SIZE, HELD_OUT = 0.1, 50, 500
DRAWN = images("digits", images_per_class=150)
TRAINING, OTHERS = DRAWN.subset(range(0, len(DRAWN), 2)), DRAWN.subset(range(1, len(DRAWN), 2))

Penalty = Callable[[Tensor, Tensor], Tensor]


def network(seed: int) -> Network:
    """A network with first weights."""
    module = build("cnn", channels=1, size=8, n_classes=10, seed=seed)
    return Network(module.eval(), preprocessing=Preprocessing(channels=1))


def trained(objective: Objective, seed: int, epochs: int) -> Network:
    """A network trained for an objective."""
    made = network(seed)
    fit(made, TRAINING, objective, epochs=epochs, batch_size=BATCH_SIZE, seed=seed)
    return made


def shaped(made: Network, penalty: Penalty) -> float:
    """A penalty of held-out images at the layer before the classifier."""
    with torch.no_grad():
        _, features = logits_and_features(made, made.pixels(OTHERS)[:HELD_OUT], "penultimate")
        return float(penalty(features, OTHERS.labels[:HELD_OUT]))


def milliseconds(work: Callable[[], object], repeats: int = 9) -> float:
    """The median of so many runs, after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - began))
    return median(times)


def step(module: torch.nn.Module, pixels: Tensor, labels: Tensor) -> None:
    """A step of plain training, without the optimiser's."""
    module.zero_grad()
    torch.nn.functional.cross_entropy(module(pixels), labels).backward()


def penalise(objective: Shaping, features: Tensor, labels: Tensor) -> None:
    """A penalty and its gradients."""
    objective.penalty(features, labels).backward()


def costs() -> None:
    """Print what penalties cost beside a training step, and what channels last would gain."""
    torch.set_num_threads(1)
    drawn, labels = torch.Generator().manual_seed(0), torch.arange(128) % 10
    print("| penalty of 128 images | 128 features | 3,136 features |\n|---|---|---|")
    for entry in OBJECTIVES:
        objective = entry.target() if issubclass(entry.target, Shaping) else None
        if isinstance(objective, Shaping):
            cells = []
            for n_features in (128, 3136):
                features = torch.randn(128, n_features, generator=drawn, requires_grad=True)
                cells.append(milliseconds(partial(penalise, objective, features, labels)))
            print(f"| {entry.name} | {' | '.join(f'{cell:.1f} ms' for cell in cells)} |")
    for name, channels, size in (("cnn", 1, 28), ("resnet20", 3, 32)):
        module = build(name, channels=channels, size=size, n_classes=10, seed=0)
        pixels = torch.rand(128, channels, size, size, generator=drawn)
        plain = milliseconds(partial(step, module, pixels, labels))
        module, pixels = module.to(memory_format=torch.channels_last), pixels.to(memory_format=torch.channels_last)
        last = milliseconds(partial(step, module, pixels, labels))
        print(
            f"a step of {name} on 128 images: {plain:.0f} ms; channels last {last:.0f} ms, "
            f"{plain / last:.2f} times as fast"
        )


def main() -> None:
    """Print the table, or the costs."""
    parser = argparse.ArgumentParser(description="What each objective does to a small network on the digits.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--costs", action="store_true")
    options = parser.parse_args()
    if options.costs:
        costs()
        return
    seeds = range(options.seeds)
    standard = [trained(OBJECTIVES["standard"].target(), seed, options.epochs) for seed in seeds]
    print("| objective | clean | PGD | penalty: first weights | standard training | this objective |")
    print("|---|---|---|---|---|---|")
    for entry in OBJECTIVES:
        objective = entry.target(**({"epsilon": EPSILON} if "epsilon" in entry.settings.model_fields else {}))
        if not objective.trains or "defence" in entry.traits:
            continue
        nets = standard if entry.name == "standard" else [trained(objective, seed, options.epochs) for seed in seeds]
        attack = PGD(epsilon=EPSILON, steps=20)
        outcomes = [evaluate(made, OTHERS, attack) for made in nets]
        clean, robust = (
            mean(getattr(each, name) for each in outcomes) for name in ("clean_accuracy", "robust_accuracy")
        )
        cells = [""] * 3
        if isinstance(objective, Shaping):
            groups = [[network(seed) for seed in seeds], standard, nets]
            cells = [f"{mean(shaped(made, objective.penalty) for made in group):.3g}" for group in groups]
        print(f"| {entry.name} | {clean:.3f} | {robust:.3f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
