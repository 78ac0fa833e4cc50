"""Threats in, verdicts out."""

from manifoldscope.robustness.corruptions import Corruption
from manifoldscope.robustness.evaluation import evaluate
from manifoldscope.robustness.fgsm import FGSM
from manifoldscope.robustness.foreign import accuracy_by_class, detection
from manifoldscope.robustness.geometric import Rotation, Translation
from manifoldscope.robustness.kept import Kept, keep, load_kept, rejudge
from manifoldscope.robustness.library import APGDCE, APGDT, FABT, AutoAttack, Square
from manifoldscope.robustness.noise import UniformNoise
from manifoldscope.robustness.pgd import PGD
from manifoldscope.robustness.smallest import robustness_curve, smallest_perturbation
from manifoldscope.robustness.target import Target
from manifoldscope.robustness.threat import THREATS, Threat, make
from manifoldscope.robustness.transfer import transfer
from manifoldscope.robustness.verdicts import Verdicts, robustness_of

__all__ = [
    "APGDCE",
    "APGDT",
    "FABT",
    "FGSM",
    "PGD",
    "THREATS",
    "AutoAttack",
    "Corruption",
    "Kept",
    "Rotation",
    "Square",
    "Target",
    "Threat",
    "Translation",
    "UniformNoise",
    "Verdicts",
    "accuracy_by_class",
    "detection",
    "evaluate",
    "keep",
    "load_kept",
    "make",
    "rejudge",
    "robustness_curve",
    "robustness_of",
    "smallest_perturbation",
    "transfer",
]
