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
from manifoldscope.geometry.sampling import UNSTABLE, halves, with_half_sample_note
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
    "Estimate",
    "FeatureCorrelation",
    "Gram",
    "JointEstimate",
    "Points",
    "PowerLaw",
    "Reads",
    "Scaling",
    "Spectrum",
    "as_points",
    "feature_correlation",
    "halves",
    "measure",
    "participation_ratio",
    "pca_dimension",
    "power_law",
    "spectra",
    "standardise",
    "with_half_sample_note",
]
