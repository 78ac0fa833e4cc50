"""Layers by name, and how their positions become points."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import SwinTransformer, VisionTransformer, convnext_tiny

from manifoldscope.errors import DataError, ModelError
from manifoldscope.recordings.saved import load_manifolds, save_manifolds
from manifoldscope.vision.activations import activations, n_features
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.jacobian import jacobian_norms
from manifoldscope.vision.layers import Layer, layers_of, listed
from manifoldscope.vision.network import seeded

# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "text", "form"),
    [
        (Layer("blocks.5"), "blocks.5", "blocks.5"),
        (Layer("blocks.5", "class_token"), "blocks.5 [class_token]", {"name": "blocks.5", "pool": "class_token"}),
        (Layer("features.3@1", 0), "features.3@1 [0]", {"name": "features.3@1", "pool": 0}),
    ],
)
def test_a_layer_has_one_text_and_one_json_and_is_read_from_either(
    layer: Layer, text: str, form: str | dict[str, object]
) -> None:
    assert (str(layer), layer.json) == (text, form)
    assert Layer.of(text) == Layer.of(form) == Layer.of(layer) == layer
    assert Layer.of(json.loads(json.dumps(layer.json))) == layer
    assert hash(Layer.of(text)) == hash(layer)


def test_the_space_before_a_way_to_pool_may_be_left_out_where_no_pattern_can_be_meant() -> None:
    assert Layer.of("blocks.*[mean]") == Layer("blocks.*", "mean")  # and not what ends with an m, e, a or n
    assert Layer.of("layer[12]") == Layer("layer[12]")
    assert listed("all[mean]") == ["all[mean]"]
    assert Layer.of("all[mean]") == Layer("all", "mean")


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("", "a layer is called ''; expected the name of a module, or 'penultimate'"),
        ("conv1 [mena]", "layer 'conv1': there is no pool 'mena'; did you mean 'mean'"),
        ("conv1 [-1]", "there is no pool '-1'"),
        ({"name": "conv1", "pool": True}, "there is no pool 'True'"),
        ({"name": "conv1", "pool": 1.5}, r"there is no pool '1\.5'"),
        ({"name": "conv1", "pol": "mean"}, "is no layer; expected a name, or a table with name and pool"),
        (3, "3 is no layer"),
    ],
)
def test_what_is_no_layer_is_refused(form: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Layer.of(form)  # type: ignore[arg-type]


def test_lists_of_layers_are_checked() -> None:
    assert layers_of(["a", Layer("a", "mean")]) == [Layer("a"), Layer("a", "mean")]
    for layers, message in (
        ([], "no layer was asked for"),
        (["a [mean]", Layer("a", "mean")], r"layer 'a \[mean\]' is listed twice"),
        ("a", r"layers = 'a': expected a list of names, such as \['a'\]"),
        (Layer("a", 2), "expected a list of names"),
    ):
        with pytest.raises(ModelError, match=message):
            layers_of(layers)


# -- networks ----------------------------------------------------------------------------------------------------------

SIDE = 32


def built(make: Callable[[], nn.Module]) -> nn.Module:
    with seeded(0, "weights"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make().eval()


def timm(name: str, **settings: object) -> nn.Module:
    library = pytest.importorskip("timm", reason="pip install timm")
    return built(lambda: library.create_model(name, num_classes=3, **settings))


def timm_vit(name: str = "vit_tiny_patch16_224") -> nn.Module:
    return timm(name, img_size=SIDE, depth=2, patch_size=8)


def torchvision_vit() -> nn.Module:
    return built(
        lambda: VisionTransformer(
            image_size=SIDE, patch_size=8, num_layers=2, num_heads=2, hidden_dim=12, mlp_dim=24, num_classes=3
        )
    )


def timm_swin() -> nn.Module:
    sizes = {"depths": (1, 1), "embed_dim": 12, "num_heads": (2, 2), "window_size": 4}
    return timm("swin_tiny_patch4_window7_224", img_size=SIDE, **sizes)


def torchvision_swin() -> nn.Module:
    return built(lambda: SwinTransformer([4, 4], 12, [1, 1], [2, 2], [4, 4], num_classes=3))


def timm_convnext() -> nn.Module:
    return timm("convnext_atto", depths=(1, 1, 1, 1), dims=(6, 10, 16, 16), conv_mlp=False)


@pytest.fixture
def pixels() -> Tensor:
    return torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def output_of(module: nn.Module, name: str, pixels: Tensor) -> Tensor:
    """What a module gives, by a hook of our own."""
    heard = []
    handle = dict(module.named_modules())[name].register_forward_hook(lambda _, args, output: heard.append(output))
    with torch.no_grad():
        module(pixels)
    handle.remove()
    return heard[-1]


def points(module: nn.Module, layer: str | Layer, pixels: Tensor) -> tuple[Tensor, str]:
    (found,) = activations(module, ImageSet.of(pixels, [0] * len(pixels)), layers=[layer], batch_size=2)
    assert found.layer == str(Layer.of(layer))
    return found.points, found.pool


def near(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)  # batches of other sizes


# -- tokens ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "layer"),
    [(timm_vit, "blocks.0"), (timm_vit, "blocks.1.mlp.act"), (torchvision_vit, "encoder.layers.encoder_layer_0")],
)
def test_tokens_are_pooled_as_asked(make: Callable[[], nn.Module], layer: str, pixels: Tensor) -> None:
    module = make()
    tokens = output_of(module, layer, pixels)
    assert tokens.shape[1] == 17, "16 patches and the class token"
    for pool, expected in (
        (None, tokens[:, 0]),
        ("class_token", tokens[:, 0]),
        ("patch_tokens_mean", tokens[:, 1:].mean(1)),
        ("mean", tokens.mean(1)),
        ("max", tokens.amax(1)),
        ("flatten", tokens.flatten(1)),
        (4, tokens[:, 4]),
        ("positions", tokens.reshape(-1, tokens.shape[2])),
    ):
        found, said = points(module, Layer(layer, pool), pixels)
        near(found, expected)
        assert said == ("class_token" if pool is None else str(pool))


@pytest.mark.parametrize(("make", "layer"), [(timm_vit, "patch_embed"), (timm_vit, "patch_embed.norm")])
def test_a_layer_before_the_class_token_has_none(make: Callable[[], nn.Module], layer: str, pixels: Tensor) -> None:
    module = make()
    patches = output_of(module, layer, pixels)
    assert patches.shape[1] == 16
    for pool in (None, "mean", "patch_tokens_mean"):
        found, said = points(module, Layer(layer, pool), pixels)
        near(found, patches.mean(1))
        assert said == (pool or "mean")
    with pytest.raises(ModelError, match=r"gives shape \(2, 16, 192\), without a class token; ask for the mean"):
        points(module, Layer(layer, "class_token"), pixels)


def test_registers_are_no_patches_and_no_class_token(pixels: Tensor) -> None:
    module = timm("vit_medium_patch16_reg4_gap_256", img_size=SIDE, depth=1, patch_size=8)
    tokens = output_of(module, "blocks.0", pixels)
    assert tokens.shape[1] == 4 + 16
    found, said = points(module, "blocks.0", pixels)
    near(found, tokens[:, 4:].mean(1))
    assert said == "patch_tokens_mean"
    with pytest.raises(ModelError, match="without a class token"):
        points(module, Layer("blocks.0", "class_token"), pixels)


def test_class_and_distillation_tokens_both_stand_before_the_patches(pixels: Tensor) -> None:
    module = timm_vit("deit_tiny_distilled_patch16_224")
    tokens = output_of(module, "blocks.0", pixels)
    near(points(module, "blocks.0", pixels)[0], tokens[:, 0])
    near(points(module, Layer("blocks.0", "patch_tokens_mean"), pixels)[0], tokens[:, 2:].mean(1))


def test_a_network_around_a_transformer_has_its_class_token(pixels: Tensor) -> None:
    inner = torchvision_vit()
    found, said = points(nn.Sequential(nn.Identity(), inner), "1.encoder.ln", pixels)
    near(found, output_of(inner, "encoder.ln", pixels)[:, 0])
    assert said == "class_token"


class Unfolded(nn.Module):
    """Patches without a convolution; the class token is put on after the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3 * 64, 10)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 10))
        self.mix = nn.Linear(10, 10)
        self.head = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.embed(nn.functional.unfold(x, 8, stride=8).transpose(1, 2))
        tokens = self.mix(torch.cat([self.cls_token.expand(len(x), -1, -1), patches], 1))
        return self.head(tokens[:, 0])


