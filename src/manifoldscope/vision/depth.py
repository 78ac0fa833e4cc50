"""The layers of a network from its first to its last: which are worth measuring, and which a pattern names."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from manifoldscope.errors import ModelError, unknown
from manifoldscope.vision.hooks import Call, Tap, captured, executed, penultimate, resolve, unwrapped
from manifoldscope.vision.layers import ALL, PENULTIMATE, Layer, NamedPool, layers_of, listed
from manifoldscope.vision.network import Network, as_network

WIDE = 2**15
"""Features up to which "all" and patterns flatten a map, as a layer by name is; a wider map is averaged over its
positions."""

SAME = 1e-5
"""Relative distance up to which a layer is the penultimate one under another name: an average over space by another
module differs by rounding."""

_CONTAINERS = ("Sequential", "ModuleList")


@dataclass(frozen=True)
class Place:
    """A layer at its place in the order of execution.

    Attributes:
        layer: what to ask for: its name as in `layer_table`, with a pool where the default would be too wide.
        type: of the module.
        shape: of its output for one image.
        n_features: of a point; None where images have no points.
        pool: how positions become points, as in `ClassManifold.pool`; "" where there are none.
        mean: whether its positions can be averaged: it has some, and which dimension they are is clear.
        left_out: why "all" leaves it out; "" where it does not.
        same_as: equal where layers give equal points.
    """

    layer: Layer
    type: str
    shape: tuple[int, ...]
    n_features: int | None = None
    pool: str = ""
    mean: bool = False
    left_out: str = ""
    same_as: str = ""

    @property
    def name(self) -> str:
        """Its name, without a pool."""
        return self.layer.name


def places(network: Network | nn.Module, pixels: Tensor) -> list[Place]:
    """Every layer that is executed, in the order in which they finish; the penultimate one before the classifier.

    "All" leaves out what is not one output per image or has a single feature; what is inside a module of attention;
    maps too wide to flatten whose channels are not known; and what gives the same points as another layer: dropout and
    identity in evaluation mode, flattening, and containers. Of such layers the penultimate stays, else the outermost
    that is no mere sequence, else the first.

    Args:
        network: left as it was.
        pixels: of some images, (n, channels, height, width); two are looked at.

    Raises:
        ModelError: the network cannot take such images.
    """
    network = unwrapped(as_network(network))
    two = pixels[:2] if len(pixels) > 1 else torch.cat([pixels, pixels])
    return _without_copies(list(_ordered(network, executed(network, two), two)))


def expanded(
    network: Network | nn.Module, layers: str | Sequence[str | Layer | Mapping[str, Any]], pixels: Tensor
) -> list[Layer]:
    """Layers by name, where patterns have become the layers of a network that they match.

    "all" is every layer that `places` does not leave out; another pattern is matched as in a shell, where * takes dots
    too, against every name of `layer_table` that gives points, once for equal points. Without a pool a map of up to
    `WIDE` features is flattened, as a layer by name is, and a wider one averaged; with one, layers without positions
    are taken as they are (flatten, mean, max), and those that cannot be pooled so are left out.

    Args:
        layers: in any form of `Layer`, or "all"; names that are no patterns are not checked.
        pixels: as for `places`.

    Returns:
        In the order given where there is no pattern, else in the order of execution.

    Raises:
        ModelError: a pattern that matches nothing that can be measured.

    Example:
        >>> module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(72, 5))
        >>> [str(layer) for layer in expanded(module, "all", torch.rand(2, 1, 8, 8))]
        ['0', 'penultimate', '4']
        >>> [str(layer) for layer in expanded(module, ["[01]"], torch.rand(2, 1, 8, 8))]
        ['0', '1']
    """
    asked = layers_of(listed(layers))
    if not any(layer.is_pattern for layer in asked):
        return asked
    network = as_network(network)
    every = places(network, pixels)
    known = {place.name: at for at, place in enumerate(every)}
    known |= {place.name.rpartition("@")[0]: at for at, place in enumerate(every) if "@" in place.name}  # the last call
    chosen: dict[Layer, int] = {}
    for layer in asked:
        if layer.name == ALL or (layer.is_pattern and layer.name not in known):
            chosen |= {each: known[each.name] for each in _matched(network.name, layer, every) if each not in chosen}
        else:
            chosen.setdefault(layer, known.get(layer.name, len(every)))
    return sorted(chosen, key=lambda layer: chosen[layer])


# -- which layers match ------------------------------------------------------------------------------------------------


def _matched(network: str, pattern: Layer, every: Sequence[Place]) -> Iterator[Layer]:
    """The layers that a pattern names, once for equal points."""
    if pattern.name == ALL:
        matched = measured = [place for place in every if not place.left_out]
    else:
        matched = [place for place in every if fnmatchcase(place.name, pattern.name)]
        measured = _distinct([place for place in matched if place.n_features])
    asked = [layer for place in measured if (layer := _pooled(place, pattern)) is not None]
    if not matched:
        stem = pattern.name.strip("*?.")
        near = unknown("layer", stem, [place.name for place in every])
        raise ModelError(f"{network}: no layer matches the pattern {pattern.name!r}: {near}")
    if not asked:
        names = ", ".join(place.name for place in matched[:4]) + ", ..." * (len(matched) > 4)
        raise ModelError(
            f"{network}: of the layers that match {str(pattern)!r} ({names}) none gives such a point for each image; "
            "`manifoldscope list layers --model ...` shows what each gives"
        )
    yield from asked


def _pooled(place: Place, pattern: Layer) -> Layer | None:
    """A layer with the pool of the pattern that named it; None where it cannot be pooled so."""
    if pattern.pool is None:
        return place.layer
    if not place.pool:
        return Layer(place.name) if pattern.pool in ("flatten", "mean", "max") else None
    if pattern.pool == "class_token":
        return Layer(place.name, "class_token") if place.pool == "class_token" else None
    return Layer(place.name, pattern.pool) if place.mean or pattern.pool == "flatten" else None


def _distinct(found: Sequence[Place]) -> list[Place]:
    """One place of those that give the same points, in order."""
    best: dict[str, Place] = {}
    for place in found:
        other = best.get(place.same_as)
        if other is None or _preference(place) < _preference(other):
            best[place.same_as] = place
    return [place for place in found if best[place.same_as] is place]


def _preference(place: Place) -> tuple[bool, bool, int]:
    return place.name != PENULTIMATE, place.type in _CONTAINERS, place.name.count(".")


def _without_copies(found: Sequence[Place]) -> list[Place]:
    """The places, where those that give the points of another are left out."""
    usable = [place for place in found if not place.left_out]
    best = {place.same_as: place.name for place in _distinct(usable)}
    return [
        place
        if place.left_out or best[place.same_as] == place.name
        else replace(place, left_out=f"same points as {best[place.same_as]}")
        for place in found
    ]


# -- looking at them ---------------------------------------------------------------------------------------------------


def _ordered(network: Network, calls: Sequence[Call], pixels: Tensor) -> Iterator[Place]:
    """Every call that gives a tensor, and the penultimate layer before the call that reads it."""
    times, modules = Counter(call.name for call in calls), dict(network.module.named_modules())
    reader = None if PENULTIMATE in modules else penultimate(calls)
    last = _penultimate(network, reader, pixels)
    heard = _heard(network, calls, times, pixels)
    image = _digest(network.normalise(pixels.to(network.device)).flatten(1).float().cpu())
    for call in calls:
        if call is reader and last is not None:
            yield last[0]
        if not call.name or call.shape is None:
            continue
        name = _name(call, times)
        place = Place(Layer(name), call.type, call.shape[1:])
        if name not in heard:
            yield replace(place, left_out=_why_not(call, len(pixels)))
            continue
        tap, points = heard[name]
        digest, attention = _digest(points), _attention_around(name, modules)
        left_out = f"inside {attention}" if attention else "same points as the images" if digest == image else ""
        if last is not None and points.shape == last[1].shape and _close(points, last[1]):
            digest = last[0].same_as
        yield replace(
            place,
            layer=tap.layer,
            n_features=points.shape[1],
            pool=tap.pool,
            mean=bool(tap.pool) and tap.channels_last is not None,
            left_out=left_out,
            same_as=digest,
        )


def _penultimate(network: Network, reader: Call | None, pixels: Tensor) -> tuple[Place, Tensor] | None:
    """The layer that the classifier reads, and its points; None where there is not one for each image."""
    if reader is None:
        return None
    try:
        tap, points = captured(network, resolve(network, [Layer(PENULTIMATE)], pixels), pixels)[0]
    except ModelError:
        return None
    mean = bool(tap.pool) and tap.channels_last is not None
    type_, shape = f"input of {reader.name}", tap.shape[1:]
    return Place(tap.layer, type_, shape, points.shape[1], tap.pool, mean, same_as=_digest(points)), points


def _heard(
    network: Network, calls: Sequence[Call], times: Mapping[str, int], pixels: Tensor
) -> dict[str, tuple[Tap, Tensor]]:
    """The points of each layer that has one of several features for each image, averaged over wide maps."""
    shapes = {_name(call, times): call.shape for call in calls if call.name and call.shape is not None}
    names = [name for name, shape in shapes.items() if shape[0] == len(pixels) and math.prod(shape[1:]) > 1]
    taps = []
    for tap in resolve(network, list(map(Layer, names)), pixels) if names else []:
        shape, known = shapes[tap.layer.name][1:], tap.channels_last is not None
        map_like = len(shape) > 2 or (len(shape) == 2 and not tap.channels_last)
        wide = map_like and math.prod(shape) > WIDE
        pool: NamedPool | None = "mean" if wide else "flatten" if len(shape) == 2 and not known else None
        if known or not wide:
            taps.append(replace(tap, layer=Layer(tap.layer.name, pool)))
    heard = captured(network, taps, pixels)
    return {tap.layer.name: (tap, points) for tap, points in heard if points.shape[1] > 1}


def _why_not(call: Call, n_images: int) -> str:
    """Why a layer has no points."""
    assert call.shape is not None
    if call.shape[0] != n_images:
        return "not one output per image"
    n_features = math.prod(call.shape[1:])
    return "one feature" if n_features <= WIDE else f"{n_features:,} features whose channels are not known"


def _name(call: Call, times: Mapping[str, int]) -> str:
    return call.name if times[call.name] == 1 else f"{call.name}@{call.index}"


def _attention_around(name: str, modules: Mapping[str, nn.Module]) -> str:
    """The innermost module of attention that a layer is inside of; "" where it is in none."""
    outer = name
    while outer := outer.rpartition(".")[0]:
        if "attention" in type(modules.get(outer)).__name__.lower():
            return outer
    return ""


def _digest(points: Tensor) -> str:
    return hashlib.sha256(points.contiguous().numpy().tobytes()).hexdigest()


def _close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).norm() <= SAME * other.norm())
