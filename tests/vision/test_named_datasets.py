"""Datasets by scheme and name: torchvision's, Hugging Face's, and those of the user's own code."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from manifoldscope.errors import DataError, StudyError
from manifoldscope.study.draws import fingerprint
from manifoldscope.study.loading import json_schema
from manifoldscope.study.plan import DataPlan
from manifoldscope.vision.datasets import dataset_entry, load
from tests.vision.test_datasets import write_mnist


def test_a_source_is_a_name_or_a_scheme_and_a_name() -> None:
    assert dataset_entry("mnist").name == "mnist"
    assert dataset_entry("python:a/b.py:make").name == "python"
    with pytest.raises(StudyError, match="no dataset 'mnist:x'; 'mnist' is one by itself"):
        dataset_entry("mnist:x")
    with pytest.raises(StudyError, match="'torchvision:' does not say which one; expected torchvision:NAME"):
        dataset_entry("torchvision:")
    with pytest.raises(StudyError, match="did you mean 'torchvision'"):
        dataset_entry("torchvison:CIFAR10")


def test_a_study_names_its_dataset_in_the_same_way() -> None:
    assert DataPlan(source="torchvision:CIFAR100").source == "torchvision:CIFAR100"
    with pytest.raises(ValueError, match="there is no dataset 'mnist:x'"):
        DataPlan(source="mnist:x")
    plain, schemes = json_schema()["$defs"]["DataPlan"]["properties"]["source"]["anyOf"]
    assert "mnist" in plain["enum"]
    assert "torchvision" not in plain["enum"]
    assert re.search(schemes["pattern"], "torchvision:CIFAR100")
    assert not re.search(schemes["pattern"], "mnist:x")


# -- torchvision -------------------------------------------------------------------------------------------------------


def test_torchvision_maps_the_split_to_train_and_downloads_nothing(tmp_path: Path) -> None:
    for part, n in (("train", 7), ("t10k", 4)):
        write_mnist(tmp_path / "MNIST/raw", part, n, suffix="")
    test, train = load("torchvision:MNIST", root=tmp_path), load("torchvision:MNIST", root=tmp_path, split="train")
    assert (len(test), test.split, test.source) == (4, "test", "torchvision:MNIST")
    assert (len(train), train.split, train.names[6]) == (7, "train", "torchvision:MNIST/train/6")
    own = load("mnist", root=tmp_path, split="train")
    assert all(torch.equal(train.read(index), own.read(index)) for index in range(7))
    assert train.labels.tolist() == own.labels.tolist()
    assert train.class_names[3] == "3 - three"
    with pytest.raises(DataError, match="torchvision:MNIST: there is no split 'val'"):
        load("torchvision:MNIST", root=tmp_path, split="val")
    with pytest.raises(DataError, match=r"cannot be opened as 'test' .*download it with torchvision"):
        load("torchvision:KMNIST", root=tmp_path)
    assert not (tmp_path / "KMNIST").exists()


def test_torchvision_takes_the_part_that_is_there_to_evaluate_on(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for wnid in ("n01440764", "n02102040"):
            place = tmp_path / "imagenette2" / split / wnid
            place.mkdir(parents=True)
            Image.new("RGB", (6, 5), (10, 20, 30)).save(place / "a.JPEG")
    images = load("torchvision:Imagenette", root=tmp_path)
    assert (images.split, len(images)) == ("val", 2)
    assert images.read(0).shape == (3, 5, 6)
    assert len(set(images.class_names.values())) == len(images.class_names)


def test_torchvision_says_what_is_missing() -> None:
    with pytest.raises(DataError, match="did you mean 'CIFAR10'"):
        load("torchvision:CIFAR11")
    with pytest.raises(DataError, match="torchvision:CIFAR10: no root was given; expected the folder"):
        load("torchvision:CIFAR10")
    with pytest.raises(DataError, match="has no parts; leave out split = 'train'"):
        load("torchvision:FakeData", split="train")


def test_files_that_change_change_the_fingerprint_and_nothing_is_decoded_for_it(tmp_path: Path) -> None:
    for part in ("train", "t10k"):
        write_mnist(tmp_path / "MNIST/raw", part, suffix="")
    before = load("torchvision:MNIST", root=tmp_path)
    assert fingerprint(before) == fingerprint(load("torchvision:MNIST", root=tmp_path))
    assert not before.raw._digests
    os.utime(tmp_path / "MNIST/raw/t10k-images-idx3-ubyte", ns=(0, 0))
    assert fingerprint(before) != fingerprint(load("torchvision:MNIST", root=tmp_path))


# -- python ------------------------------------------------------------------------------------------------------------

CODE = """
import numpy as np
from manifoldscope import ImageSet

