"""Published robust networks: files with the published names of tensors load, and names bring what belongs to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from manifoldscope.errors import ModelError
from manifoldscope.vision.architectures import ARCHITECTURES
from manifoldscope.vision.network import undisturbed
from manifoldscope.vision.sources import network
from manifoldscope.vision.sources.published import PUBLISHED, published

CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
NONE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


# Names and shapes of the tensors as the published files have them, listed without the modules.


def norm(name: str, n: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (n,)
    yield f"{name}.num_batches_tracked", ()


def linear(name: str, n_in: int, n_out: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (n_out, n_in)
    yield f"{name}.bias", (n_out,)


def wide(depth: int, width: int, n_classes: int = 10) -> Iterator[tuple[str, tuple[int, ...]]]:
    """As in the files of Carmon et al. 2019 and Zhang et al. 2019, which hold a part that is never run."""
    yield "conv1.weight", (16, 3, 3, 3)
    widths = (16, 16 * width, 32 * width, 64 * width)
    for name, n_in, n_out in (
        ("block1", *widths[:2]),
        ("sub_block1", *widths[:2]),
        ("block2", *widths[1:3]),
        ("block3", *widths[2:]),
    ):
        for index in range((depth - 4) // 6):
            at, first = f"{name}.layer.{index}", n_in if index == 0 else n_out
            yield from norm(f"{at}.bn1", first)
            yield f"{at}.conv1.weight", (n_out, first, 3, 3)
            yield from norm(f"{at}.bn2", n_out)
            yield f"{at}.conv2.weight", (n_out, n_out, 3, 3)
            if index == 0:
                yield f"{at}.convShortcut.weight", (n_out, first, 1, 1)
    yield from norm("bn1", widths[-1])
    yield from linear("fc", widths[-1], n_classes)


def padded_wide(depth: int, width: int, n_classes: int = 10) -> Iterator[tuple[str, tuple[int, ...]]]:
    """As in the files of Gowal et al. 2020 and Rebuffi et al. 2021."""
    yield "mean", (3, 1, 1)
    yield "std", (3, 1, 1)
    yield "init_conv.weight", (16, 3, 3, 3)
    widths = (16, 16 * width, 32 * width, 64 * width)
    for group in range(3):
        n_out = widths[group + 1]
        for index in range((depth - 4) // 6):
            at, first = f"layer.{group}.block.{index}", widths[group] if index == 0 else n_out
            yield from norm(f"{at}.batchnorm_0", first)
            yield f"{at}.conv_0.weight", (n_out, first, 3, 3)
            yield from norm(f"{at}.batchnorm_1", n_out)
            yield f"{at}.conv_1.weight", (n_out, n_out, 3, 3)
            if index == 0:
                yield f"{at}.shortcut.weight", (n_out, first, 1, 1)
    yield from norm("batchnorm", widths[-1])
    yield from linear("logits", widths[-1], n_classes)


def preact(*, final_bn: bool, n_classes: int = 10) -> Iterator[tuple[str, tuple[int, ...]]]:
    """As in the files of Rice et al. 2020, and without the last batch norm as in those of Wong et al. 2020."""
    yield "conv1.weight", (64, 3, 3, 3)
    for stage, n_out in enumerate((64, 128, 256, 512), start=1):
        for index in range(2):
            at, first = f"layer{stage}.{index}", n_out // 2 if stage > 1 and index == 0 else n_out
            yield from norm(f"{at}.bn1", first)
            yield f"{at}.conv1.weight", (n_out, first, 3, 3)
            yield from norm(f"{at}.bn2", n_out)
            yield f"{at}.conv2.weight", (n_out, n_out, 3, 3)
            if first != n_out:
                yield f"{at}.shortcut.0.weight", (n_out, first, 1, 1)
    if final_bn:
        yield from norm("bn", 512)
    yield from linear("linear", 512, n_classes)


def padded_preact() -> Iterator[tuple[str, tuple[int, ...]]]:
    """As in the files of Rebuffi et al. 2021."""
    yield "mean", (3, 1, 1)
    yield "std", (3, 1, 1)
    yield "conv_2d.weight", (64, 3, 3, 3)
    for stage, n_out in enumerate((64, 128, 256, 512)):
        for index in range(2):
            at, first = f"layer_{stage}.{index}", n_out // 2 if stage and index == 0 else n_out
            yield from norm(f"{at}.batchnorm_0", first)
            yield f"{at}.conv_2d_1.weight", (n_out, first, 3, 3)
            yield from norm(f"{at}.batchnorm_1", n_out)
            yield f"{at}.conv_2d_2.weight", (n_out, n_out, 3, 3)
            if first != n_out:
                yield f"{at}.shortcut.weight", (n_out, first, 3, 3)
    yield from norm("batchnorm", 512)
    yield from linear("logits", 512, 10)


def residual(blocks: tuple[int, ...], kernels: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """As in the files of Sehwag et al. 2021 (18 layers) and Engstrom et al. 2019 (50)."""
    expansion = 4 if len(kernels) == 3 else 1
    yield "conv1.weight", (64, 3, 3, 3)
    yield from norm("bn1", 64)
    n_in = 64
    for stage, (n_blocks, width) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), start=1):
        for index in range(n_blocks):
            at, first, n_out = f"layer{stage}.{index}", n_in, width * expansion
            widths = [first, *[width] * (len(kernels) - 1), n_out]
            for place, kernel in enumerate(kernels):
                yield f"{at}.conv{place + 1}.weight", (widths[place + 1], widths[place], kernel, kernel)
                yield from norm(f"{at}.bn{place + 1}", widths[place + 1])
            if first != n_out or (stage > 1 and index == 0):
                yield f"{at}.shortcut.0.weight", (n_out, first, 1, 1)
                yield from norm(f"{at}.shortcut.1", n_out)
            n_in = n_out
    yield from linear("linear", n_in, 10)


LISTED = {
    "wide_resnet_28_10": wide(28, 10),
    "wide_resnet_34_10": wide(34, 10),
    "wide_resnet_70_16": wide(70, 16),
    "wide_resnet_28_10_silu": padded_wide(28, 10),
    "wide_resnet_70_16_silu": padded_wide(70, 16),
    "preact_resnet18": preact(final_bn=True),
    "preact_resnet18_no_final_bn": preact(final_bn=False),
    "preact_resnet18_silu": padded_preact(),
    "resnet18": residual((2, 2, 2, 2), (3, 3)),
    "resnet50": residual((3, 4, 6, 3), (1, 3, 1)),
}


@pytest.mark.parametrize("name", LISTED)
def test_tensors_are_named_as_in_the_published_files(name: str) -> None:
    listed = {key: shape for key, shape in LISTED[name] if key not in ("mean", "std") and "sub_block1" not in key}
    with torch.device("meta"):
        own = {key: tuple(tensor.shape) for key, tensor in ARCHITECTURES[name](10).state_dict().items()}
    assert own == listed


def constant_weights(listed: Iterator[tuple[str, tuple[int, ...]]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in listed:
        value = torch.rand((), generator=generator) + 0.1
        state[name] = torch.tensor(7) if shape == () else value.expand(shape)  # a file of a few bytes per tensor
    for name, value in zip(("mean", "std"), CIFAR10, strict=True):
        if name in state:
            state[name] = torch.tensor(value).view(3, 1, 1)
    return state


@pytest.mark.parametrize("form", ["plain", "state_dict, module.", "model.", "last"])
def test_a_file_loads_by_its_path_under_any_usual_prefix(form: str, tmp_path: Path) -> None:
    state = constant_weights(preact(final_bn=False))
    saved = {
        "plain": state,
        "state_dict, module.": {"state_dict": {f"module.{key}": value for key, value in state.items()}},
        "model.": {f"model.{key}": value for key, value in state.items()},
        "last": {"last": state, "epoch": 3},
    }[form]
    torch.save(saved, tmp_path / "Wong2020Fast.pt")
    made = network("robustbench:Wong2020Fast", weights=str(tmp_path / "Wong2020Fast.pt"))
    loaded = made.module.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    assert (made.name, made.mean, made.std) == ("Wong2020Fast", *CIFAR10)
    assert (made.preprocessing.crop, made.preprocessing.channels) == (32, 3)
    with undisturbed(made), torch.no_grad():
        assert made(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_normalisation_in_the_file_and_parts_that_are_never_run(tmp_path: Path) -> None:
    torch.save(constant_weights(padded_preact()), tmp_path / "r18.pt")
    made = network("robustbench:preact_resnet18_silu", weights=str(tmp_path / "r18.pt"))
    assert (made.mean, made.std) == CIFAR10
    assert made.provenance["normalisation"] == "mean and std of the file of weights"
    torch.save({"state_dict": constant_weights(wide(28, 4))}, tmp_path / "wide.pt")
    made = network("robustbench:wide_resnet_28_4", weights=str(tmp_path / "wide.pt"))
    assert (made.mean, made.std) == NONE
    assert made.provenance["weights_notes"] == ["49 tensors of parts that are never run were left out (sub_block1)"]
    assert not any("sub_block" in name for name, _ in made.module.named_modules())


def test_a_hundred_classes(tmp_path: Path) -> None:
    torch.save(constant_weights(preact(final_bn=True, n_classes=100)), tmp_path / "w.pt")
    weights = str(tmp_path / "w.pt")
    made = network("robustbench:cifar100/Linf/Rice2020Overfitting", weights=weights)
    assert made.module.linear.out_features == 100
    assert made.mean == pytest.approx((0.5071, 0.4865, 0.4409), abs=1e-4)
    assert network("robustbench:preact_resnet18", weights=weights, n_classes=100).n_parameters == made.n_parameters
    with pytest.raises(ModelError, match=r"whose layer linear has 100 outputs and not 10; give the number of classes"):
        network("robustbench:preact_resnet18", weights=weights)


def test_a_file_that_does_not_fit_says_what_it_fits(tmp_path: Path) -> None:
    torch.save(constant_weights(preact(final_bn=True)), tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"5 unexpected .*\. The file fits robustbench:preact_resnet18\. There are"):
        network("robustbench:Wong2020Fast", weights=str(tmp_path / "w.pt"))
    with pytest.raises(
        ModelError, match=r"several networks of this name: cifar10/Linf/Rice2020.*, cifar10/L2/Rice2020"
    ):
        network("robustbench:Rice2020Overfitting", weights=str(tmp_path / "w.pt"))
    with pytest.raises(ModelError, match=r"there is no file 'gone.pt'; download the network's file"):
        network("robustbench:Wong2020Fast", weights="gone.pt")
    with pytest.raises(ModelError, match="did you mean 'Wong2020Fast'"):
        network("robustbench:Wong2020Fats")
    with pytest.raises(ModelError, match="did you mean 'wide_resnet_28_10'"):
        network("robustbench:wideresnet_28_10")


def test_random_weights_are_seeded() -> None:
    one, same, other = (network("robustbench:resnet18", seed=seed, n_classes=4) for seed in (0, 0, 1))
    first = [made.module.conv1.weight for made in (one, same, other)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])
    assert one.provenance == {
        "source": "robustbench:resnet18",
        "architecture": "resnet18",
        "weights": "random",
        "seed": 0,
    }


def test_networks_for_imagenet_are_those_of_torchvision(tmp_path: Path) -> None:
    torch.save(network("torchvision:resnet18").module.state_dict(), tmp_path / "w.pt")
    made = network("robustbench:Salman2020Do_R18", weights=str(tmp_path / "w.pt"))
    assert (made.preprocessing.crop, made.preprocessing.resize, made.mean[0]) == (224, 256, 0.485)
    assert made.class_names[0] == "tench"
    assert made.provenance["source"] == "robustbench:imagenet/Linf/Salman2020Do_R18"
    assert made.provenance["published"]["clean"] == 0.5292
    whole = network("robustbench:imagenet/Linf/Wong2020Fast").preprocessing
    assert (whole.crop, whole.resize) == (288, None)


# -- the table ---------------------------------------------------------------------------------------------------------


def test_names_of_the_table_stand_once_and_have_an_architecture() -> None:
    assert len({entry.path for entry in PUBLISHED}) == len(PUBLISHED) > 100
    for entry in PUBLISHED:
        scheme, _, name = entry.architecture.rpartition(":")
        assert scheme == "torchvision" if entry.dataset == "imagenet" else name in ARCHITECTURES, entry
        assert 0 <= entry.robust < entry.clean < 1
        assert min(entry.std) > 0
        assert published(entry.path) is entry
    assert published("NoSuchNetwork") is None


def test_figures_and_normalisation_are_those_of_robustbench() -> None:
    carmon, rebuffi, rice = map(
        published,
        ("Carmon2019Unlabeled", "Rebuffi2021Fixing_70_16_cutmix_extra", "cifar10/L2/Rice2020Overfitting"),
    )
    assert carmon is not None
    assert rebuffi is not None
    assert rice is not None
    assert (carmon.clean, carmon.robust, carmon.epsilon) == (0.8969, 0.5953, 8 / 255)
    assert (carmon.architecture, carmon.mean, carmon.std) == ("wide_resnet_28_10", *NONE)
    assert (rebuffi.clean, rebuffi.robust) == (0.9223, 0.6656)
    assert (rebuffi.architecture, rebuffi.mean, rebuffi.std) == ("wide_resnet_70_16_silu", *CIFAR10)
    assert (rice.norm, rice.epsilon, rice.clean, rice.robust) == ("L2", 0.5, 0.8867, 0.6768)
