"""Published robust networks, from files as RobustBench has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from manifoldscope.errors import ModelError, unknown
from manifoldscope.vision.architectures import ARCHITECTURES
from manifoldscope.vision.naming import best_prefix, misfits, missing_names, plain_names
from manifoldscope.vision.network import Network, seeded
from manifoldscope.vision.preprocessing import Preprocessing
from manifoldscope.vision.sources.files import from_file, normalisation
from manifoldscope.vision.sources.published import PUBLISHED, Published, published
from manifoldscope.vision.sources.source import SOURCES
from manifoldscope.vision.sources.torchvision import torchvision
from manifoldscope.vision.weights import Fitted, Loaded, load_weights

SIDE = 32

BESIDE_WEIGHTS = {"mean", "std", "mu", "sigma"}

UNUSED = ("sub_block1", "model_preact_hl1")
"""Parts that stand in published files and are never executed; they are left out."""


@SOURCES.register("robustbench")
def robustbench(
    name: str,
    *,
    weights: str | None = None,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    n_classes: int | None = None,
    seed: int = 0,
) -> Network:
    """A published robust network by RobustBench's name, or an architecture of such networks for CIFAR.

    A name (Carmon2019Unlabeled, or cifar10/L2/Rice2020Overfitting) brings architecture, normalisation and number of
    classes; an architecture (wide_resnet_28_10) has 10 classes, and no normalisation, unless they are given. `weights`
    is the file, which has to be downloaded elsewhere.
    """
    where, entry = f"robustbench:{name}", published(name)
    if weights is not None and not Path(weights).expanduser().is_file():
        raise ModelError(f"{where}: there is no file {weights!r}; download the network's file, and give its path")
    if entry is not None and entry.architecture.startswith("torchvision:"):
        made = _of_torchvision(entry, weights, mean, std, n_classes, seed)
        return replace(made, name=entry.name, provenance={**made.provenance, **_told(entry)})
    architecture = name if entry is None else entry.architecture
    if architecture not in ARCHITECTURES:
        known = {each.path if "/" in name else each.name for each in PUBLISHED}
        raise ModelError(f"robustbench: {unknown('network', name, [*ARCHITECTURES, *sorted(known)])}")
    n_outputs = n_classes or (10 if entry is None else entry.n_classes)
    fitted: Fitted | None = None
    if weights is None:
        with seeded(seed, "weights", architecture):
            module = ARCHITECTURES[architecture](n_outputs)
        provenance: dict[str, Any] = {"weights": "random", "seed": seed}
    else:
        module = _empty(architecture, n_outputs)
        provenance, fitted = _loaded(module, weights, where, entry)
    own = None if entry is None else (entry.mean, entry.std)
    means, stds, said = normalisation(where, mean, std, fitted, channels=3, own=own)
    return Network(
        module,
        name=architecture if entry is None else entry.name,
        mean=means,
        std=stds,
        preprocessing=Preprocessing(crop=SIDE, resize=SIDE, channels=3),
        provenance={"source": where, "architecture": architecture, **provenance, **said, **_told(entry)},
    )


def _of_torchvision(
    entry: Published,
    weights: str | None,
    mean: list[float] | None,
    std: list[float] | None,
    n_classes: int | None,
    seed: int,
) -> Network:
    """One for ImageNet; a network that was trained on crops of 288 pixels is shown these, without a resize."""
    name = entry.architecture.removeprefix("torchvision:")
    made = torchvision(name, weights=weights, mean=mean, std=std, n_classes=n_classes, seed=seed)
    if entry.name == "Wong2020Fast":
        made = replace(made, preprocessing=replace(made.preprocessing, crop=288, resize=None))
    return made


def _empty(architecture: str, n_classes: int) -> nn.Module:
    """Without random weights, which take long to draw for the largest networks."""
    with torch.device("meta"):
        module = ARCHITECTURES[architecture](n_classes)
    module = module.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.zero_()
    return module


def _loaded(module: nn.Module, weights: str, where: str, entry: Published | None) -> tuple[dict[str, Any], Fitted]:
    """Fit the file; an error names the architectures that it does fit, and other networks of the same name."""
    try:
        return from_file(module, weights, where, without=UNUSED)
    except ModelError as error:
        named = [] if entry is None else [each.path for each in PUBLISHED if each.name == entry.name]
        told = [str(error).removesuffix(".")]
        if fits := fitting(load_weights(weights)):
            told.append(f"The file fits {' and '.join(f'robustbench:{name}' for name in fits)}")
        if len(named) > 1:
            told.append(f"There are several networks of this name: {', '.join(named)}")
        raise ModelError(". ".join(told)) from None


def fitting(loaded: Loaded) -> list[str]:
    """The architectures that have just the tensors of a file, with any number of classes."""
    tensors = {name: one for name, one in loaded.tensors.items() if set(name.split(".")).isdisjoint(UNUSED)}
    given, found = plain_names(tensors), []
    for name, make in ARCHITECTURES.items():
        with torch.device("meta"):
            own = plain_names(make(2).state_dict())
        prefix, _ = best_prefix(own, given)
        named = {each.removeprefix(prefix) for each in given if each.startswith(prefix)}
        misshaped = {each.rpartition(".")[0] for each in misfits(own, given, prefix)}
        same = named - set(own) <= BESIDE_WEIGHTS and not missing_names(own, given, prefix)
        if same and misshaped <= {"fc", "linear", "logits"}:
            found.append(name)
    return found


def _told(entry: Published | None) -> Mapping[str, Any]:
    """What is known of a network beside its weights."""
    if entry is None:
        return {}
    accuracies = {"clean": entry.clean, "robust": entry.robust, "norm": entry.norm, "epsilon": entry.epsilon}
    return {"source": f"robustbench:{entry.path}", "published": accuracies}
