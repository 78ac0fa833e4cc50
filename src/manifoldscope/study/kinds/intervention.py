"""Project a subspace out of a layer, or keep it alone, and attack again: does robustness follow the dimension?

Let a be the activation of an image at the layer. With the subspace projected out, or kept only, the rest of the
network sees

    without: mu + (I - QQ')(a - mu)        only: mu + QQ'(a - mu)

at every pass, of clean and of attacked images alike; gradients pass through it, so that attacks are adaptive. mu and Q
are of the images that geometry is measured on, which are others than those attacked:

- of "class", mu is the mean of one class, and Q's columns are its leading k principal axes; they are applied where
  images of that class are attacked. So the network is told the class of the image: along a direction that is projected
  out the activation is that of the class's mean. Its accuracies compare with those of random directions, to which the
  same is told, and not with those of the untouched network.
- of "all", mu is the mean of the images of all classes, and Q has their leading principal axes: one subspace for all.

Two controls, each drawn several times. "random": Q's columns are k orthonormal directions, uniform within the span of
the same points. "random_rescaled": the same directions, where the change is multiplied by s, a + s (P(a) - a), such
that its mean square over those points is that of the leading axes. For s > 2 "without" turns activations over along
these directions.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, cast

import polars as pl
import torch
from pydantic import model_validator
from torch import Tensor

from manifoldscope.attacks.evaluation import evaluate
from manifoldscope.attacks.perturbation import Perturbation
from manifoldscope.errors import ModelError
from manifoldscope.geometry.spectrum import Spectrum
from manifoldscope.geometry.subspace import Keep, Span, change
from manifoldscope.recordings.rows import Row
from manifoldscope.seeds import derive, generator
from manifoldscope.study.challenges import AttackPlan
from manifoldscope.study.context import Context, Tick
from manifoldscope.study.cost import POINTS, Costs, Need
from manifoldscope.study.measuring import named, points_of, shown
from manifoldscope.study.measuring_cost import reading_seconds
from manifoldscope.study.plan import LayerText, Study
from manifoldscope.study.planning import PlannedNetwork, Planning
from manifoldscope.study.refs import AttackRef, ClassRef, NetworkRef, unkeyed
from manifoldscope.study.section import KindSection, setting
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Gradients, Payload, Unit, kind
from manifoldscope.tables import INTEGER, REAL, TEXT, Schema
from manifoldscope.vision.layers import PENULTIMATE, Layer
from manifoldscope.vision.projection import with_projection

INTERVENTIONS = Schema(
    name="interventions",
    row="a class under an attack, where directions of a layer are projected out or kept alone",
    columns={
        "model": TEXT,
        "intervention": TEXT,
        "layer": TEXT,
        "of": TEXT,
        "keep": TEXT,
        "n_directions": INTEGER,
        "directions": TEXT,
        "draw": INTEGER,
        "class_index": INTEGER,
        "class_name": TEXT,
        "attack": TEXT,
        "parameters": TEXT,
        "strength": REAL,
        "iterate": TEXT,
        "n_images": INTEGER,
        "n_clean_correct": INTEGER,
        "n_robust": INTEGER,
        "clean_accuracy": REAL,
        "robust_accuracy": REAL,
        "share_of_variance": REAL,
        "scale": REAL,
        "mean_squared_change": REAL,
        "dimension": INTEGER,
        "n_points": INTEGER,
        "split": TEXT,
        "note": TEXT,
    },
    identity=(
        "model",
        "intervention",
        "of",
        "keep",
        "n_directions",
        "directions",
        "draw",
        "iterate",
        "class_index",
    ),
    optional=True,
)

_SETTING_UP = 12
"""Of about this many images gradients are taken before each attack: memory is measured, and a faster copy made."""

_NOTHING = 1e-9
"""Less than this share of the variance is rounding: such points have no dimension."""

Of = Literal["class", "all"]


class InterventionPlan(KindSection):
    """Directions of a layer that are projected out, or kept alone, while the images are attacked again."""

    key: ClassVar[str] = "interventions"
    column: ClassVar[str] = "intervention"

    name: str = setting("", "what tables and figures call it; the layer by default", keyed=False)
    layer: LayerText | None = setting(
        None,
        "the layer, named as in `layers`; if omitted, the penultimate one if it is measured, else the last one that is",
        keyed=True,
    )
    of: list[Of] = setting(
        ["class", "all"],
        "whose principal axes: those of the class that is attacked, or of all classes together",
        keyed=True,
        min_length=1,
    )
    keep: list[Keep] = setting(
        ["without", "only"], "project the directions out, or keep only these", keyed=True, min_length=1
    )
    directions: list[int] = setting([1, 2, 5, 10, 20], "how many directions", keyed=True, min_length=1)
    draws: int = setting(3, "how often random directions are drawn, for comparison", keyed=True, ge=1, le=100)
    attack: str | None = setting(None, "an attack of the study, by name; the first one if omitted", keyed=True)
    strength: float | None = setting(
        None, "one of its strengths; the middle one of those above 0 if omitted", keyed=True
    )

    @model_validator(mode="before")
    @classmethod
    def _named(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and not raw.get("name"):
            layer = raw.get("layer")
            with suppress(ModelError):  # what is no layer is refused where it stands
                return {**raw, "name": "last layer" if layer is None else str(Layer.of(layer))}
        return raw

    @model_validator(mode="after")
    def _check(self) -> InterventionPlan:
        for name in ("of", "keep", "directions"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} = {values}: one is listed twice")
        if min(self.directions) < 1:
            raise ValueError(f"directions = {self.directions}; expected numbers from 1")
        if self.layer is not None and Layer.of(self.layer).pool == "max":
            raise ValueError(
                f"layer = {self.layer!r} cannot be projected: the maximum over positions is no linear function of them"
            )
        return self

    def attack_of(self, study: Study) -> tuple[AttackPlan, Perturbation]:
        """What is done to the images, of what the study has.

        Raises:
            ValueError: the study has no such attack, or not at that strength.
        """
        names = [plan.name for plan in study.perturbations]
        if not names:
            raise ValueError("interventions attack the images again, and the study has no attack; add one")
        if self.attack is not None and self.attack not in names:
            raise ValueError(f"interventions: attack = {self.attack!r}; expected one of {', '.join(names)}")
        plan = study.perturbations[0 if self.attack is None else names.index(self.attack)]
        known = sorted(plan.perturbations(), key=lambda each: each.strength)
        if self.strength is None:
            wanted = [each for each in known if each.strength > 0] or known
            return plan, wanted[(len(wanted) - 1) // 2]
        found = next((each for each in known if each.strength == self.strength), None)
        if found is None:
            strengths = ", ".join(f"{each.strength:g}" for each in known)
            raise ValueError(f"interventions: strength = {self.strength:g}; {plan.name} has {strengths}")
        return plan, found


@kind("intervention", place=43)
@dataclass(frozen=True, kw_only=True)
class Intervention(Unit):
    """One network, one class, one number of directions: the leading ones, and random ones.

    Attributes:
        images: those that are attacked.
        measured: those whose axes they are: of the class, or of every class.
        of: "class" or "all"; `keep`: "without" or "only".
        draws: of random directions.
        iterate: "both", or "any" alone.
        copy: whose gradients are taken (the study's `gradients`).
        name: what tables call the intervention.
        n_together: how many images are attacked together at most.
    """

    version = 1
    files = ("interventions.parquet",)
    tables = (INTERVENTIONS,)
    section = InterventionPlan

    network: NetworkRef
    images: ClassRef
    measured: tuple[ClassRef, ...]
    layer: str
    of: str
    keep: str
    n_directions: int
    draws: int
    attack: AttackRef
    iterate: str
    copy: str
    seed: int
    batch_size: int
    name: str = unkeyed()
    n_together: int = unkeyed()

    @classmethod
    def fits(cls, study: Study) -> None:
        for plan in study.section(InterventionPlan):
            plan.attack_of(study)

    @classmethod
    def of_network(cls, planning: Planning, network: PlannedNetwork) -> Iterator[Self]:
        study = planning.study
        everything, measured = planning.classes("geometry"), planning.layers(network)
        for plan in study.section(InterventionPlan):
            attacked, attack = plan.attack_of(study)
            for of in plan.of:
                for keep in plan.keep:
                    for n_directions in plan.directions:
                        for images, own in zip(planning.classes("robustness"), everything, strict=True):
                            yield cls(
                                network=network.ref,
                                images=images,
                                measured=everything if of == "all" else (own,),
                                layer=plan.layer or (PENULTIMATE if PENULTIMATE in measured else measured[-1]),
                                of=of,
                                keep=keep,
                                n_directions=n_directions,
                                draws=plan.draws,
                                attack=AttackRef.of(attack, attacked.name),
                                iterate=attacked.iterate,
                                copy=study.gradients,
                                seed=study.seed,
                                batch_size=study.batch_size,
                                name=plan.name,
                                n_together=len(planning.draws["robustness"].images) if of == "all" else images.n_images,
                            )

    @property
    def parts(self) -> tuple[str, ...]:
        whose = "all classes" if self.of == "all" else "the class"
        what = f"{self.keep} {self.n_directions} of {whose}"
        return (str(self.images), self.layer, what, str(self.attack))

    @property
    def group(self) -> tuple[str, ...]:
        return (*super().group, self.name, self.of)

    @property
    def together(self) -> tuple[Any, ...]:
        """Their points are read together; where the directions are those of all classes, so are classes attacked."""
        return (self.kind, self.network.name, self.name, self.of)

    def compute(self, context: Context, tick: Tick) -> Payload:
        return self.compute_together([self], context, tick)[0]

    @classmethod
    def compute_together(cls, units: Sequence[Self], context: Context, tick: Tick) -> list[Payload]:
        points = units[0]._points(context, {each.index for unit in units for each in unit.measured})
        groups: dict[tuple[Any, ...], list[Self]] = {}
        for unit in units:
            groups.setdefault((unit.keep, unit.n_directions, () if unit.of == "all" else unit.images), []).append(unit)
        spans: dict[tuple[int, ...], Span] = {}
        rows: dict[str, list[Row]] = {}
        for done, group in enumerate(groups.values()):
            tick(done / len(groups))
            labels = tuple(each.index for each in group[0].measured)
            if labels not in spans:
                spans[labels] = Span.of(torch.cat([points[label] for label in labels]))
            rows |= _attacked(group, spans[labels], points, context)
        return [Payload(tables={"interventions": _frame(rows[unit.key])}) for unit in units]

    def _points(self, context: Context, labels: set[int]) -> dict[int, Tensor]:
        """The points of some classes in the layer, of the images that geometry is measured on."""
        network, images = context.network(self.network.name), context.shown(self.network.name, "geometry")
        chosen = torch.isin(images.labels, torch.tensor(sorted(labels))).nonzero().flatten()
        manifolds = points_of(context, network, images.subset(chosen), [self.layer], in_file=False)
        return {manifold.label: manifold.points for manifold in manifolds}

    @property
    def gradients(self) -> Gradients:
        return "search" if self.attack.passes[1] else "none"

    @property
    def measured_layers(self) -> tuple[str, ...]:
        return (self.layer,)

    @property
    def _n_measured(self) -> int:
        return sum(each.n_images for each in self.measured)

    def need(self, costs: Costs) -> Need:
        n, widths = self._n_measured, costs.widths(self.measured_layers)
        points = 4.0 * n * sum(widths)  # once more as one cloud, and as they are moved
        moved = 2 * costs.measuring(n, widths, may_lie_in_file=False)
        return costs.attacking(
            self.attack, self.n_together, kept=False, fixed=points + moved, widths=widths, reduce=POINTS
        )

    def seconds(self, costs: Costs, at_once: int) -> float:
        n, widths = self._n_measured, costs.widths(self.measured_layers)
        ways, share = 1 + 2 * self.draws, self.images.n_images / self.n_together
        reading = (costs.forward_seconds(n, at_once) + reading_seconds(n, widths)) / len(self.measured)
        measuring = reading_seconds(n // len(self.measured), widths)
        attacks = costs.attack_seconds(self.attack, self.images.n_images, self.n_together, at_once)
        return reading + ways * (measuring + attacks + share * costs.gradient_seconds(_SETTING_UP, 1))

    @classmethod
    def rows(cls, store: Store, units: Sequence[Self]) -> dict[str, list[pl.DataFrame]]:
        return {
            "interventions": [
                named(
                    store.table(unit, "interventions"),
                    model=unit.network.name,
                    intervention=unit.name,
                    layer=unit.layer,
                    of=unit.of,
                    keep=unit.keep,
                    n_directions=unit.n_directions,
                    class_index=unit.images.index,
                    class_name=unit.images.name,
                    attack=unit.attack.name,
                    parameters=unit.attack.parameters,
                    strength=unit.attack.strength,
                    split=unit.images.split,
                )
                for unit in units
            ]
        }


@dataclass(frozen=True, eq=False)
class _Way:
    """One choice of directions: basis (k, n_features), and by what the change is multiplied."""

    directions: str
    draw: int
    basis: Tensor
    scale: float = 1.0


def _ways(unit: Intervention, span: Span) -> Iterator[_Way]:
    """The leading axes, and every draw of random directions as it is and rescaled."""
    k, keep = unit.n_directions, cast("Keep", unit.keep)
    leading = _Way("leading", 0, span.leading(k))
    yield leading
    digest = hashlib.sha256("".join(each.digest for each in unit.measured).encode()).hexdigest()
    wanted = _mean_square(span, leading.basis, keep)
    for draw in range(unit.draws):
        basis = span.random(k, generator=generator(unit.seed, "intervention", digest, unit.layer, k, draw))
        yield _Way("random", draw, basis)
        found = _mean_square(span, basis, keep)
        yield _Way("random_rescaled", draw, basis, math.sqrt(wanted / found) if found > _NOTHING else 1.0)


def _mean_square(span: Span, basis: Tensor, keep: Keep) -> float:
    """The mean squared change of the points, as a share of their variance."""
    share = span.share(basis)
    return share if keep == "without" else 1 - share


def _attacked(
    units: Sequence[Intervention], span: Span, points: Mapping[int, Tensor], context: Context
) -> dict[str, list[Row]]:
    """The rows of units that differ in the class alone, by key: their images are attacked together."""
    first = units[0]
    if first.n_directions > span.rank:
        note = f"{first.n_directions} directions; the points span {span.rank}"
        return {unit.key: [{"directions": "leading", "draw": 0, "note": note}] for unit in units}
    network, drawn = context.network(first.network.name), context.shown(first.network.name, "robustness")
    plan, attack = context.study.attack(first.attack.name, first.attack.strength)
    images = shown(drawn, [unit.images for unit in units])
    shape = network.pixels(images, slice(0, 1)).shape[1:]
    keep = cast("Keep", first.keep)
    rows: dict[str, list[Row]] = {unit.key: [] for unit in units}
    for way in _ways(first, span):
        changed = with_projection(
            network, first.layer, way.basis, span.centre, keep=keep, scale=way.scale, pixels_shape=shape
        )
        outcomes = evaluate(
            changed,
            images,
            attack,
            seed=derive(first.seed, "attack"),
            batch_size=first.batch_size,
            iterate=plan.iterate,
            fast=first.copy == "copy",
            memory=context.memory,
        )
        share = span.share(way.basis)
        for unit in units:
            own = points[unit.images.index]
            common = {
                "directions": way.directions,
                "draw": way.draw,
                "share_of_variance": share,
                "scale": way.scale,
                **_moved(own, way, span.centre, keep),
            }
            mine = outcomes.table.filter(pl.col("label") == unit.images.index)
            rows[unit.key] += [{**common, **counted} for counted in _counts(mine)]
    return rows


def _moved(points: Tensor, way: _Way, centre: Tensor, keep: Keep) -> Row:
    """How far the points (n_points, n_features) of a class move, and their PCA dimension afterwards."""
    added = way.scale * change(points, way.basis.to(points), centre.to(points), keep=keep)
    before, after = Spectrum.of(points), Spectrum.of(points + added)
    left = after.total_variance > _NOTHING * before.total_variance
    return {
        "mean_squared_change": float(added.double().square().sum(1).mean()),
        "dimension": after.dimension() if left else 0,
        "n_points": len(points),
    }


def _counts(outcomes: pl.DataFrame) -> Iterator[Row]:
    """What the outcomes of one class count to, for each iterate."""
    n, n_correct = len(outcomes), int((outcomes["clean_prediction"] == outcomes["label"]).sum())
    for iterate in ("last", "any"):
        robust = outcomes[f"robust_{iterate}"]
        if robust.null_count() == 0:
            yield {
                "iterate": iterate,
                "n_images": n,
                "n_clean_correct": n_correct,
                "n_robust": int(robust.sum()),
                "clean_accuracy": n_correct / n,
                "robust_accuracy": int(robust.sum()) / n,
            }


def _frame(rows: Sequence[Row]) -> pl.DataFrame:
    """The columns that a unit stores: those that are not named when tables are made."""
    names = (
        *("directions", "draw", "iterate", "n_images", "n_clean_correct", "n_robust", "clean_accuracy"),
        *("robust_accuracy", "share_of_variance", "scale", "mean_squared_change", "dimension", "n_points", "note"),
    )
    schema = {name: INTERVENTIONS.columns[name] for name in names}
    return pl.DataFrame({name: [row.get(name) for row in rows] for name in schema}, schema=schema)
