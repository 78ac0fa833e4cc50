"""Why does this vision network fail on these classes? The geometry of class manifolds beside robustness.

>>> import manifoldscope as ms
>>> images = ms.images("digits", images_per_class=20, seed=0)
>>> network = ms.network("small:cnn", channels=1, size=8, n_classes=10)
>>> manifolds = ms.activations(network, images, layers=["penultimate"])
>>> ms.Spectrum.of(manifolds[0].points).dimension(0.95) <= 19
True
>>> ms.evaluate(network, images, ms.PGD(epsilon=0.1, steps=5), seed=0).accuracy <= 1
True

Names are loaded when they are first used, so that the command line answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manifoldscope.api import Result, run, status
    from manifoldscope.errors import ManifoldscopeError
    from manifoldscope.evidence import associate, association_table, diagnose
    from manifoldscope.geometry import ClassManifold, Estimate, Spectrum, feature_correlation, measure
    from manifoldscope.robustness import PGD, Threat, UniformNoise, Verdicts, evaluate
    from manifoldscope.study import Study, load
    from manifoldscope.training import fit
    from manifoldscope.vision import ImageSet, Network, load_manifolds, load_points, save_manifolds
    from manifoldscope.vision.activations import activations
    from manifoldscope.vision.datasets import images
    from manifoldscope.vision.sources import network

__version__ = "0.1.0"

__all__ = [
    "PGD",
    "ClassManifold",
    "Estimate",
    "ImageSet",
    "ManifoldscopeError",
    "Network",
    "Result",
    "Spectrum",
    "Study",
    "Threat",
    "UniformNoise",
    "Verdicts",
    "activations",
    "associate",
    "association_table",
    "diagnose",
    "evaluate",
    "feature_correlation",
    "fit",
    "images",
    "load",
    "load_manifolds",
    "load_points",
    "measure",
    "network",
    "run",
    "save_manifolds",
    "status",
]

_ROOMS = {
    "api": ("Result", "run", "status"),
    "errors": ("ManifoldscopeError",),
    "evidence": ("associate", "association_table", "diagnose"),
    "geometry": ("ClassManifold", "Estimate", "Spectrum", "feature_correlation", "measure"),
    "robustness": ("PGD", "Threat", "UniformNoise", "Verdicts", "evaluate"),
    "study": ("Study", "load"),
    "training": ("fit",),
    "vision": ("ImageSet", "Network", "load_manifolds", "load_points", "save_manifolds"),
    "vision.activations": ("activations",),
    "vision.datasets": ("images",),
    "vision.sources": ("network",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'manifoldscope' has no attribute {name!r}")
    return getattr(import_module(f"manifoldscope.{_ROOM_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
