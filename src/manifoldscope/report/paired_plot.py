"""Plots of two studies as SVG elements without styles: points that belong to classes, and intervals in lines."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement

import numpy as np
from matplotlib.ticker import MaxNLocator

from manifoldscope.report import words
from manifoldscope.report.chart import plain
from manifoldscope.report.compare import Compared
from manifoldscope.report.rows import Reals

Place = Callable[[float], float]
"""Pixels of a value."""

_SIDE, _LEFT, _TOP, _BELOW = 250.0, 52.0, 8.0, 44.0  # pixels
_NAMED = 25  # up to so many classes have their names beside them
_WITH_INTERVALS = 150
_NAME_LENGTH = 18
_NEAR, _WIDEST = 0.5, 4.0  # radii of a mark: as near are at one place, and the largest ring around one


def scatter(quantity: Compared, positions: Mapping[str, int], *, x_label: str, y_label: str) -> str:
    """A point per class, in the first study across and in the second upwards; the diagonal is no difference."""
    low, high = _extent(quantity)
    width, height = _LEFT + _SIDE + 10, _TOP + _SIDE + _BELOW
    root = _root(width, height, f"{quantity.label}: {x_label} against {y_label}", "paired")
    factor = 100.0 if quantity.share else 1.0

    def across(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * _SIDE

    def up(value: float) -> float:
        return _TOP + _SIDE - (value - low) / (high - low) * _SIDE

    for tick in _ticks(low * factor, high * factor, 5):
        at = tick / factor
        _line(root, across(at), _TOP, across(at), _TOP + _SIDE, "grid")
        _line(root, _LEFT, up(at), _LEFT + _SIDE, up(at), "grid")
        _text(root, across(at), _TOP + _SIDE + 15, words.number(tick), "tick", "middle")
        _text(root, _LEFT - 6, up(at) + 4, words.number(tick), "tick", "end")
    _line(root, across(low), up(low), across(high), up(high), "same")
    unit = " (%)" if quantity.share else ""
    _text(root, _LEFT + _SIDE / 2, height - 6, f"{plain(x_label, 36)}{unit}", "axis", "middle")
    side = _text(root, 12, _TOP + _SIDE / 2, f"{plain(y_label, 36)}{unit}", "axis", "middle")
    side.set("transform", f"rotate(-90 12 {_TOP + _SIDE / 2:g})")
    _points(root, quantity, positions, across, up)
    return _written(root)


def forest(lines: Sequence[tuple[str, float, float, float, str]], *, label: str) -> str:
    """A line per (name, coefficient, low, high, what else is said of it), from -1 to 1.

    One without a coefficient says so; the drawing is empty where none has one.
    """
    if not any(line[1] == line[1] for line in lines):
        return ""
    row = 40.0
    texts = [(plain(line[0], 40), plain(line[4], 40)) for line in lines]
    width = max(340.0, 30 + 7.0 * max(len(name) + len(more) for name, more in texts))  # words above, as on a phone
    root = _root(width, row * len(lines) + 30, label, "forest")

    def across(value: float) -> float:
        return 12 + (value + 1) / 2 * (width - 24)

    bottom = row * len(lines) + 4
    for tick in (-1.0, -0.5, 0.0, 0.5, 1.0):
        for place in range(len(lines)):  # not through the words
            _line(root, across(tick), row * place + 20, across(tick), row * place + 40, "same" if tick == 0 else "grid")
        _text(root, across(tick), bottom + 14, words.number(tick), "tick", "middle")
    for place, (name, value, low, high, _) in enumerate(lines):
        y = row * place + 30
        _text(root, 4, y - 15, texts[place][0], "line", "start")
        _text(root, width - 4, y - 15, texts[place][1], "tick", "end")
        if value != value:
            _text(root, across(0) + 8, y + 4, "no coefficient", "tick", "start")
            continue
        if low == low and high == high:
            _line(root, across(max(low, -1)), y, across(min(high, 1)), y, "interval")
        mark = SubElement(root, "circle", {"cx": f"{across(value):.1f}", "cy": f"{y:g}", "r": "4.5", "class": "mark"})
        limits = f" (95% {words.coefficient(low)} to {words.coefficient(high)})" if low == low else ""
        SubElement(mark, "title").text = plain(f"{name}: {words.coefficient(value)}{limits}")
    return _written(root)


def _points(root: Element, quantity: Compared, positions: Mapping[str, int], across: Place, up: Place) -> None:
    order = np.lexsort((quantity.y, quantity.x))
    named = len(order) <= _NAMED
    radius = 4.0 if named else 3.0
    shown = [place for place in order if np.isfinite(quantity.x[place]) and np.isfinite(quantity.y[place])]
    moves = apart([(across(float(quantity.x[place])), up(float(quantity.y[place]))) for place in shown], radius)
    taken: list[tuple[float, float, float]] = []
    for place, (dx, dy) in zip(shown, moves, strict=True):
        x, y, name = float(quantity.x[place]), float(quantity.y[place]), quantity.classes[place]
        group = SubElement(root, "g", {"class": "point", "data-class": str(positions[name])})
        if len(order) <= _WITH_INTERVALS and quantity.x_limits and quantity.y_limits:
            (left, right), (low, high) = (
                (float(limits[0][place]), float(limits[1][place])) for limits in (quantity.x_limits, quantity.y_limits)
            )
            _line(group, across(left), up(y), across(right), up(y), "interval")
            _line(group, across(x), up(low), across(x), up(high), "interval")
        at = {"cx": f"{across(x) + dx:.1f}", "cy": f"{up(y) + dy:.1f}"}
        SubElement(group, "circle", {**at, "r": f"{radius:g}"})
        text = plain(name, _NAME_LENGTH)
        box = (across(x) + dx + 6, up(y) + dy - 5, 7.0 * len(text))
        free = named and not any(_over(box, other) for other in taken)
        taken += [box] if free else []
        _text(group, box[0], box[1], text, "name" if free else "name far", "start")
        SubElement(group, "title").text = plain(f"{name}: {_said(x, quantity.share)}, {_said(y, quantity.share)}")


def apart(places: Sequence[tuple[float, float]], radius: float) -> list[tuple[float, float]]:
    """How far each mark moves so that those at one place stand in a ring around it; `web/apart.js` does the same.

    Example:
        >>> apart([(10.0, 10.0), (30.0, 10.0), (10.0, 10.0)], radius=4.0)
        [(-4.2, 0.0), (0.0, 0.0), (4.2, 0.0)]
    """
    rings: list[tuple[tuple[float, float], list[int]]] = []
    for place, at in enumerate(places):
        found = next((members for centre, members in rings if math.dist(centre, at) < _NEAR * radius), None)
        if found is None:
            rings.append((at, [place]))
        else:
            found.append(place)
    moves = [(0.0, 0.0)] * len(places)
    for _, members in rings:
        n = len(members)
        ring = radius * min(_WIDEST, 1.05 / math.sin(math.pi / n)) if n > 1 else 0.0
        for k, place in enumerate(members if n > 1 else []):
            angle = 2 * math.pi * k / n
            moves[place] = (round(-ring * math.cos(angle), 2), round(-ring * math.sin(angle), 2) + 0.0)
    return moves


def _over(one: tuple[float, float, float], other: tuple[float, float, float]) -> bool:
    """Whether two names, by where they start and how long they are, cover each other."""
    return one[0] < other[0] + other[2] and other[0] < one[0] + one[2] and abs(one[1] - other[1]) < 11


def _said(value: float, share: bool) -> str:
    return f"{100 * value:.1f}%" if share else words.number(value)


def _extent(quantity: Compared) -> tuple[float, float]:
    if quantity.share:
        return -0.02, 1.02
    every: Reals = np.concatenate([quantity.x, quantity.y])
    every = every[np.isfinite(every)]
    if not every.size:
        return 0.0, 1.0
    low, high = float(every.min()), float(every.max())
    pad = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return low - pad, high + pad


def _ticks(low: float, high: float, most: int) -> list[float]:
    return [float(tick) for tick in MaxNLocator(most).tick_values(low, high) if low <= tick <= high]


def _root(width: float, height: float, label: str, kind: str) -> Element:
    attributes = {"viewBox": f"0 0 {width:g} {height:g}", "width": f"{width:g}", "height": f"{height:g}"}
    return Element("svg", {**attributes, "class": kind, "role": "group", "aria-label": plain(label)})


def _line(parent: Element, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    SubElement(parent, "line", {**{name: f"{value:.1f}" for name, value in ends.items()}, "class": kind})


def _text(parent: Element, x: float, y: float, text: str, kind: str, anchor: str) -> Element:
    element = SubElement(parent, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "class": kind, "text-anchor": anchor})
    element.text = text
    return element


def _written(root: Element) -> str:
    return ElementTree.tostring(root, encoding="unicode")
