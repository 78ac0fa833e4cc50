"""Search for the minimal perturbation of each image of one class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import polars as pl
from pydantic import model_validator

from manifoldscope.attacks.ball import Norm
from manifoldscope.attacks.minimal import MINIMAL, STEPS, Search, minimal_of, minimal_perturbation
from manifoldscope.attacks.minimal import Attack as SearchAttack
from manifoldscope.errors import ManifoldscopeError
from manifoldscope.seeds import derive
from manifoldscope.study.context import Context, Tick
from manifoldscope.study.cost import SECONDS_OF_A_UNIT, Costs, Need
from manifoldscope.study.measuring import named, shown
from manifoldscope.study.planning import PlannedNetwork, Planning
from manifoldscope.study.refs import ClassRef, NetworkRef, unkeyed
from manifoldscope.study.section import KindSection, setting
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Gradients, Payload, Unit, kind
from manifoldscope.tables import conform


class MinimalPlan(KindSection):
    """A search for the minimal perturbation that each image is misclassified under: an upper bound of what it needs."""

    key: ClassVar[str] = "minimal"
    column: ClassVar[str] = "attack"

    name: str = setting("", "what tables and figures call it; minimal_ and the attack by default", keyed=False)
    attack: SearchAttack = setting("pgd", "bisection over pgd, or the minimum-norm attacks fmn and fab", keyed=True)
    norm: Norm = setting("linf", "in which the perturbation is measured", keyed=True)
    largest: float = setting(0.5, "the radius up to which to search, in pixel units", keyed=True)
    steps: int | None = setting(None, "of one attack; 20 for pgd, 100 for fmn and fab", keyed=True)
    tolerance: float = setting(
        1e-3, "bisection ends when the bracket is narrower than this share of its upper end", keyed=True
    )

    @model_validator(mode="before")
    @classmethod
    def _named(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and not raw.get("name"):
            return {**raw, "name": f"minimal_{raw.get('attack', 'pgd')}"}
        return raw

    @model_validator(mode="after")
    def _check(self) -> MinimalPlan:
        try:
            self.search()
        except ManifoldscopeError as error:
            raise ValueError(str(error)) from None
        return self

    def search(self) -> Search:
        """The search with its settings."""
        return Search(
            attack=self.attack,
            norm=self.norm,
            largest=self.largest,
            steps=STEPS[self.attack] if self.steps is None else self.steps,
            tolerance=self.tolerance,
        )


@kind("minimal", place=42)
@dataclass(frozen=True, kw_only=True)
class Minimal(Unit):
    """One network, images of one class, one search.

    Attributes:
        search: the setting of the search; `parameters`: what else defines it, as tables have it.
        name: what tables call the search.
        passes: forward and gradient passes of an image, about.
        n_together: how many images are attacked together at most, those of all classes.
    """

    version = 7
    files = ("minimal.parquet",)
    tables = (MINIMAL,)
    section = MinimalPlan

    network: NetworkRef
    images: ClassRef
    attack: str
    norm: str
    parameters: str
    largest: float
    seed: int
    batch_size: int
    name: str = unkeyed()
    passes: tuple[int, int] = unkeyed()
    n_together: int = unkeyed()

    @classmethod
    def of_network(cls, planning: Planning, network: PlannedNetwork) -> Iterator[Self]:
        study = planning.study
        for plan in study.section(MinimalPlan):
            search = plan.search()
            for images in planning.chunks():
                yield cls(
                    network=network.ref,
                    images=images,
                    attack=search.attack,
                    norm=search.norm,
                    parameters=search.parameters,
                    largest=search.largest,
                    seed=study.seed,
                    batch_size=study.batch_size,
                    name=plan.name,
                    passes=search.passes,
                    n_together=len(planning.draws["robustness"].images),
                )

    @property
    def parts(self) -> tuple[str, ...]:
        return (str(self.images), f"{self.name} {self.largest:g}")

    @property
    def group(self) -> tuple[str, ...]:
        return (*super().group, self.name)

    @property
    def together(self) -> tuple[Any, ...]:
        """Classes are attacked together, so that batches are full; no answer depends on the others."""
        return (self.kind, self.network.name, self.name)

    def compute(self, context: Context, tick: Tick) -> Payload:
        return self.compute_together([self], context, tick)[0]

    @classmethod
    def compute_together(cls, units: Sequence[Self], context: Context, tick: Tick) -> list[Payload]:
        first, drawn = units[0], context.shown(units[0].network.name, "robustness")
        plan = next(plan for plan in context.study.section(MinimalPlan) if plan.name == first.name)
        found = minimal_perturbation(
            context.network(first.network.name),
            shown(drawn, [unit.images for unit in units]),
            **asdict(plan.search()),
            seed=derive(first.seed, "smallest"),
            batch_size=first.batch_size,
            memory=context.memory,
        ).drop("model", "attack")
        names = [list(shown(drawn, [unit.images]).names) for unit in units]
        return [Payload(tables={"minimal": found.filter(pl.col("image").is_in(mine))}) for mine in names]

    @property
    def gradients(self) -> Gradients:
        return "own"

    def need(self, costs: Costs) -> Need:
        n = self.n_together
        return costs.passing(n, gradient=costs.network.own.memory, n_attacked=n)

    def seconds(self, costs: Costs, at_once: int) -> float:
        n = self.n_together
        seconds = (1 + self.passes[0]) * costs.forward_seconds(n, at_once)
        seconds += self.passes[1] * costs.gradient_seconds(n, at_once)
        return SECONDS_OF_A_UNIT + self.images.n_images / n * seconds

    @classmethod
    def rows(cls, store: Store, units: Sequence[Self]) -> dict[str, pl.DataFrame]:
        """Whole searches are no attacks at one strength: they enter neither `robustness` nor the checks of outcomes."""
        if not units:
            return {}
        found = pl.concat(
            named(
                store.table(unit, "minimal").drop("low", "high"),
                model=unit.network.name,
                attack=unit.name,
                split=unit.images.split,
            )
            for unit in units
        )
        classes = {unit.images.index: unit.images.name for unit in units}
        names = pl.DataFrame({"label": list(classes), "class_name": list(classes.values())})
        return {
            "minimal": minimal_of(found, names),
            "outcomes": conform("outcomes", found.drop("split")),
        }
