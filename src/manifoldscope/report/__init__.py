"""Tables and evidence in, pages and figures out."""

from manifoldscope.report import words
from manifoldscope.report.behind import comparison_table, dimension_beside_accuracy, telling_strengths
from manifoldscope.report.chart import Chart
from manifoldscope.report.figures import (
    accuracy_by_strength,
    attacked_examples,
    dimension_against_accuracy,
    dimension_against_accuracy_by_strength,
    dimension_histograms,
    feature_correlations,
    network_comparison,
    variance_spectra,
)
from manifoldscope.report.page import write
from manifoldscope.report.pictures import CorrelationPicture, ExamplePicture, Pictures, SpectrumPicture

__all__ = [
    "Chart",
    "CorrelationPicture",
    "ExamplePicture",
    "Pictures",
    "SpectrumPicture",
    "accuracy_by_strength",
    "attacked_examples",
    "comparison_table",
    "dimension_against_accuracy",
    "dimension_against_accuracy_by_strength",
    "dimension_beside_accuracy",
    "dimension_histograms",
    "feature_correlations",
    "network_comparison",
    "telling_strengths",
    "variance_spectra",
    "words",
    "write",
]
