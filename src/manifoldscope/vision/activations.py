"""One pass of images through a network, many layers, one manifold per layer and class."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from manifoldscope.errors import DataError, ManifoldscopeError, ModelError, unknown
from manifoldscope.files import why
from manifoldscope.geometry.manifold import ClassManifold, resolution_of
from manifoldscope.vision.images import ImageSet, batches
from manifoldscope.vision.network import Network, undisturbed

PENULTIMATE = "penultimate"
"""The layer that the classifier reads: the input of the last linear layer that is executed, flattened; where a network
executes none, the input of its last convolution, averaged over space."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


# One image in another batch, or by another of a library's algorithms for convolutions, which may go by the size of the
# batch: up to 68 eps of float32 (ResNet-32; MobileNetV2 24, ResNet-50 17). Images were never nearer than 300,000.
ROUNDING = 2.0**-16
"""The rounding of what a network in float32 gives, as a share of its norm: nearer points of a layer are equal."""

IN_MEMORY = 2**30
"""Bytes of the points of one layer up to which they are held in memory, where a folder is given for larger ones."""


def activations(
    network: Network,
    images: ImageSet,
    *,
    layers: Sequence[str] = (PENULTIMATE,),
    batch_size: int = 64,
    folder: str | os.PathLike[str] | None = None,
    in_memory: float = IN_MEMORY,
) -> list[ClassManifold]:
    """What each layer answers to the images of each class, in one pass over the images.

    The network runs in evaluation mode and is found afterwards as it was. The memory taken is that of the points, in
    float32 on the CPU, and of one batch.

    Args:
        layers: names of modules as `layer_table` lists them, or "penultimate". A module gives its output, or the first
            tensor of it; where it is called several times its last call counts, and "name@0", "name@1", ... name them.
        batch_size: images to a forward pass.
        folder: where the points of a layer that take more than `in_memory` bytes are kept: in a nameless file that is
            mapped to memory, so that they need not stand in memory whole, and that goes when they go. Without it they
            do.
        in_memory: see `folder`.

    Returns:
        One manifold for each layer, in the order asked for, and class, in the order of the indices; points are in the
        order of the images. Points that differ by the rounding of the network alone, as those of one image in batches
        of different sizes, count as equal in the measures of neighbours.

    Raises:
        ModelError: a layer that does not exist or is not executed, or one that gives NaN or infinity.
        DataError: no images, or images that cannot be read.

    Example:
        >>> import torch
        >>> module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
        >>> images = ImageSet.of(torch.rand(6, 1, 8, 8), [0, 0, 0, 1, 1, 1])
        >>> from manifoldscope.vision.network import Preprocessing
        >>> network = Network(module, preprocessing=Preprocessing(channels=1))
        >>> [manifold.points.shape for manifold in activations(network, images)]
        [torch.Size([3, 64]), torch.Size([3, 64])]
    """
    if not len(images):
        raise DataError("there are no images to pass through the network")
    if batch_size < 1:
        raise ModelError(f"batch_size = {batch_size}: expected at least 1")
    network = _plain(network)
    taps = _resolve(network, layers, network.pixels(images, slice(0, 1)))
    clouds: dict[str, Tensor] = {}
    resolution = dict.fromkeys(layers, ROUNDING)
    labels, order = images.labels.sort(stable=True)
    rows = order.argsort()  # where each image's point goes, so that a class is one block
    with _listening(network, taps) as run:
        for where in batches(len(images), batch_size):
            for tap, values in run(network.pixels(images, where)):
                if tap.layer not in clouds:
                    clouds[tap.layer] = _room(len(images), values.shape[1], folder, in_memory)
                cloud = clouds[tap.layer]
                if values.shape[1] != cloud.shape[1]:
                    raise ModelError(
                        f"{network.name}: layer {tap.layer!r} gives {values.shape[1]} features for some images and "
                        f"{cloud.shape[1]} for others; give the network a crop size"
                    )
                if not torch.isfinite(values).all():
                    bad = int((~torch.isfinite(values)).any(dim=1).sum())
                    raise ModelError(
                        f"{network.name}: layer {tap.layer!r} gives NaN or infinity for {bad} of {len(values)} images "
                        f"(first in the batch from image {where.start}); look for weights that diverged, a std near "
                        "zero, or overflow in half precision"
                    )
                cloud[rows[where]] = values
                resolution[tap.layer] = max(resolution[tap.layer], tap.resolution)
    classes, counts = torch.unique_consecutive(labels, return_counts=True)
    return [
        ClassManifold(points, label=label, layer=layer, name=images.class_names[label], resolution=resolution[layer])
        for layer in layers
        for label, points in zip(classes.tolist(), torch.split(clouds[layer], counts.tolist()), strict=True)
    ]


