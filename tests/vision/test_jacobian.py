"""Sensitivity: the norm of a Jacobian that is known, within its own standard error, class by class."""

from __future__ import annotations

import math
import weakref

import pytest
import torch
from torch import Tensor, nn

from manifoldscope.errors import DataError, ModelError
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.jacobian import jacobian_norm, jacobian_norms
from manifoldscope.vision.network import Network
from manifoldscope.vision.preprocessing import Preprocessing
from tests.attacks.networks import convolutional, images

GREY = Preprocessing(channels=1)


def linear(std: float = 1.0) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Flatten(), nn.Linear(16, 40), nn.Linear(40, 3))
    return Network(module, mean=(0.3,), std=(std,), preprocessing=GREY)


def grey(n: int = 6) -> ImageSet:
    return ImageSet.of(torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0)), [i % 2 for i in range(n)])


def by_jacrev(network: Network, pixels: Tensor, until: int) -> Tensor:
    """|J|_F of the output of the first `until` modules at each image, from the whole Jacobian."""
    network.module.eval()
    part = network.module[:until]

    def layer(image: Tensor) -> Tensor:
        return part(network.normalise(image[None])).flatten()

    return torch.stack([torch.func.jacrev(layer)(image).detach().norm() for image in pixels]).double()


@pytest.mark.parametrize("std", [1.0, 0.25])
def test_a_linear_network_has_the_norm_of_its_weights_over_the_scale_of_its_normalisation(std: float) -> None:
    network = linear(std)
    first, second = (network.module[place].weight.detach() for place in (1, 2))
    for layer, matrix in (("1", first), ("penultimate", first), ("2", second @ first)):
        exact = jacobian_norms(network, grey(), layer=layer, n_projections=None)
        assert exact.values.tolist() == pytest.approx([float(matrix.norm()) / std] * 6, rel=1e-5)  # float32
        assert exact.n_features == len(matrix)
        assert exact.stderr is None


@pytest.mark.parametrize(("layer", "until"), [("0", 1), ("2", 3), ("4", 5)])
def test_a_convolutional_network_agrees_with_the_whole_jacobian(layer: str, until: int) -> None:
    network, shown = convolutional(), images(6)
    expected = by_jacrev(network, network.pixels(shown), until)
    if layer == "4":
        exact = jacobian_norms(network, shown, layer=layer, n_projections=None)
        assert exact.values.tolist() == pytest.approx(expected.tolist(), rel=1e-5)  # float32
    found = jacobian_norms(network, shown, layer=layer, n_projections=200, batch_size=4)
    assert found.stderr is not None
    # six images, so four standard errors are missed once in thousands; roots of averages are off by far less
    assert bool(((found.values - expected).abs() < 4 * found.stderr).all())
    assert float((found.stderr / found.values).max()) < 0.06  # 1 / sqrt(2 x 200 x PR), PR at least 1, and its own noise


def test_the_standard_error_is_the_spread_over_seeds() -> None:
    network, shown = linear(), grey(1)
    runs = [jacobian_norms(network, shown, layer="2", n_projections=20, seed=seed) for seed in range(150)]
    values = torch.cat([run.values for run in runs])
    errors = torch.cat([run.stderr for run in runs if run.stderr is not None])
    # the spread of 150 values is known to 6%; the error of one run is itself noisy and on average too small by some
    assert float(errors.mean()) == pytest.approx(float(values.std()), rel=0.25)
    exact = float(jacobian_norms(network, shown, layer="2", n_projections=None).values)
    assert float(values.mean()) == pytest.approx(exact, abs=4 * float(values.std()) / math.sqrt(150) + 0.02 * exact)


