"""What a measure shows of clouds in which there is nothing to find."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.cloud import Cloud, Clouds
from manifoldscope.geometry.estimate import Estimate
from manifoldscope.geometry.manifold import ClassManifold, as_points, resolution_of
from manifoldscope.geometry.measures import MEASURES, measure
from manifoldscope.geometry.moments import Scaling
from manifoldscope.geometry.subsets import (
    EQUAL,
    Manifold,
    Place,
    as_subject,
    finite_or_reason,
    mean_of,
    parts_of,
    parts_or_reason,
    require_at_least_one,
    single,
    sizes_of,
    standard_deviation,
    whole_or_reason,
)


@dataclass(frozen=True)
class Null:
    """What a measure shows of clouds in which there is nothing to find, and where the observed value falls among them.

    Attributes:
        observed: the value of the cloud itself.
        values: those of the draws, ascending.
        note: what a reader must know before using it; empty where there is nothing.

    Example:
        >>> null = Null(observed=9.0, values=(1.0, 2.0, 3.0))
        >>> null.mean, null.sd, null.z, null.p_value, null.quantile(0.5)
        (2.0, 1.0, 7.0, 0.5, 2.0)
    """

    observed: float
    values: tuple[float, ...]
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(sorted(self.values)))
        if not self.note and not (self.values and all(map(math.isfinite, [self.observed, *self.values]))):
            raise GeometryError("a null without values, or with one that is not finite, needs a note that says why")

    @property
    def mean(self) -> float:
        """Of the draws; NaN where there are none."""
        return mean_of(self.values)

    @property
    def sd(self) -> float:
        """Standard deviation over the draws; 0 where they differ by rounding only, NaN where there are none."""
        return standard_deviation(self.values)

    @property
    def z(self) -> float:
        """How many standard deviations the observed value lies above the mean of the draws.

        0 where it differs from the mean by rounding only; infinite where it differs and the draws do not.
        """
        above = self.observed - self.mean
        if abs(above) <= EQUAL * abs(self.mean):
            return 0.0
        return above / self.sd if self.sd else math.copysign(math.inf, above)

    @property
    def p_value(self) -> float:
        """Two-sided, by rank: twice the smaller share of values as far out, the observed one counted among them.

        It cannot be below 2 / (draws + 1): twenty draws cannot show a p of 0.05. NaN where there is no value.
        """
        if math.isnan(self.observed) or not self.values:
            return math.nan
        slack = EQUAL * abs(self.observed)
        as_high = sum(value >= self.observed - slack for value in self.values)
        as_low = sum(value <= self.observed + slack for value in self.values)
        return min(1.0, 2 * (1 + min(as_high, as_low)) / (1 + len(self.values)))

    def quantile(self, share: float) -> float:
        """The value below which this share of the draws lies, interpolated; NaN where there are none.

        Raises:
            GeometryError: a share outside [0, 1].
        """
        if not 0 <= share <= 1:
            raise GeometryError(f"share = {share}; expected one from 0 to 1, as 0.975")
        return float(np.quantile(self.values, share)) if self.values else math.nan


@dataclass(frozen=True)
class JointNull:
    """What a measure shows of classes in which there is nothing to find.

    Attributes:
        classes: of each class, in the order given; empty where the measure has none.
        whole: of the layer as a whole; the mean over the classes where the measure has no such value.
        pairs: by the places (i, j) of two classes; empty where the measure does not compare pairs.
    """

    classes: tuple[Null, ...] = ()
    whole: Null | None = None
    pairs: Mapping[tuple[int, int], Null] = field(default_factory=dict)


def gaussian_null(
    name: str,
    points: Manifold | Cloud,
    *,
    covariance: Literal["isotropic", "same"] = "isotropic",
    draws: int = 20,
    generator: torch.Generator,
    scaling: Scaling = "none",
    **parameters: Any,
) -> Null:
    """A measure of Gaussian clouds with as many points and features.

    "isotropic": all features independent and of one variance, that gives the same total on average. It shows what the
    numbers of points and features alone give; a class with any structure at all lies below.

    "same": the covariance of the sample is exactly that of the points, and all else is Gaussian. A measure that reads
    the spectrum shows the same value each time; what another one shows beyond this null is not of second order
    (curvature, clusters, heavy tails). For a Gaussian cloud of any covariance, how its points lie is independent of
    their sample covariance, so that the rank of the observed value tests just that, whatever the number of points.
    Clouds drawn from the sample's covariance instead would have the bias of a sample twice.

    Args:
        name: one of `MEASURES.names()`, not a joint measure.
        points: (n_points, n_features).
        covariance: "isotropic" or "same".
        draws: how many Gaussian clouds.
        generator: a CPU generator that draws them.
        scaling: as for `measure`.
        **parameters: of the measure.

    Raises:
        GeometryError: as `measure`; no draws, or another covariance.

    References:
        Anderson, An Introduction to Multivariate Statistical Analysis (2003), section 7.2: the triangular form of a
        Gaussian sample, which stands for all features where the measure does not change with rotation.

    Example:
        >>> points = torch.randn(30, 400, generator=torch.Generator().manual_seed(0))
        >>> null = gaussian_null("participation_ratio", points, generator=torch.Generator().manual_seed(1))
        >>> round(null.observed, 1), round(null.mean, 1), null.p_value > 0.05
        (26.9, 27.0, True)
    """
    require_at_least_one("draws", draws)
    if covariance not in ("isotropic", "same"):
        raise GeometryError(f"covariance = {covariance!r}; expected 'isotropic' or 'same'")
    cloud = single(as_subject(points, [name], scaling))
    settings = MEASURES[name].validate(parameters)
    observed = measure(name, cloud, **settings)
    clouds = _isotropic(name, cloud, draws, generator) if covariance == "isotropic" else _alike(cloud, draws, generator)
    return _null(observed, [whole_or_reason(name, drawn, settings) for drawn in clouds])


def shuffled_labels(
    name: str,
    manifolds: Sequence[Manifold],
    *,
    draws: int = 20,
    generator: torch.Generator,
    scaling: Scaling = "none",
    **parameters: Any,
) -> JointNull:
    """A measure of classes whose points have been pooled and dealt out again, each class as many as it had.

    It shows what groups of images that have nothing in common give, in the same layer and of the same sizes.

    Args:
        name: one of `MEASURES.names()`.
        manifolds: (n_points, n_features) each, of one layer, on one device.
        draws: how many times the points are dealt.
        generator: a CPU generator that deals them.
        scaling: as for `measure`.
        **parameters: of the measure.

    Returns:
        A null for each class, for the whole (the mean over classes where the measure gives none) and for each pair.

    Raises:
        GeometryError: as `measure`; no draws, or fewer than two classes.

    Example:
        >>> noise = torch.randn(2, 30, 6, generator=torch.Generator().manual_seed(0))
        >>> classes = [noise[0] * torch.tensor([1, 1, 0.1, 0.1, 0.1, 0.1]), noise[1]]
        >>> null = shuffled_labels("pca_dimension", classes, generator=torch.Generator().manual_seed(1))
        >>> [each.observed for each in null.classes], null.whole.observed, null.whole.mean
        ([2.0, 6.0], 4.0, 5.2)
    """
    require_at_least_one("draws", draws)
    sizes = sizes_of(Clouds(manifolds))
    if len(sizes) < 2:
        raise GeometryError("one class has no labels to shuffle; give the points of at least two")
    settings = MEASURES[name].validate(parameters)
    together = ClassManifold(
        torch.cat([as_points(each) for each in manifolds]), resolution=max(resolution_of(each) for each in manifolds)
    )
    pool = single(as_subject(together, [name], scaling))

    def dealt(order: Tensor) -> Clouds:
        return Clouds.together([pool.subset(rows) for rows in torch.split(order, sizes)])

    observed = parts_of(measure(name, dealt(torch.arange(sum(sizes))), **settings))
    tried: dict[Place, list[Estimate | str]] = {place: [] for place in observed}
    n_classes = sum(isinstance(place, int) for place in observed)
    means: list[float] = []
    for _ in range(draws):
        found = parts_or_reason(name, dealt(torch.randperm(sum(sizes), generator=generator)), settings)
        for place, seen in tried.items():
            seen.append(found if isinstance(found, str) else finite_or_reason(found[place]))
        if not isinstance(found, str) and n_classes:
            means.append(mean_of([found[place].value for place in range(n_classes)]))
    nulls = {place: _null(estimate, tried[place]) for place, estimate in observed.items()}
    whole = nulls.get("whole")
    if whole is None and n_classes:
        whole = _null_of_means(mean_of([observed[place].value for place in range(n_classes)]), means)
    return JointNull(
        classes=tuple(nulls[place] for place in range(n_classes)),
        whole=whole,
        pairs={place: null for place, null in nulls.items() if isinstance(place, tuple)},
    )


def _null(observed: Estimate, tried: Sequence[Estimate | str]) -> Null:
    values = tuple(found.value for found in tried if isinstance(found, Estimate))
    reasons = [found for found in tried if isinstance(found, str)]
    notes = [] if math.isfinite(observed.value) else [observed.note or f"the observed value is {observed.value}"]
    if reasons:
        notes.append(f"{len(reasons)} of {len(tried)} draws have no value: {reasons[0]}")
    return Null(observed.value, values, note="; ".join(notes))


def _null_of_means(observed: float, means: Sequence[float]) -> Null:
    finite = tuple(mean for mean in means if math.isfinite(mean))
    complete = len(finite) == len(means) > 0 and math.isfinite(observed)
    return Null(observed, finite, note="" if complete else "some classes have no value, and so no mean over classes")


def _isotropic(name: str, cloud: Cloud, draws: int, generator: torch.Generator) -> Iterator[Cloud]:
    """Clouds of independent features, all of one variance that makes up the same total."""
    n_points, n_features = cloud.n_points, cloud.n_features
    scale = math.sqrt(cloud.spectrum.total_variance / n_features)
    device = cloud.points.device
    blind = {"rotation", "shift"} <= set(MEASURES[name].traits["invariant_to"])
    for _ in range(draws):
        if blind and cloud.scaling == "none" and n_features > n_points:
            drawn = _triangular(n_points, n_features, generator) * scale
            yield Cloud(drawn.to(device)).of_layer(n_features)
        else:
            drawn = torch.randn(n_points, n_features, dtype=torch.float64, generator=generator) * scale
            centroid = 0.0 if blind else cloud.points.mean(0, dtype=torch.float64)
            yield Cloud(drawn.to(device) + centroid, scaling=cloud.scaling)


def _triangular(n_points: int, n_features: int, generator: torch.Generator) -> Tensor:
    """(n_points, n_points) float64: a standard Gaussian sample of n_features >= n_points, turned until triangular."""
    numbers = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    lower = torch.randn(n_points, n_points, dtype=torch.float64, generator=generator).tril(-1)
    lengths = np.sqrt(numbers.chisquare(n_features - np.arange(n_points)))
    return lower + torch.diag(torch.from_numpy(lengths))


def _alike(cloud: Cloud, draws: int, generator: torch.Generator) -> Iterator[Cloud]:
    """Gaussian clouds whose sample covariance and mean are those of the cloud."""
    points = cloud.points.to(torch.float64)
    centroid = points.mean(0)
    _, lengths, axes = torch.linalg.svd(points - centroid, full_matrices=False)
    rank = min(cloud.n_points - 1, points.shape[1])
    axes = lengths[:rank, None] * axes[:rank]
    for _ in range(draws):
        drawn = torch.randn(cloud.n_points, rank, dtype=torch.float64, generator=generator)
        scores, upper = torch.linalg.qr((drawn - drawn.mean(0)).to(points.device))
        turned = scores * upper.diagonal().sign()  # without it the directions would not be uniform
        yield Cloud(turned @ axes + centroid, scaling=cloud.scaling).of_layer(cloud.n_features)
