"""Files of weights: what is no such file is named, nothing is run, and memory is bounded by the size of the file."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from manifoldscope.errors import ModelError
from manifoldscope.vision import checkpoints
from manifoldscope.vision.checkpoints import read_checkpoint
from manifoldscope.vision.weights import file_digest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"  \n<!DOCTYPE html><html><title>Google Drive - Virus scan warning</title>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "is a pointer of Git LFS"),
        (b"\x1f\x8b\x08", "is an archive"),
        (b"\x89HDF\r\n", "is a file of HDF5"),
        (b'{"weight_map": {}}', "is a text"),
        (pickle.dumps({"a": 1}), "(cannot be read as weights|holds more than tensors)"),
    ],
)
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_what_is_no_file_of_weights_is_named(tmp_path: Path, content: bytes, message: str, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{name} ({message}|is no readable safetensors)"):
        read_checkpoint(tmp_path / name)


def test_archives_of_something_else_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", weight=np.zeros(3))
    with pytest.raises(ModelError, match=r"without weights of torch\.save in it \(it holds numpy arrays\)"):
        read_checkpoint(tmp_path / "w.npz")
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as program:
        program.writestr("w/data.pkl", b"")
        program.writestr("w/constants.pkl", b"")
    with pytest.raises(ModelError, match="is a TorchScript program"):
        read_checkpoint(tmp_path / "w.pt")


def test_an_archive_that_unpacks_to_more_than_it_is_is_not_unpacked(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(100_000)}, tmp_path / "w.pt")
    with (
        zipfile.ZipFile(tmp_path / "w.pt") as whole,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in whole.namelist():
            bomb.writestr(entry, whole.read(entry))
    with pytest.raises(ModelError, match="claims more than it holds"):
        read_checkpoint(tmp_path / "bomb.pt")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.pt")
    with pytest.raises(ModelError, match="named pipe"):
        read_checkpoint(tmp_path / "w.pt")


def test_the_digest_is_that_of_the_bytes_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.pt"
    torch.save({"w": torch.zeros(3)}, path)
    old, read = file_digest(path), checkpoints._content

    def replacing(*arguments: Any) -> Any:  # another file takes its place while it is read
        torch.save({"w": torch.ones(3)}, tmp_path / "new.pt")
        os.replace(tmp_path / "new.pt", path)
        return read(*arguments)

    monkeypatch.setattr(checkpoints, "_content", replacing)
    found = read_checkpoint(path)
    assert found.digest == old
    assert found.content["w"].sum() == 0

    def overwriting(*arguments: Any) -> Any:
        content = read(*arguments)
        with path.open("r+b") as file:
            file.write(b"x")
        return content

    monkeypatch.setattr(checkpoints, "_content", overwriting)
    with pytest.raises(ModelError, match=r"w\.pt changed while it was read"):
        read_checkpoint(path)
