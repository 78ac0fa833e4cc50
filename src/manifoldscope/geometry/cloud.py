"""Cloud and Clouds: points to be measured, and what has been read off them so far, so that measures share the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.distances import Neighbours, norms_of
from manifoldscope.geometry.dominance import Dominant, dominant_points
from manifoldscope.geometry.manifold import ClassManifold, Points, as_points, resolution_of
from manifoldscope.geometry.moments import Scaling, check_scaling, on_float64_device
from manifoldscope.geometry.spectrum import Spectrum, reduced_and_merged, spectra, standardise

Result = TypeVar("Result")

_FIRST_NEIGHBOURS = 20
"""How many neighbours are found when any are asked for: the search costs the same for one as for twenty."""


_WORTH_REDUCING = 4
"""How many times more features than points a cloud has, at least, where it is worth reducing."""


class Cloud:
    """One cloud of points, and what has been read off it so far.

    A spectrum or a search for neighbours that one measure has asked for is there for the next one.

    Args:
        points: (n_points, n_features), at least two points.
        scaling: "standardise" scales each feature to unit variance first (see `standardise`).

    Raises:
        GeometryError: fewer than two points, NaN or infinity.

    Example:
        >>> import torch
        >>> cloud = Cloud(torch.eye(4))
        >>> cloud.n_points, cloud.spectrum is cloud.spectrum
        (4, True)
    """

    def __init__(self, points: Points | ClassManifold, *, scaling: Scaling = "none") -> None:
        check_scaling(scaling)
        self._resolution = resolution_of(points)
        self._raw = as_points(points)
        self._norms: Tensor | None = None  # where the points have been moved since
        self._n_features = self._raw.shape[1]
        self.scaling: Scaling = scaling
        self._neighbours: Neighbours | None = None
        if len(self._raw) < 2:
            raise GeometryError(
                f"{len(self._raw)} point has no geometry; a manifold needs at least 2 images of the class"
            )

    @property
    def n_points(self) -> int:
        """Number of points."""
        return self._raw.shape[0]

    @property
    def n_features(self) -> int:
        """Number of features of the layer."""
        return self._n_features

    @cached_property
    def points(self) -> Tensor:
        """(n_points, n_features), float32 or float64, scaled as asked for."""
        return self._raw if self.scaling == "none" else standardise(self._raw)

    @cached_property
    def spectrum(self) -> Spectrum:
        """The variances along the principal axes."""
        return replace(Spectrum.of(self._raw, scaling=self.scaling), n_features=self.n_features)

    @cached_property
    def dominant(self) -> Dominant | None:
        """The one to three points that carry much of the variance, where there are such; see `dominant_points`."""
        return dominant_points(self.points)

    def neighbours(self, k: int) -> Neighbours:
        """The k nearest neighbours of each distinct point (fewer where there are fewer other points).

        Which points are equal up to rounding is seen before they are scaled.
        """
        if self._neighbours is None or self._neighbours.k < min(k, self._neighbours.n_points - 1):
            self._neighbours = self._search(max(k, _FIRST_NEIGHBOURS))
        return self._neighbours.first(k)

    def _search(self, k: int) -> Neighbours:
        equal: dict[str, Any] = {"resolution": self._resolution, "norms": self._norms}
        if self.scaling == "none":
            return Neighbours.of(self._raw, k=k, **equal)
        distinct = Neighbours.of(self._raw, k=1, **equal)
        if distinct.n_points < 2:
            return distinct
        found = Neighbours.of(self.points[distinct.kept], k=k, resolution=0.0)
        return replace(found, kept=distinct.kept[found.kept], n_duplicates=self.n_points - found.n_points)

    def subset(self, rows: Tensor) -> Cloud:
        """Some of the points, by their numbers, as a cloud of their own."""
        rows = rows.to(self._raw.device)
        some = Cloud(self._raw[rows], scaling=self.scaling).of_layer(self.n_features)
        return some._seen(self._resolution, None if self._norms is None else self._norms[rows])

    def without(self, rows: Sequence[int]) -> Cloud:
        """All but some of the points, by their numbers."""
        kept = torch.ones(self.n_points, dtype=torch.bool)
        kept[list(rows)] = False
        return self.subset(kept.nonzero().flatten())

    def reduced(self) -> Cloud:
        """The same cloud in as few coordinates as it has points, where that is far fewer than its features.

        See `spectrum.reduced`: nothing that a rotation and a shift leave alone changes. A standardised cloud stays as
        it is, since a part of it is standardised anew; so does one with points so near to one another that reduced
        coordinates would not tell them apart, though their type does.
        """
        if self.scaling != "none" or self._raw.shape[1] < _WORTH_REDUCING * self.n_points:
            return self
        few = _reduced([self])
        return few[0] if few else self

    def _seen(self, resolution: float, norms: Tensor | None) -> Cloud:
        """The same cloud, of points that had these norms and were of a type of this resolution."""
        self._resolution, self._norms = resolution, norms
        return self

    def of_layer(self, n_features: int) -> Cloud:
        """The same cloud, known to be of a layer of that many features, though shown in fewer coordinates."""
        self._n_features = n_features
        return self


class Clouds(Sequence[Cloud]):
    """The clouds of several classes in one layer, and what has been computed from all of them so far.

    Args:
        manifolds: (n_points, n_features) each; numbers of points may differ, the features must not.
        scaling: "standardise" scales each feature to unit variance first: within each class for a measure of one class,
            and over all classes together for a joint measure, which would not find the classes apart otherwise.

    Raises:
        GeometryError: no manifolds, those of several layers, different numbers of features, or a manifold that cannot
            be measured.

    Example:
        >>> import torch
        >>> clouds = Clouds([torch.eye(4), torch.ones(3, 4)])
        >>> len(clouds), clouds.n_features, clouds.n_points
        (2, 4, 7)
    """

    def __init__(self, manifolds: Sequence[Points | ClassManifold], *, scaling: Scaling = "none") -> None:
        layers = dict.fromkeys(each.layer for each in manifolds if isinstance(each, ClassManifold) and each.layer)
        if len(layers) > 1:
            raise GeometryError(
                f"the manifolds are of the layers {', '.join(map(repr, layers))}; expected those of one layer"
            )
        self._hold([Cloud(manifold, scaling=scaling) for manifold in manifolds], scaling)

    def _hold(self, clouds: list[Cloud], scaling: Scaling) -> None:
        if not clouds:
            raise GeometryError("there are no manifolds to measure; give a list of (n_points, n_features), one a class")
        widths = sorted({cloud.n_features for cloud in clouds})
        if len(widths) > 1:
            raise GeometryError(f"the manifolds have {widths[0]} to {widths[-1]} features; expected those of one layer")
        self._clouds = clouds
        self.scaling: Scaling = scaling
        self._known: dict[tuple[Any, ...], Any] = {}

    @classmethod
    def together(cls, clouds: Sequence[Cloud]) -> Clouds:
        """Clouds that are there already, with what has been read off each.

        Raises:
            GeometryError: no clouds, or clouds of several scalings or numbers of features.
        """
        scalings = sorted({cloud.scaling for cloud in clouds})
        if len(scalings) > 1:
            raise GeometryError(f"the clouds were read with scalings {scalings}; expected one")
        made = cls.__new__(cls)
        made._hold(list(clouds), scalings[0] if scalings else "none")
        return made

    def __len__(self) -> int:
        return len(self._clouds)

    def __getitem__(self, place: Any) -> Any:
        return self._clouds[place]

    def __iter__(self) -> Iterator[Cloud]:
        return iter(self._clouds)

    @property
    def n_points(self) -> int:
        """Number of points of all classes together."""
        return sum(cloud.n_points for cloud in self._clouds)

    @property
    def n_features(self) -> int:
        """Number of features of the layer."""
        return self._clouds[0].n_features

    @cached_property
    def points(self) -> list[Tensor]:
        """(n_points, n_features) of each class; with scaling, over all classes together."""
        apart = [cloud._raw for cloud in self._clouds]
        if self.scaling == "none":
            return apart
        return list(torch.split(standardise(torch.cat(apart)), [len(points) for points in apart]))

    def once(self, function: Callable[..., Result], **settings: Any) -> Result:
        """`function(self.points, **settings)`, computed the first time and remembered.

        It is for what several measures read off one computation, as capacity, radius and dimension do.
        """
        key = (function, *sorted(settings.items()))
        if key not in self._known:
            self._known[key] = function(self.points, **settings)
        result: Result = self._known[key]
        return result

    def with_spectra(self) -> Clouds:
        """The same, every spectrum computed in one batch: faster than one by one for many small classes."""
        together = spectra([cloud._raw for cloud in self._clouds], scaling=self.scaling)
        for cloud, spectrum in zip(self._clouds, together, strict=True):
            cloud.__dict__.setdefault("spectrum", replace(spectrum, n_features=cloud.n_features))
        return self

    def subset(self, rows: Sequence[Tensor]) -> Clouds:
        """Some of the points of each class, by their numbers within the class."""
        return Clouds.together([cloud.subset(some) for cloud, some in zip(self._clouds, rows, strict=True)])

    def reduced(self) -> Clouds:
        """The same clouds in as few coordinates as they have points together, where that is far fewer; see `Cloud`."""
        if self.scaling != "none" or self._clouds[0]._raw.shape[1] < _WORTH_REDUCING * self.n_points:
            return self
        few = _reduced(self._clouds)
        return Clouds.together(few) if few else self


def _reduced(clouds: Sequence[Cloud]) -> list[Cloud]:
    """Clouds of one layer in few coordinates; none where these would merge points that are not equal."""
    points = [cloud._raw for cloud in clouds]
    few, merged_with = reduced_and_merged(points)
    norms = torch.cat([norms_of(each._raw) if each._norms is None else each._norms for each in clouds])
    sizes = [len(each) for each in points]
    merged = (merged_with != torch.arange(len(merged_with), device=merged_with.device)).nonzero().flatten()
    if len(merged):
        resolution = torch.cat([torch.full((cloud.n_points,), cloud._resolution) for cloud in clouds])
        for row, other in zip(merged.tolist(), merged_with[merged].tolist(), strict=True):
            apart = float((_row(points, row) - _row(points, other)).norm())
            if apart > float(resolution[row] * torch.maximum(norms[row], norms[other])):
                return []
    return [
        Cloud(coordinates).of_layer(cloud.n_features)._seen(cloud._resolution, own)
        for coordinates, cloud, own in zip(few, clouds, torch.split(norms, sizes), strict=True)
    ]


def _row(matrices: Sequence[Tensor], row: int) -> Tensor:
    """One of the rows of all, in float64."""
    for matrix in matrices:
        if row < len(matrix):
            return on_float64_device(matrix[row]).to(torch.float64)
        row -= len(matrix)
    raise IndexError(row)
