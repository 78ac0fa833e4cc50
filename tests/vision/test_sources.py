"""Sources of networks."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from manifoldscope import plugins
from manifoldscope.cli import main
from manifoldscope.errors import ModelError, StudyError
from manifoldscope.geometry.measures import MEASURES
from manifoldscope.registry import Entry, Registry
from manifoldscope.vision.datasets import images
from manifoldscope.vision.network import logits
from manifoldscope.vision.sources import SOURCES, network
from manifoldscope.vision.usercode import code_digest
from manifoldscope.vision.weights import file_digest


@pytest.mark.parametrize("entry", list(SOURCES), ids=lambda entry: entry.name)
def test_every_source_is_documented_typed_and_offers_nearest_settings(entry: Entry) -> None:
    assert entry.summary
    assert {"weights", "mean", "std", "seed"} <= set(entry.settings.model_fields)
    with pytest.raises(StudyError, match="did you mean 'weights'"):
        network(f"{entry.name}:x", wieghts="DEFAULT")
    with pytest.raises(StudyError, match="mean = 'half'"):
        network(f"{entry.name}:x", mean="half")


def test_a_network_must_say_where_it_is_from() -> None:
    with pytest.raises(ModelError, match="did you mean 'torchvision:resnet50'"):
        network("resnet50")
    with pytest.raises(StudyError, match="did you mean 'torchvision'"):
        network("torchvison:resnet50")
    with pytest.raises(ModelError, match=r"no network 'resnet51'; did you mean .*'resnet50'"):
        network("torchvision:resnet51")
    with pytest.raises(ModelError, match=r"did you mean .*'resnet20'"):
        network("small:resnet21")


@pytest.mark.parametrize("spec", ["torchvision:resnet18", "timm:resnet18", "robustbench:resnet18", "small:cnn"])
@pytest.mark.parametrize("number", [0, -1])
def test_a_number_of_classes_below_1_is_refused(spec: str, number: int) -> None:
    with pytest.raises(ModelError, match=f"{spec}: n_classes = {number}; expected at least 1"):
        network(spec, n_classes=number)


def test_torchvision_at_random_is_seeded_and_preprocessed_like_its_weights() -> None:
    state = torch.get_rng_state()
    one, same, other = (network("torchvision:squeezenet1_1", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    first = [next(made.module.parameters()) for made in (one, same, other)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])
    assert (one.name, one.class_names) == ("squeezenet1_1", None)
    assert (one.preprocessing.crop, one.preprocessing.resize, one.mean) == (224, 256, (0.485, 0.456, 0.406))
    assert one.provenance["weights"] == "random"


def test_torchvision_from_a_file(tmp_path: Path) -> None:
    source = models.squeezenet1_1()
    torch.save(source.state_dict(), tmp_path / "squeeze.pt")
    made = network("torchvision:squeezenet1_1", weights=str(tmp_path / "squeeze.pt"), mean=[0.5] * 3, std=[0.5] * 3)
    assert torch.equal(made.module.features[0].weight, source.features[0].weight)
    assert made.class_names is not None
    assert made.class_names[0] == "tench"
    assert made.mean == (0.5, 0.5, 0.5)
    assert made.provenance["weights"] == "squeeze.pt"
    assert str(tmp_path) not in str(made.provenance)
    assert len(made.provenance["weights_sha256"]) == 64
    with pytest.raises(ModelError, match=r"do not fit torchvision:resnet18.*missing.*unexpected"):
        network("torchvision:resnet18", weights=str(tmp_path / "squeeze.pt"))


def test_googlenet_is_shown_what_it_was_trained_on(tmp_path: Path) -> None:
    state = models.googlenet(num_classes=5, init_weights=False).state_dict()
    save_file(state, tmp_path / "ported.safetensors")
    save_file(state, tmp_path / "trained.safetensors", {"recipe": "{}"})  # as a study writes it
    for name, ported in (("ported", True), ("trained", False)):
        made = network("torchvision:googlenet", weights=str(tmp_path / f"{name}.safetensors"), n_classes=5)
        assert made.module.transform_input is ported
    assert network("torchvision:googlenet", n_classes=5).module.transform_input is False


def test_torchvision_weights_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    state = models.mobilenet_v3_small().state_dict()
    seen = {}

    def get_state_dict(self: models.MobileNet_V3_Small_Weights, **settings: object) -> dict[str, torch.Tensor]:
        seen.update(settings)
        return state

    monkeypatch.setattr(models.MobileNet_V3_Small_Weights, "get_state_dict", get_state_dict)
    for name in ("DEFAULT", "IMAGENET1K_V1", "MobileNet_V3_Small_Weights.IMAGENET1K_V1"):
        made = network("torchvision:mobilenet_v3_small", weights=name)
        assert made.provenance["weights"] == "IMAGENET1K_V1"
        assert seen["weights_only"] is True
    with pytest.raises(ModelError, match="'IMAGENET1K_V9' is neither a file nor one of IMAGENET1K_V1"):
        network("torchvision:mobilenet_v3_small", weights="IMAGENET1K_V9")
    with pytest.raises(
        ModelError, match=r"'ResNet50_Weights\.IMAGENET1K_V1' is neither a file nor one of IMAGENET1K_V1"
    ):
        network("torchvision:mobilenet_v3_small", weights="ResNet50_Weights.IMAGENET1K_V1")

    def offline(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(models.MobileNet_V3_Small_Weights, "get_state_dict", offline)
    with pytest.raises(ModelError, match=r"could not be downloaded .*no route to host.* give the file as weights"):
        network("torchvision:mobilenet_v3_small", weights="DEFAULT")


def test_two_recipes_of_one_architecture_resize_differently() -> None:
    assert models.ResNet50_Weights.DEFAULT.transforms().resize_size == [232]
    made = network("torchvision:resnet50")
    assert made.preprocessing.resize == 256
    assert made.provenance["preprocessing"] == "ResNet50_Weights.IMAGENET1K_V1"
    assert network("torchvision:resnet50", resize=232).preprocessing.resize == 232


def test_timm_brings_its_own_preprocessing(tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="pip install timm")
    with pytest.raises(ModelError, match="timm: there is no network"):
        network("timm:resnet51x")
    with pytest.raises(ModelError, match="weights = 'default' is neither a file nor 'DEFAULT'"):
        network("timm:resnet18", weights="default")
    made = network("timm:mobilenetv3_small_050", n_classes=5)
    steps = made.preprocessing
    assert (steps.crop, steps.resize, steps.interpolation) == (224, 256, "bicubic")
    torch.save(made.module.state_dict(), tmp_path / "w.pt")
    again = network("timm:mobilenetv3_small_050", n_classes=5, weights=str(tmp_path / "w.pt"), seed=1)
    assert torch.equal(next(again.module.parameters()), next(made.module.parameters()))
    assert again.class_names is None


def test_without_timm_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        ModelError, match=r"^timm:resnet50 needs the library timm: pip install 'manifoldscope\[timm\]'$"
    ):
        network("timm:resnet50")


CODE = """
import neighbour
from safetensors.torch import save_file
from torch import nn

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(neighbour.WIDTH, 3))

