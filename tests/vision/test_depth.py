"""Layers in the order of execution: which "all" measures, what patterns match, and how wide maps are pooled."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer, resnet18

from manifoldscope.errors import ModelError
from manifoldscope.vision.activations import activations, layer_table
from manifoldscope.vision.depth import WIDE, expanded, places
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.layers import Layer
from manifoldscope.vision.network import seeded
from manifoldscope.vision.small import build


def pixels(channels: int, side: int, n: int = 2) -> Tensor:
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0))


def named(module: nn.Module, asked: object, images: Tensor) -> list[str]:
    return [str(layer) for layer in expanded(module, asked, images)]  # type: ignore[arg-type]  # any form


@pytest.fixture(scope="module")
def residual() -> nn.Module:
    with seeded(0, "weights"):
        return resnet18(num_classes=3).eval()


@pytest.fixture(scope="module")
def transformer() -> nn.Module:
    with seeded(0, "weights"):
        return VisionTransformer(
            image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=12, mlp_dim=24, num_classes=3
        ).eval()


# -- all ---------------------------------------------------------------------------------------------------------------


def test_all_of_small_networks_ends_with_penultimate_and_logits_and_has_nothing_twice() -> None:
    cnn = build("cnn", channels=1, size=8, n_classes=10, seed=0)
    assert named(cnn, "all", pixels(1, 8)) == ["conv1", "relu1", "conv2", "relu2", "dense", "penultimate", "logits"]
    mlp = build("mlp", channels=1, size=8, n_classes=10, seed=0)
    assert named(mlp, ["all"], pixels(1, 8)) == ["dense1", "relu1", "dense2", "penultimate", "logits"]
    reasons = {place.name: place.left_out for place in places(cnn, pixels(1, 8)) if place.left_out}
    assert reasons == {"flatten": "same points as relu2", "relu3": "same points as penultimate"}
    assert places(mlp, pixels(1, 8))[0].left_out == "same points as the images"


def test_all_of_a_residual_network_has_each_block_once_under_its_own_name() -> None:
    found = named(build("resnet20", channels=3, size=32, n_classes=10, seed=0), "all", pixels(3, 32))
    assert len(found) == 3 + 9 * 6 + 2  # the stem; two convolutions, norms, an activation and the sum a block; the end
    assert found[:3] == ["conv1", "bn1", "relu"]
    assert found[-3:] == ["layer3.2", "penultimate", "linear"]
    assert [name for name in found if name.count(".") < 2 and "layer" in name] == [
        f"layer{stage}.{block}" for stage in (1, 2, 3) for block in (0, 1, 2)
    ]


def test_no_two_layers_of_all_give_the_same_points(residual: nn.Module, transformer: nn.Module) -> None:
    for module, side in ((residual, 64), (transformer, 32)):
        images = ImageSet.of(pixels(3, side, 3), [0, 0, 0])
        found = activations(module, images, layers="all", batch_size=3)
        for at, one in enumerate(found):
            for other in found[at + 1 :]:
                assert one.points.shape != other.points.shape or not torch.equal(one.points, other.points)


def test_all_is_in_the_order_of_execution_and_names_what_layer_table_names(residual: nn.Module) -> None:
    table = [row.name for row in layer_table(residual, (3, 64, 64))]
    found = [Layer.of(name).name for name in named(residual, "all", pixels(3, 64))]
    assert found[:-2] == [name for name in table if name in found[:-2]]
    assert found[-2:] == ["penultimate", "fc"]


def test_a_wide_map_is_averaged_unless_a_pool_is_asked_for(residual: nn.Module) -> None:
    found = {place.name: place for place in places(residual, pixels(3, 64))}
    assert (str(found["relu"].layer), found["relu"].n_features) == ("relu [mean]", 64)  # 64 x 32 x 32 is 2**16
    assert (str(found["maxpool"].layer), found["maxpool"].n_features) == ("maxpool", 64 * 16 * 16)
    assert found["maxpool"].n_features <= WIDE < 64 * 32 * 32
    assert named(residual, ["rel* [flatten]"], pixels(3, 64)) == ["relu [flatten]"]
    assert named(residual, ["relu"], pixels(3, 64)) == ["relu"]  # a name is no pattern


def test_an_average_over_space_is_not_measured_beside_the_penultimate_layer() -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 40, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 3)
    )
    found = {place.name: place for place in places(module, pixels(1, 32))}
    assert found["1"].left_out == found["2"].left_out == "same points as penultimate"  # 40 x 32 x 32: averaged
    assert named(module, "all", pixels(1, 32)) == ["0 [mean]", "penultimate", "4"]


def test_nothing_inside_attention_is_measured_and_blocks_are(transformer: nn.Module) -> None:
    found = named(transformer, "all", pixels(3, 32))
    block = "encoder.layers.encoder_layer_0"
    assert {block, f"{block}.self_attention", f"{block}.mlp", "penultimate", "heads.head"} <= set(found)
    assert not {"encoder", "encoder.ln", "encoder.layers", "heads", f"{block}.dropout"} & set(found)
    assert found[-2:] == ["penultimate", "heads.head"]

    class SelfAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.value = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            weights: Tensor = (self.query(x) @ x.transpose(1, 2)).softmax(-1)
            return weights @ self.value(x)

    module = nn.Sequential(
        nn.Conv2d(1, 8, 4, stride=4), Tokens(), SelfAttention(), Mean(), nn.LayerNorm(8), nn.Linear(8, 3)
    )
    assert named(module, "all", pixels(1, 8)) == ["0", "1", "2", "penultimate", "5"]
    reasons = {place.name: place.left_out for place in places(module, pixels(1, 8))}
    assert reasons["2.query"] == reasons["2.value"] == "inside 2"


class Tokens(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2)


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


class Windows(nn.Module):
    """Each image in four parts, one after the other, as windows of attention are."""

    def __init__(self) -> None:
        super().__init__()
        self.parts, self.one = nn.Unflatten(1, (4, 16)), nn.Linear(16, 16)
        self.score, self.head = nn.Linear(64, 1), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.one(self.parts(x.flatten(1)).flatten(0, 1)).view(len(x), -1)
        return self.head(parts * self.score(parts))  # type: ignore[no-any-return]  # a tensor


def test_what_gives_no_point_for_each_image_is_left_out_with_its_reason() -> None:
    reasons = {place.name: place.left_out for place in places(Windows(), pixels(1, 8))}
    assert reasons["one"] == "not one output per image"
    assert reasons["score"] == "one feature"
    assert named(Windows(), "all", pixels(1, 8)) == ["parts", "penultimate", "head"]


# -- patterns ----------------------------------------------------------------------------------------------------------


def test_patterns_match_as_in_a_shell_in_the_order_of_execution(residual: nn.Module) -> None:
    images = pixels(3, 64)
    assert named(residual, ["layer?.1", "conv*"], images) == [
        "conv1 [mean]", "layer1.1", "layer2.1", "layer3.1", "layer4.1",
    ]  # fmt: skip
    assert named(residual, ["layer4", "layer[12]", "penultimate"], images) == [
        "layer1", "layer2", "layer4", "penultimate",
    ]  # fmt: skip
    inside = named(residual, ["layer4.1.*"], images)
    assert inside == [f"layer4.1.{name}" for name in ("conv1", "bn1", "relu@0", "conv2", "bn2", "relu@1")]
    assert named(residual, ["layer4.1*"], images) == [*inside[:-1], "layer4.1"]  # of equal points the outermost


def test_a_pattern_carries_its_pool_to_the_layers_that_can_be_pooled_so(transformer: nn.Module) -> None:
    images, block = pixels(3, 32), "encoder.layers.encoder_layer"
    assert named(transformer, [f"{block}_? [patch_tokens_mean]"], images) == [
        f"{block}_0 [patch_tokens_mean]", f"{block}_1 [patch_tokens_mean]",
    ]  # fmt: skip
    assert named(transformer, [{"name": "conv_*", "pool": "mean"}, "heads.*[d]"], images) == [
        "conv_proj [mean]", "heads.head",
    ]  # fmt: skip
    tokens = named(transformer, ["all [class_token]"], images)
    assert tokens
    assert all(name.startswith("encoder") and name.endswith(" [class_token]") for name in tokens)
    averaged = named(transformer, ["all [mean]"], images)
    assert "conv_proj [mean]" in averaged
    assert averaged[-2:] == ["penultimate", "heads.head"]  # without positions


def test_a_layer_that_several_patterns_name_is_measured_once(residual: nn.Module) -> None:
    found = named(residual, ["all", "layer1.0", "layer1.*", "layer1.0 [mean]"], pixels(3, 64))
    assert len(set(found)) == len(found)
    assert found.index("layer1.0 [mean]") == found.index("layer1.0") + 1


def test_without_a_pattern_nothing_is_looked_at() -> None:
    class Never(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError

    assert named(Never(), ["b", "a [mean]"], pixels(1, 8)) == ["b", "a [mean]"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("leyer*", r"no layer matches the pattern 'leyer\*': there is no layer 'leyer'; did you mean 'layer"),
        ("fc* [class_token]", r"of the layers that match 'fc\* \[class_token\]' \(fc\) none gives such a point"),
    ],
)
def test_a_pattern_that_names_nothing_says_what_is_near(pattern: str, message: str, residual: nn.Module) -> None:
    with pytest.raises(ModelError, match=message):
        expanded(residual, [pattern], pixels(3, 64))


def test_a_single_image_will_do_and_the_network_is_left_as_it_was() -> None:
    module = build("cnn", channels=1, size=8, n_classes=10, seed=0).train()
    assert named(module, "all", pixels(1, 8, 1)) == named(module, "all", pixels(1, 8, 5))
    assert module.training
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in module.modules())


def test_all_layers_come_from_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    module = build("cnn", channels=1, size=8, n_classes=10, seed=0)
    seen: list[int] = []
    module.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    found = activations(module, ImageSet.of(pixels(1, 8, 50), [0] * 50), layers="all", batch_size=50)
    assert [manifold.layer for manifold in found] == named(module, "all", pixels(1, 8))
    assert seen.count(50) == 1
