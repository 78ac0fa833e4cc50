"""How a measure changes through the depth of networks, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import polars as pl

from manifoldscope.evidence.depth import AssociationProfile, OverClasses, Profile, association_profiles, profiles
from manifoldscope.evidence.measures import main_measure
from manifoldscope.report import words
from manifoldscope.report.findings.finding import FINDINGS, Finding, Tables
from manifoldscope.report.findings.phrases import MOST_SPELLED_OUT, MeasureWords, capital, every, plural, some

_SHAPES = {"peak": "rises and then falls", "rises": "rises", "falls": "falls", "open": "does not clearly change"}


@FINDINGS.register("depth")
def found(tables: Tables) -> list[Finding]:
    """Whether dimension rises and falls through the layers of each network, and where it goes with robust accuracy."""
    known = profiles(tables)
    if not known:
        return []
    told = pl.DataFrame({name: [getattr(each, name) for each in known] for name in ("measure", "parameters")})
    measure, parameters = main_measure(told).row(0)
    mine = [each for each in known if (each.measure, each.parameters) == (measure, parameters)]
    along = [each for each in association_profiles(tables) if (each.measure, each.parameters) == (measure, parameters)]
    name = MeasureWords(measure).name
    return [
        Finding(
            kind="depth",
            title=_title(mine, name),
            text="\n\n".join([*_networks(mine, name), *_known_of(mine), *_associations(along, name)]),
            caveats=_caveats(mine, along),
            numbers=tuple(_row(each, at) for each in mine for at in range(len(each.layers))),
            weight=46,
        )
    ]


def _title(found: Sequence[Profile], name: str) -> str:
    if len(found) > 1:
        shapes = [each.shape for each in found]
        counted = [(said, shapes.count(shape)) for shape, said in _SHAPES.items() if shape in shapes]
        if len(counted) == 1:
            return f"From layer to layer {name} {counted[0][0]} in {every(len(found))} networks"
        told = [f"{said} in {n}{'' if at else f' of {len(found)} networks'}" for at, (said, n) in enumerate(counted)]
        return f"From layer to layer {name} {', '.join(told)}"
    (profile,) = found
    n, said = len(profile.compared), _SHAPES[profile.shape]
    if profile.shape == "peak":
        return f"{capital(name)} of {profile.model} {said} through {n} layers; it is highest at {profile.peak.layer}"
    return f"{capital(name)} of {profile.model} {said} from the first to the last of {n} layers"


def _networks(found: Sequence[Profile], name: str) -> list[str]:
    """A paragraph per network; of many, which networks have which shape, and the largest change."""
    if len(found) <= MOST_SPELLED_OUT:
        return [of_network(each, name) for each in found]
    parts = []
    for shape, said in _SHAPES.items():
        mine = [each for each in found if each.shape == shape]
        if mine:
            parts.append(f"{capital(name)} {said} in {some([each.model for each in mine])}.")
    depths = [each.peak.depth for each in found if each.shape == "peak"]
    if depths:
        parts.append(f"The highest mean is at relative depths from {min(depths):.2f} to {max(depths):.2f}.")
    largest = max(found, key=lambda each: abs(each.change.value))
    return [" ".join(parts), f"The largest change: {of_network(largest, name)}"]


def of_network(profile: Profile, name: str) -> str:
    """One profile in words; `name` is that of the measure inside a sentence."""
    first, last, peak = profile.first, profile.last, profile.peak
    text = (
        f"{profile.model}, {len(profile.compared)} layers, {plural(peak.n_classes, 'class', 'es')}: mean {name} is "
        f"{words.number(first.mean.value)} at {first.layer}, the first, and {words.number(last.mean.value)} at "
        f"{last.layer}, the last, a change of {_signed(profile.change)}. "
    )
    at = profile.compared.index(profile.layers.index(peak)) + 1
    highest = f"It is highest, {words.number(peak.mean.value)}, at {peak.layer}, layer {at} of {len(profile.compared)}"
    if profile.above_first is not None and profile.above_last is not None:
        text += (
            f"{highest}: {_signed(profile.above_first)} beside the first and {_signed(profile.above_last)} beside the "
            "last, with intervals that hold for all layers between them together."
        )
    else:
        text += f"{highest}."
    if profile.trend is not None:
        trend = profile.trend
        within = "" if trend.low is None else f" ({_r(trend.low)} to {_r(trend.high)})"
        text += f" Its rank correlation with depth is {_r(trend.value)}{within}, as a mean over classes."
    return text


def _known_of(found: Sequence[Profile]) -> list[str]:
    if all(each.shape != "peak" for each in found):
        return []
    return ["Ansuini et al. (2019) describe such a rise and fall of intrinsic dimension in trained image classifiers."]


def _associations(found: Sequence[AssociationProfile], name: str) -> list[str]:
    """The range of r over the layers of each network."""
    said = []
    for along in found[:MOST_SPELLED_OUT]:
        known = [(layer, layer.coefficient) for layer in along.layers if layer.coefficient is not None]
        if not known:
            continue
        (low, r_low), *_, (high, r_high) = sorted(known, key=lambda each: each[1].value)
        seen = [layer.layer for layer, r in known if r.seen]
        evidence = f"evidence at {len(seen)} of {len(known)} layers ({some(seen)})" if seen else "no evidence"
        said.append(
            f"{along.model}, {words.attack(along.attack)} at {words.at_strength(along.attack, along.strength)}: from "
            f"{_r(r_low.value)} at {low.layer} to {_r(r_high.value)} at {high.layer}, with {evidence} at p below 0.05 "
            "adjusted for all cells"
        )
    if not said:
        return []
    more = len(found) - MOST_SPELLED_OUT
    rest = f" {plural(more, 'network')} more in the figure." if more > 0 else ""
    return [f"Correlation of {name} with robust accuracy across classes, layer by layer. {'; '.join(said)}.{rest}"]


def _caveats(found: Sequence[Profile], along: Sequence[AssociationProfile]) -> tuple[str, ...]:
    said = [
        "Layers differ in their number of features, and with it in what a measure can reach.",
        "The intervals are over classes, and not over other trainings of a network.",
    ]
    if any(each.pooled_otherwise for each in found):
        n = sum(len(each.pooled_otherwise) for each in found)
        pools = sorted({layer.pool for each in found for layer in each.pooled_otherwise})
        said.append(
            f"Only layers whose positions became points in one way are compared with each other; {plural(n, 'layer')} "
            f"pooled otherwise ({', '.join(pools)}) {'is' if n == 1 else 'are'} left out."
        )
    compared = [each.layers[at] for each in found for at in each.compared]
    of_sample = sum(layer.of_sample >= 0.5 for layer in compared)
    if of_sample:
        said.append(
            f"In {of_sample} of {plural(len(compared), 'layer')} most values describe the sample or the width of the "
            "layer, and not the manifold: with more images, or features, the profile might have another shape."
        )
    if along:
        said.append("The correlations do not hold fixed how hard classes are when clean.")
    return tuple(said)


def _row(profile: Profile, at: int) -> dict[str, object]:
    layer = profile.layers[at]
    mean = asdict(layer.mean)
    told = {name: value for name, value in asdict(layer).items() if name != "mean"}
    return {"model": profile.model, "compared": at in profile.compared, **told, "mean": mean.pop("value"), **mean}


def _signed(found: OverClasses) -> str:
    """`+1.4 (95%: 0.7 to 2.1)`, with real minus signs."""
    value = ("+" if found.value > 0 else "") + words.number(found.value)
    if found.low is None:
        return value
    return f"{value} (95%: {words.number(found.low)} to {words.number(found.high)})"


def _r(value: float | None) -> str:
    return words.coefficient(value)
