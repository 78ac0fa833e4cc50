"""One loop, several objectives."""

from manifoldscope.training.fit import Epoch, fit, state
from manifoldscope.training.objectives import OBJECTIVES, Objective

__all__ = ["OBJECTIVES", "Epoch", "Objective", "fit", "state"]
