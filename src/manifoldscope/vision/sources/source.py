"""Named sources of networks: `scheme:name` to a Network with its own preprocessing and normalisation.

A source is a function `(name, *, ...) -> Network`, registered where it is defined; its keyword-only parameters are what
a study file may say about a network from there. Parameters that all of them share:

- `weights`: a file (safetensors, or a state dict), a name that the source knows, or None for random weights.
- `mean`, `std`: one value per channel, or one for all channels; the network sees (pixels - mean) / std. If omitted,
  those that stand beside the weights in the file (RobustBench's `mu` and `sigma`, for example), else the source's own.
- `crop`, `resize`: see `Preprocessing`. If omitted, the source's own.
- `seed`: of random weights; ignored where weights are given.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence, Sized
from typing import Any

from torch import nn

from manifoldscope.errors import ModelError, unknown
from manifoldscope.registry import Registry
from manifoldscope.vision.network import Network
from manifoldscope.vision.preprocessing import Interpolation, Preprocessing

SOURCES = Registry("model source", package="manifoldscope.vision.sources")


def network(spec: str | nn.Module, **settings: Any) -> Network:
    """A network by source and name, such as "torchvision:resnet50" or "python:my/models.py:make"; or from a module.

    Args:
        spec: "scheme:name", where `SOURCES` lists the schemes; or any torch.nn.Module that gives logits.
        settings: what that source can be told, such as `weights`; its function's keyword-only parameters. For a module:
            `mean`, `std` (one value per channel, or one for all; the module sees (pixels - mean) / std), `name`, and
            `channels`, `crop`, `resize` and `interpolation` as for `Preprocessing`, `class_names` (one per output).

    Raises:
        StudyError: an unknown scheme or setting, or a value of the wrong type.
        ModelError: an unknown name, weights that cannot be had or do not fit, or code of the user's that fails; neither
            a text nor a module.

    Example:
        >>> network("small:cnn", channels=1, size=8, n_classes=10).n_parameters
        67562
        >>> network(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten()), mean=[0.5], std=[0.5], name="mine")
        Network(mine, 40 parameters, grey, any size)
    """
    if isinstance(spec, nn.Module):
        known = list(inspect.signature(_of_module).parameters)[1:]
        if strangers := [name for name in settings if name not in known]:
            raise ModelError(f"a network from a module: {unknown('setting', strangers[0], known)}")
        return _of_module(spec, **settings)
    if not isinstance(spec, str):
        raise ModelError(
            f"a network was asked for from {type(spec).__name__}; pass a torch.nn.Module, or a text such as "
            "'torchvision:resnet50'"
        )
    scheme, colon, name = spec.partition(":")
    if not colon or not name:
        from manifoldscope.vision.sources.torchvision import classifiers

        schemes = ", ".join(f"{known}:NAME" for known in SOURCES.names())
        guess = f"; did you mean 'torchvision:{spec}'?" if spec in classifiers() else ""
        raise ModelError(f"the network {spec!r} does not say where it is from; expected one of {schemes}{guess}")
    entry = SOURCES[scheme]
    told = entry.validate(settings)
    for what in ("n_classes", "channels", "size", "crop", "resize"):
        if (number := told.get(what)) is not None and number < 1:
            raise ModelError(f"{spec}: {what} = {number}; expected at least 1")
    with entry.named(ModelError):
        made = entry.target(name, **told)
    if not isinstance(made, Network):
        raise ModelError(
            f"the source of {spec} gave {type(made).__name__}; expected a Network, as Network(module=..., name=name)"
        )
    return made


def _of_module(
    module: nn.Module,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    name: str | None = None,
    channels: int | None = None,
    crop: int | None = None,
    resize: int | None = None,
    interpolation: Interpolation = "bilinear",
    class_names: Sequence[str] | None = None,
) -> Network:
    given = mean if mean is not None else std if std is not None else (0.0,)
    n = len(given) if isinstance(given, Sized) else 1
    return Network(
        module,
        name=type(module).__name__ if name is None else name,
        mean=(0.0,) * n if mean is None else mean,
        std=(1.0,) * n if std is None else std,
        preprocessing=Preprocessing(crop=crop, resize=resize, channels=channels, interpolation=interpolation),
        class_names=None if class_names is None else tuple(class_names),
    )
