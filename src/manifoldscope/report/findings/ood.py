"""Whether out-of-distribution images are detected, in words."""

from __future__ import annotations

from collections.abc import Sequence

from manifoldscope.evidence.ood import Detected, Score, detections
from manifoldscope.report.findings.finding import FINDINGS, Finding, Tables
from manifoldscope.report.findings.phrases import MOST_SPELLED_OUT, listed

_SCORES = {
    "max_softmax": "the largest softmax probability",
    "nearest_centroid": "distance to the nearest class centroid",
    "mahalanobis": "Mahalanobis distance",
    "residual": "residual outside the nearest class",
}
_CAVEATS = (
    "The best score was picked by looking at these very images; on others it may not be the best.",
    "Images of one dataset represent no other: what is detected may be their size, colours or compression, and not "
    "that their classes are new.",
    "That these images are out of distribution is what the study file says; only the names of classes were compared.",
)


@FINDINGS.register("ood")
def found(tables: Tables) -> list[Finding]:
    """How well each dataset of other classes is told from in-distribution images."""
    return [_finding(fact) for fact in detections(tables["ood"])]


def _finding(fact: Detected) -> Finding:
    areas = [score.auroc for scores in fact.networks.values() for score in scores]
    return Finding(
        kind="ood",
        title=f"Images of {fact.dataset} are detected as OOD with AUROCs of {min(areas):.2f} to {max(areas):.2f}",
        text=f"{' '.join(_sentences(fact))} {fact.n_ood} OOD images against {fact.n_in_distribution} "
        "in-distribution ones; 0.5 is chance level, and below it OOD images score as more in-distribution than "
        "in-distribution images.",
        caveats=_CAVEATS,
        numbers=fact.rows,
        weight=44,
    )


def _sentences(fact: Detected) -> list[str]:
    """One sentence per network; of many, those of the smallest and of the largest area of all."""
    if len(fact.networks) <= MOST_SPELLED_OUT:
        return [_sentence(model, scores) for model, scores in fact.networks.items()]
    least = min(fact.networks, key=lambda model: min(score.auroc for score in fact.networks[model]))
    most = max(fact.networks, key=lambda model: max(score.auroc for score in fact.networks[model]))
    said = [_sentence(model, fact.networks[model]) for model in dict.fromkeys((least, most))]
    return [f"Of {len(fact.networks)} networks, those of the smallest and of the largest area.", *said]


def _sentence(model: str, scores: Sequence[Score]) -> str:
    parts = [f"by {_SCORES['max_softmax']} {_area(score)}" for score in scores if score.score == "max_softmax"]
    by_layer = [score for score in scores if score.score != "max_softmax"]
    if by_layer:
        worst, best = by_layer[0], by_layer[-1]
        parts.append(
            f"by {len(by_layer)} distances from {_area(worst)} ({_named(worst)}) to {_area(best)} ({_named(best)})"
        )
    return f"{model}: {listed(parts)}."


def _area(score: Score) -> str:
    return f"{score.auroc:.2f} (95%: {score.low:.2f} to {score.high:.2f})"


def _named(score: Score) -> str:
    return f"{_SCORES.get(score.score, score.score)}, {score.layer}"
