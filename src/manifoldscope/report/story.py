"""The story of a study, before anything else: what was asked, the answer, how sure it is, and what would change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from manifoldscope.evidence.across_classes import across_classes
from manifoldscope.report import words
from manifoldscope.report.central_pair import central_pair
from manifoldscope.report.findings import Finding
from manifoldscope.report.findings.association import at_equal_difficulty, clause

MOST_SURE, MOST_CHANGES = 3, 3
"""Paragraphs that say how sure the answer is, and reasons that would change it, before the reader explores."""

MOST_ALSO, MAIN = 2, 80
"""Other findings that are told beside the answer, and the least weight of those that answer a question of their own."""

LONGEST = 420
"""Characters of one of them; the finding has the whole."""


@dataclass(frozen=True)
class Story:
    """What is read first.

    Attributes:
        question: as the study file asks it; empty where it asks none.
        answer: one sentence.
        also: what else was found that answers a question of the study, a sentence each.
        sure: coefficients with their intervals, and whether checks were passed.
        change: what speaks against the answer, and what it would take.
        incomplete: how much of the study is not there; empty where all is.
    """

    question: str
    answer: str
    sure: tuple[str, ...]
    change: tuple[str, ...]
    incomplete: str = ""
    also: tuple[str, ...] = ()


def story(
    study: Mapping[str, Any],
    tables: Mapping[str, pl.DataFrame],
    findings: Sequence[Finding],
    *,
    n_failed: int = 0,
    n_missing: int = 0,
) -> Story:
    """The story that the weightiest finding tells; `findings` by falling weight, as `diagnose` returns them.

    Args:
        n_failed, n_missing: units of work that failed, and that were not computed yet.

    Example:
        >>> story({}, {"checks": pl.DataFrame(schema={"passed": pl.Boolean})}, []).answer
        'No conclusion could be drawn'
    """
    question, incomplete = str(study.get("question") or ""), _incomplete(n_failed, n_missing)
    if not findings:
        missing = "The tables do not hold both the geometry and the robustness of enough classes."
        return Story(question, "No conclusion could be drawn", (missing,), (), incomplete)
    first = findings[0]
    sure = (_association(tables) if first.kind == "association" else []) or _paragraphs(first.text)
    return Story(
        question,
        first.title,
        tuple(_cut(text) for text in (*sure[: MOST_SURE - 1], _checked(tables["checks"])) if text),
        tuple(_cut(text) for text in first.caveats[:MOST_CHANGES]),
        incomplete,
        tuple(each.title for each in findings[1:] if each.weight >= MAIN)[:MOST_ALSO],
    )


def _incomplete(n_failed: int, n_missing: int) -> str:
    states = [f"{n_failed} failed"] * bool(n_failed) + [f"{n_missing} not computed yet"] * bool(n_missing)
    if not states:
        return ""
    units = words.count(n_failed + n_missing, "unit")
    return (
        f"This study is incomplete, and the answer is of what there is: {units} of work missing ({', '.join(states)})."
    )


def _association(tables: Mapping[str, pl.DataFrame]) -> list[str]:
    """The largest coefficient with its interval, and what is left of it at equal clean difficulty."""
    fact, pair = across_classes(tables), central_pair(tables)
    if fact is None or pair is None:
        return []
    label = words.measure(fact.measure, fact.parameters)
    against = f"{label} against robust accuracy under {words.attack(pair.attack)}"
    largest = f" (the largest of {words.count(len(fact.asked), 'coefficient')})" if len(fact.asked) > 1 else ""
    strength = words.at_strength(pair.attack, pair.strength)
    return [
        f"{against} at {strength}, over {words.number(pair.n)} classes{largest}: {clause(pair)}",
        at_equal_difficulty([(pair, pair.plain)]) if pair.plain is not None else "",
    ]


def _paragraphs(text: str) -> list[str]:
    """The paragraphs of a finding, one that ends with a colon together with the next."""
    said = [part.replace("\n", " ") for part in text.split("\n\n") if part.strip()]
    return [f"{said[0]} {said[1]}", *said[2:]] if len(said) > 1 and said[0].endswith(":") else said


def _checked(checks: pl.DataFrame) -> str:
    """Whether the evaluation passed its checks."""
    judged = checks.filter(pl.col("passed").is_not_null()) if checks.height else checks
    if judged.is_empty():
        return "No check of the evaluation was run."
    failed = judged.filter(~pl.col("passed")).height
    if not failed:
        return f"All {words.number(judged.height)} checks of the evaluation passed."
    are, ending = "is" if failed == 1 else "are", "" if judged.height == 1 else "s"
    return f"{failed} of {words.number(judged.height)} check{ending} of the evaluation {are} flagged."


def _cut(text: str) -> str:
    """The text, shortened at the end of a clause where it is long."""
    if len(text) <= LONGEST:
        return text
    head = text[:LONGEST]
    end = max(head.rfind(mark) for mark in ("; ", ". ", ", "))
    return f"{head[: end if end > LONGEST // 2 else LONGEST].rstrip(' ;,.')} …"