def test_without_convolutions_the_longest_layers_have_the_class_token(pixels: Tensor) -> None:
    module = built(Unfolded)
    assert points(module, "mix", pixels)[1] == "class_token"
    assert points(module, "embed", pixels)[1] == "mean"


def test_tokens_of_a_network_without_a_class_token_are_averaged(pixels: Tensor) -> None:
    module = built(lambda: nn.Sequential(nn.Conv2d(3, 6, 8, 8), nn.Flatten(2), Swap(), nn.LayerNorm(6), First()))
    found, said = points(module, "3", pixels)
    near(found, output_of(module, "3", pixels).mean(1))
    assert said == "mean"


class Swap(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


class First(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


# -- maps --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "layer", "channels_last"),
    [
        (timm_swin, "patch_embed", True),
        (timm_swin, "layers.0", True),
        (timm_swin, "layers.1.blocks.0.drop_path1", True),
        (timm_swin, "norm", True),
        (torchvision_swin, "features.0.1", True),
        (torchvision_swin, "features.1", True),
        (torchvision_swin, "features.2.reduction", True),
        (torchvision_swin, "features.3.0.mlp.1", True),
        (torchvision_swin, "permute", False),
        (timm_convnext, "stages.0", False),
        (timm_convnext, "stages.1.blocks.0", False),
        (timm_convnext, "stages.1.blocks.0.norm", True),
        (timm_convnext, "stages.1.blocks.0.mlp.act", True),
        (timm_convnext, "stages.1.blocks.0.drop_path", False),
        (convnext_tiny, "features.1.0", False),
        (convnext_tiny, "features.1.0.block.4", True),
        (convnext_tiny, "features.1.0.block.6", False),
        (convnext_tiny, "features.2.0", False),
    ],
)
def test_channels_are_found_wherever_they_stand(
    make: Callable[[], nn.Module], layer: str, channels_last: bool, pixels: Tensor
) -> None:
    module = built(make)
    output = output_of(module, layer, pixels)
    by_position = output if channels_last else output.permute(0, 2, 3, 1)
    flat = by_position.flatten(1, 2)
    for pool, expected in (
        (None, output.flatten(1)),
        ("flatten", output.flatten(1)),
        ("mean", flat.mean(1)),
        ("patch_tokens_mean", flat.mean(1)),
        ("max", flat.amax(1)),
        (2, by_position.flatten(1, 2)[:, 2]),
        ("positions", flat.flatten(0, 1)),
    ):
        found, said = points(module, Layer(layer, pool), pixels)
        near(found, expected)
        assert said == (str(pool) if pool is not None else "flatten")


def test_a_map_of_as_many_rows_as_channels_is_not_guessed_at(pixels: Tensor) -> None:
    module = built(lambda: nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.ReLU(), Last(), nn.LayerNorm(4), nn.GELU(), Mean()))
    for layer, channels in (("0", (2, 3)), ("3", (1, 2))):
        near(points(module, Layer(layer, "mean"), pixels)[0], output_of(module, layer, pixels).mean(channels))
    assert points(module, "4", pixels)[1] == "flatten"
    with pytest.raises(ModelError, match=r"gives shape \(2, 4, 4, 4\), where modules of the same shape disagree"):
        points(module, Layer("4", "mean"), pixels)


