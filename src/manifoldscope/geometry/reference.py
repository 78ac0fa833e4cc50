"""Synthetic manifolds whose answers are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from manifoldscope.errors import GeometryError


def geometric_variances(n: int, ratio: float) -> Tensor:
    """(n,) float64: ratio^0, ratio^1, ...; as n grows d95 is ceil(ln .05 / ln ratio), PR (1 + ratio) / (1 - ratio).

    Example:
        >>> geometric_variances(3, 0.5).tolist()
        [1.0, 0.5, 0.25]
    """
    return ratio ** torch.arange(n, dtype=torch.float64)


def power_law_variances(n: int, exponent: float) -> Tensor:
    """(n,) float64: 1, 2^-exponent, 3^-exponent, ...

    Example:
        >>> power_law_variances(3, 1.0)[1].item()
        0.5
    """
    return torch.arange(1, n + 1, dtype=torch.float64) ** -exponent


def gaussian(n_points: int, variances: Tensor | Sequence[float], *, generator: torch.Generator) -> Tensor:
    """(n_points, len(variances)) float64: independent Gaussian features with these variances.

    Example:
        >>> gaussian(5, [1.0, 0.0], generator=torch.Generator().manual_seed(0))[:, 1].abs().tolist()
        [0.0, 0.0, 0.0, 0.0, 0.0]
    """
    scales = torch.as_tensor(variances, dtype=torch.float64).sqrt()
    return torch.randn(n_points, len(scales), dtype=torch.float64, generator=generator) * scales


def exactly(
    n_points: int, variances: Tensor | Sequence[float], *, n_features: int, generator: torch.Generator
) -> Tensor:
    """(n_points, n_features) float64: points whose sample variances along their principal axes are exactly these.

    Raises:
        GeometryError: more variances than that many points and features can have.

    Example:
        >>> points = exactly(9, [4.0, 1.0], n_features=3, generator=torch.Generator().manual_seed(0))
        >>> points.var(dim=0).sum().round().item()
        5.0
    """
    scales = torch.as_tensor(variances, dtype=torch.float64).sqrt()
    if len(scales) > min(n_points - 1, n_features):
        raise GeometryError(f"{n_points} points with {n_features} features cannot have {len(scales)} variances")
    drawn = torch.randn(n_points, len(scales), dtype=torch.float64, generator=generator)
    scores, _ = torch.linalg.qr(drawn - drawn.mean(0))
    axes = rotation(n_features, generator=generator)[: len(scales)]
    points: Tensor = (n_points - 1) ** 0.5 * scores * scales @ axes
    return points


def rotation(n_features: int, *, generator: torch.Generator) -> Tensor:
    """(n_features, n_features) float64: a random orthogonal matrix.

    Example:
        >>> turn = rotation(3, generator=torch.Generator().manual_seed(0))
        >>> bool(torch.allclose(turn @ turn.T, torch.eye(3, dtype=torch.float64)))
        True
    """
    drawn = torch.randn(n_features, n_features, dtype=torch.float64, generator=generator)
    orthogonal: Tensor = torch.linalg.qr(drawn).Q
    return orthogonal


def sphere(n_points: int, dimension: int, *, n_features: int | None = None, generator: torch.Generator) -> Tensor:
    """(n_points, n_features) float64: uniform on the unit sphere of `dimension` dimensions in dimension + 1 features.

    Features beyond dimension + 1 are 0. Its intrinsic dimension is `dimension`, and its variances are dimension + 1
    equal ones.

    Example:
        >>> sphere(4, 2, generator=torch.Generator().manual_seed(0)).norm(dim=1).round(decimals=6).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    drawn = torch.randn(n_points, dimension + 1, dtype=torch.float64, generator=generator)
    points = torch.zeros(n_points, n_features or dimension + 1, dtype=torch.float64)
    points[:, : dimension + 1] = drawn / drawn.norm(dim=1, keepdim=True)
    return points


