"""Multiply-adds: what one image costs in a forward pass, whatever the machine."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from manifoldscope.vision.network import Network, as_network, undisturbed


def multiply_adds(network: Network | nn.Module, pixels: Tensor) -> int | None:
    """Multiplications, each with its addition, per image in a forward pass in evaluation mode.

    Convolutions, matrix products and attention are counted, and nothing else: those are nearly all of them.

    Args:
        network: found again as it was.
        pixels: (n, channels, height, width) in [0, 1], at least one image.

    Returns:
        Their number; None where torch cannot count them.

    Example:
        >>> multiply_adds(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(128, 5)), torch.rand(2, 3, 6, 6))
        4096
    """
    network = as_network(network)
    try:
        with undisturbed(network), torch.no_grad(), FlopCounterMode(display=False) as counted:
            network(pixels.to(network.device))
    except AssertionError:  # attention of a kind that torch does not count
        return None
    return int(counted.get_total_flops()) // (2 * len(pixels))
