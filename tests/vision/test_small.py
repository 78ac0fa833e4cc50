"""The small networks."""

from __future__ import annotations

import pytest
import torch

from manifoldscope.errors import ModelError, StudyError
from manifoldscope.registry import Entry
from manifoldscope.vision.activations import layer_table
from manifoldscope.vision.network import Network
from manifoldscope.vision.preprocessing import Preprocessing
from manifoldscope.vision.small import SMALL, build


@pytest.mark.parametrize("entry", list(SMALL), ids=lambda entry: entry.name)
def test_every_small_network_is_documented_and_takes_images_from_8_pixels_up(entry: Entry) -> None:
    assert entry.summary
    assert set(entry.settings.model_fields) == {"channels", "size", "n_classes"}
    for channels, size in ((1, 8), (1, 28), (3, 33)):
        module = build(entry.name, channels=channels, size=size, n_classes=7, seed=0)
        assert module(torch.rand(2, channels, size, size)).shape == (2, 7)


def test_weights_repeat_by_seed_and_leave_the_global_stream_alone() -> None:
    state = torch.get_rng_state()
    one, same, other = (build("cnn", channels=1, size=8, n_classes=10, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.conv1.weight, same.conv1.weight)
    assert not torch.equal(one.conv1.weight, other.conv1.weight)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_cnn_has_the_two_layers_that_are_compared() -> None:
    network = Network(
        build("cnn", channels=1, size=28, n_classes=10, seed=0), preprocessing=Preprocessing(crop=28, channels=1)
    )
    shapes = {layer.name: layer.shape for layer in layer_table(network)}
    assert shapes["flatten"] == (3136,)
    assert shapes["penultimate"] == (128,)


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85)])
def test_cifar_resnets_have_the_published_size(depth: int, millions: float) -> None:
    module = build(f"resnet{depth}", channels=3, size=32, n_classes=10, seed=0)
    assert sum(p.numel() for p in module.parameters()) == pytest.approx(millions * 1e6, rel=0.02)  # two digits given
    assert sum(isinstance(m, torch.nn.Conv2d | torch.nn.Linear) for m in module.modules()) == depth


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(StudyError, match=r"did you mean .*'resnet20'"):
        build("resnet21", channels=3, size=32, n_classes=10, seed=0)
    with pytest.raises(ModelError, match="n_classes = 1; expected at least 2"):
        build("cnn", channels=1, size=8, n_classes=1, seed=0)
