"""What the last iterate leaves out, in words."""

from __future__ import annotations

from dataclasses import asdict

from manifoldscope.evidence.iterates import gaps
from manifoldscope.report.findings.finding import FINDINGS, Finding, Tables
from manifoldscope.report.words import attack_at


@FINDINGS.register("iterates")
def found(tables: Tables) -> list[Finding]:
    """By how much the last iterate alone overstates robustness."""
    facts = gaps(tables["robustness"], tables["models"])
    if not facts:
        return []
    worst = facts[0]
    if worst.gap <= 0:
        return [
            Finding(
                kind="iterates",
                title="No image was misclassified on the way and classified correctly at the end",
                text=f"The two agree under every attack at every strength ({len(facts)} in all).",
                weight=18,
            )
        ]
    return [
        Finding(
            kind="iterates",
            title=f"The last iterate alone overstates robustness by up to {100 * worst.gap:.1f} points",
            text=f"Largest for {worst.model} under {attack_at(worst.attack, worst.strength)}: "
            f"{worst.n_robust} of {worst.n_images} images are robust at the last iterate, and "
            f"{worst.n_robust_any} at every iterate. An attacker would take the best iterate: 'any' is the safer "
            "number.",
            numbers=tuple(asdict(fact) for fact in facts if fact.gap > 0),
            weight=50 if worst.gap >= 0.01 else 18,
        )
    ]