def arrays():
    return ImageSet.of(np.zeros((2, 1, 4, 4), np.uint8), [0, 1])

class Pairs:
    classes = ["cat", "dog"]
    def __len__(self):
        return 3
    def __getitem__(self, index):
        return np.full((4, 5), 10 * index, np.uint8), index % 2

def pairs(split="test"):
    return Pairs()

def nothing():
    return 5
"""


def test_a_function_gives_an_image_set_or_a_map_style_dataset(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(CODE)
    assert len(load(f"python:{file}:arrays")) == 2
    pairs = load(f"python:{file}:pairs", split="test")
    assert (pairs.source, pairs.split, pairs.labels.tolist()) == ("python:mine.py:pairs", "test", [0, 1, 0])
    assert pairs.class_names == {0: "cat", 1: "dog"}
    assert pairs.read(2).tolist() == [[[20] * 5] * 4]
    assert pairs.subset([1]).origin == pairs.origin != ""
    for name, message in (
        ("nothing", r"python:mine\.py:nothing: int is no dataset; expected a map-style dataset"),
        ("pears", "there is no function 'pears'; did you mean 'pairs'"),
    ):
        with pytest.raises(DataError, match=message):
            load(f"python:{file}:{name}")
    with pytest.raises(DataError, match="unexpected keyword argument 'root'"):
        load(f"python:{file}:pairs", root=tmp_path)
    with pytest.raises(DataError, match="there is no file"):
        load(f"python:{tmp_path}/gone.py:pairs")


@pytest.mark.parametrize("function", ["arrays", "pairs"])
def test_code_that_changes_changes_the_fingerprint_and_not_the_digest(tmp_path: Path, function: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(CODE)
    before = load(f"python:{file}:{function}")
    assert fingerprint(before) == fingerprint(load(f"python:{file}:{function}"))
    file.write_text(CODE + "\n# another word\n")
    after = load(f"python:{file}:{function}")
    assert fingerprint(before) != fingerprint(after)
    assert before.digest() == after.digest()


# -- Hugging Face ------------------------------------------------------------------------------------------------------


def test_a_dataset_that_was_saved_to_disk(tmp_path: Path) -> None:
    theirs = pytest.importorskip("datasets")
    pictures = [Image.fromarray(np.full((5, 6, 3), 40 * level, np.uint8)) for level in range(4)]
    features = theirs.Features({"picture": theirs.Image(), "label": theirs.ClassLabel(names=["ant", "bee"])})
    rows = theirs.Dataset.from_dict({"picture": pictures, "label": [1, 0, 1, 1]}, features=features)
    theirs.DatasetDict({"train": rows.select([0, 1]), "test": rows}).save_to_disk(tmp_path / "both")
    rows.save_to_disk(tmp_path / "one")
    both, one = load("huggingface:insects", root=tmp_path / "both"), load("huggingface:insects", root=tmp_path / "one")
    assert (both.source, both.split, len(both)) == ("huggingface:insects", "test", 4)
    assert len(load("huggingface:insects", root=tmp_path / "both", split="train")) == 2
    assert both.labels.tolist() == [1, 0, 1, 1]
    assert both.class_names == {0: "ant", 1: "bee"}
    assert torch.equal(one.read(3), torch.full((3, 5, 6), 120, dtype=torch.uint8))
    assert fingerprint(one) == fingerprint(load("huggingface:insects", root=tmp_path / "one"))
    with pytest.raises(DataError, match="no split 'tests'; did you mean 'test'"):
        load("huggingface:insects", root=tmp_path / "both", split="tests")
    with pytest.raises(DataError, match="was saved without splits; leave out split = 'train'"):
        load("huggingface:insects", root=tmp_path / "one", split="train")
    with pytest.raises(DataError, match="expected a folder that save_to_disk wrote"):
        load("huggingface:insects", root=tmp_path)
    rows.remove_columns("label").save_to_disk(tmp_path / "bare")
    with pytest.raises(DataError, match="one column of kind class label, and has none among picture"):
        load("huggingface:insects", root=tmp_path / "bare")
