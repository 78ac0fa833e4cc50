"""As which classes attacked images are classified: a matrix for each network, attack and strength, and when clean."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import polars as pl

from manifoldscope.evidence import with_attack_name
from manifoldscope.report import words
from manifoldscope.report.explore.distances import Between, between, pair_label, seriation
from manifoldscope.report.explore.numbers import short
from manifoldscope.report.explore.view import VIEWS, Explored, placed

MOST_ENTRY_BYTES = 380_000
"""Of all counts in the page, as text."""

MOST_ORDER_BYTES, MOST_DISTANCE_BYTES = 80_000, 120_000

_PER_ENTRY = 11  # bytes
_STEPS = 65534  # of a distance; one more says that there is none


@VIEWS.register(
    "confusion",
    title="Confusion under attack",
    caption=(
        "Rows are true classes, columns what the network sees in their images at the last iterate of the attack, or "
        "when clean; images that are misclassified when clean count as they were. Colour is the share of the images of "
        "the class; the diagonal, outlined, holds those that are classified correctly. The last column gathers all "
        "classes that are not shown. Arrow keys move from cell to cell, Enter chooses the class of the row."
    ),
    place=60,
    script="confusion.js",
    missing="no attack kept what it was that each image was classified as",
)
def confusion(page: Explored) -> dict[str, Any] | None:
    """Counts of images by true and predicted class, without those of correct ones.

    `attacked` by network, attack and strength, `clean` by network: `of` as [true, predicted, count, true, ...], by
    positions, a predicted -1 - j being the j-th of `outside`; `correct` and `n`, images per class; and `least`, the
    fewest images of a pair that is held where others are left out. `orders` (positions of classes, near ones beside
    each other) and `distances` (of pairs, `packed_distances`) by network and layer, in the unit of `pair_measure`.
    """
    rows = _counted(page)
    if rows.is_empty():
        return None
    predicted = rows["predicted"].unique().sort().to_list()
    outside = [index for index in predicted if index not in page.class_position]
    coded = {index: page.class_position.get(index, -1 - place) for place, index in enumerate(outside)}
    coded |= page.class_position
    rows = rows.with_columns(p=pl.col("predicted").replace_strict(coded, return_dtype=pl.Int64))
    settings = rows.partition_by("n", "a", "s", as_dict=True, maintain_order=True)
    most = MOST_ENTRY_BYTES // (_PER_ENTRY * len(settings))
    cells = {key: _cell(page, cell, most) for key, cell in settings.items()}
    n_classes = len(page.classes)
    matrices = list(between(page))
    orders = matrices[: MOST_ORDER_BYTES // (5 * n_classes)]
    measured = _fitting(matrices)
    return {
        "attacked": {f"{n}.{a}.{s}": cell for (n, a, s), cell in cells.items() if a >= 0},
        "clean": {str(n): cell for (n, a, _), cell in cells.items() if a < 0},
        "outside": ["no class" if index < 0 else f"class {index}" for index in outside],
        "orders": {f"{each.network}.{each.layer}": seriation(each.apart) for each in orders},
        "distances": {f"{each.network}.{each.layer}": packed_distances(each) for each in measured},
        "pair_measure": pair_label(page),
        "left_out": _left_out(cells, len(matrices), len(orders), len(measured)),
    }


def packed_distances(cell: Between) -> dict[str, Any]:
    """The values of the pairs of some `classes` (i < j, row by row): `low` and `step`, and base64 of 16 bits each,
    65535 for none."""
    classes = _measured(cell)
    values = cell.values[np.ix_(classes, classes)][np.triu_indices(len(classes), 1)]
    known = np.isfinite(values)
    low, high = (float(values[known].min()), float(values[known].max())) if known.any() else (0.0, 0.0)
    step = (high - low) / _STEPS or 1.0
    level = np.full(values.shape, _STEPS + 1, dtype="<u2")
    level[known] = np.round((values[known] - low) / step)
    return {
        "classes": classes,
        "low": short(low, 7),
        "step": short(step, 7),
        "values": base64.b64encode(level.tobytes()).decode(),
    }


def _measured(cell: Between) -> list[int]:
    """The classes that have any distance."""
    return np.flatnonzero(np.isfinite(cell.values).any(1)).tolist()


def _fitting(matrices: list[Between]) -> list[Between]:
    """Those of which the distances fit into the page."""
    sizes = [len(_measured(cell)) for cell in matrices]
    used = np.cumsum([4 * n * (n - 1) // 3 + 5 * n + 60 for n in sizes])
    return matrices[: int((used <= MOST_DISTANCE_BYTES).sum())]


def _counted(page: Explored) -> pl.DataFrame:
    """A row per network, attack, strength, true and predicted class, with positions n, a, s and c; a is -1 for clean
    images, each of which counts once however often it was attacked."""
    outcomes = with_attack_name(page.contents.tables["outcomes"])
    rows = placed(placed(outcomes, "model", page.networks, "n"), "label", page.classes, "c")
    clean = rows.unique(["n", "image", "label"], keep="first", maintain_order=True)
    clean = clean.with_columns(a=pl.lit(-1, pl.Int64), s=pl.lit(0, pl.Int64), predicted="clean_prediction")
    found = [clean]
    for place, attack in enumerate(page.attacks):
        own = rows.filter(pl.col("attack_name") == attack).with_columns(a=pl.lit(place, pl.Int64))
        found.append(placed(own, "strength", page.strengths(attack), "s").with_columns(predicted="last_prediction"))
    keys = ("n", "a", "s", "c", "predicted")
    counted = [each.select(keys).drop_nulls().group_by(keys).len("count") for each in found]
    return pl.concat(counted).sort(keys) if counted else pl.DataFrame(schema=[*keys, "count"])


def _cell(page: Explored, cell: pl.DataFrame, most: int) -> dict[str, Any]:
    """The counts of one matrix; of too many pairs those of the most images."""
    n, correct = np.zeros(len(page.classes), dtype=np.int64), np.zeros(len(page.classes), dtype=np.int64)
    sums = cell.group_by("c").agg(pl.col("count").sum())
    n[sums["c"].to_numpy()] = sums["count"].to_numpy()
    own = cell.filter(pl.col("c") == pl.col("p"))
    correct[own["c"].to_numpy()] = own["count"].to_numpy()
    wrong = cell.filter(pl.col("c") != pl.col("p"))
    kept = wrong.sort("count", "c", "p", descending=[True, False, False]).head(most).sort("c", "p")
    found: dict[str, Any] = {
        "of": kept.select("c", "p", "count").to_numpy().ravel().tolist(),
        "correct": correct.tolist(),
        "n": n.tolist(),
    }
    if kept.height < wrong.height:
        found["least"] = int(kept["count"].min()) if kept.height else 0  # type: ignore[arg-type]  # whole numbers
    return found


def _left_out(cells: dict[Any, dict[str, Any]], n: int, n_orders: int, n_measured: int) -> str:
    texts = []
    cut = sum("least" in cell for cell in cells.values())
    if cut:
        texts.append(
            f"In {cut} of {words.number(len(cells))} matrices the page holds the pairs with the most images; the "
            "others count among the classes that are not shown."
        )
    if n_orders < n:
        texts.append(f"Orders by distance are of {n_orders} of {words.number(n)} networks and layers.")
    if n_measured < n:
        texts.append(f"Distances of pairs are of {n_measured} of {words.number(n)} networks and layers.")
    return " ".join(texts)
