"""What measuring points takes of time: what is computed is counted, and each piece has the time of one core."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from manifoldscope.geometry.measures import MEASURES, seconds_of_reading
from manifoldscope.geometry.subsets import size_grid
from manifoldscope.recordings.rows import EXTRAPOLATION_DRAWS

SECONDS_OF_A_CALL = 5e-4
"""What a measure of one class takes of however few points."""

SECONDS_OF_A_CLASS = 1.2e-4
"""What each class takes beside, where all of a layer are measured together."""

SECONDS_OF_A_PAIR = 1.5e-5
"""What each pair of classes takes of a joint measure."""

SECONDS_OF_A_MARGIN = 5e-4
"""What the plane between two classes takes of however few points."""

SECONDS_OF_A_VALUE = 5e-9
"""What each value of the points takes to be centred, squared and summed up once."""

SECONDS_OF_A_PRODUCT = 6e-11
"""What each multiplication of an inner product takes, with its addition."""

SECONDS_OF_AN_EIGENVALUE = 2.5e-10
"""What the eigenvalues of a symmetric matrix take, for the third power of its size."""

WORTH_REDUCING = 4
"""How many times more features than points, at least, measures are shown as many coordinates as there are points."""

Measures = Sequence[Mapping[str, Any]]
"""Measures with their settings, as keys have them."""


def evaluations(measures: Measures, sampling: Mapping[str, Any], n_points: int) -> Iterator[tuple[int, Measures, int]]:
    """How often, which measures share what they read, and of how many points of each class."""
    yield 1, measures, n_points
    yield 2 * sampling.get("split_halves", 0), measures, n_points // 2
    for measure in measures:
        if null := sampling.get("null", 0):
            yield 1 + null, [measure], n_points
        if curve := sampling.get("curve", 0):
            yield from _of_curve(measure, n_points, draws=curve, smallest=8)
        if sampling.get("extrapolate"):
            yield 1, [measure], n_points
            if MEASURES[measure["name"]].traits["reads"] == "spectrum":  # others are not carried on
                yield 2 * EXTRAPOLATION_DRAWS, [measure], n_points // 2
                yield from _of_curve(measure, n_points, draws=EXTRAPOLATION_DRAWS, smallest=4)


def _of_curve(
    measure: Mapping[str, Any], n_points: int, *, draws: int, smallest: int
) -> Iterator[tuple[int, Measures, int]]:
    *fewer, every = size_grid(n_points, smallest=smallest)
    yield from ((draws, [measure], size) for size in fewer)
    yield 1, [measure], every


def class_seconds(measures: Measures, sampling: Mapping[str, Any], n_points: int, widths: Sequence[int]) -> float:
    """Seconds to measure one class in layers of these widths, as often as is asked: in halves, nulls and curves too."""
    if not measures:
        return 0.0
    asked = list(evaluations(measures, sampling, n_points))
    n_reductions = 1 + bool(sampling.get("curve")) + bool(sampling.get("extrapolate"))
    seconds = 0.0
    for width in widths:
        seen = _seen(n_points, width)
        seconds += sum(times * _of_class(len(some), n, seen) for times, some, n in asked)
        seconds += n_reductions * reading_seconds(n_points, [width]) if seen < width else 0.0
    return seconds


def joint_seconds(
    measures: Measures, sampling: Mapping[str, Any], n_points: int, n_classes: int, widths: Sequence[int]
) -> float:
    """Seconds of joint measures of that many points of each class, as often as is asked."""
    if not measures:
        return 0.0
    n_images, asked = n_points * n_classes, list(evaluations(measures, sampling, n_points))
    n_reductions = 1 + bool(sampling.get("curve")) + (len(measures) if sampling.get("null") else 0)
    seconds = 0.0
    for width in widths:
        seen = _seen(n_images, width)
        seconds += sum(times * _of_classes(some, n, n_classes, seen) for times, some, n in asked)
        seconds += n_reductions * reading_seconds(n_images, [width]) if seen < width else 0.0
    return seconds


def reliability_seconds(measures: Measures, splits: int, n_points: int, n_classes: int, widths: Sequence[int]) -> float:
    """Seconds to halve all classes again and again, for each of these measures anew."""
    n_images, seconds = n_points * n_classes, 0.0
    for width in widths:
        seen = _seen(n_images, width)
        for measure in measures:
            for times, some, n in evaluations([measure], {"split_halves": splits}, n_points):
                joint = is_joint(measure)
                once = _of_classes(some, n, n_classes, seen) if joint else n_classes * _of_class(1, n, seen)
                seconds += times * once
            seconds += reading_seconds(n_images, [width]) if seen < width else 0.0
    return seconds


def reading_seconds(n_points: int, widths: Sequence[int]) -> float:
    """Seconds for the spectrum or the distances of that many points in layers of these widths."""
    seconds = 0.0
    for width in widths:
        side = min(n_points, width)
        seconds += SECONDS_OF_A_VALUE * n_points * width + SECONDS_OF_A_PRODUCT * n_points * side * width
        seconds += SECONDS_OF_AN_EIGENVALUE * side**3
    return seconds


def is_joint(measure: Mapping[str, Any]) -> bool:
    """Whether it needs all classes of a layer at once."""
    return bool(MEASURES[measure["name"]].traits["reads"] == "clouds")


def _seen(n_points: int, width: int) -> int:
    """How many coordinates measures are shown of points: as many as there are points, where the layer is far wider."""
    return min(width, n_points) if width >= WORTH_REDUCING * n_points else width


def _of_class(n_measures: int, n_points: int, width: int) -> float:
    """Seconds to read the points of one class once, for so many measures that share it."""
    return n_measures * SECONDS_OF_A_CALL + reading_seconds(n_points, [width])


def _of_classes(measures: Measures, n_points: int, n_classes: int, width: int) -> float:
    """Seconds of some joint measures that share what they read of that many points of each class."""
    values, n_pairs = n_points * n_classes * width, n_classes * (n_classes - 1) / 2
    seconds = n_classes * SECONDS_OF_A_CLASS + SECONDS_OF_A_VALUE * values
    laws = {}
    for measure in measures:
        law = MEASURES[measure["name"]].traits["seconds"]
        if measure["name"] == "linear_margin":  # by the width too, which registered laws do not see
            seconds += n_pairs * (SECONDS_OF_A_MARGIN + (2 * n_points) ** 2 * (5e-8 + 1.2e-10 * width))
        elif law is seconds_of_reading:
            seconds += n_pairs * SECONDS_OF_A_PAIR + SECONDS_OF_A_VALUE * values / 2
        else:
            laws[law] = measure  # measures that are read off one computation have one law
    return seconds + float(sum(law(n_points, n_classes, measure) for law, measure in laws.items()))
