"""Train `small:cnn` on MNIST for one objective, and attack it: for trying recipes before they stand in a study.

python benchmarks/recipes.py n_fgsm --mnist FOLDER --epochs 8 --set epsilon=0.3 noise=1.0 --learning-rate 5e-3
"""

from __future__ import annotations

import argparse
import time
from ast import literal_eval
from pathlib import Path

from manifoldscope.attacks import PGD, evaluate
from manifoldscope.training import OBJECTIVES, fit
from manifoldscope.vision.datasets import images
from manifoldscope.vision.network import Network
from manifoldscope.vision.preprocessing import Preprocessing
from manifoldscope.vision.small import build

EPSILON = 0.3


def main() -> None:
    """Train, print what was seen after each epoch, and the accuracies on 1,000 test images."""
    parser = argparse.ArgumentParser(description="Train small:cnn on MNIST for one objective, and attack it.")
    parser.add_argument("objective", choices=OBJECTIVES.names())
    parser.add_argument("--mnist", type=Path, required=True, help="the folder of the idx files")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=NUMBER", help="settings of the objective")
    options = parser.parse_args()
    try:
        settings = {key: literal_eval(value) for key, value in (each.split("=", 1) for each in options.set)}
    except (ValueError, SyntaxError):
        parser.error(f"--set {' '.join(options.set)}: expected names and numbers, such as epsilon=0.3 steps=7")
    entry = OBJECTIVES[options.objective]
    objective = entry.target(**entry.validate(settings))
    network = Network(build("cnn", channels=1, size=28, n_classes=10, seed=0), preprocessing=Preprocessing(channels=1))
    training = images("mnist", root=str(options.mnist), split="train")
    began = time.monotonic()
    schedule = {"epochs": options.epochs, "batch_size": options.batch_size, "learning_rate": options.learning_rate}
    for epoch in fit(network, training, objective, **schedule):
        print(f"epoch {epoch.epoch}: loss {epoch.loss:.3f}, robust to FGSM {epoch.n_robust_fgsm}, to PGD "
              f"{epoch.n_robust_pgd} of {epoch.n_images}")  # fmt: skip
    seconds = time.monotonic() - began
    test = images("mnist", root=str(options.mnist), split="test", images_per_class=100)
    found = evaluate(network, test, PGD(epsilon=EPSILON, steps=40, relative_step_size=0.05), iterate="any")
    print(f"{seconds:.0f} s; clean {found.clean_accuracy:.1%}; PGD-40 at {EPSILON} {found.robust_accuracy_any:.1%}")


if __name__ == "__main__":
    main()
