"""A matplotlib figure as a PDF file of any size: it is scaled as a whole, and its text stays text."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.backends import backend_pdf
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.figure import Figure

_PIXELS = 300  # an inch as printed, of what is drawn as pixels
_POINTS = 72  # an inch


def pdf(figure: Figure, scale: float) -> bytes:
    """The figure, `scale` times its size, as a PDF file without a date; fonts are embedded."""
    buffer = io.BytesIO()
    # matplotlib saves a figure at its own size alone, so that the page is made here.
    backend: Any = backend_pdf
    mixed: Any = MixedModeRenderer
    file = backend.PdfFile(buffer, metadata=dict.fromkeys(("Creator", "Producer", "CreationDate")))
    dpi = figure.dpi
    try:
        figure.dpi = _POINTS
        width, height = figure.get_size_inches()
        file.newPage(scale * width, scale * height)
        file.output(scale, 0, 0, scale, 0, 0, backend.Op.concat_matrix)
        pixels = _PIXELS * scale
        renderer = mixed(figure, width, height, pixels, backend.RendererPdf(file, pixels, height, width))
        figure.draw(renderer)
        renderer.finalize()
        file.finalize()
    finally:
        file.close()
        figure.dpi = dpi
    return buffer.getvalue()
