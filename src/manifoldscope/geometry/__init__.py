"""Points in, numbers out: what one class manifold looks like. Tensors only; no networks, files or printing.

Every measure is here by its name: `two_nn(points)`, `capacity([cats, dogs], margin=0.1)`; `measure("two_nn", points)`
is the same, for names out of a configuration.
"""

from manifoldscope.geometry.capacity import (
    ManifoldCapacity,
    ball_capacity,
    capacity,
    manifold_dimension,
    mean_field_geometry,
    radius,
)
from manifoldscope.geometry.class_curve import ClassCurve, class_curve
from manifoldscope.geometry.cloud import Cloud, Clouds
from manifoldscope.geometry.collapse import (
    nc1_variability,
    nc2_equiangularity,
    nc2_equinorm,
    nc4_nearest_centroid,
    nearest_centroid_disagreement,
    self_duality,
)
from manifoldscope.geometry.correlation import FeatureCorrelation, feature_correlation
from manifoldscope.geometry.dimension import (
    PowerLaw,
    decay_exponent,
    effective_rank,
    participation_ratio,
    participation_ratio_corrected,
    pca_dimension,
    power_law,
    stable_rank,
)
from manifoldscope.geometry.displacement import Displacement, displacement, displacement_estimates
from manifoldscope.geometry.distances import Neighbours
from manifoldscope.geometry.effective import (
    EffectiveGeometry,
    effective_alignment,
    effective_capacity,
    effective_dimension,
    effective_geometry,
    effective_radius,
)
from manifoldscope.geometry.estimate import NEAR_CEILING, Estimate, JointEstimate
from manifoldscope.geometry.extrapolation import expected_decay_exponent, extrapolate
from manifoldscope.geometry.manifold import ClassManifold, Points, as_points
from manifoldscope.geometry.measures import INVARIANCES, MEASURES, Reads, measure
from manifoldscope.geometry.moments import Covariance, Gram, Scaling
from manifoldscope.geometry.neighbours import gride, gride_curve, local_pca, mle, two_nn
from manifoldscope.geometry.nulls import JointNull, Null, gaussian_null, shuffled_labels
from manifoldscope.geometry.rankme import rankme
from manifoldscope.geometry.reliability import Reliability, reliability
from manifoldscope.geometry.sampling import UNSTABLE, Curve, curve, equal_sizes, halves, measure_at, subsampled
from manifoldscope.geometry.separability import SimulatedCapacity, simulate_capacity, simulated_capacity
from manifoldscope.geometry.separation import (
    centroid_cosine,
    centroid_distance,
    linear_margin,
    nearest_classes,
    within_between_ratio,
)
from manifoldscope.geometry.spectrum import Spectrum, spectra, standardise

__all__ = [
    "INVARIANCES",
    "MEASURES",
    "NEAR_CEILING",
    "UNSTABLE",
    "ClassCurve",
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
    "centroid_cosine",
    "centroid_distance",
    "class_curve",
    "curve",
    "decay_exponent",
    "displacement",
    "displacement_estimates",
    "effective_alignment",
    "effective_capacity",
    "effective_dimension",
    "effective_geometry",
    "effective_radius",
    "effective_rank",
    "equal_sizes",
    "expected_decay_exponent",
    "extrapolate",
    "feature_correlation",
    "gaussian_null",
    "gride",
    "gride_curve",
    "halves",
    "linear_margin",
    "local_pca",
    "manifold_dimension",
    "mean_field_geometry",
    "measure",
    "measure_at",
    "mle",
    "nc1_variability",
    "nc2_equiangularity",
    "nc2_equinorm",
    "nc4_nearest_centroid",
    "nearest_centroid_disagreement",
    "nearest_classes",
    "participation_ratio",
    "participation_ratio_corrected",
    "pca_dimension",
    "power_law",
    "radius",
    "rankme",
    "reliability",
    "self_duality",
    "shuffled_labels",
    "simulate_capacity",
    "simulated_capacity",
    "spectra",
    "stable_rank",
    "standardise",
    "subsampled",
    "two_nn",
    "within_between_ratio",
]
