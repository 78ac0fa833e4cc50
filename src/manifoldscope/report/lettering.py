"""Letters that the font of the figures lacks: from other fonts of the machine, and what stands where none has them.

An SVG file keeps every name, since its reader's fonts draw it. The pixels of a PNG and the embedded fonts of a PDF are
made here, of what this machine has.
"""

from __future__ import annotations

import functools
import logging
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import matplotlib
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import Formatter

HOUSE = "DejaVu Sans"
"""In which figures are laid out; it has Latin, Greek, Cyrillic and some others."""

WIDE = 1.7
"""The width of a letter of East Asian scripts, or an emoji, in letters of `HOUSE`."""

SHAPES = matplotlib.__version_info__ >= (3, 11)
"""Whether this matplotlib writes from right to left, joins letters and reorders them, as Arabic and Hindi need."""


def lacking(text: str) -> list[str]:
    """The letters of a text that `HOUSE` cannot write, each once; marks that show nothing of their own do not count.

    Example:
        >>> lacking("cat 猫, naïve"), lacking("β")
        (['猫'], [])
    """
    if text.isascii():
        return []
    return [
        letter
        for letter in dict.fromkeys(text)
        if (ord(letter) not in _house() and not _silent(letter)) or _unshaped(letter)
    ]


def wide(text: str) -> float:
    """How many letters of usual width a text takes, or what stands in its place.

    Example:
        >>> wide("cat"), round(wide("猫の長い名前"), 1), wide("猫")
        (3.0, 10.2, 8.0)
    """
    if text.isascii():
        return float(len(text))
    width = float(sum(map(letter_width, text)))
    return max(width, float(len("class 12"))) if lacking(text) else width


def letter_width(letter: str) -> float:
    """The width of a letter, in letters of usual width."""
    return WIDE if unicodedata.east_asian_width(letter) in "WF" else 1.0


@contextmanager
def lettered(figure: Figure, stand_ins: Mapping[str, str]) -> Iterator[list[str]]:
    """Draw inside with fonts that have the letters; where there are none, with what stands in their place.

    Args:
        figure: whose text is changed inside, and as before afterwards.
        stand_ins: what to write for names that cannot be written, such as "class 3"; a letter of other text is written
            as its number, as U+732B.

    Yields:
        The names and letters that cannot be written here, once known; empty where all can.
    """
    axes = [axis for each in figure.axes for axis in (each.xaxis, each.yaxis)]
    texts = [text for text in figure.findobj(Text) if lacking(text.get_text())]
    ticks = [axis for axis in axes if any(lacking(label.get_text()) for label in axis.get_ticklabels())]
    letters = {letter for text in texts for letter in lacking(text.get_text())}
    letters |= {letter for axis in ticks for label in axis.get_ticklabels() for letter in lacking(label.get_text())}
    unwritten: list[str] = []
    if not letters:
        yield unwritten
        return
    unshaped = set(filter(_unshaped, letters))
    fonts = fonts_with(letters - unshaped)
    left = unshaped | {letter for letter in letters if not any(ord(letter) in _letters(font.fname) for font in fonts)}
    change = functools.partial(_written, left=left, stand_ins=stand_ins, unwritten=unwritten)
    families = [HOUSE, *(font.name for font in fonts)]
    with ExitStack() as restored:
        restored.enter_context(_quiet(logging.getLogger("matplotlib.font_manager")))
        # Type 3 takes glyphs of any font; an OpenType font with cubic outlines cannot be embedded as it is.
        restored.enter_context(matplotlib.rc_context({"pdf.fonttype": 3} if fonts else {}))
        for text in texts:
            restored.callback(text.set_text, text.get_text())
            restored.callback(text.set_fontfamily, text.get_fontfamily())
            text.set_text(change(text.get_text()))
            text.set_fontfamily(families)
        for axis in ticks:
            restored.callback(setattr, axis.major, "formatter", axis.major.formatter)
            axis.major.formatter = _Changed(axis, change)
            for label in axis.get_ticklabels():
                restored.callback(label.set_fontfamily, label.get_fontfamily())
                label.set_fontfamily(families)
        yield unwritten


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Without its warnings, such as that a font has no bold letters."""
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def fonts_with(letters: set[str]) -> list[FontEntry]:
    """Fonts of this machine that have as many of the letters as any together, the one with the most of them first."""
    chosen: list[FontEntry] = []
    left = {ord(letter) for letter in letters}
    while left:
        best = max(_fonts(), key=lambda font: len(left & _letters(font.fname)), default=None)
        if best is None or not left & _letters(best.fname):
            break
        chosen.append(best)
        left -= _letters(best.fname)
    return chosen


class _Changed(Formatter):
    """The labels of an axis as they were, in other words."""

    def __init__(self, axis: Axis, change: Callable[[str], str]) -> None:
        self._inner, self._change = axis.get_major_formatter(), change
        self.set_axis(axis)

    def __call__(self, x: float, pos: int | None = None) -> str:
        return self._change(self._inner(x, pos))

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        return [self._change(text) for text in self._inner.format_ticks(list(values))]

    def get_offset(self) -> str:
        return self._inner.get_offset()

    def set_locs(self, locs: list[float]) -> None:
        self._inner.set_locs(locs)


def _written(text: str, *, left: set[str], stand_ins: Mapping[str, str], unwritten: list[str]) -> str:
    """The text without letters that no font has, and what was replaced among `unwritten`."""
    for name in sorted(stand_ins, key=len, reverse=True):
        shown = next((part for part in _beginnings(name) if part in text), None)
        if shown is not None and left & set(shown):
            text = text.replace(shown, stand_ins[name])
            unwritten += [name] * (name not in unwritten)
    for letter in sorted(left & set(text)):
        text = text.replace(letter, f"U+{ord(letter):X}")
        unwritten += [letter] * (letter not in unwritten)
    return "".join(letter for letter in text if ord(letter) in _house() or not _silent(letter))


def _beginnings(name: str) -> Iterator[str]:
    """A name as figures write it: whole, or cut with an ellipsis."""
    yield name
    for length in range(len(name) - 1, 0, -1):
        yield name[:length].rstrip() + "…"


def _unshaped(letter: str) -> bool:
    """Whether it is of a script that this matplotlib would write in the wrong order or shape, whatever the font."""
    from_the_right = unicodedata.bidirectional(letter) in ("R", "AL")
    return not SHAPES and (from_the_right or "\u0900" <= letter <= "\u0dff")  # those of India, from Hindi to Sinhala


def _silent(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cf", "Mn", "Cc")


@functools.cache
def _house() -> frozenset[int]:
    return _letters(fontManager.findfont(HOUSE))


@functools.cache
def _letters(path: str) -> frozenset[int]:
    """The characters that a font has; none of one that cannot be drawn, such as of coloured pictures."""
    try:
        font = FT2Font(path)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError, ValueError):
        return frozenset()


def _fonts() -> list[FontEntry]:
    """The upright fonts of usual weight, one per family; not those that have a box for every letter."""
    found: dict[str, FontEntry] = {}
    for font in sorted(fontManager.ttflist, key=lambda font: (font.name, str(font.fname))):
        if (
            "Last Resort" not in font.name
            and font.style == "normal"
            and font.weight in (400, "normal", "regular", "book", "medium")
        ):
            found.setdefault(font.name, font)
    return list(found.values())