def broken():
    raise RuntimeError("I am broken")

def number():
    return 3

def kind():
    return nn.Flatten

def sized(size):
    return make()

ready = nn.Flatten()
SIZE = 3
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "my_models.py").write_text(CODE)
    (tmp_path / "neighbour.py").write_text("WIDTH = 12")
    return tmp_path / "my_models.py"


def test_a_network_of_ones_own_from_a_file(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "neighbour", raising=False)
    path = list(sys.path)
    made = network(f"python:{code}:make", mean=[0.1, 0.2, 0.3], crop=2)
    assert sys.path == path
    assert made(torch.rand(4, 3, 2, 2)).shape == (4, 3)
    assert (made.name, made.std) == ("make", (1.0, 1.0, 1.0))
    assert str(code.parent) not in str(made.provenance)
    again = network(f"python:{code}:make")
    assert torch.equal(again.module[1].weight, made.module[1].weight)  # seeded
    torch.save(again.module.state_dict(), code.parent / "w.pt")
    assert network(f"python:{code}:make", weights=str(code.parent / "w.pt")).provenance["weights"] == "w.pt"


def test_a_file_that_registers_something_may_be_run_for_each_network_and_as_a_plug_in(tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text(
        "from torch import nn\n"
        "from manifoldscope.geometry import MEASURES\n"
        "@MEASURES.of_spectrum('of_mine', invariant_to=())\n"
        "def of_mine(spectrum):\n"
        "    'One.'\n"
        "    return 1.0\n"
        "def make():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))\n"
    )
    for _ in range(2):
        assert network(f"python:{code}:make").n_parameters == 39
    Registry.forget(MEASURES["of_mine"].target.__module__)
    plugins.load([str(code)])
    assert network(f"python:{code}:make").n_parameters == 39
    assert MEASURES["of_mine"].target.__module__.startswith("manifoldscope_plugin_mine")
    Registry.forget(MEASURES["of_mine"].target.__module__)


def test_a_network_of_ones_own_from_a_package(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(code.parent)
    assert network("python:my_models:make").provenance["source"] == "python:my_models:make"
    for module in ("my_models", "neighbour"):
        sys.modules.pop(module, None)


def test_code_that_fails_is_told_in_one_sentence(code: Path) -> None:
    for name, message in (
        (f"{code}:broken", r"python:my_models.py:broken failed \(RuntimeError: I am broken\)"),
        (f"{code}:number", "gives int; expected a torch.nn.Module or a Network"),
        (f"{code}:kind", "gives the class Flatten, and none that is made; expected a torch.nn.Module"),
        (f"{code}:sized", "is called without arguments, which it does not allow .*'size'"),
        (f"{code}:ready", "is Flatten; expected a function"),
        (f"{code}:SIZE", "is int; expected a function"),
        (f"{code}:mke", "no function 'mke'; did you mean 'make'"),
        (f"{code.parent}/gone.py:make", "there is no file"),
        ("no_such_package:make", "cannot be imported .*no_such_package"),
        ("make", "expected python:package.module:function"),
    ):
        with pytest.raises(ModelError, match=message):
            network(f"python:{name}")


# -- with real weights -------------------------------------------------------------------------------------------------

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def test_resnet50_knows_real_photographs(shared_data: Path, shared_weights: Path) -> None:
    made = network("torchvision:resnet50", weights=str(shared_weights / "imagenet" / "resnet50.safetensors"))
    few = images("imagenet", root=shared_data / "imagenet-20", classes=8, images_per_class=3)
    accuracy = (logits(made, few, batch_size=12).argmax(dim=1) == few.labels).float().mean()
    assert accuracy > 0.3  # about 0.7 is expected; chance is 0.001


def test_a_users_own_network_with_its_weights(shared_data: Path, shared_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "mnist_a.py").write_text(
        "from torch import nn\n"
        "def cnn_a():\n"
        "    return nn.Sequential(\n"
        "        nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten(),\n"
        "        nn.Linear(1568, 100), nn.ReLU(), nn.Linear(100, 10))\n"
    )
    weights = str(shared_weights / "mnist" / "mnist_cnn_a_adv.pth")
    made = network(f"python:{tmp_path}/mnist_a.py:cnn_a", weights=weights, channels=1)
    test = images("mnist", root=shared_data / "mnist", images_per_class=200)
    accuracy = (logits(made, test).argmax(dim=1) == test.labels).float().mean()
    assert accuracy == pytest.approx(0.963, abs=0.015)  # 3.5 standard errors of 2,000 images


def test_two_folders_may_each_have_a_module_of_one_name(tmp_path: Path) -> None:
    for folder, width in (("one", 3), ("two", 7)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "blocks.py").write_text(f"width = {width}\n")
        (tmp_path / folder / "net.py").write_text(
            "from torch import nn\nimport blocks\n"
            "def make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(4, blocks.width))\n"
        )
    for folder, width in (("one", 3), ("two", 7)):
        made = network(f"python:{tmp_path / folder}/net.py:make", channels=1)
        assert made.n_parameters == 5 * width


def test_the_digest_of_code_sees_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("import blocks\n")
    (tmp_path / "blocks.py").write_text("width = 1\n")
    before = code_digest(f"{tmp_path}/net.py:make")
    (tmp_path / "blocks.py").write_text("width = 2\n")
    assert code_digest(f"{tmp_path}/net.py:make") != before
    assert code_digest("torchvision.models:resnet18")
    with pytest.raises(ModelError, match="there is no module 'no_such_thing'"):
        code_digest("no_such_thing:make")


def test_densenet_files_of_old_can_be_loaded(tmp_path: Path) -> None:
    from torchvision import models

    state = models.densenet121(weights=None, num_classes=2).state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name): value for name, value in state.items()}
    assert set(old) != set(state)
    torch.save(old, tmp_path / "old.pth")
    made = network("torchvision:densenet121", weights=str(tmp_path / "old.pth"), n_classes=2)
    assert torch.equal(made.module.state_dict()["features.conv0.weight"], state["features.conv0.weight"])


