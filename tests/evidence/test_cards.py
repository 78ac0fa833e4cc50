"""A card of a planted class says what was planted."""

from __future__ import annotations

import doctest
import sys
from typing import Any

import polars as pl
import pytest

from manifoldscope.errors import StudyError
from manifoldscope.evidence import Card, cards
from manifoldscope.tables import conform

NAMES = ("cat", "dog", "ship", "car", "frog")
ROBUST = (4, 30, 40, 40, 36)


def tables() -> dict[str, pl.DataFrame]:
    """A cat is fragile, hard when clean, of the highest dimension, near to dogs, and taken for one."""
    common = {"model": "net", "attack": "pgd", "parameters": "", "strength": 0.1}
    robustness, outcomes, margins, geometry, pairs = [], [], [], [], []
    for label, (name, robust) in enumerate(zip(NAMES, ROBUST, strict=True)):
        n_clean = 40 if name == "cat" else 48
        robustness.append(
            {
                **common, "iterate": "last", "class_index": label, "class_name": name, "n_images": 50,
                "n_clean_correct": n_clean, "n_robust": robust, "clean_accuracy": n_clean / 50,
                "robust_accuracy": robust / 50,
            }
        )  # fmt: skip
        into = [label] * 4 + [1] * 30 + [2] * 4 + [3] + [4] if name == "cat" else [label] * robust
        outcomes += [
            {**common, "image": f"{label}/{place}", "label": label, "clean_prediction": label, "last_prediction": last}
            for place, last in enumerate(into)
        ]
        margins += [
            {
                "model": "net", "draw": draw, "class_index": label, "class_name": name, "n_images": 50,
                "n_correct": n_clean, "margin": 1.0 + label, "margin_sd": 2.0,
            }
            for draw in ("geometry", "robustness")
        ]  # fmt: skip
        geometry += [
            {
                "model": "net", "layer": "penultimate", "class_index": label, "class_name": name, "measure": measure,
                "parameters": "", "attack": attack, "value": value, "stderr": 0.5, "n_points": 60, "ceiling": 20.0,
                "describes_sample": measure == "pca_dimension" and name == "cat",
            }
            for measure, value, attack in (
                ("pca_dimension", 14.0 if name == "cat" else 10.0, ""),
                ("two_nn", 3.0, ""),
                ("displacement", 99.0, "pgd"),
            )
        ]  # fmt: skip
        pairs += [
            {
                "model": "net", "layer": "penultimate", "class_index": label, "other_class_index": other,
                "measure": measure, "parameters": "", "value": float(other - label),
            }
            for other in range(label + 1, len(NAMES))
            for measure in ("centroid_distance", "centroid_cosine")
        ]  # fmt: skip
    rows = {"robustness": robustness, "outcomes": outcomes, "margins": margins, "geometry": geometry, "pairs": pairs}
    return {name: conform(name, value) for name, value in rows.items()}


def card(name: str, **changes: pl.DataFrame) -> Card:
    (found,) = cards(tables() | changes, model="net", class_name=name)
    return found


def test_how_fragile_a_class_is_and_how_sure_that_is() -> None:
    cat = card("cat")
    assert (cat.robust.value, cat.rank, cat.first_rank, cat.last_rank, cat.n_classes) == (0.08, 1, 1, 1, 5)
    assert cat.low < cat.robust.low < 0.08 < cat.robust.high < cat.high
    assert cat.difference is not None
    assert cat.difference.value == pytest.approx(0.08 - 150 / 250)
    assert cat.difference.low < cat.difference.value < cat.difference.high < 0
    ship = card("ship")
    assert (ship.rank, ship.first_rank, ship.last_rank) == (4, 2, 5)  # as good as the car, and maybe as the others
    assert not cat.at_chance


def test_how_hard_a_class_is_when_clean() -> None:
    cat = card("cat")
    assert cat.clean is not None
    assert cat.clean.value == 0.8
    assert [(each.draw, each.margin, each.rank, each.n_classes) for each in cat.hardness] == [
        ("geometry", 1.0, 1, 5),
        ("robustness", 1.0, 1, 5),
    ]
    assert card("frog").hardness[0].rank == 5


def test_where_a_class_stands_on_each_measure_of_clean_images_and_which_values_are_in_doubt() -> None:
    dimension, constant = card("cat").standings
    assert (dimension.measure, dimension.value, dimension.percentile, dimension.n_classes) == (
        "pca_dimension", 14.0, 100.0, 5
    )  # fmt: skip
    deviation = (16 / 5) ** 0.5  # of 14 and four times 10
    assert dimension.z == pytest.approx(3.2 / deviation)
    assert dimension.z_stderr == pytest.approx(0.5 / deviation)
    assert (constant.z, constant.z_stderr, constant.percentile) == (None, None, 50.0)
    assert card("cat").in_doubt == (dimension,)
    assert card("dog").in_doubt == ()
    assert card("dog").standings[0].percentile == pytest.approx(100 * 1.5 / 4)  # three equal ones, and one above


def test_beside_which_classes_it_lies_and_for_which_it_is_taken() -> None:
    cat = card("cat")
    assert cat.n_misclassified == 36
    assert [(each.class_name, each.n_into) for each in cat.taken_for] == [("dog", 30), ("ship", 4), ("car", 1)]
    assert cat.taken_for[0].share == pytest.approx(30 / 36)
    assert [(each.class_name, each.distance) for each in cat.nearest] == [("dog", 1.0), ("ship", 2.0), ("car", 3.0)]
    assert [each.class_name for each in card("ship").nearest] == ["dog", "car", "cat"]
    assert (card("dog").n_misclassified, card("dog").taken_for) == (0, ())


def test_the_most_fragile_come_first_and_are_made_on_demand() -> None:
    every = cards(tables(), model="net")
    assert next(every).class_name == "cat"
    assert [each.class_name for each in every] == ["dog", "frog", "ship", "car"]


def test_robust_accuracies_are_enough() -> None:
    (found,) = cards({"robustness": tables()["robustness"]}, model="net", class_name="cat")
    assert (found.standings, found.hardness, found.nearest, found.n_misclassified) == ((), (), (), None)
    alone = {"robustness": tables()["robustness"].filter(class_name="cat")}
    (found,) = cards(alone, model="net")
    assert (found.difference, found.rank, found.last_rank) == (None, 1, 1)


def test_a_network_or_class_that_is_not_there_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(StudyError, match="no class of net 'cats'; did you mean 'cat'"):
        cards(tables(), model="net", class_name="cats")
    with pytest.raises(StudyError, match="no network with robust accuracies 'other'; there are: net"):
        cards(tables(), model="other")


def test_an_image_without_finite_logits_is_of_no_class() -> None:
    lost: dict[str, Any] = {"last_prediction": pl.lit(-1)}
    outcomes = tables()["outcomes"].with_columns(**lost)
    assert [(each.class_index, each.class_name) for each in card("cat", outcomes=outcomes).taken_for] == [
        (-1, "no class")
    ]


def test_the_example_runs() -> None:
    assert doctest.testmod(sys.modules[cards.__module__]).failed == 0
