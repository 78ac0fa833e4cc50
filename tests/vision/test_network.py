"""Network: preprocessing, normalisation, and finding a module as it was left."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights

from manifoldscope.errors import DataError, ModelError
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network, as_network, logits, seeded, undisturbed
from manifoldscope.vision.preprocessing import Preprocessing
from manifoldscope.vision.raw import FileImages


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """A 500 x 375 image with structure at every scale."""
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((500, 375), Image.Resampling.BICUBIC).save(tmp_path / "x.png")
    return tmp_path / "x.png"


def test_preprocessing_equals_torchvisions_own_on_a_photograph(photograph: Path) -> None:
    transforms = ResNet18_Weights.IMAGENET1K_V1.transforms()
    raw = FileImages([photograph]).read(0)
    network = Network(nn.Identity(), mean=transforms.mean, std=transforms.std, preprocessing=Preprocessing(224, 256))
    seen = network.normalise(network.preprocessing(raw)[None])[0]
    with Image.open(photograph) as opened:
        levels = (transforms(opened) - seen).abs() * torch.tensor(transforms.std).view(3, 1, 1) * 255
    # both round resized pixels to whole levels; a few land on the other side of a half
    assert levels.max() < 1.01
    assert (levels > 0.01).float().mean() < 0.01


def test_an_image_of_the_crop_size_is_never_rescaled() -> None:
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(Preprocessing(crop=32, resize=40)(image), image / 255, rtol=0, atol=0)


def test_grey_becomes_colour_and_colour_grey_also_in_batches() -> None:
    grey, colour = torch.rand(1, 6, 6), torch.rand(3, 6, 6)
    assert torch.equal(Preprocessing(channels=3)(grey), grey.expand(3, 6, 6))
    luminance = (colour * torch.tensor([0.2989, 0.587, 0.114]).view(3, 1, 1)).sum(0, keepdim=True)
    torch.testing.assert_close(Preprocessing(channels=1)(colour), luminance, rtol=0, atol=2e-4)  # published rounding
    for channels, image in ((3, grey), (1, colour)):
        step = Preprocessing(crop=4, channels=channels)
        assert torch.equal(step(torch.stack([image, image]))[1], step(image))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 2}, "channels = 2"),
        ({"crop": 0}, "crop = 0"),
        ({"crop": 224, "resize": 200}, r"resize = 200: expected at least the crop \(224\)"),
    ],
)
def test_preprocessing_that_cannot_be_is_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Preprocessing(**settings)


def test_normalisation_is_checked() -> None:
    with pytest.raises(ModelError, match="one value a channel"):
        Network(nn.Identity(), mean=(0.5, 0.5), std=(1, 1))
    with pytest.raises(ModelError, match="must be positive"):
        Network(nn.Identity(), mean=(0.5,), std=(0,))


@pytest.mark.parametrize("of", [torch.tensor, np.array, list])
def test_mean_and_std_are_numbers_whatever_holds_them(of: Callable[[list[float]], Any]) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    network = Network(module, mean=of([0.5, 0.25, 0.125]), std=of([0.5, 0.5, 1.0]))
    assert (network.mean, network.std) == ((0.5, 0.25, 0.125), (0.5, 0.5, 1.0))
    network(torch.rand(2, 3, 2, 2))  # without a warning


def test_a_module_whose_weights_have_no_shape_yet_is_refused() -> None:
    module = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    with pytest.raises(ModelError, match=r"have no shape yet \(1.weight\); show the module one batch of images first"):
        Network(module)
    module(torch.rand(2, 3, 2, 2))
    assert Network(module).n_parameters == 26


def test_images_of_many_sizes_need_a_crop(tmp_path: Path) -> None:
    for name, size in (("a.png", (5, 5)), ("b.png", (6, 5))):
        Image.new("RGB", size).save(tmp_path / name)
    names = ["a.png", "b.png"]
    images = ImageSet(FileImages(names, tmp_path), torch.tensor([0, 0]), names, {0: "x"})
    with pytest.raises(DataError, match=r"differ in size .* give the network a crop size"):
        Network(nn.Identity()).pixels(images)
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for batch_size in (1, 2):
        with pytest.raises(DataError, match=r"differ in size .* give the network a crop size"):
            logits(Network(module), images, batch_size=batch_size)
    assert Network(nn.Identity(), preprocessing=Preprocessing(crop=4)).pixels(images).shape == (2, 3, 4, 4)


def test_anything_but_logits_is_refused() -> None:
    with pytest.raises(ModelError, match=r"gives shape \(2, 3, 4, 4\) for 2 images; expected logits"):
        Network(nn.Identity())(torch.rand(2, 3, 4, 4))


class Restless(nn.Module):
    """Changes one buffer in place and replaces another, whatever the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)
        self.bn = nn.BatchNorm1d(2)
        self.register_buffer("count", torch.zeros(1))
        self.register_buffer("mean", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.mean = self.mean + 1
        return self.bn(self.linear(x.flatten(1)))


def test_a_network_is_found_as_it_was_left_also_after_an_error() -> None:
    module = Restless()
    module.bn.eval()
    module.linear.bias.requires_grad_(False)
    module.linear.weight.grad = torch.ones(2, 4)
    before = {name: value.clone() for name, value in module.state_dict().items()}

    def attack_that_fails() -> None:
        with undisturbed(Network(module)) as network:
            assert not module.training
            network(torch.rand(1, 1, 2, 2, requires_grad=True)).sum().backward()
            raise ZeroDivisionError

    with pytest.warns(UserWarning, match="changed the buffer"), pytest.raises(ZeroDivisionError):
        attack_that_fails()
    assert module.training
    assert not module.bn.training
    assert module.linear.weight.requires_grad
    assert not module.linear.bias.requires_grad
    assert torch.equal(module.linear.weight.grad, torch.ones(2, 4))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_are_found_where_the_caller_turned_them_off(mode: Callable[[], AbstractContextManager[None]]) -> None:
    network = Network(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), preprocessing=Preprocessing(channels=1))
    with mode():
        pixels = torch.rand(3, 1, 2, 2)
        with undisturbed(network):
            leaf = pixels.clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(network(leaf).sum(), leaf)
        assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)
    assert gradient.abs().min() > 0


