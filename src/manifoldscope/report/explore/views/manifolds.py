"""The manifolds of a few classes in space: points of each layer, clean and attacked, packed for the page."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from manifoldscope.report import words
from manifoldscope.report.explore.numbers import short, shorts
from manifoldscope.report.explore.view import VIEWS, Explored
from manifoldscope.report.shared_axes import LayerPoints

MOST_BYTES = 1_000_000
"""Of coordinates in the page, as text."""

MOST_PICTURE_BYTES = 350_000
"""Of all thumbnails in the page, as text."""

AXES = (24, 20, 16, 12, 10, 8, 6)
"""How many of the kept axes a page holds: as many as fit."""

IMAGES = (60, 40, 30, 20, 15, 10, 7, 5, 3)
"""Of how many images of each class, where even the fewest axes do not fit for all."""

Bytes = NDArray[np.uint8]


class _Cell(NamedTuple):
    network: int
    layer: int
    points: LayerPoints


@VIEWS.register(
    "manifolds",
    title="In three dimensions",
    caption=(
        "Each point is an image, in the principal axes that the chosen classes share; beside each axis is its share of "
        "the variance of these classes in the whole layer. The slider moves the same images from clean to attacked: "
        "to the last iterate or, in a study that stops there, the first that is misclassified. "
        "Drag or use the arrow keys to rotate; the wheel, + and − zoom."
    ),
    place=40,
    script="manifolds.js",
    missing="no points were kept to be looked at (points.images_per_class in the study file)",
)
def manifolds(page: Explored) -> dict[str, Any] | None:
    """Points of each network and layer in the page, as many axes and images as fit.

    `networks` by position: of each image the position of its class, predictions (indices of outputs) and margin; and
    `layers` by position: coordinates as whole numbers of a step, an axis each, and per class what axes and shares of
    variance are told from: mean and covariance of all kept points, variance and distances in all features.
    """
    cells = _cells(page)
    if not cells:
        return None
    cells, axes, per_class = _fitting(cells)
    thumbs = {
        str(picture.names["model"]): picture.arrays["thumbnails"] for picture in page.contents.pictures_of("thumbnails")
    }
    networks: dict[str, dict[str, Any]] = {}
    pictures: list[Bytes] = []
    for cell in cells:
        shown = _shown(cell.points, page, per_class)
        if str(cell.network) not in networks:
            small = thumbs.get(page.networks[cell.network])
            networks[str(cell.network)] = _network(cell.points, page, shown)
            networks[str(cell.network)]["atlas"] = None if small is None else _place(pictures, small[shown])
        networks[str(cell.network)]["layers"][str(cell.layer)] = _layer(cell.points, shown, axes)
    return {
        "networks": networks,
        "atlases": [_atlas(each, MOST_PICTURE_BYTES // len(pictures)) for each in pictures],
        "left_out": _left_out(page, networks, cells, axes, per_class),
    }


def _cells(page: Explored) -> list[_Cell]:
    """What there is of the page's networks and layers; only of classes that the page has."""
    found = {
        (picture.names["model"], picture.names["layer"]): picture for picture in page.contents.pictures_of("points")
    }
    cells = []
    for network, model in enumerate(page.networks):
        for layer, name in enumerate(page.layers):
            if (model, name) in found:
                points = LayerPoints.of(found[model, name])
                if set(points.classes) & set(page.classes):
                    cells.append(_Cell(network, layer, points))
    return cells


def _fitting(cells: Sequence[_Cell]) -> tuple[list[_Cell], int, int | None]:
    """The cells, axes and images of each class that fit: first axes are left out, then images, then networks."""
    kept = list(cells)
    for axes, per_class in [*((axes, None) for axes in AXES), *((AXES[-1], images) for images in IMAGES)]:
        if _size(kept, axes, per_class) <= MOST_BYTES:
            return kept, axes, per_class
    while len(kept) > 1 and _size(kept, AXES[-1], IMAGES[-1]) > MOST_BYTES:
        kept.pop()
    return kept, AXES[-1], IMAGES[-1]


