"""The main question in words: within one network, are the classes with fewer dimensions more robust?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from manifoldscope.evidence.across_classes import AcrossClasses, Given, NoCoefficient, Pair, across_classes
from manifoldscope.evidence.significance import Coefficient
from manifoldscope.evidence.two_draws import FEWEST_CLASSES, FEWEST_IMAGES, LEAST_RELIABILITY
from manifoldscope.report import words
from manifoldscope.report.findings.association_caveats import caveats
from manifoldscope.report.findings.finding import FINDINGS, Finding, Tables
from manifoldscope.report.findings.phrases import (
    MOST_SPELLED_OUT,
    MeasureWords,
    every,
    interval,
    listed,
    not_counted,
    p_value,
    plural,
    signed,
    some,
)

Asked = Sequence[tuple[Pair, Coefficient]]
"""Pairs of network and layer, each with its coefficient."""


@FINDINGS.register("association")
def found(tables: Tables) -> list[Finding]:
    """Whether the classes with fewer dimensions are more robust: one answer for all networks and layers."""
    fact = across_classes(tables)
    if fact is None:
        return []
    words = MeasureWords(fact.measure)
    against = "attacks" if fact.attacked else listed(fact.attacks)
    return [
        Finding(
            kind="association",
            title=headline(fact.asked, words, against),
            text="\n\n".join(filter(None, [*_paragraphs(fact), not_counted(fact.at_chance)])),
            caveats=caveats(fact),
            numbers=fact.rows,
            weight=98,
        )
    ]


def headline(asked: Asked, words: MeasureWords, against: str) -> str:
    """The answer at a glance."""
    fewer = words.full["fewer"]
    if not asked:
        return f"Whether classes with {fewer} are more robust to {against} could not be tested"
    tested = [(pair, r) for pair, r in asked if r.p_value is not None]
    if not tested:
        return f"{_where_more(asked, asked, words, 'were')}; chance was not tested"
    seen = [(pair, r) for pair, r in tested if r.seen]
    if seen:
        title = _where_more(seen, tested, words, "are")
        return f"{title}{_beyond(seen)}"
    hints = [r for _, r in tested if r.hinted]
    if not hints:
        many = _counted(tested) if len(tested) > 1 else tested[0][0].model
        return f"No evidence that classes with {fewer} are more robust to {against} ({many}, {_classes(tested)})"
    of_all = f"{len(hints)} of {_counted(tested)}" if len(tested) > 1 else tested[0][0].model
    if len({r.value < 0 for r in hints}) == 2:
        return f"No evidence that {words.name} goes with robustness: hints point both ways ({of_all})"
    side = words.full["fewer" if hints[0].value < 0 else "more"]
    return f"A hint, no more, that classes with {side} are more robust to {against} ({of_all})"


def _beyond(seen: Asked) -> str:
    """Whether what was seen goes beyond clean difficulty; nothing where that was not asked, or holds throughout."""
    asked = [(pair, r) for pair, r in seen if pair.beyond is not None]
    states = {pair.beyond for pair, _ in asked}
    holds = sum(pair.beyond == "holds" and pair.given[0].same_sign(r) for pair, r in asked)
    if not asked or holds == len(seen):
        return ""
    if states == {"gone"}:
        return "; how hard they are when clean may be why"
    if states == {"cannot_be_answered"}:
        return "; whether beyond how hard they are when clean cannot be answered"
    if not holds:
        return "; not shown to go beyond how hard they are when clean"
    return f"; beyond how hard they are when clean in {holds} of {len(seen)}"


def _where_more(found: Asked, of: Asked, words: MeasureWords, verb: str) -> str:
    """In which of these pairs the classes on one side, or on each, are more robust."""
    n_fewer = sum(r.value < 0 for _, r in found)
    n_more = len(found) - n_fewer
    side = words.full["fewer" if n_fewer else "more"]
    if len(of) == 1:
        pair, r = of[0]
        return f"In {pair.model}, classes with {side} {verb} more robust (r = {signed(r.value)})"
    classes = f"Classes with {side} {verb} more robust in"
    if n_fewer and n_more:
        return f"{classes} {n_fewer} of {_counted(of)}, less robust in {n_more}"
    if len(found) == len(of):
        return f"{classes} {every(len(of))} {_units(of)}"
    return f"{classes} {len(found)} of {_counted(of)}{f' ({at(found[0][0])})' if len(found) == 1 else ''}"


def _units(pairs: Asked) -> str:
    """What tells them apart."""
    n_models = len({pair.model for pair, _ in pairs})
    return "layers" if n_models == 1 else "networks" if n_models == len(pairs) else f"layers of {n_models} networks"


def _counted(pairs: Asked) -> str:
    return f"{len(pairs)} {_units(pairs)}"


def _classes(pairs: Iterable[tuple[Pair, Coefficient]]) -> str:
    numbers = sorted({pair.n for pair, _ in pairs})
    return f"{numbers[0]} classes" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]} classes"


def at(pair: Pair) -> str:
    """`net at penultimate`."""
    return f"{pair.model} at {pair.layer}"


def _paragraphs(fact: AcrossClasses) -> list[str]:
    """The setting, one clause per pair (or the range of many), and what is left at equal clean difficulty."""
    if not fact.pairs:
        return []
    if len(fact.pairs) <= MOST_SPELLED_OUT:
        clauses = [clause(pair) for pair in fact.pairs]
    else:
        clauses = [*_range(fact.asked), *_reasons(fact.pairs)]
    return [_opening(fact), *clauses, at_equal_difficulty(fact.asked)]


def _opening(fact: AcrossClasses) -> str:
    iterates = listed(sorted({pair.iterate for pair in fact.pairs}))
    where = (
        f"Under {_settings(fact.pairs)}, where the classes of a network differ most in robust accuracy "
        f"({iterates} iterate)"
    )
    if not fact.asked:
        numbers = sorted({pair.n for pair in fact.pairs})
        classes = plural(numbers[0], "class", "es") if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]} classes"
        return f"{where}, there is no correlation over {classes}:"
    pair, r = fact.asked[0]
    named = "Pearson's r" if pair.method == "pearson" else "Spearman's r"
    adjusted = " and p adjusted for the number of tests" if r.p_adjusted is not None else ""
    return f"{where}, {named} over {_classes(fact.asked)} (95% interval){adjusted}:"


def _settings(pairs: Sequence[Pair]) -> str:
    """`PGD at ε = 0.1`, or which strength for which network."""
    by_attack: dict[str, dict[str, float]] = {}
    for pair in pairs:
        by_attack.setdefault(pair.attack, {})[pair.model] = pair.strength
    phrases = []
    for attack, strengths in by_attack.items():
        values = sorted(set(strengths.values()))
        few = len(strengths) <= MOST_SPELLED_OUT
        if len(values) == 1 and (len(by_attack) == 1 or not few):
            phrases.append(words.attack_at(attack, values[0]))
        elif few:
            each = [f"{words.strength(strength)} ({model})" for model, strength in strengths.items()]
            phrases.append(f"{words.attack(attack)} at {words.strength_name(attack)} = {listed(each)}")
        else:
            ends = " to ".join(words.strength(value) for value in (values[0], values[-1]))
            phrases.append(f"{words.attack(attack)} at {words.strength_name(attack)} from {ends}")
    return listed(phrases)


def clause(pair: Pair) -> str:
    """The coefficient of a pair with its interval and p, and what is left where clean difficulty is held fixed."""
    where = f"{pair.model}, {pair.layer}"
    if pair.plain is None:
        return f"{where}: no correlation, as {_because(pair.reason)}."
    r = pair.plain
    given = [
        _given(each, of=pair.n, whole=r.seen or each.seen)
        for each in pair.given
        if each.coefficient is not None and not each.gates
    ]
    return f"{'; '.join([f'{where}: r = {signed(r.value)} ({interval(r.low, r.high)}){p_value(r)}', *given])}."


def _given(given: Given, *, of: int, whole: bool) -> str:
    """`given the margin -0.31 (...), p = 0.01`; not all of it where nothing is seen."""
    assert given.coefficient is not None
    over = f" over {given.n} of these classes" if given.n < of else ""
    text = f"given {CONTROLS[given.control]}{over} {signed(given.coefficient.value)}"
    if whole:
        text += f" ({interval(given.coefficient.low, given.coefficient.high)}){p_value(given.coefficient)}"
    return text


def _because(why: NoCoefficient | None) -> str:
    """Why there is no coefficient."""
    if why is None or why.reason == "unknown" or why.value is None:
        return "at least 4 classes are needed" if why and why.reason == "few" else "one of the two does not vary"
    if why.reason == "nearly_constant":
        return (
            f"all but {why.n_others} of the classes have the same value, {why.value:.4g}: a correlation would rest on "
            f"{'that one' if why.n_others == 1 else 'those two'} alone"
        )
    if why.what == "accuracy":
        return f"every class has the same accuracy, {why.value:.1%}"
    return f"every class has the same value, {why.value:.4g}"


def _range(asked: Asked) -> list[str]:
    """Many pairs in a sentence, and the clauses of those with evidence, or of the strongest."""
    if not asked:
        return []
    r = sorted(r.value for _, r in asked)
    n_below = sum(value < 0 for value in r)
    text = f"Over {_counted(asked)} r goes from {signed(r[0])} to {signed(r[-1])} and is below 0 in {n_below}"
    for control, name in CONTROLS.items():
        every_given = [each for pair, _ in asked for each in pair.given if each.control == control]
        given = [each.coefficient.value for each in every_given if each.coefficient is not None and not each.gates]
        if given:
            text += f"; given {name} from {signed(min(given))} to {signed(max(given))}"
    by_size = sorted(asked, key=lambda one: -abs(one[1].value))
    seen = [pair for pair, r in by_size if r.seen]
    if not seen:
        return [f"{text}. The strongest: {clause(by_size[0][0])}"]
    shown = seen[:MOST_SPELLED_OUT]
    head = f"The strongest {len(shown)} of {len(seen)} with evidence" if len(shown) < len(seen) else "With evidence"
    return [f"{text}. {head}:", *map(clause, shown)]


def _reasons(pairs: Sequence[Pair]) -> list[str]:
    """What could not be tested, one sentence per reason."""
    by_reason: dict[str, list[str]] = {}
    for pair in pairs:
        if pair.plain is None:
            by_reason.setdefault(_because(pair.reason), []).append(at(pair))
    return [f"No correlation for {some(names)}, as {reason}." for reason, names in by_reason.items()]


def at_equal_difficulty(asked: Asked) -> str:
    """What is left of each association among classes that are equally hard when clean."""
    by_phrase: dict[str, list[str]] = {}
    gated: list[tuple[Pair, Given]] = []
    for pair, r in asked:
        if pair.beyond == "cannot_be_answered":
            gated.append((pair, pair.given[0]))
        elif r.p_value is not None and pair.beyond is not None:
            by_phrase.setdefault(_left(pair, r), []).append(at(pair))
    said = [_gated(gated)] if gated else []
    opening = "Among classes that are equally hard when clean"
    if len(by_phrase) == 1 and not gated:
        said.append(f"{opening}, {next(iter(by_phrase))}.")
    elif by_phrase:
        said.append(f"{opening}: {'; '.join(f'{phrase}, for {some(names)}' for phrase, names in by_phrase.items())}.")
    return "\n\n".join(said)


def _gated(found: Sequence[tuple[Pair, Given]]) -> str:
    """Why clean difficulty cannot be held fixed, and what a control would have to be like."""
    gates = dict.fromkeys(gate for _, given in found for gate in given.gates)
    why = listed([GATES[gate] for gate in gates]) or "there is no coefficient"
    text = f"How hard classes are when clean cannot be held fixed with these data ({why})"
    fewer = [f"{given.n} of {pair.n} ({at(pair)})" for pair, given in found if given.n < pair.n]
    if fewer:
        text += f"; classes with an image that is correct when clean, and a number on both draws: {some(fewer)}"
    known = [(at(pair), given.vanishes_at) for pair, given in found if given.vanishes_at is not None]
    able = [f"{min(value, 1):.2f} ({name})" for name, value in known if value > 0]
    unable = [name for name, value in known if value <= 0]
    if able:
        shown = [*able[:MOST_SPELLED_OUT], *([f"{len(able) - MOST_SPELLED_OUT} more"] * (len(able) > MOST_SPELLED_OUT))]
        text += (
            "; at face value it would explain all of r if the correlation of the margins between two draws of images "
            f"were at most {listed(shown)}"
        )
    if unable:
        text += f"; at face value no noise in the margins would explain r of {some(unable)}"
    return f"{text}."


def _left(pair: Pair, plain: Coefficient) -> str:
    margin = next(each for each in pair.given if each.control == "margin")
    if pair.beyond == "gone":
        if plain.seen:
            return "the evidence is gone (it is consistent with clean difficulty alone)"
        return "there is no evidence either"
    assert margin.coefficient is not None
    if not plain.seen:
        return "an association appears (to be repeated before it is believed)"
    turns = margin.coefficient.value * plain.value < 0
    what = "the association turns round" if turns else "the association holds"
    if pair.beyond == "margin_only":
        return f"{what} given their margins but is not shown given clean accuracy: no strong claim"
    return f"{what}, given their margins and given clean accuracy"


CONTROLS = {"margin": "the margin", "clean_accuracy": "clean accuracy"}
"""How controls are named."""

GATES = {
    "few_classes": f"fewer than {FEWEST_CLASSES} classes",
    "few_images": f"fewer than {FEWEST_IMAGES} images of a class on a draw",
    "unreliable_control": f"a control whose reliability between the draws is below {LEAST_RELIABILITY:g}",
    "weak_instrument": "a combination of controls that the two draws do not agree on",
    "same_images": "geometry and attacks share their images",
}
"""Why clean difficulty cannot be held fixed."""
