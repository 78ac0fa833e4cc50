"""Estimate: the value of a measure with what is needed to judge it; and the registry of measures."""

from __future__ import annotations

import functools
import html
import inspect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, cast, overload

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.cloud import Cloud, Clouds
from manifoldscope.geometry.manifold import ClassManifold, Points
from manifoldscope.geometry.moments import Scaling
from manifoldscope.geometry.spectrum import Spectrum
from manifoldscope.registry import Entry, Registry

NEAR_CEILING = 0.9
"""A value at or above this share of its ceiling says more about the sample than about the manifold."""

Reads = Literal["spectrum", "cloud", "clouds"]

INVARIANCES = ("rotation", "shift", "scale", "order", "padding")
"""Rotation of all features; one shift of all points; one scale for all features; order of the points; features of 0."""


Settings = ParamSpec("Settings")
"""The keyword-only parameters of a measure."""


class SpectrumMeasure(Protocol[Settings]):
    """A measure that reads a spectrum, as its users call it: on points or a spectrum, or on each of several classes."""

    @overload
    def __call__(
        self,
        points: Points | ClassManifold | Cloud | Spectrum,
        /,
        *nothing: Settings.args,
        **settings: Settings.kwargs,
    ) -> Estimate: ...
    @overload
    def __call__(
        self,
        points: Sequence[Points | ClassManifold | Cloud],
        /,
        *nothing: Settings.args,
        **settings: Settings.kwargs,
    ) -> JointEstimate: ...


class CloudMeasure(Protocol[Settings]):
    """A measure that reads the points themselves, as its users call it: on one class, or on each of several."""

    @overload
    def __call__(
        self, points: Points | ClassManifold | Cloud, /, *nothing: Settings.args, **settings: Settings.kwargs
    ) -> Estimate: ...
    @overload
    def __call__(
        self,
        points: Sequence[Points | ClassManifold | Cloud],
        /,
        *nothing: Settings.args,
        **settings: Settings.kwargs,
    ) -> JointEstimate: ...


class CloudsMeasure(Protocol[Settings]):
    """A joint measure, as its users call it: on all classes of a layer."""

    def __call__(
        self,
        manifolds: Sequence[Points | ClassManifold | Cloud],
        /,
        *nothing: Settings.args,
        **settings: Settings.kwargs,
    ) -> JointEstimate: ...


Seconds = Callable[[int, int, Mapping[str, Any]], float]
"""Points of a class, classes, and settings, to the seconds that a joint measure takes beside reading the points."""


def seconds_of_reading(n_points: int, n_classes: int, settings: Mapping[str, Any]) -> float:
    """What a joint measure takes that reads little more than every point."""
    return 2e-4 * n_points * n_classes


class Measures(Registry):
    """The registry of measures.

    A measure is registered by what it reads, the first parameter of the function: `of_spectrum`, `of_cloud`, or
    `of_clouds` for a joint measure. The name then stands for the measure as its users call it: on points in any form
    that `measure` takes, with the function's own keyword-only parameters.
    """

    def of_spectrum(
        self, name: str, *, invariant_to: Sequence[str], version: int = 1
    ) -> Callable[[Callable[Concatenate[Spectrum, Settings], Estimate | float]], SpectrumMeasure[Settings]]:
        """Registers a measure that reads a `Spectrum`, and gives an `Estimate` or a bare number."""

        def add(function: Callable[Concatenate[Spectrum, Settings], Estimate | float]) -> SpectrumMeasure[Settings]:
            self.register(name, reads="spectrum", invariant_to=invariant_to, version=version)(function)
            return cast(SpectrumMeasure[Settings], _public(name, function, "points"))

        return add

    def of_cloud(
        self, name: str, *, invariant_to: Sequence[str], version: int = 1
    ) -> Callable[[Callable[Concatenate[Cloud, Settings], Estimate | float]], CloudMeasure[Settings]]:
        """Registers a measure that reads a `Cloud`, its points and neighbours, and gives an `Estimate` or a number."""

        def add(function: Callable[Concatenate[Cloud, Settings], Estimate | float]) -> CloudMeasure[Settings]:
            self.register(name, reads="cloud", invariant_to=invariant_to, version=version)(function)
            return cast(CloudMeasure[Settings], _public(name, function, "points"))

        return add

    def of_clouds(
        self, name: str, *, invariant_to: Sequence[str], seconds: Seconds = seconds_of_reading, version: int = 1
    ) -> Callable[[Callable[Concatenate[Clouds, Settings], JointEstimate]], CloudsMeasure[Settings]]:
        """Registers a joint measure, which reads a `Clouds`: all classes of a layer at once."""

        def add(function: Callable[Concatenate[Clouds, Settings], JointEstimate]) -> CloudsMeasure[Settings]:
            self.register(name, reads="clouds", invariant_to=invariant_to, seconds=seconds, version=version)(function)
            return cast(CloudsMeasure[Settings], _public(name, function, "manifolds"))

        return add


