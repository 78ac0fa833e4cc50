"""Sensitivity: how strongly a layer answers to small changes of the pixels, by the norm of its Jacobian."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manifoldscope.errors import DataError, ModelError
from manifoldscope.geometry.estimate import Estimate
from manifoldscope.seeds import generator as seeded
from manifoldscope.vision.hooks import listening, resolve, unwrapped
from manifoldscope.vision.images import ImageSet, as_image_set, batches
from manifoldscope.vision.layers import PENULTIMATE, Layer
from manifoldscope.vision.network import Network, as_network


@dataclass(frozen=True, eq=False)
class JacobianNorms:
    """The Frobenius norm of a layer's Jacobian at each image.

    Attributes:
        values: (n_images,) float64, activation per pixel unit.
        stderr: (n_images,) float64, over the random projections; None for an exact norm and for one projection.
        n_features: of the layer.
    """

    values: Tensor
    stderr: Tensor | None
    n_features: int


def jacobian_norms(
    network: Network | nn.Module,
    images: ImageSet,
    *,
    layer: str | Layer = PENULTIMATE,
    n_projections: int | None = 8,
    seed: int = 0,
    batch_size: int = 64,
) -> JacobianNorms:
    """The Frobenius norm of the Jacobian of a layer with respect to the pixels, at each image.

    |J|_F^2 is the mean of |J^T v|^2 over standard normal v in the space of the layer, and J^T v costs one backward
    pass. The normalisation that is inside the network counts: the unit is that of the activations for pixels in
    [0, 1]. Beside the network's own graph of one batch, memory holds one projection of it.

    Its error. The relative standard error of |J|_F^2 is sqrt(2 / (n_projections PR)), where PR is the participation
    ratio of the squared singular values of J; of the norm, half of that. The root of an average is too small, by a
    share of about 1 / (4 n_projections PR).

    Args:
        network: found again as it was; in evaluation mode meanwhile, so that images do not see each other.
        images: at which to differentiate; the network's own preprocessing brings them to pixels first.
        layer: as for `activations`.
        n_projections: random vectors for each image, at least 1; None for the exact norm, by one backward pass for each
            feature of the layer.
        seed: of the projections; those of an image are the same whatever the batch size and the other images are.
        batch_size: images to a pass.

    Raises:
        ModelError: a layer that does not exist, of which each position is a point, or through which no gradient flows;
            a gradient of NaN or infinity.
        DataError: no images, or images that cannot be read.

    References:
        Hutchinson, "A stochastic estimator of the trace of the influence matrix" (1989), with normal instead of
        Rademacher vectors. Hoffman, Roberts and Yaida, "Robust learning with Jacobian regularization" (2019), for
        the Jacobian of a network.

    Example:
        >>> from manifoldscope.vision.preprocessing import Preprocessing
        >>> module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
        >>> _ = torch.nn.init.constant_(module[1].weight, 1.0)
        >>> grey = Network(module, std=(0.5,), preprocessing=Preprocessing(channels=1))
        >>> images = ImageSet.of(torch.rand(3, 1, 2, 2), [0, 0, 1])
        >>> jacobian_norms(grey, images, layer="1", n_projections=None).values.round(decimals=3)  # sqrt(8) / 0.5
        tensor([5.6570, 5.6570, 5.6570], dtype=torch.float64)
    """
    asked, images = Layer.of(layer), as_image_set(images)
    told = f"layer {str(asked)!r}"
    if asked.pool == "positions":
        raise ModelError(f"{told} has many points per image; ask for one, such as its mean or all of it, flattened")
    if not len(images):
        raise DataError("there are no images at which to differentiate the network")
    if batch_size < 1 or (n_projections is not None and n_projections < 1):
        raise ModelError(f"batch_size = {batch_size}, n_projections = {n_projections}: expected at least 1 of each")
    network = unwrapped(as_network(network))
    taps = resolve(network, [asked], network.pixels(images, slice(0, 1)))
    squares: list[Tensor] = []
    with listening(network, taps, differentiable=True) as run:
        for where in batches(len(images), batch_size):
            pixels = network.pixels(images, where).to(network.device).requires_grad_(True)
            with torch.enable_grad():
                ((_, heard),) = run(pixels)[0]  # no name for the logits: what leads to them from the layer goes
            if not heard.requires_grad:
                raise ModelError(
                    f"{network.name}: no gradient flows from {told} to the pixels, so it has no Jacobian; "
                    "look for a detach, a rounding or an argmax before it"
                )
            names = images.names[where]
            squares.append(_squares(pixels, heard, names, n_projections, seed))
            if not torch.isfinite(squares[-1]).all():
                bad = int((~torch.isfinite(squares[-1])).any(dim=1).sum())
                raise ModelError(
                    f"{network.name}: the gradient of {told} holds NaN or infinity for {bad} of {len(names)} "
                    f"images (first in the batch from image {where.start}); look for weights that diverged, or a root "
                    "or a norm at 0"
                )
    return _norms(torch.cat(squares), exact=n_projections is None, n_features=heard.shape[1])


def jacobian_norm(
    network: Network | nn.Module,
    images: ImageSet,
    *,
    layer: str | Layer = PENULTIMATE,
    n_projections: int = 8,
    seed: int = 0,
    batch_size: int = 64,
) -> dict[int, Estimate]:
    """The sensitivity of each class: the mean over its images of the norm of the layer's Jacobian.

    The measure is called "jacobian_norm" in tables. Its standard error is over images, and has the error of the random
    projections in it; for a class of one image it is that of the projections alone. The unit is activation per pixel
    unit, so layers and networks compare only once divided by a scale of their own, such as the radius of the class.

    Args:
        network, images, layer, n_projections, seed, batch_size: see `jacobian_norms`.

    Returns:
        An estimate for each class that has images, by its index.

    Raises:
        ModelError, DataError: see `jacobian_norms`.

    References:
        Novak, Bahri, Abolafia, Pennington and Sohl-Dickstein, "Sensitivity and generalization in neural networks: an
        empirical study" (2018): the mean Frobenius norm of the input-output Jacobian.

    Example:
        >>> from manifoldscope.vision.preprocessing import Preprocessing
        >>> module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> grey = Network(module, preprocessing=Preprocessing(channels=1))
        >>> found = jacobian_norm(grey, ImageSet.of(torch.rand(5, 1, 2, 2), [0, 2, 2, 0, 2]))
        >>> {label: estimate.n_points for label, estimate in found.items()}
        {0: 2, 2: 3}
    """
    norms = jacobian_norms(network, images, layer=layer, n_projections=n_projections, seed=seed, batch_size=batch_size)
    estimates = {}
    for label in images.classes:
        of_class = images.labels == label
        values = norms.values[of_class]
        if len(values) > 1:
            stderr: float | None = float(values.std()) / math.sqrt(len(values))
        else:
            stderr = None if norms.stderr is None else float(norms.stderr[of_class])
        estimates[label] = Estimate(
            float(values.mean()),
            n_points=len(values),
            n_features=norms.n_features,
            stderr=stderr,
            parameters={"n_projections": n_projections},
            note="the standard error of one image is that of its projections" if len(values) == 1 else "",
        )
    return estimates


def _squares(pixels: Tensor, heard: Tensor, names: Sequence[str], n_projections: int | None, seed: int) -> Tensor:
    """(n_images, n_vectors) float64 on the CPU: |J^T v|^2 of each image, for random v or for each unit vector."""
    n_images, n_features = heard.shape
    streams = [seeded(seed, "sensitivity", name) for name in names]
    times = n_features if n_projections is None else n_projections
    columns = []
    for which in range(times):
        if n_projections is None:
            vectors = torch.zeros_like(heard)
            vectors[:, which] = 1.0
        else:
            drawn = [torch.randn(n_features, generator=stream, dtype=torch.float32, device="cpu") for stream in streams]
            vectors = torch.stack(drawn).to(heard.device)
        (gradient,) = torch.autograd.grad(heard, pixels, vectors, retain_graph=which + 1 < times)
        columns.append(gradient.reshape(n_images, -1).to(torch.float64).square().sum(1).cpu())
    return torch.stack(columns, dim=1)


def _norms(squares: Tensor, *, exact: bool, n_features: int) -> JacobianNorms:
    if exact:
        return JacobianNorms(squares.sum(1).sqrt(), None, n_features)
    values = squares.mean(1).sqrt()
    if squares.shape[1] < 2:
        return JacobianNorms(values, None, n_features)
    of_square = squares.std(1) / math.sqrt(squares.shape[1])
    stderr = torch.where(values > 0, of_square / (2 * values), 0.0)  # of a root
    return JacobianNorms(values, stderr, n_features)
