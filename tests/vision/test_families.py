"""Families of networks: for one member of each, the penultimate layer is what its classifier reads.

Weights are random. Classifiers and widths are those that the libraries publish, found without the code that is tested.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from manifoldscope.errors import ModelError
from manifoldscope.vision.activations import activations, layer_table, n_features
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network, undisturbed
from manifoldscope.vision.preprocessing import Preprocessing
from manifoldscope.vision.sources import network

N_CLASSES = 5

TORCHVISION = [
    # family, its smallest member, classifier, width, side of the images, side that it is meant for
    ("alexnet", "alexnet", "classifier.6", 4096, 64, 224),
    ("convnext", "convnext_tiny", "classifier.2", 768, 32, 224),
    ("densenet", "densenet121", "classifier", 1024, 32, 224),
    ("efficientnet", "efficientnet_b0", "classifier.1", 1280, 32, 224),
    ("googlenet", "googlenet", "fc", 1024, 32, 224),
    ("inception", "inception_v3", "fc", 2048, 96, 299),
    ("maxvit", "maxvit_t", "classifier.5", 512, 224, 224),
    ("mnasnet", "mnasnet0_5", "classifier.1", 1280, 32, 224),
    ("mobilenetv2", "mobilenet_v2", "classifier.1", 1280, 32, 224),
    ("mobilenetv3", "mobilenet_v3_small", "classifier.3", 1024, 32, 224),
    ("regnet", "regnet_y_400mf", "fc", 440, 32, 224),
    ("resnet", "resnet18", "fc", 512, 32, 224),
    ("resnet", "resnext50_32x4d", "fc", 2048, 32, 224),
    ("resnet", "wide_resnet50_2", "fc", 2048, 32, 224),
    ("shufflenetv2", "shufflenet_v2_x0_5", "fc", 1024, 32, 224),
    ("squeezenet", "squeezenet1_1", "classifier.1", 512, 64, 224),
    ("swin_transformer", "swin_t", "head", 768, 32, 224),
    ("swin_transformer", "swin_v2_t", "head", 768, 64, 256),
    ("vgg", "vgg11", "classifier.6", 4096, 32, 224),
    ("vision_transformer", "vit_b_32", "heads.head", 768, 224, 224),
]

TIMM = [
    # a member of a family, and the side of the images if it takes others than those that it is meant for
    ("caformer_s18", 64),
    ("coat_lite_tiny", None),
    pytest.param(  # it stores where its patches lie when it is first called
        "convit_tiny", None, marks=pytest.mark.filterwarnings("ignore:convit_tiny changed the buffer 'rel_indices'")
    ),
    ("convnextv2_atto", 64),
    ("convmixer_768_32", 28),
    ("cspnext_tiny", 64),
    ("deit_tiny_patch16_224", None),
    ("densenet121", 64),
    ("dla34", 64),
    ("dpn48b", 64),
    ("edgenext_xx_small", 64),
    ("efficientvit_b0", 64),
    ("ese_vovnet19b_slim_dw", 64),
    ("eva02_tiny_patch14_224", None),
    ("fastvit_t8", 64),
    ("gcvit_xxtiny", None),
    ("ghostnet_050", 64),
    ("gmlp_ti16_224", None),
    ("hgnetv2_b0", 64),
    ("inception_next_atto", 64),
    ("legacy_seresnet18", 64),
    ("mixer_s32_224", None),
    ("mobilenetv3_small_050", 64),
    ("mobilenetv4_conv_small_035", 64),
    ("mobilevit_xxs", 64),
    ("pit_ti_224", None),
    ("poolformer_s12", 64),
    ("pvt_v2_b0", 64),
    ("regnetx_002", 64),
    ("resmlp_12_224", None),
    ("resnest14d", 64),
    ("resnetv2_18", 64),
    ("resnext26ts", 64),
    ("rexnet_100", 64),
    ("skresnet18", 64),
    ("starnet_s050", 64),
    ("swin_tiny_patch4_window7_224", None),
    ("test_byobnet", None),
    ("test_coatnet", None),
    ("test_convnext", None),
    ("test_efficientnet", None),
    ("test_mambaout", None),
    ("test_maxvit", None),
    ("test_nfnet", None),
    ("test_resnet", None),
    ("test_vit", None),
    ("test_vit_relpos", None),
    ("tiny_vit_5m_224", None),
    ("visformer_tiny", None),
    ("vit_tiny_patch16_224", None),
    ("vit_tiny_r_s16_p8_224", None),
    ("xcit_nano_12_p8_224", None),
]

SMALLER = [
    # transformers of which even the smallest are slow, with fewer blocks and smaller images
    ("beit_base_patch16_224", {"img_size": 32, "depth": 1, "embed_dim": 48, "num_heads": 2}),
    ("cait_xxs24_224", {"img_size": 32, "depth": 1}),
    ("twins_svt_small", {"img_size": 64, "depths": (1, 1, 1, 1)}),
    ("vit_base_patch16_siglip_224", {"img_size": 32, "depth": 1, "embed_dim": 48, "num_heads": 2}),
]


def pictures(side: int) -> ImageSet:
    pixels = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    return ImageSet.of(pixels, [0, 0])


def answers(made: Network, images: ImageSet) -> Tensor:
    with undisturbed(made), torch.no_grad():
        return made(made.pixels(images))


def applied(classifier: nn.Module, points: Tensor) -> Tensor:
    """The logits of a linear layer, or of a convolution of one pixel, from its input."""
    with torch.no_grad():
        weight, bias = classifier.weight.flatten(1), classifier.bias
        return points @ weight.T + (0 if bias is None else bias)


def drawn_anew(*classifiers: nn.Module) -> None:
    """Random weights where libraries begin with zeros, from which logits would say nothing."""
    generator = torch.Generator().manual_seed(1)
    for classifier in classifiers:
        with torch.no_grad():
            classifier.weight.copy_(torch.randn(classifier.weight.shape, generator=generator) / 10)


def check_linear(made: Network, images: ImageSet, classifier: nn.Module) -> None:
    drawn_anew(classifier)
    (found,) = activations(made, images)
    assert found.points.shape == (2, classifier.weight.shape[1])
    logits = answers(made, images)
    assert logits.shape == (2, N_CLASSES)
    assert logits.std() > 0
    torch.testing.assert_close(applied(classifier, found.points), logits, rtol=1e-3, atol=1e-3)


# -- torchvision -------------------------------------------------------------------------------------------------------


def test_every_family_of_torchvision_is_there() -> None:
    builders = map(models.get_model_builder, models.list_models(module=models))
    families = {builder.__module__.rpartition(".")[2] for builder in builders}
    assert families == {family for family, *_ in TORCHVISION}


@pytest.mark.parametrize(("name", "classifier", "width", "side", "crop"), [row[1:] for row in TORCHVISION])
def test_torchvision(name: str, classifier: str, width: int, side: int, crop: int) -> None:
    made = network(f"torchvision:{name}", n_classes=N_CLASSES)
    assert made.preprocessing.crop == crop
    assert (made.mean, made.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert made.preprocessing.channels == 3
    last = made.module.get_submodule(classifier)
    images = pictures(side)
    made = Network(made.module, mean=made.mean, std=made.std, preprocessing=Preprocessing(crop=side))
    if name == "squeezenet1_1":  # its classifier is a convolution before a ReLU and the mean over space
        (found,) = activations(made, images)
        with undisturbed(made), torch.no_grad():
            features = made.module.features(made.normalise(made.pixels(images)))
        torch.testing.assert_close(found.points, features.mean(dim=(2, 3)))
    else:
        check_linear(made, images, last)
    table = {row.name: row for row in layer_table(made)}
    assert (table["penultimate"].type, table["penultimate"].shape) == (f"input of {classifier}", (width,))


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("vgg16", {"avgpool": 25088, "penultimate": 4096}),
        ("densenet161", {"penultimate": 2208}),
        ("alexnet", {"avgpool": 9216, "penultimate": 4096}),
        ("convnext_base", {"penultimate": 1024}),
    ],
)
def test_the_other_networks_of_the_original_study_have_its_layers(name: str, layers: dict[str, int]) -> None:
    """They are instantiated and traced, not run on trained weights."""
    made = network(f"torchvision:{name}", n_classes=N_CLASSES)
    assert (made.preprocessing.crop, made.mean) == (224, (0.485, 0.456, 0.406))
    assert n_features(made, list(layers), torch.rand(3, 64, 64)) == layers


def test_tokens_of_the_transformer_of_torchvision() -> None:
    made = network("torchvision:vit_b_32", n_classes=N_CLASSES)
    images = pictures(224)
    layer = "encoder.layers.encoder_layer_0"
    token, patches = activations(made, images, layers=[f"{layer} [class_token]", f"{layer} [patch_tokens_mean]"])
    heard: list[Tensor] = []
    handle = made.module.get_submodule(layer).register_forward_hook(lambda *called: heard.append(called[2]))
    answers(made, images)
    handle.remove()
    assert heard[0].shape == (2, 1 + 7 * 7, 768)
    assert torch.equal(token.points, heard[0][:, 0])
    torch.testing.assert_close(patches.points, heard[0][:, 1:].mean(1))


# -- timm --------------------------------------------------------------------------------------------------------------


def of_timm(name: str, side: int | None = None, **smaller: Any) -> Network:
    timm = pytest.importorskip("timm", reason="pip install timm")
    if not timm.is_model(name):  # names come and go between releases of timm
        pytest.skip(f"timm {timm.__version__} has no {name}")
    if smaller:
        module = timm.create_model(name, num_classes=N_CLASSES, **smaller)
        return network(module, mean=[0.5] * 3, std=[0.5] * 3, crop=smaller["img_size"])
    made = network(f"timm:{name}", n_classes=N_CLASSES, **({} if side is None else {"crop": side, "resize": side}))
    config = made.module.pretrained_cfg
    assert (made.mean, made.std) == (tuple(config["mean"]), tuple(config["std"]))
    assert made.preprocessing.channels == config["input_size"][0]
    assert made.preprocessing.crop == (side or config["input_size"][-1])
    return made


def last_layer(module: nn.Module) -> nn.Module:
    """The classifier by the library's own account; the last layer of one that is a small network."""
    layers = [child for child in module.get_classifier().modules() if isinstance(child, nn.Linear | nn.Conv2d)]
    return layers[-1]


