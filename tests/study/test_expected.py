"""Published accuracies of a network in a study file, and what a run says of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from manifoldscope import run
from manifoldscope.api import Result
from manifoldscope.errors import StudyError
from manifoldscope.study.loading import json_schema, parse

STUDY: dict[str, Any] = {
    "name": "expected",
    "measures": [],
    "data": {
        "source": "digits",
        "geometry": {"images_per_class": 2},
        "robustness": {"images_per_class": 60},
        "training": {"images_per_class": 60},
    },
    "models": [{"source": "small:mlp", "training": {"objective": "standard", "epochs": 12}}],
    "attacks": [{"kind": "autoattack", "epsilons": [0.3], "iterate": "any"}],
}


def study(expected: Any, **changed: Any) -> dict[str, Any]:
    return {**STUDY, **changed, "models": [{**STUDY["models"][0], "expected": expected}]}


def published_rows(result: Result) -> dict[str, dict[str, Any]]:
    found = result.table("checks").filter(pl.col("check").str.starts_with("published"))
    return {row["check"]: row for row in found.to_dicts()}


def test_a_run_says_whether_it_reproduces_them(tmp_path: Path) -> None:
    first = run(parse(study({"clean": 0.2})), out=tmp_path / "out")
    (row,) = published_rows(first).values()
    assert (row["check"], row["passed"]) == ("published clean accuracy", False)
    (accuracy,) = first.table("models")["clean_accuracy"]
    assert row["value"] == pytest.approx(accuracy)
    units = sorted(path.name for path in (tmp_path / "out" / "units").glob("*/*"))
    again = run(parse(study({"clean": accuracy, "autoattack": 0.5, "epsilon": 0.3})), out=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / "units").glob("*/*")) == units  # nothing is computed
    passed = {name: row["passed"] for name, row in published_rows(again).items()}
    assert passed == {"published clean accuracy": True, "published accuracy under AutoAttack": False}


def test_without_attacks_and_with_some_classes_the_clean_accuracy_is_not_compared(tmp_path: Path) -> None:
    data = {**STUDY["data"], "classes": [0, 1, 2]}
    checks = run(parse(study({"clean": 0.9}, attacks=[], data=data)), out=tmp_path / "out").table("checks")
    (row,) = checks.filter(check="published clean accuracy").to_dicts()
    assert row["passed"] is None
    assert row["note"].startswith("cannot be told: 7 classes of the dataset are not in the study")


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"clean": 89.69}, "expected.clean = 89.69: expected a share between 0 and 1; 89.69 percent is 0.8969"),
        ({"clean": -0.1}, "expected a share between 0 and 1$"),
        ({"autoattack": 250.0}, "expected a share between 0 and 1$"),
        ({}, "says neither clean nor autoattack; give at least one"),
        ({"clean": 0.9, "robust": 0.5}, "there is no setting 'robust'"),
        ({"autoattack": 0.9, "norm": "l1"}, "norm = 'l1'"),
        ({"autoattack": 0.9, "epsilon": 0}, "epsilon = 0: input should be greater than 0"),
        ("Published", r"expected a table, such as \{ clean = 0\.9.*, or the word \"published\""),
        (0.9, r"expected = 0\.9: expected a table, such as"),
        ({"clean": 0.5, "autoattack": 0.9}, r"autoattack = 0\.9 is above clean = 0\.5.*are the two exchanged\?"),
        ({"autoattack": 0.5, "epsilon": 8.0}, r"epsilon = 8; .*did you mean 8/255"),
        ("published", r"no accuracies of small:mlp are known here; write those of its paper"),
    ],
)
def test_what_cannot_be_expected_is_refused(expected: Any, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        parse(study(expected))


def test_the_figures_of_robustbench_stand_for_the_word_published() -> None:
    table = {"source": "robustbench:Carmon2019Unlabeled", "weights": "w.pt", "expected": "published"}
    told = parse({**STUDY, "models": [table]}).models[0].expected
    assert told.model_dump() == {"clean": 0.8969, "autoattack": 0.5953, "epsilon": 8 / 255, "norm": "linf"}
    other = {**table, "source": "robustbench:cifar10/L2/Rice2020Overfitting"}
    told = parse({**STUDY, "models": [other]}).models[0].expected
    assert (told.clean, told.autoattack, told.epsilon, told.norm) == (0.8867, 0.6768, 0.5, "l2")


def test_the_json_schema_allows_both_forms() -> None:
    defined = json_schema()["$defs"]
    options = next(form for form in defined.values() if "expected" in form.get("properties", {}))
    forms = json.dumps(options["properties"]["expected"])
    assert '"published"' in forms
    assert "ExpectedPlan" in forms
