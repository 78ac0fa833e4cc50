"""ImageSet and the draw of images from it."""

from __future__ import annotations

import os
import random
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from manifoldscope.errors import DataError
from manifoldscope.vision import raw
from manifoldscope.vision.decoding import decode
from manifoldscope.vision.images import ImageSet, choose_classes, draw
from manifoldscope.vision.printable import printable
from manifoldscope.vision.raw import FileImages


def image_set(n: int = 12, classes: int = 3) -> ImageSet:
    pixels = torch.arange(n * 4, dtype=torch.uint8).reshape(n, 1, 2, 2)
    return ImageSet.of(pixels, torch.arange(n) % classes)


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 5), st.integers(0, 3))
def test_the_draw_ignores_the_order_of_the_listing_and_grows_by_adding(rng: random.Random, k: int, seed: int) -> None:
    images = image_set(30)
    shuffled = list(range(30))
    rng.shuffle(shuffled)
    classes = choose_classes(images, 2, seed=seed)
    assert choose_classes(images.subset(shuffled), 2, seed=seed) == classes
    chosen = draw(images, classes=classes, images_per_class=k, seed=seed).images
    again = draw(images.subset(shuffled), classes=classes, images_per_class=k, seed=seed).images
    assert list(chosen.names) == list(again.names)
    assert chosen.digest() == again.digest()
    larger = draw(images, classes=classes, images_per_class=k + 2, seed=seed).images
    assert set(chosen.names) < set(larger.names)


def test_draws_that_exclude_each_other_are_disjoint() -> None:
    images = image_set(30)
    one = draw(images, classes=[0, 1], images_per_class=4, seed=0).images
    other = draw(images, classes=[0, 1], images_per_class=6, seed=0, exclude=frozenset(one.names)).images
    assert not set(one.names) & set(other.names)
    with pytest.raises(DataError, match=r"class '0' .* 6 readable .* at least 7 .*4 of its images belong"):
        draw(images, classes=[0], images_per_class=7, seed=0, exclude=frozenset(one.names), at_least=7)


def test_a_subset_of_a_subset_reads_the_image_that_its_name_says() -> None:
    images = image_set()
    inner = images.subset([9, 4, 2]).subset(torch.tensor([False, True, True]))
    assert list(inner.names) == ["arrays/all/4", "arrays/all/2"]
    assert inner.read(0)[0, 0, 0] == 16
    assert inner.labels.tolist() == [1, 2]


def test_sixty_thousand_images_are_drawn_and_digested_in_seconds() -> None:
    images = ImageSet.of(np.zeros((60_000, 1, 28, 28), np.uint8), np.arange(60_000) % 10)
    start = time.perf_counter()
    draw(images, classes=images.classes, images_per_class=None, seed=0).images.digest()
    assert time.perf_counter() - start < 30  # under 1 s on an idle core; a quadratic step takes minutes


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (torch.rand(2, 8, 8), [0, 1], r"shape \(2, 8, 8\); expected .*add a channel"),
        (torch.rand(2, 8, 8, 3), [0, 1], "8 channels; expected 1 or 3; move the last dimension"),
        (torch.rand(2, 5, 8, 8), [0, 1], "5 channels; expected 1 or 3; an attack called on a module"),
        (torch.rand(2, 1, 8, 8) * 255, [0, 1], r"expected \[0, 1\] \(divide by 255"),
        (torch.full((2, 1, 8, 8), torch.nan), [0, 1], r"pixels lie in \[nan"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.int64), [0, 1], "expected uint8"),
        (torch.rand(2, 1, 8, 8), [0, -1], "whole numbers from 0"),
        (torch.rand(2, 1, 8, 8), [0.0, 1.0], "whole numbers from 0"),
        (torch.rand(2, 1, 8, 8), [0], "2 images, 1 labels"),
    ],
)
def test_arrays_that_are_no_images_are_refused(pixels: torch.Tensor, labels: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ImageSet.of(pixels, labels)


def test_names_must_be_unique_and_classes_named() -> None:
    pixels = torch.rand(2, 1, 4, 4)
    with pytest.raises(DataError, match="image name 'a' is given twice"):
        ImageSet.of(pixels, [0, 1], names=["a", "a"])
    with pytest.raises(DataError, match="class name 'cat' is given twice"):
        ImageSet.of(pixels, [0, 1], class_names=["cat", "cat"])
    with pytest.raises(DataError, match="label 1 has no class name"):
        ImageSet.of(pixels, [0, 1], class_names=["cat"])


def test_classes_are_chosen_by_index_or_name_and_nearest_names_are_offered() -> None:
    images = ImageSet.of(torch.rand(3, 1, 4, 4), [0, 1, 1], class_names=["goldfish", "tench", "crane"])
    assert choose_classes(images, ["tench", 0], seed=0) == [0, 1]
    assert choose_classes(images, None, seed=0) == [0, 1]
    with pytest.raises(DataError, match="no class in arrays 'goldfsh'; did you mean 'goldfish'"):
        choose_classes(images, ["goldfsh"], seed=0)
    with pytest.raises(DataError, match="'crane' has no images"):
        choose_classes(images, [2], seed=0)
    with pytest.raises(DataError, match="'tench' is listed twice"):
        choose_classes(images, [1, "tench"], seed=0)
    with pytest.raises(DataError, match="3 classes were asked for; arrays has 2"):
        choose_classes(images, 3, seed=0)
    with pytest.raises(DataError, match="0 images per class"):
        draw(images, classes=[0], images_per_class=0, seed=0)


@pytest.mark.parametrize(
    ("mode", "suffix", "channels"),
    [("L", "png", 1), ("1", "png", 1), ("LA", "png", 1), ("P", "gif", 3), ("RGBA", "png", 3), ("CMYK", "jpg", 3)],
)
def test_every_kind_of_file_becomes_grey_or_colour(tmp_path: Path, mode: str, suffix: str, channels: int) -> None:
    Image.new("RGB", (5, 4), (200, 10, 10)).convert(mode).save(tmp_path / f"x.{suffix}")
    read = FileImages([f"x.{suffix}"], root=tmp_path).read(0)
    assert read.shape == (channels, 4, 5)
    assert read.dtype == torch.uint8
    if channels == 3:
        assert read[0, 0, 0] > 150 > 60 > read[1, 0, 0]  # red stays red; JPEG loses a little


def test_sixteen_bits_keep_their_range(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 32768, 65535]], np.uint16)).save(tmp_path / "x.png")
    torch.testing.assert_close(FileImages([tmp_path / "x.png"]).read(0), torch.tensor([[[0, 32768 / 65535, 1]]]))


