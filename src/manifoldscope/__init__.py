"""Why does this vision network fail on these classes? The geometry of class manifolds beside robustness.

>>> import manifoldscope as ms
>>> images = ms.images("digits", images_per_class=20, seed=0)
>>> network = ms.network("small:cnn", channels=1, size=8, n_classes=10)
>>> manifolds = ms.activations(network, images, layers=["penultimate"])
>>> ms.Spectrum.of(manifolds[0].points).dimension(0.95) <= 19
True
>>> ms.evaluate(network, images, ms.PGD(epsilon=0.1, steps=5), seed=0).robust_accuracy <= 1
True

Names are loaded when they are first used, so that the command line answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manifoldscope import geometry
    from manifoldscope.api import Result, associate_outcome, run, status
    from manifoldscope.attacks import (
        APGDCE,
        APGDT,
        FABT,
        FGSM,
        PGD,
        AutoAttack,
        Outcomes,
        Perturbation,
        Rotation,
        Square,
        Translation,
        UniformNoise,
        accuracy_by_class,
        evaluate,
        minimal_perturbation,
        ood_detection,
        re_evaluate,
        robustness_curve,
        save_images,
        transfer,
    )
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
        mean_field_geometry,
        measure,
        measure_at,
        nearest_classes,
        power_law,
        reliability,
        shuffled_labels,
        simulate_capacity,
        simulated_capacity,
        spectra,
        subsampled,
    )
    from manifoldscope.recordings import (
        Axes,
        Joined,
        PointSet,
        join_outcome,
        load_manifolds,
        load_points,
        load_sets,
        measured,
        save_manifolds,
        stepwise,
    )
    from manifoldscope.report import diagnose
    from manifoldscope.study import Study, load
    from manifoldscope.training import fit
    from manifoldscope.vision import ImageSet, Layer, Network
    from manifoldscope.vision.activations import activations
    from manifoldscope.vision.datasets import images
    from manifoldscope.vision.fast import FastNetwork, faster
    from manifoldscope.vision.jacobian import JacobianNorms, jacobian_norm, jacobian_norms
    from manifoldscope.vision.sources import network

__version__ = "0.1.0"

__all__ = [
    "APGDCE",
    "APGDT",
    "FABT",
    "FGSM",
    "PGD",
    "AutoAttack",
    "Axes",
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
    "Joined",
    "JointEstimate",
    "JointNull",
    "Layer",
    "ManifoldCapacity",
    "ManifoldscopeError",
    "Neighbours",
    "Network",
    "Null",
    "Outcomes",
    "Perturbation",
    "PointSet",
    "PowerLaw",
    "Reliability",
    "Result",
    "Rotation",
    "SimulatedCapacity",
    "Spectrum",
    "Square",
    "Study",
    "Translation",
    "UniformNoise",
    "accuracy_by_class",
    "activations",
    "associate",
    "associate_outcome",
    "association_table",
    "ball_capacity",
    "capacity",
    "curve",
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
    "geometry",
    "gride_curve",
    "images",
    "jacobian_norm",
    "jacobian_norms",
    "join_outcome",
    "load",
    "load_manifolds",
    "load_points",
    "load_sets",
    "mean_field_geometry",
    "measure",
    "measure_at",
    "measured",
    "minimal_perturbation",
    "nearest_classes",
    "network",
    "ood_detection",
    "power_law",
    "re_evaluate",
    "reliability",
    "robustness_curve",
    "run",
    "save_images",
    "save_manifolds",
    "shuffled_labels",
    "simulate_capacity",
    "simulated_capacity",
    "spectra",
    "status",
    "stepwise",
    "subsampled",
    "transfer",
]

_ROOMS = {
    "api": ("Result", "associate_outcome", "run", "status"),
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
        "mean_field_geometry",
        "measure",
        "measure_at",
        "nearest_classes",
        "power_law",
        "reliability",
        "shuffled_labels",
        "simulate_capacity",
        "simulated_capacity",
        "spectra",
        "subsampled",
    ),
    "recordings": (
        "Axes",
        "Joined",
        "PointSet",
        "join_outcome",
        "load_manifolds",
        "load_points",
        "load_sets",
        "measured",
        "save_manifolds",
        "stepwise",
    ),
    "report": ("diagnose",),
    "attacks": (
        "APGDCE",
        "APGDT",
        "FABT",
        "FGSM",
        "PGD",
        "AutoAttack",
        "Rotation",
        "Square",
        "Perturbation",
        "Translation",
        "UniformNoise",
        "Outcomes",
        "accuracy_by_class",
        "ood_detection",
        "evaluate",
        "save_images",
        "re_evaluate",
        "robustness_curve",
        "minimal_perturbation",
        "transfer",
    ),
    "study": ("Study", "load"),
    "training": ("fit",),
    "vision": ("ImageSet", "Layer", "Network"),
    "vision.activations": ("activations",),
    "vision.datasets": ("images",),
    "vision.fast": ("FastNetwork", "faster"),
    "vision.jacobian": ("JacobianNorms", "jacobian_norms", "jacobian_norm"),
    "vision.sources": ("network",),
}
_NAMESPACES = ("geometry",)
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _NAMESPACES:
        return import_module(f"manifoldscope.{name}")
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'manifoldscope' has no attribute {name!r}")
    return getattr(import_module(f"manifoldscope.{_ROOM_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
