"""Activations: which tensor of which call, and that nothing else is disturbed."""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manifoldscope.errors import DataError, ModelError
from manifoldscope.geometry import measure
from manifoldscope.geometry.manifold import ClassManifold
from manifoldscope.recordings import load_manifolds, load_points, save_manifolds
from manifoldscope.vision.activations import (
    _Cloud,
    activations,
    activations_and_logits,
    layer_table,
    n_features,
)
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network, logits
from manifoldscope.vision.preprocessing import Preprocessing
from manifoldscope.vision.sources import network

GREY = Preprocessing(channels=1)


@pytest.fixture
def images() -> ImageSet:
    pixels = torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return ImageSet.of(pixels, [2, 0, 2, 0, 0, 2, 0], class_names=["cat", "dog", "emu"])


def pixels_of(images: ImageSet, label: int) -> Tensor:
    return torch.stack([images.read(int(i)) for i in (images.labels == label).nonzero()])


def test_one_manifold_per_layer_and_class_in_the_order_of_the_images(images: ImageSet) -> None:
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 5)).train()
    net = Network(module, mean=(0.4,), std=(0.2,), preprocessing=GREY)
    found = activations(net, images, layers=["3", "0"], batch_size=2)
    assert [(m.layer, m.label, m.name) for m in found] == [
        ("3", 0, "cat"),
        ("3", 2, "emu"),
        ("0", 0, "cat"),
        ("0", 2, "emu"),
    ]
    expected = module[0](net.normalise(pixels_of(images, 2))).flatten(1)
    torch.testing.assert_close(found[3].points, expected.detach())
    assert found[3].points.dtype == torch.float32
    assert module.training
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in module.modules())


def test_the_logits_of_the_same_pass_are_in_the_order_of_the_images(images: ImageSet) -> None:
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 5))
    net = Network(module, mean=(0.4,), std=(0.2,), preprocessing=GREY)
    manifolds, found = activations_and_logits(net, images, layers=["2"], batch_size=3)
    torch.testing.assert_close(found, logits(net, images))
    torch.testing.assert_close(module[3](manifolds[0].points).detach(), found[images.labels == 0])


def test_what_a_batch_gave_goes_before_the_next_one_passes(images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[weakref.ref[Tensor]] = []
    alive: list[int] = []
    add = _Cloud.add

    def noted(cloud: _Cloud, values: Tensor, n_before: int, n_images: int, resolution: float) -> None:
        given.append(weakref.ref(values))
        add(cloud, values, n_before, n_images, resolution)

    monkeypatch.setattr(_Cloud, "add", noted)
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 5))
    module.register_forward_pre_hook(lambda *_: alive.append(sum(each() is not None for each in given)))
    activations(Network(module, preprocessing=GREY), images, layers=["0", "1", "2", "3"], batch_size=2)
    assert len(given) > 4
    assert max(alive) <= 1  # the last layer's may wait for the name that it has in the loop


def test_logits_that_a_module_writes_into_one_buffer_are_copied(images: ImageSet) -> None:
    class Reusing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.buffer = nn.Linear(64, 5), torch.zeros(9, 5)

        def forward(self, pixels: Tensor) -> Tensor:
            return self.buffer[: len(pixels)].copy_(self.linear(pixels.flatten(1)))

    net = Network(Reusing(), preprocessing=GREY)
    with torch.no_grad():
        expected = torch.cat([net(images.read(place)[None]).clone() for place in range(len(images))])
    torch.testing.assert_close(logits(net, images, batch_size=2), expected)
    _, found = activations_and_logits(net, images, layers=["linear"], batch_size=2)
    torch.testing.assert_close(found, expected)


def test_an_in_place_layer_does_not_overwrite_what_came_before_it(images: ImageSet) -> None:
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(108, 5))
    before, after = activations(Network(module, preprocessing=GREY), images.of_class(0), layers=["0", "1"])
    assert before.points.min() < 0
    assert torch.equal(before.points.clamp(min=0), after.points)


class Twice(nn.Module):
    """Calls one layer two times, and has one that it never calls, one without a tensor, and one with several."""

    def __init__(self) -> None:
        super().__init__()
        self.square = nn.Linear(64, 64)
        self.unused = nn.Linear(2, 2)
        self.word = Word()
        self.pair = Pair()

    def forward(self, x: Tensor) -> Tensor:
        self.word()
        return self.square(self.pair(self.square(x.flatten(1)))[0])[:, :4]


