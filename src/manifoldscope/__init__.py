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
    from manifoldscope.evidence import associate, association_table
    from manifoldscope.geometry import (
        ClassManifold,
        Cloud,
        Clouds,
        Covariance,
        Curve,
        Displacement,
        EffectiveGeometry,
        Estimate,
        Gram,
        JointEstimate,
        JointNull,
        ManifoldCapacity,
        Neighbours,
        Null,
        PowerLaw,
        Reliability,
        SimulatedCapacity,
        Spectrum,
        ball_capacity,
        capacity,
        curve,
        displacement,
        displacement_estimates,
        effective_geometry,
        equal_sizes,
        expected_decay_exponent,
        extrapolate,
        feature_correlation,
        gaussian_null,
        gride_curve,
        measure,
        measure_at,
        nearest_classes,
        power_law,
        reliability,
        shuffled_labels,
        simulated_capacity,
        spectra,
        subsampled,
    )
    from manifoldscope.report import diagnose
    from manifoldscope.robustness import (
        APGDCE,
        APGDT,
        FABT,
        FGSM,
        PGD,
        AutoAttack,
        Rotation,
        Square,
        Threat,
        Translation,
        UniformNoise,
        Verdicts,
        accuracy_by_class,
        detection,
        evaluate,
        keep,
        rejudge,
        robustness_curve,
        smallest_perturbation,
        transfer,
    )
    from manifoldscope.study import Study, load
    from manifoldscope.training import fit
    from manifoldscope.vision import ImageSet, Network, load_manifolds, load_points, save_manifolds
    from manifoldscope.vision.activations import activations
    from manifoldscope.vision.datasets import images
    from manifoldscope.vision.fast import FastNetwork, faster
    from manifoldscope.vision.jacobian import JacobianNorms, jacobian_norms, sensitivity
    from manifoldscope.vision.sources import network

__version__ = "0.1.0"

__all__ = [
    "APGDCE",
    "APGDT",
    "FABT",
    "FGSM",
    "PGD",
    "AutoAttack",
    "ClassManifold",
    "Cloud",
    "Clouds",
    "Covariance",
    "Curve",
    "Displacement",
    "EffectiveGeometry",
    "Estimate",
    "FastNetwork",
    "Gram",
    "ImageSet",
    "JacobianNorms",
    "JointEstimate",
    "JointNull",
    "ManifoldCapacity",
    "ManifoldscopeError",
    "Neighbours",
    "Network",
    "Null",
    "PowerLaw",
    "Reliability",
    "Result",
    "Rotation",
    "SimulatedCapacity",
    "Spectrum",
    "Square",
    "Study",
    "Threat",
    "Translation",
    "UniformNoise",
    "Verdicts",
    "accuracy_by_class",
    "activations",
    "associate",
    "association_table",
    "ball_capacity",
    "capacity",
    "curve",
    "detection",
    "diagnose",
    "displacement",
    "displacement_estimates",
    "effective_geometry",
    "equal_sizes",
    "evaluate",
    "expected_decay_exponent",
    "extrapolate",
    "faster",
    "feature_correlation",
    "fit",
    "gaussian_null",
    "gride_curve",
    "images",
    "jacobian_norms",
    "keep",
    "load",
    "load_manifolds",
    "load_points",
    "measure",
    "measure_at",
    "nearest_classes",
    "network",
    "power_law",
    "rejudge",
    "reliability",
    "robustness_curve",
    "run",
    "save_manifolds",
    "sensitivity",
    "shuffled_labels",
    "simulated_capacity",
    "smallest_perturbation",
    "spectra",
    "status",
    "subsampled",
    "transfer",
]

_ROOMS = {
    "api": ("Result", "run", "status"),
    "errors": ("ManifoldscopeError",),
    "evidence": ("associate", "association_table"),
    "geometry": (
        "ClassManifold",
        "Cloud",
        "Clouds",
        "Covariance",
        "Curve",
        "Displacement",
        "EffectiveGeometry",
        "Estimate",
        "Gram",
        "JointEstimate",
        "JointNull",
        "ManifoldCapacity",
        "Neighbours",
        "Null",
        "PowerLaw",
        "Reliability",
        "SimulatedCapacity",
        "Spectrum",
        "ball_capacity",
        "capacity",
        "curve",
        "displacement",
        "displacement_estimates",
        "effective_geometry",
        "equal_sizes",
        "expected_decay_exponent",
        "extrapolate",
        "feature_correlation",
        "gaussian_null",
        "gride_curve",
        "measure",
        "measure_at",
        "nearest_classes",
        "power_law",
        "reliability",
        "shuffled_labels",
        "simulated_capacity",
        "spectra",
        "subsampled",
    ),
    "report": ("diagnose",),
    "robustness": (
        "APGDCE",
        "APGDT",
        "FABT",
        "FGSM",
        "PGD",
        "AutoAttack",
        "Rotation",
        "Square",
        "Threat",
        "Translation",
        "UniformNoise",
        "Verdicts",
        "accuracy_by_class",
        "detection",
        "evaluate",
        "keep",
        "rejudge",
        "robustness_curve",
        "smallest_perturbation",
        "transfer",
    ),
    "study": ("Study", "load"),
    "training": ("fit",),
    "vision": ("ImageSet", "Network", "load_manifolds", "load_points", "save_manifolds"),
    "vision.activations": ("activations",),
    "vision.datasets": ("images",),
    "vision.fast": ("FastNetwork", "faster"),
    "vision.jacobian": ("JacobianNorms", "jacobian_norms", "sensitivity"),
    "vision.sources": ("network",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'manifoldscope' has no attribute {name!r}")
    return getattr(import_module(f"manifoldscope.{_ROOM_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
