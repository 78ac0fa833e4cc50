"""Points in, numbers out: what one class manifold looks like. Tensors only; no networks, files or printing."""

from manifoldscope.geometry.capacity import ManifoldCapacity, ball_capacity, capacity
from manifoldscope.geometry.cloud import Cloud, Clouds
from manifoldscope.geometry.correlation import FeatureCorrelation, feature_correlation
from manifoldscope.geometry.dimension import PowerLaw, participation_ratio, pca_dimension, power_law
from manifoldscope.geometry.displacement import Displacement, displacement, displacement_estimates
from manifoldscope.geometry.distances import Neighbours
from manifoldscope.geometry.effective import EffectiveGeometry, effective_geometry
from manifoldscope.geometry.estimate import (
    INVARIANCES,
    MEASURES,
    NEAR_CEILING,
    Estimate,
    JointEstimate,
    Reads,
    measure,
)
from manifoldscope.geometry.extrapolation import expected_decay_exponent, extrapolate
from manifoldscope.geometry.manifold import ClassManifold, Points, as_points
from manifoldscope.geometry.moments import Covariance, Gram, Scaling
from manifoldscope.geometry.neighbours import gride_curve
from manifoldscope.geometry.nulls import JointNull, Null, gaussian_null, shuffled_labels
from manifoldscope.geometry.reliability import Reliability, reliability
from manifoldscope.geometry.sampling import UNSTABLE, Curve, curve, equal_sizes, halves, measure_at, subsampled
from manifoldscope.geometry.separability import SimulatedCapacity, simulated_capacity
from manifoldscope.geometry.separation import nearest_classes
from manifoldscope.geometry.spectrum import Spectrum, spectra, standardise

__all__ = [
    "INVARIANCES",
    "MEASURES",
    "NEAR_CEILING",
    "UNSTABLE",
    "ClassManifold",
    "Cloud",
    "Clouds",
    "Covariance",
    "Curve",
    "Displacement",
    "EffectiveGeometry",
    "Estimate",
    "FeatureCorrelation",
    "Gram",
    "JointEstimate",
    "JointNull",
    "ManifoldCapacity",
    "Neighbours",
    "Null",
    "Points",
    "PowerLaw",
    "Reads",
    "Reliability",
    "Scaling",
    "SimulatedCapacity",
    "Spectrum",
    "as_points",
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
    "halves",
    "measure",
    "measure_at",
    "nearest_classes",
    "participation_ratio",
    "pca_dimension",
    "power_law",
    "reliability",
    "shuffled_labels",
    "simulated_capacity",
    "spectra",
    "standardise",
    "subsampled",
]
