"""Correlations: published values, agreement with SciPy, calibration, degenerate input, and the table of them."""

from __future__ import annotations

import math
import re
import time
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from manifoldscope.errors import ManifoldscopeError, StudyError
from manifoldscope.evidence import associate, associate_frame, association_table, nearly_constant
from manifoldscope.evidence.association_table import associate_study
from manifoldscope.evidence.specification import specification_curves
from manifoldscope.tables import TABLES, conform

PLAIN = {0.0: -0.560, 0.0002: -0.610, 0.0005: -0.636, 0.002: -0.675, 0.005: -0.643}
PARTIAL = {0.0002: -0.299, 0.0005: -0.363, 0.002: -0.469, 0.005: -0.455}
NO_DRAWS = {"permutations": 0}


@pytest.fixture(scope="module")
def published(shared_data: Path) -> pl.DataFrame:
    return pl.read_csv(shared_data / "thesis" / "resnet50_100_classes.csv")


def related(n: int, *, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    z = rng.standard_normal(n)
    return 0.5 * z + rng.standard_normal(n), 0.5 * z - 0.4 * rng.standard_normal(n), z


def test_the_published_correlations(published: pl.DataFrame) -> None:
    table = associate_frame(published, "pca_dimension", "adversarial_accuracy_percent", by="epsilon")
    pearson = table.filter(pl.col("method") == "pearson")
    assert {row["epsilon"]: round(row["coefficient"], 3) for row in pearson.to_dicts()} == PLAIN
    strongest = pearson.row(by_predicate=pl.col("epsilon") == 0.002, named=True)
    assert strongest["low"] == pytest.approx(-0.77, abs=0.02)
    assert strongest["high"] == pytest.approx(-0.55, abs=0.02)
    assert strongest["p_value"] == pytest.approx(1 / 10_001)  # the smallest that ten thousand permutations can give
    assert table.columns[:4] == ["epsilon", "x", "y", "method"]
    assert table.columns[4:] == ["coefficient", "low", "high", "p_value", "p_adjusted", "n", "note"]


def test_the_published_partial_correlations(published: pl.DataFrame) -> None:
    wide = published.pivot("epsilon", index=["class_index", "pca_dimension"], values="adversarial_accuracy_percent")
    for epsilon, expected in PARTIAL.items():
        table = associate_frame(wide, "pca_dimension", str(epsilon), controls=["0.0"], permutations=0)
        assert table.filter(pl.col("method") == "partial")["coefficient"].round(3).to_list() == [expected]
    plain = associate(wide["pca_dimension"], wide["0.002"], **NO_DRAWS)
    assert plain.analytic_p_value == pytest.approx(1.29e-14, rel=0.005)


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_agrees_with_scipy(method: Any) -> None:
    x, y, _ = related(30)
    y = y.round(1)  # ties
    expected = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}[method](x, y)
    result = associate(x, y, method=method, **NO_DRAWS)
    assert result.coefficient == pytest.approx(expected.statistic)
    assert result.analytic_p_value == pytest.approx(expected.pvalue)
    assert math.isnan(result.p_value)


@pytest.mark.parametrize("method", ["pearson", "spearman"])
@pytest.mark.parametrize("n_controls", [1, 3])
def test_a_partial_correlation_is_that_of_the_residuals(method: Any, n_controls: int) -> None:
    x, y, z = related(40)
    rng = np.random.default_rng(1)
    controls = {f"z{i}": z + i * rng.standard_normal(40) for i in range(n_controls)}
    rank = stats.rankdata if method == "spearman" else np.asarray
    design = np.column_stack([np.ones(40), *(rank(control) for control in controls.values())])
    left = [rank(v) - design @ np.linalg.lstsq(design, rank(v), rcond=None)[0] for v in (x, y)]
    result = associate(x, y, method=method, controls=controls, **NO_DRAWS)
    assert result.coefficient == pytest.approx(np.corrcoef(*left)[0, 1])
    assert result.degrees_of_freedom == 40 - n_controls - 2
    assert result.controls == tuple(controls)


