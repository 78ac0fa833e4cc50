"""What other datasets say in words: changes with intervals, and no word of networks that guess."""

from __future__ import annotations

from typing import Any

import polars as pl

from manifoldscope.report.findings import Finding, diagnose
from manifoldscope.tables import conform


def row(label: int, there: int, clean: int, **more: Any) -> dict[str, Any]:
    return {
        "model": "net", "dataset": "blurred", "class_index": label, "class_name": f"c{label}", "n_images": 50,
        "n_correct": there, "accuracy": there / 50, "n_clean": 100, "n_clean_correct": clean,
        "clean_accuracy": clean / 100, **more,
    }  # fmt: skip


def found(kind: str, rows: list[dict[str, Any]], *models: str) -> Finding:
    tables: dict[str, pl.DataFrame] = {
        kind: conform(kind, rows),
        "models": conform("models", [{"model": name, "n_classes": 3} for name in models]),
    }
    (finding,) = [finding for finding in diagnose(tables) if finding.kind == kind]
    return finding


def test_a_clear_fall_is_said_with_its_interval_and_the_class_that_fell_most() -> None:
    finding = found("shifts", [row(0, 45, 90), row(1, 10, 90), row(2, 44, 90)], "net")
    assert finding.title == "On blurred accuracy is 24.0 points lower"
    assert "66.0% of 150 images, against 90.0% of 300" in finding.text
    assert "Of 3 classes, 1 has an interval that leaves out 0" in finding.text
    assert "lowest is c1, −70.0 points (95%: −" in finding.text


def test_a_network_that_guesses_has_no_change() -> None:
    guessing = [row(label, 17, 33, model="random") for label in range(3)]
    assert found("shifts", guessing, "random").title.startswith("No network is far enough above chance level")
    both = found("shifts", [*guessing, *(row(label, 45, 90) for label in range(3))], "net", "random")
    assert both.title.startswith("On blurred accuracy does not clearly change: +0.0 points (95%: −")
    assert "random is close to chance level" in both.text


def test_of_many_networks_those_of_the_largest_changes_are_told() -> None:
    rows = [
        row(label, 45 - 5 * at, 90, model=f"blurred-net-{at}", dataset="out-of-focus")
        for at in range(6)
        for label in range(3)
    ]
    finding = found("shifts", rows)
    assert finding.title == "On out-of-focus accuracy changes by −50.0 to +0.0 points"
    assert [name for name in (f"blurred-net-{at}:" for at in range(6)) if name in finding.text] == [
        "blurred-net-0:",
        "blurred-net-5:",
    ]
    assert len(finding.numbers) == 6


def scored(model: str, areas: dict[tuple[str, str], float]) -> list[dict[str, Any]]:
    common = {"model": model, "dataset": "clothes", "n_in_distribution": 40, "n_ood": 20}
    return [
        {**common, "layer": layer, "score": score, "auroc": area, "low": area - 0.05, "high": area + 0.05}
        for (layer, score), area in areas.items()
    ]


def test_scores_are_told_from_the_output_to_the_best_layer_with_the_doubt_of_choosing() -> None:
    areas = {("", "max_softmax"): 0.7, ("deep", "residual"): 0.4, ("deep", "mahalanobis"): 0.9}
    finding = found("ood", scored("net", areas))
    assert finding.title == "Images of clothes are detected as OOD with AUROCs of 0.40 to 0.90"
    assert "by the largest softmax probability 0.70 (95%: 0.65 to 0.75)" in finding.text
    assert "0.90 (95%: 0.85 to 0.95) (Mahalanobis distance, deep)" in finding.text
    assert "20 OOD images against 40 in-distribution ones" in finding.text
    assert any("picked by looking" in caveat for caveat in finding.caveats)


def test_of_many_networks_those_of_the_smallest_and_the_largest_area_are_told() -> None:
    rows = [one for at in range(6) for one in scored(f"net{at}", {("deep", "residual"): 0.5 + 0.05 * at})]
    finding = found("ood", rows)
    assert "net0: by 1 distances from 0.50" in finding.text
    assert "net5: " in finding.text
    assert "net3" not in finding.text
    assert len(finding.numbers) == 6