def test_what_no_decoder_reads_is_refused_without_the_folders_of_the_machine(tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:900])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").touch()
    files = FileImages(["half.jpg", "text.png", "empty.png", "gone.png", "whole.jpg"], root=tmp_path)
    for index, reason in enumerate(("truncated", "it is no image", "it is no image", "no such file")):
        for attempt in (files.read, files.check):
            with pytest.raises(DataError, match=reason) as refused:
                attempt(index)
            assert str(tmp_path) not in str(refused.value)
    files.check(4)


def test_a_class_may_be_asked_for_by_index_name_or_alias() -> None:
    known = ImageSet.of(torch.zeros(4, 1, 2, 2), [0, 0, 7, 7], class_names={0: "tench", 7: "cock"})
    every = replace(known, aliases={"n01440764": 0, "n01514668": 7})
    for wanted in ([7], ["cock"], ["n01514668"]):
        assert choose_classes(every, wanted, seed=0) == [7]
    assert every.subset([0]).aliases == every.aliases
    with pytest.raises(DataError, match="listed twice"):
        choose_classes(every, ["cock", "n01514668"], seed=0)


def test_sixteen_bits_are_read_in_either_byte_order_and_polarity(tmp_path: Path) -> None:
    levels = np.array([[0, 32768, 65535]], np.uint16)
    expected = torch.tensor([[[0, 32768 / 65535, 1]]])
    for order, suffix in (("<", "little"), (">", "big")):
        header = (
            {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 14) + levels.astype(order + "u2").tobytes()
        )
        for photometric in (0, 1) if order == "<" else (1,):  # Pillow knows white-is-zero in one order only
            tags = ((256, 3), (257, 1), (258, 16), (259, 1), (262, photometric), (273, 8), (277, 1), (278, 1), (279, 6))
            entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in tags)
            content = header + struct.pack(order + "H", len(tags)) + entries + bytes(4)
            (tmp_path / f"{suffix}.tif").write_bytes(content)
            read = FileImages([tmp_path / f"{suffix}.tif"]).read(0)
            torch.testing.assert_close(read, expected if photometric else 1 - expected)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.astype(">f4"),
        lambda a: a.astype(np.longdouble),
        lambda a: a[::-1][::-1],
        lambda a: np.ascontiguousarray(a[:, :, ::-1])[:, :, ::-1],
        lambda a: np.asfortranarray(a),
        lambda a: np.broadcast_to(a[None], (1, *a.shape))[0],
        lambda a: np.ma.array(a, mask=False),
        lambda a: a.tolist(),
        lambda a: torch.from_numpy(a).requires_grad_(),
    ],
)
def test_pixels_are_the_same_in_every_precision_byte_order_and_layout(change: Callable[..., Any]) -> None:
    pixels = np.random.default_rng(0).random((3, 1, 4, 4), np.float32)
    images = ImageSet.of(change(pixels), np.arange(3).astype(">u2"))
    assert images.digest() == ImageSet.of(pixels.copy(), [0, 1, 2]).digest()


@pytest.mark.parametrize(
    "pixels",
    [
        np.ma.array(np.zeros((2, 1, 4, 4)), mask=np.arange(32).reshape(2, 1, 4, 4) > 30),
        np.zeros((2, 1, 4, 4), bool),
        np.zeros((2, 1, 4, 4), complex),
        np.zeros((2, 1, 4, 4), ">i2"),
        np.zeros((2, 1, 4, 4), object),
        np.zeros((2, 1, 4, 4), "M8[s]"),
        torch.zeros(2, 1, 4, 4).to_sparse(),
        torch.zeros(2, 1, 4, 4, device="meta"),
        scipy.sparse.eye(4),
        [[[[0.0]]], [[[0.0, 1.0]]]],
        None,
    ],
)
def test_what_has_no_plain_pixels_is_refused_in_one_sentence(pixels: Any) -> None:
    with pytest.raises(DataError, match="pixels"):
        ImageSet.of(pixels, [0, 1])


