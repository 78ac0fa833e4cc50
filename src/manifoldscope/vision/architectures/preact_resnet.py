"""Residual networks with activation before the convolutions (He et al. 2016b), of 18 layers, for CIFAR."""

from __future__ import annotations

from torch import Tensor, nn

from manifoldscope.vision.architectures.same_padding import SameConv2d


class _Block(nn.Module):
    """Two convolutions, each after batch norm and ReLU; a shortcut that changes the width is a convolution of 1 pixel.

    Args:
        active_shortcut: whether that convolution reads what the first ReLU gives, or what the block is given.
    """

    def __init__(self, n_in: int, n_out: int, stride: int, *, active_shortcut: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(n_in)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.shortcut = None if n_in == n_out else nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False))
        self._active_shortcut = active_shortcut

    def forward(self, x: Tensor) -> Tensor:
        active: Tensor = self.relu1(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(active if self._active_shortcut else x)
        residual: Tensor = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        return shortcut + residual


class PreActResNet(nn.Module):
    """PreActResNet-18 with tensors named conv1, layer1, ..., linear; `bn` is the last batch norm.

    Published robust networks come in two forms, which the names of their tensors tell apart: as in the paper, with a
    last batch norm and shortcuts that read what the first ReLU gives (Rice et al. 2020); and without either
    (Wong et al. 2020).

    Args:
        n_classes: number of outputs.
        final_bn: which of the two.
    """

    def __init__(self, n_classes: int, *, final_bn: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.layer1 = self._stage(64, 64, 1, final_bn)
        self.layer2 = self._stage(64, 128, 2, final_bn)
        self.layer3 = self._stage(128, 256, 2, final_bn)
        self.layer4 = self._stage(256, 512, 2, final_bn)
        self.bn = nn.BatchNorm2d(512) if final_bn else None
        self.relu = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(512, n_classes)

    @staticmethod
    def _stage(n_in: int, n_out: int, stride: int, active_shortcut: bool) -> nn.Sequential:
        return nn.Sequential(
            _Block(n_in, n_out, stride, active_shortcut=active_shortcut),
            _Block(n_out, n_out, 1, active_shortcut=active_shortcut),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        if self.bn is not None:
            x = self.relu(self.bn(x))
        logits: Tensor = self.linear(self.avgpool(x).flatten(1))
        return logits


class _PaddedBlock(nn.Module):
    """As `_Block`, with SiLU and padding right and below; the shortcut is a 3 x 3 convolution of the block's input."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.batchnorm_0 = nn.BatchNorm2d(n_in)
        self.relu_0 = nn.SiLU()
        self.conv_2d_1 = SameConv2d(n_in, n_out, stride)
        self.batchnorm_1 = nn.BatchNorm2d(n_out)
        self.relu_1 = nn.SiLU()
        self.conv_2d_2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.shortcut = None if n_in == n_out else SameConv2d(n_in, n_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.conv_2d_1(self.relu_0(self.batchnorm_0(x)))
        residual = self.conv_2d_2(self.relu_1(self.batchnorm_1(residual)))
        return residual + (x if self.shortcut is None else self.shortcut(x))


class PaddedPreActResNet(nn.Module):
    """PreActResNet-18 with SiLU, as Rebuffi et al. 2021 train it: padded right and below where it halves a map.

    Tensors are named as in their checkpoints: conv_2d, layer_0, ..., batchnorm, logits.

    Args:
        n_classes: number of outputs.
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.conv_2d = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.layer_0 = nn.Sequential(_PaddedBlock(64, 64, 1), _PaddedBlock(64, 64, 1))
        self.layer_1 = nn.Sequential(_PaddedBlock(64, 128, 2), _PaddedBlock(128, 128, 1))
        self.layer_2 = nn.Sequential(_PaddedBlock(128, 256, 2), _PaddedBlock(256, 256, 1))
        self.layer_3 = nn.Sequential(_PaddedBlock(256, 512, 2), _PaddedBlock(512, 512, 1))
        self.batchnorm = nn.BatchNorm2d(512)
        self.relu = nn.SiLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.logits = nn.Linear(512, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer_3(self.layer_2(self.layer_1(self.layer_0(self.conv_2d(x)))))
        x = self.relu(self.batchnorm(x))
        logits: Tensor = self.logits(self.avgpool(x).flatten(1))
        return logits
