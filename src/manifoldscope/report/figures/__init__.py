"""The figures of a report: tables and pictures in, matplotlib figures out.

`models` gives the order of the networks, and with it their colours, so that a network looks the same in every figure;
left out, they are in alphabetical order.

A figure is a function that is `styled` and returns a `Chart`, in the file of its subject; `report.plates` says where it
stands in the page, and its caption. A table without rows gives a figure that says so.
"""

from manifoldscope.report.figures.accuracy import accuracy_by_strength
from manifoldscope.report.figures.convergence import accuracy_by_step
from manifoldscope.report.figures.correlations import feature_correlations
from manifoldscope.report.figures.dimension import (
    dimension_against_accuracy,
    dimension_against_accuracy_by_strength,
    dimension_histograms,
)
from manifoldscope.report.figures.displacement import displacement_by_class
from manifoldscope.report.figures.examples import attacked_examples
from manifoldscope.report.figures.foreign import detection_by_score, shifted_accuracy
from manifoldscope.report.figures.networks import network_comparison
from manifoldscope.report.figures.pairs import MANY_PAIRS, MOST_NAMED_PAIRS, NAMED_IN_MATRIX, class_pairs
from manifoldscope.report.figures.panel import MOST_LAYERS, MOST_MODELS, MOST_STRENGTHS, MOST_TOOLTIPS, NAMED_CLASSES
from manifoldscope.report.figures.sample import reliability_by_measure, value_by_points
from manifoldscope.report.figures.smallest import accuracy_by_smallest
from manifoldscope.report.figures.spectra import variance_spectra
from manifoldscope.report.figures.training import training_history
from manifoldscope.report.figures.transfer import transfer_matrix

__all__ = [
    "MANY_PAIRS",
    "MOST_LAYERS",
    "MOST_MODELS",
    "MOST_NAMED_PAIRS",
    "MOST_STRENGTHS",
    "MOST_TOOLTIPS",
    "NAMED_CLASSES",
    "NAMED_IN_MATRIX",
    "accuracy_by_smallest",
    "accuracy_by_step",
    "accuracy_by_strength",
    "attacked_examples",
    "class_pairs",
    "detection_by_score",
    "dimension_against_accuracy",
    "dimension_against_accuracy_by_strength",
    "dimension_histograms",
    "displacement_by_class",
    "feature_correlations",
    "network_comparison",
    "reliability_by_measure",
    "shifted_accuracy",
    "training_history",
    "transfer_matrix",
    "value_by_points",
    "variance_spectra",
]
