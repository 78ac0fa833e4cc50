"""Estimate: the value of a measure with what is needed to judge it."""

from __future__ import annotations

import html
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.cloud import Clouds
from manifoldscope.geometry.moments import Scaling

NEAR_CEILING = 0.9
"""A value at or above this share of its ceiling says more about the sample than about the manifold."""

MOST_SHOWN = 20
"""Rows of a joint estimate that a notebook shows."""


@dataclass(frozen=True)
class Estimate:
    """A measured value and the sample it rests on.

    Attributes:
        value: the measure; NaN only together with a note that gives the reason.
        n_points, n_features: the shape of the sample.
        ceiling: the largest value that that many points and features could have shown; None where there is no bound.
        stderr: standard error, by subsampling without replacement or as the measure's docstring says; None where
            nobody asked for it or there is none.
        parameters: what else defines the measure.
        note: what a reader must know before using the value; empty where there is nothing.
        falls_when_halved: whether the value falls clearly where half of the points are left out, by more than
            `sampling.UNSTABLE`; None where nobody halved them.
        bounded_by: what sets the ceiling; if omitted, the points where there are fewer than features and one, and the
            features otherwise.

    Example:
        >>> Estimate(12.0, n_points=50, n_features=2048).noting("from one layer").note
        'from one layer'
    """

    value: float
    n_points: int
    n_features: int
    ceiling: float | None = None
    stderr: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    falls_when_halved: bool | None = None
    bounded_by: Literal["points", "features", "neighbours"] | None = None

    def __post_init__(self) -> None:
        if math.isnan(self.value) and not self.note:
            raise GeometryError("a measure gave NaN without a note; the note must say why there is no value")

    @property
    def near_ceiling(self) -> bool:
        """Whether the value is within 10% of the most that that many points and features could show."""
        return bool(self.ceiling) and self.value >= NEAR_CEILING * (self.ceiling or 0.0)

    @property
    def describes_sample(self) -> bool:
        """Whether the value describes the sample, or the width of the layer, rather than the manifold.

        More points, or features, would give another one.
        """
        return self.near_ceiling or bool(self.falls_when_halved)

    def noting(self, note: str) -> Estimate:
        """The same estimate with one more note."""
        return replace(self, note="; ".join(filter(None, [self.note, note])))

    def __repr__(self) -> str:
        settings = [f"{name}={value!r}" for name, value in self.parameters.items()]
        ceiling = [] if self.ceiling is None else [f"ceiling {self.ceiling:.4g}"]
        sample = [f"{self.n_points:,} points", f"{self.n_features:,} features"]
        note = [f"note: {self.note}"] if self.note else []
        return f"Estimate({', '.join([self._shown, *ceiling, *sample, *settings, *note])})"

    def _repr_html_(self) -> str:
        """The estimate as a small table, for notebooks."""
        return _html([self._row])

    @property
    def _shown(self) -> str:
        """The value with its standard error."""
        return f"{self.value:.4g}" + ("" if self.stderr is None else f" ± {self.stderr:.2g}")

    @property
    def _row(self) -> dict[str, str]:
        settings = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
        ceiling = "" if self.ceiling is None else f"{self.ceiling:.4g}"
        return {
            "value": self._shown,
            "ceiling": ceiling,
            "points": f"{self.n_points:,}",
            "features": f"{self.n_features:,}",
            "settings": settings,
            "note": self.note,
        }


def _html(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of text as a table, without the columns that are empty in all of them."""
    columns = [name for name in rows[0] if any(row[name] for row in rows)] if rows else []
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(row[name])}</td>' for name in columns)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


@dataclass(frozen=True)
class JointEstimate:
    """What a measure says of several classes of one layer.

    Attributes:
        classes: one estimate for each manifold, in the order given; empty where the measure has none.
        whole: of the layer as a whole, such as a mean over classes; None where the measure has none.
        pairs: by the places (i, j) of two manifolds in the list; empty where the measure does not compare pairs. A
            symmetric measure has i < j alone.

    Example:
        >>> import torch
        >>> from manifoldscope.geometry import measure
        >>> joint = measure("pca_dimension", [torch.eye(5), torch.eye(5)[:3]])
        >>> [estimate.value for estimate in joint.classes], joint.whole, joint.pairs
        ([4.0, 2.0], None, {})
    """

    classes: tuple[Estimate, ...] = ()
    whole: Estimate | None = None
    pairs: Mapping[tuple[int, int], Estimate] = field(default_factory=dict)

    def _each(self, change: Any) -> JointEstimate:
        return JointEstimate(
            classes=tuple(map(change, self.classes)),
            whole=None if self.whole is None else change(self.whole),
            pairs={places: change(estimate) for places, estimate in self.pairs.items()},
        )

    def __repr__(self) -> str:
        whole = [] if self.whole is None else [f"whole {self.whole._shown}"]
        parts = [*whole, *_ranged("classes", self.classes), *_ranged("pairs", self.pairs.values())]
        return f"JointEstimate({', '.join(parts)})"

    def _repr_html_(self) -> str:
        """The whole, then the classes, then the pairs by their places, as many as a notebook has room for."""
        rows = [] if self.whole is None else [{"of": "whole", **self.whole._row}]
        rows += [{"of": f"class {place}", **estimate._row} for place, estimate in enumerate(self.classes)]
        rows += [{"of": f"classes {i} and {j}", **estimate._row} for (i, j), estimate in self.pairs.items()]
        more = len(rows) - MOST_SHOWN
        return _html(rows[:MOST_SHOWN]) + (f"<p>and {more:,} more</p>" if more > 0 else "")


def _ranged(what: str, estimates: Collection[Estimate]) -> list[str]:
    """How many estimates there are, and from where to where they reach."""
    if not estimates:
        return []
    known = [estimate.value for estimate in estimates if not math.isnan(estimate.value)]
    reach = f" {min(known):.4g} to {max(known):.4g}" if known else " without a value"
    return [f"{len(estimates):,} {what}{reach}"]


def estimate_of(
    clouds: Clouds,
    *places: int,
    value: float,
    stderr: float | None = None,
    parameters: Mapping[str, Any],
    ceiling: float | None = None,
    note: str = "",
) -> Estimate:
    """The estimate of some classes of a layer, by their places; of the whole layer where none is named."""
    return Estimate(
        float(value),
        n_points=sum(clouds[place].n_points for place in places) if places else clouds.n_points,
        n_features=clouds.n_features,
        ceiling=ceiling,
        stderr=None if stderr is None or math.isnan(stderr) else float(stderr),
        parameters=parameters,
        note=note,
    )


def finished(estimate: Estimate, scaling: Scaling) -> Estimate:
    if scaling != "none":
        estimate = replace(estimate, parameters={**estimate.parameters, "scaling": scaling})
    return noting_ceiling(estimate)


def noting_ceiling(estimate: Estimate) -> Estimate:
    """The same, noting that its value is near the ceiling, and what sets that."""
    ceiling = estimate.ceiling
    if ceiling is None or not estimate.near_ceiling:
        return estimate
    by_points = ceiling <= estimate.n_points - 1 < estimate.n_features
    what, described = {
        "points": (f"{estimate.n_points} points", "the sample"),
        "features": (f"{estimate.n_features} features", "the width of the layer"),
        "neighbours": ("neighbourhoods of this size", "their size"),
    }[estimate.bounded_by or ("points" if by_points else "features")]
    return estimate.noting(
        f"{estimate.value:.3g} is within 10% of {ceiling:.3g}, the most that {what} can show: it describes {described}"
    )
