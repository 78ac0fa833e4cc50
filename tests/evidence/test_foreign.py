"""What foreign datasets say in words: changes with intervals, and no word of networks that guess."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from manifoldscope.evidence.foreign import beside_clean, detections, shifts
from manifoldscope.tables import conform


def row(label: int, there: int, clean: int, **more: Any) -> dict[str, Any]:
    return {
        "model": "net", "dataset": "blurred", "class_index": label, "class_name": f"c{label}", "n_images": 50,
        "n_correct": there, "accuracy": there / 50, "n_clean": 100, "n_clean_correct": clean,
        "clean_accuracy": clean / 100, **more,
    }  # fmt: skip


def models(*names: str) -> pl.DataFrame:
    return conform("models", [{"model": name, "n_classes": 3} for name in names])


def test_a_clear_fall_is_said_with_its_interval_and_the_class_that_fell_most() -> None:
    table = conform("shifted", [row(0, 45, 90), row(1, 10, 90), row(2, 44, 90)])
    (finding,) = shifts(table, models("net"))
    assert finding.title == "On blurred accuracy is 24.0 points lower"
    assert "66.0% of 150 images, against 90.0% of 300" in finding.text
    assert "Of 3 classes, 1 has an interval that leaves out 0" in finding.text
    assert "lowest is c1, −70.0 points" in finding.text
    changes = beside_clean(table)
    assert changes["change"].to_list() == pytest.approx([0, -0.7, -0.02])
    assert (changes["change_low"] <= changes["change"]).all()
    assert (changes["change"] <= changes["change_high"]).all()


def test_a_network_that_guesses_has_no_change() -> None:
    guessing = [row(label, 17, 33, model="random") for label in range(3)]
    (finding,) = shifts(conform("shifted", guessing), models("random"))
    assert finding.title.startswith("No network knows enough")
    both = [*guessing, *(row(label, 45, 90) for label in range(3))]
    (finding,) = shifts(conform("shifted", both), models("net", "random"))
    assert finding.title == "On blurred accuracy is 0.0 points higher"
    assert "random hardly does better than guess" in finding.text


def test_scores_are_told_from_the_output_to_the_best_layer_with_the_doubt_of_choosing() -> None:
    common = {"model": "net", "dataset": "clothes", "n_known": 40, "n_foreign": 20}
    areas = {("", "max_softmax"): 0.7, ("deep", "residual"): 0.4, ("deep", "mahalanobis"): 0.9}
    rows = [
        {**common, "layer": layer, "score": score, "auroc": area, "low": area - 0.05, "high": area + 0.05}
        for (layer, score), area in areas.items()
    ]
    (finding,) = detections(conform("detection", rows))
    assert finding.title == "Images of clothes are told from known ones with AUROCs of 0.40 to 0.90"
    assert "by the largest softmax probability 0.70 (95%: 0.65 to 0.75)" in finding.text
    assert "0.90 (95%: 0.85 to 0.95) (Mahalanobis distance, deep)" in finding.text
    assert "20 foreign images against 40 known ones" in finding.text
    assert any("picked by looking" in doubt for doubt in finding.doubts)
    assert not shifts(conform("shifted", []), models()) + detections(conform("detection", []))