def ball(n_points: int, dimension: int, *, generator: torch.Generator) -> Tensor:
    """(n_points, dimension) float64: uniform in the unit ball.

    Example:
        >>> bool((ball(9, 3, generator=torch.Generator().manual_seed(0)).norm(dim=1) <= 1).all())
        True
    """
    radii = torch.rand(n_points, 1, dtype=torch.float64, generator=generator) ** (1 / dimension)
    return radii * sphere(n_points, dimension - 1, generator=generator)


def cube(n_points: int, dimension: int, *, n_features: int | None = None, generator: torch.Generator) -> Tensor:
    """(n_points, n_features) float64: uniform in the unit cube of `dimension` dimensions; further features are 0.

    Example:
        >>> cube(5, 2, n_features=3, generator=torch.Generator().manual_seed(0))[:, 2].tolist()
        [0.0, 0.0, 0.0, 0.0, 0.0]
    """
    points = torch.zeros(n_points, n_features or dimension, dtype=torch.float64)
    points[:, :dimension] = torch.rand(n_points, dimension, dtype=torch.float64, generator=generator)
    return points


def affine(n_points: int, dimension: int, n_features: int, *, generator: torch.Generator) -> Tensor:
    """(n_points, n_features) float64: uniform in a cube of a random subspace of `dimension` dimensions.

    Example:
        >>> int(torch.linalg.matrix_rank(affine(9, 2, 5, generator=torch.Generator().manual_seed(0))))
        2
    """
    points: Tensor = (
        cube(n_points, dimension, generator=generator) @ rotation(n_features, generator=generator)[:dimension]
    )
    return points


def swiss_roll(n_points: int, *, generator: torch.Generator) -> Tensor:
    """(n_points, 3) float64: a rolled sheet, of dimension 2; uniform over the sheet's angle and width.

    Example:
        >>> swiss_roll(4, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([4, 3])
    """
    angle, width = torch.rand(2, n_points, dtype=torch.float64, generator=generator)
    turn = 1.5 * math.pi * (1 + 2 * angle)
    return torch.stack([turn * turn.cos(), 21 * width, turn * turn.sin()], 1)


def moebius_band(n_points: int, *, turns: int = 1, generator: torch.Generator) -> Tensor:
    """(n_points, 3) float64: a band that is turned over `turns` half times, of dimension 2.

    Example:
        >>> moebius_band(4, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([4, 3])
    """
    around, across = torch.rand(2, n_points, dtype=torch.float64, generator=generator)
    angle, height = 2 * math.pi * around, 2 * across - 1
    radius = 1 + 0.5 * height * (turns * angle / 2).cos()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), 0.5 * height * (turns * angle / 2).sin()], 1)


def helix(n_points: int, *, generator: torch.Generator) -> Tensor:
    """(n_points, 3) float64: a coil around a ring, of dimension 1.

    Example:
        >>> helix(4, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([4, 3])
    """
    angle = 2 * math.pi * torch.rand(n_points, dtype=torch.float64, generator=generator)
    radius = 2 + (8 * angle).cos()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), (8 * angle).sin()], 1)


def waves(n_points: int, dimension: int, *, generator: torch.Generator) -> Tensor:
    """(n_points, 2 dimension) float64: a cube bent without being stretched much: each coordinate x as x cos x, x sin x.

    Example:
        >>> waves(4, 3, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([4, 6])
    """
    angle = 2 * math.pi * cube(n_points, dimension, generator=generator)
    return torch.cat([angle * angle.cos(), angle * angle.sin()], 1)


