"""Tables and evidence in, pages and figures out."""

from manifoldscope.report import words
from manifoldscope.report.chart import Chart
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section, draw
from manifoldscope.report.page import render

__all__ = ["FIGURES", "Chart", "Contents", "Figure", "Section", "draw", "render", "words"]
