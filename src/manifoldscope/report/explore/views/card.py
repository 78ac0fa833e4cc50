"""The diagnosis card of a class: its images, spectrum, values, neighbours, confusions and robust accuracies."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import polars as pl

from manifoldscope.evidence.class_by_class import telling_classes
from manifoldscope.evidence.measures import describes_sample, near_ceiling
from manifoldscope.report import words
from manifoldscope.report.explore.card_words import told
from manifoldscope.report.explore.distances import between, nearest, pair_label
from manifoldscope.report.explore.featured import featured
from manifoldscope.report.explore.numbers import one_or_all, short, shorts
from manifoldscope.report.explore.spectra import spectra
from manifoldscope.report.explore.triples import strips, triples
from manifoldscope.report.explore.view import VIEWS, Explored, placed

MOST_NEIGHBOURS = 3
MOST_NEIGHBOUR_BYTES, MOST_NULL_BYTES, MOST_MARGIN_BYTES = 100_000, 50_000, 100_000

_PER_NEIGHBOUR, _PER_NUMBER = 14, 7  # bytes


@VIEWS.register(
    "card",
    title="Diagnosis card",
    caption=(
        "What is known of the class that was chosen last, in the chosen network and layer and under the chosen attack. "
        "A tick is a class, at its distance from the mean over the classes in standard deviations (z); of many classes "
        "bands show the middle half and the middle 95%. Intervals are 95%; Wilson's, of single accuracies, take no "
        "account of how many classes there are. A hollow mark is a value near the most that so many points and "
        "features can show, or one that falls with half of the points."
    ),
    place=10,
    script="card.js",
    missing="the study has no classes",
)
def card(page: Explored) -> dict[str, Any] | None:
    """What a card shows beside the page's numbers; by positions, and bounded.

    `words` by network and class, and `told_under`, the attack that these are of, by network; `triples` and `strips` of
    images; `spectra` and `nearest` by network and layer; `doubt` and `null` by network, layer and measure; `margins` by
    network and draw; `pair_measure` in words.
    """
    if not page.classes:
        return None
    order = featured(page)
    text, n_told = told(page)
    lines, n_spectra = spectra(page, order)
    near, n_near = _nearest(page, order)
    pictures = triples(page, order)
    margins, n_margins = _margins(page)
    return {
        "words": text,
        "told_under": _told_under(page),
        "triples": pictures,
        "strips": strips(page, order),
        "spectra": lines,
        "nearest": near,
        "pair_measure": pair_label(page),
        "doubt": _doubt(page),
        "null": _null(page),
        "margins": margins,
        "left_out": _left_out(
            page,
            {"spectra": n_spectra, "nearest classes": n_near},
            pictures,
            n_told,
            n_margins,
        ),
    }


def _told_under(page: Explored) -> dict[str, str]:
    """The attack, strength and iterate that the words of each network are of: where its classes differ most."""
    rows = telling_classes(page.contents.tables["robustness"]).unique("model", maintain_order=True)
    return {
        str(page.networks.index(row["model"])): f"{words.attack(row['attack'])}, "
        f"{words.at_strength(row['attack'], row['strength'])}, {words.iterate(row['iterate'])}"
        for row in rows.filter(pl.col("model").is_in(page.networks)).to_dicts()
    }


def _doubt(page: Explored) -> dict[str, dict[str, str | bool]]:
    """Which values are near their ceiling, and which describe the sample: True for all classes, or else a bit each."""
    found = {}
    for key, rows in page.cells.items():
        flagged = rows.with_columns(ceiling_=near_ceiling(), sample_=describes_sample())
        kinds = {"ceiling": flagged.filter("ceiling_"), "sample": flagged.filter("sample_")}
        cell = {kind: _bits(page, some, rows.height) for kind, some in kinds.items() if some.height}
        if cell:
            found[key] = cell
    return found


def _bits(page: Explored, some: pl.DataFrame, n: int) -> str | bool:
    """True for all of `n`, or base64 of a bit for each class of the page, the first one the highest of its byte."""
    if some.height == n:
        return True
    flags = np.zeros(len(page.classes), dtype=np.bool_)
    flags[[page.class_position[index] for index in some["class_index"]]] = True
    return base64.b64encode(np.packbits(flags).tobytes()).decode()


def _null(page: Explored) -> dict[str, Any]:
    """What chance gives, where it was computed: by network, layer and measure, as far as there is room."""
    found: dict[str, Any] = {}
    used = 0
    for key, rows in page.cells.items():
        values = page.over_classes(rows, "null")
        if np.isfinite(values).any():
            used += _PER_NUMBER * len(values)
            if used > MOST_NULL_BYTES:
                break
            found[key] = one_or_all(shorts(values, 3))
    return found


def _margins(page: Explored) -> tuple[dict[str, Any], int | None]:
    """The mean margin of the clean logits and its spread over images: by network and draw, over the classes."""
    rows = placed(page.contents.tables["margins"], "model", page.networks, "n")
    rows = rows.filter(pl.col("class_index").is_in(list(page.classes)))
    draws = max(1, rows["draw"].n_unique())
    most = max(1, MOST_MARGIN_BYTES // (2 * _PER_NUMBER * draws * len(page.classes)))
    parts = rows.filter(pl.col("n") < most).partition_by("n", "draw", as_dict=True, maintain_order=True)
    found: dict[str, Any] = {}
    for (network, draw), own in parts.items():
        found.setdefault(str(network), {})[str(draw)] = {
            "margin": shorts(page.over_classes(own, "margin"), 4),
            "sd": shorts(page.over_classes(own, "margin_sd"), 3),
            "n": one_or_all(shorts(page.over_classes(own, "n_images"))),
        }
    return found, most if len(rows["n"].unique()) > most else None


def _nearest(page: Explored, order: list[int]) -> tuple[dict[str, dict[str, Any]], int | None]:
    """By network and layer the nearest classes of each: by position of the class, pairs of a position and a value."""
    cells = page.contents.tables["pairs"].select("model", "layer").unique()
    n_cells = cells.filter(pl.col("model").is_in(page.networks), pl.col("layer").is_in(page.layers)).height
    most = max(1, MOST_NEIGHBOUR_BYTES // (max(1, n_cells) * (MOST_NEIGHBOURS * _PER_NEIGHBOUR + 8)))
    found = {}
    for cell in between(page):
        of: dict[str, list[list[float | None]]] = {}
        for place in order[:most]:
            near = nearest(cell.apart, place, MOST_NEIGHBOURS)
            if near:
                of[str(place)] = [[other, short(cell.values[place, other], 4)] for other in near]
        found[f"{cell.network}.{cell.layer}"] = of
    return found, most if found and most < len(order) else None


def _left_out(
    page: Explored,
    parts: dict[str, int | None],
    pictures: dict[str, Any] | None,
    n_told: int | None,
    n_margins: int | None,
) -> str:
    """What the page does not hold, in sentences."""
    few: dict[int, list[str]] = {}
    for noun, n in parts.items():
        if n is not None:
            few.setdefault(n, []).append(noun)
    texts = [
        f"{words.listing(nouns).capitalize()} are of the {words.number(n)} most fragile and most robust of "
        f"{words.number(len(page.classes))} classes."
        for n, nouns in few.items()
    ]
    if n_told is not None:
        texts.append(f"Sentences are of the {words.number(n_told)} most fragile classes of each network.")
    if n_margins is not None:
        texts.append(f"Margins are of the first {words.count(n_margins, 'network')}.")
    if pictures is not None and pictures["shown"] < pictures["n"]:
        texts.append(f"The page holds {pictures['shown']} of {words.number(pictures['n'])} attacked images.")
    if pictures is not None and pictures["side"]:
        texts.append(
            f"Images are shown at {pictures['side']} pixels or fewer: means of pixels, and of the perturbation every "
            "so many pixels."
        )
    return " ".join(texts)