def _public(name: str, function: Callable[..., Any], first: str) -> Callable[..., Any]:
    """The measure as its users call it, with the signature of the function but for what it reads."""

    @functools.wraps(function)
    def called(points: Any, /, **settings: Any) -> Any:
        return measure(name, points, **settings)

    _, *keywords = inspect.signature(function).parameters.values()
    positional = inspect.Parameter(first, inspect.Parameter.POSITIONAL_ONLY)
    called.__signature__ = inspect.Signature([positional, *keywords])  # type: ignore[attr-defined]  # as `inspect` reads
    return called


MEASURES = Measures("measure", package="manifoldscope.geometry")
"""Every measure of class manifolds.

Traits:
    reads: what the measure takes. "spectrum": a `Spectrum`; "cloud": a `Cloud`, its points and neighbours; "clouds": a
        `Clouds`, all classes of a layer at once (a joint measure).
    invariant_to: what of `INVARIANCES` leaves the value as it is; the tests hold each measure to its claims.
    seconds: of a joint measure, what it takes. Measures that are read off one computation share one law.
    version: raised when the measure comes to give another answer; 1 if omitted.
"""


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

    def __post_init__(self) -> None:
        if math.isnan(self.value) and not self.note:
            raise GeometryError("a measure gave NaN without a note; the note must say why there is no value")

    @property
    def near_ceiling(self) -> bool:
        """Whether the value is within 10% of the most that that many points and features could show."""
        return bool(self.ceiling) and self.value >= NEAR_CEILING * (self.ceiling or 0.0)

    @property
    def describes_sample(self) -> bool:
        """Whether the value describes the sample rather than the manifold: more images would give another one."""
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


MOST_SHOWN = 20
"""Rows of a joint estimate that a notebook shows."""


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


@overload
def measure(
    name: str, points: Points | ClassManifold | Cloud | Spectrum, *, scaling: Scaling = "none", **parameters: Any
) -> Estimate: ...
@overload
def measure(
    name: str, points: Sequence[Points | ClassManifold | Cloud], *, scaling: Scaling = "none", **parameters: Any
) -> JointEstimate: ...
def measure(
    name: str,
    points: Points | ClassManifold | Cloud | Spectrum | Sequence[Points | ClassManifold | Cloud],
    *,
    scaling: Scaling = "none",
    **parameters: Any,
) -> Estimate | JointEstimate:
    """The measure registered as `name`: of one cloud of points, or of a list of them.

    Args:
        name: one of `MEASURES.names()`.
        points: (n_points, n_features), at least two points; or a list of them, one a class. A `Cloud` (or `Clouds`, or
            a `Spectrum` for a measure that reads one) will do, and saves computing again what measures share; its own
            scaling is then the one that counts.
        scaling: "standardise" scales each feature to unit variance within the class first.
        **parameters: the measure's own keyword-only parameters, such as `fraction`.

    Returns:
        The estimate, or for a list a `JointEstimate`; `parameters` has every parameter of the measure, and `scaling`
        where it is not "none".

    Raises:
        StudyError: a measure or a parameter that does not exist, or a value of the wrong type.
        GeometryError: points that cannot be measured; one cloud for a measure that compares classes; a spectrum where
            the points themselves are needed.

    Example:
        >>> import torch
        >>> estimate = measure("pca_dimension", torch.eye(5), fraction=0.8)
        >>> estimate.value, estimate.ceiling, estimate.note
        (4.0, 4, '4 is within 10% of 4, the most that 5 points can show: it describes the sample')
    """
    entry = MEASURES[name]
    settings = entry.validate(parameters)
    if isinstance(points, Sequence) and not isinstance(points, Clouds):
        points = _together(points, scaling)
    if isinstance(points, Cloud | Clouds | Spectrum):
        if scaling not in ("none", points.scaling):
            raise GeometryError(f"the points were read with scaling {points.scaling!r}, not {scaling!r}")
        scaling = points.scaling
    if isinstance(points, Clouds):
        return _joint(entry, points, settings)._each(lambda estimate: _finished(estimate, scaling))
    if entry.traits["reads"] == "clouds":
        raise GeometryError(f"{name} compares classes; give it a list of manifolds, one (n_points, n_features) a class")
    if isinstance(points, Spectrum):
        if entry.traits["reads"] != "spectrum":
            raise GeometryError(f"{name} reads the points themselves; give it the points and not their spectrum")
        return _finished(_asked(entry, points, settings), scaling)
    cloud = points if isinstance(points, Cloud) else Cloud(points, scaling=scaling)
    return _finished(_single(entry, cloud, settings), scaling)


