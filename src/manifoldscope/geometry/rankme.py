"""RankMe: the effective rank of the points as they lie, without centring."""

from __future__ import annotations

import torch

from manifoldscope.geometry.cloud import Cloud
from manifoldscope.geometry.estimate import Estimate
from manifoldscope.geometry.measures import MEASURES
from manifoldscope.geometry.moments import on_float64_device


@MEASURES.of_cloud("rankme", invariant_to=("rotation", "scale", "order"), version=2)
def rankme(cloud: Cloud, *, epsilon: float = 1e-7) -> Estimate:
    """The exponential of the entropy of the shares of the singular values, of points that are not centred.

    From 0 (all points at the origin), or 1 (on one line through it), to min(n_points, n_features). `effective_rank` is
    the same of the centred points and of eigenvalues, which are squared singular values: it gives less weight to small
    ones and is smaller. The mean of the points counts here as one large singular value, so that a shift changes the
    value. Few points bias it downwards.

    RankMe is meant for the points of a whole data set, of all classes: `rankme(torch.cat(classes))`.

    Args:
        cloud: the points of the class, or of all classes together; see `measure`.
        epsilon: added to each share, as in the source; not negative.

    References:
        Garrido, Balestriero, Najman and LeCun, "RankMe: assessing the downstream performance of pretrained
        self-supervised representations by their rank" (2023), equation 1.

    Example:
        >>> round(rankme(torch.eye(4)).value, 3), round(rankme(torch.ones(4, 4)).value, 3)
        (4.0, 1.0)
    """
    values = torch.linalg.svdvals(on_float64_device(cloud.points).to(torch.float64))
    total, most = float(values.sum()), len(values)
    shares = values / (total or 1.0) + epsilon
    rank = float((-torch.special.xlogy(shares, shares).sum()).exp()) if total else 0.0
    return Estimate(
        min(rank, float(most)),  # epsilon may take it a little above
        n_points=cloud.n_points,
        n_features=cloud.n_features,
        ceiling=most,
        bounded_by="points" if cloud.n_points < cloud.n_features else "features",
        parameters={"epsilon": epsilon},
        note="" if total else "all points are 0, so there is no singular value above 0",
    )
