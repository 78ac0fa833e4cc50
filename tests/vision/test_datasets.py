"""Datasets: the files that they read, and those that they refuse."""

from __future__ import annotations

import gzip
import inspect
import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import ResNet50_Weights

from manifoldscope.errors import DataError, StudyError
from manifoldscope.registry import Entry
from manifoldscope.vision import datasets
from manifoldscope.vision.datasets import DATASETS, imagenet_class_names, imagenet_wnids, images, load
from manifoldscope.vision.images import draw


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes((0, 0, 8, array.ndim)) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    content = header + array.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_mnist(folder: Path, part: str = "t10k", n: int = 6, suffix: str = ".gz") -> None:
    pixels = np.arange(n * 28 * 28, dtype=np.int64).reshape(n, 28, 28) % 251
    write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", pixels)
    write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", np.arange(n) % 10)


def write_image(path: Path, level: int = 100, size: tuple[int, int] = (9, 9)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, level, level)).save(path)


@pytest.fixture
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets as theirs

    def offline(*_: object, **__: object) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr(theirs, "MNIST", offline)
    monkeypatch.setattr(theirs, "FashionMNIST", offline)


@pytest.mark.parametrize("entry", list(DATASETS), ids=lambda entry: entry.name)
def test_every_dataset_is_documented_typed_and_refuses_what_is_not_there(
    entry: Entry, tmp_path: Path, no_download: None
) -> None:
    assert entry.summary
    assert list(entry.settings.model_fields) == ["split", "root"]
    assert isinstance(entry.traits["splits"], tuple)
    default = inspect.signature(entry.target).parameters["split"].default
    assert not entry.traits["splits"] or default in entry.traits["splits"]
    if entry.traits.get("named"):
        with pytest.raises(StudyError, match=f"does not say which one; expected {entry.name}:"):
            load(entry.name)
        return
    if entry.traits["needs_root"]:
        with pytest.raises(DataError, match="no root was given; expected "):
            load(entry.name)
        with pytest.raises(DataError, match=entry.name):
            load(entry.name, root=tmp_path / "nowhere")
        assert not (tmp_path / "nowhere").exists()
    else:
        assert len(load(entry.name)) > 0
    if entry.traits["splits"]:
        with pytest.raises(DataError, match=rf"{entry.name}: there is no split 'tests'.*its splits: "):
            load(entry.name, root=tmp_path, split="tests")


def test_a_list_of_no_classes_is_refused() -> None:
    with pytest.raises(DataError, match="classes is empty; give at least one class"):
        images("digits", classes=[])


def test_digits_are_there_without_files() -> None:
    digits = load("digits")
    assert len(digits) == 1797
    assert digits.classes == list(range(10))
    assert digits.read(0).shape == (1, 8, 8)
    assert float(torch.stack([digits.read(i) for i in range(50)]).max()) == 1.0
    # a SHA-256 of all names, labels and pixels, which stands in the keys of studies
    assert digits.digest() == "694ad2047736656e734f2eded0c1d311daf3b50fed4ceff9f054d49e0fb957a9"
    with pytest.raises(StudyError, match="did you mean 'digits'"):
        load("digit")


# -- idx ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["", "raw", "MNIST/raw"])
@pytest.mark.parametrize("suffix", [".gz", ""])
def test_idx_files_are_found_where_people_put_them(tmp_path: Path, place: str, suffix: str) -> None:
    write_mnist(tmp_path / place, suffix=suffix)
    mnist = load("mnist", root=tmp_path)
    assert (len(mnist), mnist.split, mnist.names[3]) == (6, "test", "mnist/test/3")
    assert mnist.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert mnist.read(1)[0, 0, 0] == 784 % 251


def test_one_split_does_not_stand_for_the_other(tmp_path: Path, no_download: None) -> None:
    write_mnist(tmp_path)
    with pytest.raises(DataError, match=r"no train-images-idx3-ubyte or train-images-idx3-ubyte\.gz"):
        load("mnist", root=tmp_path, split="train")


