"""Values that describe the sample, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from manifoldscope.evidence.ceilings import OfSample, ceilings
from manifoldscope.report import words
from manifoldscope.report.findings.finding import FINDINGS, Finding, Tables
from manifoldscope.report.findings.phrases import MOST_SPELLED_OUT, MeasureWords, capital, some


@FINDINGS.register("ceiling")
def found(tables: Tables) -> list[Finding]:
    """How many values describe the sample, or the width of the layer."""
    counted = ceilings(tables["geometry"])
    if not counted:
        return []
    n_of_sample, n_values = sum(one.of_sample for one in counted), sum(one.values for one in counted)
    title = "No value is near its ceiling or falls with half of the points"
    text = [*_measures([one for one in counted if one.bounded or one.of_sample]), _unbounded(counted)]
    if n_of_sample:
        share = 100 * n_of_sample / n_values
        title = f"{share:.3g}% of the values are near their ceiling or fall with half of the points"
        text.append(
            "Such values depend on the number of images, or on the width of the layer: compare them only where these "
            "are equal."
        )
    return [
        Finding(
            kind="ceiling",
            title=title,
            text=" ".join(filter(None, text)),
            numbers=tuple(map(asdict, counted)),
            weight=70 if n_of_sample else 15,
        )
    ]


def _measures(counted: Sequence[OfSample]) -> list[str]:
    """A sentence a measure; of many, the range of their shares and the measure with the largest."""
    if len(counted) <= MOST_SPELLED_OUT:
        return [_measure(one) for one in counted]
    shares = [one.of_sample / one.values for one in counted]
    n_some = sum(share > 0 for share in shares)
    if not n_some:
        return [f"{len(counted)} measures have a ceiling, and none of their values is within 10% of it or falls."]
    most = max(counted, key=lambda one: one.of_sample / one.values)
    return [
        f"Of {len(counted)} measures {n_some} {'has' if n_some == 1 else 'have'} such values, {min(shares):.0%} to "
        f"{max(shares):.0%} of the values of a measure. The most: {_measure(most)}"
    ]


def _measure(one: OfSample) -> str:
    return (
        f"{_named(one)}: {one.near_ceiling} of {one.values} values are within 10% of their ceiling, and "
        f"{one.falls_when_halved} fall by more than 10% with half of the points (at least {one.fewest_points} a class)."
    )


def _named(one: OfSample) -> str:
    return capital(words.measure(one.measure, one.parameters))


def _unbounded(counted: Sequence[OfSample]) -> str:
    names = list(dict.fromkeys(MeasureWords(one.measure).name for one in counted if not one.bounded + one.of_sample))
    if not names:
        return ""
    return f"Without a ceiling, and none falls so: {some(names)}."
