"""Tables in, conclusions out: associations with their uncertainty, and findings in words."""

from manifoldscope.evidence.answer import guessing
from manifoldscope.evidence.association import (
    FEWEST_NETWORKS,
    Association,
    associate,
    associate_frame,
    association_table,
    holm,
    nearly_constant,
    replicates,
)
from manifoldscope.evidence.confusion import FEWEST_CLASSES, PairAssociation, falls, mantel
from manifoldscope.evidence.diagnosis import Finding, diagnose, smallest_detectable
from manifoldscope.evidence.foreign import beside_clean
from manifoldscope.evidence.proportions import difference, wilson
from manifoldscope.evidence.strengths import compared_networks, telling_strengths

__all__ = [
    "FEWEST_CLASSES",
    "FEWEST_NETWORKS",
    "Association",
    "Finding",
    "PairAssociation",
    "associate",
    "associate_frame",
    "association_table",
    "beside_clean",
    "compared_networks",
    "diagnose",
    "difference",
    "falls",
    "guessing",
    "holm",
    "mantel",
    "nearly_constant",
    "replicates",
    "smallest_detectable",
    "telling_strengths",
    "wilson",
]
