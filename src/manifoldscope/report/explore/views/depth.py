"""Measures through the depth of networks: the mean over classes layer by layer, with the spread of the classes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from manifoldscope.evidence.depth import FEWEST_LAYERS, AtLayer, Profile, profiles
from manifoldscope.report import words
from manifoldscope.report.explore.numbers import one_or_all, short, shorts
from manifoldscope.report.explore.view import VIEWS, Explored
from manifoldscope.report.findings.depth import of_network
from manifoldscope.report.findings.phrases import MeasureWords

MOST_PROFILES = 300
"""Of networks and measures in the page."""

MOST_LAYERS = 4_500
"""Of all profiles in the page together."""


@VIEWS.register(
    "depth",
    title="Through the depth",
    caption=(
        "The mean over classes at each layer with its 95% interval; the band holds the middle 80% of the classes of "
        "the chosen network, and the chosen classes have lines of their own. Thin lines are other networks. Dashed is "
        "the ceiling, the largest value that that many points and features can show. A hollow mark is a layer where "
        "most values describe the sample or the width of the layer, and not the manifold; a cross is one whose "
        "positions were pooled otherwise, and that is not to be compared. Choose a layer to see its classes."
    ),
    place=30,
    script="depth.js",
    missing=f"no network has {FEWEST_LAYERS} or more measured layers that were pooled alike",
)
def depth(page: Explored) -> dict[str, Any] | None:
    """The profile of each network and measure ("n.m"), layers in the order of execution.

    `layers` are names, first those of the page: a layer is given by its position among them.
    """
    known = _known(page)
    if not known:
        return None
    found = {f"{n}.{m}": known[m, n] for m, n in sorted(known)[:MOST_PROFILES]}
    names = list(dict.fromkeys([*page.layers, *(layer.layer for each in found.values() for layer in each.layers)]))
    most = max(FEWEST_LAYERS, MOST_LAYERS // len(found))
    place = {name: position for position, name in enumerate(names)}
    kept = {key: _thinned(each, most, page.layers) for key, each in found.items()}
    return {
        "layers": names,
        "profiles": {key: _profile(found[key], layers, place) for key, layers in kept.items()},
        "left_out": _left_out(known, found, kept),
    }


def _known(page: Explored) -> dict[tuple[int, int], Profile]:
    """The profiles of the page's measures and networks, by their positions."""
    places = {
        (model, *measure): (m, n) for m, measure in enumerate(page.measures) for n, model in enumerate(page.networks)
    }
    found = {}
    for each in profiles(page.contents.tables):
        key = (each.model, each.measure, each.parameters)
        if key in places:
            found[places[key]] = each
    return found


def _thinned(profile: Profile, most: int, named: Collection[str]) -> list[int]:
    """Places of the layers that are kept: those of the page, the first, the last and the highest, and others evenly."""
    every = range(len(profile.layers))
    if len(every) <= most:
        return list(every)
    ends = {profile.compared[0], profile.compared[-1], profile.layers.index(profile.peak)}
    first = [at for at in every if at in ends or profile.layers[at].layer in named]
    room = max(0, most - len(first))
    others = [at for at in every if at not in set(first)]
    evenly = {others[round(step * (len(others) - 1) / max(1, room - 1))] for step in range(room)}
    return sorted({*first, *evenly})


def _profile(profile: Profile, kept: Sequence[int], place: dict[str, int]) -> dict[str, Any]:
    layers = [profile.layers[at] for at in kept]
    return {
        "text": of_network(profile, MeasureWords(profile.measure).name),
        "layer": [place[layer.layer] for layer in layers],
        "depth": [short(layer.depth, 4) for layer in layers],
        "mean": [short(layer.mean.value) for layer in layers],
        "low": [short(layer.mean.low, 4) for layer in layers],
        "high": [short(layer.mean.high, 4) for layer in layers],
        "tenth": _numbers(layers, "tenth"),
        "ninetieth": _numbers(layers, "ninetieth"),
        "ceiling": one_or_all(_numbers(layers, "ceiling")),
        "n": one_or_all(_numbers(layers, "n_classes")),
        "compared": one_or_all([int(at in profile.compared) for at in kept]),
        "of_sample": one_or_all([int(layer.of_sample >= 0.5) for layer in layers]),
    }


def _numbers(layers: Sequence[AtLayer], name: str) -> list[float | None]:
    return shorts([getattr(layer, name) for layer in layers], 4)


def _left_out(
    known: Collection[tuple[int, int]], found: Mapping[str, Profile], kept: Mapping[str, Sequence[int]]
) -> str:
    parts = []
    if len(found) < len(known):
        parts.append(f"{words.number(len(found))} of {words.number(len(known))} profiles (those of the first measures)")
    thinned = max((len(layers) for key, layers in kept.items() if len(layers) < len(found[key].layers)), default=0)
    if thinned:
        parts.append(f"at most {words.count(thinned, 'layer')} of each")
    return f"This page holds {words.listing(parts)}; the table geometry has all." if parts else ""
