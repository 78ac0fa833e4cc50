"""The small networks that we train ourselves, from 8 x 8 digits up to CIFAR."""

from __future__ import annotations

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from manifoldscope.errors import ModelError
from manifoldscope.registry import Registry
from manifoldscope.vision.network import seeded
from manifoldscope.vision.whole import check_whole

SMALL = Registry("small network", package="manifoldscope.vision")


def build(name: str, *, channels: int, size: int, n_classes: int, seed: int) -> nn.Module:
    """The network `name` with random weights from `seed`; the global generator is left as it was.

    Args:
        channels: 1 (grey) or 3 (colour).
        size: side of the square images, in pixels.
        n_classes: number of outputs.

    Raises:
        StudyError: no such network.
        ModelError: a size, a number of channels or of classes that cannot be.

    Example:
        >>> import torch
        >>> module = build("cnn", channels=1, size=8, n_classes=10, seed=0)
        >>> module(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """
    entry = SMALL[name]
    check_whole(ModelError, channels=channels, size=size, n_classes=n_classes, seed=seed)
    for what, value, least in (("channels", channels, 1), ("size", size, 4), ("n_classes", n_classes, 2)):
        if value < least:
            raise ModelError(f"small:{name}: {what} = {value}; expected at least {least}")
    with seeded(seed, "weights", name):
        module: nn.Module = entry.target(channels=channels, size=size, n_classes=n_classes)
    return module


@SMALL.register("cnn")
def cnn(*, channels: int, size: int, n_classes: int) -> nn.Module:
    """Two convolutions (32 and 64 channels) that each halve the image, a dense layer of 128, and the classifier.

    Layers: `conv1`, `relu1`, `conv2`, `relu2`, `flatten` (the flattened convolution: 3,136 features for 28 x 28
    pixels), `dense`, `relu3` (128 features, what `penultimate` names) and `logits`. Strides stand in for pooling, which
    makes the many passes of adversarial training quick.
    """
    side = size // 2 // 2
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 32, kernel_size=4, stride=2, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(32, 64, kernel_size=4, stride=2, padding=1),
            relu2=nn.ReLU(),
            flatten=nn.Flatten(),
            dense=nn.Linear(64 * side * side, 128),
            relu3=nn.ReLU(),
            logits=nn.Linear(128, n_classes),
        )
    )


@SMALL.register("mlp")
def mlp(*, channels: int, size: int, n_classes: int) -> nn.Module:
    """Two dense layers of 256 and the classifier: a network without convolutions.

    Layers: `flatten`, `dense1`, `relu1`, `dense2`, `relu2` (what `penultimate` names) and `logits`.
    """
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            dense1=nn.Linear(channels * size * size, 256),
            relu1=nn.ReLU(),
            dense2=nn.Linear(256, 256),
            relu2=nn.ReLU(),
            logits=nn.Linear(256, n_classes),
        )
    )


class _Block(nn.Module):
    """Two convolutions and a shortcut without parameters (He et al. 2016, option A)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(n_out, n_out, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.relu2 = nn.ReLU()
        self._stride = stride
        self._grown = n_out - n_in

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        if self._grown:
            before = self._grown // 2
            shortcut = F.pad(x[:, :, :: self._stride, :: self._stride], (0, 0, 0, 0, before, self._grown - before))
        out: Tensor = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        made: Tensor = self.relu2(out + shortcut)
        return made


class _CifarResNet(nn.Module):
    """6n + 2 layers in three stages of n blocks, with 16, 32 and 64 channels (He et al. 2016, section 4.2)."""

    def __init__(self, blocks: int, channels: int, n_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(self.avgpool(x).flatten(1))
        return logits


def _stage(n_in: int, n_out: int, blocks: int, stride: int) -> nn.Sequential:
    first = _Block(n_in, n_out, stride)
    return nn.Sequential(first, *(_Block(n_out, n_out, stride=1) for _ in range(blocks - 1)))


@SMALL.register("resnet8")
def resnet8(*, channels: int, size: int, n_classes: int) -> nn.Module:
    """The smallest residual network of this kind, of 8 layers (0.08 million parameters), for trainings of minutes."""
    return _CifarResNet(1, channels, n_classes)


@SMALL.register("resnet20")
def resnet20(*, channels: int, size: int, n_classes: int) -> nn.Module:
    """The residual network of 20 layers for CIFAR (He et al. 2016, 0.27 million parameters)."""
    return _CifarResNet(3, channels, n_classes)


@SMALL.register("resnet32")
def resnet32(*, channels: int, size: int, n_classes: int) -> nn.Module:
    """The residual network of 32 layers for CIFAR (He et al. 2016, 0.46 million parameters)."""
    return _CifarResNet(5, channels, n_classes)


@SMALL.register("resnet44")
def resnet44(*, channels: int, size: int, n_classes: int) -> nn.Module:
    """The residual network of 44 layers for CIFAR (He et al. 2016, 0.66 million parameters)."""
    return _CifarResNet(7, channels, n_classes)


@SMALL.register("resnet56")
def resnet56(*, channels: int, size: int, n_classes: int) -> nn.Module:
    """The residual network of 56 layers for CIFAR (He et al. 2016, 0.85 million parameters)."""
    return _CifarResNet(9, channels, n_classes)
