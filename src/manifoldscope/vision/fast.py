"""A copy of a network that answers sooner, for those who ask it many times: attacks.

Batch norm in evaluation mode is a scale and a shift, which the convolution before it can do; and convolutions are
sooner done where the channels of a pixel lie together in memory. Neither changes the network but for rounding. A copy
that can be traced also goes back for some of the images alone (see `passes`).
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from manifoldscope.vision.network import Network, undisturbed
from manifoldscope.vision.passes import Passes, traced

SEEN = 8
"""Images that are enough to compare a copy with its network."""

Back = Callable[[Tensor, Tensor | None], Tensor]
"""(gradient (m, n_classes) at the logits, the m rows it is of or None for all) to the gradient at these pixels."""

_SAME = 1e-3
"""Share of the largest logit by which a copy may differ: 20 times what rounding makes of a hundred layers."""


@dataclass(frozen=True, eq=False)
class FastNetwork:
    """A network, and a copy of it that answers sooner.

    Attributes:
        network: the copy; the network itself where nothing could be done.
        means: what was done to it: "batch norm folded", "channels last", "backward of survivors alone".
        difference: largest difference of a logit on the sample, as a share of the largest logit.
        margin: how far the two largest logits must lie apart, as a share of the largest magnitude of a logit, so that
            the class is also that of the network; None where nothing the copy says is believed.
        passes: the copy traced, where that can be done.
    """

    network: Network
    means: tuple[str, ...] = ()
    difference: float = 0.0
    margin: float | None = None
    passes: Passes | None = None

    def __str__(self) -> str:
        return ", ".join(self.means) or "as it is"

    def clear(self, logits: Tensor) -> Tensor:
        """(n,) whether the classes that these logits (n, n_classes) of the copy give are those of the network."""
        if not self.means:
            return torch.ones(len(logits), dtype=torch.bool, device=logits.device)
        if self.margin is None:
            return torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
        largest = logits.topk(min(2, logits.shape[1]), dim=1).values
        apart: Tensor = largest[:, 0] - largest[:, -1] > self.margin * logits.abs().amax(1)
        return apart

    def with_gradient(self, pixels: Tensor, *, of_some: bool = True) -> tuple[Tensor, Back]:
        """Logits (n, n_classes) of pixels (n, channels, height, width), and the way back from them.

        Where gradients of some rows alone may be wanted, a traced copy goes back for these; autograd does so for all.
        """
        if self.passes is None or not of_some:
            return self._by_autograd(pixels)
        logits, through = self.passes.forward(self.network.normalise(pixels))

        def back(gradient: Tensor, rows: Tensor | None = None) -> Tensor:
            return self.network.gradient_at_pixels(through(gradient, rows))

        return logits, back

    def _by_autograd(self, pixels: Tensor) -> tuple[Tensor, Back]:
        with torch.enable_grad():
            leaf = pixels.detach().requires_grad_(True)
            logits = self.network(leaf)

        def back(gradient: Tensor, rows: Tensor | None = None) -> Tensor:
            if rows is None:
                return torch.autograd.grad(logits, leaf, gradient)[0]
            every = torch.zeros_like(logits).index_copy_(0, rows, gradient)
            return torch.autograd.grad(logits, leaf, every)[0][rows]

        return logits.detach(), back


def faster(network: Network, pixels: Tensor) -> FastNetwork:
    """A copy of the network that gives the same logits sooner, up to rounding; checked on a sample.

    Args:
        network: found again as it was.
        pixels: (n, channels, height, width) in [0, 1], a few images.

    Returns:
        The copy; or the network itself, where it has no convolution, cannot be copied, or the copy says something else.

    Example:
        >>> module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5))
        >>> str(faster(Network(module), torch.rand(2, 3, 8, 8)))
        'batch norm folded, channels last, backward of survivors alone'
    """
    if not any(isinstance(module, nn.Conv2d) for module in network.module.modules()):
        return FastNetwork(network)
    with undisturbed(network), torch.no_grad():
        expected = network(pixels)
        try:
            module = copy.deepcopy(network.module)
        except Exception:  # whatever a stranger's module does when it is copied: it then goes as it is
            return FastNetwork(network)
        folded = _fold(module, network.normalise(pixels))
        made = replace(network, module=module.to(memory_format=torch.channels_last))
        found = made(pixels)
    largest = float(expected.abs().max())
    difference = float((found - expected).abs().max()) / max(largest, torch.finfo(expected.dtype).tiny)
    if not difference <= _SAME:
        return FastNetwork(network)
    passes = None
    if pixels.device.type == "cpu":  # on a GPU it has not been measured to pay
        with undisturbed(network), torch.no_grad():
            passes = traced(made.module, network.normalise(pixels))
    done = {"batch norm folded": folded > 0, "channels last": True, "backward of survivors alone": passes is not None}
    means = tuple(what for what, so in done.items() if so)
    return FastNetwork(made, means, difference, margin=2 * _SAME, passes=passes)


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
