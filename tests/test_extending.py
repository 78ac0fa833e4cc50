"""The files of docs/extending.md run as they stand there, and the study that names them uses each."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from manifoldscope.outline import GROUP
from manifoldscope.registry import Registry
from manifoldscope.report import FINDINGS

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, flags=re.DOTALL)
FILES = {text.split("\n")[0].lstrip("#/ "): text for language, text in BLOCKS if language in ("python", "toml", "js")}
COMMANDS = [line for language, text in BLOCKS if language == "sh" for line in text.splitlines()]


RUN_ALL = """
import io, json, sys
from contextlib import redirect_stdout
from manifoldscope.cli import main

printed = []
for arguments in json.loads(sys.argv[1]):
    with redirect_stdout(io.StringIO()) as out:
        status = main(arguments)
    if status:
        raise SystemExit(f"{arguments} ended with {status}")
    printed.append(out.getvalue())
print(json.dumps(printed))
"""


def run_all(lines: list[str], folder: Path) -> dict[str, str]:
    """What each command prints; all in one process, since each would import torch again."""
    known = sorted(path.name for path in folder.glob("*.py"))
    asked = [
        [word for part in shlex.split(line)[1:] for word in (known if part == "*.py" else [part])] for line in lines
    ]
    arguments = json.dumps(asked)
    command = [sys.executable, "-c", RUN_ALL, arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(lines, json.loads(done.stdout), strict=True))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder in which the commands of the page ran, and what each printed."""
    folder = tmp_path_factory.mktemp("extending")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder, run_all(COMMANDS, folder)


def table(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(folder / "runs" / "mine" / "tables" / f"{name}.parquet")


def test_the_study_of_the_page_names_every_file_of_the_page() -> None:
    named = tomllib.loads(FILES["study.toml"])["plugins"]
    assert sorted(named) == sorted(name for name in FILES if name.endswith(".py"))


def test_each_item_of_the_page_leaves_its_trace_in_the_results(ran: tuple[Path, dict[str, str]]) -> None:
    folder, _ = ran
    models, measures = table(folder, "models"), table(folder, "geometry")
    assert models["dataset"].to_list() == ["stripes"]
    assert models["source"].to_list() == ["linear:classifier"]
    assert models["defence_parameters"].to_list() == ["weight=0.25"]
    assert models["clean_accuracy"][0] > 0.9  # the objective trained it
    assert measures.filter(measure="total_variance")["parameters"].unique().to_list() == ["power=0.5"]
    accuracy = table(folder, "robustness").group_by("attack", "strength").agg(pl.col("n_robust").sum())
    assert set(accuracy["attack"]) == {"bim", "posterise"}
    under = accuracy.filter(attack="bim").sort("strength")["n_robust"].to_list()
    assert under[0] > under[-1]
    confidence = table(folder, "confidence")
    assert confidence["class_name"].to_list() == ["top", "middle", "bottom"]
    assert confidence["confidence"].is_between(1 / 3, 1).all()
    checks = table(folder, "checks").filter(check="classes predicted")
    assert checks.select("model", "passed", "value").rows() == [("classifier", True, 0.0)]


def test_the_figure_and_the_kinds_of_the_page_are_in_the_report(ran: tuple[Path, dict[str, str]]) -> None:
    folder, printed = ran
    page = (folder / "runs" / "mine" / "report.html").read_text(encoding="utf-8")
    assert "How confident is each network?" in page
    assert (folder / "runs" / "mine" / "figures" / "confidence--classifier.svg").exists()
    facts = re.search('id="facts">([^<]*)<', page)
    assert facts is not None
    views = {view["name"]: view for view in json.loads(gzip.decompress(base64.b64decode(facts[1])))["views"]}
    kept = table(folder, "confidence")["confidence"].round(4).to_list()
    assert views["confidence"]["data"] == {"0": kept}
    assert "rows = page.facts.classes.map" in page  # its script is part of the page's
    assert "bim (epsilon, steps=10) from" in printed["manifoldscope list attacks --plugin bim.py"]


def test_the_finding_of_the_page_speaks_of_a_network_that_is_too_confident() -> None:
    module = ModuleType("finding_of_the_page")
    try:
        exec(FILES["overconfidence.py"], module.__dict__)
        tables = {
            "confidence": pl.DataFrame({"model": ["a", "a", "b"], "confidence": [0.9, 0.7, 0.5]}),
            "models": pl.DataFrame({"model": ["a", "b"], "clean_accuracy": [0.5, 0.5]}),
        }
        found = FINDINGS["overconfidence"].target(tables)
        assert [finding.title for finding in found] == ["a is 30 points more confident than it is accurate"]
    finally:
        Registry.forget("finding_of_the_page")


def test_an_installed_package_is_found_by_the_entry_point_of_the_page(tmp_path: Path) -> None:
    points = tomllib.loads(FILES["pyproject.toml"])["project"]["entry-points"]
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").touch()
    (tmp_path / "my_package" / "total_variance.py").write_text(FILES["total_variance.py"], encoding="utf-8")
    about = tmp_path / "mine-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    lines = [f"{name} = {module}" for name, module in points[GROUP].items()]
    (about / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
    listed = run_all(["manifoldscope list measures"], tmp_path)["manifoldscope list measures"]
    assert f"from {tmp_path / 'my_package' / 'total_variance.py'}" in listed
