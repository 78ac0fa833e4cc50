"""What a network is trained for: one objective a file, registered where it is defined."""

from manifoldscope.training.objectives.adversarial import Adversarial
from manifoldscope.training.objectives.objective import OBJECTIVES, Objective
from manifoldscope.training.objectives.random import Random
from manifoldscope.training.objectives.shaping import Shaping
from manifoldscope.training.objectives.standard import Standard

__all__ = ["OBJECTIVES", "Adversarial", "Objective", "Random", "Shaping", "Standard"]
