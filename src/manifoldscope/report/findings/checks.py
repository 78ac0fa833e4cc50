"""The checks of the evaluation, in words."""

from __future__ import annotations

from manifoldscope.evidence.checked import Checked, checked
from manifoldscope.report.findings.finding import FINDINGS, Finding, Tables
from manifoldscope.report.findings.phrases import MOST_SPELLED_OUT, plural


@FINDINGS.register("checks")
def found(tables: Tables) -> list[Finding]:
    """Whether the evaluation is to be trusted."""
    fact = checked(tables["checks"])
    if fact is None:
        return []
    undecided = f"{plural(fact.n_undecided, 'check')} could not be decided."
    return [_failed(fact, undecided) if fact.failed else _passed(fact, undecided)]


def _passed(fact: Checked, undecided: str) -> Finding:
    known_ways = "Checks find known ways to overestimate robustness; they cannot exclude new ones."
    return Finding(
        kind="checks",
        title="No check of the evaluation failed" if fact.n_undecided else "Every check of the evaluation passed",
        text=f"{fact.n_passed} of {fact.n_checks} checks passed, over {plural(fact.n_networks, 'network')}.",
        caveats=(undecided, known_ways) if fact.n_undecided else (known_ways,),
        weight=20,
    )


def _failed(fact: Checked, undecided: str) -> Finding:
    said = [
        f"{row['model']}: {row['check']}{f' ({note})' if (note := row['note']) else ''}"
        for row in fact.failed[:MOST_SPELLED_OUT]
    ]
    n_more = len(fact.failed) - len(said)
    return Finding(
        kind="checks",
        title=f"{len(fact.failed)} of {fact.n_checks} checks of the evaluation failed: read the accuracies with care",
        text=f"{'; '.join(said)}{f'; and {n_more} more' if n_more else ''}.",
        caveats=(undecided,) if fact.n_undecided else (),
        numbers=fact.failed,
        weight=95,
    )
