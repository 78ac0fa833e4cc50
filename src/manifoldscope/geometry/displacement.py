"""Where attacked images go: how far an activation moves, and which share of that lies along its own class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.estimate import Estimate
from manifoldscope.geometry.manifold import ClassManifold, Points, as_points
from manifoldscope.geometry.moments import blocks, on_float64_device
from manifoldscope.geometry.spectrum import Spectrum

_ROUNDING = 8
"""How many units in the last place of an activation a displacement may have and still count as none."""

_INSIDE = 1e-9
"""A direction of which less than this share lies outside a subspace lies inside it."""


@dataclass(frozen=True)
class Mean:
    """A mean over images with its standard error.

    Attributes:
        value: NaN where there was no image to average over.
        stderr: standard deviation over the images / sqrt(their number); None for fewer than two images, and for what
            is known without a sample.
    """

    value: float
    stderr: float | None = None

    @classmethod
    def of(cls, values: Tensor) -> Mean:
        """The mean of some numbers.

        Example:
            >>> Mean.of(torch.tensor([2.0, 2.0]))
            Mean(value=2.0, stderr=0.0)
        """
        if not len(values):
            return cls(math.nan)
        stderr = float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else None
        return cls(float(values.mean()), stderr)


@dataclass(frozen=True)
class Shares:
    """The mean shares of squared length that lie in three parts of the layer; they add up to 1.

    Attributes:
        own: inside the subspace of the own class.
        toward: along what the direction to the other class's centroid has outside that subspace.
        outside: along neither.
        n: over how many vectors; 0 where the shares are expected ones.
    """

    own: Mean
    toward: Mean
    outside: Mean
    n: int


@dataclass(frozen=True)
class Displacement:
    """How the attacked images of one class moved, beside what other vectors show.

    Attributes:
        size: length of the displacement, in units of the features; 0 where no image moved.
        relative_size: the same over `radius`.
        cosine: between the displacement and the direction from the own centroid to the other, with its sign.
        attacked: shares of the displacements.
        held_out: shares of the deviations of clean held-out images from the centroid of their class.
        random: expected shares of directions that are uniform over the sphere of the layer: k / D, 1 / D and the rest.
        layer: shares of Gaussian directions with the covariance of the layer; None where no `layer` was given.
        radius: root of the total variance of `own`.
        n_axes: k, principal axes of the own subspace.
        direction_inside: share of the squared direction to the other centroid that lies inside the own subspace.
        n_images, n_moved: all images, and those that moved; sizes, cosines and shares are of the latter, since an image
            that was misclassified when clean is not attacked.
        n_features: D.
        fraction: of the variance of `own` in its subspace.
        note: what a reader must know; empty where there is nothing.
    """

    size: Mean
    relative_size: Mean
    cosine: Mean
    attacked: Shares
    held_out: Shares
    random: Shares
    layer: Shares | None
    radius: float
    n_axes: int
    direction_inside: float
    n_images: int
    n_moved: int
    n_features: int
    fraction: float
    note: str


def displacement(
    clean: Points | ClassManifold,
    adversarial: Points | ClassManifold,
    *,
    own: Points | ClassManifold,
    other: Points | ClassManifold,
    held_out: Points | ClassManifold,
    fraction: float = 0.95,
    layer: Points | ClassManifold | None = None,
    n_random: int = 1000,
    generator: torch.Generator | None = None,
) -> Displacement:
    """How far the attacked images of one class moved in a layer, and where to.

    The squared length of each displacement d = adversarial - clean is split in three parts that are orthogonal to each
    other, and so add up to 1: what lies in the span U of the principal axes that hold `fraction` of the variance of
    `own`; what lies along t, the direction from the centroid of `own` to that of `other` less its part inside U; and
    the rest. Whatever of the direction to the other class lies inside U counts as own: `direction_inside` says how much
    that is (of the digits at a small network's last hidden layer, 85%), and `cosine` tells, with its sign, how far
    displacements point at the other centroid as a whole. Shares are means over the images of each image's share.

    Which iterates. Adversarial images must come from a fixed number of steps. Those of an attack that stops at its
    first success lie just across the boundary, by construction, and say nothing of where the attack leads.

    A share says nothing alone. A subspace fits the images that it was made from: one from 50 images of a class may hold
    95% of their variance and 41% of that of other images of the class. So `own` must be other images than `clean` and
    `held_out`, and the shares of held-out deviations stand beside; as do those of random directions, uniform (k / D)
    and, where `layer` is given, with the covariance of the layer, which is not uniform at all.

    Args:
        clean, adversarial: (n_images, n_features), activations of the same images, row by row.
        own: (n_own, n_features), at least two, clean activations of other images of the class.
        other: (n_other, n_features), of the nearest other class; one row, its centroid, will do (see
            `nearest_classes`).
        held_out: (n_held_out, n_features), clean activations of the class; neither in `own` nor fitted to.
        fraction: of the variance of `own` that its subspace holds, in (0, 1].
        layer: (n_layer, n_features), at least two, clean activations of all classes, best of other images than `own`.
        n_random: how many directions are drawn with the covariance of `layer`.
        generator: a CPU generator for them; needed only with `layer`.

    Raises:
        GeometryError: clean and adversarial points that do not pair up, features that differ, NaN or infinity, fewer
            than two points of `own`, a fraction outside (0, 1], or `layer` without a generator.

    Example:
        >>> own = torch.tensor([[1.0, 0, 0, 0], [-1, 0, 0, 0]])
        >>> clean, moved = torch.zeros(2, 4), torch.tensor([[3.0, 4, 0, 0], [0, 0, 0, 2]])
        >>> other = torch.tensor([[0.0, 9, 0, 0]])
        >>> found = displacement(clean, moved, own=own, other=other, held_out=torch.eye(4))
        >>> found.size.value, round(found.attacked.own.value, 6), round(found.attacked.toward.value, 6)
        (3.5, 0.18, 0.32)
        >>> found.random.own.value, round(found.held_out.own.value, 6)
        (0.25, 0.25)
    """
    given = {"clean": clean, "adversarial": adversarial, "own": own, "other": other, "held_out": held_out}
    matrices = {name: _points(points) for name, points in given.items()}
    if layer is not None:
        matrices["layer"] = _points(layer)
    _check(matrices, layer is None or generator is not None, n_random)
    n_features = matrices["own"].shape[1]
    spectrum = Spectrum.of(matrices["own"])
    n_axes = spectrum.dimension(fraction)
    mixing = None
    if layer is not None:
        drawn = torch.randn(n_random, len(matrices["layer"]), dtype=torch.float64, generator=generator)
        mixing = (drawn - drawn.mean(1, keepdim=True)).to(matrices["layer"].device)  # of points from their mean
    parts = _split(matrices, mixing, n_axes)
    moved = parts.norms["moved"].sqrt() > _least(matrices["clean"], matrices["adversarial"])
    sizes = parts.norms["moved"].sqrt()[moved] if bool(moved.any()) else torch.zeros(1)
    radius = math.sqrt(spectrum.total_variance)
    notes = [
        _none_moved(moved),
        _without_direction(parts),
        "all points of the own class are the same: no subspace and no radius" if radius == 0 else "",
        *(_shared(matrices[name], matrices["own"], name) for name in ("clean", "held_out")),
    ]
    toward = 1.0 if parts.has_direction else 0.0
    return Displacement(
        size=Mean.of(sizes),
        relative_size=Mean.of(sizes / radius) if radius else Mean(math.nan),
        cosine=Mean.of(parts.cosines[moved]) if parts.length else Mean(math.nan),
        attacked=parts.shares("moved", moved),
        held_out=parts.shares("held_out", parts.norms["held_out"] > 0),
        random=Shares(
            Mean(n_axes / n_features),
            Mean(toward / n_features),
            Mean(1 - (n_axes + toward) / n_features),
            n=0,
        ),
        layer=parts.shares("layer", parts.norms["layer"] > 0) if mixing is not None else None,
        radius=radius,
        n_axes=n_axes,
        direction_inside=parts.direction_inside,
        n_images=len(moved),
        n_moved=int(moved.sum()),
        n_features=n_features,
        fraction=fraction,
        note="; ".join(filter(None, notes)),
    )


def displacement_estimates(
    clean: Points | ClassManifold,
    adversarial: Points | ClassManifold,
    *,
    own: Points | ClassManifold,
    other: Points | ClassManifold,
    held_out: Points | ClassManifold,
    fraction: float = 0.95,
    layer: Points | ClassManifold | None = None,
    n_random: int = 1000,
    generator: torch.Generator | None = None,
) -> dict[str, Estimate]:
    """`displacement` as rows of the table `geometry`: an estimate for each name of a measure.

    `displacement`, `displacement_relative`, `displacement_cosine` and `displacement_direction_inside` (how much of the
    direction to the other centroid counts as own); `displacement_own`, `displacement_toward` and
    `displacement_outside`; and each of these three again with `_held_out` and `_random` after it, and `_layer` where
    `layer` was given: what is to be compared.

    Args:
        clean, adversarial, own, other, held_out, fraction, layer, n_random, generator: see `displacement`.

    Raises:
        GeometryError: see `displacement`.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> points = torch.randn(5, 20, 30, generator=generator)
        >>> found = displacement_estimates(points[0], points[1], own=points[2], other=points[3], held_out=points[4])
        >>> sorted(found)[:4]
        ['displacement', 'displacement_cosine', 'displacement_direction_inside', 'displacement_outside']
    """
    found = displacement(
        clean,
        adversarial,
        own=own,
        other=other,
        held_out=held_out,
        fraction=fraction,
        layer=layer,
        n_random=n_random,
        generator=generator,
    )
    split = {"fraction": fraction}

    def estimate(mean: Mean, n_points: int, parameters: Mapping[str, Any], note: str) -> Estimate:
        return Estimate(
            mean.value,
            n_points=n_points,
            n_features=found.n_features,
            stderr=mean.stderr,
            parameters=parameters,
            note=note,
        )

    estimates = {
        "displacement": estimate(found.size, found.n_moved, {}, found.note),
        "displacement_relative": estimate(found.relative_size, found.n_moved, {}, found.note),
        "displacement_cosine": estimate(found.cosine, found.n_moved, {}, found.note),
        "displacement_direction_inside": estimate(Mean(found.direction_inside), found.n_images, split, found.note),
    }
    for suffix, shares in (
        ("", found.attacked),
        ("_held_out", found.held_out),
        ("_random", found.random),
        ("_layer", found.layer),
    ):
        if shares is None:
            continue
        parameters = {**split, "n_random": n_random} if suffix == "_layer" else split
        note = found.note if shares.n or suffix in ("", "_random") else "no such vector has a length"
        for part, mean in (("own", shares.own), ("toward", shares.toward), ("outside", shares.outside)):
            estimates[f"displacement_{part}{suffix}"] = estimate(mean, shares.n, parameters, note)
    return estimates


# -- the split ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Parts:
    """Squared lengths of several sets of vectors, and of their parts inside the own subspace and toward the other.

    Attributes:
        norms, own, toward: by the name of the set, (n,) float64 each.
        cosines: (n_images,) of displacements with the direction to the other centroid.
        length: of that direction.
        direction_inside: the share of its square inside the own subspace.
    """

    norms: Mapping[str, Tensor]
    own: Mapping[str, Tensor]
    toward: Mapping[str, Tensor]
    cosines: Tensor
    length: float
    direction_inside: float

    @property
    def has_direction(self) -> bool:
        """Whether anything of the direction to the other centroid lies outside the own subspace."""
        return self.length > 0 and 1 - self.direction_inside > _INSIDE

    def shares(self, name: str, kept: Tensor) -> Shares:
        norms = self.norms[name][kept]
        own = (self.own[name][kept] / norms).clamp(0, 1)
        toward = torch.minimum(self.toward[name][kept] / norms, 1 - own)
        return Shares(Mean.of(own), Mean.of(toward), Mean.of(1 - own - toward), n=len(norms))


def _split(matrices: Mapping[str, Tensor], mixing: Tensor | None, n_axes: int) -> _Parts:
    """Project all vectors on the first axes of `own` by inner products alone, some features at a time.

    With the points of `own` from their mean as rows of A, and A A^T = V L V^T, the principal axes are the rows of
    L^-1/2 V^T A: so what a vector x has along them is L^-1/2 V^T (A x).
    """
    n_features = matrices["own"].shape[1]
    gram = along = norms = direct = torch.zeros(())
    sizes: dict[str, int] = {}
    for columns in blocks(n_features, sum(map(len, matrices.values())) + (0 if mixing is None else len(mixing))):
        block = {name: matrix[:, columns].to(torch.float64) for name, matrix in matrices.items()}
        centroid = block["own"].mean(0)
        from_mean = block["own"] - centroid
        vectors = {
            "direction": (block["other"].mean(0) - centroid)[None],
            "moved": block["adversarial"] - block["clean"],
            "held_out": block["held_out"] - centroid,
        }
        if mixing is not None:
            vectors["layer"] = mixing @ (block["layer"] - block["layer"].mean(0))
        sizes = {name: len(some) for name, some in vectors.items()}
        stacked = torch.cat(list(vectors.values()))
        gram = gram + from_mean @ from_mean.T
        along = along + from_mean @ stacked.T
        norms = norms + stacked.square().sum(1)
        direct = direct + stacked @ stacked[0]
    values, axes = torch.linalg.eigh(gram)
    first = slice(len(values) - n_axes, None)
    inside = (axes[:, first].T @ along) / values[first, None].sqrt()
    squares = inside.square().sum(0)
    length = float(norms[0].sqrt())
    direction_inside = min(1.0, float(squares[0] / norms[0])) if length else 0.0
    left = 1 - direction_inside
    toward = torch.zeros_like(norms)
    if length and left > _INSIDE:
        toward = (direct - inside.T @ inside[:, 0]).square() / (norms[0] * left)

    def by_set(values: Tensor) -> dict[str, Tensor]:
        return dict(zip(sizes, torch.split(values, list(sizes.values())), strict=True))

    cosines = by_set(direct)["moved"] / (length * by_set(norms)["moved"].sqrt())
    return _Parts(by_set(norms), by_set(squares), by_set(toward), cosines, length, direction_inside)


# -- what is let in, and what a reader must know -----------------------------------------------------------------------


def _points(points: Points | ClassManifold) -> Tensor:
    return on_float64_device(as_points(points))


def _check(matrices: Mapping[str, Tensor], may_draw: bool, n_random: int) -> None:
    clean, adversarial = matrices["clean"], matrices["adversarial"]
    if len(clean) != len(adversarial):
        raise GeometryError(
            f"{len(clean)} clean and {len(adversarial)} adversarial points; expected the same images, row by row"
        )
    widths = {name: matrix.shape[1] for name, matrix in matrices.items()}
    if len(set(widths.values())) > 1:
        told = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise GeometryError(f"numbers of features differ ({told}); expected activations of one layer")
    for name in ("own", "layer"):
        if name in matrices and len(matrices[name]) < 2:
            raise GeometryError(f"{len(matrices[name])} point as {name!r} has no variance; give at least 2 images")
    if not may_draw or n_random < 1:
        raise GeometryError(
            f"n_random = {n_random} directions of the layer's covariance need a generator and at least one draw; give "
            "generator=torch.Generator().manual_seed(0), or leave `layer` out"
        )


def _least(clean: Tensor, adversarial: Tensor) -> Tensor:
    """(n_images,): what rounding alone moves each activation by, so that less counts as no displacement."""
    eps = max(torch.finfo(matrix.dtype).eps for matrix in (clean, adversarial))
    least: Tensor = _ROUNDING * eps * clean.norm(dim=1).to(torch.float64)
    return least


def _none_moved(moved: Tensor) -> str:
    still = len(moved) - int(moved.sum())
    if not still:
        return ""
    return f"{still} of {len(moved)} images did not move and are left out" if still < len(moved) else "no image moved"


def _without_direction(parts: _Parts) -> str:
    if parts.has_direction:
        return ""
    if parts.length == 0:
        return "the two classes have the same centroid: there is no direction toward the other"
    return "the direction to the other centroid lies inside the own subspace"


def _shared(some: Tensor, own: Tensor, name: str) -> str:
    """A note where points that ought to be of other images than `own` are among them."""
    known = {row.tobytes() for row in own.cpu().numpy()}
    count = sum(row.tobytes() in known for row in some.to(own.dtype).cpu().numpy())
    if not count:
        return ""
    return f"{count} of {len(some)} {name} points are also in own, whose subspace fits them: give other images"