def _room(n_points: int, n_features: int, folder: str | os.PathLike[str] | None, in_memory: float) -> Tensor:
    """Space for the points of one layer, in memory or in a file."""
    size = n_points * n_features
    if folder is None or 4 * size <= in_memory:
        return torch.empty(n_points, n_features)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix="points-") as file:  # what is mapped stays when it goes
            if hasattr(os, "posix_fallocate"):  # a full disk is found now, and not by a bus error later
                os.posix_fallocate(file.fileno(), 0, 4 * size)
            return torch.from_file(file.name, shared=True, size=size, dtype=torch.float32).view(n_points, n_features)
    except OSError as error:
        raise DataError(
            f"no room for {4 * size / 2**30:.1f} GiB of activations in {os.fspath(folder)} ({why(error)}); measure "
            "fewer images or a smaller layer, or make room"
        ) from error


class Layer(NamedTuple):
    """One row of `layer_table`: what to ask for, the kind of module, and the shape of its output for one image."""

    name: str
    type: str
    shape: tuple[int, ...]


def layer_table(network: Network, pixels_shape: Sequence[int] | None = None) -> list[Layer]:
    """The layers that can be asked for, in the order in which they finish; `penultimate` stands last.

    A module that is called several times has a row for each call. Layers that give no tensor, or that are not executed
    in evaluation mode, are left out.

    Args:
        pixels_shape: (channels, height, width) of the images; the network's crop where left out.

    Raises:
        ModelError: the network has no crop and no shape was given, or cannot take images of this shape.
    """
    network = _plain(network)
    if pixels_shape is None:
        crop = network.preprocessing.crop
        if crop is None:
            raise ModelError(f"{network.name} takes images of any size; give the (channels, height, width) of yours")
        pixels_shape = (network.preprocessing.channels, crop, crop)
    calls = _executed(network, torch.full((1, *pixels_shape), 0.5))
    times = Counter(call.name for call in calls)
    table = [
        Layer(call.name if times[call.name] == 1 else f"{call.name}@{call.index}", call.type, call.shape[1:])
        for call in calls
        if call.name and call.shape is not None
    ]
    tap = _penultimate(calls)
    if tap is not None:
        width = n_features(network, [PENULTIMATE], torch.full((1, *pixels_shape), 0.5))[PENULTIMATE]
        table.append(Layer(PENULTIMATE, f"input of {tap.name}", (width,)))
    return table


def n_features(network: Network, layers: Sequence[str], example_pixels: Tensor) -> dict[str, int]:
    """How many features each layer has, from one forward pass.

    Args:
        example_pixels: one image in [0, 1], (channels, height, width), or a batch of them.

    Raises:
        ModelError: a layer that does not exist or is not executed, or a network that cannot take such an image.
    """
    network = _plain(network)
    one = example_pixels[:1] if example_pixels.ndim == 4 else example_pixels[None]
    taps = _resolve(network, layers, one)
    return {tap.layer: values.shape[1] for tap, values in _captured(network, taps, one)}


# -- which modules, and which of their calls ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Call:
    """One execution of a module: its name, how many calls of it came before, and the shape of what it gave."""

    name: str
    index: int
    type: str
    shape: tuple[int, ...] | None
    linear: bool
    convolution: bool


@dataclass
class _Tap:
    """A place to listen at: the output, or the input, of one call of one module."""

    layer: str
    name: str
    module: nn.Module
    call: int | None = None
    of_input: bool = False
    pooled: bool = False
    heard: Tensor | None = field(default=None, repr=False)
    resolution: float = 0.0
    calls: int = 0


def _plain(network: Network) -> Network:
    """Without the wrappers of torch.compile and DataParallel, under which hooks lose calls."""
    module = network.module
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = module.module
        if not isinstance(inner, nn.Module):
            return network if module is network.module else replace(network, module=module)
        module = inner


