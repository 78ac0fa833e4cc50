"""Networks trained on some of the classes: what they are shown, what they give, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from manifoldscope.errors import StudyError
from manifoldscope.evidence.number_of_classes import numbers_of_classes
from manifoldscope.study import Store, run_units
from manifoldscope.study.progress import Progress
from manifoldscope.study.results import collect
from tests.study import tiny

QUIET = Progress(quiet=True)


def models(*numbers: int | None) -> list[dict[str, Any]]:
    """One network for each number of classes; None: all of them."""
    training = {"objective": "standard", "epochs": 2, "batch_size": 20}
    return [
        {"name": f"on {n}", "source": "small:cnn", "training": training | ({} if n is None else {"n_classes": n})}
        for n in numbers
    ]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    study = tiny.study(models=models(2, None), measures=["pca_dimension", "centroid_distance"], shifts=tiny.SHIFTS)
    store = Store(tmp_path_factory.mktemp("runs") / "n-classes")
    outcome = run_units(study, store, progress=QUIET)
    assert outcome.failed == {}
    return collect(store, store.plan()[0])


def test_a_network_is_trained_measured_and_attacked_on_its_classes_alone(tables):
    known = {"on 2": {1, 4}, "on None": {1, 4, 7}}
    outputs = dict(tables["models"].select("model", "n_classes").iter_rows())
    assert outputs == {"on 2": 5, "on None": 10}  # an output for each label up to the largest
    for model, labels in known.items():
        for table in ("geometry", "robustness", "margins", "draw_pairs", "shifts"):
            rows = tables[table].filter(model=model)
            assert set(rows["class_index"]) - {-1} == labels, table
        assert set(tables["outcomes"].filter(model=model)["label"]) == labels
        pairs = tables["pairs"].filter(model=model)
        assert {*pairs["class_index"], *pairs["other_class_index"]} == labels


def test_what_changes_with_the_number_is_a_fact(tables):
    trained = dict(tables["models"].select("model", "n_trained_classes").iter_rows())
    assert trained == {"on 2": 2, "on None": 3}
    facts = numbers_of_classes(tables)
    assert {(fact.recipe, fact.n_common, fact.layer) for fact in facts} == {
        ("small:cnn standard epochs=2 batch_size=20", 2, layer) for layer in ("flatten", "penultimate")
    }


def test_the_same_classes_give_the_same_units_however_they_are_said(tmp_path):
    study = tiny.study(models=models(3, None))
    units = run_units(study, Store(tmp_path / "run"), progress=QUIET).units
    of = {name: {unit.key for unit in units if unit.label.startswith(name)} for name in ("on 3", "on None")}
    assert len(of["on 3"]) == len(of["on None"])


def test_more_classes_than_there_are_and_transfer_between_different_ones_are_refused(tmp_path):
    with pytest.raises(StudyError, match="on 9 is to be trained on 9 classes, but the study has 3"):
        run_units(tiny.study(models=models(9)), Store(tmp_path / "many"), progress=QUIET)
    with pytest.raises(StudyError, match="different numbers of classes"):
        tiny.study(models=models(2, None), attacks=[{"kind": "pgd", "epsilons": [0.1], "steps": 2, "transfer": True}])
    with pytest.raises(StudyError, match="n_classes"):
        tiny.study(models=models(1))


def test_a_network_has_an_output_for_each_class_that_it_is_trained_on(tmp_path):
    (fewer,) = models(None)
    with pytest.raises(StudyError, match="has n_classes = 7, and the last class that it is trained on has the index 7"):
        run_units(tiny.study(models=[fewer | {"n_classes": 7}]), Store(tmp_path / "few"), progress=QUIET)
    store = Store(tmp_path / "as many")
    store.prepare()
    assert tiny.planned(tiny.study(models=[fewer | {"n_classes": 8}]), store)
