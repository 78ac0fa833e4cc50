"""An attack called on anybody's module: its images, or its iterates, of tensors that lie in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor, nn

from manifoldscope.attacks.ball import Generators
from manifoldscope.attacks.engine import Engine, Found, Look, Source, require_class, require_label
from manifoldscope.attacks.perturbation import Iterate, Outcome, Perturbation, Rows, require_pixels
from manifoldscope.errors import AttackError, ManifoldscopeError, shortened
from manifoldscope.seeds import generator
from manifoldscope.vision.batching import BatchSize
from manifoldscope.vision.fast import FastNetwork
from manifoldscope.vision.network import Network, as_network, first_pass, undisturbed


@torch.inference_mode(False)
def adversarial_images(
    perturbation: Perturbation,
    module: Network | nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    seed: int,
    batch_size: int,
) -> Tensor:
    """See `Perturbation.__call__`."""
    engine, source = _of_tensors(perturbation, module, images, labels, seed, None, batch_size)
    found = Found.of(labels.to(engine.network.device), images.detach().clone())
    outcome: Outcome = "any" if perturbation.counts == "any" else "last"
    with _asked(engine.network, images):
        places = torch.arange(len(images), device="cpu")
        engine.attack(perturbation.stages, lambda places: source, found, places, outcome=outcome)
        if bool(found.without_class.all()):
            require_class(engine.network, engine.predictions(images.detach().to(engine.network.device)))
    assert found.images is not None
    return found.images


@torch.inference_mode(False)
def iterates(
    perturbation: Perturbation,
    module: Network | nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    seed: int,
    streams: Generators | None,
) -> Iterator[Iterate]:
    """See `Perturbation.run`."""
    network = as_network(module)
    looks = _one_run(perturbation, network, images, labels, seed, streams)
    while True:
        with _asked(network, images):  # and not while the caller has the iterate
            look = next(looks, None)
        if look is None:
            return
        yield Iterate(look.state["images"], None if look.seen is None else look.seen.loss)


@torch.inference_mode(False)
def last_images(
    perturbation: Perturbation, network: Network, images: Tensor, labels: Tensor, streams: Generators
) -> Tensor:
    """The last of the iterates of `Perturbation.run`, (n, channels, height, width)."""
    with _asked(network, images):
        *_, look = _one_run(perturbation, network, images, labels, 0, streams)
    return look.state["images"]


@contextmanager
def _asked(network: Network, images: Tensor) -> Iterator[None]:
    """The network `undisturbed`; if it fails with a single image as well, that is told as `first_pass` does."""
    with undisturbed(network):
        try:
            yield
        except ManifoldscopeError:
            raise
        except Exception:  # whatever a stranger's module does
            with torch.no_grad():
                first_pass(network, images[:1].detach())
            raise


def _one_run(
    perturbation: Perturbation,
    network: Network,
    images: Tensor,
    labels: Tensor,
    seed: int,
    streams: Generators | None,
) -> Iterator[Look]:
    """One run of all images together; nothing is judged."""
    if len(perturbation.stages) > 1:
        raise AttackError(f"{perturbation.kind} is several attacks, one after the other; run one of its stages")
    engine, source = _of_tensors(perturbation, network, images, labels, seed, streams, len(images))
    stage, found = perturbation.prepared(network), Found.of(labels.to(network.device))
    yield from engine.looks(stage, source, found, torch.arange(len(images), device="cpu"), outcome="last", judge=False)


def _of_tensors(
    perturbation: Perturbation,
    module: Network | nn.Module,
    images: Tensor,
    labels: Tensor,
    seed: int,
    streams: Generators | None,
    batch_size: int,
) -> tuple[Engine, Source]:
    require_pixels(images, labels)
    if not (streams is None or isinstance(streams, torch.Generator) or _are_streams(streams, len(images))):
        raise AttackError(f"streams are {shortened(repr(streams))}; expected a torch.Generator, or one for each image")
    network = as_network(module)
    batch, largest = BatchSize(batch_size), int(labels.max())

    @cache
    def require(n_classes: int) -> None:
        require_label(network, largest, n_classes)
        perturbation.refuse(images.shape[1:], n_classes)

    def source(places: Sequence[int], runs: Sequence[int]) -> Rows:
        some, device = torch.tensor(places, device="cpu"), network.device
        clean = images[some.to(images.device)].detach().to(device)
        logits = clean.new_empty(len(some), 0)
        if perturbation.targeted:
            with torch.no_grad():
                logits = network(clean)
            require(logits.shape[1])
        drawn = streams or [generator(seed, perturbation.kind, *each) for each in zip(places, runs, strict=True)]
        those = labels[some.to(labels.device)].to(device)
        return Rows(some.to(device), torch.tensor(runs, device=device), clean, those, logits, drawn)

    return Engine(network, FastNetwork(network), batch, batch, require), source


def _are_streams(value: object, n_images: int) -> bool:
    """Whether it is a generator for each image."""
    if not isinstance(value, Sequence) or len(value) != n_images:
        return False
    return all(isinstance(each, torch.Generator) for each in value)
