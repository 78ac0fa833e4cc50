"""What a figure is, to which section of the page it belongs, and how it is registered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from manifoldscope.errors import ManifoldscopeError
from manifoldscope.pictures import Picture
from manifoldscope.registry import Entry, Registry
from manifoldscope.report.chart import Chart, styled
from manifoldscope.report.contents import Contents, gather

FIGURES = Registry("figure", package="manifoldscope.report.figures")


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


@dataclass(frozen=True)
class Figure:
    """A chart with its words, and what it shows as a table.

    Attributes:
        name: of its files, from `words.slug`.
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
        name: as registered; `manifoldscope list figures` shows all.
        tables: by name; a table that is left out counts as empty.
        pictures: what units of work kept for figures such as "spectra".
        study: the study file as nested tables, for the order of networks, layers and measures.

    Raises:
        StudyError: there is no figure of this name.
    """
    return _drawn(FIGURES[name], gather(study or {}, tables, pictures))


def sections(contents: Contents) -> Iterator[tuple[Section, list[Figure], str]]:
    """The sections of the page in their order: the figures of each, and why there are none where they are missed."""
    entries: dict[str, list[Entry]] = {}
    for entry in FIGURES:
        entries.setdefault(_section(entry).name, []).append(entry)
    for group in sorted(entries.values(), key=lambda group: (_section(group[0]).place, _section(group[0]).name)):
        figures: list[Figure] = []
        missing: list[str] = []
        for entry in group:
            drawn = _drawn(entry, contents)
            figures += drawn
            if not drawn and "missing" in entry.traits:
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
    figures: Iterable[Figure] = entry.target(contents)
    return list(figures)
