"""What each defence gains, loses and costs, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from manifoldscope.evidence import difference
from manifoldscope.evidence.defences import told
from manifoldscope.report import words
from manifoldscope.report.findings.finding import FINDINGS, Finding, Tables
from manifoldscope.report.findings.phrases import listed, plural

_MOST = 10
_SEEDS = (
    "Intervals are over images; seeds matter too, and one training of each network does not show by how much. Seconds "
    "are those of one machine, whatever else it did."
)
_WEAK = (
    "AutoAttack was not among the attacks: a defence that weakens the gradients that these follow looks more robust "
    "than it is."
)
_VOTE = (
    "Of a network that votes over noise the attack knew the noise: this is the robust accuracy of that draw, in a "
    "white-box attack. Noise that is drawn anew is another network (`with_other_noise`)."
)


@FINDINGS.register("defences")
def found(tables: Tables) -> list[Finding]:
    """Robust accuracy, loss of clean accuracy and cost of each defence: one finding for each source and norm."""
    return [
        _finding(table, weight=84 - rank)
        for rank, table in enumerate(told(tables["defences"]).partition_by("source", "norm", maintain_order=True))
    ]


def _finding(table: pl.DataFrame, *, weight: float) -> Finding:
    rows = table.to_dicts()
    best = rows[0]
    at = f"ε = {words.strength(best['strength'])} ({words.norm(best['norm'])})"
    attacks = best["attacks"].split(" + ")
    caveats = [_SEEDS]
    caveats += [] if "autoattack" in attacks else [_WEAK]
    caveats += [_VOTE] if any(row["defence"] == "noise_vote" for row in rows) else []
    left = f" and {plural(len(rows) - _MOST, 'more network')}" if len(rows) > _MOST else ""
    return Finding(
        kind="defences",
        title=_title(rows, at),
        text=(
            f"{best['source']}, under {listed([words.attack(name) for name in attacks])} at {at}, on "
            f"{best['n_images']} images: {'; '.join(_clause(row) for row in rows[:_MOST])}{left}."
        ),
        caveats=tuple(caveats),
        numbers=tuple(rows),
        weight=weight,
    )


def _title(rows: list[dict[str, Any]], at: str) -> str:
    best = rows[0]
    if len(rows) == 1 or not all(_clearly_above(best, other) for other in rows[1:]):
        return (
            f"No network of {best['source']} is clearly the most robust at {at}: {best['model']} leads with "
            f"{best['robust_accuracy']:.1%}"
        )
    loss = best["clean_loss"]
    known = loss is not None and best["clean_loss_low"] is not None
    clear = known and best["clean_loss_low"] * best["clean_loss_high"] > 0
    clean = f", {_points(loss)} of clean accuracy" if clear else ", without a clear loss of clean accuracy" * known
    return f"Of the networks of {best['source']}, {best['model']} is the most robust at {at}: " + (
        f"{best['robust_accuracy']:.1%}{clean}"
    )


def _clearly_above(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the 95% interval of the difference in robust accuracy lies above 0."""
    counts = [np.array([float(each[name])]) for each in (row, other) for name in ("n_robust", "n_images")]
    return bool(difference(*counts)[0][0] > 0)


def _points(loss: float) -> str:
    """`at a loss of 1.2 points`, or `at a gain of 0.5 points`."""
    return f"at a {'loss' if loss >= 0 else 'gain'} of {100 * abs(loss):.1f} points"


def _clause(row: Mapping[str, Any]) -> str:
    robust = f"{row['robust_accuracy']:.1%} robust (95%: {row['robust_low']:.1%} to {row['robust_high']:.1%})"
    parts = [f"{row['model']} {robust}", f"{row['clean_accuracy']:.1%} clean"]
    if row["clean_loss_low"] is not None:
        parts[-1] += words.real_minus(f" (loss {100 * row['clean_loss']:.1f} points, 95%: {_limits(row)})")
    if row["relative_seconds"] is not None and row["model"] != row["baseline"]:
        parts.append(f"{row['relative_seconds']:.2g} times the training time")
    if row["relative_multiply_adds"] is not None and row["relative_multiply_adds"] != 1:
        parts.append(f"{row['relative_multiply_adds']:.3g} times the multiply-adds per image")
    return ", ".join(parts)


def _limits(row: Mapping[str, Any]) -> str:
    return f"{100 * row['clean_loss_low']:.1f} to {100 * row['clean_loss_high']:.1f}"
