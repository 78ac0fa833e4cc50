"""How finely accuracy is known, in words."""

from __future__ import annotations

from manifoldscope.evidence.granularity import granularity
from manifoldscope.report.findings.finding import FINDINGS, Finding, Tables


@FINDINGS.register("granularity")
def found(tables: Tables) -> list[Finding]:
    """By what steps the accuracy of a class moves, and how wide its interval is."""
    fact = granularity(tables["robustness"])
    if fact is None:
        return []
    return [
        Finding(
            kind="granularity",
            title=f"The robust accuracy of a class is known to about ±{100 * fact.half_width:.0f} points at worst",
            text=f"The smallest class has {fact.n_images} images, so its accuracy moves in steps of "
            f"{100 * fact.step:.2g} points and its 95% interval at 50% accuracy is ±{100 * fact.half_width:.1f} "
            "points. Such noise weakens every correlation with accuracy.",
            numbers=({"n_images": fact.n_images, "half_width": fact.half_width},),
            weight=60 if fact.half_width > 0.05 else 25,
        )
    ]
