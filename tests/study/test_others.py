"""Other datasets in a study: which images are shown, which class is which, and what the tables say of them."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest
import torch

from manifoldscope.attacks.ood import ood_detection
from manifoldscope.attacks.shifts import accuracy_by_class
from manifoldscope.errors import DataError
from manifoldscope.study import Store, run_units
from manifoldscope.study.others import matched_classes
from manifoldscope.study.progress import Progress
from manifoldscope.study.results import collect
from manifoldscope.vision.images import ImageSet
from tests.study import tiny

QUIET = Progress(quiet=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with the tiny study and two other datasets done; tests only read it."""
    store = Store(tmp_path_factory.mktemp("foreign") / "tiny")
    outcome = run_units(tiny.study(**tiny.OTHERS), store, progress=QUIET)
    assert outcome.failed == {}
    return store, outcome


def drawn(store, **changes):
    return tiny.others_of(tiny.study(**changes), store)


def named(names, labels):
    pixels = torch.rand(len(labels), 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return ImageSet.of(pixels, labels, class_names=names)


def test_each_network_has_one_unit_for_the_same_classes_and_one_a_layer_for_others(finished):
    store, outcome = finished
    kinds = [unit.kind for unit in outcome.units]
    assert (kinds.count("shift"), kinds.count("ood"), kinds.count("draw")) == (2, 2 * 2, 3 + 2)
    again = run_units(tiny.study(**tiny.OTHERS), store, progress=QUIET)
    assert again.n_computed == 0
    labels = {unit.label for unit in outcome.units if unit.kind in ("shift", "ood")}
    assert {"random · again · shift", "random · flatten · others · ood"} <= labels


def test_the_tables_hold_what_the_functions_find_on_the_same_images(finished):
    store, _ = finished
    tables = collect(store, store.plan()[0])
    context = tiny.context_of(tiny.study(**tiny.OTHERS), store)
    network = context.network("adversarial")
    shifted = tables["shifts"].filter(model="adversarial")
    assert len(tables["shifts"]) == 2 * 3
    assert shifted["class_index"].to_list() == [1, 4, 7]
    found = accuracy_by_class(network, context.others["again"].images, batch_size=16)
    assert shifted.select(found.columns).equals(found)
    clean = accuracy_by_class(network, context.draws["robustness"].images, batch_size=16)
    assert shifted["clean_accuracy"].to_list() == clean["accuracy"].to_list()
    assert shifted["n_clean_correct"].to_list() == clean["n_correct"].to_list()

    assert len(tables["ood"]) == 2 * (1 + 2 * 3)  # networks, the output once, layers and distances
    draws = context.draws
    expected = ood_detection(
        network,
        draws["geometry"].images,
        draws["robustness"].images,
        context.others["others"].images,
        "flatten",
        batch_size=16,
    )
    rows = tables["ood"].filter(pl.col("layer").is_in(["", "flatten"]), model="adversarial").sort("score")
    assert rows.select(expected.columns).equals(expected.sort("score"))
    assert rows.filter(score="max_softmax")["layer"].to_list() == [""]
    assert rows.select("n_in_distribution", "n_ood").unique().row(0) == (30, 16)


def test_no_ood_image_is_in_another_draw_whatever_it_is_called(finished, tmp_path):
    study = tiny.study(**tiny.OTHERS)
    context = tiny.context_of(study, finished[0])
    own = {name for of in context.draws.values() for name in of.images.names}
    for of in context.others.values():
        assert not own & set(of.images.names)
    training = context.draws["training"].images
    other = named(["1", "4", "7"], [0, 1, 2]).raw.pixels
    pixels = torch.cat([torch.stack([training.read(index) for index in range(60)]), other])
    labels = [*training.labels.tolist(), 1, 4, 7]
    copies = tmp_path / "copies.npz"
    np.savez(copies, images=pixels[:, 0].numpy(), labels=np.array(labels))
    plan = {"source": "arrays", "root": str(copies)}
    for number in (1, None):
        images = drawn(finished[0], shifts=[{**plan, "images_per_class": number}])["arrays"].images
        assert [images.names[index].split("/")[-1] for index in range(len(images))] == ["60", "61", "62"]
    np.savez(copies, images=pixels[:60, 0].numpy(), labels=np.array(labels[:60]))
    with pytest.raises(DataError, match=r"shifts 'arrays': class '1' .* \(20 of its images belong to other draws"):
        drawn(finished[0], shifts=[plan])


def test_classes_are_matched_by_name_in_whatever_order_and_images_get_the_labels_of_the_study(finished, tmp_path):
    turned = {"7": 0, "1": 1, "4": 2}
    images = named(list(turned), [0, 1, 2] * 4)
    file = tmp_path / "turned.npz"
    np.savez(file, images=images.raw.pixels[:, 0], labels=images.labels, class_names=np.array(list(turned)))
    plan = {"source": "arrays", "root": str(file)}
    found = drawn(finished[0], shifts=[plan])["arrays"]
    for name, index in turned.items():
        pixels = {found.images.of_class(int(name)).read(place) for place in range(4)}
        assert {bytes(image.numpy()) for image in pixels} == {
            bytes(images.of_class(index).read(place).numpy()) for place in range(4)
        }
    assert found.images.class_names[7] == "7"
    assert set(found.digests) == {1, 4, 7}
    again = drawn(finished[0], shifts=[plan])["arrays"]
    assert (again.digests, again.images.labels.tolist()) == (found.digests, found.images.labels.tolist())


def test_classes_match_by_name_by_another_name_or_by_index():
    own = named(["cat", "dog", "emu"], [0, 1, 2])
    assert matched_classes(own, named(["emu", "cat", "dog"], [0, 1, 2]), by="name") == {0: 1, 1: 2, 2: 0}
    assert matched_classes(own, named(["a", "b", "c"], [0, 1, 2]), by="index") == {0: 0, 1: 1, 2: 2}
    object.__setattr__(own, "aliases", {"n01": 0, "n02": 1, "n03": 2})
    assert matched_classes(own, named(["n03", "n02", "n01"], [0, 1, 2]), by="name") == {0: 2, 1: 1, 2: 0}


@pytest.mark.parametrize(
    ("names", "labels", "by", "message"),
    [
        (["cat", "dogs"], [0, 1], "name", "no class in arrays 'dog'; did you mean 'dogs'? (or give match = 'index'"),
        (["cat", "dog"], [0, 0], "name", "class 'dog' has no images in arrays (all)"),
        (["cat"], [0], "index", "class 1 of arrays ('dog') has no counterpart in arrays: no such index"),
        (["dog", "cat"], [0, 1], "index", "class 0 of arrays is 'cat', which in arrays is class 1; match them by name"),
    ],
)
def test_classes_that_do_not_match_are_refused(names, labels, by, message):
    with pytest.raises(DataError, match=re.escape(message)):
        matched_classes(named(["cat", "dog"], [0, 1]), named(names, labels), by=by)


def test_a_foreign_class_with_the_name_of_a_known_one_is_refused(finished):
    known = {"source": "digits", "classes": [1, 2]}
    with pytest.raises(DataError, match=r"class '1' of digits is known to the networks by that name; leave it out"):
        drawn(finished[0], ood=[known])
    loaded = [{"source": "small:cnn", "weights": "absent.safetensors"}]
    with pytest.raises(DataError, match=r"class '2' of digits is known"):  # as it may be to a network that is loaded
        drawn(finished[0], ood=[{**known, "classes": [2, 3]}], models=loaded)


def test_more_images_to_measure_leave_accuracy_on_the_other_dataset_alone(finished):
    more = {**tiny.raw()["data"], "geometry": {"images_per_class": 13}}
    models = tiny.raw()["models"][:1]  # untrained, so that no training images change
    before, after = (
        {kind: {unit.key for unit in tiny.of_kind(tiny.planned(study, finished[0]), kind)} for kind in ("shift", "ood")}
        for study in (
            tiny.study(**tiny.OTHERS, models=models),
            tiny.study(**tiny.OTHERS, data=more, models=models),
        )
    )
    assert before["shift"] == after["shift"]
    assert not before["ood"] & after["ood"]


def test_images_of_another_size_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "large.npz", images=rng.random((6, 12, 12), dtype=np.float32), labels=np.zeros(6, dtype=int))
    module = tmp_path / "own.py"
    module.write_text(
        "import torch\n"
        "def make():\n"
        "    torch.manual_seed(0)\n"
        "    pool = torch.nn.AdaptiveAvgPool2d(4)\n"
        "    return torch.nn.Sequential(pool, torch.nn.Flatten(), torch.nn.Linear(16, 10))\n"
    )
    models = [{"name": "own", "source": f"python:{module}:make", "channels": 1}]
    plan = {"name": "large", "source": "arrays", "root": str(tmp_path / "large.npz")}
    study = tiny.study(models=models, layers=["penultimate"], ood=[plan])
    store = Store(tmp_path / "run")
    store.prepare()
    context = tiny.context_of(study, store)
    with pytest.raises(DataError, match="reach own with 12 x 12 pixels, those of the study with 8 x 8"):
        tiny.of_kind(tiny.planned(study, store), "ood")[0].compute(context, lambda _: None)