def _together(manifolds: Sequence[Points | ClassManifold | Cloud], scaling: Scaling) -> Clouds:
    clouds = [manifold for manifold in manifolds if isinstance(manifold, Cloud)]
    if clouds and len(clouds) == len(manifolds):
        return Clouds.together(clouds)
    return Clouds(cast(Sequence[Points | ClassManifold], manifolds), scaling=scaling)


def _single(entry: Entry, cloud: Cloud, settings: Mapping[str, Any]) -> Estimate:
    if entry.traits["reads"] != "spectrum":
        return _asked(entry, cloud, settings)
    estimate = _asked(entry, cloud.spectrum, settings)
    if not (few := cloud.dominant):
        return estimate
    without = _asked(entry, cloud.without(few.rows).spectrum, settings)
    return estimate.noting(f"{few} of the variance; without {few.pronoun} {without.value:.4g}")


def _asked(entry: Entry, subject: Cloud | Spectrum, settings: Mapping[str, Any]) -> Estimate:
    """What a measure says; one that gives a bare number has its sample and parameters added."""
    found: Estimate | float = entry.target(subject, **settings)
    if isinstance(found, Estimate):
        return found
    return Estimate(float(found), n_points=subject.n_points, n_features=subject.n_features, parameters=settings)


def _joint(entry: Entry, clouds: Clouds, settings: Mapping[str, Any]) -> JointEstimate:
    if entry.traits["reads"] == "clouds":
        joint: JointEstimate = entry.target(clouds, **settings)
        return _noting_dominance(joint, clouds)
    if entry.traits["reads"] == "spectrum":
        clouds = clouds.with_spectra()
    return JointEstimate(classes=tuple(_single(entry, cloud, settings) for cloud in clouds))


def _noting_dominance(joint: JointEstimate, clouds: Clouds) -> JointEstimate:
    """The same, noting the classes whose variance a few points carry; the values without them are not computed."""
    few = {place: cloud.dominant for place, cloud in enumerate(clouds) if cloud.dominant}
    if not few:
        return joint

    def noting(estimate: Estimate, *places: int) -> Estimate:
        said = [f"{few[place]} of the variance of class {place} (from 0)" for place in places if place in few]
        return estimate.noting("; ".join(said[:2] + [f"and so in {len(said) - 2} more classes"] * (len(said) > 2)))

    return JointEstimate(
        classes=tuple(noting(estimate, place) for place, estimate in enumerate(joint.classes)),
        whole=None if joint.whole is None else noting(joint.whole, *range(len(clouds))),
        pairs={places: noting(estimate, *places) for places, estimate in joint.pairs.items()},
    )


def _finished(estimate: Estimate, scaling: Scaling) -> Estimate:
    if scaling != "none":
        estimate = replace(estimate, parameters={**estimate.parameters, "scaling": scaling})
    return _noting_ceiling(estimate)


def _noting_ceiling(estimate: Estimate) -> Estimate:
    ceiling = estimate.ceiling
    if ceiling is None or not estimate.near_ceiling:
        return estimate
    by_points = ceiling <= estimate.n_points - 1 < estimate.n_features
    sample = f"{estimate.n_points} points" if by_points else f"{estimate.n_features} features"
    described = "the sample" if by_points else "the width of the layer"
    return estimate.noting(
        f"{estimate.value:.3g} is within 10% of {ceiling:.3g}, the most that {sample} can show: "
        f"it describes {described}"
    )
