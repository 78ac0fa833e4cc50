"""Points in files of many formats: the same manifolds, or one sentence that says what is wrong."""

from __future__ import annotations

import doctest
import importlib
import pickle
import pkgutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
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


def table(path: Path, **columns: Any) -> Path:
    path.write_text(pl.DataFrame(columns).write_csv(separator="\t" if path.suffix == ".tsv" else ","))
    return path


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("trial", [0, 1, 2, 3]),
        ("anything", [1, 2, 3, 4]),
        ("subject_id", [7, 7, 9, 9]),
        ("ID", [4.0, 9.0, 2.0, 6.0]),
        ("stimulus", [1, 2, 1, 2]),
    ],
)
def test_a_column_that_numbers_rows_or_trials_is_warned_of_and_can_be_left_out(
    name: str, values: list[float], tmp_path: Path
) -> None:
    path = table(tmp_path / "p.csv", **{name: values, "n0": [0.5, 1.0, 2.0, 7.5], "n1": [3, 1, 4, 4]})
    with pytest.warns(UserWarning, match=rf"p\.csv: column '{name}' looks like .*: --without {name}"):
        (whole,) = load_points(path)
    assert whole.n_features == 3
    (rest,) = load_points(path, without=[name])
    assert rest.points.tolist() == [[0.5, 3], [1, 1], [2, 4], [7.5, 4]]


def test_counts_of_spikes_are_not_warned_of(tmp_path: Path) -> None:
    (whole,) = load_points(table(tmp_path / "p.csv", n1=[3, 0, 1, 1], unit2=[0, 2, 1, 3], side=[0.5, 1.5, 2.5, 3.5]))
    assert whole.n_features == 3


def test_what_is_left_out_must_be_there_and_be_no_label(tmp_path: Path) -> None:
    path = table(tmp_path / "p.tsv", trial=["a", "b"], n0=[0.5, 1.0], label=["x", "y"])
    assert [each.name for each in load_points(path, without=["trial"])] == ["x", "y"]
    (one,) = load_points(path, without=["trial", "label"])
    assert one.n_points == 2
    with pytest.raises(DataError, match="there is no column 'trail'; did you mean 'trial'"):
        load_points(path, without=["trail"])
    with pytest.raises(DataError, match="'label' is to be left out and to hold the labels"):
        load_points(path, "label", without=["label"])
    with pytest.raises(DataError, match="no column beside 'trial', 'n0', 'label'; expected one column per feature"):
        load_points(path, without=["trial", "n0", "label"])
    np.save(tmp_path / "p.npy", np.eye(3))
    with pytest.raises(DataError, match=r"p\.npy is an array, whose columns have no names; leave out without=trial"):
        load_points(tmp_path / "p.npy", without=["trial"])


def test_a_number_that_is_missing_is_named_by_its_row_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text('n0,label,n1\n1,a,2\n\n3,"b\nb",4\n5,a,nan\n7,a,8\n9,b,\n')
    with pytest.raises(DataError, match=r"2 of 5 points hold .* row 6 of the file, in column 'n1'\); leave such rows"):
        load_points(tmp_path / "p.csv")
    pl.DataFrame({"n0": [1.0, 2.0, None], "label": ["a", "b", "a"]}).write_parquet(tmp_path / "p.parquet")
    with pytest.raises(DataError, match="row 3 of the file, in column 'n0'"):
        load_points(tmp_path / "p.parquet")
    points = np.ones((5, 2))
    points[3, 1] = np.inf
    np.savez(tmp_path / "p.npz", points=points, label=[1, 2, 1, 2, 1])
    with pytest.raises(GeometryError, match=r"1 of 5 points hold .* \(the first is point 4, counted from 1"):
        load_points(tmp_path / "p.npz")
