"""Points in files of many formats: the same manifolds, or one sentence that says what is wrong."""

from __future__ import annotations

import doctest
import importlib
import pickle
import pkgutil
from pathlib import Path

import numpy as np
import pytest

import manifoldscope.recordings
from manifoldscope.errors import DataError, GeometryError
from manifoldscope.recordings import load_points

MODULES = [f"recordings.{module.name}" for module in pkgutil.iter_modules(manifoldscope.recordings.__path__)]


@pytest.mark.parametrize("module", [*MODULES, "api", "footers", "frames"])
def test_the_examples_in_the_docstrings_run(module: str) -> None:
    assert doctest.testmod(importlib.import_module(f"manifoldscope.{module}")).failed == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_recordings_become_manifolds(tmp_path: Path, dtype: type) -> None:
    points = np.arange(30).reshape(6, 5).astype(dtype)
    np.save(tmp_path / "p.npy", points)
    np.save(tmp_path / "l.npy", np.array(["face", "house", "face", "face", "house", "face"]))
    (whole,) = load_points(tmp_path / "p.npy")
    assert (whole.label, whole.n_points, whole.n_features) == (-1, 6, 5)
    faces, houses = load_points(tmp_path / "p.npy", tmp_path / "l.npy")
    assert (faces.name, faces.label, houses.name, houses.label) == ("face", 0, "house", 1)
    np.testing.assert_array_equal(houses.points.numpy(), points[[1, 4]])
    np.savez(tmp_path / "p.npz", points=points, labels=[7, 7, 7, 3, 3, 3])
    assert [m.label for m in load_points(tmp_path / "p.npz")] == [3, 7]


def test_points_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.full((3, 2), np.nan))
    with pytest.raises(GeometryError, match=r"p\.npy: 3 of 3 points hold NaN"):
        load_points(tmp_path / "p.npy")
    np.save(tmp_path / "p.npy", np.ones((3, 2)))
    np.save(tmp_path / "l.npy", np.ones(4))
    with pytest.raises(DataError, match="one whole number or text for each of the 3 points"):
        load_points(tmp_path / "p.npy", tmp_path / "l.npy")
    np.savez(tmp_path / "q.npz", data=np.ones(3))
    with pytest.raises(DataError, match="no array `points`; it has: data"):
        load_points(tmp_path / "q.npz")
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object))
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps([1]))
    for name in ("o.npy", "pickle.npy"):
        with pytest.raises(DataError, match="pickled objects, which could run code"):
            load_points(tmp_path / name)
    with pytest.raises(DataError, match="no such file"):
        load_points(tmp_path / "gone.npy")


def test_labels_are_whole_numbers_or_text_of_any_kind(tmp_path: Path) -> None:
    points = np.arange(12.0).reshape(4, 3)
    for labels, names in (
        (np.array([3, 1, 3, 1], ">i2"), ["1", "3"]),
        (np.array([2**63, 1, 2**63, 1], np.uint64), ["1", str(2**63)]),
        (np.array(["é", "a", "é", "a"]).astype(">U3"), ["a", "é"]),
        (np.array(["é".encode(), b"a", "é".encode(), b"a"]), ["a", "é"]),
    ):
        np.save(tmp_path / "l.npy", labels)
        np.save(tmp_path / "p.npy", np.asfortranarray(points.astype(">f4")))
        found = load_points(tmp_path / "p.npy", tmp_path / "l.npy")
        assert [each.name for each in found] == names
        assert found[1].points.tolist() == points[[0, 2]].tolist()
    for labels in (
        np.array([b"\xff"] * 4),
        np.array(["\ud800"] * 4),
        np.full(4, 1.0),
        np.full(4, 1j),
        np.full(4, True),
    ):
        np.save(tmp_path / "l.npy", labels)
        with pytest.raises(DataError, match=r"a label is no text|one whole number or text"):
            load_points(tmp_path / "p.npy", tmp_path / "l.npy")
