"""What a page holds: everything that fits, and of the rest a stated selection."""

from __future__ import annotations

import polars as pl
import pytest

from manifoldscope.errors import StudyError
from manifoldscope.report.contents import Contents, gather
from manifoldscope.report.explore.selection import MOST_CELLS, MOST_VALUES, parsed, select


def contents(*, models: int, layers: int, measures: int, classes: int) -> Contents:
    axes = pl.DataFrame({"model": [f"net{i}" for i in range(models)]}).join(
        pl.DataFrame({"layer": [f"layer{i:02}" for i in range(layers)]}), how="cross"
    )
    axes = axes.join(pl.DataFrame({"measure": [f"measure{i:02}" for i in range(measures)]}), how="cross")
    every = axes.join(pl.DataFrame({"class_index": list(range(classes))}), how="cross")
    geometry = every.with_columns(
        value=pl.lit(1.0), class_name=pl.format("class {}", "class_index"), parameters=pl.lit(""), attack=pl.lit("")
    )
    return gather({}, {"geometry": geometry}, [])


def test_a_small_study_is_held_whole() -> None:
    found = select(contents(models=2, layers=3, measures=4, classes=5))
    assert (len(found.networks), len(found.layers), len(found.measures), len(found.classes)) == (2, 3, 4, 5)
    assert found.left_out == ""


def test_a_large_one_gives_up_layers_first_evenly_and_says_so() -> None:
    every = contents(models=3, layers=20, measures=4, classes=2000)
    found = select(every)
    assert found.fits
    assert len(found.networks) == 3
    assert len(found.measures) == 4
    assert 3 <= len(found.layers) < 20
    assert found.layers[0] == every.layers[0]
    assert found.layers[-1] == every.layers[-1]
    assert f"{len(found.layers)} of 20 layers" in found.left_out
    assert found.n_cells * len(found.classes) <= MOST_VALUES
    assert found.n_cells <= MOST_CELLS


def test_what_was_asked_for_is_held() -> None:
    every = contents(models=3, layers=20, measures=4, classes=2000)
    found = select(every, {"layers": ["layer07,layer09"], "networks": ["net1"]})
    assert found.layers == ("layer07", "layer09")
    assert found.networks == ("net1",)
    assert len(found.measures) == 4
    assert found.asked_for == "the network net1 and the layers layer07 and layer09"
    assert found.wanted
    assert not select(every).wanted


def test_a_measure_may_be_asked_for_without_its_settings() -> None:
    rows = {"model": "net", "layer": "fc", "class_index": 0, "class_name": "cat", "value": 1.0, "attack": ""}
    measures = [("two_nn", ""), ("pca_dimension", "fraction=0.9"), ("pca_dimension", "fraction=0.95")]
    geometry = pl.DataFrame([{**rows, "measure": name, "parameters": settings} for name, settings in measures])
    every = gather({}, {"geometry": geometry}, [])
    pca = {name for name in measures if name[0] == "pca_dimension"}
    assert set(select(every, {"measures": ["pca_dimension"]}).measures) == pca
    assert set(select(every, {"measures": ["pca_dimension,two_nn"]}).measures) == set(measures)
    assert select(every, {"measures": ["pca_dimension fraction=0.9"]}).measures == (measures[1],)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"layers": ["layr1"]}, "layer01"),
        ({"colours": ["red"]}, "colours"),
        ({"classes": ["class 9999"]}, "class 9999"),
    ],
)
def test_names_that_are_not_there_are_refused(wanted: dict[str, list[str]], said: str) -> None:
    with pytest.raises(StudyError) as error:
        select(contents(models=1, layers=2, measures=1, classes=10), wanted)
    assert said in str(error.value)


def test_more_than_a_page_holds_is_refused() -> None:
    every = contents(models=3, layers=20, measures=4, classes=2000)
    names = {part: list(getattr(every, part)) for part in ("layers",)}
    with pytest.raises(StudyError, match="ask for fewer"):
        select(every, {**names, "measures": [name for name, _ in every.measures], "networks": list(every.models)})


@pytest.mark.parametrize("text", ["layers", "=a", "layers="])
def test_what_is_asked_for_has_a_form(text: str) -> None:
    with pytest.raises(StudyError, match="PART=NAME"):
        parsed([text])
