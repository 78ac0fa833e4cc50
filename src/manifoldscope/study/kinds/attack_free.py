"""Estimate from gradients how far the images of one class are from another class: predictors that need no attack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

import polars as pl
import torch
from pydantic import model_validator

from manifoldscope.attacks.ball import Norm
from manifoldscope.attacks.lipschitz import SAMPLES, check_settings, lipschitz_estimates
from manifoldscope.errors import AttackError
from manifoldscope.seeds import derive
from manifoldscope.study.context import Context, Tick
from manifoldscope.study.cost import SECONDS_OF_A_UNIT, Costs, Need
from manifoldscope.study.measuring import named, shown
from manifoldscope.study.planning import PlannedNetwork, Planning
from manifoldscope.study.refs import ClassRef, NetworkRef, unkeyed
from manifoldscope.study.section import KindSection, setting
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Gradients, Payload, Unit, kind
from manifoldscope.tables import INTEGER, REAL, TEXT, Schema, parameters_text

ATTACK_FREE = Schema(
    name="attack_free",
    row="a predictor of robustness that needs no attack: its mean over the clean images of a class",
    columns={
        "model": TEXT,
        "estimate": TEXT,
        "predictor": TEXT,
        "parameters": TEXT,
        "class_index": INTEGER,
        "class_name": TEXT,
        "n_images": INTEGER,
        "n_correct": INTEGER,
        "value": REAL,
        "standard_error": REAL,
        "split": TEXT,
    },
    identity=("model", "estimate", "predictor", "class_index"),
    optional=True,
)

DEFINED_BY = {"first_order_distance": ("norm",), "local_lipschitz_distance": ("norm", "radius", "samples")}
"""The predictors, each with the settings that define it."""


class AttackFreePlan(KindSection):
    """Estimates from gradients of how far images are from another class, as predictors that need no attack."""

    key: ClassVar[str] = "attack_free"
    column: ClassVar[str] = "estimate"

    name: str = setting("", "what tables call it; the norm by default", keyed=False)
    norm: Norm = setting("linf", "in which distances are measured", keyed=True)
    radius: float = setting(
        ...,
        "of the ball around each image in which its steepest point is looked for, in pixel units; no local Lipschitz "
        "distance exceeds it, so it should reach beyond most of them",
        keyed=True,
    )
    samples: int = setting(SAMPLES, "random points in that ball, a gradient each", keyed=True, ge=1, le=1_000_000)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and not raw.get("name"):
            return {**raw, "name": str(raw.get("norm", "linf"))}
        return raw

    @model_validator(mode="after")
    def _check(self) -> AttackFreePlan:
        try:
            check_settings(norm=self.norm, radius=self.radius, samples=self.samples)
        except AttackError as error:
            raise ValueError(str(error)) from None
        return self


@kind("attack_free", place=35)
@dataclass(frozen=True, kw_only=True)
class AttackFree(Unit):
    """One network and one class, on the images that geometry is measured on.

    Attributes:
        norm, radius, samples: see `lipschitz_estimates`.
        name: what tables call it.
        n_together: how many images are taken together at most, those of all classes.
    """

    version = 1
    files = ("attack_free.parquet",)
    tables = (ATTACK_FREE,)
    section = AttackFreePlan

    network: NetworkRef
    images: ClassRef
    norm: str
    radius: float
    samples: int
    seed: int
    batch_size: int
    name: str = unkeyed()
    n_together: int = unkeyed()

    @classmethod
    def of_network(cls, planning: Planning, network: PlannedNetwork) -> Iterator[Self]:
        study = planning.study
        for plan in study.section(AttackFreePlan):
            for images in planning.classes("geometry"):
                yield cls(
                    network=network.ref,
                    images=images,
                    norm=plan.norm,
                    radius=plan.radius,
                    samples=plan.samples,
                    seed=study.seed,
                    batch_size=study.batch_size,
                    name=plan.name,
                    n_together=len(planning.draws["geometry"].images),
                )

    @property
    def parts(self) -> tuple[str, ...]:
        return (str(self.images), f"{self.name} {self.radius:g}")

    @property
    def group(self) -> tuple[str, ...]:
        return (*super().group, self.name)

    @property
    def together(self) -> tuple[Any, ...]:
        """Classes are taken together, so that batches are full; no answer depends on the others."""
        return (self.kind, self.network.name, self.name)

    def compute(self, context: Context, tick: Tick) -> Payload:
        return self.compute_together([self], context, tick)[0]

    @classmethod
    def compute_together(cls, units: Sequence[Self], context: Context, tick: Tick) -> list[Payload]:
        """The margin of every image, how steep it is, and the distances that follow."""
        first, drawn = units[0], context.shown(units[0].network.name, "geometry")
        images = shown(drawn, [unit.images for unit in units])
        found = lipschitz_estimates(
            context.network(first.network.name),
            images,
            norm=cast("Norm", first.norm),
            radius=first.radius,
            samples=first.samples,
            seed=derive(first.seed, "attack_free"),
            batch_size=first.batch_size,
            memory=context.memory,
        )
        values = ("margin", "gradient_norm", "lipschitz", *DEFINED_BY)
        table = pl.DataFrame(
            {
                "image": list(images.names),
                "label": images.labels.tolist(),
                "correct": torch.isfinite(found.gradient_norm).tolist(),
                **{name: getattr(found, name).tolist() for name in values},
            }
        )
        return [Payload(tables={"attack_free": table.filter(label=unit.images.index)}) for unit in units]

    @property
    def gradients(self) -> Gradients:
        return "own"

    def need(self, costs: Costs) -> Need:
        n = self.n_together
        return costs.passing(n, gradient=costs.network.own.memory, n_attacked=n)

    def seconds(self, costs: Costs, at_once: int) -> float:
        n = self.n_together
        seconds = costs.forward_seconds(n, at_once) + (1 + self.samples) * costs.gradient_seconds(n, at_once)
        return SECONDS_OF_A_UNIT + self.images.n_images / n * seconds

    @classmethod
    def rows(cls, store: Store, units: Sequence[Self]) -> dict[str, list[pl.DataFrame]]:
        """A row per class and predictor; a mean that is infinite has no standard error."""
        return {"attack_free": [unit._row(store, predictor) for unit in units for predictor in DEFINED_BY]}

    def _row(self, store: Store, predictor: str) -> pl.DataFrame:
        values = pl.col(predictor)
        error = values.std() / pl.len().sqrt()
        return named(
            store.table(self, "attack_free").select(
                n_images=pl.len().cast(pl.Int64),
                n_correct=pl.col("correct").sum().cast(pl.Int64),
                value=values.mean(),
                standard_error=pl.when(error.is_finite()).then(error),
            ),
            model=self.network.name,
            estimate=self.name,
            predictor=predictor,
            parameters=parameters_text({name: getattr(self, name) for name in DEFINED_BY[predictor]}),
            class_index=self.images.index,
            class_name=self.images.name,
            split=self.images.split,
        )
