"""How many classes, images and networks an association needs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from manifoldscope.cli import main
from manifoldscope.errors import StudyError
from manifoldscope.evidence import Assumed, pilot, power, smallest_detectable
from simulated import World
from tests.evidence.simulated_tables import simulated_tables, without


@pytest.mark.parametrize(("n_images", "least", "most"), [(50, 147, 148), (200, 80, 81)])
def test_a_correlation_of_a_half_needs_that_many_simulated_classes(n_images: int, least: int, most: int) -> None:
    found = power(100, n_images)
    assert least <= found.needed_classes <= most
    assert found.needed_images is not None
    assert power(100, found.needed_images).needed_classes <= 100 < power(100, found.needed_images - 1).needed_classes


def test_clean_accuracy_as_control_costs_more_than_the_margin() -> None:
    # 2,000 simulations found 38%
    assert power(100, 200, control="clean_accuracy").power == pytest.approx(0.37, abs=0.03)
    assert power(100, 200).power > 0.8


def test_without_noise_it_is_fishers_z() -> None:
    quiet = Assumed(reliability=1.0, intraclass=0.999, robust_variance=400.0)
    found = power(100, 100_000, rho=0.5, assumed=quiet)
    assert found.expected == pytest.approx(0.5, abs=0.005)
    assert found.needed_classes == pytest.approx((2.8016 / math.atanh(found.expected)) ** 2 + 6, abs=1)
    assert found.needed_networks == 30


def test_sources_of_each_variable_sum_to_its_variance() -> None:
    found = power(100, 50)
    for variable in ("geometry", "robustness"):
        assert sum(each.share for each in found.sources if each.variable == variable) == pytest.approx(1)
    kept = [each.share for each in found.sources if each.origin == "classes"]
    assert found.expected == pytest.approx(0.5 * math.sqrt(math.prod(kept)))


def test_the_smallest_rho_is_found_four_times_in_five_and_may_not_exist() -> None:
    smallest = power(100, 50).smallest_rho
    assert smallest is not None
    assert power(100, 50, rho=smallest).power == pytest.approx(0.8, abs=1e-6)
    few = power(10, 50)
    assert (few.smallest_rho, few.needed_images) == (None, None)
    assert power(100, 50, n_cells=60).power < power(100, 50).power


def test_what_is_needed_is_never_less_than_the_test_answers_with() -> None:
    found = power(100, 100, rho=0.99)
    assert (found.needed_classes, found.needed_images) == (20, 20)
    assert power(19, 100, rho=0.99).needed_images is None


@pytest.mark.parametrize("wrong", [{"rho": 0.0}, {"rho": 1.0}, {"n_attacked": 0}, {"control": "accuracy"}])
def test_an_impossible_size_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=r"expected a rho|there is no control"):
        power(100, 50, **wrong)


def test_many_cells_ask_for_a_larger_coefficient() -> None:
    assert smallest_detectable(50, n_cells=1) == smallest_detectable(50)
    assert smallest_detectable(50, n_cells=2) == pytest.approx(smallest_detectable(50, level=1 - math.sqrt(0.95)))


def test_a_pilot_says_of_classes_what_they_were_simulated_with() -> None:
    tables = simulated_tables(World(n_classes=1500, n_images=100))
    found, assumed = pilot(tables), Assumed()
    for name in ("follows", "reliability", "clean", "clean_slope", "robust", "robust_slope", "robust_curve"):
        # sampling errors over 1,500 classes are below 0.03; odds of classes near 1 are pulled in by counts of 100
        assert getattr(found, name) == pytest.approx(getattr(assumed, name), abs=0.1), name
    assert found.intraclass == pytest.approx(0.15, abs=0.015)
    assert found.robust_variance == pytest.approx(0.16, abs=0.03)
    assert found.reliability_images == 100
    # Spearman and Brown: twice the images
    assert found.reliability_of(200) == pytest.approx(2 * found.reliability / (1 + found.reliability))
    assert power(100, 100, assumed=found).power == pytest.approx(power(100, 100).power, abs=0.05)


def test_more_images_make_the_measure_of_a_pilot_more_reliable() -> None:
    assumed = replace(Assumed(), reliability=0.3, reliability_images=20)
    needed = power(100, 20, rho=0.6, assumed=assumed).needed_images
    assert needed is not None
    assert power(100, needed, rho=0.6, assumed=assumed).needed_classes <= 100
    assert power(100, needed - 1, rho=0.6, assumed=assumed).needed_classes > 100
    # not so, where 0.3 is all that any number of images gives
    assert power(100, 20, rho=0.6, assumed=replace(assumed, reliability_images=None)).needed_images is None


def test_a_pilot_of_few_classes_or_of_one_draw_says_too_little() -> None:
    tables = simulated_tables(World(n_classes=30))
    assert 0 < pilot(tables).reliability <= 1
    for lacking in (simulated_tables(World(n_classes=19)), without(tables, "draw_pairs"), without(tables, "margins")):
        with pytest.raises(StudyError, match="at least 20 classes"):
            pilot(lacking)


@pytest.mark.filterwarnings("error")
def test_a_part_that_a_pilot_lacks_is_left_out_and_no_other() -> None:
    tables = simulated_tables(World(n_classes=30))
    expected = pilot(tables | {"geometry": tables["geometry"].filter(pl.col("class_index") != 3)})
    lacking = pl.col("class_index") == 3
    for name, column in (("margins", "n_images"), ("margins", "margin_sd"), ("draw_pairs", "n_points")):
        part = tables[name].with_columns(pl.when(~lacking).then(column).alias(column))
        assert pilot(tables | {name: part}) == expected, column


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("geometry", {"value": 3.0}),
        ("draw_pairs", {"robustness": 3.0}),
        ("draw_pairs", {"model": "another"}),
        ("robustness", {"n_robust": 0, "robust_accuracy": 0.0}),
    ],
)
def test_a_pilot_whose_classes_do_not_differ_says_too_little(name: str, change: dict[str, Any]) -> None:
    tables = simulated_tables(World(n_classes=30))
    changed = tables[name].with_columns(pl.lit(value).alias(column) for column, value in change.items())
    with pytest.raises(StudyError, match="and differ in all of these"):
        pilot(tables | {name: changed})


def test_the_command_says_what_a_pilot_cannot_tell_from_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for n_classes, said in ((40, True), (1500, False)):
        tables = simulated_tables(World(n_classes=n_classes))
        results = SimpleNamespace(table=tables.__getitem__)
        monkeypatch.setattr("manifoldscope.api.open_results", lambda folder, plugins, results=results: results)
        assert main(["plan", "digits", "--pilot", "runs/pilot"]) == 0
        assert ("robust_variance = 0.02" in capsys.readouterr().out) == said


def test_the_command_takes_noise_from_a_pilot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = simulated_tables(World(n_classes=100))
    results = SimpleNamespace(table=lambda name: tables[name])
    monkeypatch.setattr("manifoldscope.api.open_results", lambda folder, plugins: results)
    assert main(["plan", "digits", "--pilot", "runs/pilot", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["assumed"] == asdict(pilot(tables))


def test_the_command_speaks_of_a_study_before_anything_is_computed(capsys: pytest.CaptureFixture[str]) -> None:
    changes = ["--set", "data.geometry.images_per_class=60", "--set", "data.robustness.images_per_class=50"]
    assert main(["plan", "digits", "--rho", "0.5", *changes]) == 0
    said = capsys.readouterr().out
    assert "digits: 10 classes, of each 60 images that are measured and 50 that are attacked" in said
    assert "below 20 classes" in said
    assert main(["plan", "digits", "--rho", "0.5", "--json", *changes]) == 0
    assert '"needed_classes": 147' in capsys.readouterr().out


@pytest.mark.parametrize("size", [10**18, 0, 2.5, float("nan"), True, "many"])
def test_numbers_that_cannot_be_are_refused_with_what_can(size: object) -> None:
    for name in ("n_classes", "n_images", "n_attacked", "n_cells"):
        given = {"n_classes": 40, "n_images": 50} | {name: size}
        with pytest.raises(StudyError, match="whole numbers from 1 to 1,000,000,000"):
            power(**given)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("name", ["clean_slope", "robust", "robust_slope", "robust_curve"])
def test_an_assumption_that_cannot_be_is_refused(name: str) -> None:
    for value in (float("nan"), float("inf"), 1e9):
        with pytest.raises(StudyError, match=f"{name} = .*expected a number from -100 to 100"):
            Assumed(**{name: value})
    assert power(100, 50, assumed=Assumed(**{name: 100.0})).needed_classes >= 20
    with pytest.raises(StudyError, match="no slope of 0"):
        Assumed(clean_slope=0.0)
    with pytest.raises(StudyError, match="n_cells = 0"):
        smallest_detectable(50, n_cells=0)
