"""Arrays in files of other people: refused by their headers, before memory is taken, and in one sentence."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from manifoldscope import files
from manifoldscope.errors import DataError
from manifoldscope.recordings import load_points


def npy(header: str, content: bytes = b"", version: int = 1) -> bytes:
    size = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + size + header.encode("latin1") + content


def header(descr: str = "'<f8'", shape: str = "(2, 2)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"


def of(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


BROKEN = {
    "huge shape": npy(header(shape="(1000000, 1000000)"), b"\0" * 32),
    "beyond all numbers": npy(header(shape="(10000000000000000000000, 2)")),
    "negative shape": npy(header(shape="(-2, -2)"), b"\0" * 32),
    "no width": npy(header("'<U0'", "(1000000000000,)")),
    "many dimensions": npy(header(shape="(" + "1, " * 99 + ")"), b"\0" * 8),
    "deeply nested": npy(header(shape="(" * 4000 + ")" * 4000)),
    "deeply nested signs": npy(header(shape="-" * 9000 + "1")),
    "no literal": npy(header(shape="__import__('os').abort()")),
    "long header": npy(header(shape=" " * 2**20 + "(2, 2)"), b"\0" * 32, version=2),
    "another version": b"\x93NUMPY\x09\x00" + b"\0" * 80,
    "cut short": of(np.eye(9))[:-1],
    "too long": of(np.eye(9)) + b"\0",
    "only a beginning": b"\x93NUMPY",
    "empty": b"",
    "no letters": npy(header("'<U1'", "(2,)"), b"\xff" * 8),
    "objects": npy(header("'|O'")),
    "objects inside": npy(header("[('a', '|O')]")),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("packed", [False, True], ids=["npy", "npz"])
def test_a_broken_array_is_one_sentence_and_takes_no_memory(case: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / ("x.npz" if packed else "x.npy")
    path.write_bytes(BROKEN[case])
    if packed:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("points.npy", BROKEN[case])
    tracemalloc.start()
    with pytest.raises(DataError, match="cannot be read as") as caught:
        load_points(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert peak < 2**24


@pytest.mark.parametrize("honest", [True, False])
def test_an_archive_that_expands_is_refused_before_it_does(honest: bool, tmp_path: Path) -> None:
    size = 2**20 if honest else 2**29  # numbers; the entry holds as many as it says, or few
    archive = zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED)
    with archive, archive.open("points.npy", "w") as entry:
        entry.write(npy(header(shape=f"({size // 512}, 512)")))
        for _ in range(48 if honest else 1):
            entry.write(bytes(2**23))
    content = (tmp_path / "x.npz").read_bytes()
    if not honest:  # what the archive says of the size of an entry
        place = content.rindex(b"PK\x01\x02") + 24
        content = content[:place] + struct.pack("<I", 2**32 - 1) + content[place + 4 :]
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"it holds more|MiB are compressed to|promises"):
        load_points(tmp_path / "x.npz")


def test_what_memory_does_not_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "p.npy", np.eye(300))
    assert load_points(tmp_path / "p.npy")
    monkeypatch.setattr(files, "_available_memory", lambda: 2**20)
    with pytest.raises(DataError, match="GiB of memory"):
        load_points(tmp_path / "p.npy")
    with open(tmp_path / "s.npy", "wb") as sparse:
        sparse.write(npy(header(shape="(1048576, 131072)")))
        sparse.truncate(2**40 + sparse.tell())
    monkeypatch.undo()
    with pytest.raises(DataError, match="GiB of memory"):
        load_points(tmp_path / "s.npy")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("suffix", ["npy", "npz", "safetensors"])
def test_only_regular_files_are_opened(suffix: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"pipe.{suffix}")
    (tmp_path / f"folder.{suffix}").mkdir()
    np.save(tmp_path / "p.npy", np.eye(3))
    for name, words in (("pipe", "named pipe"), ("folder", "folder")):
        with pytest.raises(DataError, match=words):
            load_points(tmp_path / f"{name}.{suffix}")
        if suffix == "npy":
            with pytest.raises(DataError, match=words):
                load_points(tmp_path / "p.npy", tmp_path / f"{name}.npy")
    with pytest.raises(DataError, match="no such file"):
        load_points("~nobody-of-this-name/p." + suffix)


def test_other_archives_are_refused(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        with zipfile.ZipFile(tmp_path / "x.npz", "w", method) as archive:
            archive.writestr("points.npy", of(np.eye(3)))
        with pytest.raises(DataError, match="another way than"):
            load_points(tmp_path / "x.npz")
    np.savez_compressed(tmp_path / "y.npz", points=np.eye(50), labels=np.repeat([1, 2], 25))
    content = bytearray((tmp_path / "y.npz").read_bytes())
    content[100] ^= 4
    (tmp_path / "y.npz").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as npz"):
        load_points(tmp_path / "y.npz")
