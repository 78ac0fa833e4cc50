"""The faster copy of a network: the same logits, the network untouched; the network itself where no copy can be had."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from manifoldscope.vision import fast as fast_module
from manifoldscope.vision.fast import FastNetwork, Reduced, faster
from manifoldscope.vision.network import Network
from manifoldscope.vision.sources import network as source


def pixels(n: int = 3, side: int = 16) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))


def trained_norms(module: nn.Module) -> nn.Module:
    """Batch norms that do something."""
    generator = torch.Generator().manual_seed(1)
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            for tensor in (child.weight.data, child.bias.data, child.running_mean, child.running_var):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return module


def test_a_residual_network_is_folded_and_says_the_same() -> None:
    found = source("small:resnet20", channels=3, size=32, n_classes=10)
    trained_norms(found.module)
    before = {name: value.clone() for name, value in found.module.state_dict().items()}
    fast = faster(found, pixels(side=32))
    assert fast.means == ("batch norm folded", "channels last")
    assert not any(isinstance(child, nn.BatchNorm2d) for child in fast.network.module.modules())
    found.module.eval()
    with torch.no_grad():
        torch.testing.assert_close(fast.network(pixels(side=32)), found(pixels(side=32)), rtol=1e-4, atol=1e-4)
    assert fast.difference < 1e-5
    assert 20 * fast.difference < fast.margin < 1e-3
    assert all(torch.equal(value, before[name]) for name, value in found.module.state_dict().items())
    assert any(parameter.requires_grad for parameter in found.module.parameters())


class Shared(nn.Module):
    """One batch norm after two convolutions, and a convolution whose output is used before its norm as well."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3)
        self.norm, self.last = nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        self.third = nn.Conv2d(6, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.second(self.norm(self.first(x)).relu()))
        y = self.third(x)
        return (self.last(y) + y).mean((2, 3))


def test_what_cannot_be_folded_is_left_and_never_changes_the_answer() -> None:
    found = Network(trained_norms(Shared()))
    fast = faster(found, pixels())
    found.module.eval()
    with torch.no_grad():
        torch.testing.assert_close(fast.network(pixels()), found(pixels()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(768, 4)),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4), nn.Flatten(), nn.Linear(784, 4)),
    ],
    ids=["no convolution", "another norm"],
)
def test_a_network_without_batch_norm_goes_through(module: nn.Module) -> None:
    found = Network(module)
    fast = faster(found, pixels())
    with torch.no_grad():
        torch.testing.assert_close(fast.network(pixels()), found(pixels()), rtol=1e-4, atol=1e-4)


def test_a_network_that_cannot_be_copied_goes_as_it_is() -> None:
    class Unique(nn.Conv2d):
        def __deepcopy__(self, memo: object) -> None:
            raise RuntimeError("there is only one")

    found = Network(nn.Sequential(Unique(3, 4, 3), nn.Flatten(), nn.Linear(784, 4)))
    assert faster(found, pixels()).network is found


def test_the_word_of_a_copy_is_clear_where_the_largest_logits_are_apart() -> None:
    logits = torch.tensor([[1.0, 0.99, -10.0], [1.0, 0.9, -10.0], [torch.nan, 1.0, 0.0]])
    found = Network(nn.Identity())
    assert FastNetwork(found).clear(logits).all()  # no copy at all
    assert FastNetwork(found, ("folded",), margin=2e-3).clear(logits).tolist() == [False, True, False]
    assert not FastNetwork(found, ("folded",)).clear(logits).any()
    small = torch.tensor([[1e-3, -1e-3], [2.0, -2.0]])  # of two logits, the smaller both are, the less they say
    assert FastNetwork(found, ("folded",), margin=2e-3, largest=3.0).clear(small).tolist() == [False, True]


def test_a_network_in_bfloat16_says_nearly_the_same_in_float32() -> None:
    found = source("small:resnet20", channels=3, size=32, n_classes=10)
    trained_norms(found.module).eval()
    with torch.no_grad():
        expected = found(pixels(side=32))
        reduced = Reduced(found.module)(found.normalise(pixels(side=32)))
    assert reduced.dtype == torch.float32
    assert 0 < (reduced - expected).abs().max() < 0.05 * expected.abs().max()


@pytest.mark.parametrize(
    ("in_bfloat16", "in_float32", "alike", "wanted"),
    [(0.05, 0.1, True, True), (0.09, 0.1, True, False), (0.0005, 0.001, True, False), (0.05, 0.1, False, False)],
    ids=["sooner", "hardly sooner", "soon enough as it is", "sooner and of other gradients"],
)
def test_bfloat16_proposes_where_it_is_clearly_sooner(monkeypatch, in_bfloat16, in_float32, alike, wanted) -> None:
    def timed(network: Network, images: Tensor) -> tuple[float, Tensor, Tensor]:
        if isinstance(network.module, Reduced):
            return in_bfloat16, images, images if alike else -images
        return in_float32, images, images

    monkeypatch.setattr(fast_module, "timed_gradient", timed)
    found = Network(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(784, 4)))
    assert (faster(found, pixels()).proposer is not None) is wanted
    assert (faster(found, pixels(), propose=True).proposer is not None) is alike  # as a study was told before
    assert faster(found, pixels(), propose=False).proposer is None


def test_the_stopwatch_looks_at_so_many_images_that_a_gain_shows(monkeypatch) -> None:
    shown = []

    def timed(network: Network, images: Tensor) -> tuple[float, Tensor, Tensor]:
        reduced = isinstance(network.module, Reduced)
        shown.append((len(images), reduced))
        return len(images) * 1e-3 * (0.6 if reduced and len(images) > 6 else 1), images, images

    monkeypatch.setattr(fast_module, "timed_gradient", timed)
    found = Network(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(784, 4)))
    assert faster(found, pixels()[:3]).proposer is not None
    assert {n for n, reduced in shown if not reduced} == {3, 6, 12}
    assert {n for n, reduced in shown if reduced} == {12}


def test_a_module_that_cannot_do_bfloat16_is_left_to_float32(monkeypatch) -> None:
    class Stubborn(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            assert x.dtype == torch.float32
            return super().forward(x)

    monkeypatch.setattr(fast_module, "_SOONER", torch.inf)
    monkeypatch.setattr(fast_module, "_LONG", 0.0)
    for convolution, can in ((Stubborn(3, 4, 3), False), (nn.Conv2d(3, 4, 3), True)):
        found = faster(Network(nn.Sequential(convolution, nn.Flatten(), nn.Linear(784, 4))), pixels())
        assert found.means == ("channels last",)
        assert (found.proposer is not None) is can


class Severed(nn.Module):
    """Logits that no gradient leads to."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(784, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).detach()


def test_a_network_without_a_gradient_has_a_copy_and_no_proposer() -> None:
    found = faster(Network(Severed()), pixels())
    assert found.means == ("channels last",)
    assert found.proposer is None