class Word(nn.Module):
    def forward(self) -> str:
        return "no tensor"


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * x, x


def test_a_module_that_is_called_twice(images: ImageSet) -> None:
    module = Twice()
    net = Network(module, preprocessing=GREY)
    one = images.of_class(0)
    first = module.square(pixels_of(images, 0).flatten(1))
    layers = ["square", "square@0", "square@1", "penultimate", "pair"]
    last, zeroth, second, penultimate, pair = (m.points for m in activations(net, one, layers=layers, batch_size=3))
    torch.testing.assert_close(zeroth, first.detach())
    torch.testing.assert_close(penultimate, 2 * first.detach())
    torch.testing.assert_close(pair, 2 * first.detach())
    assert torch.equal(last, second)
    torch.testing.assert_close(last, module.square(2 * first).detach())
    table = {layer.name: layer for layer in layer_table(net, (1, 8, 8))}
    assert list(table) == ["square@0", "pair", "square@1", "penultimate"]
    assert table["penultimate"].type == "input of square"
    for layer, message in (
        ("square@2", r"is called 2 times, so 'square@2' does not exist"),
        ("unused", "'unused' is there but is not executed"),
        ("word", "gives no tensor"),
        ("sqare", "no layer 'sqare'; did you mean 'square'"),
    ):
        with pytest.raises(ModelError, match=message):
            activations(net, one, layers=[layer])


@pytest.mark.parametrize(
    ("name", "width", "size"),
    [
        ("torchvision:resnet18", 512, 64),
        ("torchvision:vgg11", 4096, 32),
        ("torchvision:squeezenet1_1", 512, 64),
        ("torchvision:densenet121", 1024, 32),
        ("torchvision:convnext_tiny", 768, 64),
        ("torchvision:mobilenet_v3_small", 1024, 64),
        ("timm:vit_tiny_patch16_224", 192, 224),
    ],
)
def test_penultimate_is_what_the_classifier_reads(name: str, width: int, size: int) -> None:
    if name.startswith("timm:"):
        pytest.importorskip("timm", reason="pip install timm")
    net = network(name, crop=size)
    net.module.eval()
    photographs = ImageSet.of(torch.rand(2, 3, size, size), [0, 0])
    (found,) = activations(net, photographs)
    assert found.points.shape == (2, width)
    heads = [m for m in net.module.modules() if isinstance(m, nn.Linear)]
    with torch.no_grad():
        answer = net(photographs.raw.pixels)
        if heads:
            torch.testing.assert_close(heads[-1](found.points), answer)
        else:  # SqueezeNet: its last convolution reads what is averaged here
            features = net.module.features(net.normalise(photographs.raw.pixels))
            torch.testing.assert_close(found.points, features.mean(dim=(2, 3)))


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3, 64))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.flatten(1), self.weight)


def test_a_head_without_modules_is_explained(images: ImageSet) -> None:
    with pytest.raises(ModelError, match="executes no linear layer and no convolution as a module"):
        activations(Network(Functional(), preprocessing=GREY), images)


class Poison(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0.999 * x.max(), torch.nan, x)


def test_nan_names_the_network_and_the_layer_and_leaves_no_hooks(images: ImageSet) -> None:
    module = nn.Sequential(nn.Flatten(), Poison(), nn.Linear(64, 2)).train()
    with pytest.raises(ModelError, match=r"mine: layer '1' gives NaN or infinity for .* images"):
        activations(Network(module, name="mine", preprocessing=GREY), images, layers=["1"])
    assert module.training
    assert not any(child._forward_hooks for child in module.modules())


class FailsLater(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 2)
        self.left = 4

    def forward(self, x: Tensor) -> Tensor:
        self.left -= 1
        if not self.left:
            raise KeyError("later")
        return self.linear(x.flatten(1))


def test_hooks_and_modes_are_put_back_after_an_error(images: ImageSet) -> None:
    module = FailsLater().train()
    with pytest.raises(KeyError):
        activations(Network(module, preprocessing=GREY), images, layers=["linear"], batch_size=2)
    assert module.training
    assert module.linear.weight.requires_grad
    assert not module.linear._forward_hooks


