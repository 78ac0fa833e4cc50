"""Multiply-adds agree with torch's own counter, and count without torch's compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_model

from manifoldscope.vision.multiply_adds import multiply_adds
from manifoldscope.vision.network import Network

ALONE = """
import sys, torch
from torch import nn
from manifoldscope.vision.multiply_adds import multiply_adds
network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(128, 5))
print(multiply_adds(network, torch.rand(2, 3, 6, 6)), "sympy" in sys.modules, "torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vit_b_16", "swin_t"])
def test_the_count_is_torchs_own(name):
    module = get_model(name, weights=None).eval()
    pixels = torch.rand(1, 3, 224, 224)
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        module(pixels)
    assert multiply_adds(Network(module), pixels) == counted.get_total_flops() // 2


def test_an_operation_made_of_others_counts_as_these():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.mixed = nn.MultiheadAttention(16, 2, batch_first=True)
            self.out = nn.Linear(16, 3)

        def forward(self, x):
            tokens = x.flatten(2).transpose(1, 2)
            return self.out(self.mixed(tokens, tokens, tokens)[0].mean(1))

    module = Attention().eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        module(torch.rand(1, 16, 4, 4))
    assert multiply_adds(module, torch.rand(1, 16, 4, 4)) == counted.get_total_flops() // 2 > 0


def test_counting_waits_for_no_compiler():
    said = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["4096", "False", "False"]
