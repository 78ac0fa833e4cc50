"""A finding, and the registry of those who find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from manifoldscope.registry import Registry

Tables = Mapping[str, pl.DataFrame]

FINDINGS = Registry("finding", package="manifoldscope.report.findings")
"""Functions that are given all tables by name, with every column of their schemas, and return a list of findings."""


@dataclass(frozen=True)
class Finding:
    """One thing that the tables say.

    Attributes:
        kind: the name under which the function that found it is registered.
        title: one sentence in plain words.
        text: the numbers and their uncertainty, in paragraphs that an empty line keeps apart.
        caveats: what speaks against reading more into it.
        numbers: the rows that it rests on.
        weight: findings are shown with the largest first.
    """

    kind: str
    title: str
    text: str
    caveats: tuple[str, ...] = ()
    numbers: tuple[Mapping[str, Any], ...] = ()
    weight: float = 0.0
