"""Points that are kept to be looked at: their axes, what shares of variance are told from, and what is attacked."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from manifoldscope.geometry import ClassManifold
from manifoldscope.study import Store, run_units
from manifoldscope.study.kinds import points as kept
from manifoldscope.study.progress import Progress
from manifoldscope.vision.activations import activations
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network
from tests.study import tiny

QUIET = Progress(quiet=True)
CLASSES = (1, 4, 7)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The tiny study with two layers and points of seven images of each class; tests only read it."""
    store = Store(tmp_path_factory.mktemp("points"))
    study = tiny.study(points={"images_per_class": 7, "axes": 5})
    outcome = run_units(study, store, progress=QUIET)
    assert outcome.failed == {}
    return study, store, tiny.of_kind(outcome.units, "points")


@pytest.fixture(scope="module")
def looked_at(finished):
    """The unit of the trained network, its arrays, and the images that it kept."""
    study, store, units = finished
    unit = next(unit for unit in units if unit.network.name == "adversarial")
    context = tiny.context_of(study, store)
    drawn = context.draws["robustness"].images
    rows = [(drawn.labels == label).nonzero().flatten().tolist() for label in CLASSES]
    images = drawn.subset([row for some in rows for row in [some[round(k * 9 / 6)] for k in range(7)]])
    return unit, store.arrays(unit), images, context.network("adversarial")


def test_points_are_evenly_spaced_images_of_each_class(looked_at):
    _, arrays, images, _ = looked_at
    assert arrays["label"].tolist() == [label for label in CLASSES for _ in range(7)]
    assert arrays["label"].tolist() == images.labels.tolist()


def test_coordinates_are_those_of_the_principal_axes_of_all_clean_points(looked_at):
    unit, arrays, images, network = looked_at
    for place, layer in enumerate(unit.layers):
        points = np.concatenate([m.points.double().numpy() for m in activations(network, images, layers=[layer])])
        centred = points - points.mean(0)
        left, values, _ = np.linalg.svd(centred, full_matrices=False)
        expected = left[:, :5] * values[:5]
        found = arrays[f"clean/{place}"]
        signs = np.sign((found * expected).sum(0))
        assert found.shape == (21, 5)
        np.testing.assert_allclose(found * signs, expected, atol=1e-4 * values[0])


def test_the_total_variance_of_any_classes_follows_from_what_is_kept(looked_at):
    unit, arrays, images, network = looked_at
    points = [m.points.double().numpy() for m in activations(network, images, layers=[unit.layers[0]])]
    variance, distances = arrays["variance/0"], arrays["distances/0"]
    for chosen in ([0, 1], [0, 2], [0, 1, 2]):
        together = np.concatenate([points[place] for place in chosen])
        weight = np.full(len(chosen), 1 / len(chosen))
        told = weight @ variance[chosen] + weight @ distances[np.ix_(chosen, chosen)] @ weight / 2
        assert told == pytest.approx(((together - together.mean(0)) ** 2).sum() / len(together), rel=1e-5)


def test_the_attack_is_that_of_the_units_of_the_attack(finished, looked_at):
    study, store, _ = finished
    unit, arrays, images, _ = looked_at
    assert (unit.attack.name, unit.attack.strength) == ("pgd", 0.1)
    attacks = [each for each in tiny.of_kind(tiny.planned(study, store), "attack") if each.network == unit.network]
    tables = [store.table(each, "outcomes") for each in attacks if each.attack.strength == 0.1]
    outcomes = pl.concat(tables).select("image", "last_prediction", "clean_prediction", "label")
    rows = {row["image"]: row for row in outcomes.iter_rows(named=True)}
    predictions = [rows[name]["last_prediction"] for name in images.names]
    assert arrays["adversarial_prediction"].tolist() == predictions
    assert arrays["prediction"].tolist() == [rows[name]["clean_prediction"] for name in images.names]


