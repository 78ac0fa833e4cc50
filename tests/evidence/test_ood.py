"""What other datasets say, as facts: changes with intervals, networks that guess, areas under curves."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from manifoldscope.evidence import beside_clean, detections, shifts
from manifoldscope.tables import conform


def row(label: int, there: int, clean: int, **more: Any) -> dict[str, Any]:
    return {
        "model": "net", "dataset": "blurred", "class_index": label, "class_name": f"c{label}", "n_images": 50,
        "n_correct": there, "accuracy": there / 50, "n_clean": 100, "n_clean_correct": clean,
        "clean_accuracy": clean / 100, **more,
    }  # fmt: skip


def models(*names: str) -> pl.DataFrame:
    return conform("models", [{"model": name, "n_classes": 3} for name in names])


def test_a_change_has_its_interval_and_the_class_that_fell_most() -> None:
    table = conform("shifts", [row(0, 45, 90), row(1, 10, 90), row(2, 44, 90)])
    (fact,) = shifts(table, models("net"))
    (network,) = fact.networks
    assert (network.n_images, network.accuracy) == (150, pytest.approx(0.66))
    assert (network.n_clean, network.clean_accuracy) == (300, pytest.approx(0.9))
    assert network.change.value == pytest.approx(-0.24)
    assert network.change.low < -0.24 < network.change.high < 0
    assert (network.n_classes, network.n_clear, network.worst_class) == (3, 1, "c1")
    assert network.worst.value == pytest.approx(-0.7)
    assert not network.at_chance
    changes = beside_clean(table)
    assert changes["change"].to_list() == pytest.approx([0, -0.7, -0.02])
    assert (changes["change_low"] <= changes["change"]).all()
    assert (changes["change"] <= changes["change_high"]).all()


def test_whether_a_network_guesses_is_judged_on_the_images_of_the_study() -> None:
    rows = [row(label, 45, 33, model="random") for label in range(3)] + [row(label, 17, 90) for label in range(3)]
    (fact,) = shifts(conform("shifts", rows), models("net", "random"))
    assert {network.model: network.at_chance for network in fact.networks} == {"random": True, "net": False}


def test_scores_of_a_network_go_from_the_smallest_area_to_the_largest() -> None:
    common = {"model": "net", "dataset": "clothes", "n_in_distribution": 40, "n_ood": 20}
    areas = {("", "max_softmax"): 0.7, ("deep", "residual"): 0.4, ("deep", "mahalanobis"): 0.9}
    rows = [
        {**common, "layer": layer, "score": score, "auroc": area, "low": area - 0.05, "high": area + 0.05}
        for (layer, score), area in areas.items()
    ]
    (fact,) = detections(conform("ood", rows))
    assert [score.auroc for score in fact.networks["net"]] == [0.4, 0.7, 0.9]
    assert [score.layer for score in fact.networks["net"]] == ["deep", "", "deep"]
    assert (fact.n_in_distribution, fact.n_ood) == (40, 20)
    assert not shifts(conform("shifts", []), models())
    assert not detections(conform("ood", []))
