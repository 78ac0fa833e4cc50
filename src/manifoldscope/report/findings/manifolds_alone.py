"""What the manifolds of a study without attacks are like, in words."""

from __future__ import annotations

from dataclasses import asdict

from manifoldscope.evidence.manifolds_alone import Measured, manifolds_alone
from manifoldscope.report import words
from manifoldscope.report.findings.finding import FINDINGS, Finding, Tables
from manifoldscope.report.findings.phrases import MOST_SPELLED_OUT


@FINDINGS.register("manifolds_alone")
def found(tables: Tables) -> list[Finding]:
    """How the main measure runs over classes, where nothing was attacked that it could be set beside."""
    fact = manifolds_alone(tables)
    if fact is None:
        return []
    name = words.measure(fact.measure, fact.parameters)
    first, ordered = fact.measured[0], sorted(fact.measured, key=lambda each: each.mean)
    title = f"{name} runs from {_range(first)}: {first.model}, {first.layer}"
    if len(ordered) > 1:
        ends = " to ".join(f"{words.number(each.mean, 3)} ({_at(each)})" for each in (ordered[0], ordered[-1]))
        title = f"The mean {name} of the classes goes from {ends}"
    shown = fact.measured[:MOST_SPELLED_OUT]
    left = len(fact.measured) - len(shown)
    more = f" And {words.count(left, 'more network and layer', 'more networks and layers')}." if left else ""
    clauses = [f"{_at(each)}: mean {words.number(each.mean, 3)} over {words.count(each.n, 'class', 'classes')}, from "
               f"{_range(each)}" for each in shown]  # fmt: skip
    return [
        Finding(
            kind="manifolds_alone",
            title=title,
            text=f"{name}: {'; '.join(clauses)}.{more}",
            caveats=("Nothing was attacked, so that nothing is said of robustness.",),
            numbers=tuple(asdict(each) for each in fact.measured),
            weight=97,
        )
    ]


def _at(each: Measured) -> str:
    return f"{each.model}, {each.layer}"


def _range(each: Measured) -> str:
    return f"{words.number(each.least, 3)} ({each.least_class}) to {words.number(each.most, 3)} ({each.most_class})"
