"""Studies side by side as one page that loads nothing; scripts only light up the classes that are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from manifoldscope.report import words
from manifoldscope.report.compare import Answer, Beside, Compared, Comparison
from manifoldscope.report.document import mark, policy, template
from manifoldscope.report.explore.view import WEB
from manifoldscope.report.linking import linked
from manifoldscope.report.paired_plot import forest, scatter

MARK = mark("studies compared")

ROWS_SHOWN = 1000
TEXT_SHOWN = 300  # letters of a setting

STYLES = ("report.css", "compare.css")


@dataclass(frozen=True)
class _Panel:
    label: str
    svg: str
    told: str


@dataclass(frozen=True)
class _Part:
    title: str
    note: str
    why: str
    panels: Sequence[_Panel]
    columns: Sequence[str]
    spans: Sequence[tuple[str, int]]
    rows: Sequence[tuple[int, str, Sequence[str]]]
    n_rows: int


def page(comparison: Comparison) -> str:
    """The page; the same comparison gives the same text."""
    style = "\n".join((WEB / file).read_text(encoding="utf-8") for file in STYLES)
    script = linked(WEB / "compare.js", {})
    names = [each.name for each in comparison.studies]
    positions = {name: place for place, name in enumerate(comparison.classes)}
    text: str = template("compare.html").render(
        mark=MARK,
        policy=policy(style, script),
        style=style,
        script=script,
        names=names,
        title=words.listing(names),
        questions=[str(each.study.get("question") or "") for each in comparison.studies],
        findings=[comparison.findings(place) for place in range(len(names))],
        forest=forest(_lines(comparison), label=f"{_question(comparison.answers)}, by study and network"),
        question=_question(comparison.answers),
        answers=[_answer(each, names) for each in comparison.answers],
        settings=[(key, [_cut(value) for value in values]) for key, values in comparison.settings.items()],
        n_same=comparison.n_same,
        parts=[_part(each, names, positions) for each in comparison.beside],
        classes=comparison.classes,
    )
    return text


def summary(comparison: Comparison) -> list[str]:
    """The comparison in a few lines, for a terminal."""
    names = [each.name for each in comparison.studies]
    lines = [f"{words.count(len(names), 'study', 'studies')}: {words.listing(names)}"]
    keys = list(comparison.settings)
    if keys:
        differ = "differs" if len(keys) == 1 else "differ"
        lines.append(f"{words.count(len(keys), 'setting')} {differ}: {words.listing(keys, 6)}")
    else:
        lines.append("no setting differs")
    n = len(comparison.classes)
    lines.append(f"{words.count(n, 'class is', 'classes are')} in more than one study" if n else "they share no class")
    lines += [
        f"{names[place]}: {found[0].title}" for place in range(len(names)) if (found := comparison.findings(place))
    ]
    for each in comparison.beside:
        lines.append(f"{_title(each, names)}: {each.why if not each.quantities else ''}".rstrip(": "))
        lines += [f"  {quantity.label}: {told(quantity)}" for quantity in each.quantities]
    return lines


def told(quantity: Compared) -> str:
    """The rank correlation of a quantity between two studies in words."""
    found = quantity.association
    classes = words.count(found.n, "class", "classes")
    if found.coefficient != found.coefficient:
        return f"no rank correlation ({found.note}), {classes}"
    interval = f"95% {words.coefficient(found.low)} to {words.coefficient(found.high)}, p = {found.p_value:.2g}"
    return f"Spearman ρ = {words.coefficient(found.coefficient)} ({interval}), {classes}"


def _title(beside: Beside, names: Sequence[str]) -> str:
    one, other = (names[place] for place in beside.studies)
    first, second = beside.networks
    if first == second:
        return f"{first} in {one} and in {other}" if first else f"{one} and {other}"
    return f"{first} of {one} beside {second} of {other}"


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}… ({len(text)} characters)"


def _question(answers: Sequence[Answer]) -> str:
    """What the lines of the forest are of, as far as all of them are of it."""
    measures, layers = ({getattr(each, part) for each in answers} for part in ("measure", "layer"))
    measure = measures.pop() if len(measures) == 1 else "a measure of the classes"
    layer = f" in layer {layers.pop()}" if len(layers) == 1 else ""
    return f"{measure}{layer} and robust accuracy"


def _lines(comparison: Comparison) -> list[tuple[str, float, float, float, str]]:
    names = [each.name for each in comparison.studies]
    common = _question(comparison.answers)
    lines = []
    for each in comparison.answers:
        own = [part for part in (each.measure, f"layer {each.layer}") if part not in common]
        title = f"{names[each.study]} · {each.network}"
        lines.append((title, each.coefficient, each.low, each.high, ", ".join([*own, each.under])))
    return lines


def _answer(answer: Answer, names: Sequence[str]) -> list[str]:
    r, low, high = (words.coefficient(each) for each in (answer.coefficient, answer.low, answer.high))
    limits = f"{low} to {high}" if low != "–" else "–"
    return [
        names[answer.study],
        answer.network,
        answer.asked,
        r,
        limits,
        words.number(answer.p_adjusted, 2),
        str(answer.n),
    ]


def _part(beside: Beside, names: Sequence[str], positions: dict[str, int]) -> _Part:
    pair = (names[beside.studies[0]], names[beside.studies[1]])
    axes = pair if beside.networks[0] == beside.networks[1] else tuple(
        f"{network} ({study})" for network, study in zip(beside.networks, pair, strict=True)
    )  # fmt: skip
    panels = [
        _Panel(each.label, scatter(each, positions, x_label=axes[0], y_label=axes[1]), told(each))
        for each in beside.quantities
    ]
    rows = _rows(beside, positions)
    note = beside.why if beside.quantities else ""
    if beside.networks[0] != beside.networks[1] and beside.quantities:
        note = f"No network is in both studies: the first of each that is not at chance level is taken. {note}".strip()
    return _Part(
        title=_title(beside, names),
        note=note,
        why="" if beside.quantities else beside.why,
        panels=panels,
        spans=[(each.label, 3) for each in beside.quantities],
        columns=[*axes, "difference"] * len(beside.quantities),
        rows=rows[:ROWS_SHOWN],
        n_rows=len(rows),
    )


def _rows(beside: Beside, positions: dict[str, int]) -> list[tuple[int, str, list[str]]]:
    """A row per class: each quantity in both studies, and the difference with its interval where it is of shares."""
    places = [{name: place for place, name in enumerate(each.classes)} for each in beside.quantities]
    classes = dict.fromkeys(name for each in places for name in each)
    rows = []
    for name in classes:
        cells: list[str] = []
        for quantity, place in zip(beside.quantities, places, strict=True):
            cells += _cells(quantity, place[name]) if name in place else ["–"] * 3
        rows.append((positions[name], name, cells))
    return rows


def _cells(quantity: Compared, place: int) -> list[str]:
    x, y, change = (float(each[place]) for each in (quantity.x, quantity.y, quantity.change))
    if not quantity.share or quantity.change_limits is None:
        return [words.number(x), words.number(y), _signed(change)]
    low, high = (float(limit[place]) for limit in quantity.change_limits)
    interval = f" ({_points(low)} to {_points(high)})" if low == low else ""
    return [_percent(x), _percent(y), f"{_points(change)}{interval}"]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%" if share == share else "–"


def _points(share: float) -> str:
    if share != share:
        return "–"
    text = f"{100 * share:+.1f}".replace("-", "\u2212")
    return "0.0" if text[1:] == "0.0" else text


def _signed(value: float) -> str:
    text = words.number(value)
    return f"+{text}" if value > 0 else text
