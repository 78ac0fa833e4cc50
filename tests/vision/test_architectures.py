"""Architectures of published robust networks: their sizes and tensors, and what they compute, worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manifoldscope.vision.architectures import ARCHITECTURES, PaddedWideResNet, PreActResNet, WideResNet
from manifoldscope.vision.architectures.same_padding import SameConv2d


def on_meta(name: str, n_classes: int = 10) -> nn.Module:
    with torch.device("meta"):
        return ARCHITECTURES[name](n_classes)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("wide_resnet_28_10", 36.5),  # Zagoruyko & Komodakis 2016, table 4
        ("wide_resnet_34_10", 46.2),
        ("wide_resnet_34_20", 184.5),
        ("wide_resnet_28_10_silu", 36.5),
        ("wide_resnet_70_16_silu", 266.8),
        ("wide_resnet_106_16_silu", 415.5),
        ("preact_resnet18", 11.2),
        ("preact_resnet18_no_final_bn", 11.2),
        ("resnet18", 11.2),
        ("resnet50", 23.5),
    ],
)
def test_architectures_have_the_published_size(name: str, millions: float) -> None:
    module = on_meta(name)
    assert sum(parameter.numel() for parameter in module.parameters()) == pytest.approx(millions * 1e6, rel=0.003)
    assert module(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10)


@pytest.mark.parametrize("stride", [1, 2])
def test_same_padding_is_right_and_below(stride: int) -> None:
    conv, images = SameConv2d(2, 3, stride), torch.rand(1, 2, 6, 6)
    found = conv(images)
    assert found.shape == (1, 3, 6 // stride, 6 // stride)
    corner = 0 if stride == 2 else -1  # the first row and column that the kernel sees at the first place
    patch = torch.zeros(2, 3, 3)
    rows = range(max(corner, 0), corner + 3)
    patch[:, -len(rows) :, -len(rows) :] = images[0, :, : rows[-1] + 1, : rows[-1] + 1]
    torch.testing.assert_close(found[0, :, 0, 0], (conv.weight * patch).sum((1, 2, 3)))


def wide_by_hand(x: Tensor, weights: dict[str, Tensor], *, padded: bool) -> Tensor:
    """Logits of a wide residual network of one block a group, from its tensors, in functions alone."""
    active = F.silu if padded else F.relu

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, weights[f"{name}.weight"], weights[f"{name}.bias"])

    x = F.conv2d(x, weights["init_conv.weight" if padded else "conv1.weight"], padding=1)
    for group in range(3):
        stride = 1 if group == 0 else 2
        at = f"layer.{group}.block.0" if padded else f"block{group + 1}.layer.0"
        first, second, one, two, side = (
            ("batchnorm_0", "batchnorm_1", "conv_0", "conv_1", "shortcut")
            if padded
            else ("bn1", "bn2", "conv1", "conv2", "convShortcut")
        )
        a = active(norm(x, f"{at}.{first}"))
        if padded and stride == 2:
            b = F.conv2d(F.pad(a, (0, 1, 0, 1)), weights[f"{at}.{one}.weight"], stride=2)
        else:
            b = F.conv2d(a, weights[f"{at}.{one}.weight"], stride=stride, padding=1)
        b = F.conv2d(active(norm(b, f"{at}.{second}")), weights[f"{at}.{two}.weight"], padding=1)
        x = b + F.conv2d(a, weights[f"{at}.{side}.weight"], stride=stride)
    x = active(norm(x, "batchnorm" if padded else "bn1")).mean((2, 3))
    head = "logits" if padded else "fc"
    return F.linear(x, weights[f"{head}.weight"], weights[f"{head}.bias"])


@pytest.mark.parametrize("padded", [False, True])
def test_a_wide_network_computes_what_its_tensors_say(padded: bool) -> None:
    torch.manual_seed(0)
    module = (PaddedWideResNet if padded else WideResNet)(7, depth=10, width=2).eval()
    weights = {name: torch.rand_like(value) for name, value in module.state_dict().items() if value.ndim}
    weights = {name: value / 4 if value.ndim == 4 else value + 0.5 for name, value in weights.items()}
    module.load_state_dict(weights, strict=False)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(module(images), wide_by_hand(images, weights, padded=padded), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("final_bn", [True, False])
def test_where_the_shortcut_reads_tells_the_two_preactivation_networks_apart(final_bn: bool) -> None:
    torch.manual_seed(0)
    module = PreActResNet(10, final_bn=final_bn).eval()
    block = module.layer2[0]
    images = torch.randn(2, 64, 8, 8)
    with torch.no_grad():
        active = F.relu(block.bn1(images))
        residual = block.conv2(F.relu(block.bn2(block.conv1(active))))
        read = active if final_bn else images
        torch.testing.assert_close(block(images), residual + F.conv2d(read, block.shortcut[0].weight, stride=2))
    assert any(name.startswith("bn.") for name in module.state_dict()) == final_bn


def test_a_depth_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="depth 30; expected 6 n \\+ 4, such as 28"):
        WideResNet(10, depth=30, width=1)