@given(seed=st.integers(0, 1000), scale=st.sampled_from([1e-9, -3.0, 1e9]), shift=st.floats(-1e3, 1e3))
@settings(max_examples=20, deadline=None)
def test_units_and_order_change_nothing_but_the_sign(seed: int, scale: float, shift: float) -> None:
    x, y, z = related(12, seed=seed)
    before = associate(x, y, controls={"z": z}, permutations=200)
    after = associate(x * scale + shift * abs(scale), y, controls={"z": -z}, permutations=200)
    assert after.coefficient == pytest.approx(math.copysign(1, scale) * before.coefficient, abs=1e-9)
    assert after.p_value == before.p_value
    order = np.random.default_rng(seed).permutation(12)
    assert associate(x[order], y[order], controls={"z": z[order]}, **NO_DRAWS).coefficient == pytest.approx(
        before.coefficient
    )


def test_p_values_and_intervals_are_calibrated() -> None:
    rejected = covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        z = rng.standard_normal(20)
        x, y = z + rng.standard_normal(20), z + rng.standard_normal(20)
        partial = associate(x, y, controls={"z": z}, permutations=500)
        rejected += partial.p_value <= 0.1
        covered += partial.low <= 0 <= partial.high
    assert 6 <= rejected <= 36  # 20 expected; three standard deviations are 13
    assert covered >= 174  # about 92% of 200 at n = 20, less three standard deviations


def test_the_same_seed_gives_the_same_answer_and_another_another() -> None:
    x, y, _ = related(20)
    assert associate(x, y, seed=1) == associate(x, y, seed=1)
    assert associate(x, y, seed=1).p_value != associate(x, y, seed=2).p_value


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_a_perfect_association(method: Any) -> None:
    result = associate(np.arange(10), -3.0 * np.arange(10), method=method, permutations=999)
    assert (result.coefficient, result.low, result.high) == pytest.approx((-1, -1, -1))
    assert result.p_value < 0.02


@pytest.mark.parametrize(
    ("x", "y", "controls", "reason"),
    [
        ([1, 2, 3], [3, 1, 2], {}, "3 pairs are too few"),
        ([1, 2, 3, 4], [3, 1, 2, 4], {"z": [1, 0, 2, 1]}, "given controls needs 5"),
        ([5, 5, 5, 5], [1, 2, 3, 4], {}, "x is 5 for all 4 pairs"),
        ([1, 2, 3, 4], [0.1, 0.1, 0.1, 0.1], {}, "y is 0.1 for all"),
        ([1, 2, 3, 4, 5], [2, 1, 5, 3, 4], {"z": [10, 20, 30, 40, 50]}, "z leaves nothing of x to"),
        (
            [1, 2, 3, 4, 6, 5],
            [2, 1, 5, 3, 4, 9],
            {"z": [3, 1, 4, 1, 5, 9], "w": [2, 1, 5, 3, 4, 9]},
            "leave nothing of y to",
        ),
        ([1, math.nan], [3, 1], {}, "1 pair is too few"),
        ([1, 2, math.nan, 4, math.inf], [2, 1, 5, 3, 4], {}, "2 of 5 pairs hold no number and were left out; 3 pairs"),
    ],
)
def test_where_there_is_no_coefficient_the_note_says_why(x: Any, y: Any, controls: Any, reason: str) -> None:
    result = associate(x, y, controls=controls, permutations=50)
    assert all(math.isnan(v) for v in (result.coefficient, result.low, result.high, result.p_value))
    assert reason in result.note


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(StudyError, match="one length"):
        associate([1, 2, 3, 4], [1, 2, 3])
    with pytest.raises(StudyError, match="'spearman'"):
        associate([1, 2], [1, 2], method="spearmen")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(StudyError, match="confidence"):
        associate([1, 2], [1, 2], confidence=95)
    for wrong in (2.5, float("nan"), "many", None):
        with pytest.raises(StudyError, match="expected a whole number from 0"):
            associate([1, 2], [1, 2], permutations=wrong)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(StudyError, match="expected a mapping of names"):
        associate([1, 2], [1, 2], controls=[[1, 2]])  # type: ignore[arg-type]  # wrong on purpose
    frame = pl.DataFrame({"depth": [1, 2], "word": ["a", "b"]})
    with pytest.raises(StudyError, match="did you mean 'depth'"):
        associate_frame(frame, "dept", "word")
    with pytest.raises(StudyError, match="also one of the answer"):
        associate_frame(frame.with_columns(n=1, width=2), "depth", "width", by="n")
    with pytest.raises(StudyError, match="'word' holds String"):
        associate_frame(frame, "depth", "word")
    with pytest.raises(StudyError, match="twice"):
        associate_frame(frame, "depth", "depth")
    with pytest.raises(StudyError, match="no rows"):
        associate_frame(frame.clear().with_columns(word=pl.lit(1.0)), "depth", "word")


