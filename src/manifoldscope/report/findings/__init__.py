"""What the tables say, in words: each finding with the numbers it rests on and the caveats that go with it.

A finding never says more than its numbers: a correlation across classes is no cause, an interval is quoted beside every
coefficient, and what could not be asked is said as well. A new one is a function in a file of this folder, registered
there; it is found without being named anywhere else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

from manifoldscope.evidence.completeness import NEEDED, missing
from manifoldscope.report.findings.completeness import incomplete
from manifoldscope.report.findings.finding import FINDINGS, Finding
from manifoldscope.tables import TABLES, conform

__all__ = ["FINDINGS", "Finding", "diagnose"]


def diagnose(tables: Mapping[str, pl.DataFrame], *, asked: Collection[str] = NEEDED) -> list[Finding]:
    """What the tables of a study say, the most important first.

    Args:
        tables: by name, as in `manifoldscope.tables`; one that was asked for, and is left out or empty, is reported.
        asked: which of the tables that most studies have this one asks for.

    Raises:
        ManifoldscopeError: a table with a column that its schema does not know.

    Example:
        >>> diagnose({})[0].title
        'The study is not complete: models, geometry, robustness, associations and checks are missing'
    """
    known = {name: conform(name, tables.get(name, [])) for name in TABLES}
    found = incomplete(missing(known, asked))
    for entry in FINDINGS:
        with entry.named():
            found += entry.target(known)
    return sorted(found, key=lambda finding: -finding.weight)
