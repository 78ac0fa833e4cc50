"""Batches are as large as memory allows: what passes take is foretold by one image and by two."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from manifoldscope.vision import memory
from manifoldscope.vision.memory import (
    FILLED,
    FORWARD,
    GRADIENT,
    WORKSPACE,
    Footprint,
    Memory,
    available_memory,
    footprint,
    peak_bytes,
)
from manifoldscope.vision.network import Network

CPU = torch.device("cpu")


@pytest.fixture
def network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 144, 5)]
    return Network(nn.Sequential(*layers))


def gradient(network, n):
    leaf = torch.rand(n, 3, 16, 16, requires_grad=True)
    logits = network(leaf)
    torch.autograd.grad(F.cross_entropy(logits, logits.argmax(1)), leaf)


def saved_bytes(network, n):
    """Bytes of all that a gradient keeps, each storage once."""
    seen = {}

    def pack(tensor):
        seen[tensor.untyped_storage()._cdata] = (tensor, tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        gradient(network, n)
    return sum(size for _, size in seen.values())


def test_a_gradient_takes_what_it_saves_and_little_more(network):
    law = footprint(network, torch.rand(1, 3, 16, 16), gradient=True)
    saved = saved_bytes(network, 11) - saved_bytes(network, 1)  # the weights are saved once
    assert saved <= 10 * law.each / GRADIENT <= 2 * saved


@pytest.mark.parametrize("with_gradient", [True, False])
def test_one_image_and_two_tell_what_many_take(network, with_gradient):
    pixels = torch.rand(1, 3, 16, 16)
    law = footprint(network, pixels, gradient=with_gradient)
    foretold = law.fixed - WORKSPACE + 20 * law.each / (GRADIENT if with_gradient else FORWARD)

    def work():
        if with_gradient:
            gradient(network, 20)
        else:
            with torch.no_grad():
                network(pixels.expand(20, -1, -1, -1).contiguous())

    for parameter in network.module.parameters():
        parameter.requires_grad_(False)
    # the images themselves are made here, beside what the law counts
    assert (
        0.9 * peak_bytes(work, CPU) <= foretold + 20 * pixels.nbytes <= 1.1 * peak_bytes(work, CPU) + 20 * pixels.nbytes
    )


def test_only_tensors_made_within_are_counted_and_only_while_they_exist():
    before = torch.zeros(1000)

    def work():
        held = before.view(10, 100) + 1  # 4,000 bytes; the view is none
        del held
        return before * 2 + 1  # 8,000 at one time

    assert peak_bytes(work, CPU) == 8000


def test_a_batch_is_as_large_as_wanted_or_as_memory_allows(network, monkeypatch):
    pixels = torch.rand(1, 3, 16, 16)
    law = footprint(network, pixels, gradient=True)
    assert Memory().batch(network, pixels, 100, gradient=True) == 100
    monkeypatch.setattr(memory, "process_memory", lambda: 1000)
    limited = Memory(int(1000 + (law.of(10) + law.each / 2) / FILLED))
    assert limited.batch(network, pixels, 100, gradient=True) == 10
    assert limited.batch(network, pixels, 100, gradient=True, beside=Footprint(law.of(10), 0)) == 1
    assert Memory(1).batch(network, pixels, 100, gradient=True) == 1


def test_a_network_is_measured_once_for_each_shape(network):
    calls = []
    network.module.register_forward_hook(lambda *_: calls.append(1))
    limits = Memory()
    for size in (16, 16, 16):
        limits.batch(network, torch.rand(1, 3, size, size), 4, gradient=False)
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("line", "folder", "files"),
    [
        ("0::/inner", "inner", {"memory.max": "5000", "memory.current": "3000", "memory.stat": "inactive_file 500"}),
        (
            "4:memory:/inner",
            "memory/inner",
            {
                "memory.limit_in_bytes": "5000",
                "memory.usage_in_bytes": "3000",
                "memory.stat": "cache 9\ntotal_inactive_file 500",
            },
        ),
    ],
)
def test_the_limit_of_a_cgroup_counts(tmp_path, monkeypatch, line, folder, files):
    home = tmp_path / "cgroup" / folder
    home.mkdir(parents=True)
    for name, text in files.items():
        (home / name).write_text(text)
    (tmp_path / "own").write_text(f"{line}\n3:cpu:/else\n")
    found = memory._cgroups(tmp_path / "cgroup", tmp_path / "own")
    assert [memory._left_in(each) for each in found if each == home] == [2500]
    monkeypatch.setattr(memory, "_cgroups", lambda: found)
    assert available_memory() == 2500
    (home / "memory.max").write_text("max")
    (home / "memory.limit_in_bytes").unlink(missing_ok=True)
    assert available_memory() > 2**20