class Last(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2))


def test_a_convolution_over_a_line_is_a_map(pixels: Tensor) -> None:
    module = built(lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 5, 64, 64), nn.ReLU(), nn.Flatten(), Slice()))
    output = output_of(module, "2", pixels)
    assert output.shape == (3, 5, 16)
    near(points(module, Layer("2", "mean"), pixels)[0], output.mean(2))
    assert points(module, "2", pixels)[1] == "flatten"


class Slice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :3]


def test_penultimate_of_a_convolution_is_averaged_unless_it_is_asked_for_otherwise(pixels: Tensor) -> None:
    module = built(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 8, 8), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
    )
    output = output_of(module, "1", pixels)
    found, said = points(module, "penultimate", pixels)
    near(found, output.mean((2, 3)))
    assert said == "mean"
    near(points(module, "penultimate [flatten]", pixels)[0], output.flatten(1))


def test_a_vector_has_no_positions(pixels: Tensor) -> None:
    module = timm_vit()
    assert points(module, "head", pixels)[1] == ""
    assert points(module, Layer("head", "flatten"), pixels)[1] == ""
    with pytest.raises(
        ModelError, match=r"'head \[mean\]' gives shape \(2, 3\), without positions; ask for 'head' alone"
    ):
        points(module, Layer("head", "mean"), pixels)
    with pytest.raises(ModelError, match=r"it has 17 positions, counted from 0"):
        points(module, Layer("blocks.0", 17), pixels)


