"""Mutated tables: associated, or refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from manifoldscope.errors import ManifoldscopeError
from manifoldscope.evidence import associate_frame
from manifoldscope.frames import read_frame
from tests.fuzz.mutate import budget, mutations


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_is_associated_or_refused(suffix: str, tmp_path: Path) -> None:
    drawn = np.random.default_rng(0)
    table = pl.DataFrame({"x": drawn.normal(size=12), "y": drawn.integers(0, 99, 12), "group": ["a", "b"] * 6})
    path = tmp_path / f"t.{suffix}"
    (table.write_csv if suffix == "csv" else table.write_parquet)(path)
    for content in mutations(path.read_bytes(), budget(75), seed=4):
        path.write_bytes(content)
        try:
            frame = read_frame(path, numeric=["x", "y"])
            sentence = "" if len(associate_frame(frame, "x", "y", by="group", permutations=9)) else "none"
        except ManifoldscopeError as error:
            sentence = str(error)
        assert "\n" not in sentence
        assert len(sentence) < 700
