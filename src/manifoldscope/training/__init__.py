"""One loop, several objectives."""

from manifoldscope.training import penalties
from manifoldscope.training.features import logits_and_features
from manifoldscope.training.fit import Epoch, fit, state
from manifoldscope.training.objectives import OBJECTIVES, Objective, Shaping
from manifoldscope.training.saving import Saving

__all__ = ["OBJECTIVES", "Epoch", "Objective", "Saving", "Shaping", "fit", "logits_and_features", "penalties", "state"]
