"""Attack a sample harder, where a study asks for full checks: would a better attack have found more?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import polars as pl

from manifoldscope.attacks.perturbation import ATTACKS
from manifoldscope.attacks.pgd import PGD
from manifoldscope.attacks.selftest import N_ATTACKS, QUERIES, attack_checks
from manifoldscope.seeds import derive
from manifoldscope.study.challenges import AttackPlan
from manifoldscope.study.context import Context, Tick
from manifoldscope.study.cost import SECONDS_OF_A_STEP, SECONDS_OF_A_UNIT, Costs, Need
from manifoldscope.study.plan import Study
from manifoldscope.study.planning import PlannedNetwork, Planning
from manifoldscope.study.refs import AttackRef, NetworkRef, unkeyed
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Gradients, Payload, Unit, kind
from manifoldscope.tables import BOOLEAN, INTEGER, REAL, TEXT, Schema, conform

CHECKS = Schema(
    name="checks",
    row="one check of one network's evaluation",
    columns={
        "model": TEXT,
        "check": TEXT,
        "passed": BOOLEAN,
        "value": REAL,
        "expected": TEXT,
        "note": TEXT,
    },
    identity=("model", "check"),
)

CONVERGENCE = Schema(
    name="convergence",
    row="images of a sample that are robust after a step of an attack (at every iterate so far)",
    columns={
        "model": TEXT,
        "attack": TEXT,
        "parameters": TEXT,
        "strength": REAL,
        "n_steps": INTEGER,
        "step": INTEGER,
        "n_images": INTEGER,
        "n_robust": INTEGER,
    },
    identity=("model", "attack", "parameters", "strength", "step"),
    optional=True,
)


@kind("check", place=20)
@dataclass(frozen=True, kw_only=True)
class Check(Unit):
    """Stronger attacks on a sample of the images of one network.

    Attributes:
        images: a digest of all images that are attacked.
        sample: how many of them are attacked at most; `n_images` are there.
        attack: the one that is checked.
        gradient_free: version of the attack without gradients.
    """

    version = 7
    files = ("checks.parquet",)
    tables = (CHECKS, CONVERGENCE)

    network: NetworkRef
    images: str
    sample: int
    attack: AttackRef
    gradient_free: int | str
    seed: int
    batch_size: int
    n_images: int = unkeyed()

    @classmethod
    def fits(cls, study: Study) -> None:
        if study.checks == "full" and checked(study) is None:
            raise ValueError(
                "checks = 'full' compares stronger attacks with an attack of kind 'pgd' at an epsilon above 0, and the "
                "study has none; add one, or give checks = 'cheap'"
            )

    @classmethod
    def of_network(cls, planning: Planning, network: PlannedNetwork) -> Iterator[Self]:
        study, drawn = planning.study, planning.draws["robustness"]
        found = checked(study)
        if study.checks != "full" or found is None:
            return
        plan, attack = found
        yield cls(
            network=network.ref,
            images=drawn.digest,
            sample=study.check_images,
            attack=AttackRef.of(attack, plan.name),
            gradient_free=ATTACKS["square"].version,
            seed=study.seed,
            batch_size=study.batch_size,
            n_images=min(study.check_images, len(drawn.images)),
        )

    @property
    def parts(self) -> tuple[str, ...]:
        return (str(self.attack),)

    def compute(self, context: Context, tick: Tick) -> Payload:
        found = checked(context.study)
        assert found is not None
        stronger = attack_checks(
            context.network(self.network.name),
            context.shown(self.network.name, "robustness"),
            found[1],
            seed=derive(self.seed, "check"),
            n_images=self.sample,
            batch_size=self.batch_size,
            memory=context.memory,
        )
        return Payload(
            tables={"checks": conform(CHECKS, stronger.rows).drop("model")},
            facts={"convergence": [asdict(curve) for curve in stronger.curves]},
        )

    @property
    def gradients(self) -> Gradients:
        return "own"

    def need(self, costs: Costs) -> Need:
        return costs.passing(
            self.n_images,
            gradient=costs.network.own.memory,
            n_attacked=self.n_images,
            fixed=2 * costs.network.image * self.n_images,
        )

    def seconds(self, costs: Costs, at_once: int) -> float:
        forward = (N_ATTACKS + QUERIES) * costs.forward_seconds(self.n_images, at_once)
        steps = N_ATTACKS * self.attack.passes[1]
        gradient = steps * (costs.network.own.seconds.of(self.n_images, at_once) + SECONDS_OF_A_STEP)
        return SECONDS_OF_A_UNIT + forward + gradient

    @classmethod
    def rows(cls, store: Store, units: Sequence[Self]) -> dict[str, Any]:
        return {
            "checks": [store.table(unit, "checks").with_columns(model=pl.lit(unit.network.name)) for unit in units],
            "convergence": conform(CONVERGENCE, [row for unit in units for row in unit._convergence(store)]),
        }

    def _convergence(self, store: Store) -> Iterator[dict[str, Any]]:
        """How many images were robust after each step of the attack that was checked."""
        for curve in store.facts(self).get("convergence", []):
            for step, n_robust in enumerate(curve["n_robust"]):
                yield {
                    "model": self.network.name,
                    "attack": self.attack.name,
                    "strength": self.attack.strength,
                    "parameters": curve["parameters"],
                    "n_steps": len(curve["n_robust"]) - 1,
                    "step": step,
                    "n_images": curve["n_images"],
                    "n_robust": n_robust,
                }


def checked(study: Study) -> tuple[AttackPlan, PGD] | None:
    """What full checks ask more of: the first PGD of the study, at the middle one of its epsilons above 0.

    At the largest, few images are robust that another attack could misclassify; at the smallest, few are misclassified
    by any.
    """
    for plan in study.perturbations:
        found = [attack for attack in plan.perturbations() if isinstance(attack, PGD) and attack.epsilon > 0]
        if found:
            return plan, sorted(found, key=lambda attack: attack.epsilon)[(len(found) - 1) // 2]
    return None
