"""The view of networks by classes: what the table says of each setting, in words."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from conftest import STUDY, concluded_tables, study_tables
from manifoldscope.report.contents import gather
from manifoldscope.report.explore import VIEWS, Explored, select
from manifoldscope.report.explore.cells import OUTCOMES
from manifoldscope.report.explore.views.within_between import MOST_SETTINGS
from manifoldscope.report.findings.phrases import signed


def page_of(tables: dict[str, pl.DataFrame]) -> Explored:
    contents = gather(STUDY, tables, [])
    return Explored(contents, select(contents))


def shown(page: Explored) -> Any:
    return VIEWS["within_between"].target(page)


@pytest.fixture(scope="module")
def concluded() -> dict[str, pl.DataFrame]:
    tables = study_tables()
    return tables | concluded_tables(tables)


def test_each_setting_is_a_row_of_the_table(concluded: dict[str, pl.DataFrame]) -> None:
    page = page_of(concluded)
    data = shown(page)
    table = concluded["within_between"].filter(controls="").filter(pl.col("within").is_finite())
    assert len(data["settings"]) == table.height > 10
    for key, setting in data["settings"].items():
        layer, m, a, s, i, o = map(int, key.split("."))
        measure, parameters = page.measures[m]
        attack = page.attacks[a]
        (row,) = table.filter(
            layer=page.layers[layer], measure=measure, parameters=parameters, attack=attack,
            strength=page.strengths(attack)[s], iterate=page.iterates(attack)[i], outcome=list(OUTCOMES)[o],
        ).to_dicts()  # fmt: skip
        assert setting["within"] == pytest.approx(row["within"], rel=1e-4)
        assert f"{page.layers[layer]}: within these 2 networks mean r = {signed(row['within'])}" in setting["text"]
        assert "no r between two networks" in setting["text"]
        assert setting["between"] is None
    assert data["said"].startswith("Nothing is said of other networks: that takes at least 8. Not counted: random")
    assert data["groups"] == [0, 1, 2]


def test_replicates_are_one_network_and_a_reversal_is_named(concluded: dict[str, pl.DataFrame]) -> None:
    again = (
        pl.when(pl.col("model") == "adversarial").then(pl.lit('{"replicate_of": "standard"}')).otherwise("provenance")
    )
    turned = concluded["within_between"].with_columns(between=pl.lit(0.9), reversal=pl.lit(True))
    data = shown(
        page_of(concluded | {"models": concluded["models"].with_columns(provenance=again), "within_between": turned})
    )
    assert data["groups"] == [0, 1, 1]
    assert data["group_names"] == ["random", "standard", "standard"]
    assert all("Simpson's reversal: the signs are opposite" in each["text"] for each in data["settings"].values())


def test_p_is_adjusted_for_the_layers_of_a_setting(concluded: dict[str, pl.DataFrame]) -> None:
    tested = concluded["within_between"].with_columns(within_p=pl.lit(0.02))
    data = shown(page_of(concluded | {"within_between": tested}))
    assert all("adjusted p = 0.04" in each["text"] for each in data["settings"].values())


def test_many_settings_stay_within_bounds(concluded: dict[str, pl.DataFrame]) -> None:
    strengths = [round(0.001 * at, 3) for at in range(1, 201)]
    every = pl.DataFrame({"strength": strengths})
    row = concluded["within_between"].filter(controls="", outcome="robust_accuracy", strength=0.1).drop("strength")
    hit = concluded["robustness"].filter(strength=0.1).drop("strength")
    many = concluded | {
        "within_between": row.join(every, how="cross").select(concluded["within_between"].columns),
        "robustness": hit.join(every, how="cross").select(concluded["robustness"].columns),
    }
    data = shown(page_of(many))
    assert len(data["settings"]) == min(MOST_SETTINGS, row.height * 200) == MOST_SETTINGS
    assert len(json.dumps(data)) < 600_000
    assert data["left_out"].startswith("This page holds 1500 of ")


def test_there_is_none_of_a_single_network(concluded: dict[str, pl.DataFrame]) -> None:
    assert shown(page_of(study_tables())) is None
