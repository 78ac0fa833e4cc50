"""Tables and evidence in, pages and figures out."""

from manifoldscope.report import words
from manifoldscope.report.behind import (
    comparison_table,
    convergence_table,
    dimension_beside_accuracy,
    displacement_table,
    pairs_beside_falls,
    telling_displacement,
    telling_strengths,
    training_table,
    transfer_table,
)
from manifoldscope.report.chart import Chart
from manifoldscope.report.figures import (
    accuracy_by_step,
    accuracy_by_strength,
    attacked_examples,
    class_pairs,
    dimension_against_accuracy,
    dimension_against_accuracy_by_strength,
    dimension_histograms,
    displacement_by_class,
    feature_correlations,
    network_comparison,
    reliability_by_measure,
    training_history,
    transfer_matrix,
    value_by_points,
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
    "accuracy_by_step",
    "accuracy_by_strength",
    "attacked_examples",
    "class_pairs",
    "comparison_table",
    "convergence_table",
    "dimension_against_accuracy",
    "dimension_against_accuracy_by_strength",
    "dimension_beside_accuracy",
    "dimension_histograms",
    "displacement_by_class",
    "displacement_table",
    "feature_correlations",
    "network_comparison",
    "pairs_beside_falls",
    "reliability_by_measure",
    "telling_displacement",
    "telling_strengths",
    "training_history",
    "training_table",
    "transfer_matrix",
    "transfer_table",
    "value_by_points",
    "variance_spectra",
    "words",
    "write",
]
