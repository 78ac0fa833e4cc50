"""One pass of images through a network, many layers, one manifold per layer and class."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from manifoldscope.errors import DataError, ModelError
from manifoldscope.files import why
from manifoldscope.geometry.manifold import ClassManifold
from manifoldscope.vision.depth import expanded
from manifoldscope.vision.hooks import captured, executed, listening, penultimate, resolve, unwrapped
from manifoldscope.vision.images import ImageSet, as_image_set, batches
from manifoldscope.vision.layers import PENULTIMATE, Layer, layers_of, listed
from manifoldscope.vision.mapstyle import batch_of
from manifoldscope.vision.network import Network, as_network

# One image in another batch, or by another of a library's algorithms for convolutions, which may go by the size of the
# batch: up to 68 eps of float32 (ResNet-32; MobileNetV2 24, ResNet-50 17). Images were never nearer than 300,000.
ROUNDING = 2.0**-16
"""The rounding of what a network in float32 gives, as a share of its norm: nearer points of a layer are equal."""

IN_MEMORY = 2**30
"""Bytes of the points of one layer up to which they are held in memory, where a folder is given for larger ones."""


def activations(
    network: Network | nn.Module,
    images: ImageSet | DataLoader[Any],
    *,
    layers: str | Sequence[str | Layer] = (PENULTIMATE,),
    batch_size: int = 64,
    folder: str | os.PathLike[str] | None = None,
    in_memory: float = IN_MEMORY,
) -> list[ClassManifold]:
    """What each layer answers to the images of each class, in one pass over the images.

    The network runs in evaluation mode and is found afterwards as it was. The memory taken is that of the points, in
    float32 on the CPU, and of one batch.

    Args:
        network: a network; or a plain module, which is shown pixels in [0, 1] without normalisation.
        images: an image set; or a `DataLoader` of (pixels, labels) in [0, 1], whose batches are taken as they come.
        layers: names of modules as `layer_table` lists them, or "penultimate"; or a `Layer`, which also says how
            positions become points. A module gives its output, or the first tensor of it; where it is called several
            times its last call counts, and "name@0", "name@1", ... name them. "all" and patterns such as "blocks.*"
            stand for several: see `depth.expanded`.
        batch_size: images to a forward pass; a loader has its own.
        folder: where the points of a layer that take more than `in_memory` bytes are kept: in a nameless file that is
            mapped to memory, so that they need not stand in memory whole, and that goes when they go. Without it, and
            with a loader, they do.
        in_memory: see `folder`.

    Returns:
        One manifold for each layer, in the order asked for, and class, in the order of the indices; points are in the
        order of the images, and of the positions of each where every position is a point. `ClassManifold.pool` says
        how positions became points. Points that differ by the rounding of the network alone, as those of one image in
        batches of different sizes, count as equal in the measures of neighbours.

    Raises:
        ModelError: a layer that does not exist or is not executed, has no such positions, or gives NaN or infinity.
        DataError: no images, or images that cannot be read, or are outside of [0, 1].

    Example:
        >>> import torch
        >>> module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
        >>> images = ImageSet.of(torch.rand(6, 1, 8, 8), [0, 0, 0, 1, 1, 1])
        >>> [manifold.points.shape for manifold in activations(module, images)]
        [torch.Size([3, 64]), torch.Size([3, 64])]
    """
    return _heard(network, images, layers, batch_size, folder, in_memory, answers=None)


def activations_and_logits(
    network: Network | nn.Module,
    images: ImageSet,
    *,
    layers: str | Sequence[str | Layer] = (PENULTIMATE,),
    batch_size: int = 64,
    folder: str | os.PathLike[str] | None = None,
    in_memory: float = IN_MEMORY,
) -> tuple[list[ClassManifold], Tensor]:
    """What `activations` gives; and the logits (n, n_classes) of the pass, on the CPU, in the order of the images."""
    answers: list[Tensor] = []
    manifolds = _heard(network, images, layers, batch_size, folder, in_memory, answers)
    return manifolds, torch.cat(answers)


def _heard(
    network: Network | nn.Module,
    images: ImageSet | DataLoader[Any],
    layers: str | Sequence[str | Layer],
    batch_size: int,
    folder: str | os.PathLike[str] | None,
    in_memory: float,
    answers: list[Tensor] | None,
) -> list[ClassManifold]:
    """See `activations`; the logits of each batch are added to `answers`."""
    layers_of(listed(layers))  # before any image is read
    network = unwrapped(as_network(network))
    if batch_size < 1:
        raise ModelError(f"batch_size = {batch_size}: expected at least 1")
    passes = _of_loader(network, images) if isinstance(images, DataLoader) else _of_set(network, images, batch_size)
    asked = expanded(network, layers, passes.first)
    clouds: dict[Layer, _Cloud] = {}
    taps = resolve(network, asked, passes.first)
    n_done = 0
    with listening(network, taps) as run:
        for pixels in passes.batches:
            heard, logits = run(pixels)
            if answers is not None:
                answers.append(logits.to("cpu", copy=True))  # a module may write into it next
            for tap, values in heard:
                where = f"{network.name}: layer {str(tap.layer)!r}"
                if tap.layer not in clouds:
                    clouds[tap.layer] = _Cloud(where, values, len(pixels), passes.places, folder, in_memory)
                if not torch.isfinite(values).all():
                    bad = int((~torch.isfinite(values)).view(len(pixels), -1).any(dim=1).sum())
                    raise ModelError(
                        f"{where} gives NaN or infinity for {bad} of {len(pixels)} images (first in the batch from "
                        f"image {n_done}); look for weights that diverged, a std near zero, or overflow in half "
                        "precision"
                    )
                clouds[tap.layer].add(values, n_done, len(pixels), tap.resolution)
            n_done += len(pixels)
            del heard  # what a batch gave goes before the next one passes
    labels = passes.labels()
    classes, counts = torch.unique(labels, return_counts=True)
    return [
        ClassManifold(
            points,
            label=label,
            layer=str(tap.layer),
            name=passes.class_names.get(label, str(label)),
            resolution=clouds[tap.layer].resolution,
            pool=tap.pool,
        )
        for tap in taps
        for label, points in zip(classes.tolist(), clouds[tap.layer].split(labels, counts), strict=True)
    ]


@dataclass(frozen=True, eq=False)
class _Passes:
    """Images as they are passed through a network.

    Attributes:
        first: pixels of one of them, (1, channels, height, width).
        batches: of pixels in [0, 1].
        labels: gives (n,) int64, once all batches were taken.
        places: (n,) where each image's points go, so that a class is one block; None where labels come with batches.
        class_names: by index.
    """

    first: Tensor
    batches: Iterator[Tensor]
    labels: Callable[[], Tensor]
    places: Tensor | None
    class_names: Mapping[int, str]


def _of_set(network: Network, images: ImageSet, batch_size: int) -> _Passes:
    images = as_image_set(images)
    if not len(images):
        raise DataError("there are no images to pass through the network")
    return _Passes(
        first=network.pixels(images, slice(0, 1)),
        batches=(network.pixels(images, where) for where in batches(len(images), batch_size)),
        labels=lambda: images.labels,
        places=images.labels.argsort(stable=True).argsort(),
        class_names=images.class_names,
    )


def _of_loader(network: Network, loader: DataLoader[Any]) -> _Passes:
    labels: list[Tensor] = []

    def taken() -> Iterator[Tensor]:
        for number, batch in enumerate(loader):
            pixels, found = batch_of(batch, f"batch {number} of the loader")
            labels.append(found)
            yield network.prepared(pixels)

    given = taken()
    first = next(given, None)
    if first is None:
        raise DataError("there are no images to pass through the network")
    told = getattr(loader.dataset, "classes", None)
    names = dict(enumerate(map(str, told))) if isinstance(told, list | tuple) else {}
    return _Passes(first[:1], chain([first], given), lambda: torch.cat(labels), None, names)


class _Cloud:
    """The points of one layer, as they come; by class once all are there.

    Args:
        where: what the layer is called in messages.
        values: the first points, of `n_images`.
        places, folder, in_memory: as for `_Passes` and `activations`.
    """

    def __init__(
        self,
        where: str,
        values: Tensor,
        n_images: int,
        places: Tensor | None,
        folder: str | os.PathLike[str] | None,
        in_memory: float,
    ) -> None:
        self._where, self._shape, self._places = where, (len(values) // n_images, values.shape[1]), places
        self._parts: list[Tensor] = []
        self._room = None if places is None else _room(len(places) * self._shape[0], self._shape[1], folder, in_memory)
        self.resolution = ROUNDING

    def add(self, values: Tensor, n_before: int, n_images: int, resolution: float) -> None:
        """Points (n_images positions, n_features) of the images after the first `n_before`."""
        shape = (len(values) // n_images, values.shape[1])
        if shape != self._shape:
            raise ModelError(
                f"{self._where} gives {_features(shape)} for some images and {_features(self._shape)} for others; give "
                "the network a crop size"
            )
        self.resolution = max(self.resolution, resolution)
        if self._room is None or self._places is None:
            self._parts.append(values)
        else:
            by_image = self._room.view(len(self._places), *self._shape)
            by_image[self._places[n_before : n_before + n_images]] = values.view(n_images, *self._shape)

    def split(self, labels: Tensor, counts: Tensor) -> Sequence[Tensor]:
        """The points of each class, in the order of the classes."""
        if self._room is None:
            by_image = torch.cat(self._parts).view(len(labels), *self._shape)
            self._parts, self._room = [], by_image[labels.argsort(stable=True)].view(-1, self._shape[1])
        return torch.split(self._room, (counts * self._shape[0]).tolist())


def _features(shape: tuple[int, int]) -> str:
    return f"{shape[1]} features" if shape[0] == 1 else f"{shape[0]} positions of {shape[1]} features"


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


class LayerRow(NamedTuple):
    """One row of `layer_table`: what to ask for, the kind of module, and the shape of its output for one image."""

    name: str
    type: str
    shape: tuple[int, ...]


def layer_table(network: Network | nn.Module, pixels_shape: Sequence[int] | None = None) -> list[LayerRow]:
    """The layers that can be asked for, in the order in which they finish; `penultimate` stands last.

    A module that is called several times has a row for each call. Layers that give no tensor, or that are not executed
    in evaluation mode, are left out.

    Args:
        pixels_shape: (channels, height, width) of the images; the network's crop if omitted.

    Raises:
        ModelError: the network has no crop and no shape was given, or cannot take images of this shape.
    """
    network = unwrapped(as_network(network))
    if pixels_shape is None:
        crop = network.preprocessing.crop
        if crop is None:
            raise ModelError(f"{network.name} takes images of any size; give the (channels, height, width) of yours")
        pixels_shape = network.shape(crop)
    calls = executed(network, torch.full((1, *pixels_shape), 0.5))
    times = Counter(call.name for call in calls)
    table = [
        LayerRow(call.name if times[call.name] == 1 else f"{call.name}@{call.index}", call.type, call.shape[1:])
        for call in calls
        if call.name and call.shape is not None
    ]
    tap = penultimate(calls)
    if tap is not None:
        width = n_features(network, [PENULTIMATE], torch.full((1, *pixels_shape), 0.5))[PENULTIMATE]
        table.append(LayerRow(PENULTIMATE, f"input of {tap.name}", (width,)))
    return table


def n_features(network: Network | nn.Module, layers: Sequence[str | Layer], example_pixels: Tensor) -> dict[str, int]:
    """How many features a point of each layer has, by the text of the layer, from one forward pass.

    Args:
        example_pixels: one image in [0, 1], (channels, height, width), or a batch of them.

    Raises:
        ModelError: a layer that does not exist or is not executed, or a network that cannot take such an image.
    """
    network = unwrapped(as_network(network))
    one = example_pixels[:1] if example_pixels.ndim == 4 else example_pixels[None]
    return {layer: values.shape[1] for layer, values in _of_one(network, layers, one)}


def n_values(network: Network | nn.Module, layers: Sequence[str | Layer], example_pixels: Tensor) -> dict[str, int]:
    """How many values one image has in each layer: the features of its point, or of its points at all positions.

    Args and errors as for `n_features`.
    """
    network = unwrapped(as_network(network))
    one = example_pixels[:1] if example_pixels.ndim == 4 else example_pixels[None]
    return {layer: values.numel() for layer, values in _of_one(network, layers, one)}


def _of_one(network: Network, layers: Sequence[str | Layer], one: Tensor) -> Iterator[tuple[str, Tensor]]:
    taps = resolve(network, layers_of(layers), one)
    for tap, values in captured(network, taps, one):
        yield str(tap.layer), values