@pytest.mark.parametrize(("name", "side"), TIMM)
def test_timm(name: str, side: int | None) -> None:
    made = of_timm(name, side)
    check_linear(made, pictures(made.preprocessing.crop), last_layer(made.module))


@pytest.mark.parametrize(("name", "smaller"), SMALLER)
def test_large_transformers_of_timm(name: str, smaller: dict[str, Any]) -> None:
    made = of_timm(name, **smaller)
    check_linear(made, pictures(smaller["img_size"]), last_layer(made.module))


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("deit_tiny_distilled_patch16_224", None),
        ("efficientformer_l1", None),
        ("levit_128", None),
        ("pit_ti_distilled_224", None),
        ("repvit_m1", 64),
        ("swiftformer_xs", 64),
    ],
)
def test_of_two_heads_that_are_averaged_the_first_counts(name: str, side: int | None) -> None:
    """What it reads, and what the other reads, give the logits together."""
    made = of_timm(name, side)
    heads = made.module.get_classifier()
    pair = heads if isinstance(heads, tuple | list) else (heads,)
    first, second = [layer for head in pair for layer in head.modules() if isinstance(layer, nn.Linear)]
    drawn_anew(first, second)
    images = pictures(made.preprocessing.crop)
    read: list[Tensor] = []
    handle = second.register_forward_pre_hook(lambda _, args: read.append(args[0].detach()))
    (found,) = activations(made, images)
    handle.remove()
    both = (applied(first, found.points) + applied(second, read[-1])) / 2
    torch.testing.assert_close(both, answers(made, images), rtol=1e-3, atol=1e-3)


