"""Listening to the layers of a network: which calls of which modules, and what of their outputs becomes points."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit._script import RecursiveScriptModule

from manifoldscope.errors import ModelError, unknown
from manifoldscope.geometry.manifold import resolution_of
from manifoldscope.vision.layers import PENULTIMATE, Layer
from manifoldscope.vision.network import Network, first_pass, undisturbed
from manifoldscope.vision.positions import Prefix, channels_last, pooled

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Call:
    """One execution of a module.

    Attributes:
        name, type: of the module.
        index: how many calls of it came before.
        shape: of what it gave, for one image; None where that is no tensor.
        linear, convolution: whether it is a module of this kind.
        channels_last: whether the channels of its output are its last dimension, and not that after the images; None
            where the module itself does not tell.
        n_read: features or channels that it reads, if it is linear or a convolution; else 0.
    """

    name: str
    index: int
    type: str
    shape: tuple[int, ...] | None
    linear: bool
    convolution: bool
    channels_last: bool | None
    n_read: int = 0


@dataclass
class Tap:
    """A place to listen at: the output, or the input, of one call of one module.

    Attributes:
        layer: what was asked for.
        name, module, call: the module, and which call of it; the last one if None.
        prefix, channels_last, default: see `pooled`.
        heard, pool, shape, resolution, calls: what it hears in a pass: points, how they were made of positions, the
            shape before that, rounding, and how many calls there were.
    """

    layer: Layer
    name: str
    module: nn.Module
    prefix: Prefix
    channels_last: bool | None
    call: int | None = None
    of_input: bool = False
    default: str = ""
    heard: Tensor | None = field(default=None, repr=False)
    pool: str = ""
    shape: tuple[int, ...] = ()
    resolution: float = 0.0
    calls: int = 0


def unwrapped(network: Network) -> Network:
    """Without the wrappers of torch.compile and DataParallel, under which hooks lose calls."""
    module = network.module
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = module.module
        if not isinstance(inner, nn.Module):
            return network if module is network.module else replace(network, module=module)
        module = inner


def resolve(network: Network, layers: Sequence[Layer], probe: Tensor) -> list[Tap]:
    """Where to listen for each layer.

    Args:
        network: as `unwrapped` gives it.
        probe: pixels of one image, (1, channels, height, width).

    Raises:
        ModelError: names that are unknown or never executed, or a network that cannot take the image.
    """
    modules = {name: module for name, module in network.module.named_modules(remove_duplicate=False) if name}
    split = {layer: _name_and_call(layer.name) for layer in layers}
    for layer, (name, _) in split.items():
        if name not in modules and layer.name != PENULTIMATE:
            raise ModelError(f"{network.name}: {unknown('layer', name, [*modules, PENULTIMATE])}")
    calls = executed(network, probe)
    prefix = _prefix(network.module, calls)
    first_names = {module: name for name, module in network.module.named_modules()}
    taps = []
    scripted = (
        f"; {network.name} is TorchScript, whose layers cannot be heard: load the module itself"
        if isinstance(network.module, torch.jit.ScriptModule)
        else ""
    )
    for layer, (name, index) in split.items():
        if layer.name == PENULTIMATE and name not in modules:
            call = penultimate(calls)
            if call is None:
                raise ModelError(
                    f"{network.name} executes no linear layer and no convolution as a module, so {PENULTIMATE!r} names "
                    f"nothing in it{scripted or '; make its classifier an nn.Linear, or ask for a layer by name'}"
                )
            module = modules.get(call.name, network.module)
            default = "mean" if call.convolution else ""
            taps.append(Tap(layer, call.name, module, prefix, call.linear, call.index, of_input=True, default=default))
            continue
        known = [c for c in calls if c.name == first_names[modules[name]]]
        if not known:
            raise ModelError(
                f"{network.name}: layer {name!r} is there but is not executed in evaluation mode{scripted}"
            )
        if index is not None and index >= len(known):
            raise ModelError(
                f"{network.name}: layer {name!r} is called {len(known)} time{'s' if len(known) > 1 else ''}, so "
                f"{layer.name!r} does not exist; calls count from 0"
            )
        call = known[-1 if index is None else index]
        if call.shape is None:
            raise ModelError(f"{network.name}: layer {name!r} gives no tensor that could be measured")
        taps.append(Tap(layer, name, modules[name], prefix, _channels_last(calls, call), index))
    return taps


def _name_and_call(layer: str) -> tuple[str, int | None]:
    name, at, call = layer.rpartition("@")
    return (name, int(call)) if at and call.isdecimal() else (layer, None)


def penultimate(calls: Sequence[Call]) -> Call | None:
    """The call whose input is the penultimate layer: that of the classifier.

    That is the last linear layer, or else the last convolution, unless the network's output says more: layers that
    come last and give one value per logit are its heads, also where a convolution comes after linear layers. Of several
    heads, whose logits a network averages, the first counts if all read equally many features (the class token, where
    the others read a distillation token or the same features), else the last (the deepest or widest branch). What gives
    logits of each position, such as an auxiliary head, is none.

    Args:
        calls: of a whole forward pass, as `executed` gives them.
    """
    heads = _heads(calls)
    if heads:
        return heads[0] if len({head.n_read for head in heads}) == 1 else heads[-1]
    linear = [call for call in calls if call.linear]
    convolutions = [call for call in calls if call.convolution]
    either = linear or convolutions
    return either[-1] if either else None


def _heads(calls: Sequence[Call]) -> list[Call]:
    """The calls that give the logits, or of which they are the mean, in the order of execution."""
    logits = calls[-1].shape if calls and not calls[-1].name else None
    if logits is None or len(logits) != 2:
        return []
    heads: list[Call] = []
    for call in reversed([call for call in calls if (call.linear or call.convolution) and call.shape is not None]):
        assert call.shape is not None
        if call.shape[-1 if call.linear else 1] != logits[1]:
            break
        if not (call.shape == logits if call.linear else call.shape[:2] == logits):
            continue
        if heads and (heads[-1].n_read == logits[1] or heads[-1].linear != call.linear):
            break  # the later one may read this one
        heads.append(call)
    return heads[::-1]


def executed(network: Network, pixels: Tensor) -> list[Call]:
    """Every call of every module in a forward pass, in the order in which they finish."""
    calls: list[Call] = []
    times: Counter[str] = Counter()

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            tensor = _first_tensor(output)
            shape = None if tensor is None or tensor.ndim < 1 else tuple(tensor.shape)
            calls.append(
                Call(
                    name,
                    times[name],
                    type(module).__name__,
                    shape,
                    isinstance(module, nn.Linear),
                    isinstance(module, _CONVOLUTIONS),
                    channels_last(module, shape or ()),
                    _n_read(module),
                )
            )
            times[name] += 1

        return hook

    handles = [
        module.register_forward_hook(note(name))
        for name, module in network.module.named_modules()
        if not isinstance(module, RecursiveScriptModule)  # which takes no hooks
    ]
    try:
        with undisturbed(network), torch.no_grad():
            first_pass(network, pixels)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _n_read(module: nn.Module) -> int:
    return int(
        module.in_features
        if isinstance(module, nn.Linear)
        else module.in_channels
        if isinstance(module, _CONVOLUTIONS)
        else 0
    )


# -- channels and positions --------------------------------------------------------------------------------------------


def _channels_last(calls: Sequence[Call], call: Call) -> bool | None:
    """Whether the channels of what a call gave are the last dimension; None where that is not clear.

    Where the module does not tell (a block, an activation), calls that gave the same shape do. Only where a map has as
    many rows and columns as channels can they disagree. Where none tells, (n, positions, channels) is what
    transformers give, and (n, channels, height, width) what convolutions give.
    """
    assert call.shape is not None
    if call.channels_last is not None:
        return call.channels_last
    told = {other.channels_last for other in calls if other.shape == call.shape} - {None}
    return len(call.shape) == 3 if not told else told.pop() if len(told) == 1 else None


def _prefix(module: nn.Module, calls: Sequence[Call]) -> Prefix:
    """The tokens before those of the patches, by the names that timm, torchvision and DINOv2 give to them."""
    for owner in module.modules():
        own = dict(owner.named_parameters(recurse=False))
        class_token = "cls_token" in own or "class_token" in own
        told = getattr(owner, "num_prefix_tokens", None)
        if isinstance(told, int):
            n_tokens = told
        else:
            registers = getattr(owner, "num_register_tokens", 0)
            n_tokens = class_token * (1 + ("dist_token" in own) + (registers if isinstance(registers, int) else 0))
        if n_tokens:
            shapes = [(call.shape, call.convolution) for call in calls if call.shape is not None]
            maps = [shape[2:] for shape, convolution in shapes if convolution]
            most = max((shape[1] for shape, _ in shapes if len(shape) == 3), default=0)
            return Prefix(n_tokens, class_token, frozenset(map(math.prod, maps)), most)
    return Prefix()


# -- listening ---------------------------------------------------------------------------------------------------------


def captured(network: Network, taps: Sequence[Tap], pixels: Tensor) -> list[tuple[Tap, Tensor]]:
    """What every tap hears in one pass: see `listening`."""
    with listening(network, taps) as run:
        heard, _ = run(pixels)
    return heard


@contextmanager
def listening(
    network: Network, taps: Sequence[Tap], *, differentiable: bool = False
) -> Iterator[Callable[[Tensor], tuple[list[tuple[Tap, Tensor]], Tensor]]]:
    """A function from pixels to what every tap hears, (n, n_features) float32 on the CPU, and to the logits.

    Where each position is a point, it is (n positions, n_features), those of an image together.

    What is heard `differentiable` stays on the network's device, with the graph that leads back to the pixels.
    """
    handles = []
    n_images = 0

    def hear(tap: Tap, value: Any) -> None:
        tensor = _first_tensor(value)
        if tensor is not None and tap.call in (None, tap.calls):
            tap.heard, tap.shape = None, tuple(tensor.shape)
            if tensor.ndim and len(tensor) == n_images:
                tensor = tensor if differentiable else tensor.detach()
                points, tap.pool = pooled(
                    tensor, tap.layer, channels_last=tap.channels_last, prefix=tap.prefix, default=tap.default
                )
                tap.heard = points.clone()  # an in-place layer may write over it next
        tap.calls += 1

    def run(pixels: Tensor) -> tuple[list[tuple[Tap, Tensor]], Tensor]:
        nonlocal n_images
        n_images = len(pixels)
        for tap in taps:
            tap.heard, tap.shape, tap.calls = None, (), 0
        with torch.set_grad_enabled(differentiable):
            logits = network(pixels.to(network.device))
        heard = []
        for tap in taps:
            if not tap.calls:
                raise ModelError(f"{network.name}: layer {str(tap.layer)!r} was not executed for these images")
            if tap.heard is None:
                raise ModelError(
                    f"{network.name}: layer {str(tap.layer)!r} gives shape {tap.shape} for {len(pixels)} images; only "
                    "layers whose first dimension counts the images can be measured"
                )
            tap.resolution = resolution_of(tap.heard)
            values = tap.heard.reshape(-1, tap.heard.shape[-1]).float()
            heard.append((tap, values if differentiable else values.cpu()))
            tap.heard = None
        return heard, logits

    try:
        for tap in taps:
            if tap.of_input:
                handles.append(
                    tap.module.register_forward_pre_hook(
                        lambda _, args, kwargs, tap=tap: hear(tap, args or list(kwargs.values())), with_kwargs=True
                    )
                )
            else:
                handles.append(tap.module.register_forward_hook(lambda _, args, output, tap=tap: hear(tap, output)))
        with undisturbed(network):
            yield run
    finally:
        for handle in handles:
            handle.remove()
        for tap in taps:
            tap.heard = None


def _first_tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
    return next((tensor for item in inside if (tensor := _first_tensor(item)) is not None), None)
