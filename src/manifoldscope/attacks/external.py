"""Anybody's attack: a function that proposes images, judged like ours.

What it is given is a copy of the network, a new one for each batch, so that nothing it does to it matters; what it
returns is brought into the ball and into [0, 1], and counts where the network itself says that it is misclassified.
"""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from manifoldscope.attacks.ball import Norm, check_radius, distance, projected
from manifoldscope.attacks.contract import told
from manifoldscope.attacks.perturbation import Perturbation, Rows, State
from manifoldscope.errors import AttackError
from manifoldscope.seeds import derive
from manifoldscope.tables import parameters_text
from manifoldscope.vision.network import Network, as_logits, not_dense, seeded

FAR_OUTSIDE = 2
"""Images that are all farther away than that many times epsilon are those of another ball, or of other images."""

_INSTEAD = {
    list: ": return torch.stack(...) of them",
    tuple: ": return that element which holds them, as in attack(...)[1] of Foolbox",
    np.ndarray: ": return torch.from_numpy(...) of them",
}
"""What to do about what other libraries give."""

Proposal = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""A module from images in [0, 1] to logits, images (n, channels, height, width) and labels (n,), to such images."""


class Pixels(nn.Module):
    """A network as a plain module from pixels in [0, 1] to logits."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.module = network.module
        self._normalise = network.normalise

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, n_classes) of images (n, channels, height, width)."""
        return as_logits(self.module(self._normalise(images)), len(images))


@dataclass(frozen=True, kw_only=True)
class External(Perturbation):
    """See `external`."""

    kind: ClassVar[str] = "external"
    strength_setting: ClassVar[str] = "epsilon"
    asks_gradients: ClassVar[bool] = True
    alone: ClassVar[bool] = False

    propose: Proposal
    epsilon: float
    norm: Norm
    name: str
    restarts: int = 1
    network: Network | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.propose):
            raise AttackError(f"propose = {self.propose!r}; expected a function of a module, images and labels")
        check_radius(self.epsilon, self.norm)
        if self.restarts < 1:
            raise AttackError(f"restarts = {self.restarts}; expected at least 1")

    @property
    def parameters(self) -> str:
        return parameters_text({"name": self.name, "norm": self.norm, "restarts": self.restarts})

    def n_runs(self, n_classes: int) -> int:
        return self.restarts

    def prepared(self, network: Network) -> External:
        return replace(self, network=network)

    def start(self, rows: Rows) -> State:
        assert self.network is not None  # by `prepared`
        module = Pixels(self._copied(self.network))
        with suppress(NotImplementedError):  # of an exported program, which has no other mode
            module.eval()
        first = rows.streams if isinstance(rows.streams, torch.Generator) else rows.streams[0]
        seed = int(torch.randint(2**62, (), generator=first, device="cpu"))
        with _as_before(), _globally_seeded(seed, self.name, rows.clean.device), torch.enable_grad():
            found = self.propose(module, rows.clean.clone(), rows.labels.clone())
        if gave := _no_images(found, rows.clean.shape):
            raise AttackError(
                f"the attack {self.name} gave {gave}; expected the images alone, a dense tensor of shape "
                f"{tuple(rows.clean.shape)} and a floating point type{_INSTEAD.get(type(found), '')}"
            )
        found = found.detach().to(rows.clean)
        found = torch.where(found.isfinite(), found, rows.clean)
        nearest = float(distance(rows.clean, found, self.norm).min())
        if nearest > FAR_OUTSIDE * self.epsilon:
            warnings.warn(
                f"the attack {self.name} gave no image within {nearest:.3g} of the clean one, and epsilon is "
                f"{self.epsilon:.3g}: all are brought back into the ball. Look at its epsilon and norm, and whether "
                "its images are in the order in which it was given them",
                stacklevel=2,
            )
        radius = rows.clean.new_full((len(rows),), self.epsilon)
        return {"images": projected(found, rows.clean, radius, self.norm)}

    def _copied(self, network: Network) -> Network:
        try:
            return copy.deepcopy(network)
        except Exception as error:  # whatever a stranger's module does when it is copied
            raise AttackError(
                f"the attack {self.name} is given a copy of the network, and {network.name} cannot be copied "
                f"({error}); take out of the module what cannot, such as a lock or a generator"
            ) from error

    def excess(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        return distance(clean, perturbed, self.norm) - self.epsilon


def _no_images(found: object, shape: torch.Size) -> str:
    """What an attack gave that are no images of this shape; empty where it gave them."""
    if not isinstance(found, Tensor):
        return told(found)
    if kind := not_dense(found):
        return f"a {kind} tensor"
    return "" if found.shape == shape and found.is_floating_point() else told(found)


@contextmanager
def _as_before() -> Iterator[None]:
    """What other libraries set for the whole process is put back after: all later outcomes would rest on it."""
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    anomalies = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.autograd.set_detect_anomaly(*anomalies)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if torch.are_deterministic_algorithms_enabled() != deterministic:
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)


@contextmanager
def _globally_seeded(seed: int, name: str, device: torch.device) -> Iterator[None]:
    """The global generators from which other libraries draw are seeded inside, and put back after."""
    numpys, pythons = np.random.get_state(), random.getstate()
    on_device = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(on_device), seeded(seed, name):
            if on_device:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(derive(seed, name))
            np.random.seed(derive(seed, name) % 2**32)
            random.seed(derive(seed, name))
            yield
    finally:
        np.random.set_state(numpys)
        random.setstate(pythons)


def external(propose: Proposal, *, norm: Norm, epsilon: float, name: str = "", restarts: int = 1) -> External:
    """The attack of another library, or a function of one's own, as an attack like any of ours.

    It only proposes: the engine brings what it returns into the ball, with a warning where all of it lies far outside,
    and judges it; a pixel that is NaN or infinite is the clean one. What it sets for the whole process (torch's default
    type, number of threads, deterministic algorithms and detection of anomalies) is put back. Random numbers that it
    draws from the global generators of torch, numpy and Python are seeded by the stream of the first image, so that
    they depend on the company of the others.

    Args:
        propose: (module, images, labels) -> images. The module maps pixels in [0, 1] to logits; it is a copy, a new
            one each time.
        norm: "linf" or "l2".
        epsilon: radius of the ball, in pixel units.
        name: what tables call it; that of the function if omitted.
        restarts: how often to call it; an image is robust only if it is robust to every call.

    Raises:
        AttackError: an impossible value, or what cannot be called; when run, what is returned are no such images.

    Example:
        >>> def brighter(module, images, labels):
        ...     return images + 0.1
        >>> external(brighter, norm="linf", epsilon=0.05).parameters
        'name=brighter norm=linf restarts=1'
    """
    called = name or getattr(propose, "__name__", type(propose).__name__)
    return External(propose=propose, epsilon=epsilon, norm=norm, name=called, restarts=restarts)
