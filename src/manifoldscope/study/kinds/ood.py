"""Detect out-of-distribution images: tell them from those of the classes that a network was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import polars as pl

from manifoldscope.attacks.ood import ood_detection
from manifoldscope.study.context import Context, Tick
from manifoldscope.study.cost import POINTS, SECONDS_OF_A_UNIT, Costs, Need
from manifoldscope.study.draws import Drawn, Role
from manifoldscope.study.measuring import named, refuse_positions
from manifoldscope.study.measuring_cost import reading_seconds
from manifoldscope.study.others import OtherDataset, draw_other_classes, refuse_other_shapes
from manifoldscope.study.plan import Study
from manifoldscope.study.planning import PlannedNetwork, Planning
from manifoldscope.study.refs import ClassRef, NetworkRef, unkeyed
from manifoldscope.study.section import WhichClasses, setting
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Payload, Unit, kind
from manifoldscope.tables import INTEGER, REAL, TEXT, Schema
from manifoldscope.vision.activations import n_values

OOD = Schema(
    name="ood",
    row="a score that tells OOD from in-distribution images (layer empty: by the output)",
    columns={
        "model": TEXT,
        "dataset": TEXT,
        "layer": TEXT,
        "score": TEXT,
        "auroc": REAL,
        "low": REAL,
        "high": REAL,
        "n_in_distribution": INTEGER,
        "n_ood": INTEGER,
    },
    identity=("model", "dataset", "layer", "score"),
    optional=True,
)


class OodPlan(OtherDataset):
    """A dataset of other classes, whose images are to be detected as out-of-distribution."""

    key: ClassVar[str] = "ood"

    classes: WhichClasses = setting(
        None, "a number of its classes to sample, or a list of indices and names; all by default", keyed=True
    )


@kind("ood", place=51)
@dataclass(frozen=True, kw_only=True)
class Ood(Unit):
    """One network, an OOD dataset, one layer: are its images detected?

    Attributes:
        images: a digest of those out of distribution.
        in_distribution, in_distribution_train: of each class, images of the study that are told from them, and from
            which its centroid, covariance and subspace are computed.
        dataset: what tables call it.
        n_images: how many pass, `n_measured` of them to say where classes lie.
    """

    version = 3
    files = ("ood.parquet",)
    tables = (OOD,)
    section = OodPlan

    network: NetworkRef
    images: str
    in_distribution: tuple[ClassRef, ...]
    in_distribution_train: tuple[ClassRef, ...]
    layer: str
    batch_size: int
    dataset: str = unkeyed()
    n_images: int = unkeyed()

    @classmethod
    def fits(cls, study: Study) -> None:
        for plan in study.section(OodPlan):
            refuse_positions(study, f"ood {plan.name!r}")
        if study.data.same_images and (plans := study.section(OodPlan)):
            raise ValueError(
                f"data.same_images = true, and ood {plans[0].name!r}: images of the study would lie near the classes "
                "because these were computed from the very same images; expected same_images = false"
            )

    @classmethod
    def draw(cls, study: Study, store: Store, draws: Mapping[Role, Drawn]) -> dict[str, Drawn]:
        return {
            plan.name: draw_other_classes(study, store, plan, draws, plan.classes) for plan in study.section(OodPlan)
        }

    @classmethod
    def of_network(cls, planning: Planning, network: PlannedNetwork) -> Iterator[Self]:
        for plan in planning.study.section(OodPlan):
            drawn = planning.others[plan.name]
            in_distribution, measured = planning.classes("robustness"), planning.classes("geometry")
            for layer in planning.layers(network):
                yield cls(
                    network=network.ref,
                    images=drawn.digest,
                    in_distribution=in_distribution,
                    in_distribution_train=measured,
                    layer=layer,
                    batch_size=planning.study.batch_size,
                    dataset=plan.name,
                    n_images=len(drawn.images) + sum(each.n_images for each in (*in_distribution, *measured)),
                )

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.layer, self.dataset)

    @property
    def group(self) -> tuple[str, ...]:
        return (*super().group, self.layer)

    def compute(self, context: Context, tick: Tick) -> Payload:
        """How well scores tell the two apart; those of geometry say where classes lie.

        Raises:
            DataError: the images reach the network in another shape.
        """
        network = context.network(self.network.name)
        in_distribution, other = context.shown(self.network.name, "robustness"), context.others[self.dataset].images
        refuse_other_shapes(network, in_distribution, other)
        measured = context.shown(self.network.name, "geometry")
        widths = n_values(network, [self.layer], network.pixels(in_distribution, slice(0, 1)))
        most = max(measured, in_distribution, other, key=len)
        batch_size = context.at_once(network, most, widths=list(widths.values()))
        found = ood_detection(network, measured, in_distribution, other, self.layer, batch_size=batch_size)
        return Payload(tables={"ood": found})

    @property
    def measured_layers(self) -> tuple[str, ...]:
        return (self.layer,)

    def need(self, costs: Costs) -> Need:
        widths = costs.widths(self.measured_layers)
        held = costs.measuring(self.n_images, widths, may_lie_in_file=False)
        held += 3 * 8 * self.n_images * max(widths)  # float64: the points, centred, and as coordinates
        return costs.passing(self.n_images, fixed=held, widths=widths, reduce=POINTS)

    def seconds(self, costs: Costs, at_once: int) -> float:
        passes = 2 * costs.forward_seconds(self.n_images, at_once)  # activations, and outputs of all but those measured
        return SECONDS_OF_A_UNIT + passes + 2 * reading_seconds(self.n_images, costs.widths(self.measured_layers))

    @classmethod
    def rows(cls, store: Store, units: Sequence[Self]) -> dict[str, Any]:
        if not units:
            return {}
        found = pl.concat(unit._rows(store.table(unit, "ood")) for unit in units)
        return {"ood": found.unique(["model", "dataset", "layer", "score"], keep="first", maintain_order=True)}

    def _rows(self, table: pl.DataFrame) -> pl.DataFrame:
        """Rows of one layer; the score of the output is of no layer, and the same in the unit of each."""
        layer = pl.when(pl.col("score") == "max_softmax").then(pl.lit("")).otherwise(pl.lit(self.layer))
        return named(table.with_columns(layer=layer), model=self.network.name, dataset=self.dataset)
