"""The activations of a layer during training: read and replaced in the same pass, in whatever mode the network is."""

from __future__ import annotations

import doctest
import gc
import weakref

import pytest
import torch
from torch import nn

from manifoldscope.errors import DataError, ModelError
from manifoldscope.training import features
from manifoldscope.training.features import logits_and_features, replaced
from manifoldscope.vision.defences import NoiseVote
from manifoldscope.vision.network import Network
from manifoldscope.vision.preprocessing import Preprocessing
from manifoldscope.vision.small import build

PIXELS = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def network(name="cnn"):
    return Network(build(name, channels=1, size=8, n_classes=10, seed=0), preprocessing=Preprocessing(channels=1))


def test_the_example_of_the_features_holds():
    assert doctest.testmod(features, extraglobs={"torch": torch}).failed == 0


def test_features_are_the_activations_of_the_same_pass():
    net = network()
    logits, found = logits_and_features(net, PIXELS)
    assert torch.equal(logits, net.module.logits(found))
    assert torch.equal(found, net.module[:-1](PIXELS))
    pooled = logits_and_features(net, PIXELS, "conv2 [mean]")[1]
    assert torch.allclose(pooled, net.module[:3](PIXELS).mean((2, 3)))
    assert logits_and_features(net, PIXELS, "conv2")[1].shape == (len(PIXELS), 64 * 4)


def test_features_are_those_of_training_mode_with_its_running_statistics():
    net = network("resnet20")
    logits_and_features(net, PIXELS)  # finds the layer
    net.module.train()
    before = net.module.bn1.num_batches_tracked.item()
    _, found = logits_and_features(net, PIXELS)
    assert net.module.bn1.num_batches_tracked.item() == before + 1
    net.module.eval()
    assert not torch.allclose(found, logits_and_features(net, PIXELS)[1])


class Repeating(nn.Module):
    """One module called three times, in place."""

    def __init__(self):
        super().__init__()
        self.flatten, self.relu = nn.Flatten(), nn.ReLU(inplace=True)
        self.first, self.second = nn.Linear(64, 8), nn.Linear(8, 10)

    def forward(self, x):
        x = self.relu(self.flatten(x) - 0.5)
        return self.relu(self.second(self.relu(self.first(x)))) - 1


def test_a_module_that_is_called_several_times_is_read_at_the_call_that_is_named():
    net = Network(Repeating(), preprocessing=Preprocessing(channels=1))
    flat = (PIXELS.flatten(1) - 0.5).relu()
    assert torch.equal(logits_and_features(net, PIXELS, "relu@0")[1], flat)
    hidden = net.module.first(flat)
    assert torch.equal(logits_and_features(net, PIXELS, "first")[1], hidden)  # relu then writes over it
    assert torch.equal(logits_and_features(net, PIXELS, "relu")[1], net.module.second(hidden.relu()).relu())
    halved = replaced(net, PIXELS, "relu@1", lambda x: x / 2)
    assert torch.allclose(halved, net.module.second(hidden.relu() / 2).relu() - 1)


@pytest.mark.parametrize("votes", [1, 3])
def test_behind_a_vote_the_penultimate_layer_is_that_of_the_one_copy_shown_in_training(votes):
    inner = network()
    net = NoiseVote(votes=votes, std=0.0).around(inner)
    net.module.train()
    before = torch.random.get_rng_state()
    torch.manual_seed(0)
    logits, found = logits_and_features(net, PIXELS)
    assert torch.equal(found, inner.module[:-1](PIXELS))
    assert torch.equal(logits, inner.module.logits(found))
    assert torch.allclose(replaced(net, PIXELS, "penultimate", lambda x: x / 2), inner.module.logits(found / 2))
    torch.random.set_rng_state(before)
    net.module.eval()
    assert torch.equal(logits_and_features(net, PIXELS)[1], inner.module[:-1](PIXELS))  # of the last copy


def test_finding_a_layer_draws_no_number_and_changes_no_buffer():
    net = NoiseVote(votes=2).around(network("resnet20"))
    net.module.train()
    before, buffers = torch.random.get_rng_state(), {name: value.clone() for name, value in net.module.named_buffers()}
    features.place_of(net, "penultimate", PIXELS)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(value, buffers[name]) for name, value in net.module.named_buffers())
    assert net.module.training
    assert not any(module._forward_hooks for module in net.module.modules())


def test_a_network_is_forgotten_with_its_layers():
    net = network()
    logits_and_features(net, PIXELS)
    gone = weakref.ref(net.module)
    del net
    gc.collect()
    assert gone() is None


class Odd(nn.Module):
    """A module that gives a tuple, and one that gives two rows for each image."""

    def __init__(self):
        super().__init__()
        self.pair, self.twice = Pair(), Twice()
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x, _ = self.pair(x.flatten(1))
        return self.linear(self.twice(x)[: len(x)])


class Pair(nn.Module):
    def forward(self, x):
        return x, x


class Twice(nn.Module):
    def forward(self, x):
        return torch.cat([x, x])


@pytest.mark.parametrize(
    "pixels",
    [None, torch.rand(3, 2, 2), torch.rand(0, 1, 2, 2), torch.zeros(3, 1, 2, 2, dtype=torch.uint8), [[0.5]]],
    ids=lambda pixels: str(getattr(pixels, "shape", pixels)),
)
def test_what_is_no_batch_of_pixels_is_refused(pixels):
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    assert logits_and_features(module, torch.rand(3, 1, 2, 2))[1].shape == (3, 3)
    with pytest.raises(DataError, match=r"expected \(n, channels, height, width\) in \[0, 1\], floating point"):
        logits_and_features(module, pixels)


def test_what_is_no_point_per_image_is_refused():
    net = Network(Odd(), preprocessing=Preprocessing(channels=1))
    with pytest.raises(ModelError, match=r"'pair' gives tuple; expected one tensor"):
        logits_and_features(net, PIXELS, "pair")
    with pytest.raises(ModelError, match=r"'twice' gives shape \(24, 64\) for 12 images"):
        logits_and_features(net, PIXELS, "twice")
    with pytest.raises(ModelError, match=r"'twice' gives 24 rows for 12 images"):
        replaced(net, PIXELS, "twice", lambda x: x)
    assert not any(module._forward_hooks for module in net.module.modules())
