"""Many networks in a few lines: rows of a table, files of a folder, and what is said where they do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from manifoldscope.errors import ModelError, StudyError
from manifoldscope.study import Store
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


def test_cells_are_put_into_tables_and_lists_and_become_what_is_expected_there(tmp_path: Path) -> None:
    path = tmp_path / "networks.csv"
    path.write_text('name,clean,robust,n,mean,layer\nmine,0.9,,4,"[0.5, 0.4, 0.3]",1\n , ,\n')
    entry = {
        "from": str(path),
        "source": "small:cnn",
        "weights": str(path),
        "n_classes": "{n}",
        "expected": {"clean": "{clean}", "autoattack": "{robust}"},
        "layers": ["penultimate", {"name": "{layer}", "pool": "mean"}],
    }
    (model,) = parse(tiny.raw(models=[entry])).models
    assert (model.name, model.expected.clean, model.expected.autoattack) == ("mine", 0.9, None)
    assert model.settings["n_classes"] == 4
    assert model.settings["mean"] == [0.5, 0.4, 0.3]
    assert str(model.layers[1]) == "1 [mean]"


def test_a_whole_number_may_be_written_as_a_column_with_gaps_is(tmp_path: Path) -> None:
    path = tmp_path / "networks.csv"
    path.write_text("name,source,weights,n\na,torchvision:resnet18,DEFAULT,10.0\nb,torchvision:resnet18,DEFAULT,\n")
    first, second = parse(tiny.raw(models=[{"from": str(path), "n_classes": "{n}"}])).models
    assert (first.settings["n_classes"], "n_classes" in second.settings) == (10, False)


def test_a_table_of_nothing_but_empty_cells_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "networks.csv"
    path.write_text("name,source,weights,clean\na,small:cnn,DEFAULT,0.9\nb,small:mlp,DEFAULT,\n")
    first, second = parse(tiny.raw(models=[{"from": str(path), "expected": {"clean": "{clean}"}}])).models
    assert (first.expected.clean, second.expected) == (0.9, None)


def test_folders_are_no_files_and_a_file_may_be_called_as_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "[a].pt").write_bytes(b"")
    (tmp_path / "a.pt").mkdir()
    entry = {"source": "small:cnn", "weights": "{file}"}
    for pattern in ("*.pt", "**", "[a].pt"):
        (found,) = expanded([{**entry, "from": str(tmp_path / pattern)}])
        assert found["name"] == "[a]"


def test_braces_in_a_cell_or_the_name_of_a_file_are_no_columns(tmp_path: Path) -> None:
    (tmp_path / "{net}.pt").write_bytes(b"")
    (found,) = expanded([{"from": str(tmp_path / "*.pt"), "source": "small:cnn", "weights": "{file}"}])
    assert found == {"name": "{net}", "source": "small:cnn", "weights": str(tmp_path / "{net}.pt")}
    (tmp_path / "t.csv").write_text("name,source,weights\na,small:cnn,{x}.pt\n")
    assert expanded([{"from": str(tmp_path / "t.csv")}])[0]["weights"] == "{x}.pt"


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
        ({"from": "{table}", "weights": "{{file}}"}, "do not match; expected {COLUMN}"),
        ({"from": "{table}", "weights": "{file:>3}.pt"}, "there is no column 'file:>3'; did you mean 'file'"),
        ({"from": "{table}", "expected": {"clean": "{clan}"}}, r"expected\.clean = .*: there is no column 'clan'"),
        ({"from": "{table}", "only": {"dataset": "svhn"}}, "there is no dataset 'svhn'; there are: "),
        (
            {"from": "{table}", "only": {"dataset": ["cifar10", "mnst"]}},
            "there is no dataset 'mnst'; did you mean 'mnist'",
        ),
        ({"from": "{folder}/*.pt"}, "gives 0 networks: no file matches it from the folder in which"),
        ({"from": 3}, "path of a table"),
    ],
)
def test_what_does_not_fit_is_one_sentence(table: Path, entry: dict[str, object], words: str) -> None:
    where = entry["from"]
    if isinstance(where, str):
        entry = {**entry, "from": where.format(table=table, folder=table.parent)}
    with pytest.raises(StudyError, match=words):
        expanded([entry])


@pytest.mark.parametrize(
    ("text", "entry", "words"),
    [
        ("", {}, "is empty; expected a line with the names of its columns"),
        ("name,source,name\na,small:cnn,b\n", {}, "has two columns called 'name'"),
        ('name,source\n"a,small:cnn\n', {}, "cannot be read: line 2: unexpected end of data"),
        ("name,source\na,small:cnn,0.5, 0.5\n", {}, "line 2 of .* has 4 cells, for 2 columns; .* double quotes"),
        (
            "Name,Source\na,small:cnn\n",
            {},
            r"no source \(line 2 of .*; its columns: Name, Source\); give the entry source",
        ),
        ("name;source\na;small:cnn\n", {}, "separated by semicolons; save it with commas between cells"),
        ("name\tsource\na\tsmall:cnn\n", {}, "separated by tabs; save it with commas"),
        ("name,k,j\na,1,2\nb,2,1\n", {"only": {"k": 1, "j": 1}}, "0 networks: no row has all that only asks for"),
        ("name,source\na,small:cnn\na,small:mlp\n", {}, "two networks are called 'a': line 2 of .* and line 3 of "),
        ("nam,source\na,small:cnn\nb,small:cnn\n", {}, "two networks are called 'cnn': .* in a column called name"),
    ],
)
def test_a_table_that_does_not_fit_is_told_with_its_line(
    tmp_path: Path, text: str, entry: dict[str, object], words: str
):
    path = tmp_path / "networks.csv"
    path.write_text(text)
    with pytest.raises(StudyError, match=words):
        expanded([{"from": str(path), **entry}])


def test_spaces_around_cells_and_empty_lines_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "networks.csv"
    path.write_text('name , source , mean\n\n a , small:cnn , "0.5, 0.4"\nb,small:mlp\n,,\n')
    assert expanded([{"from": str(path)}]) == [
        {"name": "a", "source": "small:cnn", "mean": [0.5, 0.4]},
        {"name": "b", "source": "small:mlp"},
    ]


def test_what_says_that_there_is_no_number_is_an_empty_cell(tmp_path: Path) -> None:
    path = tmp_path / "networks.csv"
    path.write_text("name,source,mean,std,k,clean\na,small:cnn,NA,nan,null,NaN\nnone,small:mlp,0.5,0.5,1,0.9\n")
    first, second = expanded([{"from": str(path), "seed": "{k}", "expected": {"clean": "{clean}"}}])
    assert first == {"name": "a", "source": "small:cnn"}
    assert second["name"] == "none"
    assert second["expected"] == {"clean": 0.9}


def test_an_error_in_a_network_of_a_table_names_its_line_and_the_columns(tmp_path: Path) -> None:
    path = tmp_path / "networks.csv"
    path.write_text("name,source,weight\na,small:cnn,x.pt\nb,small:cnn,y.pt\n")
    models = [{"source": "small:cnn", "training": {"objective": "random"}}, {"from": str(path)}]
    with pytest.raises(
        StudyError, match=r"models\.1: model 'a' has no weights; .* \(line 2 of .*; its columns: name, sou"
    ):
        parse(tiny.raw(models=models))
    path.write_text("name,source,mean\na,small:cnn,abc\n")
    with pytest.raises(StudyError, match=r"models\.0: mean = 'abc': .*\(line 2 of"):
        parse(tiny.raw(models=[{"from": str(path), "training": {"objective": "random"}}]))


def test_weights_beside_the_table_are_not_taken_by_guess(tmp_path: Path) -> None:
    (tmp_path / "beside.pt").write_bytes(b"")
    path = tmp_path / "networks.csv"
    path.write_text("name,source,weights\na,small:cnn,beside.pt\n")
    with pytest.raises(
        StudyError, match=r"is a file beside the table .* give the entry weights = \"{folder}/{weights}\""
    ):
        expanded([{"from": str(path)}])
    (found,) = expanded([{"from": str(path), "weights": "{folder}/{weights}"}])
    assert Path(found["weights"]) == tmp_path / "beside.pt"


def test_files_of_weights_that_are_not_there_are_named_before_a_network_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "networks.csv"
    path.write_text("name,source,weights\na,small:cnn,gone/a.pt\nb,small:cnn,gone/b.pt\nc,small:cnn,gone/c.pt\n")
    store = Store(tmp_path / "run")
    store.prepare()
    study = tiny.study(models=[{"source": "small:mlp", "training": {"objective": "random"}}, {"from": str(path)}])
    with pytest.raises(
        ModelError, match=r"a: there is no file 'gone/a.pt' .*, and 2 more networks .* \('gone/b.pt', 'gone"
    ):
        tiny.planned(study, store)
    path.write_text("name,source,weights\na,torchvision:resnet18,IMAGENET1K_V1\nb,small:cnn,gone/b.pt\n")
    with pytest.raises(
        ModelError, match=r"b: there is no file 'gone/b.pt' of weights in '.*'; download or train it first"
    ):
        tiny.planned(tiny.study(models=[{"from": str(path)}]), store)


def test_an_error_of_one_network_says_which_it_is(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    store.prepare()
    file = tmp_path / "w.safetensors"
    save_file({"x": torch.zeros(2)}, file)
    context = tiny.context_of(tiny.study(models=[{"name": "mine", "source": "small:cnn", "weights": str(file)}]), store)
    with pytest.raises(ModelError, match=r"^mine: the weights of w.safetensors do not fit small:cnn"):
        context.untrained("mine")
    layers = ["conv*"]
    study = tiny.study(models=[{"name": "mine", "source": "small:cnn", "weights": str(file), "layers": layers}])
    with pytest.raises(ModelError, match=r"^mine: the weights of w.safetensors do not fit small:cnn"):
        tiny.planned(study, store)
