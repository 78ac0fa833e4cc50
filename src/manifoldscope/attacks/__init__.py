"""Attacks and corruptions in, an outcome per image out."""

from manifoldscope.attacks.apgd import APGDCE, APGDDLR, APGDT
from manifoldscope.attacks.autoattack import AutoAttack
from manifoldscope.attacks.corruptions import Corruption
from manifoldscope.attacks.evaluation import evaluate
from manifoldscope.attacks.external import external
from manifoldscope.attacks.fab import FABT
from manifoldscope.attacks.fgsm import FGSM
from manifoldscope.attacks.fmn import FMN
from manifoldscope.attacks.geometric import Rotation, Translation
from manifoldscope.attacks.great import great_score
from manifoldscope.attacks.lipschitz import LipschitzEstimates, lipschitz_estimates
from manifoldscope.attacks.minimal import minimal_perturbation, robustness_curve
from manifoldscope.attacks.noise import UniformNoise
from manifoldscope.attacks.ood import ood_detection
from manifoldscope.attacks.outcomes import Outcomes, robustness_of
from manifoldscope.attacks.perturbation import ATTACKS, CORRUPTIONS, Perturbation, Rows, Seen, State, make, registered
from manifoldscope.attacks.pgd import PGD
from manifoldscope.attacks.saved import SavedImages, load_saved_images, re_evaluate, save_images
from manifoldscope.attacks.shifts import accuracy_by_class
from manifoldscope.attacks.square import Square
from manifoldscope.attacks.transfer import transfer

__all__ = [
    "APGDCE",
    "APGDDLR",
    "APGDT",
    "ATTACKS",
    "CORRUPTIONS",
    "FABT",
    "FGSM",
    "FMN",
    "PGD",
    "AutoAttack",
    "Corruption",
    "LipschitzEstimates",
    "Outcomes",
    "Perturbation",
    "Rotation",
    "Rows",
    "SavedImages",
    "Seen",
    "Square",
    "State",
    "Translation",
    "UniformNoise",
    "accuracy_by_class",
    "evaluate",
    "external",
    "great_score",
    "lipschitz_estimates",
    "load_saved_images",
    "make",
    "minimal_perturbation",
    "ood_detection",
    "re_evaluate",
    "registered",
    "robustness_curve",
    "robustness_of",
    "save_images",
    "transfer",
]
