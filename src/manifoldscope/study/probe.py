"""What a network takes of time and memory: a few images are passed through it before anything is computed.

This is also where a network first meets the images: layers that do not exist, weights that do not fit and NaN are found
here, before any time is spent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manifoldscope.errors import ModelError
from manifoldscope.study.context import Context
from manifoldscope.study.unit import Unit
from manifoldscope.vision.activations import n_values
from manifoldscope.vision.fast import SEEN, FastNetwork, faster
from manifoldscope.vision.gradient import NoGradientError
from manifoldscope.vision.memory import Footprint
from manifoldscope.vision.network import Network, undisturbed

PROBE_IMAGES = 16

LONG_ENOUGH = 0.2
"""Seconds after which a pass has been timed enough."""

SHORT = 0.05
"""Seconds: where some images take less, as many as a batch holds are timed too."""


@dataclass(frozen=True)
class Duration:
    """Seconds that a pass of n images takes: fixed + each n."""

    fixed: float = 0.0
    each: float = 0.0

    def of(self, n_images: float, batch_size: int) -> float:
        """Seconds of that many images, so many at a time."""
        return self.fixed * -(-n_images // max(1, batch_size)) + self.each * n_images


@dataclass(frozen=True)
class Passes:
    """What passes of one kind take.

    Attributes:
        seconds: by how many images.
        memory: by how many images at a time.
    """

    seconds: Duration
    memory: Footprint


@dataclass(frozen=True)
class Probed:
    """What one network takes.

    Attributes:
        weights: bytes of its parameters and buffers.
        copies: bytes of the copies that attacks ask.
        image: bytes of one image in float32.
        values: of one image in each layer that is measured.
        forward: passes without a gradient.
        own: gradients by the network itself.
        search: gradients as attacks find them.
        loading: seconds to make the network and its copy.
        in_training: images that its layers see in training mode, as a share of those that they see in evaluation mode.
    """

    weights: int
    copies: int
    image: int
    values: Mapping[str, int]
    forward: Passes
    own: Passes
    search: Passes
    loading: float
    in_training: float = 1.0


NOT_ASKED = Passes(Duration(), Footprint(0, 0))


def probe(context: Context, name: str, units: Sequence[Unit], layers: Sequence[str]) -> Probed:
    """Pass a few images through a network as its units will.

    Args:
        units: those of the network that are to be computed.
        layers: those that they measure.

    Raises:
        ModelError: the network cannot be loaded, lacks a layer, or gives NaN.
    """
    began = time.perf_counter()
    network = context.untrained(name)
    images = context.draws["robustness"].images
    at_once = context.memory.batch(network, network.pixels(images, slice(0, 1)), PROBE_IMAGES, gradient=False)
    pixels = network.pixels(images, slice(0, min(PROBE_IMAGES, at_once))).to(network.device)
    values = n_values(network, layers, pixels[:1]) if layers else {}
    _refuse_nan(network, pixels)
    wants_gradient = any(unit.gradients != "none" for unit in units)
    attacks = any(unit.gradients == "search" for unit in units)
    fast = FastNetwork(network)
    if attacks and context.study.gradients != "own":
        fast = faster(network, pixels[:SEEN])
    loading = time.perf_counter() - began
    forward = _passes(context, network, pixels, gradient=False)
    try:
        own = _passes(context, network, pixels, gradient=True) if wants_gradient else NOT_ASKED
    except NoGradientError:
        if attacks:
            raise
        own = NOT_ASKED  # the checks of a network find that out themselves
    search = _passes(context, fast.network, pixels, gradient=True) if fast.means else own
    weights = sum(each.nbytes for each in network.module.state_dict().values() if isinstance(each, Tensor))
    return Probed(
        weights=weights,
        copies=weights if fast.means else 0,
        image=pixels[0].nbytes,
        values=values,
        forward=forward,
        own=own,
        search=search,
        loading=loading,
        in_training=_in_training(network, pixels) if any(unit.trains for unit in units) else 1.0,
    )


def _refuse_nan(network: Network, pixels: Tensor) -> None:
    with undisturbed(network), torch.no_grad():
        outputs = network(pixels)
    if not torch.isfinite(outputs).all():
        bad = int((~torch.isfinite(outputs)).flatten(1).any(1).sum())
        raise ModelError(
            f"{network.name} gave NaN or infinite outputs for {bad} of the first {len(pixels)} images; "
            "look for weights that diverged, or a normalisation that divides by zero"
        )


def _in_training(network: Network, pixels: Tensor) -> float:
    """Images that the layers see in training mode, as a share of those in evaluation mode, where a vote shows several.

    The network is left in training mode, and whatever training changes is changed: it is not used again.
    """
    shown = {False: 0, True: 0}

    def count(module: nn.Module, args: tuple[object, ...]) -> None:
        if args and isinstance(args[0], Tensor) and args[0].ndim:
            shown[training] += len(args[0])

    own = [module for module in network.module.modules() if any(True for _ in module.parameters(recurse=False))]
    handles = [module.register_forward_pre_hook(count) for module in own]
    two = pixels[:1].expand(2, -1, -1, -1)  # batch norm needs two
    devices = [network.device.index or 0] if network.device.type == "cuda" else []
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            for training in (False, True):
                network.module.train(training)
                network(two)
    except (ModelError, RuntimeError, ValueError):  # training will say what it cannot do
        return 1.0
    finally:
        for handle in handles:
            handle.remove()
    return shown[True] / shown[False] if shown[True] and shown[False] else 1.0


def _passes(context: Context, network: Network, pixels: Tensor, *, gradient: bool) -> Passes:
    """Time passes of one image, and of some or of a whole batch."""
    memory = context.memory.footprint(network, pixels[:1], gradient=gradient)

    def seconds(n: int) -> float:
        some = pixels[torch.arange(n) % len(pixels)]

        def attacked() -> None:
            leaf = some.detach().requires_grad_(True)
            logits = network(leaf)
            torch.autograd.grad(F.cross_entropy(logits, logits.argmax(1), reduction="sum"), leaf)

        def clean() -> None:
            with torch.no_grad():
                network(some)

        return _seconds(attacked if gradient else clean, network)

    def fitting(n: int) -> int:
        return context.memory.batch(network, pixels[:1], n, gradient=gradient)

    with undisturbed(network):
        many = fitting(len(pixels))
        one, some = seconds(1), seconds(many)
        if some < SHORT and (whole := fitting(context.study.batch_size)) > many:
            many, some = whole, seconds(whole)
    each = max(0.0, some - one) / (many - 1) if many > 1 else one
    return Passes(Duration(max(0.0, some - each * many), each), memory)


def _seconds(work: Callable[[], None], network: Network) -> float:
    """The least time of a few calls, the first left out, so that what else the machine does counts little."""
    times: list[float] = []
    for _ in range(6):
        began = time.perf_counter()
        work()
        if network.device.type == "cuda":
            torch.cuda.synchronize(network.device)
        times.append(time.perf_counter() - began)
        if len(times) > 1 and sum(times) > LONG_ENOUGH:
            break
    return min(times[1:])
