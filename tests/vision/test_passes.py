"""Passes of a traced network: logits and gradients are those of autograd, for all rows and for some."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision.models as models
from torch import Tensor, nn
from torch.nn import functional as F

from manifoldscope.vision.fast import FastNetwork, faster
from manifoldscope.vision.network import Network
from manifoldscope.vision.passes import Passes, traced
from manifoldscope.vision.sources import network as source


class Odd(nn.Module):
    """Operations of many kinds: sizes, slices, shares of channels, sums that broadcast, a ReLU that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second, self.third = nn.Conv2d(4, 8, 3, padding=1, groups=2), nn.Conv2d(8, 8, 1, bias=False)
        self.relu, self.pool, self.drop = nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Dropout(0.5)
        self.gain = nn.Parameter(torch.tensor([0.5]))
        self.logits = nn.Linear(16 * 8 * 8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        one, other = x.chunk(2, dim=1)
        y = self.second(one - other)
        y += x
        y = F.relu(y, inplace=True)
        y = y + y.mean((2, 3), keepdim=True)
        z = torch.add(self.third(y), x, alpha=2) + self.gain
        x = torch.cat([self.drop(self.pool(y)), self.pool(self.relu(z + z))], dim=1)
        return self.logits(x.view(x.size(0), -1)) * self.gain


def images(n: int = 6, side: int = 32) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))


def by_autograd(module: nn.Module, inputs: Tensor, towards: Tensor) -> tuple[Tensor, Tensor]:
    leaf = inputs.clone().requires_grad_(True)
    output = module(leaf)
    return output.detach(), torch.autograd.grad(output, leaf, towards)[0]


@pytest.mark.parametrize(
    ("module", "side"),
    [
        (Odd(), 16),
        (models.resnet18(num_classes=5), 64),
        (models.vgg11_bn(num_classes=5), 32),
        (models.mobilenet_v3_small(num_classes=5), 64),
        (models.googlenet(num_classes=5, aux_logits=False, init_weights=False), 64),
    ],
    ids=["odd", "resnet18", "vgg11_bn", "mobilenet_v3_small", "googlenet"],
)
def test_logits_and_gradients_are_those_of_autograd(module: nn.Module, side: int) -> None:
    module.eval()
    inputs = images(side=side)
    passes = Passes(copy.deepcopy(module), inputs[:4])
    towards = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    logits, gradient = by_autograd(module, inputs, towards)
    tolerance = 1e-4 * float(gradient.abs().max())
    for rows in (None, torch.tensor([4, 1, 1]), torch.tensor([2])):
        found, back = passes.forward(inputs)
        at = back(towards if rows is None else towards[rows], rows)
        torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(at, gradient if rows is None else gradient[rows], rtol=0, atol=tolerance)


class Choosing(nn.Module):
    """Goes another way for bright images: no trace holds for all."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x)
        return (x if x.mean() > 0 else -x).mean((2, 3))


class Company(nn.Module):
    """Compares each image with the others of its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x).mean((2, 3))
        return x - (x * x).mean(0)


class Stripes(nn.Module):
    """Convolutions that are not modules of the usual kind, and would be done twice."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)))
        self.convolution = nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(F.conv2d(x, self.kernel)).mean((2, 3))


@pytest.mark.parametrize(
    "module",
    [
        Choosing(),
        Company(),
        Stripes(),
        models.densenet121(num_classes=5),
        models.VisionTransformer(32, 16, 1, 2, 32, 64, num_classes=5),
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.Flatten(), nn.Linear(4096, 5)),
    ],
    ids=["branches", "batch mean", "functional convolution", "norms that stay", "attention", "reflecting"],
)
def test_what_a_trace_would_get_wrong_or_do_twice_is_left_to_autograd(module: nn.Module) -> None:
    module.eval()
    assert traced(module, images(side=32)) is None
    fast = faster(Network(module), images(side=32))
    logits, back = fast.with_gradient(images(side=32))
    rows, towards = torch.tensor([3, 0]), torch.zeros_like(logits)
    towards[rows] = 1
    _, expected = by_autograd(module, images(side=32), towards)
    torch.testing.assert_close(back(towards[rows], rows), expected[rows], rtol=1e-4, atol=1e-6)


def test_a_fast_network_goes_back_to_pixels() -> None:
    found = source("small:resnet20", channels=3, size=32, n_classes=10, mean=[0.4] * 3, std=[0.2, 0.3, 0.5])
    found.module.eval()
    inputs, fast = images(side=32), faster(found, images(side=32))
    assert fast.passes is not None
    logits, back = fast.with_gradient(inputs)
    expected_logits, back_plainly = FastNetwork(found).with_gradient(inputs)
    torch.testing.assert_close(logits, expected_logits, rtol=1e-4, atol=1e-4)
    towards, rows = torch.randn(2, 10, generator=torch.Generator().manual_seed(2)), torch.tensor([5, 2])
    expected = back_plainly(towards, rows)
    torch.testing.assert_close(back(towards, rows), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
