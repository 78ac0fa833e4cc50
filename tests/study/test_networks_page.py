"""The examples of docs/networks.md are study files and commands, and its tables say what there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from manifoldscope.cli import main
from manifoldscope.study.loading import parse
from manifoldscope.vision.architectures import ARCHITECTURES

PAGE = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("text", BLOCKS)
def test_every_example_is_part_of_a_study_file(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("zoo", "models/cifar10/Linf"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("Carmon2019Unlabeled", "Wong2020Fast"):
        (tmp_path / "models/cifar10/Linf" / f"{name}.pt").touch()
    (tmp_path / "zoo" / "networks.csv").write_text("name,dataset,function,file\na,cifar10,f,a.pt\nb,mnist,g,b.pt\n")
    rest = {"data": {"source": "digits"}, "models": [{"source": "small:cnn", "weights": "w.pt"}]}
    study = parse({**rest, **tomllib.loads(text)})
    if "from = " in text:
        assert [plan.name for plan in study.models] == ["Carmon2019Unlabeled", "Wong2020Fast", "a"]
        assert study.models[1].expected.clean == 0.8334


def test_the_layers_are_listed_as_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "layers", "--model", "torchvision:alexnet"]) == 0
    listed = capsys.readouterr().out.splitlines()
    (shown,) = re.findall(r"```\n(avgpool .*?)```", PAGE, flags=re.DOTALL)
    assert set(shown.splitlines()) - {"..."} <= set(listed)


def test_every_architecture_is_named() -> None:
    for name in ARCHITECTURES:
        if found := re.fullmatch(r"wide_resnet_(\d+)_(\d+)(_silu)?", name):
            (row,) = re.findall(rf"^\| `wide_resnet_D_W{found[3] or ''}`: ([^|(]+)", PAGE, flags=re.MULTILINE)
            assert f"{found[1]}-{found[2]}" in re.split(r"[,\s]+", row)
        else:
            assert f"`{name}`" in PAGE