def test_where_a_study_stops_at_any_iterate_so_do_its_points(tmp_path):
    attacks = [{"kind": "pgd", "epsilons": [0.05, 0.2], "steps": 8, "iterate": "any", "sweep": "reuse"}]
    store, models = Store(tmp_path), tiny.raw()["models"][1:]
    study = tiny.study(attacks=attacks, models=models, points={"images_per_class": 10})
    outcome = run_units(study, store, progress=QUIET)
    assert outcome.failed == {}
    (unit,) = tiny.of_kind(outcome.units, "points")
    assert (unit.iterate, unit.attack.strength) == ("any", 0.05)
    arrays, drawn = store.arrays(unit), tiny.context_of(study, store).draws["robustness"].images
    tables = [store.table(each, "outcomes") for each in tiny.of_kind(outcome.units, "attack")]
    robust = dict(pl.concat(tables).filter(pl.col("strength") == 0.05).select("image", "robust_any").iter_rows())
    found = dict(zip(drawn.names, (arrays["adversarial_prediction"] == arrays["label"]).tolist(), strict=True))
    assert found == robust
    assert 0 < sum(robust.values()) < len(robust)


def test_only_images_that_are_classified_correctly_move(finished):
    _, store, units = finished
    for unit in units:
        arrays = store.arrays(unit)
        moved = np.abs(arrays["adversarial/1"] - arrays["clean/1"]).max(1) > 1e-4 * np.abs(arrays["clean/1"]).max()
        correct = arrays["prediction"] == arrays["label"]
        assert not moved[~correct].any()
        assert moved[correct].all()
        assert (np.sign(arrays["margin"]) == np.where(correct, 1, -1)).all()


def test_the_share_of_displacements_within_the_axes_is_that_of_their_squared_lengths():
    points = torch.tensor([[-3.0, 0.0], [3.0, 0.0], [0.0, 0.1], [0.0, -0.1]])
    found = kept._Coordinates.of([ClassManifold(points[:2], label=0, layer="a"), ClassManifold(points[2:], label=1)], 1)
    found.move(points[:2], points[:2] + torch.tensor([[1.0, 2.0], [0.0, 0.0]]))  # 1 of 5 along the axis
    assert found.facts["moved_within"] == pytest.approx(0.2)
    found.move(points[2:], points[2:] + torch.tensor([[2.0, 0.0], [0.0, 1.0]]))  # 5 of 10
    assert found.facts["moved_within"] == pytest.approx(0.5)
    assert found.arrays(attacked=True)["adversarial"].abs().flatten().tolist() == pytest.approx([2, 3, 2, 0])


def test_pictures_name_layers_classes_and_the_attack(finished):
    _, store, units = finished
    pictures = list(units[0].pictures(store))
    assert [picture.of for picture in pictures] == ["points", "points", "thumbnails"]
    assert [picture.names["layer"] for picture in pictures[:2]] == ["flatten", "penultimate"]
    assert pictures[0].names["class_names"] == {1: "1", 4: "4", 7: "7"}
    assert pictures[0].arrays["clean"].shape == pictures[0].arrays["adversarial"].shape == (21, 5)
    assert pictures[2].arrays["thumbnails"].shape == (21, 8, 8, 1)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("pgd", 0.1)),
        ({"attacks": [{"kind": "pgd", "epsilons": [0, 0.4, 0.1, 0.3, 0.2], "steps": 2}]}, ("pgd", 0.2)),
        ({"attacks": [{"kind": "pgd", "epsilons": [0.1, 0.3, 0.2], "steps": 2, "name": "mine"}]}, ("mine", 0.2)),
        (
            {"attacks": [{"kind": "noise", "epsilons": [0.3]}, {"kind": "fgsm", "epsilons": [0.1]}]},
            ("fgsm", 0.1),
        ),
        ({"attacks": [{"kind": "noise", "epsilons": [0.3]}]}, None),
        ({"attacks": [{"kind": "pgd", "epsilons": [0], "steps": 2}]}, None),
        ({"attacks": []}, None),
    ],
)
def test_the_attack_is_the_first_with_gradients_at_a_middle_strength(changes, expected, tmp_path):
    store = Store(tmp_path)
    store.prepare()
    units = tiny.of_kind(tiny.planned(tiny.study(**changes), store), "points")
    found = {None if unit.attack is None else (unit.attack.name, unit.attack.strength) for unit in units}
    assert found == {expected}


