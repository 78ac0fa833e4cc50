"""What a user would pick instead, one piece of work a call; runs in the peers' own environment.

python benchmarks/geometry_peers.py WORK SIZES...
"""

from __future__ import annotations

import sys

import numpy as np

from clock import classes, cloud, report


def pca_dimension(variances: np.ndarray) -> int:
    """The smallest number of components that reach 95%."""
    shares = np.cumsum(variances.astype(np.float64)) / variances.sum(dtype=np.float64)
    return int(np.argmax(shares >= 0.95)) + 1


def spectrum(n_points: int, n_features: int, dtype: str) -> None:
    """scikit-learn's PCA by a full SVD."""
    from sklearn.decomposition import PCA

    report(
        lambda: cloud(n_points, n_features).astype(dtype),
        lambda points: pca_dimension(PCA(svd_solver="full").fit(points).explained_variance_),
    )


def spectra(n_classes: int, n_points: int, n_features: int) -> None:
    """The same, class by class."""
    from sklearn.decomposition import PCA

    report(
        lambda: [cloud(n_points, n_features, seed) for seed in range(n_classes)],
        lambda clouds: [pca_dimension(PCA(svd_solver="full").fit(points).explained_variance_) for points in clouds],
    )


def neighbours(n_points: int, n_features: int) -> None:
    """scikit-dimension's TwoNN and maximum likelihood."""
    import skdim

    def both(points: np.ndarray) -> list[float]:
        return [float(skdim.id.TwoNN().fit(points).dimension_), float(skdim.id.MLE(K=20).fit(points).dimension_)]

    report(lambda: cloud(n_points, n_features), both)


def neighbours_dadapy(n_points: int, n_features: int) -> None:
    """DADApy's TwoNN."""
    from dadapy import Data

    def two_nn(points: np.ndarray) -> list[float]:
        data = Data(points, verbose=False)
        data.compute_distances(maxk=20)
        return [float(data.compute_id_2NN()[0])]

    report(lambda: cloud(n_points, n_features), two_nn)


def capacity(
    n_classes: int, n_points: int, n_features: int, spread: int, n_directions: int, n_solved: int, solver: str
) -> None:
    """Mean-field capacity of the first few classes, one quadratic program at a time, in the points' own coordinates.

    Each class: its points minus its centroid, over the norm of the centroid (seen from the mean of all points), in as
    many coordinates as they span, with a last one of 1. For each direction: the nearest v to t with S v >= 0, and the
    mean of |v - t|^2 is 1 / capacity.
    """
    rng = np.random.default_rng(1)

    def prepared() -> list[np.ndarray]:
        clouds = np.array(classes(n_classes, n_points, n_features, spread))
        centroids = clouds.mean(1) - clouds.mean((0, 1))
        kept = []
        for points, centroid in zip(clouds[:n_solved], centroids[:n_solved], strict=True):
            inner = points - points.mean(0)
            _, values, axes = np.linalg.svd(inner, full_matrices=False)
            coordinates = inner @ axes[values > 1e-9 * values[0]].T / np.linalg.norm(centroid)
            kept.append(np.hstack([coordinates, np.ones((n_points, 1))]))
        return kept

    def solve_quadprog(points: np.ndarray, t: np.ndarray) -> float:
        import quadprog

        v = quadprog.solve_qp(np.eye(len(t)), t, points.T.copy(), np.zeros(len(points)))[0]
        return float(((v - t) ** 2).sum())

    def solve_cvxopt(points: np.ndarray, t: np.ndarray) -> float:
        from cvxopt import matrix, solvers

        solvers.options["show_progress"] = False
        found = solvers.qp(matrix(np.eye(len(t))), matrix(-t), matrix(-points), matrix(np.zeros(len(points))))
        return float(((np.array(found["x"]).ravel() - t) ** 2).sum())

    solve = {"quadprog": solve_quadprog, "cvxopt": solve_cvxopt}[solver]

    def work(prepared: list[np.ndarray]) -> float:
        each = []
        for points in prepared:
            directions = rng.standard_normal((n_directions, points.shape[1]))
            each.append(np.mean([solve(points, t) for t in directions]))
        return float(1 / np.mean(each))

    report(prepared, work)


if __name__ == "__main__":
    name, *sizes = sys.argv[1:]
    globals()[name](*(int(size) if size.isdigit() else size for size in sizes))
