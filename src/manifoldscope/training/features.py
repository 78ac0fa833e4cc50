"""The activations of one layer while a network is trained: to read them, or to replace them, with gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from manifoldscope.errors import DataError, ModelError
from manifoldscope.vision.hooks import resolve, unwrapped
from manifoldscope.vision.layers import PENULTIMATE, Layer
from manifoldscope.vision.network import Network, as_network
from manifoldscope.vision.positions import Prefix, pooled


@dataclass(frozen=True)
class Place:
    """Where a layer is in a network: the output, or the input, of one call of one module.

    Attributes:
        layer: what was asked for.
        module: the name of the module.
        call: which call of it; None if that was not said.
        of_input: whether it is the input.
        channels_last, prefix, default: how positions are pooled; see `vision.positions.pooled`.
    """

    layer: Layer
    module: str
    call: int | None
    of_input: bool
    channels_last: bool | None
    prefix: Prefix
    default: str


_PLACES: WeakKeyDictionary[nn.Module, dict[tuple[str, bool], Place]] = WeakKeyDictionary()
"""Of each network that still exists, by the text of the layer and whether it trains: to find one takes a pass."""


def logits_and_features(
    network: Network | nn.Module, pixels: Tensor, layer: str = PENULTIMATE
) -> tuple[Tensor, Tensor]:
    """Logits and the activations of one layer, from one forward pass, with gradients.

    The network is run as it is: in training mode, batch norm and dropout act as they do in training.

    Args:
        network: or a module that is shown pixels in [0, 1].
        pixels: (n, channels, height, width) in [0, 1], floating point.
        layer: "penultimate", or a module by name, with a way to pool where it has positions: see `vision.Layer`. Where
            the module is called several times, it is the last call, or that of "name@0".

    Returns:
        Logits (n, n_classes), float32, and features (n, n_features), in the type that the layer gives.

    Raises:
        DataError: pixels of another shape or type, or of no image.
        ModelError: a layer that is not there or is not executed, or that does not give a point per image.

    Example:
        >>> module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> logits, features = logits_and_features(Network(module), torch.rand(5, 1, 2, 2))
        >>> tuple(logits.shape), tuple(features.shape), features.requires_grad
        ((5, 2), (5, 3), True)
    """
    network = unwrapped(as_network(network))
    if not (isinstance(pixels, Tensor) and pixels.ndim == 4 and pixels.is_floating_point() and len(pixels)):
        given = f"{tuple(pixels.shape)} of {pixels.dtype}" if isinstance(pixels, Tensor) else type(pixels).__name__
        raise DataError(f"pixels are {given}; expected (n, channels, height, width) in [0, 1], floating point")
    place = place_of(network, layer, pixels)
    heard: list[Tensor] = []

    def hear(call: int, value: Tensor) -> None:
        if place.call in (None, call):
            points, _ = pooled(
                value, place.layer, channels_last=place.channels_last, prefix=place.prefix, default=place.default
            )
            heard.append(points.clone())  # an in-place layer may write over it next

    with _listening(network, place, hear):
        logits = network(pixels)
    if not heard:
        raise ModelError(f"{network.name}: layer {layer!r} was not executed for these images")
    if heard[-1].ndim != 2 or len(heard[-1]) != len(pixels):
        raise ModelError(
            f"{network.name}: layer {layer!r} gives shape {tuple(heard[-1].shape)} for {len(pixels)} images; expected "
            "a point per image"
        )
    return logits, heard[-1]


def replaced(network: Network, pixels: Tensor, layer: str, by: Callable[[Tensor], Tensor]) -> Tensor:
    """Logits (n, n_classes) of a pass in which the activations of one layer are replaced by a function of them.

    Args:
        pixels: (n, channels, height, width) in [0, 1].
        layer: as for `logits_and_features`, without pooling; where the module is called several times, it is the first
            call, or that of "name@1".
        by: from the tensor that the layer gives to one of the same shape.

    Raises:
        ModelError: a layer that is not there or is not executed, or that does not give one tensor with a row per image.
    """
    network = unwrapped(network)
    place = place_of(network, layer, pixels)
    done = False

    def put(call: int, value: Tensor) -> Tensor | None:
        nonlocal done
        if call != (place.call or 0):
            return None
        if len(value) != len(pixels):
            raise ModelError(f"{network.name}: layer {layer!r} gives {len(value)} rows for {len(pixels)} images")
        done = True
        return by(value)

    with _listening(network, place, put):
        logits = network(pixels)
    if not done:
        raise ModelError(f"{network.name}: layer {layer!r} was not executed for these images")
    return logits


def place_of(network: Network, layer: str, pixels: Tensor) -> Place:
    """Where a layer is, found once for each network and mode by passing one image through it in evaluation mode.

    Raises:
        ModelError: there is no such layer, or it is not executed.
    """
    known = _PLACES.setdefault(network.module, {})
    key = (layer, network.module.training)
    if key not in known:
        (tap,) = resolve(network, [Layer.of(layer)], pixels[:1])
        call = tap.call
        if tap.of_input and call:  # the classifier's last call, of which there may be fewer in the mode of the network
            call = max(
                0, call - _n_calls(network, tap.name, pixels, False) + _n_calls(network, tap.name, pixels, key[1])
            )
        known[key] = Place(
            tap.layer, tap.name, call, tap.of_input, tap.channels_last, tap.prefix, tap.default
        )  # without the module, which would keep the network alive
    return known[key]


def _n_calls(network: Network, name: str, pixels: Tensor, training: bool) -> int:
    """How often a module is called in a pass; the network and the generators are left as they were."""
    n_calls = 0

    def count(*_: Any) -> None:
        nonlocal n_calls
        n_calls += 1

    module = copy.deepcopy(network.module).train(training)
    module.get_submodule(name).register_forward_hook(count)
    devices = [network.device.index or 0] if network.device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices=devices):
        replace(network, module=module)(pixels[:1].expand(2, -1, -1, -1))  # batch norm needs two
    return n_calls


@contextmanager
def _listening(network: Network, place: Place, act: Callable[[int, Tensor], Tensor | None]) -> Iterator[None]:
    """While inside, each call of the place's module is shown to `act` with its number; what it returns is put there."""
    module = network.module.get_submodule(place.module)
    n_calls = 0

    def shown(value: Any) -> Tensor | None:
        nonlocal n_calls
        n_calls += 1
        if not isinstance(value, Tensor):
            raise ModelError(
                f"{network.name}: layer {str(place.layer)!r} gives {type(value).__name__}; expected one tensor"
            )
        return act(n_calls - 1, value)

    def before(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        name = next(iter(kwargs), "")
        new = shown(args[0] if args else kwargs.get(name))
        if new is None:
            return args, kwargs
        return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, name: new})

    if place.of_input:
        handle = module.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = module.register_forward_hook(lambda _, args, output: shown(output))
    try:
        yield
    finally:
        handle.remove()