def test_nan_in_a_buffer_is_no_change() -> None:
    module = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4))
    module[1].running_mean.fill_(torch.nan)
    with undisturbed(Network(module)) as network:
        network(torch.rand(2, 1, 2, 2))


def test_a_buffer_that_is_made_anew_with_the_same_values_is_put_back_in_silence() -> None:
    class Anew(nn.Flatten):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            self.scale = self.scale.clone()
            return super().forward(x) * self.scale

    module = Anew()
    scale = module.scale
    with undisturbed(Network(module)) as network:
        network(torch.rand(2, 1, 2, 2))
    assert module.scale is scale


def test_a_sparse_buffer_is_no_hindrance_and_put_back() -> None:
    class Sparse(nn.Flatten):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("graph", torch.eye(4).to_sparse())

        def forward(self, x: Tensor) -> Tensor:
            self.graph *= 2
            return (self.graph @ super().forward(x).T).T

    module = Sparse()
    with pytest.warns(UserWarning, match="changed the buffer 'graph'"), undisturbed(Network(module)) as network:
        network(torch.rand(2, 1, 2, 2))
    assert torch.equal(module.graph.to_dense(), torch.eye(4))


def test_a_buffer_without_numbers_is_refused() -> None:
    module = nn.Flatten()
    module.register_buffer("scale", torch.ones(1, device="meta"))
    with pytest.raises(ModelError, match=r"on the meta device, which holds no numbers \(scale\)"):
        Network(module)


def test_logits_do_not_depend_on_the_batch_size() -> None:
    images = ImageSet.of(torch.rand(5, 1, 2, 2), [0] * 5)
    network = Network(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), preprocessing=Preprocessing(channels=1))
    torch.testing.assert_close(logits(network, images, batch_size=2), logits(network, images))


def test_seeded_weights_repeat_and_leave_the_global_stream_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    with seeded(0, "a"):
        one = torch.rand(3)
    assert torch.equal(torch.rand(1), expected)
    with seeded(0, "a"):
        assert torch.equal(torch.rand(3), one)
    with seeded(0, "b"):
        assert not torch.equal(torch.rand(3), one)


