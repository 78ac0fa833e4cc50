"""How figures look: matplotlib settings for the screen, and what differs from them on paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Okabe and Ito (2008), without their yellow (too faint on paper), and a grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#767676")
INK, FAINT, GRID = "#1b1f24", "#6a737d", "#e6e8eb"

DRAWN_POINTS = 9.0
"""The size of text in which figures are laid out; a style at a width in print scales the whole to its own."""

LEAST_POINTS = 6.0
"""No text of a figure at a width in print is smaller."""

_SCREEN: Mapping[str, Any] = {
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
    "font.size": DRAWN_POINTS,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "pdf.fonttype": 42,  # fonts whole enough to edit and search; journals refuse type 3
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

_PAPER: Mapping[str, Any] = {
    "axes.edgecolor": INK,
    "axes.grid": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "xtick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.color": INK,
    "ytick.major.width": 0.6,
}


@dataclass(frozen=True)
class Style:
    """One look.

    Attributes:
        points: the size of text at a width in print; lines and markers go with it.
        settings: what it changes of the house's matplotlib settings.
    """

    points: float = DRAWN_POINTS
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def matplotlib(self) -> dict[str, Any]:
        """All its matplotlib settings."""
        return {**_SCREEN, **self.settings}


STYLES: Mapping[str, Style] = {"screen": Style(), "paper": Style(points=7, settings=_PAPER)}
"""Every style by its name: `screen` is that of the report."""
