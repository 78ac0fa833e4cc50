"""What the checks of the evaluation came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl


@dataclass(frozen=True)
class Checked:
    """How many checks there are, over how many networks; how many passed or could not be decided; those that failed."""

    n_checks: int
    n_networks: int
    n_passed: int
    n_undecided: int
    failed: tuple[Mapping[str, Any], ...]


def checked(checks: pl.DataFrame) -> Checked | None:
    """The checks of the table `checks`; None where there are none."""
    if checks.is_empty():
        return None
    return Checked(
        n_checks=len(checks),
        n_networks=checks["model"].n_unique(),
        n_passed=int(checks["passed"].sum()),
        n_undecided=checks["passed"].null_count(),
        failed=tuple(checks.filter(~pl.col("passed")).to_dicts()),
    )
