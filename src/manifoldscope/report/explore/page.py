"""The facts of a page as one JSON document: its axes, its numbers, and what each view shows."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

from manifoldscope.evidence.depth import in_depth
from manifoldscope.registry import Entry
from manifoldscope.report import words
from manifoldscope.report.chart import COLOURS
from manifoldscope.report.contents import Contents
from manifoldscope.report.explore.cells import OUTCOMES, cells
from manifoldscope.report.explore.numbers import short
from manifoldscope.report.explore.selection import Selection
from manifoldscope.report.explore.start import start
from manifoldscope.report.explore.values import accuracies, intervals, measured
from manifoldscope.report.explore.view import VIEWS, Explored
from manifoldscope.report.rows import clean_geometry

_DASHES = ("", "6 3", "2 2", "6 2 1.5 2")


def explore(contents: Contents, selection: Selection, *, name: str = "", question: str = "") -> dict[str, Any]:
    """What the interactive part of a page holds, as JSON; `web/facts.js` says what is where."""
    page = Explored(contents, selection)
    views = [
        {
            "name": entry.name,
            "title": str(entry.traits["title"]),
            "caption": str(entry.traits.get("caption", "")),
            "missing": str(entry.traits.get("missing", "")),
            "data": _data(entry, page),
        }
        for entry in sorted(VIEWS, key=lambda entry: (entry.traits["place"], entry.name))
    ]
    shown = [view for view in views if view["data"] is not None or view["missing"]]
    return {
        "name": name,
        "question": question,
        "networks": _networks(page),
        "layers": _layers(page),
        "measures": [
            {"name": measure, "parameters": parameters, "label": words.measure(measure, parameters)}
            for measure, parameters in page.measures
        ],
        "attacks": _attacks(page),
        "classes": [
            {"index": index, "name": called} for index, called in zip(page.classes, page.class_names, strict=True)
        ],
        "outcomes": [{"name": outcome, "label": label} for outcome, label in OUTCOMES.items()],
        "geometry": measured(page),
        "accuracy": accuracies(page),
        "intervals": intervals(page),
        "cells": cells(page),
        "start": start(page, [view["name"] for view in shown if view["data"] is not None]),
        "left_out": selection.left_out,
        "views": shown,
    }


def packed(facts: Mapping[str, Any]) -> str:
    """The facts as text that a page carries: JSON, compressed; the same facts give the same text."""
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), mtime=0)).decode()


def _data(entry: Entry, page: Explored) -> Any:
    """What a view shows."""
    with entry.named():
        return entry.target(page)


def _networks(page: Explored) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "colour": COLOURS[place % len(COLOURS)],
            "dash": _DASHES[(place // len(COLOURS)) % len(_DASHES)],
            "at_chance": name in page.at_chance,
        }
        for place, name in enumerate(page.networks)
    ]


def _layers(page: Explored) -> list[dict[str, Any]]:
    pairs = clean_geometry(page.contents.tables["geometry"]).select("model", "layer").unique()
    depth = {
        (model, layer): depth
        for model, layer, depth in in_depth(pairs, page.contents.tables["layers"])
        .select("model", "layer", "depth")
        .rows()
    }
    return [
        {"name": layer, "depths": [short(depth.get((model, layer))) for model in page.networks]}
        for layer in page.layers
    ]


def _attacks(page: Explored) -> list[dict[str, Any]]:
    return [
        {
            "name": attack,
            "label": words.attack(attack),
            "symbol": words.strength_name(attack),
            "strengths": [{"value": value, "label": words.strength(value)} for value in page.strengths(attack)],
            "iterates": [{"name": name, "label": words.iterate(name)} for name in page.iterates(attack)],
        }
        for attack in page.attacks
    ]