def _size(cells: Sequence[_Cell], axes: int, per_class: int | None) -> int:
    """About how many bytes of text the coordinates take, and what is told of each class."""
    size = 0
    for cell in cells:
        points = cell.points
        d, count = min(axes, points.clean.shape[1]), len(points.classes)
        n = len(points.place) if per_class is None else int(np.minimum(points.counts, per_class).sum())
        size += (1 if points.adversarial is None else 2) * 2 * n * d + 4 * count * (d + d * (d + 1) // 2)
        size += 2 * count * (count - 1)
    return 4 * size // 3


def _shown(points: LayerPoints, page: Explored, per_class: int | None) -> NDArray[np.int64]:
    """Rows of the images that the page holds: evenly spaced in each class."""
    rows = []
    for place, index in enumerate(points.classes):
        if index in page.class_position:
            own = np.flatnonzero(points.place == place)
            n = len(own) if per_class is None else min(len(own), per_class)
            rows.append(own[np.round(np.linspace(0, len(own) - 1, n)).astype(np.int64)])
    return np.concatenate(rows).astype(np.int64)


def _network(points: LayerPoints, page: Explored, shown: NDArray[np.int64]) -> dict[str, Any]:
    position = np.array([page.class_position.get(index, -1) for index in points.classes])
    names: Mapping[int, str] = points.facts.get("output_names", {})
    attack, strength = points.facts.get("attack"), points.facts.get("strength")
    predicted = points.adversarial_prediction
    return {
        "n": len(shown),
        "label": packed(position[points.place[shown]], "<i2"),
        "prediction": packed(points.prediction[shown], "<i4"),
        "adversarial_prediction": None if predicted is None else packed(predicted[shown], "<i4"),
        "margin": packed(points.margin[shown], "<f4"),
        "output_names": {str(index): name for index, name in names.items() if index not in page.class_position},
        "classes": position.tolist(),
        "counts": points.counts.tolist(),
        "start": [int(position[place]) for place in points.telling(len(position)) if position[place] >= 0][:3],
        "attack": None
        if attack is None
        else f"{words.attack(attack)} {words.at_strength(attack, float(strength or 0))}",
        "layers": {},
    }


def _layer(points: LayerPoints, shown: NDArray[np.int64], axes: int) -> dict[str, Any]:
    d = min(axes, points.clean.shape[1])
    clean = points.clean[shown, :d]
    moved = None if points.adversarial is None else points.adversarial[shown, :d]
    reach = np.abs(clean if moved is None else np.concatenate([clean, moved])).max(0)
    step = np.where(reach > 0, reach, 1.0) / 32767
    upper = np.triu_indices(d)
    apart = np.triu_indices(len(points.classes), 1)
    return {
        "d": d,
        "n_features": int(points.facts.get("n_features", d)),
        "step": shorts(step, 7),
        "clean": packed(np.round(clean / step), "<i2"),
        "adversarial": None if moved is None else packed(np.round(moved / step), "<i2"),
        "means": packed(points.means[:, :d], "<f4"),
        "covariances": packed(np.stack([each[:d, :d][upper] for each in points.covariances]), "<f4"),
        "variance": shorts(points.variance, 7),
        "distances": packed(points.distances[apart], "<f4"),
        "moved_within": short(points.facts.get("moved_within")),
    }


def packed(array: NDArray[Any], dtype: str) -> str:
    """The numbers as base64 of little-endian values of a type such as "<i2"."""
    return base64.b64encode(np.ascontiguousarray(array).astype(dtype).tobytes()).decode()


def _place(pictures: list[Bytes], small: NDArray[Any]) -> int:
    """The place of these thumbnails among all: networks that see the same images share them."""
    as_bytes = small.astype(np.uint8)
    for place, known in enumerate(pictures):
        if known.shape == as_bytes.shape and np.array_equal(known, as_bytes):
            return place
    pictures.append(as_bytes)
    return len(pictures) - 1


def _atlas(small: Bytes, most: int) -> dict[str, Any] | None:
    """All thumbnails in one picture of at most so many bytes, row by row; smaller ones where they do not fit."""
    while min(small.shape[1:3]) >= 4:
        n, height, width, channels = small.shape
        columns = math.ceil(math.sqrt(n))
        sheet = np.zeros((math.ceil(n / columns) * columns, height, width, channels), dtype=np.uint8)
        sheet[:n] = small
        grid = sheet.reshape(-1, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
        pixels = grid.reshape(-1, columns * width, channels)
        image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
        for form, settings in (("png", {"optimize": True}), ("jpeg", {"quality": 80}), ("jpeg", {"quality": 60})):
            stream = io.BytesIO()
            image.save(stream, form, **settings)
            text = f"data:image/{form};base64,{base64.b64encode(stream.getvalue()).decode()}"
            if len(text) <= most:
                return {"uri": text, "columns": columns, "width": width, "height": height}
        even = small[:, : height // 2 * 2, : width // 2 * 2]
        halves = even.reshape(n, height // 2, 2, width // 2, 2, channels)
        small = np.round(halves.mean((2, 4))).astype(np.uint8)
    return None


def _left_out(
    page: Explored, networks: Mapping[str, Any], cells: Sequence[_Cell], axes: int, per_class: int | None
) -> str:
    parts = []
    held = max(cell.points.clean.shape[1] for cell in cells)
    if held > axes:
        parts.append(f"{axes} of the {held} axes that were kept")
    if per_class is not None:
        parts.append(f"points of at most {per_class} images of each class")
    if len(networks) < len(page.networks):
        parts.append(f"points of {len(networks)} of {len(page.networks)} networks")
    layers = {cell.layer for cell in cells}
    if len(layers) < len(page.layers):
        parts.append(f"points of {len(layers)} of {len(page.layers)} layers")
    classes = {index for cell in cells for index in cell.points.classes}
    if classes < set(page.classes):
        parts.append(f"points of {len(classes)} of {len(page.classes)} classes")
    return f"The page holds {words.listing(parts)}; shares of variance are of all that were kept." if parts else ""