def test_broken_idx_files_are_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    file = tmp_path / "t10k-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    for content, reason in (
        (whole[:-20], "cannot be read .* truncated"),
        (gzip.compress(gzip.decompress(whole)[:-1]), r"holds 4703 values; its header announces 6 x 28 x 28 = 4704"),
        (gzip.compress(b"\0\0\x08\x01" + bytes(30)), "begins with 00000801; expected 00000803"),
        (gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12 + bytes(30)), "announces 4294967295 x"),
        (b"<html>not found</html>", "cannot be read"),
        (b"", "begins with nothing"),
    ):
        file.write_bytes(content)
        with pytest.raises(DataError, match=reason):
            load("mnist", root=tmp_path)
    write_mnist(tmp_path)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", np.arange(5))
    with pytest.raises(DataError, match=r"6 images and .* 5 labels"):
        load("mnist", root=tmp_path)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", np.full(6, 11))
    with pytest.raises(DataError, match="label 11; expected 0 to 9"):
        load("mnist", root=tmp_path)


@pytest.mark.parametrize(("source", "release"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_what_torchvision_downloads_lands_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, release: str
) -> None:
    from torchvision import datasets as theirs

    def download(root: str, **_: object) -> None:
        for part in ("train", "t10k"):
            write_mnist(Path(root) / release / "raw", part)

    monkeypatch.setattr(theirs, release, download)
    assert len(load(source, root=tmp_path / "new", split="train")) == 6
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
    ]


def test_a_download_that_fails_names_the_files_and_the_folder(tmp_path: Path, no_download: None) -> None:
    with pytest.raises(DataError, match=r"none of its files and they could not be downloaded .* put train-images") as e:
        load("fashion-mnist", root=tmp_path)
    assert str(tmp_path) in str(e.value)
    assert not list(tmp_path.iterdir())


# -- CIFAR-10 ----------------------------------------------------------------------------------------------------------


