"""The view of depth: what it holds is what the tables say, and it stays small."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.evidence.deep_tables import deep_tables

from manifoldscope.evidence.depth import profiles
from manifoldscope.report.contents import gather
from manifoldscope.report.explore import VIEWS, Explored, select
from manifoldscope.report.explore.views import depth as view

POOLS = ("mean", "flatten", "flatten", "flatten", "flatten", "flatten", "flatten")


def value(at: int, label: int) -> float:
    return (5, 9, 14, 20, 15, 8, 3)[at % 7] + 0.1 * label + 0.05 * (at * label % 3)


def page_of(wanted: dict[str, list[str]] | None = None, **settings: Any) -> Explored:
    contents = gather({}, deep_tables(value, **settings), [])
    return Explored(contents, select(contents, wanted))


def shown(page: Explored) -> Any:
    return VIEWS["depth"].target(page)


def test_a_profile_has_the_mean_interval_and_percentiles_of_each_layer_in_order() -> None:
    page = page_of(models=("a", "b"), pools=POOLS)
    data = shown(page)
    assert set(data["profiles"]) == {"0.0", "1.0"}
    profile = data["profiles"]["1.0"]
    (fact,) = [each for each in profiles(page.contents.tables) if each.model == "b"]
    assert [data["layers"][place] for place in profile["layer"]] == [f"layer{at}" for at in range(7)]
    for at, layer in enumerate(fact.layers):
        values = np.array([value(at, label) for label in range(10)])
        found = [profile[name][at] for name in ("depth", "mean", "low", "high", "tenth", "ninetieth")]
        expected = [at / 6, values.mean(), layer.mean.low, layer.mean.high, *np.quantile(values, (0.1, 0.9))]
        assert found == pytest.approx(expected, rel=1e-3)
    assert (profile["ceiling"], profile["n"]) == (60, 10)
    assert profile["compared"] == [0, 1, 1, 1, 1, 1, 1]
    assert profile["of_sample"] == [1, 0, 0, 0, 0, 0, 0]
    assert profile["text"].startswith("b, 6 layers, 10 classes: mean dimension is")
    assert data["left_out"] == ""


def test_layers_that_the_page_does_not_hold_come_after_those_it_does() -> None:
    data = shown(page_of({"layers": ["layer5", "layer2"]}))
    assert sorted(data["layers"][:2]) == ["layer2", "layer5"]
    assert len(data["layers"]) == len(data["profiles"]["0.0"]["layer"]) == 7


def test_many_profiles_and_layers_stay_within_bounds_with_the_layers_of_the_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(view, "MOST_PROFILES", 6)
    monkeypatch.setattr(view, "MOST_LAYERS", 60)
    measures = ("pca_dimension", "participation_ratio")
    page = page_of(
        {"layers": ["layer3", "layer20"]}, n_layers=30, models=("a", "b", "c", "d"), measures=measures, n_classes=3
    )
    data = shown(page)
    assert sorted(data["profiles"]) == ["0.0", "0.1", "1.0", "1.1", "2.0", "3.0"]
    for profile in data["profiles"].values():
        names = [data["layers"][place] for place in profile["layer"]]
        assert {"layer3", "layer20", "layer0", "layer29"} <= set(names)
        assert names == sorted(names, key=lambda name: int(name.removeprefix("layer")))
        assert len(names) == 10
    assert "6 of 8 profiles (those of the first measures) and at most ten layers of each" in data["left_out"]


def test_there_is_none_of_too_few_layers() -> None:
    assert shown(page_of(n_layers=2)) is None