def test_normalisation_stands_beside_the_weights_or_is_given(tmp_path: Path) -> None:
    state = network("small:cnn", channels=3, size=8, n_classes=4).module.state_dict()
    beside = {"mu": torch.full((1, 3, 1, 1), 0.5), "sigma": torch.full((1, 3, 1, 1), 0.25)}
    torch.save({"state_dict": {**state, **beside}}, tmp_path / "w.pt")
    shape = {"channels": 3, "size": 8, "n_classes": 4, "weights": str(tmp_path / "w.pt")}
    made = network("small:cnn", **shape)
    assert (made.mean, made.std) == ((0.5,) * 3, (0.25,) * 3)
    assert made.provenance["normalisation"] == "mu and sigma of the file of weights"
    assert made.provenance["weights_sha256"] == file_digest(tmp_path / "w.pt")
    assert made.provenance["weights_entry"] == "state_dict"
    with pytest.warns(UserWarning, match=r"std = \[0.5, 0.5, 0.5\] is used, but the file of weights normalises by"):
        made = network("small:cnn", **shape, mean=[0.5], std=[0.5] * 3)
    assert (made.mean, made.std) == ((0.5,) * 3, (0.5,) * 3)
    torch.save({**state, **beside, "mu": torch.full((1, 3, 1, 1), 123.7)}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"not those of pixels in \[0, 1\]; give mean and std"):
        network("small:cnn", **shape)


