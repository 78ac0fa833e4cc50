"""Threats in, verdicts out."""

from manifoldscope.robustness.corruptions import Corruption
from manifoldscope.robustness.noise import UniformNoise
from manifoldscope.robustness.pgd import PGD
from manifoldscope.robustness.threat import THREATS, Target, Threat, Verdicts, evaluate, make, robustness_of

__all__ = [
    "PGD",
    "THREATS",
    "Corruption",
    "Target",
    "Threat",
    "UniformNoise",
    "Verdicts",
    "evaluate",
    "make",
    "robustness_of",
]
