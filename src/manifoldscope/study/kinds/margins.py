"""How hard a class is when clean: the logits' margin of each of its images, on one draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import polars as pl
import torch
from torch import Tensor

from manifoldscope.study.context import Context, Tick
from manifoldscope.study.cost import SECONDS_OF_A_UNIT, Costs, Need
from manifoldscope.study.draws import Role
from manifoldscope.study.measuring import measures_classes, named, shown
from manifoldscope.study.plan import Study
from manifoldscope.study.planning import PlannedNetwork, Planning
from manifoldscope.study.refs import ClassRef, NetworkRef, unkeyed
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Payload, Unit, kind
from manifoldscope.tables import INTEGER, REAL, TEXT, Schema
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import predicted

MARGINS = Schema(
    name="margins",
    row="a class on one draw of clean images: how many are correct, and their margins",
    columns={
        "model": TEXT,
        "draw": TEXT,
        "class_index": INTEGER,
        "class_name": TEXT,
        "n_images": INTEGER,
        "n_correct": INTEGER,
        "margin": REAL,
        "margin_sd": REAL,
    },
    identity=("model", "draw", "class_index"),
)


@kind("margins", place=20)
@dataclass(frozen=True, kw_only=True)
class Margins(Unit):
    """One network and one class, on the images of one draw: the classes of a draw are shown together.

    Attributes:
        role: for what the images were drawn. Where a study measures and attacks the same images there is one draw.
        n_together: how many images are shown together at most.
    """

    version = 1
    files = ("margins.parquet",)
    tables = (MARGINS,)

    network: NetworkRef
    images: ClassRef
    batch_size: int
    role: str = unkeyed()
    n_together: int = unkeyed()

    @classmethod
    def of_network(cls, planning: Planning, network: PlannedNetwork) -> Iterator[Self]:
        """For both draws, where a study has geometry and attacks; units that measure a class find its own."""
        study = planning.study
        if not asks_for_margins(study):
            return
        alone = study.data.same_images or measures_classes(study)
        draws: tuple[Role, ...] = ("robustness",) if alone else ("robustness", "geometry")
        for draw in draws:
            for images in planning.classes(draw):
                yield cls(
                    network=network.ref,
                    images=images,
                    batch_size=study.batch_size,
                    role=draw,
                    n_together=len(planning.draws[draw].images),
                )

    @property
    def parts(self) -> tuple[str, ...]:
        return (str(self.images), self.role)

    @property
    def together(self) -> tuple[Any, ...]:
        return (self.kind, self.network.name, self.role)

    def compute(self, context: Context, tick: Tick) -> Payload:
        return self.compute_together([self], context, tick)[0]

    @classmethod
    def compute_together(cls, units: Sequence[Self], context: Context, tick: Tick) -> list[Payload]:
        """The margin of every image."""
        first = units[0]
        drawn = context.shown(first.network.name, cast("Role", first.role))
        images = shown(drawn, [unit.images for unit in units])
        table = margin_table(images, context.logits(first.network.name, images))
        return [Payload(tables={"margins": table.filter(pl.col("label") == unit.images.index)}) for unit in units]

    def need(self, costs: Costs) -> Need:
        return costs.passing(self.n_together)

    def seconds(self, costs: Costs, at_once: int) -> float:
        return SECONDS_OF_A_UNIT + costs.forward_seconds(self.images.n_images, at_once)

    @classmethod
    def rows(cls, store: Store, units: Sequence[Self]) -> dict[str, list[pl.DataFrame]]:
        return {
            "margins": [
                margin_row(store.table(unit, "margins"), unit.network, unit.images, cast("Role", unit.role))
                for unit in units
            ]
        }


def asks_for_margins(study: Study) -> bool:
    """Whether a study asks how hard classes are when clean."""
    return "associations" in study.asked_tables


def margin_table(images: ImageSet, logits: Tensor) -> pl.DataFrame:
    """A row for each image, of logits (n, n_classes): see `margins_of`."""
    return pl.DataFrame({"image": list(images.names), **margins_of(logits, images.labels)})


def margin_row(table: pl.DataFrame, network: NetworkRef, images: ClassRef, draw: Role) -> pl.DataFrame:
    """The row of a class in the table of margins; an image for which the network gave no number has no margin."""
    return named(
        table.select(
            n_images=pl.len().cast(pl.Int64),
            n_correct=(pl.col("prediction") == pl.col("label")).sum().cast(pl.Int64),
            margin=pl.col("margin").drop_nans().mean(),
            margin_sd=pl.col("margin").drop_nans().std(),
        ),
        model=network.name,
        draw=draw,
        class_index=images.index,
        class_name=images.name,
    )


def margins_of(logits: Tensor, labels: Tensor) -> dict[str, list[Any]]:
    """The label of each image, its prediction (-1: none), and its margin: the logit of the label minus the largest
    other; NaN where the network gave NaN, or infinity."""
    found, column = logits.double(), labels[:, None]
    own = found.gather(1, column).squeeze(1)
    others: Tensor = found.scatter(1, column, -torch.inf).amax(1)
    margin = own - others
    margin = torch.where(torch.isfinite(margin), margin, torch.nan)
    return {"label": labels.tolist(), "prediction": predicted(found).tolist(), "margin": margin.tolist()}