def tables(models: list[str], *, n_classes: int, strengths: list[float], measures: int = 1) -> dict[str, pl.DataFrame]:
    rng = np.random.default_rng(0)
    geometry, robustness = [], []
    for at, model in enumerate(models):
        base = {"model": model, "attack": "pgd", "parameters": "steps=10"}
        for label in range(n_classes):
            value, clean = 10 + 5 * at + rng.standard_normal(), rng.integers(40, 50)
            geometry += [
                {
                    "model": model,
                    "layer": "penultimate",
                    "class_index": label,
                    "measure": f"m{i}",
                    "value": value + i * rng.random(),
                }
                for i in range(measures)
            ]
            for strength in strengths:
                robust = clean if strength == 0 else rng.binomial(clean, np.clip(0.9 - 0.02 * value, 0.05, 0.95))
                for iterate in ("last", "any"):
                    robustness.append(
                        base
                        | {"strength": strength, "iterate": iterate, "class_index": label, "n_images": 50}
                        | {"clean_accuracy": clean / 50, "n_clean_correct": clean}
                        | {"robust_accuracy": robust / 50, "n_robust": robust}
                    )
        geometry.append({"model": model, "layer": "penultimate", "class_index": -1, "measure": "m0", "value": 1e9})
        geometry.append({**geometry[-2], "attack": "pgd", "strength": 0.1, "value": 1e9})
    provenance = '{"replicate_of": "net0"}'
    rows = [{"model": model, "provenance": provenance if "seed" in model else "{}"} for model in models]
    named = {"geometry": geometry, "robustness": robustness, "models": rows}
    return {name: conform(name, rows) for name, rows in named.items()}


def test_the_table_within_a_network() -> None:
    given_tables = tables(["net0", "net1"], n_classes=12, strengths=[0.0, 0.1])
    table = association_table(**given_tables, permutations=200)
    assert table.columns == list(TABLES["associations"].columns)
    assert set(table["n"]) == {12}  # the whole layer and the attacked images are not classes
    assert table.filter(pl.col("strength") == 0)["method"].unique().sort().to_list() == ["pearson", "spearman"]
    family = table.filter((pl.col("model") == "net0") & (pl.col("method") == "pearson"))
    assert set(family["outcome"]) == {"robust_accuracy", "log_odds"}
    assert (family["p_adjusted"] >= family["p_value"]).all()
    geometry = given_tables["geometry"].filter((pl.col("class_index") >= 0) & pl.col("attack").is_null())
    last = given_tables["robustness"].filter((pl.col("strength") == 0.1) & (pl.col("iterate") == "last"))
    both = geometry.join(last, on=["model", "class_index"]).filter(pl.col("model") == "net1")
    row = table.row(
        by_predicate=(pl.col("model") == "net1")
        & (pl.col("strength") == 0.1)
        & (pl.col("iterate") == "last")
        & (pl.col("method") == "pearson")
        & (pl.col("outcome") == "robust_accuracy"),
        named=True,
    )
    assert row["coefficient"] == pytest.approx(np.corrcoef(both["value"], both["robust_accuracy"])[0, 1])


