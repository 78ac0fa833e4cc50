"""What a study lacks, in words."""

from __future__ import annotations

from collections.abc import Sequence

from manifoldscope.report.findings.finding import Finding
from manifoldscope.report.findings.phrases import listed

_WITHOUT = {
    "models": "the networks cannot be named or compared",
    "geometry": "nothing is known of the manifolds",
    "robustness": "nothing is known of robustness",
    "associations": "whether the one goes with the other was not asked",
    "checks": "it was not checked whether the attack can be trusted",
}


def incomplete(absent: Sequence[str]) -> list[Finding]:
    """That tables are missing, if any are."""
    if not absent:
        return []
    return [
        Finding(
            kind="missing",
            title=f"The study is not complete: {listed(absent)} {'is' if len(absent) == 1 else 'are'} missing",
            text=" ".join(f"Without {name}, {_WITHOUT[name]}." for name in absent),
            numbers=tuple({"table": name, "rows": 0} for name in absent),
            weight=100,
        )
    ]
