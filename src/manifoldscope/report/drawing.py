"""Each registered figure as a function of results, or of tables, that returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from manifoldscope.errors import StudyError, unknown
from manifoldscope.pictures import Picture
from manifoldscope.report.chart import Chart
from manifoldscope.report.figure import FIGURES, Figure, draw, why_not
from manifoldscope.report.sizing import sized


@runtime_checkable
class Results(Protocol):
    """What draws its own figures, such as the results of a study."""

    def draw(self, figure: str) -> list[Figure]:
        """The figures of one registered name."""


_ARGUMENTS = """

Args:
    source: results (of `ms.run` or `ms.open`), or tables by name; a table that is left out counts as empty.
    which: of several drawings, such as one per measure, the place or the name; "all" for a list of all of them.
    pictures: beside tables, what units of work kept for figures such as "spectra".
    study: beside tables, the study file as nested tables, for the order of networks, layers and measures.
    style: "screen" or "paper".
    width: in print, as "85mm" or a number of inches; if omitted, as large as in the report.

Returns:
    A matplotlib figure; `svg()`, `pdf()` and `png()` give the files that the command line writes.

Raises:
    StudyError: there is nothing to draw, or no such drawing.
"""


def names() -> list[str]:
    """Every figure that is registered."""
    return FIGURES.names()


def drawer(name: str) -> Callable[..., Chart | list[Chart]]:
    """The function that draws the figure of this name; its docstring has its arguments.

    Raises:
        StudyError: there is no figure of this name.
    """
    entry = FIGURES[name]

    def function(
        source: Any,
        *,
        which: int | str = 0,
        pictures: Sequence[Picture] = (),
        study: Mapping[str, Any] | None = None,
        style: str = "screen",
        width: str | float | None = None,
    ) -> Chart | list[Chart]:
        with sized(style, width):
            if isinstance(source, Results):
                drawn = source.draw(name)
            elif isinstance(source, Mapping):
                drawn = draw(name, source, pictures=pictures, study=study)
            else:
                given = type(source).__name__
                raise StudyError(f"{name} is drawn from results or tables by name, not {given}; give ms.open(DIR)")
        if not drawn:
            raise StudyError(f"the figure {name!r} is not drawn: {why_not(name)}")
        return [figure.chart for figure in drawn] if which == "all" else _chosen(drawn, which).chart

    function.__name__ = function.__qualname__ = name
    function.__doc__ = entry.summary + _ARGUMENTS
    return function


def _chosen(drawn: Sequence[Figure], which: int | str) -> Figure:
    if isinstance(which, str):
        named = {figure.name: figure for figure in drawn}
        if which not in named:
            raise StudyError(unknown("drawing", which, ["all", *named]))
        return named[which]
    if not -len(drawn) <= which < len(drawn):
        most = len(drawn) - 1
        raise StudyError(f"which = {which}; expected a place from 0 to {most}, a name, or 'all'")
    return drawn[which]
