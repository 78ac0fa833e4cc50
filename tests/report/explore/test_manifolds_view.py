"""Points in the page: packed so that they can be unpacked, bounded, and saying what is left out."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from made_points import class_points
from PIL import Image

from manifoldscope.pictures import Picture
from manifoldscope.report.contents import gather
from manifoldscope.report.explore.selection import Selection
from manifoldscope.report.explore.view import VIEWS, WEB, Explored
from manifoldscope.report.explore.views import manifolds as view


def page(pictures, *, models=("net",), layers=("a",), classes=(2, 3, 5, 8), names=None):
    selection = Selection(models, layers, (), (), tuple(classes), tuple(names or map(str, classes)))
    return Explored(gather({}, {}, pictures), selection)


def unpacked(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype)


def thumbnails(n, side=6, channels=1, model="net"):
    pixels = np.random.default_rng(0).integers(0, 256, (n, side, side, channels))
    return Picture("thumbnails", {"model": model}, {"thumbnails": pixels})


def test_points_come_back_out_of_their_packing():
    _, picture = class_points(n_features=7, d=5)
    data = view.manifolds(page([picture, thumbnails(46)]))
    network = data["networks"]["0"]
    layer = network["layers"]["0"]
    n, d = network["n"], layer["d"]
    assert (n, d, layer["n_features"]) == (46, 5, 7)
    positions = {2: 0, 3: 1, 5: 2, 8: 3}
    labels = picture.arrays["label"]
    assert unpacked(network["label"], "<i2").tolist() == [positions[int(index)] for index in labels]
    for name in ("clean", "adversarial"):
        found = unpacked(layer[name], "<i2").reshape(n, d) * np.array(layer["step"])
        np.testing.assert_allclose(found, picture.arrays[name], atol=0.51 * max(layer["step"]))
    assert (
        unpacked(network["adversarial_prediction"], "<i4").tolist() == picture.arrays["adversarial_prediction"].tolist()
    )
    np.testing.assert_allclose(unpacked(network["margin"], "<f4"), picture.arrays["margin"], rtol=1e-6)
    assert network["attack"] == "PGD ε = 0.1"
    assert data["left_out"] == ""
    assert network["start"] == [int(place) for place in view.LayerPoints.of(picture).telling()]


def test_thumbnails_are_cut_out_of_one_picture_that_networks_share():
    _, picture = class_points(n_features=4, d=4)
    other = Picture("points", {**picture.names, "model": "two"}, picture.arrays)
    small = thumbnails(46)
    data = view.manifolds(page([picture, other, small, thumbnails(46, model="two")], models=("net", "two")))
    assert [data["networks"][key]["atlas"] for key in ("0", "1")] == [0, 0]
    (atlas,) = data["atlases"]
    head, text = atlas["uri"].split(",")
    assert head == "data:image/png;base64"
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
    row, column = divmod(45, atlas["columns"])
    tile = sheet[row * 6 : row * 6 + 6, column * 6 : column * 6 + 6]
    assert (tile == small.arrays["thumbnails"][45, :, :, 0]).all()


def test_classes_that_are_not_in_the_page_have_no_images_but_are_counted_in_no_share():
    _, picture = class_points(n_features=4, d=4)
    data = view.manifolds(page([picture], classes=(3, 8, 9)))
    network = data["networks"]["0"]
    assert network["classes"] == [-1, 0, -1, 1]
    assert set(unpacked(network["label"], "<i2").tolist()) == {0, 1}
    assert -1 not in network["start"]
    assert network["atlas"] is None


def test_without_an_attack_there_is_nothing_to_move():
    _, picture = class_points(n_features=4, d=4)
    names = {**picture.names, "attack": None, "strength": None}
    arrays = {name: a for name, a in picture.arrays.items() if not name.startswith("adversarial")}
    data = view.manifolds(page([Picture("points", names, arrays)]))
    network = data["networks"]["0"]
    assert network["attack"] is None
    assert network["adversarial_prediction"] is network["layers"]["0"]["adversarial"] is None


def test_without_points_there_is_nothing():
    assert view.manifolds(page([])) is None
    entry = VIEWS["manifolds"]
    assert entry.traits["missing"]
    assert (WEB / "views" / entry.traits["script"]).exists()


@pytest.mark.parametrize(("models", "layers", "n_classes", "per_class"), [(12, 4, 60, 33), (1, 4, 10, 200)])
def test_whatever_there_is_the_page_stays_small_and_says_what_it_leaves_out(models, layers, n_classes, per_class):
    counts = [per_class] * n_classes
    _, picture = class_points(n_features=24, d=24, counts=counts, first=0)
    names = [f"n{place}" for place in range(models)]
    depth = [f"l{place}" for place in range(layers)]
    pictures = [
        Picture("points", {**picture.names, "model": model, "layer": layer}, picture.arrays)
        for model in names
        for layer in depth
    ]
    pictures += [thumbnails(sum(counts), side=18, channels=3, model=model) for model in names]
    data = view.manifolds(page(pictures, models=tuple(names), layers=tuple(depth), classes=range(1000)))
    assert len(json.dumps(data)) < 1_500_000
    assert f"points of {n_classes} of 1000 classes" in data["left_out"]
    if models == 12:
        assert "6 of the 24 axes" in data["left_out"]
        assert "images of each class" in data["left_out"]
    assert sum(len(atlas["uri"]) for atlas in data["atlases"]) <= view.MOST_PICTURE_BYTES
