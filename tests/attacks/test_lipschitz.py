"""Distances from gradients: linear networks, whose answers are known, and networks of known steepness."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import nn

from manifoldscope.attacks import lipschitz_estimates, minimal_perturbation
from manifoldscope.errors import AttackError, ModelError
from manifoldscope.vision.gradient import NoGradientError
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network
from tests.attacks.networks import convolutional, fitted, images
from tests.attacks.test_minimal import exact, linear

every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])
FAR = {"linf": 0.9, "l2": 5.0}


class Made(nn.Module):
    """Two logits: a function of the pixels (n, d), and 0."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, pixels):
        z = self.function(pixels.flatten(1))
        return torch.stack([z, torch.zeros_like(z)], 1)


class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, values):
        return self.factor * values


def alike(one, other, **tolerance):
    assert one.tolist() == pytest.approx(other.tolist(), **tolerance)


@every_norm
def test_of_two_classes_and_a_linear_network_both_distances_are_the_minimal_perturbation(norm):
    network, drawn = linear()
    found = lipschitz_estimates(network, drawn, norm=norm, radius=FAR[norm], samples=3)
    truth = torch.tensor(list(exact(network, drawn, norm).values()))
    alike(found.first_order_distance, truth, rel=1e-5)  # float32
    alike(found.local_lipschitz_distance, truth, rel=1e-5)


@every_norm
def test_of_more_classes_they_are_that_of_the_likeliest_other_class(norm):
    network, drawn = linear(10)
    found = lipschitz_estimates(network, drawn, norm=norm, radius=FAR[norm], samples=3)
    layer, order = network.module[1], 1 if norm == "linf" else 2
    with torch.no_grad():
        two = network(network.pixels(drawn)).double().topk(2)
        size = torch.linalg.vector_norm(layer.weight[two.indices].diff(dim=1)[:, 0].double(), ord=order, dim=1)
    alike(found.local_lipschitz_distance, (two.values[:, 0] - two.values[:, 1]) / size, rel=1e-4)
    truth = torch.tensor(list(exact(network, drawn, norm).values()))
    assert (found.local_lipschitz_distance >= truth * (1 - 1e-4)).all()
    assert (found.local_lipschitz_distance > truth * 1.01).any()  # another class is nearer


@every_norm
def test_a_larger_logit_scale_changes_no_distance_and_steeper_pixels_divide_it(norm):
    network, drawn = linear()
    settings = {"norm": norm, "radius": FAR[norm], "samples": 3}
    before = lipschitz_estimates(network, drawn, **settings)
    louder = Network(nn.Sequential(network.module, Times(7.0)))
    after = lipschitz_estimates(louder, drawn, **settings)
    alike(after.margin, 7 * before.margin, rel=1e-5)
    alike(after.lipschitz, 7 * before.lipschitz, rel=1e-5)
    alike(after.local_lipschitz_distance, before.local_lipschitz_distance, rel=1e-5)
    steeper = Network(network.module, mean=(0.5,), std=(0.5,))  # the same weights see twice the contrast
    slope = lipschitz_estimates(steeper, drawn, **settings).gradient_norm
    known = slope.isfinite()
    assert known.any()
    alike(slope[known], 2 * before.gradient_norm[known], rel=1e-5)


def test_the_steepest_of_many_points_comes_near_the_supremum_and_never_passes_it():
    """z = x^2 has the slope 2 x: at most 1.4 within 0.2 of 0.5, and 1 at the image."""
    network = Network(Made(lambda x: x[:, 0] ** 2))
    image = ImageSet.of(torch.full((1, 1, 1, 1), 0.5), [0])
    few, many = (lipschitz_estimates(network, image, radius=0.2, samples=n).lipschitz.item() for n in (2, 200))
    assert few <= many
    assert 1.38 < many <= 1.4 + 1e-6
    found = lipschitz_estimates(network, image, radius=0.2, samples=200)
    assert found.gradient_norm.item() == pytest.approx(1)
    assert found.first_order_distance.item() == pytest.approx(0.25)
    assert found.local_lipschitz_distance.item() == pytest.approx(0.25 / many)


@every_norm
def test_points_lie_in_the_ball_and_in_the_pixel_range_and_do_not_depend_on_other_images(norm):
    drawn = images(12, 4)
    network = fitted(drawn)
    settings = {"norm": norm, "radius": 0.1, "samples": 5, "seed": 3}
    whole, parts = (lipschitz_estimates(network, drawn, batch_size=n, **settings) for n in (12, 5))
    alike(whole.lipschitz, parts.lipschitz, rel=1e-4, nan_ok=True)
    some = drawn.subset(torch.tensor([7, 2]))
    alone = lipschitz_estimates(network, some, **settings)
    alike(alone.lipschitz, whole.lipschitz[[7, 2]], rel=1e-4, nan_ok=True)
    shown = []

    def seen(module, inputs):
        shown.append(inputs[0].detach())

    spied = Network(nn.Sequential(nn.Identity(), network.module), mean=network.mean, std=network.std)
    handle = spied.module[0].register_forward_pre_hook(seen)
    lipschitz_estimates(spied, drawn, **settings)
    handle.remove()
    clean = drawn.raw.pixels
    for batch in shown[-5:]:
        pixels = batch * 0.3 + 0.4
        away = (pixels - clean).flatten(1)
        length = away.abs().amax(1) if norm == "linf" else away.norm(dim=1)
        assert (length <= 0.1 + 1e-5).all()
        assert (length > 0.05).any()
        assert -1e-5 <= float(pixels.min()) <= float(pixels.max()) <= 1 + 1e-5


