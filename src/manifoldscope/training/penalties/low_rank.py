"""How far a class is from the nearest flat of few dimensions."""

from __future__ import annotations

from torch import Tensor

from manifoldscope.errors import StudyError
from manifoldscope.settings import check_setting
from manifoldscope.training.penalties.classes import Classes, of_one_scale
from manifoldscope.training.penalties.eigenvalues import eigenvalues


def low_rank(features: Tensor, labels: Tensor, *, rank: int = 3) -> Tensor:
    """The share of the variance of each class outside its first principal components, averaged over the classes.

    It is the squared distance of the centred features of a class from their best approximation of this rank, relative
    to their squared norm. Sanyal et al. project the features of all classes together, with a projection that is learnt
    beside the network; here each class has its own, computed from the batch.

    Known bias: n points of a class have at most n - 1 dimensions, so that the share is smaller than that of the class,
    and 0 where it has at most `rank` + 1 points.

    Args:
        features: (n, n_features) floating point.
        labels: (n,) class indices; classes of a single point are skipped.
        rank: number of components, at least 1.

    Returns:
        A scalar from 0 (every class lies in a flat of `rank` dimensions) to below 1.

    Raises:
        GeometryError: other shapes.
        StudyError: a rank that is no whole number, or below 1.

    References:
        Sanyal, Dokania, Kanade and Torr, "Robustness via deep low-rank representations" (2018); for the best
        approximation Eckart and Young (1936).

    Example:
        >>> corners = torch.tensor([[3.0, 1.0], [3.0, -1.0], [-3.0, 1.0], [-3.0, -1.0]])
        >>> round(float(low_rank(corners, torch.zeros(4), rank=1)), 6)  # variances 9 and 1
        0.1
    """
    check_rank(rank)
    classes = Classes.of(*of_one_scale(features, labels))
    return classes.mean(eigenvalues(classes.grams)[:, :-rank].sum(-1))


def check_rank(rank: int) -> None:
    """Raise StudyError unless it is a number of dimensions."""
    check_setting(StudyError, "rank", rank, int)
    if rank < 1:
        raise StudyError(f"rank = {rank}; expected at least 1 (penalties.centre draws a class together to a point)")
