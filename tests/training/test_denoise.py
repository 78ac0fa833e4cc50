"""The objective that trains a denoiser: what its loss is, what it learns, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from manifoldscope.attacks import PGD, evaluate
from manifoldscope.errors import ModelError, StudyError
from manifoldscope.training import fit
from manifoldscope.training.objectives.denoise import Denoise
from manifoldscope.training.objectives.participation_ratio import ParticipationRatio
from manifoldscope.vision.datasets import images
from manifoldscope.vision.defences import Denoiser, NoiseVote
from manifoldscope.vision.network import Network
from manifoldscope.vision.preprocessing import Preprocessing
from manifoldscope.vision.small import build


def network(seed=0):
    module = build("cnn", channels=1, size=8, n_classes=10, seed=seed)
    plain = Network(module, preprocessing=Preprocessing(channels=1), mean=(0.3,), std=(0.5,))
    return Denoiser(channels=8).around(plain, seed=seed)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits():
    drawn = images("digits", images_per_class=60)
    return drawn.subset(range(0, 600, 2)), drawn.subset(range(1, 600, 2))


def test_the_loss_is_that_of_noisy_images_and_the_squared_error_in_pixels(digits):
    net = network()
    torch.nn.init.constant_(net.module.front.noise[-1].bias, 0.2)  # takes 0.2 / (1 / 0.5) = 0.1 pixel units away
    pixels, labels = net.pixels(digits[0]), digits[0].labels
    noisy = (pixels + 0.25 * torch.randn(pixels.shape, generator=generator(3))).clamp(0, 1)
    expected = F.cross_entropy(net(noisy), labels) + 7 * (noisy - 0.1 - pixels).square().mean()
    found = Denoise(weight=7).loss(net, pixels, labels, 0.5, generator(3))
    torch.testing.assert_close(found, expected)


def test_its_gradient_reaches_all_weights_and_nothing_else_is_drawn(digits):
    net = network()
    net.module.train()
    torch.nn.init.normal_(net.module.front.noise[-1].weight)  # which begins at 0, and lets nothing through
    before = torch.get_rng_state()
    Denoise().loss(net, net.pixels(digits[0]), digits[0].labels, 0.0, generator()).backward()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(bool((parameter.grad != 0).any()) for parameter in net.module.parameters())


def test_a_denoiser_learns_to_denoise_and_the_network_its_classes(digits):
    net = network()
    fit(net, digits[0], Denoise(std=0.25), epochs=20, batch_size=50)
    pixels = net.pixels(digits[1])
    noisy = (pixels + 0.25 * torch.randn(pixels.shape, generator=generator(1))).clamp(0, 1)
    with torch.no_grad():
        denoised = net.module.front(net.normalise(noisy)) * 0.5 + 0.3
    error = [float((each - pixels).square().mean()) for each in (noisy, denoised)]
    assert error[1] < 0.8 * error[0]
    assert evaluate(net, digits[1], PGD(epsilon=0)).clean_accuracy > 0.85


def test_a_network_without_a_denoiser_and_impossible_settings_are_refused():
    plain = Network(build("cnn", channels=1, size=8, n_classes=10, seed=0), name="mine")
    with pytest.raises(ModelError, match="mine has no denoiser; give its table"):
        Denoise().loss(plain, torch.rand(2, 1, 8, 8), torch.zeros(2, dtype=torch.long), 0.0, generator())
    with pytest.raises(StudyError, match="std = -1"):
        Denoise(std=-1.0)
    with pytest.raises(StudyError, match="weight = inf"):
        Denoise(weight=math.inf)


def test_a_vote_over_noise_is_shaped_at_a_layer_by_its_name(digits):
    plain = Network(build("cnn", channels=1, size=8, n_classes=10, seed=0), preprocessing=Preprocessing(channels=1))
    net = NoiseVote(votes=2).around(plain)
    net.module.train()
    pixels, labels = net.pixels(digits[0]), digits[0].labels
    shaped = ParticipationRatio(layer="module.relu3").loss(net, pixels, labels, 1.0, generator())
    assert bool(shaped.isfinite())
