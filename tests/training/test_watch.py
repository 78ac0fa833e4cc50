"""On how many pixels a gradient rests, and how often adversarial training is evaluated."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from manifoldscope.training.watch import EVALUATION_PASSES, evaluated_every, gradient_participation_ratio
from manifoldscope.vision.network import Network
from manifoldscope.vision.preprocessing import Preprocessing


def linear(*rows):
    """A network whose logits are these linear functions of four pixels."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, len(rows), bias=False))
    with torch.no_grad():
        module[1].weight.copy_(torch.tensor(rows))
    return Network(module, preprocessing=Preprocessing(channels=1))


def ratio(network, n=5, labels=None, **settings):
    pixels = torch.rand(n, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    return gradient_participation_ratio(network, pixels, torch.zeros(n, dtype=torch.int64), **settings)


@pytest.mark.parametrize(
    ("slope", "expected"),
    [([1.0, 1.0, 1.0, 1.0], 1.0), ([0.0, -3.0, 0.0, 0.0], 0.25), ([1.0, -1.0, 0.0, 0.0], 0.5), ([1, 2, 0, 0], 0.45)],
)
def test_it_is_the_share_of_the_pixels_that_count(slope, expected):
    # of two linear logits the gradient is along their difference, whatever the image: (1 + 2)^2 / (4 (1 + 4)) = 0.45
    for scale in (1.0, 1e-25):  # squares of such small numbers vanish in float32
        found = ratio(linear([0.0] * 4, [scale * value for value in slope]))
        assert found == pytest.approx(expected, rel=1e-5)


def test_it_is_the_mean_over_images_and_the_same_in_whatever_batches():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 3)).train()
    network = Network(module, preprocessing=Preprocessing(channels=1))
    pixels = torch.rand(7, 1, 2, 2)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    one_by_one = [
        gradient_participation_ratio(network, pixels[place : place + 1], labels[place : place + 1])
        for place in range(7)
    ]
    before = torch.random.get_rng_state()
    for batch_size in (2, 100):
        found = gradient_participation_ratio(network, pixels, labels, batch_size=batch_size)
        assert found == pytest.approx(sum(one_by_one) / 7, rel=1e-5)
    assert torch.equal(torch.random.get_rng_state(), before)  # dropout is off
    assert module.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in module.parameters())


def test_images_without_a_gradient_do_not_count():
    assert ratio(linear([0.0] * 4, [0.0] * 4)) is None

    class Gate(nn.Module):
        def forward(self, pixels):
            flat = pixels.flatten(1)
            return torch.stack([torch.zeros(len(flat)), flat[:, 0].clamp(min=0.5) + 0 * flat.sum(1)], 1)

    network = Network(Gate(), preprocessing=Preprocessing(channels=1))
    pixels = torch.tensor([0.2, 0.9]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    assert gradient_participation_ratio(network, pixels, torch.zeros(2, dtype=torch.int64)) == pytest.approx(0.25)


@pytest.mark.parametrize(("n_images", "passes", "every"), [(60_000, 8.5, 1), (1_000, 8.5, 6), (1_000, 2.5, 20)])
def test_evaluating_costs_a_few_per_cent_of_the_training(n_images, passes, every):
    assert evaluated_every(n_images, passes, 200) == every
    assert 0.05 * every * n_images * passes >= 200 * EVALUATION_PASSES
