"""What attacks reach on a GPU: images a second, and the share of the device's rate of matrix products.

    make gpu          the tests that need a GPU, and this, in some minutes
    python benchmarks/gpu.py [--device cuda] [--quick] [--json gpu.json]

Networks have random weights, images are random, and labels are what the network says of them: no files are needed. What
is counted is work, passes and their rate, and not success.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from manifoldscope.attacks import PGD, AutoAttack, Perturbation, evaluate
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network, logits
from manifoldscope.vision.sources import network as source


def rate(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """Operations a second of matrix products: the best of several."""
    one = torch.rand(side, side, device=device, dtype=dtype)
    seconds = []
    for _ in range(6):
        began = time.perf_counter()
        float((one @ one)[0, 0])  # waits for the device
        seconds.append(time.perf_counter() - began)
    return 2 * side**3 / min(seconds)


def gradient_operations(network: Network, side: int) -> int:
    """Floating point operations of the gradient of one image."""
    with FlopCounterMode(display=False) as counter:
        leaf = torch.rand(1, 3, side, side, device=network.device, requires_grad=True)
        torch.autograd.grad(network(leaf).sum(), leaf)
    return int(counter.get_total_flops())


def attacked(network: Network, attack: Perturbation, side: int, n_images: int, batch: int) -> dict[str, Any]:
    """Seconds of an evaluation, the images it was shown, and what its gradients reach."""
    pixels = torch.rand(n_images, 3, side, side, generator=torch.Generator().manual_seed(0))
    unlabelled = ImageSet.of(pixels, torch.zeros(n_images, dtype=torch.int64))
    images = ImageSet.of(pixels, logits(network, unlabelled, batch_size=batch).argmax(1))
    evaluate(network, images.subset(torch.arange(batch)), PGD(epsilon=1e-4, steps=1), batch_size=batch)  # sets up
    began = time.perf_counter()
    found = evaluate(network, images, attack, batch_size=batch, iterate="both")
    seconds = time.perf_counter() - began
    return {
        "attack": f"{attack.kind} {attack.parameters}",
        "n_images": n_images,
        "seconds": seconds,
        "images_per_second": n_images / seconds,
        "robust": found.robust_accuracy,
    }


def main() -> None:
    """Print what was found, and write it."""
    parser = argparse.ArgumentParser(description="What attacks reach on a GPU.")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="few images and steps, to try the script")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"), metavar="FILE")
    options = parser.parse_args()
    device, quick = torch.device(options.device), options.quick
    side = 256 if quick else 8192
    report: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "torch": torch.__version__,
        "float32_rate": rate(device, torch.float32, side),
        "bfloat16_rate": rate(device, torch.bfloat16, side),
        "rows": [],
    }
    steps, n = (2, 8) if quick else (20, 4096)
    small = {"channels": 3, "size": 32, "n_classes": 10}
    for name, made, image_side, n_images, batch in (
        ("small:resnet20", source("small:resnet20", **small), 32, n, min(n, 1024)),
        ("torchvision:resnet50", source("torchvision:resnet50"), 224 if not quick else 64, n // 8, min(n // 8, 128)),
    ):
        network = made.to(device)
        network.module.eval()
        operations = gradient_operations(network, image_side)
        attacks: list[Perturbation] = [PGD(epsilon=1e-4, steps=steps)]  # so small that all images take every step
        if name.startswith("small"):
            attacks.append(AutoAttack(epsilon=1e-4, steps=steps, targets=3, queries=10 * steps))
        for attack in attacks:
            row = {"network": name, **attacked(network, attack, image_side, n_images, batch)}
            if isinstance(attack, PGD):
                row["share_of_float32_rate"] = n_images * steps * operations / row["seconds"] / report["float32_rate"]
            report["rows"].append(row)
            print(json.dumps(row), flush=True)
    options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