@pytest.mark.parametrize("harmless", [False, True])
def test_a_specification_curve_holds_the_cells_that_its_median_is_over(harmless: bool) -> None:
    given_tables = tables(["net0"], n_classes=12, strengths=[0.0, 0.01, 0.1], measures=2)
    if harmless:  # an attack that changes nothing still is an attack
        weak = pl.col("strength") == 0.01
        changed = [
            pl.when(weak).then(of_clean).otherwise(name).alias(name)
            for name, of_clean in (("robust_accuracy", "clean_accuracy"), ("n_robust", "n_clean_correct"))
        ]
        given_tables["robustness"] = given_tables["robustness"].with_columns(changed)
    found = associate_study(**given_tables, permutations=20, methods=["pearson"])
    known = conform("models", [{"model": "net0", "clean_accuracy": 0.9, "n_classes": 12}])
    fact = specification_curves(
        {"associations": found.associations, "specifications": found.specifications, "models": known}
    )
    assert fact is not None
    (curve,) = fact.curves["net0"]
    assert {cell.specification.attack[1] for cell in curve.cells} == {0.01, 0.1}
    assert len(curve.cells) == fact.rows[0]["n_cells"]
    assert curve.n_negative == fact.rows[0]["n_negative"]
    assert curve.median is not None
    assert curve.median.value == pytest.approx(np.median([cell.r.value for cell in curve.cells]))


def test_across_networks_replicates_count_once_and_fewer_than_five_networks_give_no_row() -> None:
    networks = [f"net{i}" for i in range(5)]
    many = association_table(**tables([*networks, "net0-seed1"], n_classes=6, strengths=[0.1]), permutations=50)
    across = many.filter(pl.col("model") == "*")
    assert set(across["n"]) == {5}
    assert across.filter(pl.col("method") == "pearson")["coefficient"].max() < -0.9
    few = association_table(**tables(networks[:4], n_classes=6, strengths=[0.1]), permutations=50)
    assert few.filter(pl.col("model") == "*").is_empty()


def test_without_a_coefficient_the_row_holds_nulls() -> None:
    table = association_table(**tables(["net0"], n_classes=3, strengths=[0.1]), permutations=50)
    assert table["n"].unique().to_list() == [3]
    assert table.select("coefficient", "low", "high", "p_value", "p_adjusted").null_count().row(0) == (8,) * 5


@pytest.mark.parametrize(
    ("values", "differ"),
    [
        ([5, 5, 5, 5, 5, 5, 5, 9], 1),
        ([5, 4, 5, 5, 5, 6], 2),
        ([5, 5, 5, 9, 9], 2),
        ([5, 5, 5, 5], 0),  # a constant has no coefficient at all
        ([5, 5, 9, 9], 0),  # none of the two is what the others share
        ([5, 5, 5, 1, 2, 3], 0),
        ([5, 5, 5, math.nan, math.nan, math.nan, 9, 8], 2),
        ([5, 5, 9], 0),
        ([], 0),
    ],
)
def test_values_that_all_but_one_or_two_share_are_nearly_constant(values: list[float], differ: int) -> None:
    assert nearly_constant(values) == differ


def test_no_coefficient_rests_on_one_or_two_classes() -> None:
    study = tables(["net0"], n_classes=10, strengths=[0.0, 0.1])
    value = pl.when(pl.col("class_index") < 8).then(7.0).otherwise("value")
    study["geometry"] = study["geometry"].with_columns(value=value)
    table = association_table(**study, permutations=50)
    assert set(table["method"]) == {"pearson", "spearman"}
    assert table.select("coefficient", "low", "high", "p_value", "p_adjusted").null_count().row(0) == (len(table),) * 5
    assert table["note"].unique().to_list() == [
        "measure is 7 for all but 2 of 10 pairs, on which alone a coefficient would rest"
    ]
    varied = pl.when(pl.col("class_index") < 7).then(7.0).otherwise("value")
    study["geometry"] = study["geometry"].with_columns(
        value=varied + pl.col("class_index") * (pl.col("class_index") > 6)
    )
    assert association_table(**study, permutations=50)["coefficient"].null_count() == 0