def cube_surface(n_points: int, dimension: int, *, generator: torch.Generator) -> Tensor:
    """(n_points, dimension + 1) float64: uniform on the faces of the unit cube of dimension + 1 dimensions.

    Example:
        >>> points = cube_surface(4, 2, generator=torch.Generator().manual_seed(0))
        >>> ((points == 0) | (points == 1)).sum(1).tolist()
        [1, 1, 1, 1]
    """
    points = cube(n_points, dimension + 1, generator=generator)
    face = torch.randint(2 * (dimension + 1), (n_points,), generator=generator)
    points[torch.arange(n_points), face // 2] = (face % 2).to(torch.float64)
    return points


def s_curve(n_points: int, *, generator: torch.Generator) -> Tensor:
    """(n_points, 3) float64: a strip of width 2 bent into an S of two three-quarter circles; dimension 2.

    Example:
        >>> s_curve(5, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([5, 3])
    """
    along, across = cube(n_points, 2, generator=generator).unbind(1)
    angle = 3 * math.pi * (along - 0.5)
    return torch.stack([angle.sin(), 2 * across, angle.sign() * (angle.cos() - 1)], 1)


def helicoid(n_points: int, *, turns: float = 5, generator: torch.Generator) -> Tensor:
    """(n_points, 3) float64: a winding stair, as wide as it has turned at its end; dimension 2.

    Turns are pi apart and 10 pi wide, so that a neighbourhood that is not small reaches the next one.

    Example:
        >>> float(helicoid(100, generator=torch.Generator().manual_seed(0))[:, 2].max()) < 5 * math.pi
        True
    """
    out, up = (2 * math.pi * turns * cube(n_points, 2, generator=generator)).unbind(1)
    return torch.stack([out * up.cos(), out * up.sin(), up / 2], 1)


def spiral(n_points: int, *, n_features: int = 3, turns: float = 5, generator: torch.Generator) -> Tensor:
    """(n_points, n_features) float64: a wire wound to a spring of radius 100, turns 2 pi apart; dimension 1.

    Features beyond three are 0.

    Example:
        >>> spiral(2, generator=torch.Generator().manual_seed(0))[:, :2].norm(dim=1).round(decimals=6).tolist()
        [100.0, 100.0]
    """
    angle = 2 * math.pi * turns * cube(n_points, 1, generator=generator)[:, 0]
    points = torch.zeros(n_points, n_features, dtype=torch.float64)
    points[:, 0], points[:, 1], points[:, 2] = 100 * angle.cos(), 100 * angle.sin(), angle
    return points


def concentrated(n_points: int, *, generator: torch.Generator) -> Tensor:
    """(n_points, 6) float64: dimension 4, but so dense near its middle that it is easily taken for 3.

    References:
        Hein and Audibert, "Intrinsic dimensionality estimation of submanifolds in R^d" (2005), section 4.

    Example:
        >>> concentrated(5, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([5, 6])
    """
    a, b, c, d = cube(n_points, 4, generator=generator).unbind(1)
    angle = 2 * math.pi * a
    return torch.stack(
        [
            b**2 * angle.cos(),
            b**2 * angle.sin(),
            b + c + (b - d) ** 2,
            b - 2 * c + (a - d) ** 2,
            -b - 2 * c + (c - d) ** 2,
            a**2 - b**2 + c**2 - d**2,
        ],
        1,
    )


def linked_circles(n_points: int, dimension: int, *, copies: int = 1, generator: torch.Generator) -> Tensor:
    """(n_points, 2 dimension copies) float64: strongly curved; dimension `dimension`.

    Each of the parameters, uniform in [0, 1], is the turn around a circle whose radius is the next one (after the last,
    the first). Copies repeat the features and only scale the manifold.

    References:
        Hein and Audibert, "Intrinsic dimensionality estimation of submanifolds in R^d" (2005), section 4, for 12
        dimensions and 72 features.

    Example:
        >>> linked_circles(5, 12, copies=3, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([5, 72])
    """
    turn = cube(n_points, dimension, generator=generator)
    angle, radius = 2 * math.pi * turn, turn.roll(-1, 1)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], 1).repeat(1, copies)