@every_norm
def test_distances_are_bounded_ordered_and_0_where_the_image_is_misclassified(norm):
    drawn = images(24, 4)
    network = fitted(drawn)
    wrong = ImageSet.of(drawn.raw.pixels, (drawn.labels + (torch.arange(24) < 6)) % 4)
    found = lipschitz_estimates(network, wrong, norm=norm, radius=0.01, samples=4)
    assert found.local_lipschitz_distance[:6].tolist() == found.first_order_distance[:6].tolist() == [0.0] * 6
    assert (found.margin[:6] < 0).all()
    assert found.lipschitz[:6].isnan().all()
    assert (found.local_lipschitz_distance[6:] > 0).all()
    assert (found.local_lipschitz_distance <= found.first_order_distance.clamp(max=0.01)).all()
    assert (found.lipschitz[6:] >= found.gradient_norm[6:]).all()


def test_the_first_order_distance_is_near_the_minimal_perturbation_of_a_smooth_network():
    drawn = images(24, 4)
    network = fitted(drawn)
    found = lipschitz_estimates(network, drawn, radius=0.3, samples=16)
    nearest = torch.tensor(minimal_perturbation(network, drawn, steps=10)["minimal_epsilon"].to_list())
    ratio = nearest / found.first_order_distance
    # an order of magnitude: nearly linear as far as its boundary
    assert 0.5 < float(ratio.median()) < 2


def test_a_gradient_of_0_gives_an_infinite_distance_and_one_that_is_capped_by_the_radius():
    flat = Network(Made(lambda x: 0 * x.sum(1) + 1))
    found = lipschitz_estimates(flat, ImageSet.of(torch.full((2, 1, 2, 2), 0.5), [0, 1]), radius=0.1, samples=2)
    assert found.first_order_distance.tolist() == [math.inf, 0.0]
    assert found.local_lipschitz_distance.tolist() == pytest.approx([0.1, 0.0])
    tie = Network(Made(lambda x: 0 * x.sum(1)))
    found = lipschitz_estimates(tie, ImageSet.of(torch.full((1, 1, 2, 2), 0.5), [0]), radius=0.1, samples=2)
    assert found.first_order_distance.item() == found.local_lipschitz_distance.item() == 0


def test_the_network_is_found_again_as_it_was():
    drawn, network = images(8, 4), convolutional()
    network.module.train()
    before = {name: value.clone() for name, value in network.module.state_dict().items()}
    lipschitz_estimates(network, drawn, radius=0.1, samples=2)
    assert network.module.training
    assert all(torch.equal(value, before[name]) for name, value in network.module.state_dict().items())
    assert all(each.grad is None and each.requires_grad for each in network.module.parameters())


def test_networks_without_a_usable_gradient_are_named():
    image = ImageSet.of(torch.full((2, 1, 2, 2), 0.5), [0, 0])
    with pytest.raises(NoGradientError, match="gives logits without a gradient"):
        lipschitz_estimates(Network(Made(lambda x: x.sum(1).detach())), image, radius=0.1)
    lost = Network(Made(lambda x: 1 + (x.sum(1) - 2).abs().sqrt()), name="rooted")  # steepness is infinite at 2
    with pytest.raises(
        ModelError, match=re.escape("rooted: the gradient of the margin holds NaN or infinity for 2 of 2")
    ):
        lipschitz_estimates(lost, image, radius=0.1, samples=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"radius": 0.0}, "radius = 0; expected a radius above 0"),
        ({"radius": 8.0}, "did you mean 8/255"),
        ({"radius": None}, "radius = None; expected a number"),
        ({"radius": 0.1, "samples": 2.5}, "samples = 2.5; expected a whole number"),
        ({"radius": 0.1, "samples": -1}, "samples = -1; expected a whole number from 0"),
        ({"radius": 0.1, "norm": "l1"}, "norm = 'l1'; expected 'linf' or 'l2'"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(AttackError, match=re.escape(message)):
        lipschitz_estimates(convolutional(), images(2, 2), **settings)
    with pytest.raises(AttackError, match="0 images"):
        lipschitz_estimates(convolutional(), images(2, 2).subset(torch.tensor([], dtype=torch.int64)), radius=0.1)