def test_a_class_that_carries_a_coefficient_is_named_in_the_table() -> None:
    study = tables(["net0"], n_classes=12, strengths=[0.1])
    far = pl.when(pl.col("class_index") == 3).then(400.0).otherwise("value")
    study["geometry"] = study["geometry"].with_columns(value=far)
    notes = association_table(**study, permutations=50).select("method", "note").unique()
    by_method = {method: note for method, note in notes.rows() if note}
    assert by_method["pearson"].startswith("one pair (measure 400, outcome ")
    assert "of the variance of measure; without it the coefficient is" in by_method["pearson"]
    assert "spearman" not in by_method
    plain = association_table(**tables(["net0"], n_classes=40, strengths=[0.1]), permutations=50)
    assert set(plain["note"]) == {""}


def test_the_reason_for_no_coefficient_is_in_the_table() -> None:
    table = association_table(**tables(["net0"], n_classes=3, strengths=[0.1]), permutations=50)
    assert any(note.startswith("3 pairs are too few") for note in table["note"])
    constant = tables(["net0"], n_classes=6, strengths=[0.1])
    constant["geometry"] = constant["geometry"].with_columns(value=pl.lit(7.0))
    table = association_table(**constant, methods=("pearson",), permutations=50)
    assert set(table["note"]) == {"measure is 7 for all 6 pairs, and nothing goes with a constant"}


def test_two_runs_of_one_attack_are_told_apart() -> None:
    one = tables(["net0"], n_classes=8, strengths=[0.1])
    again = one["robustness"].with_columns(parameters=pl.lit("steps=40"))
    both = one | {"robustness": pl.concat([one["robustness"], again])}
    table = association_table(**both, methods=("pearson",), permutations=50)
    assert table["attack"].unique().sort().to_list() == ["pgd (steps=10)", "pgd (steps=40)"]
    with pytest.raises(StudyError, match="pearson"):
        association_table(**one, methods=("kendall",))  # type: ignore[arg-type]  # wrong on purpose


def test_a_whole_study_is_associated_in_seconds() -> None:
    study = tables(["net0", "net1"], n_classes=100, strengths=[0.1, 0.2, 0.3, 0.4], measures=8)
    started = time.thread_time()
    assert len(association_table(**study)) == 2 * 4 * 2 * 8 * 2 * 2
    assert time.thread_time() - started < 20  # about 5 seconds of one core


