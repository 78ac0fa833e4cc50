"""Many networks in a few lines: rows of a table, files of a folder, and what is said where they do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifoldscope.errors import StudyError
from manifoldscope.study.loading import parse
from manifoldscope.study.model_table import expanded
from tests.study import tiny

TABLE = """name,dataset,function,file,mean,std,source
a,cifar10,net,w/a.safetensors,0.5 0.4 0.3,"0.2, 0.2, 0.2",
b,mnist,net,w/b.safetensors,0.1307,0.3081,
c,cifar10,other,w/c.safetensors,,,
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "networks.csv"
    path.write_text(TABLE)
    return path


def test_a_row_is_a_network(table: Path) -> None:
    entry = {
        "from": str(table),
        "only": {"dataset": "cifar10"},
        "source": "python:{folder}/zoo.py:{function}",
        "weights": "{folder}/{file}",
        "layers": ["penultimate"],
    }
    first, second, third = expanded([entry, {"source": "small:cnn"}])
    folder = table.parent
    assert first == {
        "name": "a",
        "source": f"python:{folder}/zoo.py:net",
        "weights": f"{folder}/w/a.safetensors",
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.2, 0.2],
        "layers": ["penultimate"],
    }
    assert (second["name"], second["source"]) == ("c", f"python:{folder}/zoo.py:other")
    assert not {"mean", "std"} & set(second)  # empty cells
    assert third == {"source": "small:cnn"}


def test_files_that_match_are_networks(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.pt").write_bytes(b"")
    found = expanded([{"from": str(tmp_path / "*.pt"), "source": "small:cnn", "weights": "{file}"}])
    assert [(each["name"], Path(each["weights"]).name) for each in found] == [("a", "a.pt"), ("b", "b.pt")]


def test_a_study_has_every_network_and_does_not_need_the_table_again(table: Path) -> None:
    models = [{"from": str(table), "only": {"dataset": ["cifar10", "mnist"]}, "source": "small:cnn", "mean": [0.5]}]
    models[0] |= {"std": [0.5], "training": {"objective": "random"}}
    study = parse(tiny.raw(models=models))
    assert [model.name for model in study.models] == ["a", "b", "c"]
    assert "from" not in study.model_dump_json()


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"from": "nowhere.csv"}, "cannot be read"),
        ({"from": "{table}", "only": {"datset": "cifar10"}}, "did you mean 'dataset'"),
        ({"from": "{table}", "weights": "{fil}"}, "did you mean 'file'"),
        ({"from": "{table}", "weights": "{file"}, "do not match"),
        ({"from": "{table}", "only": {"dataset": "svhn"}}, "gives 0 networks"),
        ({"from": "{folder}/*.pt"}, "gives 0 networks"),
        ({"from": 3}, "path of a table"),
    ],
)
def test_what_does_not_fit_is_one_sentence(table: Path, entry: dict[str, object], words: str) -> None:
    where = entry["from"]
    if isinstance(where, str):
        entry = {**entry, "from": where.format(table=table, folder=table.parent)}
    with pytest.raises(StudyError, match=words):
        expanded([entry])
