"""Wide residual networks (Zagoruyko & Komodakis 2016), in the two forms in which robust ones are published."""

from __future__ import annotations

from torch import Tensor, nn

from manifoldscope.vision.architectures.same_padding import SameConv2d


def _blocks_of(depth: int) -> int:
    """Blocks of each of the three groups: a block has two convolutions, and four layers stand outside of the blocks.

    Raises ValueError where the depth is not 6 n + 4.
    """
    n_blocks, rest = divmod(depth - 4, 6)
    if rest or n_blocks < 1:
        raise ValueError(f"a wide residual network of depth {depth}; expected 6 n + 4, such as 28")
    return n_blocks


class _Block(nn.Module):
    """Two convolutions, each after batch norm and ReLU; where the width changes, the shortcut reads the first ReLU."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(n_in)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.convShortcut = None if n_in == n_out else nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active: Tensor = self.relu1(self.bn1(x))
        shortcut = x if self.convShortcut is None else self.convShortcut(active)
        residual: Tensor = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        return shortcut + residual


class _Group(nn.Module):
    def __init__(self, n_blocks: int, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        rest = (_Block(n_out, n_out, 1) for _ in range(n_blocks - 1))
        self.layer = nn.Sequential(_Block(n_in, n_out, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.layer(x)
        return made


class WideResNet(nn.Module):
    """A wide residual network, with tensors named as in the code of TRADES (Zhang et al. 2019): conv1, block1, ..., fc.

    Args:
        n_classes: number of outputs.
        depth: 6 n + 4.
        width: factor of the widths 16, 32 and 64 of the three groups.
    """

    def __init__(self, n_classes: int, *, depth: int, width: int) -> None:
        super().__init__()
        n_blocks, last = _blocks_of(depth), 64 * width
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.block1 = _Group(n_blocks, 16, 16 * width, stride=1)
        self.block2 = _Group(n_blocks, 16 * width, 32 * width, stride=2)
        self.block3 = _Group(n_blocks, 32 * width, last, stride=2)
        self.bn1 = nn.BatchNorm2d(last)
        self.relu = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(last, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        logits: Tensor = self.fc(self.avgpool(self.relu(self.bn1(x))).flatten(1))
        return logits


class _PaddedBlock(nn.Module):
    """As `_Block`, with SiLU and padding right and below."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.batchnorm_0 = nn.BatchNorm2d(n_in)
        self.relu_0 = nn.SiLU()
        self.conv_0 = SameConv2d(n_in, n_out, stride)
        self.batchnorm_1 = nn.BatchNorm2d(n_out)
        self.relu_1 = nn.SiLU()
        self.conv_1 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.shortcut = None if n_in == n_out else nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active: Tensor = self.relu_0(self.batchnorm_0(x))
        shortcut = x if self.shortcut is None else self.shortcut(active)
        residual: Tensor = self.conv_1(self.relu_1(self.batchnorm_1(self.conv_0(active))))
        return shortcut + residual


class _PaddedGroup(nn.Module):
    def __init__(self, n_blocks: int, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        rest = (_PaddedBlock(n_out, n_out, 1) for _ in range(n_blocks - 1))
        self.block = nn.Sequential(_PaddedBlock(n_in, n_out, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.block(x)
        return made


class PaddedWideResNet(nn.Module):
    """A wide residual network with SiLU, as Gowal et al. 2020 train them: padded right and below where it halves a map.

    Tensors are named as in their checkpoints: init_conv, layer, batchnorm, logits.

    Args:
        n_classes, depth, width: as for `WideResNet`.
    """

    def __init__(self, n_classes: int, *, depth: int, width: int) -> None:
        super().__init__()
        n_blocks, last = _blocks_of(depth), 64 * width
        self.init_conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.layer = nn.Sequential(
            _PaddedGroup(n_blocks, 16, 16 * width, stride=1),
            _PaddedGroup(n_blocks, 16 * width, 32 * width, stride=2),
            _PaddedGroup(n_blocks, 32 * width, last, stride=2),
        )
        self.batchnorm = nn.BatchNorm2d(last)
        self.relu = nn.SiLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.logits = nn.Linear(last, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.batchnorm(self.layer(self.init_conv(x))))
        logits: Tensor = self.logits(self.avgpool(x).flatten(1))
        return logits
