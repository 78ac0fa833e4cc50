"""Why does this vision network fail on these classes? The geometry of class manifolds beside robustness.

>>> import manifoldscope as ms
>>> images = ms.images("digits", images_per_class=20, seed=0)
>>> network = ms.network("small:cnn", channels=1, size=8, n_classes=10)
>>> manifolds = ms.activations(network, images, layers=["penultimate"])
>>> ms.Spectrum.of(manifolds[0].points).dimension(0.95) <= 19
True
>>> ms.evaluate(network, images, ms.PGD(epsilon=0.1, steps=5), seed=0).accuracy <= 1
True
"""

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