def test_without_an_attack_clean_points_alone_are_kept(tmp_path):
    store = Store(tmp_path)
    outcome = run_units(tiny.study(attacks=[], models=tiny.raw()["models"][:1]), store, progress=QUIET)
    (unit,) = tiny.of_kind(outcome.units, "points")
    assert outcome.failed == {}
    assert not {"adversarial/0", "adversarial_prediction"} & set(store.arrays(unit))
    assert next(iter(unit.pictures(store))).names["attack"] is None


def test_a_study_can_leave_them_out_and_one_without_measures_has_none(tmp_path):
    store = Store(tmp_path)
    store.prepare()
    for changes in ({"points": {"images_per_class": 0}}, {"measures": []}):
        assert tiny.of_kind(tiny.planned(tiny.study(**changes), store), "points") == []


def test_layers_whose_positions_are_points_are_passed_over(tmp_path):
    store = Store(tmp_path)
    store.prepare()
    layers = [{"name": "features.0", "pool": "positions"}, "penultimate"]
    units = tiny.of_kind(tiny.planned(tiny.study(layers=layers), store), "points")
    assert {unit.layers for unit in units} == {("penultimate",)}
    assert tiny.of_kind(tiny.planned(tiny.study(layers=layers[:1]), store), "points") == []


def test_how_much_is_kept_is_bounded(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.prepare()
    monkeypatch.setattr(kept, "MOST_IMAGES", 10)
    monkeypatch.setattr(kept, "MOST_CLASSES", 2)
    monkeypatch.setattr(kept, "MOST_LAYERS", 1)
    (unit, _) = tiny.of_kind(tiny.planned(tiny.study(), store), "points")
    assert [each.index for each in unit.images] == [1, 7]
    assert unit.images_per_class == 5
    assert unit.layers == ("penultimate",)


@pytest.mark.parametrize(
    ("items", "most", "expected"),
    [(range(7), 3, [0, 3, 6]), (range(4), 9, [0, 1, 2, 3]), (range(5), 1, [4]), (range(20), 4, [0, 6, 13, 19])],
)
def test_items_are_evenly_spaced(items, most, expected):
    assert kept.evenly(items, most) == expected


def test_classes_are_attacked_together_up_to_a_bound():
    labels = torch.tensor([0] * 4 + [1] * 4 + [2] * 4 + [5] * 9)
    assert kept._blocks(labels, 8) == [8, 4, 9]


def test_thumbnails_are_small_and_bounded(monkeypatch):
    network = Network(torch.nn.Flatten(), mean=(0.0,) * 3, std=(1.0,) * 3)
    images = ImageSet.of(torch.full((6, 3, 80, 40), 0.5), [0] * 6)
    small = kept.thumbnails(network, images)
    assert small.shape == (6, 32, 16, 3)
    assert set(small.flatten().tolist()) == {128}
    monkeypatch.setattr(kept, "THUMBNAIL_BYTES", 6 * 3 * 8 * 4)
    assert kept.thumbnails(network, images).shape == (6, 8, 4, 3)


def test_the_cheapest_attack_is_looked_at_on_half_of_the_images(tmp_path):
    store = Store(tmp_path)
    store.prepare()
    attacks = [{"kind": "autoattack", "epsilons": [0.1]}, *tiny.raw()["attacks"]]
    data = {**tiny.raw()["data"], "robustness": {"images_per_class": 30}}
    (unit, _) = tiny.of_kind(tiny.planned(tiny.study(attacks=attacks, data=data), store), "points")
    assert (unit.attack.name, unit.images_per_class) == ("pgd", 15)