def _resolve(network: Network, layers: Sequence[str], probe: Tensor) -> list[_Tap]:
    """Where to listen for each layer. Raises ModelError for names that are unknown, repeated or never executed."""
    if not layers:
        raise ModelError(f"{network.name}: no layer was asked for; try {PENULTIMATE!r}")
    if isinstance(layers, str):
        raise ModelError(f"layers = {layers!r}: expected a list of names, such as [{layers!r}]")
    if repeated := [layer for layer, count in Counter(layers).items() if count > 1]:
        raise ModelError(f"{network.name}: layer {repeated[0]!r} is listed twice")
    modules = {name: module for name, module in network.module.named_modules(remove_duplicate=False) if name}
    split = {layer: _name_and_call(layer) for layer in layers}
    for layer, (name, _) in split.items():
        if name not in modules and layer != PENULTIMATE:
            raise ModelError(f"{network.name}: {unknown('layer', name, [*modules, PENULTIMATE])}")
    calls = _executed(network, probe)
    first_names = {module: name for name, module in network.module.named_modules()}
    taps = []
    for layer, (name, call) in split.items():
        if layer == PENULTIMATE and name not in modules:
            tap = _penultimate(calls)
            if tap is None:
                raise ModelError(
                    f"{network.name} executes no linear layer and no convolution as a module, so {PENULTIMATE!r} names "
                    "nothing in it; make its classifier an nn.Linear, or ask for a layer by name"
                )
            taps.append(
                _Tap(layer, tap.name, modules.get(tap.name, network.module), tap.index, True, pooled=tap.convolution)
            )
            continue
        known = [c for c in calls if c.name == first_names[modules[name]]]
        if not known:
            raise ModelError(f"{network.name}: layer {name!r} is there but is not executed in evaluation mode")
        if call is not None and call >= len(known):
            raise ModelError(
                f"{network.name}: layer {name!r} is called {len(known)} time{'s' if len(known) > 1 else ''}, so "
                f"{layer!r} does not exist; calls count from 0"
            )
        if known[-1 if call is None else call].shape is None:
            raise ModelError(f"{network.name}: layer {name!r} gives no tensor that could be measured")
        taps.append(_Tap(layer, name, modules[name], call))
    return taps


def _name_and_call(layer: str) -> tuple[str, int | None]:
    name, at, call = layer.rpartition("@")
    return (name, int(call)) if at and call.isdecimal() else (layer, None)


def _penultimate(calls: Sequence[_Call]) -> _Call | None:
    """The call whose input is the penultimate layer."""
    linear = [call for call in calls if call.linear]
    convolutions = [call for call in calls if call.convolution]
    either = linear or convolutions
    return either[-1] if either else None


def _executed(network: Network, pixels: Tensor) -> list[_Call]:
    """Every call of every module in a forward pass, in the order in which they finish."""
    calls: list[_Call] = []
    times: Counter[str] = Counter()

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            tensor = _first_tensor(output)
            shape = None if tensor is None or tensor.ndim < 1 else tuple(tensor.shape)
            linear, convolution = isinstance(module, nn.Linear), isinstance(module, _CONVOLUTIONS)
            calls.append(_Call(name, times[name], type(module).__name__, shape, linear, convolution))
            times[name] += 1

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in network.module.named_modules()]
    try:
        with undisturbed(network), torch.no_grad():
            _forward(network, pixels)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _forward(network: Network, pixels: Tensor) -> None:
    """A first pass, whose failure tells that network and images do not go together."""
    try:
        network(pixels.to(network.device))
    except ManifoldscopeError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        raise ModelError(
            f"{network.name} cannot take images of shape {tuple(pixels.shape[1:])}: "
            f"{' '.join(str(error).split())[:200] or type(error).__name__}"
        ) from error


# -- listening ---------------------------------------------------------------------------------------------------------


def _captured(network: Network, taps: Sequence[_Tap], pixels: Tensor) -> list[tuple[_Tap, Tensor]]:
    with _listening(network, taps) as run:
        return run(pixels)


@contextmanager
def _listening(
    network: Network, taps: Sequence[_Tap], *, differentiable: bool = False
) -> Iterator[Callable[[Tensor], list[tuple[_Tap, Tensor]]]]:
    """A function from pixels to what every tap hears: (n, n_features), float32 on the CPU.

    What is heard `differentiable` stays on the network's device, with the graph that leads back to the pixels.
    """
    handles = []

    def hear(tap: _Tap, value: Any) -> None:
        tensor = _first_tensor(value)
        if tensor is not None and tap.call in (None, tap.calls):
            if tap.pooled and tensor.ndim > 2:
                tensor = tensor.flatten(2).mean(dim=2)
            tensor = tensor if differentiable else tensor.detach()
            tap.heard = tensor.clone()  # an in-place layer may write over it next
        tap.calls += 1

    def run(pixels: Tensor) -> list[tuple[_Tap, Tensor]]:
        for tap in taps:
            tap.heard, tap.calls = None, 0
        with torch.set_grad_enabled(differentiable):
            network(pixels.to(network.device))
        heard = []
        for tap in taps:
            if tap.heard is None:
                raise ModelError(f"{network.name}: layer {tap.layer!r} was not executed for these images")
            if len(tap.heard) != len(pixels):
                raise ModelError(
                    f"{network.name}: layer {tap.layer!r} gives shape {tuple(tap.heard.shape)} for {len(pixels)} "
                    "images; only layers whose first dimension counts the images can be measured"
                )
            tap.resolution = resolution_of(tap.heard)
            values = tap.heard.reshape(len(pixels), -1).float()
            heard.append((tap, values if differentiable else values.cpu()))
            tap.heard = None
        return heard

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
