"""Tables in, facts out: typed, with their uncertainty. What is said of them in words is in `report.findings`."""

from manifoldscope.evidence.across_classes import RELIABLE, AcrossClasses, across_classes
from manifoldscope.evidence.across_networks import AcrossNetworks, across_networks
from manifoldscope.evidence.adjustment import holm
from manifoldscope.evidence.association import Association, associate, nearly_constant
from manifoldscope.evidence.association_table import FEWEST_NETWORKS, associate_frame, association_table
from manifoldscope.evidence.at_chance import at_chance
from manifoldscope.evidence.attacks import with_attack_name
from manifoldscope.evidence.ceilings import OfSample, ceilings
from manifoldscope.evidence.checked import Checked, checked
from manifoldscope.evidence.completeness import missing
from manifoldscope.evidence.confusion import FEWEST_CLASSES, PairAssociation, confusions, mantel
from manifoldscope.evidence.granularity import Granularity, granularity
from manifoldscope.evidence.iterates import Gap, gaps
from manifoldscope.evidence.ood import Detected, detections
from manifoldscope.evidence.proportions import difference, wilson
from manifoldscope.evidence.replicates import replicates
from manifoldscope.evidence.shifts import Shifted, beside_clean, shifts
from manifoldscope.evidence.significance import Coefficient, smallest_detectable
from manifoldscope.evidence.strengths import compared_networks, telling_attack, telling_strengths
from manifoldscope.evidence.unreadable import Unreadable, unreadable

__all__ = [
    "FEWEST_CLASSES",
    "FEWEST_NETWORKS",
    "RELIABLE",
    "AcrossClasses",
    "AcrossNetworks",
    "Association",
    "Checked",
    "Coefficient",
    "Detected",
    "Gap",
    "Granularity",
    "OfSample",
    "PairAssociation",
    "Shifted",
    "Unreadable",
    "across_classes",
    "across_networks",
    "associate",
    "associate_frame",
    "association_table",
    "at_chance",
    "beside_clean",
    "ceilings",
    "checked",
    "compared_networks",
    "confusions",
    "detections",
    "difference",
    "gaps",
    "granularity",
    "holm",
    "mantel",
    "missing",
    "nearly_constant",
    "replicates",
    "shifts",
    "smallest_detectable",
    "telling_attack",
    "telling_strengths",
    "unreadable",
    "wilson",
    "with_attack_name",
]
