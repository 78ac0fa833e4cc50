"""Images in their order: the same whether threads read ahead or not."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from manifoldscope.attacks import PGD, evaluate
from manifoldscope.errors import DataError
from manifoldscope.vision import reader as reader_module
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network
from manifoldscope.vision.raw import FileImages
from manifoldscope.vision.reader import PIECE, Reader
from tests.attacks.networks import fitted, images


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """This CPU counts as a device that leaves the CPU free."""
    monkeypatch.setattr(reader_module, "ELSEWHERE", {"cpu"})


def files(folder: Path, drawn: ImageSet) -> ImageSet:
    """The same images, in files."""
    names = [f"{number:03}.png" for number in range(len(drawn))]
    for number, name in enumerate(names):
        array = (drawn.read(number) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        Image.fromarray(array).save(folder / name)
    return ImageSet(FileImages(names, folder), drawn.labels, names, drawn.class_names)


def network() -> Network:
    return Network(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)))


@pytest.mark.parametrize("sizes", [[40], [1] * 40, [16, 2, 3, 14, 5], [PIECE, PIECE, 24]])
def test_threads_read_what_is_asked_for_in_its_order(tmp_path: Path, ahead: None, sizes: list[int]) -> None:
    drawn = files(tmp_path, images(40))
    reader = Reader(network(), drawn, ahead=16)
    taken = [reader.take(n) for n in sizes]
    assert [len(some) for some in taken] == sizes
    assert reader.n_taken == 40
    assert torch.equal(torch.cat(taken), network().pixels(drawn))


def test_the_next_are_read_while_the_caller_works(tmp_path: Path, ahead: None, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = files(tmp_path, images(64))
    read: dict[int, str] = {}
    enough = threading.Event()
    decode = FileImages.read

    def noted(self: FileImages, index: int) -> torch.Tensor:
        read[index] = threading.current_thread().name
        if len(read) >= 8 + 16:
            enough.set()
        return decode(self, index)

    monkeypatch.setattr(FileImages, "read", noted)
    reader = Reader(network(), drawn, ahead=16)
    reader.take(8)
    assert enough.wait(10)
    assert threading.current_thread().name not in read.values()
    assert max(read) < 8 + 16 + PIECE  # and no more than that: memory is known before it is used


def test_nobody_reads_ahead_where_the_cpu_works_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = files(tmp_path, images(24))
    read: list[str] = []
    decode = FileImages.read
    monkeypatch.setattr(
        FileImages, "read", lambda self, index: (read.append(threading.current_thread().name), decode(self, index))[1]
    )
    Reader(network(), drawn, ahead=16).take(8)
    assert read == [threading.current_thread().name] * 8


def test_an_image_that_cannot_be_read_is_an_error_where_it_is_wanted(tmp_path: Path, ahead: None) -> None:
    drawn = files(tmp_path, images(24))
    (tmp_path / "020.png").write_bytes(b"nothing")
    reader = Reader(network(), drawn, ahead=24)
    assert len(reader.take(8)) == 8
    with pytest.raises(DataError, match=r"020\.png"):
        reader.take(16)


def test_images_of_two_sizes_are_refused_from_whatever_piece_they_are(tmp_path: Path, ahead: None) -> None:
    drawn = files(tmp_path, images(2 * PIECE))
    for number in range(PIECE, 2 * PIECE):
        Image.new("RGB", (9, 9)).save(tmp_path / f"{number:03}.png")
    with pytest.raises(DataError, match="images differ in size"):
        Reader(network(), drawn, ahead=4).take(2 * PIECE)


def test_an_attack_on_images_that_are_read_ahead_has_the_same_outcomes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = files(tmp_path, images(96))
    trained = fitted(drawn)
    attack = PGD(epsilon=0.12, steps=6)
    expected = evaluate(trained, drawn, attack, batch_size=16, iterate="any")
    monkeypatch.setattr(reader_module, "ELSEWHERE", {"cpu"})
    assert evaluate(trained, drawn, attack, batch_size=16, iterate="any").table.equals(expected.table)
    assert 0 < expected.robust_accuracy_any < 1
