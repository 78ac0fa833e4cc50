"""What only a GPU shows: float32 that is float32, gradients that are replayed, outcomes that are those of the CPU.

    python -m pytest tests/test_gpu.py

All of it is skipped where there is none.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from manifoldscope.attacks import PGD, evaluate
from manifoldscope.vision import recorded as recorded_module
from manifoldscope.vision.fast import faster
from manifoldscope.vision.network import Network, logits, undisturbed
from manifoldscope.vision.recorded import OFTEN, Recorded
from manifoldscope.vision.sources import network as source
from tests.attacks.networks import fitted, images
from tests.vision.test_reader import files

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")


def on_gpu(network: Network) -> Network:
    return replace(network, module=copy.deepcopy(network.module).cuda())


def small() -> Network:
    return source("small:resnet20", channels=3, size=32, n_classes=10)


def photographs(n: int) -> Tensor:
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def gradient(network: Network, pixels: Tensor) -> tuple[Tensor, Tensor]:
    leaf = pixels.clone().requires_grad_(True)
    found = network(leaf)
    return found.detach(), torch.autograd.grad(found.amax(1).sum(), leaf)[0]


def same_gradient(one: Network, other: Network, pixels: Tensor) -> None:
    for found, expected in zip(gradient(one, pixels), gradient(other, pixels), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_logits_are_those_of_the_cpu_to_the_precision_of_float32() -> None:
    drawn = images(64, side=32)
    network = small()
    expected = logits(network, drawn)
    difference = (logits(on_gpu(network), drawn) - expected).abs().max() / expected.abs().max()
    assert difference < 1e-4  # TF32 is some 1e-3 off


def test_a_replayed_gradient_is_that_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded_module, "SOONER", float("inf"))
    network = on_gpu(small())
    replaying = replace(network, module=Recorded(network.module))
    pixels = photographs(32).cuda()
    with undisturbed(network):
        for turn in range(2 * OFTEN):
            for n in (32, 16):
                some = (pixels[:n] + 0.01 * turn).clamp(0, 1)
                same_gradient(replaying, network, some)
    assert {shape[0] for shape in replaying.module._recordings} == {32, 16}


class Undecided(nn.Module):
    """Copies a value to the CPU, which no recording can do."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x) if float(x.detach().sum()) > -1e9 else self.module(-x)


def test_what_cannot_be_recorded_goes_as_it_is_and_the_device_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded_module, "SOONER", float("inf"))
    network = on_gpu(small())
    stubborn = replace(network, module=Recorded(Undecided(network.module)))
    stream = torch.cuda.current_stream()
    pixels = photographs(8).cuda()
    with undisturbed(network):
        for _ in range(2 * OFTEN):
            same_gradient(stubborn, network, pixels)
        assert not stubborn.module._recordings
        assert torch.cuda.current_stream() == stream
        assert torch.rand(1, device="cuda") < 1
        replaying = replace(network, module=Recorded(network.module))
        for _ in range(2 * OFTEN):
            same_gradient(replaying, network, pixels)
        assert replaying.module._recordings


@pytest.mark.parametrize("iterate", ["any", "both"])
@pytest.mark.parametrize("propose", [False, True])
def test_outcomes_are_those_of_the_cpu(iterate: str, propose: bool) -> None:
    drawn = images(192)
    network = fitted(drawn)
    attack = PGD(epsilon=0.12, steps=8)
    expected = evaluate(network, drawn, attack, batch_size=32, iterate=iterate, fast=False)
    device = on_gpu(network)
    fast = faster(device, device.pixels(drawn, slice(0, 8)).cuda(), propose=propose, replay=True)
    found = evaluate(device, drawn, attack, batch_size=32, iterate=iterate, fast=fast)
    assert found.fast is not None
    assert found.fast.n_checked > 0
    assert found.fast.n_differ == 0
    column = f"robust_{'any' if iterate == 'any' else 'last'}"
    tipped = (found.table[column] != expected.table[column]).sum()
    assert tipped <= 2  # the order of additions may tip an image that stands on the boundary


def test_images_that_are_read_ahead_have_the_same_outcomes(tmp_path: Path) -> None:
    drawn = images(96)
    network = on_gpu(fitted(drawn))
    attack = PGD(epsilon=0.12, steps=6)
    in_files = files(tmp_path, drawn)
    in_memory = replace(in_files, raw=type(drawn.raw)(network.pixels(in_files)))
    found, expected = (evaluate(network, some, attack, batch_size=16, fast=False) for some in (in_files, in_memory))
    assert (found.table["robust_last"] != expected.table["robust_last"]).sum() <= 1
