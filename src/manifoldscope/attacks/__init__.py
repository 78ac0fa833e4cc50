"""Attacks and corruptions in, an outcome per image out."""

from manifoldscope.attacks.corruptions import Corruption
from manifoldscope.attacks.evaluation import evaluate
from manifoldscope.attacks.fgsm import FGSM
from manifoldscope.attacks.geometric import Rotation, Translation
from manifoldscope.attacks.library import APGDCE, APGDT, FABT, AutoAttack, Square
from manifoldscope.attacks.minimal import minimal_perturbation, robustness_curve
from manifoldscope.attacks.noise import UniformNoise
from manifoldscope.attacks.ood import ood_detection
from manifoldscope.attacks.outcomes import Outcomes, robustness_of
from manifoldscope.attacks.perturbation import ATTACKS, CORRUPTIONS, Perturbation, make, registered
from manifoldscope.attacks.pgd import PGD
from manifoldscope.attacks.saved import SavedImages, load_saved_images, re_evaluate, save_images
from manifoldscope.attacks.shifts import accuracy_by_class
from manifoldscope.attacks.target import Target
from manifoldscope.attacks.transfer import transfer

__all__ = [
    "APGDCE",
    "APGDT",
    "ATTACKS",
    "CORRUPTIONS",
    "FABT",
    "FGSM",
    "PGD",
    "AutoAttack",
    "Corruption",
    "Outcomes",
    "Perturbation",
    "Rotation",
    "SavedImages",
    "Square",
    "Target",
    "Translation",
    "UniformNoise",
    "accuracy_by_class",
    "evaluate",
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