def noisy(points: Tensor, size: float, *, generator: torch.Generator) -> Tensor:
    """The points with Gaussian noise of standard deviation `size` added to every feature.

    At distances below about size sqrt(2 n_features), all n_features are dimensions.

    Example:
        >>> round(noisy(torch.zeros(10_000, 1), 0.5, generator=torch.Generator().manual_seed(0)).std().item(), 1)
        0.5
    """
    drawn = torch.randn(points.shape, dtype=torch.float64, generator=generator)
    return points + size * drawn.to(points)


@dataclass(frozen=True)
class Known:
    """A manifold of a known dimension.

    Attributes:
        draw: (number of points, generator) to (n_points, n_features) float64.
        dimension: its intrinsic dimension.
        n_features: how many features it is shown in.
    """

    draw: Callable[[int, torch.Generator], Tensor]
    dimension: int
    n_features: int


BENCHMARK: Mapping[str, Known] = {
    "sphere 10 in 11": Known(lambda n, drawing: sphere(n, 10, generator=drawing), 10, 11),
    "affine 3 in 5": Known(lambda n, drawing: affine(n, 3, 5, generator=drawing), 3, 5),
    "bent cube 4 in 8": Known(lambda n, drawing: waves(n, 4, generator=drawing), 4, 8),
    "helix 1 in 3": Known(lambda n, drawing: helix(n, generator=drawing), 1, 3),
    "swiss roll 2 in 3": Known(lambda n, drawing: swiss_roll(n, generator=drawing), 2, 3),
    "bent cube 12 in 24": Known(lambda n, drawing: waves(n, 12, generator=drawing), 12, 24),
    "cube 10 in 11": Known(lambda n, drawing: cube(n, 10, n_features=11, generator=drawing), 10, 11),
    "cube 17 in 18": Known(lambda n, drawing: cube(n, 17, n_features=18, generator=drawing), 17, 18),
    "cube 24 in 25": Known(lambda n, drawing: cube(n, 24, n_features=25, generator=drawing), 24, 25),
    "cube 70 in 71": Known(lambda n, drawing: cube(n, 70, n_features=71, generator=drawing), 70, 71),
    "Moebius band 2 in 3": Known(lambda n, drawing: moebius_band(n, turns=10, generator=drawing), 2, 3),
    "Gaussian 20 in 20": Known(lambda n, drawing: gaussian(n, torch.ones(20), generator=drawing), 20, 20),
    "concentrated 4 in 6": Known(lambda n, drawing: concentrated(n, generator=drawing), 4, 6),
    "linked circles 4 in 8": Known(lambda n, drawing: linked_circles(n, 4, generator=drawing), 4, 8),
    "linked circles 6 in 36": Known(lambda n, drawing: linked_circles(n, 6, copies=3, generator=drawing), 6, 36),
    "linked circles 12 in 72": Known(lambda n, drawing: linked_circles(n, 12, copies=3, generator=drawing), 12, 72),
    "helicoid 2 in 3": Known(lambda n, drawing: helicoid(n, generator=drawing), 2, 3),
    "S curve 2 in 3": Known(lambda n, drawing: s_curve(n, generator=drawing), 2, 3),
    "spiral 1 in 13": Known(lambda n, drawing: spiral(n, n_features=13, generator=drawing), 1, 13),
    "affine 20 in 20": Known(lambda n, drawing: affine(n, 20, 20, generator=drawing), 20, 20),
    "cube surface 10 in 11": Known(lambda n, drawing: cube_surface(n, 10, generator=drawing), 10, 11),
    "cube surface 17 in 18": Known(lambda n, drawing: cube_surface(n, 17, generator=drawing), 17, 18),
    "cube surface 24 in 25": Known(lambda n, drawing: cube_surface(n, 24, generator=drawing), 24, 25),
    "cube surface 70 in 71": Known(lambda n, drawing: cube_surface(n, 70, generator=drawing), 70, 71),
}
"""Manifolds after the benchmark of scikit-dimension (Hein and Audibert 2005; Campadelli et al. 2015), drawn anew."""