def test_classes_have_the_mean_and_the_standard_error_of_their_images() -> None:
    network = convolutional()
    shown = images(7, n_classes=3).subset([6, 2, 0, 5, 1, 3])
    norms = jacobian_norms(network, shown, layer="2", seed=3)
    found = jacobian_norm(network, shown, layer="2", seed=3, batch_size=4)
    assert list(found) == [0, 1, 2]
    for label, estimate in found.items():
        values = norms.values[shown.labels == label]
        assert estimate.n_points == len(values)
        assert estimate.value == pytest.approx(float(values.mean()), rel=1e-5)  # other batches round otherwise
        assert estimate.n_features == 8 * 64
        assert estimate.parameters == {"n_projections": 8}
        if len(values) > 1:
            assert estimate.stderr == pytest.approx(float(values.std()) / math.sqrt(len(values)), rel=1e-3)
    assert [found[label].n_points for label in found] == [3, 1, 2]
    assert found[1].stderr == pytest.approx(float(norms.stderr[shown.labels == 1]), rel=1e-3)
    assert "of one image" in found[1].note


def test_projections_of_an_image_do_not_depend_on_its_company() -> None:
    network, shown = convolutional(), images(5)
    together = jacobian_norms(network, shown, batch_size=5).values
    assert jacobian_norms(network, shown, batch_size=2).values.tolist() == pytest.approx(together.tolist(), rel=1e-5)
    alone = jacobian_norms(network, shown.subset([3])).values
    assert float(alone) == pytest.approx(float(together[3]), rel=1e-5)  # other batches round otherwise
    assert float(jacobian_norms(network, shown.subset([3]), seed=1).values) != pytest.approx(float(alone), rel=1e-4)


def test_the_network_is_found_as_it_was() -> None:
    network = convolutional()
    network.module.train()
    network.module[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in network.module.state_dict().items()}
    with torch.no_grad():
        jacobian_norm(network, images(4))
    assert all(torch.equal(value, before[name]) for name, value in network.module.state_dict().items())
    assert all(child.training for child in network.module.modules())
    assert [parameter.requires_grad for parameter in network.module.parameters()][:2] == [False, True]
    assert all(parameter.grad is None for parameter in network.module.parameters())
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in network.module.modules())


def test_an_in_place_layer_does_not_spoil_what_came_before_it() -> None:
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 2))
    network = Network(module, preprocessing=GREY)
    for layer, until in (("0", 1), ("1", 2)):
        copied = Network(nn.Sequential(module[0], nn.ReLU(), *module[2:]), preprocessing=GREY)
        expected = by_jacrev(copied, network.pixels(grey()), until)
        found = jacobian_norms(network, grey(), layer=layer, n_projections=None)
        assert found.values.tolist() == pytest.approx(expected.tolist(), rel=1e-5)  # float32


class Steps(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach().round()


class Root(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - x).sqrt()


def test_what_leads_from_the_layer_to_the_logits_goes_before_the_next_batch() -> None:
    logits: list[weakref.ref[Tensor]] = []
    alive: list[bool] = []
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    network = Network(module, preprocessing=GREY)
    module.register_forward_pre_hook(lambda *_: alive.append(any(each() is not None for each in logits)))
    module.register_forward_hook(lambda _module, _images, output: logits.append(weakref.ref(output)))
    jacobian_norm(network, grey(), layer="0", n_projections=2, batch_size=2)
    assert len(alive) > 2
    assert not any(alive)


def test_what_has_no_jacobian_is_told() -> None:
    for broken, message in ((Steps(), "no gradient flows from layer 'penultimate'"), (Root(), "NaN or infinity for 6")):
        module = nn.Sequential(nn.Flatten(), broken, nn.Linear(16, 2))
        with pytest.raises(ModelError, match=message):
            jacobian_norm(Network(module, preprocessing=GREY), grey())
    with pytest.raises(ModelError, match="no layer 'conv'"):
        jacobian_norm(linear(), grey(), layer="conv")
    with pytest.raises(ModelError, match="n_projections = 0"):
        jacobian_norm(linear(), grey(), n_projections=0)
    with pytest.raises(DataError, match="no images"):
        jacobian_norm(linear(), grey().subset([]))


def test_a_layer_that_ignores_the_image_has_sensitivity_zero() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    nn.init.zeros_(module[1].weight)
    found = jacobian_norm(Network(module, preprocessing=GREY), grey(), layer="1")
    assert [(each.value, each.stderr) for each in found.values()] == [(0, 0), (0, 0)]
    assert jacobian_norms(linear(), grey(), n_projections=1).stderr is None
