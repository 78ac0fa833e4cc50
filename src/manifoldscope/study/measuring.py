"""What the kinds of units that measure share: points of layers, measures as keys have them, and rows as tables have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl
import torch
from torch import Tensor

from manifoldscope.geometry import ClassManifold, Scaling
from manifoldscope.geometry.measures import MEASURES
from manifoldscope.recordings.rows import Row
from manifoldscope.study.context import Context
from manifoldscope.study.plan import MeasurePlan, Study
from manifoldscope.study.refs import ClassRef
from manifoldscope.tables import TABLES, WHOLE
from manifoldscope.vision.activations import activations, activations_and_logits
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.layers import Layer
from manifoldscope.vision.memory import process_memory
from manifoldscope.vision.network import Network

NAMED = ("model", "class_index", "other_class_index", "class_name", "split", "attack", "strength")
"""Columns that come from the plan when tables are made, so that renaming computes nothing again."""


TOGETHER = 0.25
"""Share of the memory that is left that the points of layers which share a pass take, at most."""


def points_of(
    context: Context,
    network: Network,
    images: ImageSet,
    layers: Sequence[str],
    *,
    in_file: bool = True,
    in_memory: float | None = None,
) -> list[ClassManifold]:
    """The points of some layers, of as many images at a time as fit into memory; large ones `in_file`.

    Those of a layer that take up to `in_memory` bytes are never in a file; if omitted, each layer has an equal share.
    """
    return activations(network, images, **_passing(context, network, images, layers, in_file, in_memory))


def points_and_logits(
    context: Context, network: Network, images: ImageSet, layers: Sequence[str]
) -> tuple[list[ClassManifold], Tensor]:
    """What `points_of` gives; and the logits of the same pass, in the order of the images."""
    return activations_and_logits(network, images, **_passing(context, network, images, layers))


def _passing(
    context: Context,
    network: Network,
    images: ImageSet,
    layers: Sequence[str],
    in_file: bool = True,
    in_memory: float | None = None,
) -> dict[str, Any]:
    """How images are passed through a network, as arguments of `activations`."""
    widths = context.n_values(network, images, layers)
    return {
        "layers": layers,
        "batch_size": context.at_once(network, images, widths=list(widths.values())),
        "folder": context.store.folder if in_file else None,
        "in_memory": context.points(len(layers)) if in_memory is None else in_memory,
    }


def points_together(context: Context) -> float:
    """Bytes that the points of several layers which share a pass may take; a layer that takes more has its own."""
    return max(0.0, min(context.points(1), TOGETHER * (context.memory.limit - process_memory())))


def passes(sizes: Mapping[str, float], most: float) -> list[list[str]]:
    """Layers in order, in groups that share a pass: as many as have points of no more than so many bytes.

    Example:
        >>> passes({"a": 3.0, "b": 5.0, "c": 9.0, "d": 1.0}, 8.0)
        [['a', 'b'], ['c'], ['d']]
    """
    groups: list[list[str]] = []
    room = 0.0
    for layer, size in sizes.items():
        if not groups or size > room:
            groups.append([])
            room = most
        groups[-1].append(layer)
        room -= size
    return groups


def points_in_turn(
    context: Context, network: Network, images: ImageSet, layers: Sequence[str]
) -> Iterator[list[ClassManifold]]:
    """The points of each layer, in order; the images are passed once for as many layers as have room together."""
    values = context.n_values(network, images, layers)
    sizes = {layer: 4.0 * len(images) * values[layer] for layer in layers}
    for some in passes(sizes, points_together(context)):
        found = points_of(context, network, images, some, in_memory=context.points(1))
        for each in some:
            yield [manifold for manifold in found if manifold.layer == each]
            found = [manifold for manifold in found if manifold.layer != each]


def measures_of(study: Study, *, joint: bool) -> list[dict[str, Any]]:
    """The measures of one class, or the joint ones, as they enter a key."""
    return [
        {**measure.model_dump(mode="json"), "version": MEASURES[measure.name].version}
        for measure in study.measures
        if measure.joint is joint
    ]


def measures_classes(study: Study) -> bool:
    """Whether a study measures each class by itself, so that its images are passed through the network for that."""
    return bool(study.jacobian_norm) or any(not measure.joint for measure in study.measures)


def by_scaling(plans: Sequence[MeasurePlan], *, joint: bool) -> dict[Scaling, list[tuple[str, dict[str, Any]]]]:
    """The measures of one class, or the joint ones: those of one scaling share what they read."""
    mine = [plan for plan in plans if plan.joint is joint]
    return {
        scaling: [(plan.name, plan.settings) for plan in mine if plan.scaling == scaling]
        for scaling in dict.fromkeys(plan.scaling for plan in mine)
    }


def of_layer(manifold: ClassManifold, rows: Sequence[Row]) -> list[Row]:
    """Rows with the layer of a manifold, and how its positions became points."""
    return [{"layer": manifold.layer, "pool": manifold.pool, **row} for row in rows]


def shown(images: ImageSet, of: Iterable[ClassRef]) -> ImageSet:
    """The images of a draw that units name, in their order; nothing is read."""
    places = ((images.labels == each.index).nonzero().flatten()[each.first :][: each.n_images] for each in of)
    return images.subset(torch.cat(list(places)))


def refuse_positions(study: Study, what: str) -> None:
    """Raise ValueError where each position is a point, and `what` needs one point for each image."""
    layers = [*study.layers, *(layer for model in study.models for layer in model.layers or ())]
    found = next((layer for layer in layers if Layer.of(layer).pool == "positions"), None)
    if found is not None:
        raise ValueError(f"{what} needs one point for each image, and layer {found!r} has one for each position")


def frame(rows: Sequence[Row], table: str, *places: str) -> pl.DataFrame:
    """Rows with the types that the table has, less what is named when tables are made; `places` tell the classes."""
    columns = {name: dtype for name, dtype in TABLES[table].columns.items() if name not in NAMED}
    schema = {**dict.fromkeys(places, pl.Int64()), **columns}
    return pl.DataFrame({name: [row.get(name) for row in rows] for name in schema}, schema=schema)


def named(table: pl.DataFrame, **names: object) -> pl.DataFrame:
    """The table with columns that hold one value each."""
    return table.with_columns(**{name: pl.lit(value) for name, value in names.items()})


def of_places(table: pl.DataFrame, classes: Sequence[ClassRef], **names: object) -> pl.DataFrame:
    """Rows of several classes, under today's names: a unit knows its classes by their place in its list."""
    known = pl.DataFrame(
        {
            "place": pl.Series([*range(len(classes)), WHOLE], dtype=pl.Int64),
            "class_index": pl.Series([*(each.index for each in classes), WHOLE], dtype=pl.Int64),
            "class_name": [*(each.name for each in classes), ""],
        }
    )
    found = table.join(known, on="place", how="left", maintain_order="left").drop("place")
    if "other_place" in found.columns:
        others = known.select(other_place="place", other_class_index="class_index")
        found = found.join(others, on="other_place", how="left", maintain_order="left").drop("other_place")
    return named(found, **names)


def settings_of(study: Study, *names: str) -> Mapping[str, Any]:
    """Some settings of `[sampling]`, as they enter a key."""
    return {name: getattr(study.sampling, name) for name in names}
