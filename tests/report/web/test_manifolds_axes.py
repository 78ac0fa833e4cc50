"""The page's own principal axes agree with those of Python, and with a rotation that is known."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from made_points import INDICES, class_points

from manifoldscope.report.contents import gather
from manifoldscope.report.explore.selection import Selection
from manifoldscope.report.explore.view import WEB, Explored
from manifoldscope.report.explore.views.manifolds import manifolds
from manifoldscope.report.shared_axes import LayerPoints

CHOSEN = ([0, 1], [3, 0, 2], [0, 1, 2, 3])


def run(script: str, folder: Path, *arguments: str):
    """What a module prints as JSON."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("the scripts of the report are tested with Node.js")
    path = folder / "script.mjs"
    path.write_text(script, encoding="utf-8")
    found = subprocess.run([node, str(path), *arguments], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def copied(folder: Path) -> Path:
    """The scripts under names by which Node takes them for modules."""
    (folder / "package.json").write_text('{"type": "module"}')
    shutil.copytree(WEB, folder / "web", ignore=shutil.ignore_patterns("*.css", "__pycache__"))
    return folder


@pytest.mark.parametrize("d", [4, 9])
def test_axes_shares_and_coordinates_are_those_of_python(tmp_path, d):
    full, picture = class_points(n_features=9, d=d)
    selection = Selection(("net",), ("a",), (), (), INDICES, tuple(map(str, INDICES)))
    data = manifolds(Explored(gather({}, {}, [picture]), selection))
    folder = copied(tmp_path)
    (folder / "data.json").write_text(json.dumps(data))
    script = """
import { readFileSync } from "node:fs";
import { classesShown, pointsOf, sharedAxes, within } from "./web/manifolds_axes.js";
const network = JSON.parse(readFileSync(process.argv[2], "utf-8")).networks["0"];
const points = pointsOf(network, network.layers["0"]);
const found = JSON.parse(process.argv[3]).map((chosen) => {
  const axes = sharedAxes(points, chosen);
  const rows = [...points.label.keys()].filter((row) => chosen.includes(points.label[row]));
  return { ...axes, clean: [...within(points, axes, rows, points.clean)] };
});
const shown = [[], [1], [2, 0], [9, 3]].map((chosen) => classesShown(points, chosen, network.start));
console.log(JSON.stringify({ found, shown, start: network.start }));
"""
    made = run(script, folder, str(folder / "data.json"), json.dumps(CHOSEN))
    points = LayerPoints.of(picture)
    for chosen, found in zip(CHOSEN, made["found"], strict=True):
        expected = points.shared_axes(chosen)
        np.testing.assert_allclose(found["shares"], expected.shares, rtol=1e-5)
        assert found["spanned"] == pytest.approx(expected.spanned, rel=1e-5)
        np.testing.assert_allclose(found["axes"], expected.axes, atol=1e-4)
        rows = np.isin(points.place, chosen)
        coordinates = (picture.arrays["clean"][rows] - expected.centre) @ expected.axes.T
        np.testing.assert_allclose(np.reshape(found["clean"], (-1, 3)), coordinates, atol=2e-3)
    if d == 9:  # all features are kept: the axes are those of the points themselves
        together = full[np.isin(points.place, [0, 1])]
        values = np.linalg.svd(together - together.mean(0), compute_uv=False) ** 2
        np.testing.assert_allclose(made["found"][0]["shares"], values[:3] / values.sum(), rtol=1e-5)
    assert made["shown"][0] == made["start"]
    assert made["shown"][1] == [1, points.nearest(1)[0]]
    assert made["shown"][2] == [2, 0]
    assert made["shown"][3] == [3, points.nearest(3)[0]]


def test_turning_keeps_a_rotation_and_places_points_where_they_belong(tmp_path):
    script = """
import { between, placed, turned } from "./web/manifolds_scene.js";
const one = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
let many = one;
for (let i = 0; i < 500; i += 1) many = turned(many, 0.3, -0.2);
const look = { rotation: turned(one, Math.PI / 2, 0), zoom: 2, share: 0, paths: true, ring: [1, 1, 1] };
const cloud = { before: [0, 0, 0, 1, 2, 3], after: [0, 0, 0, 3, 2, 1], shapes: [0, 0] };
const still = { ...look, rotation: one };
const found = { many, right: placed(look, [0, 0, 0.5]), still: placed(still, [0.5, 0.25, 0]) };
found.near = placed(still, [0.5, 0, 0.5])[0];
found.half = between(cloud, 1, 0.5);
console.log(JSON.stringify(found));
"""
    found = run(script, copied(tmp_path))
    many = np.array(found["many"])
    np.testing.assert_allclose(many @ many.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(many) == pytest.approx(1)
    x, y, z = found["right"]  # what was in front stands at the right
    assert x > 0.5
    assert (y, z) == (pytest.approx(0), pytest.approx(0))
    assert found["still"][0] == pytest.approx(2 * found["still"][1])
    assert found["near"] > found["still"][0]
    assert found["half"] == [2, 2, 2]
