"""A matplotlib figure in the house style that can be saved as SVG with tooltips, PDF and PNG; always the same bytes."""

from __future__ import annotations

import functools
import io
import itertools
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from manifoldscope.report.lettering import letter_width, lettered
from manifoldscope.report.pdf import pdf
from manifoldscope.report.presentation import unstyled
from manifoldscope.report.settling import Page, renderer_of, settle
from manifoldscope.report.sizing import TALLEST, Grid, current, using
from manifoldscope.report.styles import COLOURS as COLOURS
from manifoldscope.report.styles import FAINT as FAINT
from manifoldscope.report.styles import GRID as GRID
from manifoldscope.report.styles import INK as INK

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
DASHES = ("-", (0, (6, 2)), (0, (2, 1.2)), (0, (6, 2, 1.5, 2)))

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_LONG_DECIMAL = re.compile(r"(\.\d{2})\d+")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+")

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def styled(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Run `function` in the style of `sizing.current`, whatever the user's own matplotlib settings are."""

    @functools.wraps(function)
    def wrapper(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        # Letters that DejaVu Sans lacks are right in the SVG, whose reader has more fonts; for others see `lettered`.
        with warnings.catch_warnings(), matplotlib.style.context(["default", current().look.matplotlib]):
            warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
            warnings.filterwarnings("ignore", message="Matplotlib currently does not support", category=UserWarning)
            return function(*args, **kwargs)

    return wrapper


def plain(text: str, length: int | None = None) -> str:
    """`text` in one printable line, cut with an ellipsis to the width of `length` letters of usual width.

    Example:
        >>> plain("a tabby cat", 8), plain("猫の長い名前", 8)
        ('a tabby…', '猫の長い…')
    """
    line = _UNPRINTABLE.sub(" ", text)
    if length is None or sum(map(letter_width, line)) <= length:
        return line
    widths = itertools.accumulate(map(letter_width, line), initial=letter_width("…"))
    kept = sum(width <= length for width in widths) - 1
    return line[:kept].rstrip() + "…"


class Chart(Figure):
    """A figure of `rows` by `columns` panels of a given size in inches, with a tooltip for any of its points.

    Panels are placed by arithmetic rather than by a layout engine: faster, and the same on every machine. Axes in
    `shared`, such as one colour bar for all panels, stand on every page. Where no font of the machine has the letters
    of a name, `stand_ins` says what PDF and PNG files have in its place, and `unwritten` then holds the name.
    `top`, `bottom`, `left`, `right` are margins around all panels, `across` and `down` the gaps between them.
    """

    def __init__(
        self,
        *,
        rows: int = 1,
        columns: int = 1,
        width: float = 3.2,
        height: float = 2.6,
        left: float = 0.65,
        right: float = 0.15,
        top: float = 0.4,
        bottom: float = 0.5,
        across: float = 0.35,
        down: float = 0.75,
    ) -> None:
        self.size = current()
        self.grid = Grid(rows, columns, columns, width, height, left, right, top, bottom, across, down).at(self.size)
        super().__init__(figsize=self.grid.total)
        self.tooltips: dict[str, tuple[str, ...]] = {}
        self.panel_size = (self.grid.width, self.grid.height)
        self.panels: list[list[Axes]] = [
            [self.add_axes(self.grid.box(row, column)) for column in range(columns)] for row in range(rows)
        ]
        self.shared: list[Axes] = []
        self.stand_ins: dict[str, str] = {}
        self.unwritten: list[str] = []
        self._pages: list[Page] | None = None

    @property
    def flat(self) -> list[Axes]:
        """The panels, row by row."""
        return [panel for row in self.panels for panel in row]

    @property
    def apart(self) -> bool:
        """Whether panels may stand on another page or below those of their row, so that each needs its own labels."""
        folded = self.grid.abreast < self.grid.columns
        return self.size.width is not None and (folded or self.grid.total[1] * self.size.scale > TALLEST)

    def explain(self, artist: Artist, texts: Sequence[str]) -> None:
        """Give each point of `artist` (as drawn, in order) a text that shows on hovering over it in the SVG."""
        gid = f"points-{len(self.tooltips) + 1}"
        artist.set_gid(gid)
        self.tooltips[gid] = tuple(plain(text) for text in texts)

    def legend(self, *args: Any, **kwargs: Any) -> Legend:
        """As matplotlib's; at a width in print in fewer columns where those asked for are wider than the page."""
        made = super().legend(*args, **kwargs)
        while self.size.width is not None and kwargs.get("ncols", 1) > 1:
            if made.get_window_extent(renderer_of(self)).width <= self.bbox.width:
                break
            made.remove()
            kwargs["ncols"] -= 1
            made = super().legend(*args, **kwargs)
        return made

    @property
    def n_pages(self) -> int:
        """How many pages it takes: one, unless it is taller than a page at its width in print."""
        self._turn(0)
        return len(self._pages or "1")

    @property
    def printed_size(self) -> tuple[float, float]:
        """Width and height in inches, as printed; of several pages those of the first."""
        return self._size_of(0)

    def _size_of(self, page: int) -> tuple[float, float]:
        self._turn(page)
        width, height = self.get_size_inches()
        return float(width * self.size.scale), float(height * self.size.scale)

    def _turn(self, page: int) -> None:
        """Show this page, at a width in print."""
        if self.size.width is None:
            return
        if self._pages is None:
            with using(self.size):
                self._pages = styled(settle)(self)
        self._pages[page].show(self)

    def _repr_svg_(self) -> str:
        """What a notebook shows."""
        return self.svg()

    def svg(self, page: int = 0) -> str:
        """The figure, or one of its `n_pages`, as an SVG file, with the tooltips; text stays text."""
        return svg_file(self.tree(page))

    def tree(self, page: int = 0) -> ElementTree.Element:
        """The same before it is written; for `inline`."""
        with using(self.size):
            return self._tree(page)

    def pdf(self) -> bytes:
        """The figure as a PDF file of `n_pages`, at its size in print; fonts are embedded, and text stays text."""
        with using(self.size):
            return self._pdf()

    def png(self, dpi: int = 200, page: int = 0) -> bytes:
        """The figure, or one of its `n_pages`, as a PNG file, of so many pixels an inch as printed."""
        with using(self.size):
            return self._png(dpi, page)

    @styled
    def _tree(self, page: int) -> ElementTree.Element:
        self._turn(page)
        buffer = io.BytesIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(self).print_figure(buffer, format="svg", metadata=nothing)
        root = ElementTree.fromstring(buffer.getvalue())
        for element in root.iter():
            element.tag = element.tag.split("}")[-1]
            for name in list(element.attrib):
                value = element.attrib.pop(name)
                shortened = _LONG_DECIMAL.sub(r"\1", value) if name in ("d", "points", "transform", "x", "y") else value
                # Older readers of SVG know the prefixed name of a reference alone.
                element.set("xlink:href" if name == f"{{{_XLINK}}}href" else name.split("}")[-1], shortened)
        for element in root.iter("image"):
            element.attrib.pop(
                "id", None
            )  # named by its pixels: two equal pictures would share it, and none is referred to
        groups = {element.get("id"): element for element in root.iter("g")}
        for gid, texts in self.tooltips.items():
            if gid not in groups and self.n_pages > 1:
                continue  # on another page
            marks = list(groups[gid].iter("use"))
            assert len(marks) == len(texts), f"{gid}: {len(marks)} points drawn, {len(texts)} explained"
            for mark, text in zip(marks, texts, strict=True):
                ElementTree.SubElement(mark, "title").text = text
        if self.size.width is not None:
            for name, length in zip(("width", "height"), self._size_of(page), strict=True):
                root.set(name, f"{length * 25.4:.2f}mm")
        root.set("xmlns", _SVG)
        root.set("xmlns:xlink", _XLINK)
        return root

    @styled
    def _pdf(self) -> bytes:
        n_pages = self.n_pages
        with lettered(self, self.stand_ins) as self.unwritten:
            return pdf(self, self.size.scale, self._turn, n_pages)

    @styled
    def _png(self, dpi: int, page: int) -> bytes:
        self._turn(page)
        buffer = io.BytesIO()
        said: dict[str, Any] = {} if self.size.width is None else {"pil_kwargs": {"dpi": (dpi, dpi)}}
        with lettered(self, self.stand_ins) as self.unwritten:
            FigureCanvasAgg(self).print_figure(
                buffer, format="png", dpi=dpi * self.size.scale, metadata={"Software": None}, **said
            )
        return buffer.getvalue()


def svg_file(tree: ElementTree.Element) -> str:
    """The SVG file of the tree of a `Chart`."""
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(tree, encoding="unicode") + "\n"


def inline(tree: ElementTree.Element, *, prefix: str, description: str) -> str:
    """The tree of a `Chart`, which is changed, as an element of a page.

    Its ids start with `prefix`, and no style leaks from it.
    """
    for name in ("xmlns", "xmlns:xlink"):
        tree.attrib.pop(name, None)
    for element in tree.iter():
        for name in list(element.attrib):
            value, own = element.attrib.pop(name), name.removeprefix("xlink:")
            if own == "id":
                value = f"{prefix}-{value}"
            elif own == "href" and value.startswith("#"):
                value = f"#{prefix}-{value[1:]}"
            elif "url(#" in value:
                value = _REFERENCE.sub(rf"url(#{prefix}-\1)", value)
            element.set(own, value)
    for parent in list(tree.iter()):
        for style in parent.findall("style"):
            parent.remove(style)
    unstyled(tree)
    tree.set("role", "img")
    tree.set("aria-label", plain(description))
    return ElementTree.tostring(tree, encoding="unicode")