@pytest.mark.parametrize("std", [(0.0,), (-1.0,), (float("nan"),), (float("inf"),), ("a",), (1.0, 1.0)])
def test_a_mean_and_std_that_cannot_be_are_refused(std: tuple[float, ...]) -> None:
    with pytest.raises(ModelError, match=r"positive|finite|numbers|one value a channel"):
        Network(nn.Flatten(), mean=(0.0,) * len(std), std=std)


# -- how many channels -------------------------------------------------------------------------------------------------


class Late(nn.Module):
    """Its first layer takes what a function made, and says nothing of the images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(torch.cat([x] * (6 // x.shape[1]), 1)).mean((2, 3))


def linear(n_features: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(n_features, 2))


@pytest.mark.parametrize("image_channels", [1, 3])
@pytest.mark.parametrize(
    ("module", "settings", "channels"),
    [
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 2)), {}, 1),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 2)), {"mean": [0.5], "std": [0.5]}, 1),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2)), {"mean": [0.5], "std": [0.5]}, 3),
        (linear(64), {}, 1),
        (linear(192), {}, 3),
        (linear(16), {"preprocessing": Preprocessing(crop=4)}, 1),
        (Late(), {"mean": [0.5] * 3, "std": [0.5] * 3}, 3),
        (Late(), {"preprocessing": Preprocessing(channels=1)}, 1),
        (Late(), {}, None),
    ],
)
def test_channels_come_from_the_first_layer_and_the_images(
    module: nn.Module, settings: dict[str, object], channels: int | None, image_channels: int
) -> None:
    network = Network(module, **settings)
    images = ImageSet.of(torch.rand(2, image_channels, 8, 8), [0, 1])
    assert network.pixels(images).shape[1] == (channels or image_channels)
    assert logits(network, images).shape == (2, 2)
    assert network.shape(network.preprocessing.crop or 8)[0] == (channels or 3)


def test_channels_that_contradict_the_normalisation_are_refused() -> None:
    with pytest.raises(ModelError, match=r"must have one value a channel \(1\)"):
        Network(nn.Conv2d(1, 2, 3), mean=[0.5] * 3, std=[0.5] * 3)


def test_grey_and_colour_together_need_a_network_that_tells(tmp_path: Path) -> None:
    for name, mode in (("a.png", "L"), ("b.png", "RGB")):
        Image.new(mode, (4, 4)).save(tmp_path / name)
    names = ["a.png", "b.png"]
    images = ImageSet(FileImages(names, tmp_path), torch.tensor([0, 0]), names, {0: "x"})
    assert Network(linear(48)).pixels(images).shape == (2, 3, 4, 4)
    assert Network(linear(16)).pixels(images).shape == (2, 1, 4, 4)
    with pytest.raises(DataError, match=r"some images are grey and some in colour.*give the network channels = 1 or 3"):
        Network(nn.Identity()).pixels(images)


# -- what a network is made of -----------------------------------------------------------------------------------------


def test_a_module_is_a_network_without_normalisation() -> None:
    module = linear(64)
    network = as_network(module)
    pixels = torch.rand(2, 1, 8, 8)
    assert network.module is module
    assert network.name == "Sequential"
    assert torch.equal(network(pixels), module(pixels))
    assert as_network(network) is network
    with pytest.raises(ModelError, match=r"the network is str; pass a torch\.nn\.Module, or a Network"):
        as_network("resnet50")  # type: ignore[arg-type]


def test_a_network_is_shown_in_one_line_and_its_text_is_escaped() -> None:
    network = Network(linear(16), name="<i>mine", class_names=["a", "b"], preprocessing=Preprocessing(crop=4))
    assert repr(network) == "Network(<i>mine, 34 parameters, grey, 4 x 4, 2 classes)"
    assert "&lt;i&gt;mine" in network._repr_html_()
    assert "<i>" not in network._repr_html_()
    assert repr(Network(nn.Identity())) == "Network(network, 0 parameters, grey or colour, any size)"


def test_images_that_a_network_does_not_take_are_told_by_their_shape() -> None:
    narrow = nn.Sequential(nn.Flatten(), nn.Linear(60, 3))
    with pytest.raises(ModelError, match=r"Sequential cannot take images of shape \(1, 8, 8\), 2 at a time: mat1"):
        logits(narrow, ImageSet.of(torch.rand(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64)))