FORMS = {
    "int64": lambda whole: np.array(whole, np.int64),
    "big-endian uint64": lambda whole: np.array(whole, ">u8"),
    "list": list,
    "objects": lambda whole: np.array(whole, object),
    "Decimal": lambda whole: [Decimal(number) for number in whole],
    "long double": lambda whole: np.array(whole, np.int64).astype(np.longdouble),
    "polars Int64": lambda whole: pl.Series(whole, dtype=pl.Int64),
    "polars UInt64": lambda whole: pl.Series(whole, dtype=pl.UInt64),
    "polars Int128": lambda whole: pl.Series(whole, dtype=pl.Int128),
    "polars Decimal": lambda whole: pl.Series([Decimal(number) for number in whole], dtype=pl.Decimal(38, 2)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("offset", [0, 2**53, 10**17, 2**63 - 200])
def test_numbers_past_2_to_the_53_keep_what_tells_them_apart(form: str, offset: int) -> None:
    drawn = np.random.default_rng(0).integers(0, 99, (3, 40)).tolist()
    expected = associate(*drawn[:2], controls={"z": drawn[2]}, permutations=200)
    x, y, z = (FORMS[form]([offset + number for number in row]) for row in drawn)
    found = associate(x, y, controls={"z": z}, permutations=200)
    assert found.coefficient == pytest.approx(expected.coefficient, rel=1e-9)
    assert (found.p_value, found.note) == (expected.p_value, expected.note)
    constant = associate(FORMS[form]([offset + 7] * 9), list(range(9)), **NO_DRAWS)
    assert constant.note == f"x is {float(offset + 7):.4g} for all 9 pairs, and nothing goes with a constant"


def test_what_is_masked_or_null_is_left_out_and_counted() -> None:
    y = [2, 1, 5, 3, 4, 6]
    expected = associate([1, 2, 3, 4, 5], y[:5], **NO_DRAWS).coefficient
    masked = np.ma.array([1, 2, 3, 4, 5, 99], mask=[0, 0, 0, 0, 0, 1])
    for x in (masked, pl.Series([1, 2, 3, 4, 5, None]), [1, 2, 3, 4, 5, None], masked.astype(np.float32)):
        found = associate(x, y, **NO_DRAWS)
        assert found.coefficient == pytest.approx(expected)
        assert found.note == "1 of 6 pairs hold no number and were left out"


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.arange(5) + 1j, "complex"),
        ([1, 2, 3, 4, 1j], "complex"),
        (["1", "2", "3", "4", "5"], "text"),
        (np.array(["2020-01-01"] * 5, "datetime64[D]"), "times"),
        (pl.Series([date(2020, 1, 1)] * 5), "Date"),
        (pl.Series([[1]] * 5), "List"),
        (np.array([1, 2, "a", 4, 5], object), "text"),
        (np.eye(5), "shape"),
        ([[1], [2, 3]], "list of numbers"),
        (np.zeros(5, [("a", "f8")]), "records"),
    ],
)
def test_what_is_no_real_number_is_refused(x: Any, words: str) -> None:
    y = [1, 2, 3, 4, 5]
    for asked in (lambda: associate(x, y), lambda: associate(y, x), lambda: associate(y, y, controls={"z": x})):
        with pytest.raises(StudyError, match=words):
            asked()


@pytest.mark.parametrize("factor", [1e-300, 1e-120, 1e120, 1e307])
def test_units_do_not_matter(factor: float) -> None:
    x, y, z = related(30)
    expected, found = (associate(x * by, y, controls={"z": z * by}, permutations=99) for by in (1.0, factor))
    assert found.coefficient == pytest.approx(expected.coefficient, rel=1e-9)
    assert (found.low, found.p_value) == (pytest.approx(expected.low, rel=1e-6), expected.p_value)


def test_a_pair_that_the_coefficient_rests_on_is_named(shared_data: Path) -> None:
    """One network of 32 has a participation ratio of 1; its publication gives the correlations without it."""
    table = pl.read_csv(shared_data / "ood-geometry" / "networks.csv").filter(pl.col("family") == "EfficientNetB0")
    without = {"participation_ratio_id": "0.204", "nc1_id": "0.0542", "radius_id": "-0.281"}
    for measure, coefficient in without.items():
        found = associate(table[measure], table["accuracy_linear_probe_ood"], **NO_DRAWS)
        assert "of the variance of x" in found.note
        assert found.note.endswith(f"without it the coefficient is {coefficient}")
    assert not associate(table["dimension_id"], table["accuracy_linear_probe_ood"], **NO_DRAWS).note
    assert not associate(table["nc1_id"], table["accuracy_linear_probe_ood"], method="spearman", **NO_DRAWS).note


@pytest.mark.parametrize("fill", [1e17, 1e20, 1e300])
def test_what_is_left_without_a_fill_value_is_seen_beside_it(fill: float) -> None:
    x, y, _ = related(40)
    rest = np.corrcoef(x[1:], y[1:])[0, 1]
    found = associate(np.r_[fill, x[1:]], y, **NO_DRAWS)
    assert found.note.endswith(f"of the variance of x; without it the coefficient is {rest:.3g}")
    assert found.low < found.coefficient < found.high


