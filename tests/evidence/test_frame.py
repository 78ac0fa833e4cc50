"""Anyone's table: published correlations by family and pooled, cells of a long table, controls on two draws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from manifoldscope.cli import main
from manifoldscope.errors import StudyError
from manifoldscope.evidence import associate_frame, in_cells, two_draw_test
from manifoldscope.evidence.two_draws import Difficulty

OUTCOME = "accuracy_linear_probe_ood"
FAMILIES = ("ResNet18", "VGG19", "MobileNet", "EfficientNetB0", "DenseNet121")
REFERENCE = {
    "dimension": (0.9000, 0.7937, 0.9402, 0.6838, 0.9540, 0.9405, 0.9047),
    "utility": (0.8748, 0.7137, 0.9337, 0.5874, 0.9352, 0.9263, 0.8790),
    "capacity": (-0.7119, -0.0588, -0.4594, -0.0672, -0.7425, -0.7403, -0.5648),
    "participation_ratio": (0.7731, 0.2414, 0.9063, 0.0220, 0.8878, 0.8748, 0.7671),
    "nc1": (0.4125, -0.5033, -0.3262, 0.2854, -0.2690, -0.1125, -0.0398),
    "radius": (-0.9319, -0.6673, -0.8310, -0.3827, -0.7348, -0.8152, -0.7882),
}
"""Of each family, pooled, and with the means of the families removed."""


@pytest.fixture(scope="module")
def published(shared_data: Path) -> pl.DataFrame:
    table = pl.read_csv(shared_data / "ood-geometry" / "networks.csv")
    xs = [f"{name}_id" for name in REFERENCE]
    return associate_frame(table, xs, OUTCOME, by="family", pooled=True, permutations=200).filter(
        pl.col("method") == "pearson"
    )


def test_the_reference_correlations_by_family_and_pooled(published: pl.DataFrame) -> None:
    for name, expected in REFERENCE.items():
        rows = published.filter(pl.col("x") == f"{name}_id")
        by_family = dict(rows.filter(pl.col("over") == "group").select("family", "coefficient").iter_rows())
        over = dict(rows.filter(pl.col("over") != "group").select("over", "coefficient").iter_rows())
        found = [*(by_family[family] for family in FAMILIES), over["pooled"], over["within"]]
        assert np.round(found, 4) == pytest.approx(expected, abs=1e-4), name


def test_what_holds_pooled_and_vanishes_within_a_family_is_named(published: pl.DataFrame) -> None:
    notes = dict(published.filter(pl.col("over") == "pooled").select("x", "note").iter_rows())
    assert "vanishes within EfficientNetB0 (−0.07), VGG19 (−0.06)" in notes["capacity_id"]
    assert notes["participation_ratio_id"].endswith("vanishes within EfficientNetB0 (+0.02)")
    assert "vanishes" not in notes["dimension_id"]


def test_many_columns_are_one_family_of_cells(published: pl.DataFrame) -> None:
    assert (published["p_adjusted"] >= published["p_value"]).all()
    assert published.filter(pl.col("p_adjusted") > pl.col("p_value")).height > 0


def test_the_cells_of_a_long_table_share_their_pairs(shared_data: Path) -> None:
    table = pl.read_csv(shared_data / "thesis" / "resnet50_100_classes.csv")
    wide, outcomes = in_cells(
        table, ["adversarial_accuracy_percent"], cells="epsilon", key="class_index", kept=["pca_dimension"]
    )
    assert (wide.height, len(outcomes)) == (100, 5)
    found = associate_frame(wide, "pca_dimension", outcomes, permutations=200).filter(pl.col("method") == "pearson")
    assert found["coefficient"].round(3).to_list() == [-0.560, -0.610, -0.636, -0.675, -0.643]
    with pytest.raises(StudyError, match="two rows of one"):
        in_cells(
            pl.concat([table, table]), ["adversarial_accuracy_percent"], cells="epsilon", key="class_index", kept=[]
        )
    with pytest.raises(StudyError, match="several values"):
        in_cells(
            table.with_columns(pca_dimension=pl.int_range(pl.len())),
            ["adversarial_accuracy_percent"],
            cells="epsilon",
            key="class_index",
            kept=["pca_dimension"],
        )


def test_controls_on_two_draws_are_the_instrumented_test() -> None:
    rng = np.random.default_rng(0)
    z = rng.standard_normal(40)
    first, second = (
        Difficulty(np.full(40, 50.0), np.full(40, 45.0), z + 0.3 * rng.standard_normal(40), np.exp(w))
        for w in 0.2 * rng.standard_normal((2, 40)) + 0.3 * rng.standard_normal(40)
    )
    robust = rng.binomial(45, 0.5, size=40)
    measure = z + rng.standard_normal(40)
    expected = two_draw_test(measure, robust, first, second, permutations=200)
    from manifoldscope.evidence.two_draws import log_odds, normal_scores

    columns: dict[str, Any] = {"g": normal_scores(measure), "s": log_odds(robust, 45)}
    for draw, found in (("a", first), ("c", second)):
        columns |= {f"{name}_{draw}": row for name, row in zip("mql", found.controls("margin"), strict=True)}
    answer = associate_frame(
        pl.DataFrame(columns),
        "g",
        "s",
        controls=["m_a", "q_a", "l_a"],
        second_draw=["m_c", "q_c", "l_c"],
        permutations=200,
    )
    row = answer.row(by_predicate=pl.col("method") == "two_draws", named=True)
    assert (row["coefficient"], row["p_value"]) == pytest.approx((expected.coefficient, expected.p_value))
    with pytest.raises(StudyError, match="each control twice"):
        associate_frame(pl.DataFrame(columns), "g", "s", controls=["m_a", "q_a"], second_draw=["m_c"])


def test_the_command_says_what_goes_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "table.csv"
    pl.DataFrame({"x": range(8), "y": [1, 2, 3, 5, 4, 7, 6, 8], "of": list("aabbaabb")}).write_csv(file)
    assert main(["associate", str(file), "--x", "x", "--y", "y", "--by", "of"]) == 0
    assert "pooled" in capsys.readouterr().out
    assert main(["associate", str(file), "--x", "x", "--y", "y", "--cells", "of"]) == 2
    assert "--cells and --key go together" in capsys.readouterr().err


def test_within_groups_only_complete_pairs_count_and_their_means_cost_degrees_of_freedom() -> None:
    rng = np.random.default_rng(0)
    rejected = 0
    for seed in range(150):
        frame = pl.DataFrame(
            {"x": rng.standard_normal(40), "y": rng.standard_normal(40), "of": [*"abcdefghijklmnopqrst"] * 2}
        )
        found = associate_frame(frame, "x", "y", by="of", pooled=True, permutations=99, seed=seed)
        within = found.filter((pl.col("over") == "within") & (pl.col("method") == "pearson")).row(0, named=True)
        rejected += within["low"] * within["high"] > 0
    assert rejected <= 18  # 7.5 expected
    x, y = rng.standard_normal((2, 40))
    only = pl.DataFrame({"x": [50.0] * 30 + [None] * 30, "y": [None] * 30 + [50.0] * 30, "of": ["a"] * 60})
    whole = pl.DataFrame({"x": x, "y": y, "of": ["a"] * 20 + ["b"] * 20})
    with_gaps = associate_frame(pl.concat([whole, only]), "x", "y", by="of", pooled=True, permutations=9)
    without = associate_frame(whole, "x", "y", by="of", pooled=True, permutations=9)
    assert with_gaps["coefficient"].to_list() == pytest.approx(without["coefficient"].to_list())


@pytest.mark.parametrize("factor", [1e-300, 1e-200, 1e200, 1e300])
def test_units_do_not_matter_to_many_cells(factor: float) -> None:
    x, other, y, z = np.random.default_rng(0).normal(size=(4, 30))
    expected, found = (
        associate_frame(
            pl.DataFrame({"x": x * by, "other": other * by, "y": (x + y) * by, "z": (x + z) * by}),
            ["x", "other"],
            "y",
            controls=["z"],
            permutations=99,
        )
        for by in (1.0, factor)
    )
    for column in ("coefficient", "low", "high", "p_value", "p_adjusted"):
        assert found[column].to_list() == pytest.approx(expected[column].to_list(), rel=1e-6), column


def test_groups_without_a_pair_cost_nothing_within() -> None:
    rng = np.random.default_rng(0)
    x, y, z = rng.standard_normal((3, 24))
    known = pl.DataFrame({"x": x, "y": y + x, "z": z, "group": ["a", "b"] * 12})
    others = pl.DataFrame(
        {"x": [None] * 30, "y": z[:1].repeat(30), "z": z[:1].repeat(30)}, schema_overrides={"x": pl.Float64}
    )
    empty = others.with_columns(group=pl.Series([f"e{place}" for place in range(30)]))
    asked: dict[str, Any] = {"by": "group", "pooled": True, "controls": ["z"], "permutations": 99}
    expected, found = (
        associate_frame(frame, "x", "y", **asked).filter(over="within").drop("note")
        for frame in (known, pl.concat([empty, known]))
    )
    assert found["coefficient"].is_finite().all()
    assert_frame_equal(found, expected)


def _long(strengths: tuple[float, ...] = (0.1, 0.2), networks: tuple[str, ...] = ("a", "b", "c")) -> pl.DataFrame:
    """Ten classes of each network at each strength; the networks are one and the same."""
    x, y = np.random.default_rng(3).normal(size=(2, 10))
    return pl.concat(
        pl.DataFrame({"class": [f"c{place}" for place in range(10)], "x": x, "y": x + y - strength}).with_columns(
            network=pl.lit(network), strength=strength
        )
        for network in networks
        for strength in strengths
    )


@pytest.mark.parametrize("cells", [True, False])
def test_classes_that_networks_share_are_pairs_of_each_and_not_independent_over_all(
    cells: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "t.csv"
    _long((0.1, 0.2) if cells else (0.1,)).write_csv(file)
    words = ["associate", str(file), "--x", "x", "--y", "y", "--by", "network", "--json"]
    assert main([*words, "--cells", "strength", "--key", "class"] if cells else words) == 0
    said = capsys.readouterr()
    rows = json.loads(said.out)
    assert {row["n"] for row in rows if row["over"] == "group"} == {10}
    for row in rows:
        assert ("rows are not independent" in row["note"]) == (row["over"] != "group")
    assert "warning: 30 rows of all groups are of 10 different values of 'class'" in said.err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strength": pl.concat_list("strength")}, "column 'strength' holds List"),
        ({"class": pl.concat_list("class")}, "column 'class' holds List"),
        ({"strength": pl.lit(None, pl.Float64)}, "20 of 20 rows have no strength"),
        ({"strength": pl.lit(float("nan"))}, "20 of 20 rows have no strength"),
        ({"class": pl.col("class").replace("c3", None)}, "2 of 20 rows have no class"),
    ],
)
def test_rows_without_a_cell_or_a_key_are_refused(change: dict[str, pl.Expr], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        in_cells(_long(networks=("a",)).with_columns(**change), ["y"], cells="strength", key="class", kept=["x"])


def test_networks_that_share_classes_are_told_apart_by_an_option_that_is_named() -> None:
    with pytest.raises(StudyError, match=r"two rows of one strength.*tell them apart by --by"):
        in_cells(_long(), ["y"], cells="strength", key="class", kept=["x"])


def test_a_cell_is_called_as_its_column_shows_it() -> None:
    single = _long(networks=("a",)).with_columns(pl.col("strength").cast(pl.Float32))
    assert in_cells(single, ["y"], cells="strength", key="class", kept=["x"])[1] == ["y at 0.1", "y at 0.2"]


def test_an_adjusted_p_is_never_below_that_of_its_cell() -> None:
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, 12))
    frame = pl.DataFrame({"x": x, "again": x, "y": [None, *(x + noise)[1:]]})
    for seed in range(8):
        found = associate_frame(frame, ["x", "again"], "y", permutations=99, seed=seed)
        assert (found["p_adjusted"] >= found["p_value"]).all()


def test_a_control_is_held_fixed_within_groups_whatever_it_is_called() -> None:
    x, y, z, w = np.random.default_rng(0).normal(size=(4, 30))
    frame = pl.DataFrame({"x": x + z, "y": y + z, "z": z, "w": z + 0.3 * w, "of": ["a", "b", "c"] * 10})
    asked: dict[str, Any] = {"by": "of", "pooled": True, "permutations": 9}
    found = associate_frame(frame, "x", "y", controls=["z"], second_draw=["w"], **asked)
    assert set(found.filter(over="within")["note"]) == {""}
    with pytest.raises(StudyError, match="column 'group b' is called as a group is"):
        associate_frame(frame.rename({"z": "group b"}), "x", "y", controls=["group b"], **asked)
