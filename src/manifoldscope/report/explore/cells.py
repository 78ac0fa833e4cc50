"""The association of each cell of the page in words, and the regression that is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from manifoldscope.evidence import nearly_constant
from manifoldscope.evidence.two_draws import log_odds
from manifoldscope.report import words
from manifoldscope.report.explore.numbers import short
from manifoldscope.report.explore.view import Explored, placed
from manifoldscope.report.regression import regression
from manifoldscope.report.rows import Reals

OUTCOMES = {"robust_accuracy": "Robust accuracy", "log_odds": "Log-odds of robust, of those correct when clean"}
"""What is seen against a measure."""

_METHODS = {"pearson": "Pearson r", "spearman": "Spearman ρ"}
_CONTROLS = {"margin": "given the margin", "clean_accuracy": "given clean accuracy"}
_KEYS = ("n", "l", "m", "a", "s", "i", "o")


def cells(page: Explored) -> dict[str, dict[str, Any]]:
    """Of each network, layer, measure, attack, strength, iterate and outcome: what is known of the association.

    Keys are "n.l.m.a.s.i.o". A network at chance level, and a measure that is nearly constant, has words alone.
    """
    said = _sentences(page)
    y_values = _outcomes(page)
    withheld = {n_l_m: _withheld(page, n_l_m) for n_l_m in page.values}
    found: dict[str, dict[str, Any]] = {}
    for (n_l_m, x), (n_a_s_i, ys) in (
        (one, other)
        for one in page.values.items()
        for other in y_values.items()
        if one[0].split(".")[0] == other[0].split(".")[0]
    ):
        for o, y in enumerate(ys):
            key = f"{n_l_m}.{n_a_s_i.partition('.')[2]}.{o}"
            text = said.get(key)
            line = regression(x, y)
            if text is None and line is None:
                continue
            if reason := withheld[n_l_m]:
                found[key] = {"text": reason, "line": None}
            else:
                numbers = None if line is None else {name: short(value, 7) for name, value in vars(line).items()}
                found[key] = {"text": text or "No association was tested here.", "line": numbers}
    return found


def _outcomes(page: Explored) -> dict[str, list[Reals]]:
    """By "n.a.s.i" the values of each of `OUTCOMES`."""
    found = {}
    for key, (n, k, clean) in page.counts.items():
        with np.errstate(invalid="ignore", divide="ignore"):
            found[key] = [k / n, np.where(clean > 0, log_odds(k, clean), np.nan)]
    return found


def _sentences(page: Explored) -> dict[str, str]:
    rows = page.of_layers(page.contents.tables["associations"].rename({"n": "n_classes"}))
    rows = page.under_attacks(placed(rows, "outcome", list(OUTCOMES), "o"))
    by_key: dict[str, list[dict[str, Any]]] = {}
    for row in rows.iter_rows(named=True):
        by_key.setdefault(".".join(str(row[name]) for name in _KEYS), []).append(row)
    return {key: sentence(found) for key, found in by_key.items()}


def sentence(rows: list[dict[str, Any]]) -> str:
    """What the rows of `associations` of one cell say, coefficient by coefficient."""
    plain = [row for method in _METHODS for row in rows if row["method"] == method and not row["controls"]]
    held = {row["controls"]: row for row in rows if row["method"] == "two_draws"}
    given = [held[control] for control in _CONTROLS if control in held]
    parts = [f"{_METHODS[row['method']]} {coefficient(row)}" for row in plain]
    parts += [f"{_CONTROLS[row['controls']]} {coefficient(row)}" for row in given if not row["gate"]]
    gated = [_CONTROLS[row["controls"]] for row in given if row["gate"]]
    text = "; ".join(parts)
    classes = next((row["n_classes"] for row in plain), None)
    ending = f" Over {words.number(classes)} {'class' if classes == 1 else 'classes'}." if classes else ""
    if gated:
        ending += f" These data cannot tell what is left {words.listing(gated)}."
    return f"{text}.{ending}" if text else ending.strip()


def coefficient(row: Mapping[str, Any]) -> str:
    """`= -0.52 (95%: -0.81 to -0.02), adjusted p = 0.31`; why there is none is said by others."""
    value, low, high = (words.coefficient(row[name]) for name in ("coefficient", "low", "high"))
    if value == "–":
        return "undefined"
    text = f"= {value}" + (f" (95%: {low} to {high})" if low != "–" else "")
    for name, p in (("adjusted p", row["p_adjusted"]), ("p", row["p_value"])):
        if short(p) is not None:
            return f"{text}, {name} = {words.number(p, 2)}"
    return text


def _withheld(page: Explored, n_l_m: str) -> str:
    """Why no coefficient of a network, layer and measure is given; empty where it is."""
    if page.networks[int(n_l_m.partition(".")[0])] in page.at_chance:
        return "This network is at chance level when clean: its robust accuracies are not informative."
    few = nearly_constant(page.values[n_l_m])
    return (
        f"No coefficient: the value is the same for all but {few} of the classes, and it would rest on these alone."
        if few
        else ""
    )
