"""How far each image is from another class, estimated from gradients of its margin: no attack is run.

Two estimates. The first-order distance takes the network to be linear around the image. The local Lipschitz distance
takes the steepest of many points around it, after CLEVER (Weng et al. 2018).

Neither certifies anything, and neither is a distance at which an adversarial example was found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manifoldscope.attacks.ball import Norm, check_radius, random_start
from manifoldscope.attacks.engine import INSIDE
from manifoldscope.attacks.subject import Subject
from manifoldscope.errors import AttackError, ModelError
from manifoldscope.seeds import generator
from manifoldscope.settings import check_setting
from manifoldscope.vision.batching import BatchSize
from manifoldscope.vision.gradient import pixel_gradient
from manifoldscope.vision.images import ImageSet, as_image_set
from manifoldscope.vision.memory import Footprint, Memory
from manifoldscope.vision.network import Network, as_network, undisturbed

SAMPLES = 64
"""Random points around each image if omitted: far fewer than the 500 x 1024 of CLEVER."""

COPIES = 6
"""How many tensors of the size of the images an estimate holds, about."""


@dataclass(frozen=True, eq=False)
class LipschitzEstimates:
    """Margins of n images, and how steep they are.

    Attributes:
        margin: (n,) float64, the logit of the label minus the largest other; NaN where the network gives NaN or
            infinity.
        gradient_norm: (n,) float64, the dual norm of the margin's gradient at the image, per pixel unit; NaN where the
            image is misclassified.
        lipschitz: (n,) float64, the largest of these norms over the image and the random points around it; likewise.
        radius: of the ball in which the points lie, in pixel units.
    """

    margin: Tensor
    gradient_norm: Tensor
    lipschitz: Tensor
    radius: float

    @property
    def first_order_distance(self) -> Tensor:
        """(n,) margin / gradient norm, in pixel units; 0 where misclassified, infinite where the gradient is 0."""
        return torch.where(self.margin > 0, self.margin / self.gradient_norm, 0.0)

    @property
    def local_lipschitz_distance(self) -> Tensor:
        """(n,) min(margin / largest gradient norm, radius), in pixel units; 0 where misclassified."""
        return torch.where(self.margin > 0, (self.margin / self.lipschitz).clamp(max=self.radius), 0.0)


def lipschitz_estimates(
    network: Network | nn.Module,
    images: ImageSet,
    *,
    norm: Norm = "linf",
    radius: float,
    samples: int = SAMPLES,
    seed: int = 0,
    batch_size: int = 128,
    memory: Memory | None = None,
) -> LipschitzEstimates:
    """The margin of each image, and the largest gradient norm of it at the image and at random points around it.

    Gradients are of z_label - z_c, where c is the likeliest other class of the clean image; the norm is the dual one,
    L1 for linf and L2 for l2. The points are uniform in the ball of that radius, cut to [0, 1].

    What they are worth. For a linear network of two classes both distances are the minimal perturbation, where no pixel
    reaches 0 or 1 on the way and the radius is large enough. For more classes they are upper bounds of it, as another
    class than the likeliest may be nearer; CLEVER takes the least over all other classes, at as many times the cost.
    The local Lipschitz distance is biased upwards: the largest of a few norms is below the supremum. It is the largest
    itself, and no extreme-value fit (CLEVER fits a reverse Weibull distribution to such maxima). A network that masks
    its gradients looks robust to both.

    Args:
        network: found again as it was.
        images: labelled images.
        norm: of the perturbation, "linf" or "l2".
        radius: of the ball, above 0, in pixel units; no local Lipschitz distance exceeds it, so differences between
            images that reach it are lost.
        samples: random points around each image, a gradient each; 0 for the image alone.
        seed: of the points, a stream for each image by its name; the first points are the same for more of them.
        batch_size: images at a time, or fewer where memory allows no more; changes the answer by rounding only.
        memory: how much may be taken; most of what is available if omitted.

    Raises:
        AttackError: no images, or an impossible value.
        DataError: an image cannot be read.
        ModelError: the network gives NaN for every image, or a gradient of NaN or infinity for one that it classifies
            correctly; has fewer outputs than there are labels; or takes more memory than there is for one image.
        NoGradientError: its logits have no gradient.

    References:
        Weng et al., "Evaluating the robustness of neural networks: an extreme value theory approach" (2018),
        Algorithm 1, without its last step. Elsayed et al., "Large margin deep networks for classification" (2018), for
        the first-order distance. Ngnawé et al., "Detecting brittle decisions for free: leveraging margin consistency in
        deep robust classifiers" (2024), for margins as a sign of robustness.

    Example:
        >>> module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> with torch.no_grad():
        ...     _ = module[1].weight.copy_(torch.tensor([[1.0] * 4, [0.0] * 4])), module[1].bias.zero_()
        >>> found = lipschitz_estimates(module, ImageSet.of(torch.full((1, 1, 2, 2), 0.5), [0]), radius=0.9, samples=3)
        >>> found.margin.item(), found.lipschitz.item(), found.local_lipschitz_distance.item()
        (2.0, 4.0, 0.5)
    """
    network, images = as_network(network), as_image_set(images)
    if not len(images):
        raise AttackError("0 images; expected at least one")
    check_settings(norm=norm, radius=radius, samples=samples)
    one, batch = network.pixels(images, slice(0, 1)), BatchSize(batch_size)
    beside = Footprint(0, COPIES * one.nbytes)
    at_once = min(batch_size, len(images))
    batch.fits = (memory or Memory()).batch(network, one, at_once, gradient=True, beside=beside)
    with undisturbed(network):
        subject = Subject.of(network, images, batch)
        logits, labels = subject.logits.double(), images.labels[:, None]
        others = logits.scatter(1, labels, -torch.inf)
        margin = logits.gather(1, labels).squeeze(1) - others.amax(1)
        margin = torch.where(subject.predictions >= 0, margin, torch.nan)
        chosen, rivals = subject.correct.nonzero().flatten(), others.argmax(1)
        at_image, largest = torch.full_like(margin, torch.nan), torch.full_like(margin, torch.nan)

        def ask(where: slice) -> None:
            some = chosen[where]
            clean = network.pixels(images.subset(some)).to(network.device)
            slope = _slopes(network, images.labels[some], rivals[some], norm)
            radii = clean.new_full((len(some),), radius)
            streams = [generator(seed, "lipschitz", images.names[place]) for place in some.tolist()]
            first = steepest = slope(clean)
            for _ in range(samples):
                steepest = torch.maximum(steepest, slope(random_start(clean, radii, streams, norm)))
            at_image[some], largest[some] = first.cpu().double(), steepest.cpu().double()

        batch.over(len(chosen), ask)
    lost = chosen[~torch.isfinite(largest[chosen])]
    if len(lost):
        raise ModelError(
            f"{network.name}: the gradient of the margin holds NaN or infinity for {len(lost)} of {len(chosen)} images "
            f"(first for {images.names[int(lost[0])]}), or near them; look for weights that diverged, or a root or a "
            "norm at 0"
        )
    return LipschitzEstimates(margin, at_image, largest, radius)


def check_settings(*, norm: Norm, radius: float, samples: int) -> None:
    """Raise AttackError unless `lipschitz_estimates` can have these."""
    for name, value, hint in (("norm", norm, Norm), ("radius", radius, float), ("samples", samples, int)):
        check_setting(AttackError, name, value, hint)
    check_radius(radius, norm)
    if radius == 0:
        raise AttackError("radius = 0; expected a radius above 0, within which to look")
    if samples < 0:
        raise AttackError(f"samples = {samples}; expected a whole number from 0")


def _slopes(network: Network, labels: Tensor, rivals: Tensor, norm: Norm) -> Callable[[Tensor], Tensor]:
    """The dual norm (n,) of the gradient of z_label - z_rival, as a function of pixels (n, channels, height, width)."""
    wide = torch.float32 if network.device.type == "mps" else torch.float64  # Apple's GPUs have none
    label, rival = (each.to(network.device)[:, None] for each in (labels, rivals))

    def slope(pixels: Tensor) -> Tensor:
        with torch.enable_grad():
            # some modules have no gradient on the bounds of [0, 1] themselves: a clamp, for one
            leaf = pixels.detach().clamp(INSIDE, 1 - INSIDE).requires_grad_(True)
            logits = network(leaf)
            gradient = pixel_gradient(network.name, (logits.gather(1, label) - logits.gather(1, rival)).sum(), leaf)
        order = 1 if norm == "linf" else 2
        found: Tensor = torch.linalg.vector_norm(gradient.flatten(1), ord=order, dim=1, dtype=wide)
        return found

    return slope
