"""A study as one would write it by hand, with torchattacks and scikit-learn; what benchmarks/whole_study.py compares.

python benchmarks/whole_study_peers.py IMAGES WEIGHTS ATTACKED MEASURED
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torchattacks
from PIL import Image
from scipy.stats import pearsonr
from sklearn.decomposition import PCA

EPSILONS, STEPS, BATCH = (0, 1, 2, 4, 8), 20, 100


def load(files: list[Path]) -> torch.Tensor:
    arrays = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 255


def main() -> None:
    images, weights, n_attacked, n_measured = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])
    sys.path.insert(0, str(weights / "zoo"))
    import zoo

    row = {"function": "resnet32", "file": "../cifar10/resnet32-d509ac18.th"}
    row |= {"mean": "0.485 0.456 0.406", "std": "0.229 0.224 0.225"}
    model = zoo.load(row, root=weights / "zoo", normalised=True)
    classes = sorted(folder for folder in images.iterdir() if folder.is_dir())
    files = [sorted(folder.iterdir())[: n_attacked + n_measured] for folder in classes]

    seen: list[torch.Tensor] = []
    hook = model.net.linear.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].flatten(1)))
    dimensions = []
    for each in files:
        seen.clear()
        with torch.no_grad():
            for part in load(each[n_attacked:]).split(BATCH):
                model(part)
        variance = PCA().fit(torch.cat(seen).numpy()).explained_variance_ratio_
        dimensions.append(int(np.searchsorted(np.cumsum(variance), 0.95)) + 1)
    hook.remove()

    x = torch.cat([load(each[:n_attacked]) for each in files])
    y = torch.arange(len(files)).repeat_interleave(n_attacked)
    found = {"dimension": dimensions, "accuracy": {}, "r": {}}
    for epsilon in EPSILONS:
        radius, right = epsilon / 255, []
        attack = torchattacks.PGD(model, eps=radius, alpha=2.5 * radius / STEPS, steps=STEPS)
        for part, labels in zip(x.split(BATCH), y.split(BATCH), strict=True):
            moved = attack(part, labels) if epsilon else part
            with torch.no_grad():
                right.append(model(moved).argmax(1) == labels)
        accuracy = torch.cat(right).view(len(files), -1).float().mean(1).tolist()
        found["accuracy"][epsilon] = accuracy
        found["r"][epsilon] = pearsonr(dimensions, accuracy).statistic if len(set(accuracy)) > 1 else None
    print(json.dumps(found))


if __name__ == "__main__":
    main()
