"""Images that could not be read, in words."""

from __future__ import annotations

from manifoldscope.evidence.unreadable import unreadable
from manifoldscope.report.findings.finding import FINDINGS, Finding, Tables
from manifoldscope.report.findings.phrases import plural


@FINDINGS.register("skipped_images")
def found(tables: Tables) -> list[Finding]:
    """How many images were skipped, and why the first was."""
    fact = unreadable(tables["skipped_images"])
    if fact is None:
        return []
    n, first = len(fact.images), fact.images[0]
    return [
        Finding(
            kind="skipped_images",
            title=f"{plural(n, 'image')} could not be read and {'was' if n == 1 else 'were'} skipped",
            text=f"They belong to {plural(fact.n_classes, 'class', 'es')}; the first is {first['image']} "
            f"({first['reason']}).",
            numbers=fact.images,
            weight=40,
        )
    ]
