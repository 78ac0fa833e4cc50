"""Files of points in, manifolds and tables out: activations of anything, or recordings of neurons."""

from manifoldscope.recordings.axes import Axes
from manifoldscope.recordings.measured import (
    curves,
    equally_many,
    extrapolations,
    measured,
    reliabilities,
    stepwise,
)
from manifoldscope.recordings.outcomes import Joined, join_outcome
from manifoldscope.recordings.reading import PointSet, load_points, load_sets
from manifoldscope.recordings.saved import load_manifolds, save_manifolds

__all__ = [
    "Axes",
    "Joined",
    "PointSet",
    "curves",
    "equally_many",
    "extrapolations",
    "join_outcome",
    "load_manifolds",
    "load_points",
    "load_sets",
    "measured",
    "reliabilities",
    "save_manifolds",
    "stepwise",
]