def test_a_distilled_transformer_is_read_at_its_class_token() -> None:
    made = of_timm("deit_tiny_distilled_patch16_224")
    images = pictures(224)
    pools = ("class_token", "patch_tokens_mean", 1)
    read, token, patches, distilled = activations(
        made, images, layers=["penultimate", *({"name": "norm", "pool": pool} for pool in pools)]
    )
    with undisturbed(made), torch.no_grad():
        tokens = made.module.forward_features(made.normalise(made.pixels(images)))
    assert tokens.shape == (2, 2 + 14 * 14, 192)
    assert torch.equal(read.points, token.points)
    torch.testing.assert_close(token.points, tokens[:, 0])
    torch.testing.assert_close(distilled.points, tokens[:, 1])
    torch.testing.assert_close(patches.points, tokens[:, 2:].mean(1))


def test_an_auxiliary_head_is_none() -> None:
    made = of_timm("volo_d1_224")  # its other head gives logits of each patch
    images = pictures(224)
    (found,) = activations(made, images)
    with undisturbed(made), torch.no_grad():
        features = made.module.forward_features(made.normalise(made.pixels(images)))
    torch.testing.assert_close(found.points, features[:, 0])


def test_of_heads_on_branches_of_other_widths_the_last_counts() -> None:
    made = of_timm("crossvit_tiny_240")
    (found,) = activations(made, pictures(240))
    assert [head.in_features for head in made.module.get_classifier()] == [96, 192]
    assert found.points.shape == (2, 192)


