"""The command line: what it prints, and the one sentence and exit status of each mistake."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import tomli_w
import torch

from manifoldscope import api, stopping
from manifoldscope.cli import main
from manifoldscope.errors import StoreError
from tests.study import tiny


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The tiny study, run from its file."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "tiny.toml").write_text(tomli_w.dumps(tiny.raw()))
    assert main(["run", str(folder / "tiny.toml"), "--out", str(folder / "run"), "--quiet"]) == 0
    return folder


def test_a_run_leaves_tables_figures_and_a_report(finished, capsys):
    run = finished / "run"
    assert (run / "report.html").stat().st_size > 100_000
    assert {path.stem for path in (run / "tables").glob("*.parquet")} == set(api.TABLES)
    assert list((run / "figures").glob("*.svg"))
    assert len(pl.read_parquet(run / "tables" / "associations.parquet"))
    assert main(["status", str(run)]) == 0
    assert capsys.readouterr().out.startswith("39 done, 0 running, 0 failed, 0 missing")


def test_a_second_run_computes_nothing_and_says_so(finished, capsys):
    page = finished / "run" / "report.html"
    before = page.stat().st_mtime_ns
    assert main(["run", str(finished / "tiny.toml"), "--out", str(finished / "run")]) == 0
    printed = capsys.readouterr()
    assert "nothing to compute: all 39 units are done" in printed.err
    assert "report.html" in printed.out
    assert page.stat().st_mtime_ns == before


def test_the_report_is_rebuilt_from_the_store_alone(finished, capsys):
    run = finished / "run"
    before = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    for table in (run / "tables").glob("*.parquet"):
        table.unlink()
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").read_bytes() == before


def test_damage_to_a_stored_unit_shows_in_the_status(finished, capsys):
    import shutil

    run = finished / "damaged"
    shutil.copytree(finished / "run", run)
    next((run / "units" / "attack").glob("*/outcomes.parquet")).write_bytes(b"torn")
    assert main(["status", str(run)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("38 done, 0 running, 0 failed, 1 missing")
    assert re.search(r"missing: .* · class \d · pgd 0(\.1)? · attack", out)


def test_a_failed_unit_is_named_with_exit_status_1(finished, tmp_path, capsys, monkeypatch):
    from manifoldscope.study.kinds.geometry import Geometry

    def broken(unit, context, tick):
        raise RuntimeError("the sky fell")

    monkeypatch.setattr(Geometry, "compute", broken)
    changes = ["--set", "measures=['pca_dimension']", "--set", "data.classes=[1]", "--set", "data.training.split='all'"]
    assert main(["run", str(finished / "tiny.toml"), "--out", str(tmp_path / "run"), "--quiet", *changes]) == 1
    printed = capsys.readouterr()
    assert "failed (2):" in printed.err
    assert printed.err.endswith("  random · class 1 · geometry, and 1 more: RuntimeError: the sky fell\n")
    assert main(["status", str(tmp_path / "run")]) == 1
    out = capsys.readouterr().out
    assert "failed: random · class 1 · geometry, and 1 more: RuntimeError: the sky fell\n" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "digit"], "there is no built-in study 'digit'; did you mean 'digits'"),
        (["run", "digits", "--set", "attacks.0.epsilons=[8]"], "did you mean 8/255"),
        (["run", "digits", "--set", "attacks.0.steps=0"], "steps = 0; expected at least 1"),
        (["run", "digits", "--set", "data.classes=['eleven']"], "there is no class in digits 'eleven'"),
        (["run", "digits", "--set", "data.geometry.images_per_clas=3"], "did you mean 'images_per_class'"),
        (["run", "mnist", "--quiet", "--set", "data.root=/nonexistent/x"], "mnist"),
        (["run", "digits", "--device", "tpu9"], "there is no kind of device 'tpu9'; use --device cpu or auto"),
        (["verify", __file__], "holds no results of manifoldscope"),
        (["new", "imagnet"], "did you mean 'imagenet'"),
        (["new"], "new needs the name of a built-in study; there are: cifar10, "),
        (["list", "layers"], "list layers needs a network"),
        (["list", "measures", "--model", "resnet50"], "--model and --size go with layers, and not with measures"),
        (["list", "layers", "--model", "resnet51"], "resnet50"),
        (["status", "/nonexistent"], "holds no study; run one first"),
        (["measure", "/nonexistent.npy"], "nonexistent"),
        (["associate", "/nonexistent.csv", "--x", "a", "--y", "b"], "cannot be read as a table"),
    ],
)
def test_a_mistake_is_one_sentence_with_exit_status_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("manifoldscope: ")
    assert len(error.strip().splitlines()) == 1
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "digits", "--ouut=x"], "run: error: there is no option '--ouut'; did you mean '--out'"),
        (["measure", "a.npy", "--reliability", "5"], "measure: error: nothing takes '5'"),
        (
            ["status", "my", "folder"],
            "status: error: nothing takes 'folder'; put a name with a space in it between quotes",
        ),
    ],
)
def test_an_argument_that_a_command_does_not_take_is_named(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err


def test_the_report_of_a_folder_with_a_typo_makes_no_folder(tmp_path, capsys):
    assert main(["report", str(tmp_path / "typo")]) == 2
    assert "holds no study; run one first" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_cannot_be_made_is_one_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["run", "digits", "--out", str(tmp_path / "file" / "run")]) == 2
    assert "cannot write to" in capsys.readouterr().err


def test_debug_shows_the_traceback():
    with pytest.raises(StoreError):
        main(["--debug", "status", "/nonexistent"])


class Payload:
    def __reduce__(self):
        return (open, ("executed", "w"))


def test_weights_with_code_in_them_are_refused_and_not_run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"state_dict": Payload()}))
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    study = tiny.raw(models=[{"source": "small:cnn", "weights": "evil.pth"}])
    (tmp_path / "study.toml").write_text(tomli_w.dumps(study))
    assert main(["run", "study.toml", "--quiet"]) == 2
    assert "evil.pth" in capsys.readouterr().err
    assert not (tmp_path / "executed").exists()
    assert main(["run", "study.toml", "--quiet", "--set", "models.0.weights=other.pth"]) == 2
    error = capsys.readouterr().err
    assert "missing" in error
    assert "conv1.weight" in error


def test_new_prints_a_study_that_runs_as_it_is(capsys, tmp_path):
    from manifoldscope.study import load

    assert main(["new", "mnist"]) == 0
    (tmp_path / "mine.toml").write_text(capsys.readouterr().out)
    assert load(tmp_path / "mine.toml") == load("mnist")
    assert main(["new", "digits", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Study"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("studies", "fashion-mnist"),
        ("datasets", "imagenet"),
        ("models", "small:resnet20"),
        ("measures", "pca_dimension"),
        ("attacks", "pgd"),
        ("objectives", "adversarial"),
    ],
)
def test_list_shows_what_there_is(kind, name, capsys):
    assert main(["list", kind]) == 0
    assert name in capsys.readouterr().out


def test_list_layers_shows_names_and_shapes(capsys):
    assert main(["list", "layers", "--model", "small:cnn", "--size", "28"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^flatten +Flatten +3136 +not in all: same points as relu2$", out, re.MULTILINE)
    assert re.search(r"^conv1 +Conv2d +32 x 14 x 14 +6,272 features flatten$", out, re.MULTILINE)
    assert [line.split()[0] for line in out.splitlines()][-2:] == ["penultimate", "logits"]


def test_measure_reads_any_matrix(tmp_path, capsys):
    points = np.random.default_rng(0).normal(size=(40, 5))
    np.save(tmp_path / "points.npy", points)
    np.save(tmp_path / "labels.npy", np.repeat([3, 8], 20))
    assert main(["measure", str(tmp_path / "points.npy"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["measure"] for row in rows} >= {"pca_dimension", "participation_ratio"}
    assert next(row["value"] for row in rows if row["measure"] == "pca_dimension") == 5
    assert main(["measure", str(tmp_path / "points.npy"), "--labels", str(tmp_path / "labels.npy")]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split()[:3] == ["label", "measure", "parameters"]
    assert "the most that 5 features can show" in out


@pytest.fixture
def classes(tmp_path):
    """Arguments for `measure`: three Gaussian classes in 30 features, of 40 to 60 points."""
    numbers = np.random.default_rng(0)
    np.save(tmp_path / "points.npy", numbers.normal(size=(150, 30)))
    np.save(tmp_path / "labels.npy", np.repeat([1, 2, 3], [40, 50, 60]))
    return ["measure", str(tmp_path / "points.npy"), "--labels", str(tmp_path / "labels.npy"), "--json"]


def test_measure_extrapolates_or_says_why_not(classes, capsys):
    names = ["--measure", "participation_ratio", "--measure", "two_nn"]
    assert main([*classes, *names, "--extrapolate", "2"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["n_points"] for row in rows] == [80, 80, 100, 100, 120, 120]
    given = [row for row in rows if row["note"].startswith("extrapolated from ")]
    refused = [row for row in rows if row["note"].startswith("not extrapolated: ")]
    assert len(given) + len(refused) == 6
    assert {row["measure"] for row in given} == {"participation_ratio"}
    assert all(20 < row["value"] < 30 and row["stderr"] > 0 for row in given)
    assert all(row["value"] is None for row in refused)
    assert main([*classes, "--measure", "centroid_distance", "--extrapolate", "2"]) == 2
    assert "only measures of one class are extrapolated" in capsys.readouterr().err
    assert main([*classes, *names, "--extrapolate", "2", "--null", "20"]) == 2
    assert "--null stands beside values, which --extrapolate does not print" in capsys.readouterr().err


def test_equal_sizes_hold_for_every_table_of_measure(classes, capsys):
    chosen = [*classes, "--measure", "participation_ratio", "--equal"]
    assert main(chosen) == 0
    assert {row["n_points"] for row in json.loads(capsys.readouterr().out)} == {40}
    assert main([*chosen, "--reliability"]) == 0
    assert "draw equal sizes first" not in json.loads(capsys.readouterr().out)[0]["note"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        (
            "--split-halves",
            "-1",
            "argument --split-halves: -1 is no number of draws; expected a whole number, 0 for none",
        ),
        ("--null", "-1", "argument --null: -1 is no number of draws"),
        ("--null", "many", "argument --null: many is no number of draws"),
        ("--extrapolate", "5", "argument --extrapolate: 5 times the points cannot be told; expected more than 1"),
        ("--extrapolate", "1", "argument --extrapolate: 1 times the points cannot be told"),
    ],
)
def test_measure_refuses_numbers_in_words_of_the_command_line(option, value, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["measure", "points.npy", option, value])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("option", "least"), [("--equal", 2), ("--reliability", 3)])
def test_what_compares_classes_asks_for_their_labels(option, least, tmp_path, capsys):
    np.save(tmp_path / "points.npy", np.eye(12))
    assert main(["measure", str(tmp_path / "points.npy"), option]) == 2
    message = capsys.readouterr().err
    assert f"{option} compares classes: it needs {least} at least" in message
    assert "has 1; give --labels" in message


def test_associate_gives_the_published_correlations(shared_data, capsys):
    table = shared_data / "thesis" / "resnet50_100_classes.csv"
    command = [
        "associate",
        str(table),
        "--x",
        "pca_dimension",
        "--y",
        "adversarial_accuracy_percent",
        "--by",
        "epsilon",
    ]
    assert main([*command, "--json"]) == 0
    rows = [row for row in json.loads(capsys.readouterr().out) if row["method"] == "pearson"]
    assert [round(row["coefficient"], 3) for row in rows] == [-0.560, -0.610, -0.636, -0.675, -0.643]
    assert main(command) == 0
    assert "pearson" in capsys.readouterr().out


def test_doctor_says_what_is_there_and_what_is_missing(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^torch +\d", out, re.MULTILINE)
    assert "GiB free" in out


def test_ctrl_c_says_what_is_kept(capsys, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "run_units", interrupted)
    assert main(["run", "digits", "--quiet"]) == 130
    assert "is kept, and the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../../x", "/abs", ".", "..", "", "a/b", ".hidden", "a\x1b[2J", " ", "x" * 300])
def test_a_study_may_not_choose_by_its_name_where_results_are_written(name, capsys, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main(["run", "digits", "--quiet", "--set", f"name={json.dumps(name)}"]) == 2
    error = capsys.readouterr().err
    assert "is no name for a folder; give another, or say where with --out DIR" in error
    assert "\x1b" not in error
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]


@pytest.mark.parametrize(
    ("out", "root"),
    [("data/run", "data"), ("data", "data"), (".", "data"), ("link/run", "data"), ("run", "run/data.npz")],
)
def test_results_are_not_written_among_the_data(out, root, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / root).mkdir(parents=True)
    (tmp_path / "link").symlink_to(root)
    study = tiny.raw(data={**tiny.raw()["data"], "source": "folder", "root": root})
    (tmp_path / "study.toml").write_text(tomli_w.dumps(study))
    before = sorted(tmp_path.rglob("*"))
    assert main(["run", "study.toml", "--quiet", "--out", out]) == 2
    assert "one lies in the other; give another folder with --out" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_path_that_looks_like_a_pattern_is_a_path(finished, tmp_path, capsys):
    for name in ("run1", "run?", "run[1]"):
        shutil.copytree(finished / "run", tmp_path / name)
    for name in ("run?", "run[1]"):
        assert main(["report", str(tmp_path / name)]) == 0
        ours, one = api.Result(tmp_path / name).table("outcomes"), api.Result(finished / "run").table("outcomes")
        assert ours.equals(one)


def test_status_and_verify_work_where_nothing_can_be_written(finished, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(finished / "run", folder)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    for command in ("status", "verify"):
        assert main([command, str(folder)]) == 0
        assert main([command, str(folder), "--json"]) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_status_as_json_is_json(finished, capsys):
    assert main(["status", str(finished / "run"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert len(found["done"]) == 39
    assert found["failed"] == {}


def test_a_plan_that_was_edited_is_one_sentence_and_speaks_no_escape_sequences(finished, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(finished / "run", folder)
    whole = (folder / "plan.json").read_text()
    plan = json.loads(whole)
    for unit in plan["units"]:
        if "network" in unit:
            unit["network"]["name"] = "\x1b]0;owned\x07"
    (folder / "plan.json").write_text(json.dumps(plan))
    assert main(["status", str(folder)]) == 0
    (folder / "units" / "attack").rename(folder / "units" / "other")
    assert main(["status", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "\\x1b]0;owned" in shown
    assert "\x1b" not in shown
    for text in ("[]", "{", "null", '{"units": [1], "facts": {}}', "[" * 10_000, whole.replace("network", "net")):
        (folder / "plan.json").write_text(text)
        assert main(["status", str(folder)]) == 2
        assert "is damaged" in capsys.readouterr().err
    plan = json.loads(whole)
    plan["units"][0]["key"] = "0" * 64
    (folder / "plan.json").write_text(json.dumps(plan))
    assert main(["status", str(folder)]) == 2
    assert "was computed by another version of manifoldscope" in capsys.readouterr().err


@pytest.mark.parametrize("made_of_it", [RuntimeError, type("Panic", (BaseException,), {})])
def test_a_request_that_a_library_turns_into_its_own_error_stops_as_well(
    finished, tmp_path, capsys, monkeypatch, made_of_it
):
    from manifoldscope.study.kinds.geometry import Geometry

    def interrupted(*_):
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise made_of_it("in a callback") from None

    monkeypatch.setattr(Geometry, "compute", interrupted)
    run = ["run", str(finished / "tiny.toml"), "--out", str(tmp_path / "run"), "--quiet"]
    assert main(run) == 143
    assert "stopped; everything that was finished is kept" in capsys.readouterr().err
    assert not list((tmp_path / "run" / "failed").iterdir())
    assert stopping.requested() is None  # whoever goes on in this process is not stopped


def test_a_request_to_end_stops_as_ctrl_c_does(tmp_path):
    command = [sys.executable, "-m", "manifoldscope", "run", "digits", "--out", str(tmp_path / "run")]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    for line in child.stderr:
        if "units to compute" in line:
            break
    child.send_signal(signal.SIGTERM)
    error = child.communicate(timeout=60)[1]
    assert child.returncode == 143
    assert "stopped; everything that was finished is kept" in error
    assert "Traceback" not in error
    assert not list((tmp_path / "run").rglob(".draft-*"))
    assert not list((tmp_path / "run" / "locks").iterdir())


def test_the_schema_of_study_files_needs_no_name(capsys):
    assert main(["new", "--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["properties"]["layers"]["description"].startswith("layers to measure")
