"""A matplotlib figure as a PDF file of any size: it is scaled as a whole, and its text stays text."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from matplotlib.backends import backend_pdf
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.figure import Figure

_PIXELS = 300  # an inch as printed, of what is drawn as pixels
_POINTS = 72  # an inch


def pdf(figure: Figure, scale: float, turn: Callable[[int], None], n_pages: int) -> bytes:
    """The figure, `scale` times its size, as a PDF file without a date; fonts are embedded.

    Args:
        figure: what is drawn.
        scale: inches as printed by its own.
        turn: makes the figure one of its pages.
        n_pages: how many these are.
    """
    buffer = io.BytesIO()
    # matplotlib saves a figure at its own size alone, so that the page is made here.
    backend: Any = backend_pdf
    mixed: Any = MixedModeRenderer
    file = backend.PdfFile(buffer, metadata=dict.fromkeys(("Creator", "Producer", "CreationDate")))
    dpi = figure.dpi
    try:
        figure.dpi = _POINTS
        pixels = _PIXELS * scale
        for page in range(n_pages):
            turn(page)
            width, height = figure.get_size_inches()
            file.newPage(scale * width, scale * height)
            file.output(scale, 0, 0, scale, 0, 0, backend.Op.concat_matrix)
            renderer = mixed(figure, width, height, pixels, backend.RendererPdf(file, pixels, height, width))
            figure.draw(renderer)
            renderer.finalize()
        file.finalize()
    finally:
        file.close()
        figure.dpi = dpi
    return buffer.getvalue()
