"""Tables in, facts out: typed, with their uncertainty. What is said of them in words is in `report.findings`."""

from manifoldscope.evidence.across_classes import RELIABLE, AcrossClasses, across_classes
from manifoldscope.evidence.across_networks import AcrossNetworks, across_networks
from manifoldscope.evidence.association import Association, associate, nearly_constant
from manifoldscope.evidence.association_table import FEWEST_NETWORKS, association_table
from manifoldscope.evidence.at_chance import at_chance
from manifoldscope.evidence.attacks import with_attack_name
from manifoldscope.evidence.cards import Card, cards
from manifoldscope.evidence.ceilings import OfSample, ceilings
from manifoldscope.evidence.checked import Checked, checked
from manifoldscope.evidence.class_by_class import Accuracy, ClassByClass, class_by_class, telling_classes
from manifoldscope.evidence.completeness import missing
from manifoldscope.evidence.confusion import FEWEST_CLASSES, PairAssociation, confusions, mantel
from manifoldscope.evidence.frame import associate_frame, in_cells
from manifoldscope.evidence.granularity import Granularity, granularity
from manifoldscope.evidence.iterates import Gap, gaps
from manifoldscope.evidence.ood import Detected, detections
from manifoldscope.evidence.pilot import pilot
from manifoldscope.evidence.power import Assumed, Power, Source, power
from manifoldscope.evidence.prediction import ClassesPredicted, NetworkPredicted, Prediction, Score, prediction
from manifoldscope.evidence.proportions import difference, wilson
from manifoldscope.evidence.replicates import replicates
from manifoldscope.evidence.shifts import Shifted, beside_clean, shifts
from manifoldscope.evidence.significance import Coefficient, smallest_detectable
from manifoldscope.evidence.simultaneous import joint_ranks, simultaneous
from manifoldscope.evidence.sinks import Sink, Sinks, sinks
from manifoldscope.evidence.spread import Noise, Spread, gini, spread
from manifoldscope.evidence.strengths import compared_networks, telling_attack, telling_strengths
from manifoldscope.evidence.two_draws import Difficulty, TwoDraws, two_draw_test
from manifoldscope.evidence.unreadable import Unreadable, unreadable

__all__ = [
    "FEWEST_CLASSES",
    "FEWEST_NETWORKS",
    "RELIABLE",
    "Accuracy",
    "AcrossClasses",
    "AcrossNetworks",
    "Association",
    "Assumed",
    "Card",
    "Checked",
    "ClassByClass",
    "ClassesPredicted",
    "Coefficient",
    "Detected",
    "Difficulty",
    "Gap",
    "Granularity",
    "NetworkPredicted",
    "Noise",
    "OfSample",
    "PairAssociation",
    "Power",
    "Prediction",
    "Score",
    "Shifted",
    "Sink",
    "Sinks",
    "Source",
    "Spread",
    "TwoDraws",
    "Unreadable",
    "across_classes",
    "across_networks",
    "associate",
    "associate_frame",
    "association_table",
    "at_chance",
    "beside_clean",
    "cards",
    "ceilings",
    "checked",
    "class_by_class",
    "compared_networks",
    "confusions",
    "detections",
    "difference",
    "gaps",
    "gini",
    "granularity",
    "in_cells",
    "joint_ranks",
    "mantel",
    "missing",
    "nearly_constant",
    "pilot",
    "power",
    "prediction",
    "replicates",
    "shifts",
    "simultaneous",
    "sinks",
    "smallest_detectable",
    "spread",
    "telling_attack",
    "telling_classes",
    "telling_strengths",
    "two_draw_test",
    "unreadable",
    "wilson",
    "with_attack_name",
]
