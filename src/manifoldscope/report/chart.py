"""A matplotlib figure in the house style that can be saved as SVG, with tooltips, and as PNG; always the same bytes."""

from __future__ import annotations

import functools
import io
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

# Okabe and Ito (2008), without their yellow (too faint on paper), and a grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#767676")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
DASHES = ("-", (0, (6, 2)), (0, (2, 1.2)), (0, (6, 2, 1.5, 2)))
INK, FAINT, GRID = "#1b1f24", "#6a737d", "#e6e8eb"

_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.titlepad": 7,
    "axes.unicode_minus": True,
    "figure.facecolor": "white",
    "font.family": "sans-serif",
    # Lengths are laid out with DejaVu Sans, the widest of these: another font leaves space but never overlaps.
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial"],
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "manifoldscope",
    "text.color": INK,
    "text.parse_math": False,  # a class may be called "$5 bill"
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8,
    "xtick.major.size": 3,
    "xtick.major.width": 0.7,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8,
    "ytick.major.size": 3,
    "ytick.major.width": 0.7,
}

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_LONG_DECIMAL = re.compile(r"(\.\d{2})\d+")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+")

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def styled(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Run `function` in the house style, whatever the user's own matplotlib settings are, and put those back."""

    @functools.wraps(function)
    def wrapper(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        # Letters that DejaVu Sans lacks are right in the SVG, whose reader has more fonts, and boxes in the PNG.
        with warnings.catch_warnings(), matplotlib.style.context(["default", _STYLE]):
            warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
            return function(*args, **kwargs)

    return wrapper


def plain(text: str, length: int | None = None) -> str:
    """`text` in one printable line, cut to `length` characters with an ellipsis."""
    line = _UNPRINTABLE.sub(" ", text)
    return line if length is None or len(line) <= length else line[: length - 1].rstrip() + "…"


class Chart(Figure):
    """A figure of `rows` by `columns` panels of a given size in inches, with a tooltip for any of its points.

    Panels are placed by arithmetic rather than by a layout engine: faster, and the same on every machine.
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
        total_width = left + right + columns * width + (columns - 1) * across
        total_height = top + bottom + rows * height + (rows - 1) * down
        super().__init__(figsize=(total_width, total_height))
        self.tooltips: dict[str, tuple[str, ...]] = {}
        self.panel_size = (width, height)
        self.panels: list[list[Axes]] = [
            [
                self.add_axes(
                    (
                        (left + column * (width + across)) / total_width,
                        (bottom + (rows - 1 - row) * (height + down)) / total_height,
                        width / total_width,
                        height / total_height,
                    )
                )
                for column in range(columns)
            ]
            for row in range(rows)
        ]

    @property
    def flat(self) -> list[Axes]:
        """The panels, row by row."""
        return [panel for row in self.panels for panel in row]

    def explain(self, artist: Artist, texts: Sequence[str]) -> None:
        """Give each point of `artist` (as drawn, in order) a text that shows on hovering over it in the SVG."""
        gid = f"points-{len(self.tooltips) + 1}"
        artist.set_gid(gid)
        self.tooltips[gid] = tuple(plain(text) for text in texts)

    def _repr_svg_(self) -> str:
        """What a notebook shows."""
        return self.svg()

    @styled
    def svg(self) -> str:
        """The figure as an SVG file, with the tooltips; text stays text."""
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
            marks = list(groups[gid].iter("use"))
            assert len(marks) == len(texts), f"{gid}: {len(marks)} points drawn, {len(texts)} explained"
            for mark, text in zip(marks, texts, strict=True):
                ElementTree.SubElement(mark, "title").text = text
        root.set("xmlns", _SVG)
        root.set("xmlns:xlink", _XLINK)
        return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"

    @styled
    def png(self, dpi: int = 200) -> bytes:
        """The figure as a PNG file."""
        buffer = io.BytesIO()
        FigureCanvasAgg(self).print_figure(buffer, format="png", dpi=dpi, metadata={"Software": None})
        return buffer.getvalue()


def inline(svg: str, *, prefix: str, description: str) -> str:
    """The SVG file of a `Chart` as an element of a page: its ids start with `prefix`, and no style leaks from it."""
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        element.tag = element.tag.split("}")[-1]
        for name in list(element.attrib):
            value, own = element.attrib.pop(name), name.split("}")[-1]
            if own == "id":
                value = f"{prefix}-{value}"
            elif own == "href" and value.startswith("#"):
                value = f"#{prefix}-{value[1:]}"
            elif "url(#" in value:
                value = _REFERENCE.sub(rf"url(#{prefix}-\1)", value)
            element.set(own, value)
    for parent in list(root.iter()):
        for style in parent.findall("style"):
            parent.remove(style)
    root.set("role", "img")
    root.set("aria-label", plain(description))
    return ElementTree.tostring(root, encoding="unicode")
