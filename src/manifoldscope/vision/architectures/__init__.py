"""Architectures in which robust networks for CIFAR are published, with the names of tensors of their checkpoints."""

from collections.abc import Callable, Mapping
from functools import partial

from torch import nn

from manifoldscope.vision.architectures.preact_resnet import PaddedPreActResNet, PreActResNet
from manifoldscope.vision.architectures.resnet import ResNet
from manifoldscope.vision.architectures.wide_resnet import PaddedWideResNet, WideResNet

ARCHITECTURES: Mapping[str, Callable[[int], nn.Module]] = {
    "preact_resnet18": PreActResNet,
    "preact_resnet18_no_final_bn": partial(PreActResNet, final_bn=False),
    "preact_resnet18_silu": PaddedPreActResNet,
    "resnet18": partial(ResNet, blocks=(2, 2, 2, 2)),
    "resnet50": partial(ResNet, blocks=(3, 4, 6, 3), bottleneck=True),
    **{
        f"wide_resnet_{depth}_{width}": partial(WideResNet, depth=depth, width=width)
        for depth, width in ((28, 4), (28, 10), (34, 10), (34, 15), (34, 20), (70, 16))
    },
    **{
        f"wide_resnet_{depth}_{width}_silu": partial(PaddedWideResNet, depth=depth, width=width)
        for depth, width in ((28, 10), (34, 10), (34, 20), (70, 16), (82, 8), (94, 16), (106, 16))
    },
}
"""A function from the number of classes to the module, by name; images are (n, 3, 32, 32)."""

__all__ = ["ARCHITECTURES", "PaddedPreActResNet", "PaddedWideResNet", "PreActResNet", "ResNet", "WideResNet"]
