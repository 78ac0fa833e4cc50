"""Tables and evidence in, pages and figures out."""

from manifoldscope.report import words
from manifoldscope.report.chart import Chart
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section, draw
from manifoldscope.report.findings import FINDINGS, Finding, diagnose
from manifoldscope.report.page import render

__all__ = [
    "FIGURES",
    "FINDINGS",
    "Chart",
    "Contents",
    "Figure",
    "Finding",
    "Section",
    "diagnose",
    "draw",
    "render",
    "words",
]
