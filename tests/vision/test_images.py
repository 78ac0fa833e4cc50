"""ImageSet and the draw of images from it."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from manifoldscope.errors import DataError
from manifoldscope.vision.images import FileImages, ImageSet, choose_classes, draw


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
    with pytest.raises(DataError, match="0 images a class"):
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