def test_labels_that_no_class_can_have_are_refused() -> None:
    for labels in (
        np.array([0, 2**63], np.uint64),
        [True, False],
        [[0], [1]],
        [0, [1]],
        np.ma.array([0, 1], mask=[0, 1]),
    ):
        with pytest.raises(DataError, match="labels must be a flat list"):
            ImageSet.of(torch.rand(2, 1, 4, 4), labels)


def test_true_is_no_number() -> None:
    images = image_set()
    for call in (
        lambda: choose_classes(images, True, seed=0),
        lambda: choose_classes(images, [True], seed=0),
        lambda: choose_classes(images, 1, seed=True),
        lambda: draw(images, classes=[0], images_per_class=True, seed=0),
    ):
        with pytest.raises(DataError, match=r"True"):
            call()


def test_an_image_that_claims_too_much_or_breaks_the_decoder_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    Image.new("1", (10_100, 10_000)).save(tmp_path / "large.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "program.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    for name in ("good.png", "other.png"):
        Image.new("L", (4, 4)).save(tmp_path / name)
    names = sorted(path.name for path in tmp_path.iterdir())
    images = ImageSet(FileImages(names, tmp_path), torch.zeros(6, dtype=torch.int64), names, {0: "x"})
    drawn = draw(images, classes=[0], images_per_class=None, seed=0)
    reasons = {name: reason for name, _, reason in drawn.skipped_images}
    assert sorted(drawn.images.names) == ["good.png", "other.png"]
    assert "megapixels" in reasons["bomb.png"]
    assert "megapixels" in reasons["large.png"]
    assert "named pipe" in reasons["pipe.png"]
    assert "no image" in reasons["program.png"]
    for error in (MemoryError(), SyntaxError("x"), struct.error("x"), RecursionError("x"), UserWarning("x")):
        monkeypatch.setattr(Image, "open", lambda *_, _error=error, **__: (_ for _ in ()).throw(_error))
        with pytest.raises(DataError, match=r"good\.png cannot be read as an image: (it does not fit into memory|x)"):
            images.raw.check(names.index("good.png"))


def replace_with(path: Path, level: int) -> None:
    """Another image of the same size takes the file's place, with the time of the old one."""
    status = path.stat()
    Image.new("L", (4, 4), level).save(path.with_suffix(".new"), "png")
    os.utime(path.with_suffix(".new"), ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(path.with_suffix(".new"), path)


@pytest.mark.parametrize("known", ["check", "digest", "fingerprint"])
def test_a_file_that_is_replaced_later_is_refused_by_name(tmp_path: Path, known: str) -> None:
    for name in ("a.png", "b.png"):
        Image.new("L", (4, 4), 1).save(tmp_path / name)
    images = FileImages(["a.png", "b.png"], tmp_path)
    getattr(images, known)(*[] if known == "fingerprint" else [1])
    images.read(1)
    time.sleep(0.02)  # file systems count time in ticks
    replace_with(tmp_path / "b.png", 2)
    for attempt in (images.read, images.check):
        with pytest.raises(DataError, match=r"b\.png has changed since the study was planned"):
            attempt(1)
    images.read(0)


def test_decoded_images_are_kept_within_a_bound_for_as_long_as_their_files_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png"):
        Image.new("L", (4, 4), 1).save(tmp_path / name)
    monkeypatch.setattr(raw, "MAX_KEPT_BYTES", 20)  # one of the two
    decoded: list[int] = []
    monkeypatch.setattr(raw, "decode", lambda *a, **k: decoded.append(1) or decode(*a, **k))
    images = FileImages(["a.png", "b.png"], tmp_path)
    for n_decoded in (2, 3, 4):
        assert [int(images.read(index).max()) for index in (0, 1)] == [1, 1]
        assert len(decoded) == n_decoded
    time.sleep(0.02)  # file systems count time in ticks
    replace_with(tmp_path / "a.png", 2)
    assert int(images.read(0).max()) == 2  # nothing was told of it before
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png cannot be read: no such file"):
        images.read(0)


def test_a_file_that_was_only_touched_is_the_same_where_its_content_is_known(tmp_path: Path) -> None:
    Image.new("L", (4, 4), 1).save(tmp_path / "a.png")
    images = FileImages(["a.png"], tmp_path)
    images.fingerprint()
    images.check(0)
    os.utime(tmp_path / "a.png", (1, 1))
    images.read(0)


def test_names_are_escaped_where_they_could_not_be_shown() -> None:
    assert printable("caf\udce9\n\x1b[31m\u202ex") == "caf\\xe9\\x0a\\x1b[31m\\u202ex"
    assert printable("Größe 猫 🐈.png") == "Größe 猫 🐈.png"
    for joined in ("می\u200cخواهم", "👩\u200d🔬"):
        assert printable(joined) == joined
