"""Two finished studies of seconds, which differ in their seed; what they have is drawn by those who ask for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manifoldscope import api
from manifoldscope.study.progress import Progress
from tests.study import tiny


def _run(folder: Path, **changes: Any) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "render", lambda **arguments: {"report.html": b""})  # it takes longer than all else
        return api.run(tiny.study(**changes), out=folder, progress=Progress(quiet=True)).folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study, finished."""
    return _run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="session")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with another seed."""
    return _run(tmp_path_factory.mktemp("runs") / "another", name="another", seed=1)
