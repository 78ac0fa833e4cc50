"""The registry of measures, and `measure`, which asks one of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, cast, overload

import torch

from manifoldscope.errors import GeometryError, ManifoldscopeError
from manifoldscope.geometry.cloud import Cloud, Clouds
from manifoldscope.geometry.estimate import Estimate, JointEstimate, finished
from manifoldscope.geometry.manifold import ClassManifold, Points
from manifoldscope.geometry.moments import Scaling
from manifoldscope.geometry.spectrum import Spectrum
from manifoldscope.registry import Entry, Item, Registry
from manifoldscope.seeds import generator

Reads = Literal["spectrum", "cloud", "clouds"]


INVARIANCES = ("rotation", "shift", "scale", "order", "padding")
"""Rotation of all features; one shift of all points; one scale for all features; order of the points; features of 0."""


TRIED_POINTS, TRIED_FEATURES = 100, 10
"""Of each of two classes made up, on which settings are tried."""

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


RESERVED = frozenset(
    ("name", "points", "manifolds", "scaling", "generator", "draws", "sizes", "numbers", "n_points", "n_splits")
)
"""What `measure`, `curve`, the nulls and their like call arguments of their own, beside those of the measure."""


class Measures(Registry):
    """The registry of measures.

    A measure is registered by what it reads, the first parameter of the function: `of_spectrum`, `of_cloud`, or
    `of_clouds` for a joint measure. The name then stands for the measure as its users call it: on points in any form
    that `measure` takes, with the function's own keyword-only parameters.
    """

    def register(self, name: str, **traits: Any) -> Callable[[Item], Item]:
        """As any registry, but for parameters that are called as one of `RESERVED`."""
        register = super().register(name, **traits)

        def add(function: Item) -> Item:
            if taken := sorted(RESERVED & inspect.signature(function).parameters.keys()):
                raise ManifoldscopeError(
                    f"the measure {name!r} has a parameter {taken[0]!r}, by which curves and nulls mean one of their "
                    "own; call it otherwise"
                )
            return register(function)

        return add

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
        return _joint(entry, points, settings)._each(lambda estimate: finished(estimate, scaling))
    if entry.traits["reads"] == "clouds":
        raise GeometryError(f"{name} compares classes; give it a list of manifolds, one (n_points, n_features) a class")
    if isinstance(points, Spectrum):
        if entry.traits["reads"] != "spectrum":
            raise GeometryError(f"{name} reads the points themselves; give it the points and not their spectrum")
        return finished(_asked(entry, points, settings), scaling)
    cloud = points if isinstance(points, Cloud) else Cloud(points, scaling=scaling)
    return finished(_single(entry, cloud, settings), scaling)


def refuse_settings(name: str, settings: Mapping[str, Any]) -> None:
    """Raise GeometryError where a measure refuses these settings of its own, whatever the points.

    They are tried on a few points made up, so that a study need not train networks to find out. What a measure makes of
    such points by default, or what else goes wrong, is no reason to refuse them.
    """
    defaults = MEASURES[name].settings.model_fields
    if all(settings.get(key) == field.default for key, field in defaults.items()):
        return
    stream = generator(0, "points made up")
    points = [torch.randn(TRIED_POINTS, TRIED_FEATURES, generator=stream, dtype=torch.float64) for _ in range(2)]

    def error_of(**chosen: Any) -> Exception | None:
        try:
            measure(name, points, **chosen)
        except Exception as error:  # a measure may be anybody's
            return error
        return None

    refused = error_of(**settings)
    if isinstance(refused, GeometryError) and error_of() is None:
        raise refused


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
