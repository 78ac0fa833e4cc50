"""Depth in words: where a measure peaks, only what intervals support, and which layers are not compared."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.evidence.deep_tables import deep_tables

from manifoldscope.report.findings import Finding, diagnose

HUNCH = (5, 9, 14, 20, 15, 8, 3)


def hunch(at: int, label: int) -> float:
    return HUNCH[at] + 0.1 * label + 0.05 * (at * label % 3)


def found(values: Callable[[int, int], float] = hunch, **settings: object) -> Finding:
    tables = deep_tables(values, **settings)  # type: ignore[arg-type]  # settings of its own
    (finding,) = [finding for finding in diagnose(tables) if finding.kind == "depth"]
    return finding


def test_a_peak_is_named_with_its_layer_and_its_intervals() -> None:
    finding = found()
    assert finding.title == "Dimension of net rises and then falls through 7 layers; it is highest at layer3"
    for said in (
        "net, 7 layers, 10 classes: mean dimension is 5.45 at layer0, the first, and 3.45 at layer6, the last, a "
        "change of −2 (95%: −2 to −2).",
        "It is highest, 20.4, at layer3, layer 4 of 7: +15 (95%: ",
        "with intervals that hold for all layers between them together",
        "Its rank correlation with depth is −0.1",
        "Ansuini et al. (2019)",
    ):
        assert said in finding.text
    assert len(finding.numbers) == 7


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (lambda at, label: at + 0.1 * label, "rises"),
        (lambda at, label: -at + 0.1 * label, "falls"),
        (lambda at, label: 5.0 + label, "does not clearly change"),
    ],
)
def test_without_a_peak_none_is_claimed(values: Callable[[int, int], float], said: str) -> None:
    finding = found(values)
    assert finding.title == f"Dimension of net {said} from the first to the last of 7 layers"
    assert "Ansuini" not in finding.text


def test_several_networks_are_counted_by_what_they_do() -> None:
    assert found(models=("a", "b")).title == "From layer to layer dimension rises and then falls in both networks"
    finding = found(models=tuple(f"net{at}" for at in range(9)))
    assert finding.title == "From layer to layer dimension rises and then falls in all 9 networks"
    assert "The highest mean is at relative depths from 0.50 to 0.50." in finding.text
    assert finding.text.count("It is highest") == 1  # the largest change alone


def test_layers_that_are_pooled_otherwise_are_named_in_a_caveat() -> None:
    finding = found(pools=("mean", "mean", "flatten", "flatten", "flatten", "", ""))
    (said,) = [caveat for caveat in finding.caveats if "pooled" in caveat]
    assert said.endswith("2 layers pooled otherwise (mean) are left out.")
    assert "5 layers" in finding.text
    assert not any("pooled" in caveat for caveat in found().caveats)


def test_values_that_describe_the_sample_are_a_caveat() -> None:
    assert any("In 1 of 7 layers most values describe the sample" in caveat for caveat in found().caveats)


def test_associations_are_said_from_the_lowest_to_the_highest_with_their_evidence() -> None:
    finding = found(correlations=(-0.1, -0.3, -0.6, -0.7, -0.2, 0.1, 0.2))
    for said in (
        "net, PGD at ε = 0.1: from −0.70 at layer3 to 0.20 at layer6",
        "with evidence at 2 of 7 layers (layer2 and layer3)",
    ):
        assert said in finding.text
    assert any("do not hold fixed" in caveat for caveat in finding.caveats)
    assert "with no evidence" in found(correlations=(0.1,) * 7).text
    assert "Correlation" not in found().text


def test_two_layers_are_no_finding() -> None:
    assert not [finding for finding in diagnose(deep_tables(hunch, n_layers=2)) if finding.kind == "depth"]