def test_what_cannot_be_asked_for(images: ImageSet) -> None:
    net = Network(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), name="mine", preprocessing=GREY)
    for layers, message in (([], "no layer was asked for"), (["1", "1"], "listed twice"), ("1", "a list of names")):
        with pytest.raises(ModelError, match=message):
            activations(net, images, layers=layers)
    with pytest.raises(DataError, match="no images"):
        activations(net, images.subset([]))
    with pytest.raises(ModelError, match=r"mine cannot take images of shape \(1, 9, 9\): mat1 and mat2"):
        activations(net, ImageSet.of(torch.rand(1, 1, 9, 9), [0]))
    with pytest.raises(ModelError, match="images of any size; give the"):
        layer_table(net)


def test_features_are_counted_from_one_image() -> None:
    net = network("small:cnn", channels=1, size=28, n_classes=10)
    assert n_features(net, ["flatten", "penultimate", "conv1"], torch.rand(1, 28, 28)) == {
        "flatten": 3136,
        "penultimate": 128,
        "conv1": 32 * 14 * 14,
    }


def test_wrappers_that_lose_hooks_are_looked_through(images: ImageSet) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    plain = activations(Network(module, preprocessing=GREY), images, layers=["1"])
    for wrapped in (nn.DataParallel(module), torch.compile(module)):
        found = activations(Network(wrapped, preprocessing=GREY), images, layers=["1"])
        assert all(torch.equal(a.points, b.points) for a, b in zip(plain, found, strict=True))


# -- files -------------------------------------------------------------------------------------------------------------


def test_manifolds_survive_a_file(tmp_path: Path, images: ImageSet) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    found = activations(Network(module, preprocessing=GREY), images, layers=["penultimate", "1"])
    save_manifolds(tmp_path / "m.safetensors", found)
    for loaded in (load_manifolds(tmp_path / "m.safetensors"), load_points(tmp_path / "m.safetensors")):
        for one, other in zip(found, loaded, strict=True):
            assert torch.equal(one.points, other.points)
            assert (one.label, one.layer, one.name) == (other.label, other.layer, other.name)
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(DataError, match="cannot be read as saved manifolds"):
        load_manifolds(tmp_path / "torn.safetensors")


@pytest.mark.parametrize("repeated", [0, 3])
def test_the_size_of_a_batch_moves_no_dimension(repeated: int, tmp_path: Path) -> None:
    """Of 40 images, some occur twice; in batches of another size the two may come to differ by rounding."""
    drawing = torch.Generator().manual_seed(0)
    pixels = torch.rand(40, 3, 16, 16, generator=drawing)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 64), nn.ReLU(), nn.Linear(64, 9)
    )
    net = Network(module, preprocessing=Preprocessing(channels=3))
    twice = torch.cat([pixels, pixels[:repeated]])
    values = {}
    for batch_size in (1, 7, 41, 100):
        for found in activations(
            net, ImageSet.of(twice, [0] * len(twice)), layers=["0", "3", "5"], batch_size=batch_size
        ):
            for name in ("two_nn", "mle", "gride", "local_pca"):
                estimate = measure(name, found)
                values.setdefault((found.layer, name), []).append(estimate.value)
                assert estimate.note.startswith(f"{repeated} points equal another one" if repeated else "")
    for (layer, name), found in values.items():
        alone = measure(name, activations(net, ImageSet.of(pixels, [0] * 40), layers=[layer])[0])
        assert found == pytest.approx([alone.value] * 4, rel=1e-4), (layer, name)


def test_the_rounding_of_a_network_is_kept_with_its_activations(tmp_path: Path) -> None:
    """Another algorithm for a convolution moves points by more than the type of the result shows."""
    images = ImageSet.of(torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(1)), [0] * 20)
    (found,) = activations(Network(nn.Sequential(nn.Flatten(), nn.Linear(64, 9)), preprocessing=GREY), images)
    again = found.points[:4] * (1 + 8e-6 * torch.randn(4, 64, generator=torch.Generator().manual_seed(2)))
    both = replace(found, points=torch.cat([found.points, again]))
    assert measure("two_nn", both).note.startswith("4 points equal another one")
    save_manifolds(tmp_path / "m.safetensors", [both])
    assert load_points(tmp_path / "m.safetensors")[0].resolution == both.resolution == 2**-16
    assert "equal" not in measure("two_nn", both.points).note


def test_manifolds_are_the_geometry_rooms_own(images: ImageSet) -> None:
    net = Network(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), preprocessing=GREY)
    assert all(isinstance(manifold, ClassManifold) for manifold in activations(net, images))
