"""A joint measure, such as capacity, as a function of the number of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.cloud import Clouds
from manifoldscope.geometry.estimate import Estimate
from manifoldscope.geometry.measures import MEASURES
from manifoldscope.geometry.moments import Scaling
from manifoldscope.geometry.subsets import (
    Manifold,
    as_subject,
    described,
    mean_of,
    random_rows,
    require_at_least_one,
    standard_deviation,
    whole_or_reason,
)


@dataclass(frozen=True)
class ClassCurve:
    """A joint measure as a function of the number of classes.

    Attributes:
        measure, parameters: what was measured.
        numbers: of classes, ascending.
        mean: of the value of the layer, over the draws of each number; NaN where it has none, and then the note says
            why.
        standard_deviation: over the draws. Draws from all classes overlap, so that this is about
            sqrt(1 - number / n_classes) times the spread over fresh classes, and 0 where all classes are drawn.
        n_classes, n_points, n_features: of what was drawn from; points of all classes together.
        draws: how many draws of each number.
        note: why there are no values, where there are none.
    """

    measure: str
    numbers: tuple[int, ...]
    mean: tuple[float, ...]
    standard_deviation: tuple[float, ...]
    n_classes: int
    n_points: int
    n_features: int
    draws: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


def class_curve(
    name: str,
    manifolds: Sequence[Manifold] | Clouds,
    *,
    numbers: Sequence[int] | None = None,
    draws: int = 10,
    generator: torch.Generator,
    scaling: Scaling = "none",
    **parameters: Any,
) -> ClassCurve:
    """A joint measure of ever more of the classes, drawn at random without replacement.

    By theory the capacity of manifolds at random places and in random directions does not depend on their number. A
    curve of `effective_capacity` that rises says that the classes share the directions in which they vary, so that a
    further one takes less room; one that falls, that their centroids lie in common directions. Theory is of many
    classes in many features: values of two or four classes are rough. `effective_capacity` is at least the number of
    classes over the dimensions that their points span, and rises with the number where that bound is near; its note
    says so for all classes together.

    Args:
        name: one of `MEASURES.names()`, a joint measure that has a value of the layer, such as "capacity".
        manifolds: (n_points, n_features) each, at least two classes of one layer.
        numbers: of classes to draw; 2, 4, 8 and so on, and all of them, if omitted.
        draws: how many draws of each number; all classes are drawn once.
        generator: a CPU generator that chooses the classes.
        scaling: as for `measure`; each draw is scaled anew.
        **parameters: of the measure.

    Raises:
        GeometryError: as `measure`; numbers below 2 or above that of all classes; no draws; a measure that says nothing
            of the layer as a whole.

    Example:
        >>> points = torch.randn(8, 1, 400, generator=torch.Generator().manual_seed(0)).expand(8, 2, 400)
        >>> found = class_curve("capacity", list(points), draws=3, generator=torch.Generator().manual_seed(1))
        >>> found.numbers, [round(mean, 1) for mean in found.mean]  # points have a capacity of 2
        ((2, 4, 8), [2.0, 2.0, 2.0])
    """
    require_at_least_one("draws", draws)
    subject = as_subject(manifolds, [name], scaling)
    if MEASURES[name].traits["reads"] != "clouds" or not isinstance(subject, Clouds):
        raise GeometryError(f"{name} of {type(manifolds).__name__}; expected a joint measure and a list of classes")
    n_classes = len(subject)
    chosen = _checked(_powers_of_two(n_classes) if numbers is None else numbers, n_classes)
    settings = MEASURES[name].validate(parameters)
    values: list[list[float]] = []
    reasons: dict[str, None] = {}
    for number in chosen:
        found = []
        for _ in range(1 if number == n_classes else draws):
            places = random_rows(n_classes, number, generator).tolist()
            tried = whole_or_reason(name, Clouds.together([subject[place] for place in places]), settings)
            if isinstance(tried, Estimate):
                found.append(tried.value)
            else:
                reasons[f"{number} classes: {tried}"] = None
        values.append(found)
    return ClassCurve(
        measure=name,
        numbers=chosen,
        mean=tuple(map(mean_of, values)),
        standard_deviation=tuple(map(standard_deviation, values)),
        n_classes=n_classes,
        n_points=subject.n_points,
        n_features=subject.n_features,
        draws=draws,
        parameters=described(settings, subject),
        note="; ".join(reasons),
    )


def _powers_of_two(most: int) -> list[int]:
    """2, 4, 8 and so on, and `most`."""
    return [2**power for power in range(1, most.bit_length()) if 2**power < most] + [most]


def _checked(numbers: Sequence[int], n_classes: int) -> tuple[int, ...]:
    chosen = tuple(sorted(set(numbers)))
    if not chosen or chosen[0] < 2 or chosen[-1] > n_classes:
        raise GeometryError(
            f"{list(numbers)} of {n_classes} classes cannot be drawn; expected from 2 to {n_classes}, each class once"
        )
    return chosen
