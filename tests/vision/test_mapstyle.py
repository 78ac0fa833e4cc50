"""Image sets from map-style datasets, as torch's `DataLoader` takes them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torchvision.datasets import FakeData, ImageFolder
from torchvision.transforms import v2

from manifoldscope.errors import DataError
from manifoldscope.vision.images import ImageSet, as_image_set, draw
from manifoldscope.vision.mapstyle import as_pixels


class Listed(Dataset):
    """Images and labels in lists; counts how often an item is read."""

    def __init__(self, images: list, labels: list, **attributes: object) -> None:
        self.images, self.labels_given, self.n_read = images, labels, 0
        for name, value in attributes.items():
            setattr(self, name, value)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple:
        self.n_read += 1
        return self.images[index], self.labels_given[index]


def grey(level: int) -> Image.Image:
    return Image.new("L", (4, 3), level)


def test_labels_are_read_from_the_list_and_images_when_they_are_needed() -> None:
    dataset = Listed([grey(10), grey(20), grey(30)], [2, 0, 2], targets=[2, 0, 2], classes=["ant", "bee", "cat"])
    images = ImageSet.from_dataset(dataset)
    assert dataset.n_read == 0
    assert (len(images), images.labels.tolist(), images.source) == (3, [2, 0, 2], "Listed")
    assert images.class_names == {0: "ant", 1: "bee", 2: "cat"}
    assert images.read(2).tolist() == [[[30] * 4] * 3]
    assert dataset.n_read == 1
    images.read(2)
    assert dataset.n_read == 2, "nothing is held"


@pytest.mark.parametrize("hidden", [{}, {"targets": [7, 7], "target_transform": int}, {"targets": [0, 1, 2]}])
def test_labels_that_are_not_listed_take_one_pass(hidden: dict[str, object]) -> None:
    dataset = Listed([grey(1), grey(2)], [torch.tensor(1), np.int64(3)], **hidden)
    images = ImageSet.from_dataset(dataset)
    assert dataset.n_read == 2
    assert images.labels.tolist() == [1, 3]
    assert images.class_names == {1: "1", 3: "3"}


def test_equal_images_have_equal_digests_in_memory_and_in_a_dataset() -> None:
    pixels, labels = torch.rand(6, 3, 5, 4), torch.tensor([0, 1, 0, 1, 2, 2])
    own = ImageSet.of(pixels, labels, source="x")
    theirs = ImageSet.from_dataset(TensorDataset(pixels, labels), source="x")
    assert theirs.digest() == own.digest()
    one, other = (draw(images, classes=[0, 1], images_per_class=1, seed=3).images for images in (own, theirs))
    assert list(one.names) == list(other.names)
    assert one.digest() == other.digest()
    moved = ImageSet.from_dataset(TensorDataset(pixels.flip(0), labels), source="x")
    assert moved.digest() != own.digest()
    assert moved.raw.fingerprint() != theirs.raw.fingerprint()


def test_parts_of_one_dataset_share_no_name_and_read_their_own_images() -> None:
    pixels = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(10, 1, 2, 2)
    whole = TensorDataset(pixels, torch.arange(10) % 2)
    one = ImageSet.from_dataset(Subset(Subset(whole, [9, 8, 7, 6]), [3, 0]))
    other = ImageSet.from_dataset(Subset(whole, [1, 2]))
    assert [int(one.read(index)[0, 0, 0]) for index in range(2)] == [6, 9]
    assert one.labels.tolist() == [0, 1]
    assert list(one.names) == ["TensorDataset/all/6", "TensorDataset/all/9"]
    assert not set(one.names) & set(other.names)


@pytest.mark.parametrize(
    ("image", "pixels"),
    [
        (Image.new("RGB", (1, 1), (1, 2, 3)), [[[1]], [[2]], [[3]]]),
        (Image.new("RGBA", (1, 1), (1, 2, 3, 0)), [[[1]], [[2]], [[3]]]),
        (Image.new("1", (2, 1), 1), [[[255, 255]]]),
        (torch.tensor([[7, 8]], dtype=torch.uint8), [[[7, 8]]]),
        (torch.tensor([[[0.5]]], dtype=torch.float64), [[[0.5]]]),
        (np.array([[7, 8]], np.uint8), [[[7, 8]]]),
        (
            np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)[:, ::-1].repeat(2, 0),
            [[[4, 1]] * 2, [[5, 2]] * 2, [[6, 3]] * 2],
        ),
        (np.full((3, 2, 2), 0.25), [[[0.25] * 2] * 2] * 3),
    ],
)
def test_images_of_every_kind_become_pixels(image: object, pixels: list) -> None:
    assert as_pixels(image, "it").tolist() == pixels


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.full((1, 2, 2), 1.5), r"pixels in \[1.5, 1.5\]; expected \[0, 1\]: take the normalisation out"),
        (torch.full((1, 2, 2), torch.nan), r"pixels in \[nan, nan\]"),
        (np.full((2, 2), -0.1), r"pixels in \[-0.1, -0.1\]"),
        (torch.zeros(1, 2, 2, dtype=torch.int64), "is torch.int64; expected uint8"),
        (np.zeros((2, 2), np.int32), "is int32; expected uint8"),
        (torch.rand(4, 5, 5), r"shape \(4, 5, 5\); expected \(channels, height, width\) with 1 or 3"),
        (np.zeros((3, 5, 3), np.uint8), "either the first or the last dimension may be the channels"),
        (Image.new("I", (2, 2)), "mode 'I', whose range is not known"),
        ("a.png", "is str; expected a PIL image, a tensor or an array"),
    ],
)
def test_what_is_no_image_is_refused(image: object, message: str) -> None:
    images = ImageSet.from_dataset(Listed([image], [0], targets=[0]))
    with pytest.raises(DataError, match=f"item 0 of Listed .*{message}"):
        images.read(0)


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[tuple]:
        yield grey(1), 0


class Broken(Listed):
    def __getitem__(self, index: int) -> tuple:
        raise OSError("the disk is gone")


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Stream(), "Stream has no place for each image; expected a map-style dataset"),
        (3, "int is no dataset"),
        (Listed, r"the class Listed is no dataset; make one of it first, as Listed\(...\)"),
        (Listed([grey(1)], [0.5]), r"item 0 of Listed has the label 0.5; expected a class index"),
        (Listed([grey(1)], [-1]), "has the label -1"),
        (Listed([grey(1)], [True]), "has the label True"),
        (Listed([grey(1)], [torch.tensor([0, 1])]), r"has the label tensor\(\[0, 1\]\)"),
        ([grey(1)], "item 0 of list has no label .*expected \\(image, label\\)"),
        ([{"image": 1, "label": 0}], r"has no label \(keys image, label\)"),
        (Broken([grey(1)], [0]), r"item 0 of Broken cannot be read \(the disk is gone\)"),
    ],
)
def test_what_is_no_dataset_of_images_and_labels_is_refused(dataset: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ImageSet.from_dataset(dataset)


def test_a_transform_that_draws_at_random_is_noticed() -> None:
    class Noisy(Listed):
        def __getitem__(self, index: int) -> tuple:
            return torch.rand(1, 3, 3), 0

    images = ImageSet.from_dataset(Noisy([0, 0], [0, 0], targets=[0, 0]))
    images.digest()
    with pytest.raises(DataError, match="another image than when it was read before; take what draws at random out"):
        images.read(1)


def test_lists_of_labels_that_are_wrong_are_noticed() -> None:
    images = ImageSet.from_dataset(Listed([grey(1), grey(2)], [0, 1], targets=[0, 0]))
    images.read(0)
    with pytest.raises(DataError, match="item 1 of Listed has label 1, but the list of labels says 0"):
        images.read(1)


def test_an_unreadable_image_is_skipped_in_a_draw() -> None:
    images = ImageSet.from_dataset(Listed([grey(1), "broken", grey(3)], [0, 0, 0], targets=[0, 0, 0]))
    drawn = draw(images, classes=[0], images_per_class=None, seed=0)
    assert len(drawn.images) == 2
    assert drawn.skipped_images[0][0] == "Listed/all/1"
    assert images.raw.fingerprint() == images.raw.fingerprint()


def test_class_names_of_two_classes_or_of_several_words() -> None:
    classes = [("tench", "Tinca tinca"), ("crane",), ("crane",)]
    images = ImageSet.from_dataset(Listed([grey(1)], [1], targets=[1], classes=classes))
    assert images.class_names == {0: "tench, Tinca tinca", 1: "crane (1)", 2: "crane (2)"}
    named = ImageSet.from_dataset(Listed([grey(1)], [1], targets=[1]), class_names=["a", "b"])
    assert named.class_names == {0: "a", 1: "b"}
    with pytest.raises(DataError, match="label 1 has no class name; 1 names were given"):
        ImageSet.from_dataset(Listed([grey(1)], [1], targets=[1]), class_names=["a"])


def test_torchvisions_datasets_with_and_without_transforms(tmp_path) -> None:
    fake = FakeData(size=5, image_size=(3, 8, 6), num_classes=4, transform=v2.ToImage())
    images = ImageSet.from_dataset(fake)
    assert images.read(0).shape == (3, 8, 6)
    assert images.digest() == ImageSet.from_dataset(FakeData(size=5, image_size=(3, 8, 6), num_classes=4)).digest()
    (tmp_path / "ant").mkdir()
    Image.new("RGB", (4, 4), (9, 9, 9)).save(tmp_path / "ant/1.png")
    folder = ImageSet.from_dataset(ImageFolder(tmp_path))
    assert (folder.class_names, folder.read(0).unique().tolist()) == ({0: "ant"}, [9])


def test_who_passes_over_images_more_than_once_says_what_to_give() -> None:
    dataset = TensorDataset(torch.rand(2, 1, 4, 4), torch.tensor([0, 1]))
    with pytest.raises(DataError, match=r"pass ImageSet\.from_dataset\(loader\.dataset\)"):
        as_image_set(DataLoader(dataset))
    with pytest.raises(DataError, match=r"pass ImageSet\.from_dataset\(dataset\)"):
        as_image_set(dataset)
    with pytest.raises(DataError, match="images are Tensor; pass an ImageSet"):
        as_image_set(dataset.tensors[0])


def test_an_image_set_is_shown_in_one_line_and_its_text_is_escaped() -> None:
    images = ImageSet.of(torch.rand(3, 1, 2, 2), [0, 1, 1], class_names=["<b>ant", "bee"], source="mine")
    assert repr(images) == "ImageSet(3 images of 2 classes; mine, all)"
    assert "&lt;b&gt;ant" in images._repr_html_()
    assert "<b>" not in images._repr_html_()
    assert "<td>bee</td><td>2</td>" in images._repr_html_()
    many = ImageSet.of(torch.rand(30, 1, 2, 2), range(30))
    assert many._repr_html_().count("<tr>") == 21
    assert "and 10 more" in many._repr_html_()
