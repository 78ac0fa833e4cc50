"""Differentiable properties of class manifolds, to be added to a loss: (features, labels) to a scalar.

Each takes features (n, n_features) of one layer for a batch, in float32 or float64 (lower precision is raised to
float32), and labels (n,); and gives a scalar in the type and on the device of the features. Values and gradients are
finite wherever features are: for a class of one image, equal features, features that are all 0, very small and very
large ones. Only `centre`, which is in units of squared features, is infinite where these squares are.
"""

from manifoldscope.training.penalties.ball_capacity import ball_capacity, inverse_ball_capacity
from manifoldscope.training.penalties.centre import centre
from manifoldscope.training.penalties.coding_rate import coding_rate
from manifoldscope.training.penalties.low_rank import low_rank
from manifoldscope.training.penalties.mmcr import mmcr
from manifoldscope.training.penalties.nuclear_norm import nuclear_norm
from manifoldscope.training.penalties.orthogonal_projection import orthogonal_projection
from manifoldscope.training.penalties.participation_ratio import participation_ratio
from manifoldscope.training.penalties.power_law import power_law

__all__ = [
    "ball_capacity",
    "centre",
    "coding_rate",
    "inverse_ball_capacity",
    "low_rank",
    "mmcr",
    "nuclear_norm",
    "orthogonal_projection",
    "participation_ratio",
    "power_law",
]
