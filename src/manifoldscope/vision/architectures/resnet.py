"""Residual networks of the ImageNet family (He et al. 2016a) with a first layer for images of 32 pixels."""

from __future__ import annotations

from torch import Tensor, nn


class _Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut."""

    def __init__(self, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.shortcut = _shortcut(n_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        made: Tensor = self.relu2(residual + self.shortcut(x))
        return made


class _Bottleneck(nn.Module):
    """Convolutions of 1, 3 and 1 pixels beside a shortcut; the last is four times as wide."""

    def __init__(self, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu3 = nn.ReLU()
        self.shortcut = _shortcut(n_in, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.relu1(self.bn1(self.conv1(x)))
        residual = self.relu2(self.bn2(self.conv2(residual)))
        made: Tensor = self.relu3(self.bn3(self.conv3(residual)) + self.shortcut(x))
        return made


def _shortcut(n_in: int, n_out: int, stride: int) -> nn.Sequential:
    if stride == 1 and n_in == n_out:
        return nn.Sequential()
    return nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out))


class ResNet(nn.Module):
    """A residual network with tensors named conv1, bn1, layer1, ..., linear.

    Args:
        n_classes: number of outputs.
        blocks: of each of the four stages, which are 64, 128, 256 and 512 wide.
        bottleneck: whether blocks have a bottleneck, and are four times as wide at their end.
    """

    def __init__(self, n_classes: int, *, blocks: tuple[int, int, int, int], bottleneck: bool = False) -> None:
        super().__init__()
        block, expansion = (_Bottleneck, 4) if bottleneck else (_Block, 1)
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.layer1 = _stage(block, blocks[0], 64, 64, 64 * expansion, stride=1)
        self.layer2 = _stage(block, blocks[1], 64 * expansion, 128, 128 * expansion, stride=2)
        self.layer3 = _stage(block, blocks[2], 128 * expansion, 256, 256 * expansion, stride=2)
        self.layer4 = _stage(block, blocks[3], 256 * expansion, 512, 512 * expansion, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(512 * expansion, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.linear(self.avgpool(x).flatten(1))
        return logits


def _stage(
    block: type[_Block] | type[_Bottleneck], n_blocks: int, n_in: int, width: int, n_out: int, *, stride: int
) -> nn.Sequential:
    return nn.Sequential(block(n_in, width, stride), *(block(n_out, width, 1) for _ in range(n_blocks - 1)))
