"""The scripts of the page hold to the types that their comments give, by TypeScript's own checker."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WEB = ROOT / "src" / "manifoldscope" / "report" / "web"
TSC = ROOT / "node_modules" / ".bin" / "tsc"


def checked(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("node") is None or not TSC.exists():
        pytest.skip("the types of the report's scripts need Node.js and typescript: npm install")
    command = [str(TSC), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_script_of_the_report_holds_to_its_types() -> None:
    found = checked("-p", "tsconfig.json")
    assert found.returncode == 0, found.stdout


def test_every_script_of_the_report_is_checked() -> None:
    files = set(map(Path, checked("-p", "tsconfig.json", "--listFilesOnly").stdout.splitlines()))
    assert {path for path in WEB.rglob("*.js") if "vendor" not in path.relative_to(WEB).parts} <= files
