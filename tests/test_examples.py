"""The notebooks in `examples/` run, and show what is stored in them.

To run them and store what they show: python tests/test_examples.py [FILE ...]
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))

VARIES = "varies"
"""The tag of cells that show what training gave: another machine rounds otherwise, and trains other weights."""

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),  # our own command
}

SECONDS = 240
"""For one notebook; a few on an idle core."""


def executed(path: Path, folder: Path) -> Any:
    """The notebook after it has been run in a folder, without anything that is of this run alone."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        coalesce_streams=True,  # what a command prints arrives in as many pieces as the machine was busy
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=os.environ | ENVIRONMENT)
    for cell in notebook.cells:
        cell.metadata = {"tags": cell.metadata.tags} if "tags" in cell.metadata else {}
        for output in cell.get("outputs", []):
            if "metadata" in output:
                output.metadata = {}
    return notebook


def texts(cell: Any) -> list[str]:
    """What a cell shows as text; an address in memory is of one run alone."""
    shown = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", [])]
    return [re.sub(r" at 0x[0-9a-f]+", "", text) for text in shown]


def kinds(cell: Any) -> list[list[str]]:
    """In which forms a cell shows its outputs."""
    return [sorted(output.get("data", {"text": ""})) for output in cell.get("outputs", [])]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_is_stored_in_it(path, tmp_path):
    nbformat = pytest.importorskip("nbformat")
    stored = nbformat.read(path, as_version=4)
    again = executed(path, tmp_path)
    for before, after in zip(stored.cells, again.cells, strict=True):
        assert kinds(after) == kinds(before), after.source
        if VARIES not in before.metadata.get("tags", []):
            assert texts(after) == texts(before), after.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_executed_whole_and_holds_nothing_of_the_machine(path):
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    content = path.read_text(encoding="utf-8")
    assert len(content) < 400_000
    assert not re.search(r"/(home|root|Users|tmp|work)/|file://|Traceback|[0-9]+ s passed", content)
    assert all(output.output_type != "error" for cell in code for output in cell.outputs)
    links = re.findall(r"\]\(([^)#:]+)\)", "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown"))
    assert [link for link in links if not (EXAMPLES / link).is_file()] == []


if __name__ == "__main__":
    import tempfile

    import nbformat

    for path in [Path(name) for name in sys.argv[1:]] or NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(path, Path(folder)), path)