def write_cifar(folder: Path, name: str, labels: list[int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.zeros((len(labels), 3073), np.uint8)
    rows[:, 0] = labels
    rows[:, 1 : 1 + 1024] = 200  # the red plane comes first
    rows.tofile(folder / name)


@pytest.mark.parametrize("place", ["", "cifar-10-batches-bin"])
def test_cifar10_reads_the_binary_release(tmp_path: Path, place: str) -> None:
    for number in range(1, 6):
        write_cifar(tmp_path / place, f"data_batch_{number}.bin", [number, 9])
    write_cifar(tmp_path / place, "test_batch.bin", [3])
    train = load("cifar10", root=tmp_path, split="train")
    assert train.labels.tolist() == [1, 9, 2, 9, 3, 9, 4, 9, 5, 9]
    test = load("cifar10", root=tmp_path)
    assert test.class_names[int(test.labels[0])] == "cat"
    assert test.read(0).float().mean(dim=(1, 2)).tolist() == [200, 0, 0]


def test_cifar10_refuses_pickles_and_torn_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has none of data_batch_1\.bin"):
        load("cifar10", root=tmp_path)
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match=r"only the pickled release, and reading a pickle runs code"):
        load("cifar10", root=tmp_path)
    write_cifar(tmp_path, "test_batch.bin", [3])
    with pytest.raises(DataError, match=r"data_batch_1\.bin cannot be read: no such file"):
        load("cifar10", root=tmp_path, split="train")
    (tmp_path / "test_batch.bin").write_bytes(bytes(3000))
    with pytest.raises(DataError, match="3000 bytes; expected a multiple of 3073"):
        load("cifar10", root=tmp_path)
    write_cifar(tmp_path, "test_batch.bin", [77])
    with pytest.raises(DataError, match=r"label 77; expected 0 to 9 \(is it CIFAR-100"):
        load("cifar10", root=tmp_path)


# -- npz ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "seen"),
    [((4, 6, 5), (1, 6, 5)), ((4, 6, 5, 3), (3, 6, 5)), ((4, 3, 6, 5), (3, 6, 5)), ((4, 6, 5, 1), (1, 6, 5))],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_arrays_of_every_layout(tmp_path: Path, shape: tuple[int, ...], seen: tuple[int, ...], dtype: type) -> None:
    np.savez(tmp_path / "a.npz", images=np.ones(shape, dtype), labels=[0, 1, 1, 0], class_names=["cat", "dog"])
    arrays = load("arrays", root=tmp_path / "a.npz")
    assert tuple(arrays.read(0).shape) == seen
    assert arrays.class_names == {0: "cat", 1: "dog"}


def test_labels_of_arrays_may_be_names(tmp_path: Path) -> None:
    pixels = np.arange(3, dtype=np.uint8)[:, None, None].repeat(25, 1).reshape(3, 5, 5)
    np.savez(tmp_path / "a.npz", images=pixels, labels=["кот", "dog", "кот"])
    found = load("arrays", root=tmp_path / "a.npz")
    assert found.class_names == {0: "dog", 1: "кот"}
    assert found.labels.tolist() == [1, 0, 1]
    np.savez(tmp_path / "b.npz", images=pixels, labels=["a", "b", "a"], class_names=["a", "b"])
    with pytest.raises(DataError, match="names classes in `labels` and in `class_names`"):
        load("arrays", root=tmp_path / "b.npz")


class Trap:
    """Pickled, it writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path(self.path),)  # type: ignore[return-value]  # a pickle that runs code


def test_an_npz_of_pickled_objects_is_refused_and_not_run(tmp_path: Path) -> None:
    trap = np.empty(1, dtype=object)
    trap[0] = Trap(tmp_path / "sprung")
    np.savez(tmp_path / "a.npz", images=trap, labels=[0])
    with pytest.raises(DataError, match="holds pickled objects, which could run code"):
        load("arrays", root=tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(DataError, match="pickled objects"):
        load("arrays", root=tmp_path / "b.npz")
    assert not (tmp_path / "sprung").exists()


def test_npz_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, pictures=np.ones(3))
    with pytest.raises(DataError, match="no array `images`; it has: pictures"):
        load("arrays", root=file)
    np.savez(file, images=np.ones((2, 3, 5, 1), np.uint8), labels=[0, 1])
    with pytest.raises(DataError, match="either the second or the last dimension"):
        load("arrays", root=file)
    np.savez(file, images=np.full((2, 5, 5), 255.0), labels=[0, 1])
    with pytest.raises(DataError, match="divide by 255"):
        load("arrays", root=file)
    buffer = io.BytesIO()
    np.save(buffer, np.ones((2, 5, 5)))
    file.write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match="a single array"):
        load("arrays", root=file)
    file.write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(DataError, match="cannot be read as npz"):
        load("arrays", root=file)
    with pytest.raises(DataError, match="is no file"):
        load("arrays", root=tmp_path)


# -- folders -----------------------------------------------------------------------------------------------------------


def test_a_folder_of_classes_with_and_without_splits(tmp_path: Path) -> None:
    for name in ("plain/cat/1.png", "plain/ant/deep/2.JPG", "split/train/cat/1.png", "split/val/cat/2.png"):
        write_image(tmp_path / name)
    (tmp_path / "plain/cat/notes.txt").write_text("not an image, and not named like one")
    write_image(tmp_path / "plain/cat/.hidden.png")
    plain = load("folder", root=tmp_path / "plain")
    assert list(plain.names) == ["ant/deep/2.JPG", "cat/1.png"]
    assert plain.class_names == {0: "ant", 1: "cat"}
    assert plain.labels.tolist() == [0, 1]
    validation = load("folder", root=tmp_path / "split", split="val")
    assert list(validation.names) == ["val/cat/2.png"]
    assert validation.read(0).shape == (3, 9, 9)
    with pytest.raises(DataError, match="has the splits train, val; say which one"):
        load("folder", root=tmp_path / "split")
    with pytest.raises(DataError, match=r"no split in .* 'vall'; did you mean 'val'"):
        load("folder", root=tmp_path / "split", split="vall")


def test_a_class_may_have_any_name_that_is_not_hidden(tmp_path: Path) -> None:
    for name in ("__proto__", "cat", "__MACOSX", "__pycache__", ".git"):
        write_image(tmp_path / name / "1.png")
    with pytest.warns(UserWarning, match="left out the folder '.git', whose name begins with a dot"):
        assert load("folder", root=tmp_path).class_names == {0: "__proto__", 1: "cat"}


def test_folders_without_classes_or_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folders in it; expected one folder a class"):
        load("folder", root=tmp_path)
    write_image(tmp_path / "1.png")
    with pytest.raises(DataError, match="only images in it"):
        load("folder", root=tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match="class folder 'cat' holds no image file"):
        load("folder", root=tmp_path)


def test_equal_images_have_equal_digests_wherever_they_lie(tmp_path: Path) -> None:
    for place in ("here", "there/deeper"):
        for name in ("cat/1.png", "dog/2.png"):
            write_image(tmp_path / place / name)
    here, there = (load("folder", root=tmp_path / place) for place in ("here", "there/deeper"))
    assert here.digest() == there.digest()
    write_image(tmp_path / "here/cat/1.png", level=101)
    assert load("folder", root=tmp_path / "here").digest() != there.digest()


def test_unreadable_images_are_left_out_with_a_warning_and_replaced(tmp_path: Path) -> None:
    for index in range(4):
        write_image(tmp_path / f"cat/{index}.jpg", size=(64, 64))
    truncated = tmp_path / "cat/1.jpg"
    truncated.write_bytes(truncated.read_bytes()[:-200])
    (tmp_path / "cat/text.png").write_text("no image")
    with pytest.warns(UserWarning, match=r"folder: left out cat/\S+ \(.*\), and 1 more"):
        drawn = images("folder", root=tmp_path)
    assert sorted(drawn.names) == ["cat/0.jpg", "cat/2.jpg", "cat/3.jpg"]
    every = load("folder", root=tmp_path)
    assert all(len(draw(every, classes=[0], images_per_class=3, seed=seed).images) == 3 for seed in range(5))


# -- ImageNet ----------------------------------------------------------------------------------------------------------


def test_imagenet_labels_come_from_the_wnid_and_not_from_the_order(tmp_path: Path) -> None:
    write_image(tmp_path / "val/n15075141/a.JPEG")
    write_image(tmp_path / "val/n02012849/b.JPEG")
    (tmp_path / "val/.cache").mkdir()
    subset = load("imagenet", root=tmp_path)
    assert subset.labels.tolist() == [134, 999]
    assert list(subset.names) == ["val/n02012849/b.JPEG", "val/n15075141/a.JPEG"]
    assert subset.class_names[999] == "toilet tissue"
    assert len(subset.class_names) == 1000


def test_digits_are_those_of_scikit_learn() -> None:
    theirs = pytest.importorskip("sklearn.datasets", reason="pip install scikit-learn").load_digits()
    ours = load("digits")
    pixels = torch.stack([ours.read(index) for index in range(len(ours))])
    np.testing.assert_array_equal(16 * pixels[:, 0].double().numpy(), theirs.images)
    np.testing.assert_array_equal(ours.labels.numpy(), theirs.target)


def test_imagenet_ids_are_those_of_timm_and_names_those_of_torchvision() -> None:
    theirs = pytest.importorskip("timm.data", reason="pip install timm").ImageNetInfo()
    assert list(imagenet_wnids()) == theirs.label_names()
    for ours, synonyms in zip(imagenet_class_names(), theirs.label_descriptions(), strict=True):
        assert ours in {"crane bird", "maillot tank suit"} or ours == synonyms.split(",")[0]
    assert imagenet_class_names() == tuple(ResNet50_Weights.DEFAULT.meta["categories"])


def test_imagenet_names_are_a_thousand_and_all_different() -> None:
    assert len(imagenet_wnids()) == len(set(imagenet_class_names())) == 1000
    assert imagenet_wnids()["n01440764"] == 0
    assert imagenet_class_names()[0] == "tench"


def test_imagenet_folders_of_another_kind_are_recognised(tmp_path: Path) -> None:
    write_image(tmp_path / "flat/val/ILSVRC2012_val_00000001.JPEG")
    write_image(tmp_path / "numbers/val/0/a.JPEG")
    write_image(tmp_path / "named/val/goldfish/a.JPEG")
    write_image(tmp_path / "inside/n01440764/a.JPEG")
    (tmp_path / "empty/val").mkdir(parents=True)
    for place, reason in (
        ("flat", "1 images and no class folders, as the validation images are released"),
        ("numbers", r"folders named by numbers \(0\)"),
        ("named", "1 of 1 folders that are no class of ImageNet-1K \\('goldfish'\\)"),
        ("inside", "no folder 'val'; it holds class folders itself"),
        ("empty", "is empty"),
    ):
        with pytest.raises(DataError, match=reason):
            load("imagenet", root=tmp_path / place)


# -- the real ones -----------------------------------------------------------------------------------------------------


def test_real_mnist(shared_data: Path) -> None:
    assert len(load("mnist", root=shared_data / "mnist", split="train")) == 60_000
    test = load("mnist", root=shared_data / "mnist")
    assert len(test) == 10_000
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_real_imagenet_subset(shared_data: Path) -> None:
    listed = load("imagenet", root=shared_data / "imagenet-20")
    assert (len(listed), len(listed.classes)) == (1000, 20)
    assert {listed.class_names[label] for label in listed.classes} >= {"tench", "parachute", "beagle"}
    line = (shared_data / "imagenet-wnids.txt").read_text().splitlines()
    assert [text.split()[0] for text in line] == list(datasets.imagenet_wnids())


def test_folders_of_every_odd_kind_are_listed(tmp_path: Path) -> None:
    write_image(tmp_path / "cat/IMG.JPEG")
    (tmp_path / "cat/Thumbs.db").touch()
    (tmp_path / "cat/loop").symlink_to("..", target_is_directory=True)
    (tmp_path / "cat/self").symlink_to("self")
    os.mkfifo(tmp_path / "cat/pipe.png")
    (tmp_path / "dog").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/dog/caf\xe9\n.png")).write_bytes(
        (tmp_path / "cat/IMG.JPEG").read_bytes()
    )
    with pytest.warns(UserWarning, match=r"left out pipe\.png \(pipe\.png cannot be read.*\), and|left out cat/pipe"):
        drawn = images("folder", root=tmp_path)
    assert {"cat/IMG.JPEG", "dog/caf\\xe9\\x0a.png"} < set(drawn.names)
    assert not any("loop/cat/loop" in name for name in drawn.names)
    for index in range(len(drawn)):
        drawn.read(index)
    assert drawn.digest()
    assert load("folder", root=tmp_path).raw.fingerprint()


def test_folders_may_be_nested_deeper_than_python_calls(tmp_path: Path) -> None:
    write_image(tmp_path / "cat/1.png")
    places = [f"{tmp_path}/cat" + "/d" * depth for depth in range(1, 1200)]
    try:
        for place in places:
            os.mkdir(place)
        Path(tmp_path, "cat/1.png").rename(f"{places[-1]}/1.png")
        assert len(load("folder", root=tmp_path)) == 1
        os.remove(f"{places[-1]}/1.png")
    finally:  # what removes temporary folders calls itself
        for place in reversed(places):
            os.rmdir(place)


def test_images_that_belong_to_no_class_are_said(tmp_path: Path) -> None:
    for name in ("cat/1.png", "loose.png", ".dog/1.png", ".git/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_image(tmp_path / name) if name.endswith("png") else (tmp_path / name).touch()
    with pytest.warns(
        UserWarning, match=r"1 images in no class folder and the folder '\.dog', whose name begins"
    ) as said:
        assert load("folder", root=tmp_path).class_names == {0: "cat"}
    assert ".git" not in str(said[0].message)


def test_files_that_unpack_to_far_more_than_they_are_are_refused_before(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", images=np.zeros((2**27, 1, 1, 1), np.uint8), labels=np.zeros(3, int))
    with pytest.raises(DataError, match=r"x\.npz claims to hold 128 MiB in 0\.1. MiB.*not unpacked"):
        load("arrays", root=tmp_path / "x.npz")
    header = bytes((0, 0, 8, 3)) + b"".join(size.to_bytes(4, "big") for size in (2**20, 64, 64))
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + bytes(2**20)))
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", np.zeros(3))
    with pytest.raises(DataError, match=r"its header announces 1048576 x 64 x 64 = 4294967296"):
        load("mnist", root=tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(header[:4] + bytes(4 * 3) + bytes(2**20)))
    with pytest.raises(DataError, match="holds more values; its header announces 0 x 0 x 0"):
        load("mnist", root=tmp_path)


def test_arrays_of_another_byte_order_are_the_same_images(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((3, 4, 4))
    np.savez(tmp_path / "x.npz", images=pixels.astype(">f8"), labels=np.arange(3).astype(">i4"))
    np.savez(tmp_path / "y.npz", images=pixels, labels=np.arange(3))
    assert load("arrays", root=tmp_path / "x.npz").digest() == load("arrays", root=tmp_path / "y.npz").digest()
