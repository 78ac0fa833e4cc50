"""What a figure at a width in print needs once it is drawn: text that can be read, labels again, rows one by one."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from manifoldscope.report.sizing import TALLEST
from manifoldscope.report.styles import LEAST_POINTS

if TYPE_CHECKING:
    from manifoldscope.report.chart import Chart

_EDGE, _BETWEEN = 0.07, 0.14  # inches around all, and between the rows of panels with their labels
_FEWEST_LETTERS = 8  # in a line
_LOWEST = 0.75  # of a panel's height, where that spares a page


def settle(chart: Chart) -> list[Page]:
    """Make the text of a chart at least six points, label panels that now begin a row, and place the rows on pages."""
    for text in chart.findobj(Text):
        text.set_fontsize(max(float(text.get_fontsize()), LEAST_POINTS / chart.size.scale))
    beside = _within(chart)
    for row in chart.panels:
        for column in range(chart.grid.abreast, len(row), chart.grid.abreast):
            for axes, first in zip([row[column], *beside[row[column]]], [row[0], *beside[row[0]]], strict=False):
                _label_as(axes, first)
    renderer = renderer_of(chart)
    for axes in chart.axes:
        for text in [*axes.texts, axes.xaxis.label]:
            _fit(text, chart, renderer)
    return _stacked(chart, renderer)


def renderer_of(chart: Chart) -> RendererBase:
    """What measures the text of a chart."""
    canvas: Any = FigureCanvasAgg(chart)
    renderer: RendererBase = canvas.get_renderer()
    return renderer


def _within(chart: Chart) -> dict[Axes, list[Axes]]:
    """What further axes stand within each panel, in their order."""
    found: dict[Axes, list[Axes]] = {axes: [] for axes in chart.flat}
    for row, panels in enumerate(chart.panels):
        for column, panel in enumerate(panels):
            left, low, width, height = chart.grid.box(row, column)
            for axes in chart.axes:
                box = axes.get_position(original=True)
                inside = left - 0.001 <= box.x0 < left + width and low - 0.001 <= box.y0 < low + height
                if inside and axes not in found:
                    found[panel].append(axes)
    return found


def _label_as(axes: Axes, first: Axes) -> None:
    """Give the axes the labels of the first of their row, where they had none because that showed them."""
    if not (axes.axison and first.axison):
        return
    hidden = axes.yaxis.get_tick_params().get("labelleft") is False
    names = [label.get_text() for label in first.get_yticklabels()]
    own = [label.get_text() for label in axes.get_yticklabels()]
    if len(own) == len(names) and any(names) and not any(own):
        size = first.get_yticklabels()[0].get_fontsize()
        axes.set_yticks(first.get_yticks(), names, fontsize=size)
        hidden = True
    if hidden:
        axes.tick_params(labelleft=True)
        axes.set_ylabel(axes.get_ylabel() or first.get_ylabel())


def _fit(text: Text, chart: Chart, renderer: RendererBase) -> None:
    """Break a line that is wider than the page; what stands above it moves up."""
    box, page = text.get_window_extent(renderer), chart.bbox.width
    inside = box.x0 >= 0 and box.x1 <= page
    if inside or "\n" in text.get_text() or text.get_rotation() or not text.get_text():
        return
    middle = (box.x0 + box.x1) / 2
    room = 2 * min(middle, page - middle) if text.get_horizontalalignment() == "center" else page - max(box.x0, 0)
    letters = int(len(text.get_text()) * room / box.width)
    if letters < _FEWEST_LETTERS:
        return
    lines = textwrap.wrap(text.get_text(), letters)
    text.set_text("\n".join(lines))
    if isinstance(text, Annotation) and text.axes is not None:
        rise = (len(lines) - 1) * 1.25 * float(text.get_fontsize())
        for other in text.axes.texts:
            if isinstance(other, Annotation) and other.xy == text.xy and other.xyann[1] > text.xyann[1]:
                other.xyann = (other.xyann[0], other.xyann[1] + rise)


@dataclass(frozen=True)
class Page:
    """Some of the rows of panels, below each other, as one page shows them.

    Attributes:
        size: width and height in inches as laid out.
        boxes: where each of their axes stands: left, bottom, width and height as shares of the page.
    """

    size: tuple[float, float]
    boxes: Mapping[Axes, tuple[float, float, float, float]]

    def show(self, chart: Chart) -> None:
        """Make the chart this page: its axes are placed, and the others hidden."""
        chart.set_size_inches(*self.size)
        for axes in chart.axes:
            axes.set_visible(axes in self.boxes)
            if axes in self.boxes:
                axes.set_position(self.boxes[axes])


def _stacked(chart: Chart, renderer: RendererBase) -> list[Page]:
    """Place the rows of panels below each other with the room that their labels take, and leave out empty ones.

    Where labels need more than the margins beside the panels, these become narrower. What is taller than a page in
    print becomes lower, down to `_LOWEST` of its height, or else goes on on further pages.
    """
    grid, (width, height) = chart.grid, chart.grid.total
    inch = chart.dpi
    boxes = {axes: axes.get_position(original=True) for axes in chart.axes}
    lines: dict[int, list[Axes]] = {line: [] for line in range(grid.lines)}
    floors, begins = {}, set()
    for row in range(grid.rows):
        begins.add(grid.line(row, 0))
        for column in range(grid.columns):
            floors[grid.line(row, column)] = grid.box(row, column)[1] * height
    for axes, box in boxes.items():  # a colour bar, say, belongs to the row of its middle
        middle = (box.y0 + box.y1) / 2 * height
        lines[min(lines, key=lambda line: abs(floors[line] + grid.height / 2 - middle))].append(axes)
    legend = max((each.get_window_extent(renderer).height / inch for each in chart.legends), default=0.0)
    extents = {axes: axes.get_tightbbox(renderer) for axes in chart.axes if axes.axison or axes.texts}
    drawn = {axes: box for axes, box in extents.items() if box is not None}
    filled = [line for line, those in lines.items() if any(axes in drawn for axes in those)]
    above, below = {}, {}
    for line in filled:
        extent = Bbox.union([drawn[axes] for axes in lines[line] if axes in drawn])
        above[line] = max(extent.y1 / inch - floors[line] - grid.height, 0.0)
        below[line] = max(floors[line] - extent.y0 / inch, 0.0)
    start = max(0.0, (_EDGE - min(box.x0 for box in drawn.values()) / inch) / width) if drawn else 0.0
    end = max(0.0, max(box.x1 for box in drawn.values()) / inch / width - 1) if drawn else 0.0
    narrower = 1 - start - end
    own = {axes: line for line, those in lines.items() for axes in those if axes in chart.shared}
    around = 2 * _EDGE + legend + _BETWEEN * bool(legend)
    room = TALLEST / chart.size.scale - around
    pages = []
    for shown in _paged(filled, {line: above[line] + below[line] for line in filled}, grid.height, begins, room):
        labels = sum(above[line] + below[line] for line in shown) + _BETWEEN * (len(shown) - 1)
        lower = min(1.0, max((room - labels) / (len(shown) * grid.height), _LOWEST)) if shown else 1.0
        total = around + labels + len(shown) * lower * grid.height
        top = total - _EDGE
        placed = {}
        for line in shown:
            floor = top - above[line] - lower * grid.height
            elsewhere = [axes for axes in own if own[axes] not in shown] if line == shown[0] else []
            for axes in [*lines[line], *elsewhere]:
                box = boxes[axes]
                low = floor + lower * (box.y0 * height - floors[own.get(axes, line)])
                left = start + box.x0 * narrower
                placed[axes] = (left, low / total, box.width * narrower, lower * box.height * height / total)
            top = floor - below[line] - _BETWEEN
        pages.append(Page((width, total), placed))
    return pages


def _paged(
    lines: Sequence[int], labels: Mapping[int, float], height: float, begins: Collection[int], room: float
) -> list[list[int]]:
    """Which rows of panels stand on which page: as few pages as hold them, broken between rows of the figure.

    Args:
        lines: the rows of panels as they stand on the page, in their order.
        labels: the height that the labels of each take.
        height: of a panel.
        begins: which of them begin a row of the figure.
        room: the height of a page.
    """
    best: list[tuple[tuple[int, int, float], list[list[int]]]] = [((0, 0, 0.0), [])]
    for stop in range(1, len(lines) + 1):
        found = []
        for start in range(stop):
            page = list(lines[start:stop])
            tall = sum(labels[line] for line in page) + len(page) * _LOWEST * height + _BETWEEN * (len(page) - 1)
            if tall <= room or len(page) == 1:
                (n_pages, n_broken, tallest), before = best[start]
                broken = n_broken + (start > 0 and lines[start] not in begins)
                found.append(((n_pages + 1, broken, max(tallest, tall)), [*before, page]))
        best.append(min(found, key=lambda each: each[0]))
    return best[-1][1] or [[]]
