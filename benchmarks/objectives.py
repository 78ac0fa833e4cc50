"""What each objective does to a small network on the digits: the table in docs/training.md.

    python benchmarks/objectives.py [--seeds 3] [--epochs 15]

Prints clean accuracy, accuracy under PGD-20 at epsilon 0.1, and for shaping objectives the penalty of other images:
with the first weights, after standard training, and after training for the objective. Means over seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import mean

import torch
from torch import Tensor

from manifoldscope.attacks import PGD, evaluate
from manifoldscope.training import OBJECTIVES, Objective, Shaping, fit, logits_and_features
from manifoldscope.vision.datasets import images
from manifoldscope.vision.network import Network, Preprocessing
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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What each objective does to a small network on the digits.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=15)
    options = parser.parse_args()
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
        outcomes = [evaluate(made, OTHERS, attack, iterate="last") for made in nets]
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
