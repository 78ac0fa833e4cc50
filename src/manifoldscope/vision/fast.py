"""A faster copy of a network, for those who ask it many times: attacks.

Batch norm in evaluation mode is a scale and a shift, which the convolution before it can do; and convolutions are
faster where the channels of a pixel lie together in memory. Neither changes the network but for rounding. Where
the device is faster in bfloat16, a second copy gives gradients in it: they may propose, and settle nothing. On a
GPU gradients can be replayed from CUDA graphs.
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
from manifoldscope.vision.precision import float32
from manifoldscope.vision.recorded import Recorded, timed_gradient

SEEN = 8
"""Images that are enough to compare a copy with its network."""

_SAME = 1e-3
"""Share of the largest logit by which a copy may differ: 20 times what rounding makes of a hundred layers."""

_FURTHER = 100
"""How many times further than on the sample two logits are held to differ together: single ones were off up to 4 times
as far on the iterates of attacks on five networks (`python benchmarks/copies.py`)."""

_ROUNDING = 1e-5
"""The least that a margin is: 100 roundings of float32."""

_SOONER = 0.85
"""Share of the time of a float32 gradient that one in bfloat16 may take: on some images, of whom a batch gains more."""

_LONG = 2e-3
"""Seconds that a float32 gradient of a few images must take, for a shorter one to be worth anything."""

_TELLING = 8e-3
_AT_MOST = 64
"""A few images are repeated until their float32 gradient takes so many seconds, or there are that many images: on fewer
a device shows little of what it gains."""

_ALIKE = 0.8
"""Cosine that a gradient in bfloat16 has at least with that in float32, in the median of a few images."""


@dataclass(frozen=True, eq=False)
class FastNetwork:
    """A network, and a faster copy of it.

    Attributes:
        network: the copy; the network itself where nothing could be done.
        means: what was done to it: "batch norm folded", "channels last", "CUDA graphs where faster".
        difference: largest difference of a logit on the sample, as a share of the largest logit.
        margin: how far the two largest logits must lie apart, as a share of the largest magnitude of a logit, so that
            the class is also that of the network; None where nothing the copy says is believed.
        proposer: the copy in bfloat16, whose gradients are faster still and whose word is never believed; None where
            the device is not quicker in bfloat16.
        largest: the largest magnitude of a logit on the sample: an image whose own logits are all smaller is held to a
            share of this one, since what rounding does to them does not shrink with them.
    """

    network: Network
    means: tuple[str, ...] = ()
    difference: float = 0.0
    margin: float | None = None
    proposer: Network | None = None
    largest: float = 0.0

    def __str__(self) -> str:
        return ", ".join(self.means) or "as it is"

    def clear(self, logits: Tensor) -> Tensor:
        """(n,) whether the classes that these logits (n, n_classes) of the copy give are those of the network."""
        if not self.means:
            return torch.ones(len(logits), dtype=torch.bool, device=logits.device)
        if self.margin is None:
            return torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
        two = logits.topk(min(2, logits.shape[1]), dim=1).values
        apart: Tensor = two[:, 0] - two[:, -1] > self.margin * logits.abs().amax(1).clamp_min(self.largest)
        return apart


def faster(network: Network, pixels: Tensor, *, propose: bool | None = None, replay: bool = False) -> FastNetwork:
    """A copy of the network that gives the same logits faster, up to rounding; checked on a sample.

    Args:
        network: found again as it was.
        pixels: (n, channels, height, width) in [0, 1], a few images.
        propose: whether a second copy, in bfloat16, may propose; None asks a stopwatch.
        replay: whether gradients are replayed from CUDA graphs where that is quicker (see `Recorded`); for those who
            have a GPU and try it out.

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
    means = ("batch norm folded",) * bool(folded) + ("channels last",)
    with float32(network.device):
        proposer = None if propose is False else _reduced(made, pixels, sure=propose is True)
    margin = min(2 * _SAME, max(_ROUNDING, _FURTHER * difference))
    fast = FastNetwork(made, means, difference, margin, proposer, largest)
    return _replaying(fast) if replay else fast


def _replaying(fast: FastNetwork) -> FastNetwork:
    """The same, whose gradients are replayed from CUDA graphs where that is quicker (see `Recorded`)."""
    network = replace(fast.network, module=Recorded(fast.network.module))
    proposer = None if fast.proposer is None else replace(fast.proposer, module=Recorded(fast.proposer.module))
    return replace(fast, network=network, proposer=proposer, means=(*fast.means, "CUDA graphs where faster"))


class Reduced(nn.Module):
    """A copy of a module that computes in bfloat16; what goes in and comes out is float32."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).to(torch.bfloat16)

    def forward(self, inputs: Tensor) -> Any:
        """What the module gives, as float32."""
        return self.module(inputs.to(torch.bfloat16)).to(inputs.dtype)


def _reduced(network: Network, pixels: Tensor, *, sure: bool) -> Network | None:
    """The network in bfloat16, where (`sure`, or by a stopwatch) its gradients are clearly faster and are the same."""
    try:
        timed_gradient(network, pixels)  # the first pass of each pays for what is set up once
        in_float32, expected = _quicker_of_two(network, pixels)
        if not sure and in_float32 < _LONG:
            return None
        while not sure and in_float32 < _TELLING and 2 * len(pixels) <= _AT_MOST:
            pixels = torch.cat([pixels, pixels])
            timed_gradient(network, pixels)
            in_float32, expected = _quicker_of_two(network, pixels)
        made = replace(network, module=Reduced(network.module))
        timed_gradient(made, pixels)
        in_bfloat16, gradient = _quicker_of_two(made, pixels)
    except Exception:  # no gradient, no memory for so many at once, or whatever a stranger's module does in bfloat16
        return None
    alike = float(nn.functional.cosine_similarity(gradient.flatten(1), expected.flatten(1)).median()) >= _ALIKE
    return made if alike and (sure or in_bfloat16 <= _SOONER * in_float32) else None


def _quicker_of_two(network: Network, pixels: Tensor) -> tuple[float, Tensor]:
    """Seconds for the gradient of the largest logits, and that gradient."""
    seconds, _, gradient = min((timed_gradient(network, pixels) for _ in range(2)), key=lambda found: found[0])
    return seconds, gradient


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
