"""Within and between networks in words: these networks, networks like these only with the interval, and reversals."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from manifoldscope.report.findings import FINDINGS, Finding
from manifoldscope.tables import TABLES, conform


def study(*layers: dict[str, Any], models: int = 5) -> dict[str, pl.DataFrame]:
    """A row of the table for each layer; the measures and accuracies say only that there are so many networks."""
    names = [f"net{place}" for place in range(models)]
    each = [{"model": name, "class_index": label} for name in names for label in range(5)]
    attacked = {"attack": "pgd", "parameters": "", "strength": 0.1, "n_images": 50, "n_robust": 20}
    common = {"measure": "pca_dimension", "parameters": "fraction=0.95", "attack": "pgd", "strength": 0.1}
    common |= {"iterate": "last", "outcome": "robust_accuracy", "controls": "", "n_networks": models, "n_classes": 5}
    common |= {"n_within_negative": 4, "reversal": False, "within_p": 0.001}
    of_layer = {"measure": "pca_dimension", "parameters": "fraction=0.95"}
    filled = {
        "models": [{"model": name, "provenance": "{}", "clean_accuracy": 0.9, "n_classes": 5} for name in names],
        "geometry": [one | of_layer | {"layer": row["layer"], "value": 5.0} for row in layers for one in each],
        "robustness": [
            one | attacked | {"iterate": iterate, "robust_accuracy": 0.4} for one in each for iterate in ("last", "any")
        ],
        "within_between": [common | row for row in layers],
    }
    return {name: conform(name, filled.get(name, [])) for name in TABLES}


def found(*layers: dict[str, Any], models: int = 5) -> Finding:
    (finding,) = FINDINGS["within_between"].target(study(*layers, models=models))
    assert isinstance(finding, Finding)
    return finding


DEEP = {"layer": "deep", "within": -0.6, "between": -0.1}


def test_what_is_seen_is_said_of_these_networks_and_of_no_others() -> None:
    finding = found(DEEP)
    assert finding.title == (
        "Within these 5 networks, classes with fewer dimensions (mean r −0.60, p = 0.001) are more robust"
    )
    assert "deep: within these 5 networks mean r = −0.60, p = 0.001, below 0 in 4; between networks r = −0.10." in (
        finding.text
    )
    assert "networks like these" not in finding.text
    assert "Nothing is said of other networks: that takes at least 8." in finding.caveats


def test_networks_like_these_are_spoken_of_with_the_interval() -> None:
    finding = found(DEEP | {"within_low": -0.7, "within_high": -0.4}, models=8)
    assert finding.text.endswith("for networks like these the 95% interval within is −0.70 to −0.40.")
    assert not any("other networks" in caveat for caveat in finding.caveats)


def test_a_reversal_is_named_and_said_to_be_possible_by_chance_without_evidence_within() -> None:
    turned = DEEP | {"between": 0.9, "reversal": True}
    finding = found(turned)
    assert finding.title == "Simpson's reversal at deep: within networks r = −0.60, p = 0.001; between them +0.90"
    assert not any("by chance" in caveat or "can be chance" in caveat for caveat in finding.caveats)
    unsure = found(turned | {"within_p": 0.4})
    assert "Where r within is no evidence by itself, a reversal can be chance." in unsure.caveats


@pytest.mark.parametrize(
    ("layers", "title"),
    [
        (({"within_p": 0.3},), "no evidence that dimension goes with robust accuracy across classes"),
        (
            ({"within_p": 0.03}, {"layer": "early", "within_p": 0.04}),  # adjusted for two layers
            "no evidence that dimension goes with robust accuracy across classes",
        ),
        (
            ({}, {"layer": "early", "within": 0.5}),
            "classes with fewer dimensions at deep (mean r −0.60, adjusted p = 0.002) and more at early (mean r +0.50, "
            "adjusted p = 0.002) are more robust",
        ),
        (({"within_p": None},), "mean r of dimension and robust accuracy is −0.60"),
    ],
)
def test_no_more_is_claimed_than_is_seen(layers: tuple[dict[str, Any], ...], title: str) -> None:
    assert found(*(DEEP | layer for layer in layers)).title == f"Within these 5 networks, {title}"


def test_two_networks_have_no_r_between() -> None:
    assert "no r between two networks" in found(DEEP | {"between": None}, models=2).text


def test_nothing_is_said_where_no_two_networks_have_an_association() -> None:
    assert FINDINGS["within_between"].target(study()) == []
