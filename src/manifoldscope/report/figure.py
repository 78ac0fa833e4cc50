"""What a figure is, to which section of the page it belongs, and how it is registered."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from manifoldscope.errors import ManifoldscopeError, StudyError, unknown
from manifoldscope.pictures import Picture
from manifoldscope.registry import Entry, Registry
from manifoldscope.report.chart import Chart, styled
from manifoldscope.report.contents import Contents, gather
from manifoldscope.report.words import slug

FIGURES = Registry("figure", package="manifoldscope.report.figures")

BETWEEN = "--"
"""Between the name of a figure and what tells its drawings apart."""


@dataclass(frozen=True)
class Section:
    """A part of the page: figures that answer one question.

    Attributes:
        name: of its place in the page, for links.
        title: the question.
        place: sections stand by rising place, whatever number that is.
        terms: what the glossary explains where the section is shown.
    """

    name: str
    title: str
    place: float
    terms: Mapping[str, str] = field(default_factory=dict)


OPENING = Section("opening", "What is the answer?", place=0)
"""The section of what stands above all others."""


@dataclass(frozen=True)
class Figure:
    """A chart with its words, and what it shows as a table.

    Attributes:
        name: of its files: that of the registered figure, alone or followed by two hyphens and what tells its
            drawings apart, as of `words.slug("histograms", measure)`.
        title: what it shows.
        caption: how it is read; it stands alone.
        chart: the drawing.
        table: the rows behind it, so that nothing has to be read off the drawing.
        more: whether it waits folded in the page.
    """

    name: str
    title: str
    caption: str
    chart: Chart
    table: pl.DataFrame
    more: bool = False


def draw(
    name: str,
    tables: Mapping[str, pl.DataFrame],
    *,
    pictures: Sequence[Picture] = (),
    study: Mapping[str, Any] | None = None,
) -> list[Figure]:
    """The figures registered under a name, such as "transfer"; none where the tables have nothing for it.

    Args:
        name: as registered (`manifoldscope list figures` shows all), or that of a single drawing and its files, such
            as "transfer--pgd".
        tables: by name; a table that is left out counts as empty.
        pictures: what units of work kept for figures such as "spectra".
        study: the study file as nested tables, for the order of networks, layers and measures.

    Raises:
        StudyError: there is no figure of this name, or none of its drawings has it.
    """
    entry = FIGURES[registered(name)]
    drawn = _drawn(entry, gather(study or {}, tables, pictures))
    if name == entry.name or not drawn:
        return drawn
    chosen = [figure for figure in drawn if figure.name == name]
    if not chosen:
        raise StudyError(unknown("figure", name, [figure.name for figure in drawn]))
    return chosen


def registered(name: str) -> str:
    """The name under which a figure is registered, of its own name or that of one of its drawings.

    Example:
        >>> registered("histograms--participation_ratio"), registered("classes")
        ('histograms', 'classes')
    """
    return name.partition(BETWEEN)[0]


def why_not(name: str) -> str:
    """Why a figure is not drawn where it is not.

    Raises:
        StudyError: there is no figure of this name.
    """
    return str(FIGURES[registered(name)].traits.get("missing", "the tables hold nothing for it"))


def opening(contents: Contents) -> Figure | None:
    """The figure that opens the page; None where there is none to draw."""
    return next((figure for entry in FIGURES if _section(entry) == OPENING for figure in _drawn(entry, contents)), None)


def sections(contents: Contents) -> Iterator[tuple[Section, list[Figure], str]]:
    """The sections of the page in their order: the figures of each, and why there are none where they are missed.

    What opens the page stands in none of them.
    """
    entries: dict[str, list[Entry]] = {}
    for entry in FIGURES:
        if _section(entry) == OPENING:
            continue
        entries.setdefault(_section(entry).name, []).append(entry)
    for group in sorted(entries.values(), key=lambda group: (_section(group[0]).place, _section(group[0]).name)):
        figures: list[Figure] = []
        missing: list[str] = []
        for entry in group:
            drawn = _drawn(entry, contents)
            figures += drawn
            if not drawn and "missing" in entry.traits and not entry.traits.get("optional"):
                missing.append(str(entry.traits["missing"]))
        if figures or missing:
            yield _section(group[0]), sorted(figures, key=lambda figure: figure.more), "; ".join(missing)


def _section(entry: Entry) -> Section:
    section = entry.traits.get("section")
    if not isinstance(section, Section):
        raise ManifoldscopeError(
            f"the figure {entry.name!r} is in no section; register it with section=Section(name, title, place)"
        )
    return section


@styled
def _drawn(entry: Entry, contents: Contents) -> list[Figure]:
    with entry.named():
        figures: list[Figure] = list(entry.target(contents))
    found: list[Figure] = []
    names: set[str] = set()
    stand_ins = contents.stand_ins
    for figure in figures:
        name = _named(entry.name, figure.name)
        numbered = (f"{name}{BETWEEN}{number}" for number in itertools.count(2))
        name = name if name not in names else next(other for other in numbered if other not in names)
        names.add(name)
        figure.chart.stand_ins.update(stand_ins)
        found.append(figure if name == figure.name else replace(figure, name=name))
    return found


def _named(registered: str, name: str) -> str:
    """The name of a drawing: that of its figure, and what tells it from the others."""
    parts = name.split(BETWEEN)
    if parts[0] == registered:
        parts = parts[1:]
    return BETWEEN.join([registered, *filter(None, map(slug, parts))])
