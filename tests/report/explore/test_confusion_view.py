"""Confusion under attack: counts equal the table of outcomes, near classes stand together, and it stays small."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from conftest import sampled_tables
from manifoldscope.report.contents import gather
from manifoldscope.report.explore import VIEWS, Explored, select
from manifoldscope.report.explore.distances import seriation
from manifoldscope.report.explore.views import confusion as view

WEB = Path(view.__file__).parents[2] / "web"


def page_of(tables: dict[str, pl.DataFrame], **wanted: list[str]) -> Explored:
    contents = gather({}, tables, [])
    return Explored(contents, select(contents, wanted))


def shown(page: Explored) -> Any:
    return VIEWS["confusion"].target(page)


def matrix(cell: dict[str, Any]) -> np.ndarray:
    counts = np.diag(cell["correct"])
    for label, other, count in np.reshape(cell["of"], (-1, 3)):
        counts[label, other] = count
    return counts


def test_counts_equal_the_table_of_outcomes() -> None:
    page = page_of(sampled_tables())
    data = shown(page)
    outcomes = page.contents.tables["outcomes"]
    n = page.networks.index("standard")
    strengths = page.strengths("pgd")
    assert set(data["attacked"]) == {f"{model}.0.{s}" for model in range(3) for s in range(1, 5)}
    for s in range(1, 5):
        rows = outcomes.filter(model="standard", strength=strengths[s])
        expected = np.zeros((10, 10), dtype=np.int64)
        np.add.at(expected, (rows["label"].to_numpy(), rows["last_prediction"].to_numpy()), 1)
        cell = data["attacked"][f"{n}.0.{s}"]
        assert (matrix(cell) == expected).all()
        assert cell["n"] == [40] * 10
        assert "least" not in cell
    clean = data["clean"][str(n)]  # each image once, although it was attacked four times
    assert (clean["n"], clean["correct"], clean["of"]) == ([40] * 10, [40] * 10, [])
    assert data["left_out"] == ""


def test_classes_that_the_page_does_not_hold_are_outside() -> None:
    rows = {
        "label": [3, 3, 3, 4],
        "last_prediction": [7, -1, 4, 4],
        "image": ["a", "b", "c", "d"],
        "clean_prediction": [3] * 4,
    }
    same = {"model": "standard", "attack": "pgd", "parameters": "", "strength": 0.1}
    tables = sampled_tables()
    outcomes = pl.DataFrame(rows).with_columns(**{name: pl.lit(value) for name, value in same.items()})
    page = page_of(tables | {"outcomes": outcomes}, classes=["3", "4"])
    data = shown(page)
    assert data["outside"] == ["no class", "class 7"]
    assert data["attacked"][f"{page.networks.index('standard')}.0.2"] == {
        "of": [0, -2, 1, 0, -1, 1, 0, 1, 1],
        "correct": [0, 1],
        "n": [3, 1],
    }


def test_of_too_many_pairs_those_of_the_most_images_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    every = shown(page := page_of(sampled_tables()))["attacked"]["0.0.4"]
    monkeypatch.setattr(view, "MOST_ENTRY_BYTES", 15 * 11 * 5)  # 15 matrices
    data = shown(page)
    cell = data["attacked"]["0.0.4"]
    counts = sorted(every["of"][2::3], reverse=True)
    assert sorted(cell["of"][2::3], reverse=True) == counts[:5]
    assert cell["least"] == counts[4]
    assert (cell["n"], cell["correct"]) == (every["n"], every["correct"])
    assert "the page holds the pairs with the most images" in data["left_out"]


def test_orders_and_distances_are_those_of_the_pairs() -> None:
    page = page_of(sampled_tables())
    data = shown(page)
    n, layer = page.networks.index("random"), page.layers.index("penultimate")
    rows = page.contents.tables["pairs"].filter(model="random", layer="penultimate", measure="centroid_distance")
    packed = data["distances"][f"{n}.{layer}"]
    levels = np.frombuffer(base64.b64decode(packed["values"]), dtype="<u2")
    assert packed["classes"] == list(range(10))
    assert packed["low"] + packed["step"] * levels == pytest.approx(
        rows.sort("class_index", "other_class_index")["value"].to_numpy(), abs=2 * packed["step"]
    )
    assert sorted(data["orders"][f"{n}.{layer}"]) == list(range(10))
    assert data["pair_measure"] == "Centroid distance"


def test_near_classes_stand_beside_each_other() -> None:
    places = np.random.default_rng(0).permutation(30).astype(float)
    order = seriation(np.abs(places[:, None] - places))
    assert np.abs(np.diff(places[order])).tolist() == [1.0] * 29
    apart = np.full((4, 4), np.nan)
    apart[0, 2] = apart[2, 0] = 1.0
    assert seriation(apart) == [0, 2, 1, 3]


def test_orders_and_distances_that_do_not_fit_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "MOST_ORDER_BYTES", 3 * 5 * 10)
    monkeypatch.setattr(view, "MOST_DISTANCE_BYTES", 0)
    data = shown(page_of(sampled_tables()))
    assert (len(data["orders"]), len(data["distances"])) == (3, 0)
    assert data["left_out"] == (
        "Orders by distance are of 3 of 6 networks and layers. Distances of pairs are of 0 of 6 networks and layers."
    )


def test_data_stay_small_for_many_classes() -> None:
    assert len(json.dumps(shown(page_of(sampled_tables(100))))) < 600_000


def test_there_is_no_matrix_without_outcomes() -> None:
    assert shown(page_of({"geometry": sampled_tables()["geometry"]})) is None


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node")
def test_the_page_shows_the_most_confused_classes_and_finds_the_rest() -> None:
    page = page_of(sampled_tables(50))
    data = shown(page)
    facts = {"classes": [{"index": label, "name": str(label)} for label in page.classes], "views": []}
    script = f"""
      import {{ distances, ordered, shown, table }} from {json.dumps((WEB / "matrix.js").as_uri())};
      let text = "";
      for await (const part of process.stdin) text += part;
      const {{ facts, data }} = JSON.parse(text);
      const counts = data.attacked["1.0.3"];
      const choice = {{ network: 1, layer: 0 }};
      const order = ordered(facts, data, choice, "robust", counts);
      const confused = shown(order, "confused", counts, [7]);
      console.log(JSON.stringify({{ order, confused, last: shown(order, "1", counts, []),
        around: shown(order, "around", counts, [order[30]]), rows: table(counts, confused),
        apart: distances(data, choice)(4, 2), own: distances(data, choice)(4, 4),
        near: ordered(facts, data, choice, "distance", counts) }}));
    """
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script],
        input=json.dumps({"facts": facts, "data": data}), capture_output=True, text=True, check=True,
    )  # fmt: skip
    found, cell = json.loads(done.stdout), data["attacked"]["1.0.3"]
    assert [cell["correct"][place] for place in found["order"]] == sorted(cell["correct"])
    assert found["last"] == found["order"][40:]
    assert found["around"] == found["order"][10:]
    assert len(found["confused"]) == 40
    assert 7 in found["confused"]
    counts = matrix(cell)
    confused = np.array(found["confused"])
    assert np.array(found["rows"])[:, :-1].tolist() == counts[np.ix_(confused, confused)].tolist()
    assert np.array(found["rows"]).sum(1).tolist() == [40] * 40
    left = np.setdiff1d(np.arange(50), confused)
    total = counts.sum(0) + counts.sum(1) - 2 * np.diag(counts)
    assert total[left].max() <= np.sort(total[confused])[1]  # but for the one that was asked for
    row = page.contents.tables["pairs"].filter(
        model=page.networks[1], layer=page.layers[0], measure="centroid_distance", class_index=2, other_class_index=4
    )
    assert found["apart"] == pytest.approx(row["value"].item(), abs=1e-3)
    assert found["own"] is None
    assert found["near"] == data["orders"]["1.0"]
