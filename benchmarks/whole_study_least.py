"""The passes alone that a whole study cannot do without, by a loop that checks, keeps and draws nothing.

    python benchmarks/whole_study_least.py IMAGES WEIGHTS ATTACKED MEASURED ITERATE

What benchmarks/whole_study.py compares as `least`: images read once, those that are measured passed once, and PGD by
the faster copy of the network. Under "any" an image leaves once it is misclassified, and is not attacked at a larger
epsilon.
"""

from __future__ import annotations

import json
import sys

import torch
from torch.nn import functional as F

from manifoldscope.vision.datasets import images as dataset
from manifoldscope.vision.fast import faster
from manifoldscope.vision.network import logits
from manifoldscope.vision.sources import network as source
from real_networks import IMAGENET

EPSILONS, STEPS, BATCH = (1, 2, 4, 8), 20, 64


def main() -> None:
    """Print the accuracy of each class at each epsilon, as JSON."""
    folder, weights, n_attacked, n_measured, iterate = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:5]), sys.argv[5]
    drawn = dataset("folder", root=folder, images_per_class=n_attacked + n_measured, seed=0)
    attacked = torch.cat([(drawn.labels == label).nonzero().flatten()[:n_attacked] for label in drawn.classes])
    rest = torch.ones(len(drawn), dtype=torch.bool).index_fill(0, attacked, False)
    file = f"{weights}/cifar10/resnet32-d509ac18.th"
    network = source("small:resnet32", weights=file, channels=3, size=32, n_classes=10, **IMAGENET)
    network.module.eval()
    logits(network, drawn.subset(rest), batch_size=BATCH)
    pixels, labels = network.pixels(drawn.subset(attacked)), drawn.labels[attacked]
    copy = faster(network, pixels[:8]).network
    correct = logits(network, drawn.subset(attacked), batch_size=BATCH).argmax(1) == labels
    found, n_gradients, stands = {0: correct}, 0, correct.clone()
    for epsilon in EPSILONS:
        radius = epsilon / 255
        stands = stands.clone() if iterate == "any" else correct.clone()
        left = stands.nonzero().flatten()
        moved = (pixels + radius * (2 * torch.rand_like(pixels) - 1)).clamp(0, 1)
        for _ in range(STEPS):
            for part in left.split(BATCH):
                leaf = moved[part].requires_grad_()
                answer = copy(leaf)
                (slope,) = torch.autograd.grad(F.cross_entropy(answer, labels[part], reduction="sum"), leaf)
                n_gradients += len(part)
                if iterate == "any":
                    stands[part] = answer.argmax(1) == labels[part]
                stepped = leaf.detach() + 2.5 * radius / STEPS * slope.sign()
                moved[part] = stepped.clamp(pixels[part] - radius, pixels[part] + radius).clamp(0, 1)
            if iterate == "any":
                left = stands.nonzero().flatten()
        with torch.no_grad():
            for part in left.split(BATCH):
                stands[part] &= network(moved[part]).argmax(1) == labels[part]
        found[epsilon] = stands
    accuracy = {epsilon: right.view(-1, n_attacked).float().mean(1).tolist() for epsilon, right in found.items()}
    print(json.dumps({"accuracy": accuracy, "gradients": n_gradients}))


if __name__ == "__main__":
    main()
