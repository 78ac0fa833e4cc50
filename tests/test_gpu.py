"""What only a GPU shows: float32 that is float32, and outcomes that are those of the CPU.

    python -m pytest tests/test_gpu.py

All of it is skipped where there is none.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from manifoldscope.attacks import PGD, evaluate
from manifoldscope.vision.fast import faster
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network, logits
from manifoldscope.vision.sources import network as source
from tests.attacks.networks import fitted, images
from tests.vision.test_reader import files

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")


def on_gpu(network: Network) -> Network:
    return replace(network, module=copy.deepcopy(network.module).cuda())


def small() -> Network:
    return source("small:resnet20", channels=3, size=32, n_classes=10)


def test_logits_are_those_of_the_cpu_to_the_precision_of_float32() -> None:
    drawn = images(64, side=32)
    network = small()
    expected = logits(network, drawn)
    difference = (logits(on_gpu(network), drawn) - expected).abs().max() / expected.abs().max()
    assert difference < 1e-4  # TF32 is some 1e-3 off


@pytest.mark.parametrize("iterate", ["any", "both"])
def test_outcomes_are_those_of_the_cpu(iterate: str) -> None:
    drawn = images(192)
    network = fitted(drawn)
    attack = PGD(epsilon=0.12, steps=8)
    expected = evaluate(network, drawn, attack, batch_size=32, iterate=iterate, fast=False)
    device = on_gpu(network)
    fast = faster(device, device.pixels(drawn, slice(0, 8)).cuda())
    found = evaluate(device, drawn, attack, batch_size=32, iterate=iterate, fast=fast, keep_images=True)
    assert found.fast is not None
    assert found.fast.n_checked > 0
    assert found.fast.n_differ == 0
    column = f"robust_{'any' if iterate == 'any' else 'last'}"
    tipped = (found.table[column] != expected.table[column]).sum()
    assert tipped <= 2  # the order of additions may tip an image that stands on the boundary
    kept = logits(network, ImageSet.of(found.adversarial[0], drawn.labels)).argmax(1)
    assert (kept != found.predictions[0]).sum() <= 2


def test_images_that_are_read_ahead_have_the_same_outcomes(tmp_path: Path) -> None:
    drawn = images(96)
    network = on_gpu(fitted(drawn))
    attack = PGD(epsilon=0.12, steps=6)
    in_files = files(tmp_path, drawn)
    in_memory = replace(in_files, raw=type(drawn.raw)(network.pixels(in_files)))
    found, expected = (evaluate(network, some, attack, batch_size=16, fast=False) for some in (in_files, in_memory))
    assert (found.table["robust_last"] != expected.table["robust_last"]).sum() <= 1
