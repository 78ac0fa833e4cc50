"""A faster copy of a network, for those who ask it many times: attacks.

Batch norm in evaluation mode is a scale and a shift, which the convolution before it can do; and convolutions are
faster where the channels of a pixel lie together in memory. Neither changes the network but for rounding. Whether there
is a copy is decided by the network and a few of its images, and by no stopwatch.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from manifoldscope.vision.network import Network, undisturbed

SEEN = 8
"""Images that are enough to compare a copy with its network."""

_SAME = 1e-3
"""Share of the largest logit by which a copy may differ: 20 times what rounding makes of a hundred layers."""


@dataclass(frozen=True, eq=False)
class FastNetwork:
    """A network, and a faster copy of it.

    Attributes:
        network: the copy; the network itself where nothing could be done.
        means: what was done to it: "batch norm folded", "channels last".
        difference: largest difference of a logit on the sample, as a share of the largest logit.
    """

    network: Network
    means: tuple[str, ...] = ()
    difference: float = 0.0

    def __str__(self) -> str:
        return ", ".join(self.means) or "as it is"


def faster(network: Network, pixels: Tensor) -> FastNetwork:
    """A copy of the network that gives the same logits faster, up to rounding; checked on a sample.

    Args:
        network: found again as it was.
        pixels: (n, channels, height, width) in [0, 1], a few images.

    Returns:
        The copy; or the network itself, where it has no convolution, cannot be copied, or the copy says something else.

    Example:
        >>> module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5))
        >>> str(faster(Network(module), torch.rand(2, 3, 8, 8)))
        'batch norm folded, channels last'
    """
    if not any(isinstance(module, nn.Conv2d) for module in network.module.modules()):
        return FastNetwork(network)
    try:
        with undisturbed(network), torch.no_grad():
            expected = network(pixels)
            module = copy.deepcopy(network.module)
            folded = _fold(module, network.normalise(pixels))
            made = replace(network, module=module.to(memory_format=torch.channels_last))
            found = made(pixels)
    except Exception:  # whatever a stranger's module does when it is copied, or no memory: it goes as it is
        return FastNetwork(network)
    largest = float(expected.abs().max())
    difference = float((found - expected).abs().max()) / max(largest, torch.finfo(expected.dtype).tiny)
    if not difference <= _SAME:
        return FastNetwork(network)
    return FastNetwork(made, ("batch norm folded",) * bool(folded) + ("channels last",), difference)


def _fold(module: nn.Module, inputs: Tensor) -> int:
    """Fold each batch norm into the convolution whose output it alone takes, as a pass shows; how many there were."""
    names = {child: name for name, child in module.named_modules()}
    made_by: dict[int, nn.Conv2d] = {}
    outputs = []  # held, so that no two have the same identity
    calls: Counter[nn.Module] = Counter()
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def watch(child: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        calls[child] += 1
        if isinstance(child, nn.Conv2d):
            made_by[id(output)] = child
            outputs.append(output)
        elif given and id(given[0]) in made_by:
            pairs.append((made_by[id(given[0])], child))  # type: ignore[arg-type]  # only these two are watched

    # a subclass of batch norm may do more than that
    watched = [child for child in names if isinstance(child, nn.Conv2d) or type(child) is nn.BatchNorm2d]
    hooks = [child.register_forward_hook(watch) for child in watched]
    module(inputs)
    for hook in hooks:
        hook.remove()
    pairs = [pair for pair in pairs if calls[pair[0]] == calls[pair[1]] == 1 and pair[1].running_mean is not None]
    for convolution, norm in pairs:
        for child, instead in ((convolution, fuse_conv_bn_eval(convolution, norm)), (norm, nn.Identity())):
            owner, _, name = names[child].rpartition(".")
            setattr(module.get_submodule(owner), name, instead)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return len(pairs)