# -- who takes them ----------------------------------------------------------------------------------------------------


def test_positions_are_points_of_the_class_of_their_image(pixels: Tensor) -> None:
    module = timm_vit()
    tokens = output_of(module, "norm", pixels)
    ant, bee = activations(module, ImageSet.of(pixels, [1, 0, 1]), layers=[Layer("norm", "positions")], batch_size=2)
    near(ant.points, tokens[1])
    near(bee.points, torch.cat([tokens[0], tokens[2]]))


def test_one_module_in_several_ways_in_one_pass(pixels: Tensor, tmp_path) -> None:
    module = timm_vit()
    layers = ["norm", "norm [mean]", Layer("norm", "max")]
    found = activations(module, ImageSet.of(pixels, [0, 0, 0]), layers=layers)
    assert [(m.layer, m.pool) for m in found] == [
        ("norm", "class_token"),
        ("norm [mean]", "mean"),
        ("norm [max]", "max"),
    ]
    save_manifolds(tmp_path / "m.safetensors", found)
    assert [m.pool for m in load_manifolds(tmp_path / "m.safetensors")] == ["class_token", "mean", "max"]


def test_features_are_those_of_a_point(pixels: Tensor) -> None:
    layers = ["norm", "norm [flatten]", "norm [positions]", "penultimate"]
    assert n_features(timm_vit(), layers, pixels[0]) == {
        "norm": 192,
        "norm [flatten]": 17 * 192,
        "norm [positions]": 192,
        "penultimate": 192,
    }


def test_the_jacobian_is_that_of_the_pooled_layer() -> None:
    """An output of 1 x 1 convolutions without bias: every channel of every position is a multiple of its own pixel."""
    convolution = nn.Conv2d(1, 2, 1, bias=False)
    with torch.no_grad():
        convolution.weight.copy_(torch.tensor([3.0, 4.0]).view(2, 1, 1, 1))
    module = nn.Sequential(convolution, nn.Flatten(), Slice())
    images = ImageSet.of(torch.rand(2, 1, 4, 4), [0, 0])
    for pool, norm in (("flatten", 5 * 4.0), (3, 5.0), ("mean", 5 / 4)):  # sqrt(16) pixels; one; 1/16 of each of 16
        found = jacobian_norms(module, images, layer=Layer("0", pool), n_projections=None).values
        torch.testing.assert_close(found, torch.full((2,), norm, dtype=torch.float64), rtol=1e-5, atol=0)
    with pytest.raises(ModelError, match=r"layer '0 \[positions\]' has many points per image"):
        jacobian_norms(module, images, layer="0 [positions]")


def test_one_pass_of_a_loader_gives_what_an_image_set_gives(pixels: Tensor) -> None:
    module = timm_vit()
    labels = torch.tensor([2, 0, 2])
    dataset = TensorDataset((255 * pixels).round().to(torch.uint8), labels)
    layers = ["norm", Layer("norm", "positions")]
    by_set = activations(module, ImageSet.from_dataset(dataset), layers=layers)
    by_loader = activations(module, DataLoader(dataset, batch_size=2), layers=layers)
    assert len(by_set) == len(by_loader) == 4
    for one, other in zip(by_set, by_loader, strict=True):
        assert (one.label, one.name, one.layer, one.pool) == (other.label, other.name, other.layer, other.pool)
        near(other.points, one.points)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((torch.full((2, 3, 32, 32), 2.0), torch.tensor([0, 1])), r"batch 0 of the loader has pixels in \[2, 2\]"),
        ((torch.rand(2, 32, 32), torch.tensor([0, 1])), r"images of shape \(2, 32, 32\); expected \(n, channels"),
        ((torch.rand(2, 3, 32, 32), torch.tensor([0.5, 1])), "expected one class index per image"),
        ((torch.rand(2, 3, 32, 32),), "expected a tensor of images and one of labels"),
    ],
)
def test_a_loader_of_something_else_is_refused(batch: tuple[Tensor, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        activations(timm_vit(), DataLoader(TensorDataset(*batch), batch_size=2))
