"""Draws share no image, and the size of one does not move the others while a class has enough images for all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from manifoldscope.errors import DataError
from manifoldscope.study import Store
from manifoldscope.study.draws import draw_images, too_few
from tests.study import tiny

ROLES = ("robustness", "geometry", "training")
SIZES = {"robustness": 10, "geometry": 12, "training": 20}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = Store(tmp_path_factory.mktemp("draws"))
    made.prepare()
    return made


def drawn(store, **sizes):
    data = {"source": "digits", "classes": [1, 4]}
    data |= {role: {"images_per_class": n} for role, n in {**SIZES, **sizes}.items() if n is not None}
    return draw_images(tiny.study(data=data), store)


def names(draw, label=None):
    return list((draw.images if label is None else draw.images.of_class(label)).names)


@pytest.mark.parametrize("role", ROLES)
def test_a_larger_draw_begins_with_the_smaller_one_and_leaves_the_others_as_they_are(store, role):
    small, large = drawn(store), drawn(store, **{role: 45})
    for other in ROLES:
        for label in (1, 4):
            before, after = names(small[other], label), names(large[other], label)
            assert after[: len(before)] == before
            assert len(after) == (45 if other == role else SIZES[other])
        assert (small[other].digest == large[other].digest) is (other != role)


@pytest.mark.parametrize("sizes", [*itertools.product((1, 60, 110), (2, 60), (1, 60)), (60, 60, None), (5, 170, 1)])
def test_no_two_draws_share_an_image_whatever_their_sizes(store, sizes):
    found = [set(names(each)) for each in drawn(store, **dict(zip(ROLES, sizes, strict=True))).values()]
    assert all(not one & other for one, other in itertools.combinations(found, 2))
    assert len(found) == 3
    assert all(found)


def test_where_a_class_has_too_few_the_images_to_attack_come_first_and_what_lacks_any_is_said(store):
    with pytest.raises(
        DataError, match=r"data\.training: class '1' .* has 0 readable images left .*\(182 of its images"
    ):
        drawn(store, robustness=170, geometry=100)
    found = drawn(store, robustness=120, geometry=50, training=60)
    sizes = [[len(names(found[role], label)) for role in ROLES] for label in (1, 4)]
    assert sizes == [[120, 50, 12], [120, 50, 11]]


def test_more_images_to_attack_recompute_no_geometry_and_no_training(store):
    def keys(n):
        raw = tiny.raw()
        raw["data"]["robustness"]["images_per_class"] = n
        units = tiny.planned(tiny.parse(raw), store)
        kinds = ("train", "geometry", "attack")
        return {kind: {unit.key for unit in units if unit.kind == kind} for kind in kinds}

    few, many = keys(25), keys(60)
    assert few["geometry"] == many["geometry"]
    assert few["train"] == many["train"]
    assert few["attack"] < many["attack"]


def test_an_image_that_cannot_be_read_is_replaced_by_the_next_in_the_order(tmp_path):
    rng = np.random.default_rng(0)
    for place in range(12):
        (tmp_path / "images" / "cat").mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / "cat" / f"{place}.png")
    data = {"source": "folder", "root": str(tmp_path / "images")}
    data |= {"robustness": {"images_per_class": 4}, "geometry": {"images_per_class": 4}}
    study = tiny.study(data=data, models=tiny.raw()["models"][:1])

    def found(at):
        store = Store(tmp_path / at)
        store.prepare()
        draws = draw_images(study, store)
        skipped = {role: store.table(each.unit, "skipped_images")["image"].to_list() for role, each in draws.items()}
        return {role: names(each) for role, each in draws.items()}, skipped

    whole, nothing = found("whole")
    assert nothing == {"robustness": [], "geometry": []}
    broken = whole["geometry"][1]
    (tmp_path / "images" / broken).write_bytes(b"no image")
    left, skipped = found("broken")
    assert skipped == {"robustness": [], "geometry": [broken]}
    assert left["robustness"] == whole["robustness"]
    assert left["geometry"][:3] == [name for name in whole["geometry"] if name != broken]
    assert len(set(left["geometry"])) == 4
    assert not set(left["geometry"]) & {broken, *left["robustness"]}


def test_more_classes_than_there_are_are_refused_with_what_can_be_given(store):
    for n in (0, 11):
        with pytest.raises(
            DataError, match=f'data.classes: {n} classes .* has 10 .*; give a number from 1 .*, or "all"'
        ):
            draw_images(tiny.study(data={"source": "digits", "classes": n}), store)
    with pytest.raises(DataError, match=r"data\.classes: there is no class in digits 'seven'"):
        draw_images(tiny.study(data={"source": "digits", "classes": ["seven"]}), store)


def test_classes_with_fewer_images_than_asked_for_are_named(store):
    def said(**changes):
        data = {"source": "digits", "classes": [1, 4], "robustness": {"images_per_class": 100}}
        study = tiny.study(data=data | {"geometry": {"images_per_class": 82}}, **changes)
        return list(too_few(study, draw_images(study, store)))

    models = tiny.raw()["models"][:1]
    assert said(models=models) == ["data.geometry: 1 of 2 classes has fewer than the 82 images asked for; '4' has 81"]
    assert said(models=models, sampling={"equal_sizes": True}) == []
