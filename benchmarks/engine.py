"""What the engine costs beside its gradients, and whether outcomes depend on how many images it is given at a time.

    python benchmarks/engine.py [--quick] [--json FILE] [--only overhead|batches]

Networks with real weights, and real images for them (see real_networks.py). Overhead: PGD with the network's own
gradients, beside a bare loop that takes as many gradients of the same module and judges nothing; in pairs, by turns.
Time is that of the processor, on one thread, so that other work on the machine counts for little. Batch sizes: PGD with
the faster copy on twelve networks, outcome by outcome.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import real_networks
from manifoldscope.attacks import PGD, evaluate
from manifoldscope.attacks.outcomes import Outcomes
from manifoldscope.attacks.perturbation import Iterates
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network, logits, undisturbed

STEPS, BATCH = 20, 100
MOST_OVERHEAD = 0.08
MOST_DIFFERENT = 0.001
SIZES = (7, 32, 100, 200)


def bare(network: Network, images: Tensor, labels: Tensor, attack: PGD, n_gradients: int) -> None:
    """So many gradients of images, in batches, each with its step; nothing is judged."""
    epsilon, size = attack.epsilon, attack.resolved_step_size
    with undisturbed(network):
        for start in range(0, len(images), BATCH):
            clean, truth = images[start : start + BATCH], labels[start : start + BATCH]
            moved = (clean + epsilon * (2 * torch.rand_like(clean) - 1)).clamp(0, 1)
            share = n_gradients * len(clean) // len(images)
            for _ in range(share // len(clean)):
                moved = _step(network, moved, clean, truth, epsilon, size)
            if rest := share % len(clean):
                _step(network, moved[:rest], clean[:rest], truth[:rest], epsilon, size)


def _step(network: Network, moved: Tensor, clean: Tensor, labels: Tensor, epsilon: float, size: float) -> Tensor:
    leaf = moved.detach().requires_grad_(True)
    loss = F.cross_entropy(network(leaf), labels, reduction="sum")
    moved = moved + size * torch.autograd.grad(loss, leaf)[0].sign()
    return torch.clamp(moved, clean - epsilon, clean + epsilon).clamp(0, 1)


def asked(found: Outcomes) -> int:
    """Gradients of images that an evaluation under "any" asks for: of each, until it is misclassified.

    The pass that shows it to be misclassified gives a gradient too, but for the last.
    """
    (after,) = found.misclassified_after
    return int(torch.where(after < 0, STEPS, (after + 1).clamp_max(STEPS)).sum())


def in_pairs(ours: Callable[[], Any], theirs: Callable[[], Any], pairs: int) -> tuple[list[float], list[float]]:
    """Seconds of the processor that each takes, by turns; the first of each pair is the second of the next."""
    taken: dict[str, list[float]] = {"ours": [], "theirs": []}
    for pair in range(pairs):
        for name, work in sorted({"ours": ours, "theirs": theirs}.items(), reverse=bool(pair % 2)):
            began = time.process_time()
            work()
            taken[name].append(time.process_time() - began)
    return taken["ours"], taken["theirs"]


def overhead(name: str, network: Network, n_images: int, pairs: int) -> list[dict[str, Any]]:
    """The rows of one network: an attack's call, and evaluations of it, on images that it classifies correctly."""
    drawn = real_networks.cifar(n_images // 5)
    known = (logits(network, drawn).argmax(1) == drawn.labels).nonzero().flatten()
    drawn = drawn.subset(known[torch.linspace(0, len(known) - 1, n_images).long()])  # of all classes
    pixels, labels, attack = network.pixels(drawn), drawn.labels, PGD(epsilon=8 / 255, steps=STEPS)

    def evaluated(iterate: Iterates) -> Outcomes:
        return evaluate(network, drawn, attack, batch_size=BATCH, iterate=iterate, fast=False)

    bare(network, pixels, labels, attack, len(drawn))  # the first pass pays for what is set up once
    all_steps = len(drawn) * STEPS
    works: dict[str, tuple[Callable[[], Any], int]] = {
        "the attack, last iterate": (lambda: attack(network, pixels, labels, batch_size=BATCH), all_steps),
        "evaluate, both iterates": (lambda: evaluated("both"), all_steps),
        "evaluate, any iterate": (lambda: evaluated("any"), asked(evaluated("any"))),
    }
    rows = []
    for work, (ours, n_gradients) in works.items():
        own, loop = in_pairs(ours, lambda n=n_gradients: bare(network, pixels, labels, attack, n), pairs)
        ratio = statistics.median(a / b for a, b in zip(own, loop, strict=True))
        rows.append(
            {
                "network": name,
                "work": work,
                "images": len(drawn),
                "gradients": n_gradients,
                "seconds": statistics.median(own),
                "bare_seconds": statistics.median(loop),
                "ratio": ratio,
                "ratios": [a / b for a, b in zip(own, loop, strict=True)],
                "load": os.getloadavg()[0],
            }
        )
        print(
            f"| {name} | {work} | {len(drawn)} | {n_gradients:,} | {rows[-1]['seconds']:.2f} s "
            f"| {rows[-1]['bare_seconds']:.2f} s | {100 * (ratio - 1):+.1f}% |",
            flush=True,
        )
    return rows


def batches(network: Network, told: dict[str, float], drawn: ImageSet, sizes: Sequence[int]) -> dict[str, Any]:
    """One network: accuracies, and outcomes that differ from those of batches of 100."""
    attacks = [PGD(epsilon=each / 255, steps=STEPS) for each in (2, 8)]
    found = {size: evaluate(network, drawn, attacks, batch_size=size, iterate="any") for size in {*sizes, BATCH}}
    tables = {size: each.table.sort("strength", "image")["robust_any"] for size, each in found.items()}
    usual = found[BATCH].table
    row = {
        "network": network.name,
        "outcomes": len(usual),
        "different": {size: int((tables[size] != tables[BATCH]).sum()) for size in sizes if size != BATCH},
        "clean": found[BATCH].clean_accuracy,
        **{
            f"pgd_{each}": part["robust_any"].sum() / len(part)
            for each, part in zip((2, 8), usual.partition_by("strength", maintain_order=True), strict=True)
        },
        "told": told,
    }
    shown = " | ".join(f"{row[name]:.3f} ({told[name]:.3f})" for name in ("clean", "pgd_2", "pgd_8"))
    print(f"| {network.name} | {shown} | {' | '.join(map(str, row['different'].values()))} |", flush=True)
    return row


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description="What the engine costs, and whether outcomes depend on batches.")
    parser.add_argument("--quick", action="store_true", help="a fifth of the images, two pairs, three networks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--only", choices=("overhead", "batches"), help="one of the two tables")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {"load_before": os.getloadavg()[0]}
    if options.only != "batches":
        print("| network | work | images | gradients | engine | bare loop | overhead |\n|---|---|---|---|---|---|---|")
        n_images, pairs = (100, 2) if options.quick else (500, 5)
        named = {"ResNet-20": real_networks.resnet20(), "adversarially trained": real_networks.robust_cifar()}
        results["overhead"] = [row for each in named.items() for row in overhead(*each, n_images, pairs)]
        print(f"\nexpected: at most {MOST_OVERHEAD:.0%}\n")
    if options.only != "overhead":
        sizes = (32, 100) if options.quick else SIZES
        others = [f"batches of {size}" for size in sizes if size != BATCH]
        print(f"| network | clean (told) | 2/255 (told) | 8/255 (told) | {' | '.join(others)} |")
        print("|---|---|---|---|" + "---|" * len(others))
        zoo = list(real_networks.cifar_zoo())[:: 4 if options.quick else 1]
        rows = [batches(network, told, real_networks.exact_cifar(), sizes) for network, told in zoo]
        different = sum(sum(row["different"].values()) for row in rows)
        compared = sum(row["outcomes"] * len(row["different"]) for row in rows)
        results["batches"] = rows
        print(f"\n{different} of {compared:,} outcomes differ from those of batches of {BATCH}", end="")
        print(f" ({different / compared:.3%}); expected: at most {MOST_DIFFERENT:.1%}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
