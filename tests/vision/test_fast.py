"""The faster copy of a network: the same logits, the network untouched; the network itself where no copy can be had."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from manifoldscope.vision.fast import faster
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


class Severed(nn.Module):
    """Logits that no gradient leads to."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(784, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).detach()


def test_a_network_without_a_gradient_has_a_copy() -> None:
    assert faster(Network(Severed()), pixels()).means == ("channels last",)
