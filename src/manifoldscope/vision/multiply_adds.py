"""Multiply-adds: what one image costs in a forward pass, whatever the machine."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

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
    network, counted = as_network(network), _Counting()
    try:
        with undisturbed(network), torch.no_grad(), counted:
            network(pixels.to(network.device))
    except AssertionError:  # attention of a kind that torch does not count
        return None
    return counted.operations // (2 * len(pixels))


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Counts multiplications and additions by torch's own formulas, as `FlopCounterMode` does by module.

    Attributes:
        operations: how many so far.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch asks; to skip its compiler it would import it, for a second or two."""
        return False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func._overloadpacket)
        if formula is None:  # it may be made of others that are counted
            with self:
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        made = func(*args, **kwargs)
        if formula is not None:
            self.operations += int(formula(*args, **kwargs, out_val=made))
        return made
