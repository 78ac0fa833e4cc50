"""Tables in, conclusions out: associations with their uncertainty, and findings in words."""

from manifoldscope.evidence.answer import guessing
from manifoldscope.evidence.association import (
    FEWEST_NETWORKS,
    Association,
    associate,
    associate_frame,
    association_table,
    holm,
    replicates,
)
from manifoldscope.evidence.diagnosis import Finding, diagnose, smallest_detectable

__all__ = [
    "FEWEST_NETWORKS",
    "Association",
    "Finding",
    "associate",
    "associate_frame",
    "association_table",
    "diagnose",
    "guessing",
    "holm",
    "replicates",
    "smallest_detectable",
]
