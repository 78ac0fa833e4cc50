"""A run keeps to the memory that it may take: smaller batches, the same outcomes, the same keys; or a refusal."""

from __future__ import annotations

import pytest

from manifoldscope.errors import StudyError
from manifoldscope.study import Store, run_units
from manifoldscope.study.cost import bytes_of
from manifoldscope.study.progress import Progress
from manifoldscope.vision.memory import Memory
from tests.study import tiny

QUIET = Progress(quiet=True)


def test_sizes_as_people_write_them():
    assert [bytes_of(text) for text in ("4GiB", "500MB", "2e9", "1.5 kib", 7)] == [
        2**32,
        500_000_000,
        2 * 10**9,
        1536,
        7,
    ]
    for wrong in ("", "0", "-1GiB", "4 apples", "nan", "1e999"):
        with pytest.raises(StudyError, match="such as 4GiB, 500MB or 2e9"):
            bytes_of(wrong)


def test_a_study_that_cannot_fit_is_refused_before_it_starts(tmp_path):
    store = Store(tmp_path / "run")
    with pytest.raises(StudyError, match=r"needs at least [\d.]+ GiB .* reduce .*, or allow more with --memory"):
        run_units(tiny.study(), store, progress=QUIET, memory=2**20)
    assert not list((tmp_path / "run" / "units").glob("attack/*"))


def test_memory_is_in_no_key(tmp_path, monkeypatch):
    monkeypatch.setattr(Memory, "batch", lambda self, *_, **__: 3)  # as if no more than three fitted
    store = Store(tmp_path / "run")
    assert run_units(tiny.study(), store, progress=QUIET).failed == {}
    monkeypatch.undo()
    assert run_units(tiny.study(), store, progress=QUIET, memory=2**40).n_computed == 0
