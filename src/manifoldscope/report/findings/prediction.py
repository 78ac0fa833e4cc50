"""Whether geometry predicts which classes are robust, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from manifoldscope.evidence.prediction import ClassesPredicted, NetworkPredicted, Predictors, prediction
from manifoldscope.report.findings.finding import FINDINGS, Finding, Tables
from manifoldscope.report.findings.phrases import MOST_SPELLED_OUT, MeasureWords, every, listed, plural, signed
from manifoldscope.report.words import attack_at

_ATTACK_FREE = {
    "first_order_distance": "the first-order distance",
    "local_lipschitz_distance": "the local Lipschitz distance",
}
"""How the predictors of the table `attack_free` are spoken of."""

PREDICTORS: tuple[Predictors, ...] = ("difficulty", "margin", "measure", "margin_and_measure")

_CAVEATS = (
    "Where predictors say nothing, predictions correlate negatively with what was left out (about -0.3 for one "
    "predictor): 0 is not what chance gives.",
    "Margins of few images are noisy, and a measure that follows difficulty improves a prediction by that alone; the "
    "p-value is of what it says beyond margins on two draws, and of no other sign of difficulty.",
)


@FINDINGS.register("prediction")
def found(tables: Tables) -> list[Finding]:
    """Whether a measure of geometry helps to predict the robustness of a class that was left out."""
    fact = prediction(tables)
    if fact is None:
        return []
    models = dict.fromkeys(each.model for each in fact.classes)
    best = [_best([each for each in fact.classes if each.model == model]) for model in models]
    beside = {model: [each for each in fact.attack_free if each.model == model] for model in models}
    text = [
        " ".join([_sentence(each, sum(one.model == each.model for one in fact.classes)), *_beside(beside[each.model])])
        for each in _shown(best)
    ]
    return [
        Finding(
            kind="prediction",
            title=_title(best),
            text="\n\n".join([*text, *_networks(fact.networks)]),
            caveats=(*_CAVEATS, *_several(best)),
            numbers=tuple(map(_row, [*best, *fact.attack_free])),
            weight=70,
        )
    ]


def _several(best: Sequence[ClassesPredicted]) -> list[str]:
    if len(best) < 2:
        return []
    return [f"p is adjusted for the measures and layers of a network, not for there being {len(best)} networks."]


def _best(cells: Sequence[ClassesPredicted]) -> ClassesPredicted:
    """The measure and layer of one network that adds most."""
    return min(cells, key=lambda each: (each.p_value, -each.gain))


def _shown(best: Sequence[ClassesPredicted]) -> Sequence[ClassesPredicted]:
    return sorted(best, key=lambda each: each.p_adjusted)[:MOST_SPELLED_OUT]


def _title(best: Sequence[ClassesPredicted]) -> str:
    asked = [each for each in best if not each.gates]
    adds = [each for each in asked if each.adds]
    what = "in predicting which classes are robust"
    if not asked:
        return f"Whether geometry adds to the margin {what} cannot be answered with these data"
    if not adds:
        networks = asked[0].model if len(asked) == 1 else f"{every(len(asked))} networks"
        return f"Geometry adds nothing that is seen to the margin {what} ({networks})"
    if len(asked) == 1:
        return f"In {adds[0].model}, {_named(adds[0])} adds to the margin {what}"
    return f"Geometry adds to the margin {what}, in {len(adds)} of {len(asked)} networks"


def _named(each: ClassesPredicted | NetworkPredicted) -> str:
    return f"{MeasureWords(each.measure).name} at {each.layer}"


def _sentence(each: ClassesPredicted, n_cells: int) -> str:
    r = {name: f"{signed(each.score(name).r)}" for name in PREDICTORS}
    chosen = "" if n_cells == 1 else f", which adds most of {n_cells} measures and layers,"
    text = (
        f"{each.model}, {attack_at(each.attack, each.strength)}, {plural(each.n, 'class', 'es')}, each predicted "
        f"from the others: r = {r['difficulty']} by clean accuracy, {r['margin']} by the margin, {r['measure']} by "
        f"{_named(each)}{chosen or ','} and {r['margin_and_measure']} by that and the margin."
    )
    if each.gates:
        return f"{text} Difficulty cannot be held fixed with these data."
    change = "lowers" if each.gain > 0 else "raises"
    return (
        f"{text} Beyond the margin it {change} the squared error by {abs(each.gain):.1%} (adjusted p = "
        f"{each.p_adjusted:.2g})."
    )


def _beside(attack_free: Sequence[ClassesPredicted]) -> list[str]:
    """What estimates from gradients predict, without geometry."""
    if not attack_free:
        return []
    times = Counter(each.measure for each in attack_free)

    def said(each: ClassesPredicted) -> str:
        return _ATTACK_FREE[each.measure] + f" ({each.parameters})" * (times[each.measure] > 1)

    scores = listed([f"{signed(each.score('measure').r)} by {said(each)}" for each in attack_free])
    text = f"Without geometry, r = {scores}"
    best = _best(attack_free)
    if best.gates:
        return [f"{text}."]
    which = "it" if len(attack_free) == 1 else said(best)
    change = "lowers" if best.gain > 0 else "raises"
    return [
        f"{text}; beyond the margin {which} {change} the squared error by {abs(best.gain):.1%} (adjusted p = "
        f"{best.p_adjusted:.2g})."
    ]


def _networks(networks: Sequence[NetworkPredicted]) -> list[str]:
    """The measure that predicts networks left out best, beside the margin."""
    cells: dict[tuple[str, str, str], list[NetworkPredicted]] = {}
    for each in networks:
        cells.setdefault((each.layer, each.measure, each.parameters), []).append(each)
    if not cells:
        return []

    def mean(some: Sequence[NetworkPredicted], predictors: Predictors) -> float:
        return sum(each.score(predictors).r for each in some) / len(some)

    best = max(cells.values(), key=lambda some: mean(some, "margin_and_measure"))
    of = "" if len(cells) == 1 else f", the best of {len(cells)} measures and layers,"
    better = sum(each.score("margin_and_measure").error < each.score("margin").error for each in best)
    return [
        f"Classes of a network that was left out, predicted from {len(best) - 1} others: a mean r of "
        f"{signed(mean(best, 'margin'))} by the margin and {signed(mean(best, 'margin_and_measure'))} with "
        f"{_named(best[0])}{of or ','} which lowers the error in {better} of {len(best)} networks."
    ]


def _row(each: ClassesPredicted) -> dict[str, Any]:
    told = ("model", "layer", "measure", "parameters", "attack", "strength", "n", "gain", "p_value", "p_adjusted")
    return {name: getattr(each, name) for name in told} | {f"r_{score.predictors}": score.r for score in each.scores}
