"""Points in, numbers out: what one class manifold looks like. Tensors only; no networks, files or printing."""

from manifoldscope.geometry.cloud import Cloud, Clouds
from manifoldscope.geometry.correlation import FeatureCorrelation, feature_correlation
from manifoldscope.geometry.dimension import PowerLaw, participation_ratio, pca_dimension, power_law
from manifoldscope.geometry.estimate import (
    INVARIANCES,
    MEASURES,
    NEAR_CEILING,
    Estimate,
    JointEstimate,
    Reads,
    measure,
)
from manifoldscope.geometry.manifold import ClassManifold, Points, as_points
from manifoldscope.geometry.moments import Covariance, Gram, Scaling
from manifoldscope.geometry.sampling import (
    UNSTABLE,
    Curve,
    JointNull,
    Null,
    Reliability,
    curve,
    equal_sizes,
    expected_decay_exponent,
    extrapolate,
    gaussian_null,
    halves,
    measure_at,
    reliability,
    shuffled_labels,
    subsampled,
)
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
    "Estimate",
    "FeatureCorrelation",
    "Gram",
    "JointEstimate",
    "JointNull",
    "Null",
    "Points",
    "PowerLaw",
    "Reads",
    "Reliability",
    "Scaling",
    "Spectrum",
    "as_points",
    "curve",
    "equal_sizes",
    "expected_decay_exponent",
    "extrapolate",
    "feature_correlation",
    "gaussian_null",
    "halves",
    "measure",
    "measure_at",
    "participation_ratio",
    "pca_dimension",
    "power_law",
    "reliability",
    "shuffled_labels",
    "spectra",
    "standardise",
    "subsampled",
]