@pytest.mark.parametrize(
    ("name", "smaller", "layer", "n_before"),
    [
        ("vit_tiny_patch16_224", {"img_size": 32, "depth": 2}, "blocks.0", 1),
        ("vit_base_patch14_reg4_dinov2", {"img_size": 28, "depth": 2, "embed_dim": 48, "num_heads": 2}, "blocks.0", 5),
        ("eva02_tiny_patch14_224", {"img_size": 28, "depth": 2}, "blocks.0", 1),
        (
            "beit_base_patch16_224",
            {"img_size": 32, "depth": 2, "embed_dim": 48, "num_heads": 2},
            "blocks.0",
            1,
        ),
        ("cait_xxs24_224", {"img_size": 32, "depth": 2}, "norm", 1),
        ("xcit_nano_12_p8_224", {"img_size": 32, "depth": 2}, "norm", 1),
    ],
)
def test_tokens_of_transformers(name: str, smaller: dict[str, Any], layer: str, n_before: int) -> None:
    made = of_timm(name, **smaller)
    images = pictures(smaller["img_size"])
    heard: list[Tensor] = []
    handle = made.module.get_submodule(layer).register_forward_hook(lambda *called: heard.append(called[2]))
    answers(made, images)
    handle.remove()
    tokens = heard[-1]
    token, patches, default = activations(
        made, images, layers=[f"{layer} [class_token]", f"{layer} [patch_tokens_mean]", layer]
    )
    assert torch.equal(token.points, tokens[:, 0])
    assert torch.equal(default.points, tokens[:, 0])
    torch.testing.assert_close(patches.points, tokens[:, n_before:].mean(1))


def test_a_transformer_without_a_class_token_says_so() -> None:
    made = of_timm("vit_base_patch16_siglip_224", **SMALLER[-1][1])
    images = pictures(32)
    (default,) = activations(made, images, layers=["blocks.0"])
    assert default.pool == "mean"
    with pytest.raises(ModelError, match="without a class token; ask for the mean"):
        activations(made, images, layers=["blocks.0 [class_token]"])


# -- of one's own ------------------------------------------------------------------------------------------------------


class Gated(nn.Module):
    """Linear layers inside, also of the width of the logits, and a convolution that classifies."""

    def __init__(self, *, narrow: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.squeeze, self.excite = nn.Linear(8, narrow), nn.Linear(narrow, 8)
        self.classify = nn.Conv2d(8, N_CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x * self.excite(self.squeeze(x.mean((2, 3)))).sigmoid()[:, :, None, None]
        return self.classify(x.mean((2, 3), keepdim=True)).flatten(1)


@pytest.mark.parametrize("narrow", [2, N_CLASSES])
def test_a_convolution_that_classifies_after_linear_layers(narrow: int) -> None:
    module = Gated(narrow=narrow)
    check_linear(network(module, mean=[0.5] * 3, std=[0.5] * 3), pictures(8), module.classify)


def test_a_layer_that_reads_as_many_features_as_there_are_classes_is_no_second_head() -> None:
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(192, N_CLASSES), nn.ReLU(), nn.Linear(N_CLASSES, N_CLASSES, bias=False)
    )
    check_linear(network(module, mean=[0.5] * 3, std=[0.5] * 3), pictures(8), module[3])
