"""The size of a figure: panels placed by arithmetic, and laid out again for a width in print.

At a width in print a figure keeps its proportions of text to line, and has fewer panels abreast rather than smaller
text. It is laid out in the inches of the screen (text of nine points), and scaled as a whole when it is saved.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from manifoldscope.errors import StudyError, unknown
from manifoldscope.report.styles import DRAWN_POINTS, STYLES, Style


class TooNarrowError(StudyError):
    """A width in print has no room for a figure."""


INCHES = {"mm": 1 / 25.4, "cm": 1 / 2.54, "in": 1.0, "pt": 1 / 72}
"""What a width may be given in."""

TALLEST = 240 / 25.4
"""Inches that a page in print has room for, upwards."""

_NARROWEST = 0.7  # of a panel's usual width: with less, there are fewer abreast
_LEAST_PANEL = 1.0  # inches, of a panel that stands alone
_SQUARE_GROWS = 1.3  # a square panel grows to at most so many times its size
_HOLDS_A_BAR, _FOR_A_BAR = 1.2, 0.6  # inches of a gap in which a colour bar stands, and what of it the bar takes
_WIDTHS = (0.5, 40.0)  # inches: what can be meant


@dataclass(frozen=True)
class Size:
    """What figures are drawn for.

    Attributes:
        style: a name of `styles.STYLES`.
        width: in inches, as printed; None for that of the screen.
    """

    style: str = "screen"
    width: float | None = None

    @property
    def look(self) -> Style:
        """The style itself."""
        return STYLES[self.style]

    @property
    def scale(self) -> float:
        """Inches as printed by inches as laid out."""
        return 1.0 if self.width is None else self.look.points / DRAWN_POINTS


_ON_SCREEN = Size()
_SIZE: ContextVar[Size] = ContextVar("size", default=_ON_SCREEN)


def current() -> Size:
    """What figures are drawn for here."""
    return _SIZE.get()


@contextmanager
def sized(style: str = "screen", width: str | float | None = None) -> Iterator[None]:
    """Draw the figures that are made inside in this style and at this width.

    Args:
        style: "screen" or "paper".
        width: as "85mm", or a number of inches; if omitted, each figure has its own.

    Raises:
        StudyError: there is no such style, or the width is none.
    """
    if style not in STYLES:
        raise StudyError(unknown("style", style, STYLES))
    with using(Size(style, None if width is None else inches(width))):
        yield


@contextmanager
def using(size: Size) -> Iterator[None]:
    """Draw what is made inside for this size."""
    before = _SIZE.set(size)
    try:
        yield
    finally:
        _SIZE.reset(before)


def inches(width: str | float) -> float:
    """A width such as "85mm", "8.5 cm", "3.35in" or "240pt" in inches; a number is one of inches.

    Raises:
        StudyError: it has no unit, or one that is not known, or is no width of paper.

    Example:
        >>> round(inches("85mm"), 3), inches("72pt"), inches(3)
        (3.346, 1.0, 3.0)
    """
    if isinstance(width, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z\"']*)\s*", width)
        if found is None or found[2] not in INCHES:
            unit = "it has no unit" if found is not None and not found[2] else "expected a number and its unit"
            raise StudyError(f"the width {width!r} cannot be read: {unit}; write it in mm, cm, in or pt, as 85mm")
        value = float(found[1]) * INCHES[found[2]]
    else:
        value = float(width)
    if not _WIDTHS[0] <= value <= _WIDTHS[1]:
        raise StudyError(
            f"the width {width!r} is that of no page: {value * 25.4:.4g} mm; expected {_WIDTHS[0] * 25.4:.0f} to "
            f"{_WIDTHS[1] * 25.4:.0f} mm (a column of a journal has about 85mm, a page 180mm)"
        )
    return value


@dataclass(frozen=True)
class Grid:
    """Panels in rows and columns, in inches as laid out.

    Attributes:
        rows, columns: as they are drawn.
        abreast: how many columns stand side by side; those after them stand below.
        width, height: of a panel.
        left, right, top, bottom: margins around all panels.
        across, down: gaps between panels.
    """

    rows: int
    columns: int
    abreast: int
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    across: float
    down: float

    @property
    def lines(self) -> int:
        """How many rows of panels stand on the page."""
        return self.rows * math.ceil(self.columns / self.abreast)

    def line(self, row: int, column: int) -> int:
        """On which of these a panel stands."""
        return row * math.ceil(self.columns / self.abreast) + column // self.abreast

    @property
    def total(self) -> tuple[float, float]:
        """Width and height of the figure."""
        across = self.left + self.right + self.abreast * self.width + (self.abreast - 1) * self.across
        return across, self.top + self.bottom + self.lines * self.height + (self.lines - 1) * self.down

    def box(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of a panel, as shares of the figure's."""
        total_width, total_height = self.total
        line = self.line(row, column)
        return (
            (self.left + column % self.abreast * (self.width + self.across)) / total_width,
            (self.bottom + (self.lines - 1 - line) * (self.height + self.down)) / total_height,
            self.width / total_width,
            self.height / total_height,
        )

    def at(self, size: Size) -> Grid:
        """The grid for a width in print: as many columns abreast as that holds.

        Raises:
            TooNarrowError: it does not hold one.
        """
        if size.width is None:
            return self
        room = size.width / size.scale - self.left - self.right
        if room < _LEAST_PANEL:
            needed = (self.left + self.right + _LEAST_PANEL) * size.scale * 25.4
            raise TooNarrowError(
                f"a width of {size.width * 25.4:.4g} mm is too small for this figure, whose labels leave no room; give "
                f"at least --width {math.ceil(needed)}mm"
            )

        def width(abreast: int) -> float:
            return (room - (abreast - 1) * self.across) / abreast

        fitting = [n for n in range(1, self.columns + 1) if n == 1 or width(n) >= _NARROWEST * self.width]
        even = [n for n in fitting if self.columns % n == 0]  # lines of the same number of panels
        abreast = even[-1] if 2 * even[-1] > fitting[-1] else fitting[-1]
        if abreast < self.columns and self.across > _HOLDS_A_BAR and self.right < _FOR_A_BAR * self.across:
            return replace(self, right=_FOR_A_BAR * self.across).at(size)
        if self.width != self.height:
            return replace(self, abreast=abreast, width=width(abreast))
        side = min(width(abreast), _SQUARE_GROWS * self.width)
        spare = abreast * (width(abreast) - side) / 2
        return replace(self, abreast=abreast, width=side, height=side, left=self.left + spare, right=self.right + spare)
