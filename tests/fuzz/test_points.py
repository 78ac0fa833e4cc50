"""Mutated files of points: measured, or refused in one sentence; never a foreign error, much memory or a long wait."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy.io import savemat

from manifoldscope.cli import main
from manifoldscope.errors import DataError, GeometryError
from manifoldscope.geometry import ClassManifold
from manifoldscope.recordings import load_points, save_manifolds
from tests.fuzz.mutate import budget, mutations

POINTS = np.random.default_rng(0).standard_normal((8, 3))
LABELS = np.array(["left", "right"] * 4)


def write(path: Path) -> None:
    match path.suffix:
        case ".npy":
            np.save(path, POINTS)
        case ".npz" if path.stem == "compressed":
            np.savez_compressed(path, points=POINTS.astype(np.float32), labels=LABELS)
        case ".npz":
            np.savez(path, points=POINTS.astype(np.float32), labels=LABELS)
        case ".csv":
            table().write_csv(path)
        case ".parquet":
            table().write_parquet(path)
        case ".mat" if path.stem == "v73":
            write_73(path)
        case ".mat":
            cells = LABELS.astype(object)[:, None]
            savemat(path, {"points": POINTS, "labels": cells}, do_compression=path.stem == "compressed")
        case _:
            save_manifolds(path, [ClassManifold(torch.from_numpy(POINTS), label=1, name="left")])


def table() -> pl.DataFrame:
    return pl.DataFrame({f"n{place}": POINTS[:, place] for place in range(3)} | {"label": LABELS})


def write_73(path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="files of MATLAB 7.3 need the extra recordings")
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("points", data=POINTS.T, chunks=(3, 4), compression="gzip")
        file.create_dataset("labels", data=np.array([[ord(letter)] for letter in "abababab"], np.uint16).T)
        for name, kind in (("points", b"double"), ("labels", b"uint16")):
            file[name].attrs["MATLAB_class"] = np.bytes_(kind)
    path.write_bytes(b"MATLAB 7.3".ljust(126) + b"IM" + path.read_bytes()[128:])


@pytest.mark.parametrize(
    "name",
    [
        "plain.npy",
        "plain.npz",
        "compressed.npz",
        "saved.safetensors",
        "plain.csv",
        "plain.parquet",
        "plain.mat",
        "compressed.mat",
        "v73.mat",
    ],
)
def test_points_are_loaded_or_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path)
    whole = path.read_bytes()
    refused = 0
    tracemalloc.start()
    for content in mutations(whole, budget(75), seed=1):
        path.write_bytes(content)
        began = time.perf_counter()
        try:
            found = load_points(path)
        except (DataError, GeometryError) as error:
            found, sentence = [], str(error)
            refused += 1
        else:
            sentence = ""
        assert "\n" not in sentence
        assert len(sentence) < 1000
        for manifold in found:
            assert bool(torch.isfinite(manifold.points).all())
            manifold.name.encode()
        assert time.perf_counter() - began < 10
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()
    assert refused


def test_mutated_labels_are_refused_or_name_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "p.npy")
    path = tmp_path / "labels.npy"
    np.save(path, LABELS)
    command = ["measure", str(tmp_path / "p.npy"), "--labels", str(path), "--measure", "two_nn", "--split-halves", "0"]
    for content in mutations(path.read_bytes(), budget(30), seed=2):
        path.write_bytes(content)
        assert main(command) in (0, 2)
        assert "Traceback" not in capsys.readouterr().err