def test_the_mean_of_pixels_to_255_is_refused() -> None:
    with pytest.raises(ModelError, match=r"seems to be that of pixels from 0 to 255.*divide mean and std by 255"):
        network("small:cnn", channels=3, size=8, n_classes=4, mean=[123.7, 116.8, 103.9], std=[58.4, 57.1, 57.4])


def test_one_mean_stands_for_every_channel_and_is_said() -> None:
    made = network("small:cnn", channels=3, size=8, n_classes=4, mean=[0.5], std=[0.25])
    assert (made.mean, made.std) == ((0.5,) * 3, (0.25,) * 3)
    assert made.provenance["mean"] == made.provenance["std"] == "the same for all 3 channels"


def test_any_module_becomes_a_network() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())
    made = network(module, mean=(0.25,), std=[0.5], name="mine", crop=8, resize=9, class_names=["a", "b"])
    assert (made.module, made.name, made.class_names) == (module, "mine", ("a", "b"))
    assert (made.preprocessing.channels, made.preprocessing.crop, made.preprocessing.resize) == (1, 8, 9)
    assert made.normalise(torch.full((1, 1, 1, 1), 0.75)).item() == 1.0
    plain = network(module)
    assert (plain.name, tuple(plain.mean), tuple(plain.std)) == ("Sequential", (0.0,), (1.0,))
    assert tuple(network(nn.Conv2d(3, 2, 3), std=[0.5] * 3).mean) == (0.0, 0.0, 0.0)
    for settings, message in (
        ({"means": [0.5]}, "no setting 'means'; did you mean 'mean'"),
        ({"mean": 0.5}, "expected lists of numbers"),
        ({"channels": 2}, "channels = 2: expected 1 .* or 3"),
    ):
        with pytest.raises(ModelError, match=message):
            network(module, **settings)
    with pytest.raises(ModelError, match=r"from int; pass a torch\.nn\.Module, or a text such as"):
        network(5)


def test_a_network_of_code_takes_the_channels_of_its_first_layer(tmp_path: Path) -> None:
    (tmp_path / "grey.py").write_text(
        "from torch import nn\nfrom manifoldscope.vision import Network\n"
        "def module():\n    return nn.Conv2d(1, 2, 3)\n"
        "def made():\n    return Network(nn.Conv2d(1, 2, 3), mean=[0.5], std=[0.5])\n"
    )
    for function in ("module", "made"):
        spec = f"python:{tmp_path}/grey.py:{function}"
        assert network(spec).preprocessing.channels == 1
        assert len(network(spec, mean=[0.3], std=[0.2]).mean) == 1
        with pytest.raises(ModelError, match="one value a channel"):
            network(spec, mean=[0.3] * 3, std=[0.2] * 3)
    assert network(f"python:{tmp_path}/grey.py:module", channels=3).preprocessing.channels == 3


def test_layers_are_listed_with_the_channels_that_the_network_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "grey.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten())\n"
    )
    assert main(["list", "layers", "--model", f"python:{tmp_path}/grey.py:make", "--size", "8"]) == 0
    assert "4 x 6 x 6" in capsys.readouterr().out