def test_a_control_that_holds_nothing_fixed_is_named() -> None:
    x, y, z = related(40)
    plain = associate(x, y, **NO_DRAWS)
    for second_draw in (None, {"z": z}):
        found = associate(x, y, controls={"z": np.ones(40)}, second_draw=second_draw, **NO_DRAWS)
        assert found.coefficient == pytest.approx(plain.coefficient)
        assert re.match("z is the same for all 40 pairs( on a draw)? and holds nothing fixed", found.note)
    other = np.random.default_rng(5).standard_normal(40)
    assert "the two draws of z correlate by" in associate(x, y, controls={"z": z}, second_draw={"z": other}).note
    assert not associate(x, y, controls={"z": z}, second_draw={"z": z + 0.1 * other}, **NO_DRAWS).note
    same = associate(x, y, controls={"z": z}, second_draw={"z": z.copy()}, **NO_DRAWS)
    assert same.note == "z is the same on both draws, and its noise is not taken out"


def test_what_two_draws_cannot_answer_is_said() -> None:
    x, y, z = related(40)
    rng = np.random.default_rng(5)
    first, second = 0.05 * rng.standard_normal((2, 40))
    controls, again = {"z": z, "much like z": z + first}, {"z": z, "much like z": z + second}
    again["z"] = z + 0.05 * rng.standard_normal(40)
    found = associate(x, y, controls=controls, second_draw=again, **NO_DRAWS)
    assert re.match(
        r"the two draws do not agree on a combination of z and much like z \(canonical correlation 0\.", found.note
    )
    few = associate(x[:19], y[:19], controls={"z": z[:19]}, second_draw={"z": again["z"][:19]}, **NO_DRAWS)
    assert few.note == "19 pairs are fewer than the 20 with which two draws can answer"
    collinear = associate(
        x, y, controls={"z": z, "twice": 2 * z}, second_draw={"z": again["z"], "twice": 2 * again["z"]}, **NO_DRAWS
    )
    assert not collinear.note


def test_ordinary_pairs_have_no_leverage() -> None:
    for seed in range(40):
        x, y, _ = related(100, seed=seed)
        assert not associate(x, y, **NO_DRAWS).note


@pytest.mark.parametrize("name", ["geometry", "robustness", "models"])
def test_a_row_that_stands_twice_is_refused(name: str) -> None:
    given = tables(["net0"], n_classes=6, strengths=[0.1])
    twice = given[name].with_columns(pl.lit(None).alias(given[name].columns[-1]))
    with pytest.raises(ManifoldscopeError, match=f"table {name}: .* rows are told twice or more.*net0"):
        association_table(**{**given, name: pl.concat([given[name], twice], how="vertical_relaxed")}, permutations=9)


def test_a_class_that_holds_at_every_epsilon_is_above_all_others_by_rank() -> None:
    given = tables(["net0"], n_classes=8, strengths=[0.1])
    values = given["geometry"].filter((pl.col("class_index") >= 0) & pl.col("attack").is_null())["value"]
    most = int(values.arg_max() or 0)
    rows = [
        {"model": "net0", "attack": "pgd", "image": f"{label}/{at}", "label": label, "clean_prediction": label}
        | {"minimal_epsilon": float("inf") if label == most and at > 1 else value + 0.01 * at}
        for label, value in enumerate(values)
        for at in range(5)
    ]
    found = association_table(**given, outcomes=conform("outcomes", rows), permutations=99)
    cells = {row["method"]: row for row in found.filter(outcome="minimal_epsilon").iter_rows(named=True)}
    assert (cells["spearman"]["coefficient"], cells["spearman"]["n"]) == (1, 8)
    assert (cells["pearson"]["n"], cells["pearson"]["n_left_out"]) == (7, 1)
    assert cells["pearson"]["note"] == "1 of 8 outcomes are infinite, and left out"


def test_what_all_but_one_share_has_no_coefficient_wherever_it_is_asked_for() -> None:
    x, y = [5.0] * 9 + [6.0], list(range(10))
    for found in (associate(x, y), associate(y, x, method="spearman")):
        assert np.isnan(found.coefficient)
        assert "is 5 for all but 1 of 10 pairs, on which alone a coefficient would rest" in found.note
