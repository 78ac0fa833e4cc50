"""Named sources of networks: `scheme:name` to a Network with its own preprocessing and normalisation.

A source is a function `(name, *, ...) -> Network`, registered where it is defined; its keyword-only parameters are what
a study file may say about a network from there. Parameters that all of them share:

- `weights`: a file (safetensors, or a state dict), a name that the source knows, or None for random weights.
- `mean`, `std`: one value per channel, or one for all channels; the network sees (pixels - mean) / std. If omitted,
  those that stand beside the weights in the file (RobustBench's `mu` and `sigma`, for example), else the source's own.
- `crop`, `resize`: see `Preprocessing`. Where left out, the source's own.
- `seed`: of random weights; ignored where weights are given.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from manifoldscope.errors import ModelError, unknown
from manifoldscope.registry import Registry
from manifoldscope.vision.datasets import imagenet_class_names
from manifoldscope.vision.network import Interpolation, Network, Preprocessing, seeded
from manifoldscope.vision.small import SMALL, build
from manifoldscope.vision.usercode import brief, made_by
from manifoldscope.vision.weights import Fitted, file_digest, fit

SOURCES = Registry("model source", package="manifoldscope.vision")


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
        schemes = ", ".join(f"{known}:NAME" for known in SOURCES.names())
        guess = f"; did you mean 'torchvision:{spec}'?" if spec in _torchvision_names() else ""
        raise ModelError(f"the network {spec!r} does not say where it is from; expected one of {schemes}{guess}")
    entry = SOURCES[scheme]
    made: Network = entry.target(name, **entry.validate(settings))
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
    n = len(given) if isinstance(given, Sequence) else 1
    return Network(
        module,
        name=type(module).__name__ if name is None else name,
        mean=(0.0,) * n if mean is None else mean,
        std=(1.0,) * n if std is None else std,
        preprocessing=Preprocessing(crop=crop, resize=resize, channels=channels, interpolation=interpolation),
        class_names=None if class_names is None else tuple(class_names),
    )


@SOURCES.register("torchvision")
def torchvision(
    name: str,
    *,
    weights: str | None = None,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    crop: int | None = None,
    resize: int | None = None,
    n_classes: int | None = None,
    seed: int = 0,
) -> Network:
    """A classifier of torchvision's, with the preprocessing and normalisation of its weights.

    `weights` is one of torchvision's names ("DEFAULT", "IMAGENET1K_V1") or a file. A file, and random weights, take
    the preprocessing of IMAGENET1K_V1 where the architecture has it, else of DEFAULT; the two may resize differently
    (256 and 232 for `resnet50`), so give `resize` for a file made with the other. `n_classes` is for a file with
    another number of outputs than ImageNet's 1,000.
    """
    from torchvision.models import get_model, get_model_weights

    if name not in _torchvision_names():
        raise ModelError(f"torchvision: {unknown('network', name, _torchvision_names())}")
    known: Any = get_model_weights(name)
    named = weights.rpartition(".")[2] if weights is not None else ""
    if weights is None or named not in known.__members__:
        entry = known.__members__.get("IMAGENET1K_V1", known.DEFAULT)
        if weights is not None and not Path(weights).expanduser().is_file():
            raise ModelError(
                f"torchvision:{name}: weights = {weights!r} is neither a file nor one of {', '.join(known.__members__)}"
            )
    else:
        entry = known[named]
    arguments: dict[str, Any] = {} if n_classes is None else {"num_classes": n_classes}
    if weights is not None and name in ("googlenet", "inception_v3"):
        arguments["transform_input"] = True  # ported from TensorFlow, whose normalisation their weights expect
    with seeded(seed, "weights", name), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # two old networks announce a change of their random weights
        module: nn.Module = get_model(name, weights=None, **arguments)
    transforms = entry.transforms()
    fitted: Fitted | None = None
    if weights is None:
        provenance: dict[str, Any] = {"weights": "random", "seed": seed}
    elif named in known.__members__:
        try:
            state = entry.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except Exception as error:  # offline, a proxy, a full disk, a broken download: one sentence for all
            raise ModelError(
                f"torchvision:{name}: the weights {entry.name} could not be downloaded ({brief(error)}); download "
                f"{entry.url} elsewhere and give the file as weights"
            ) from error
        fit(module, state, f"torchvision:{name}")
        provenance = {"weights": entry.name, "url": entry.url}
    else:
        provenance, fitted = _from_file(module, weights, f"torchvision:{name}")
    means, stds, said = _normalisation(
        f"torchvision:{name}", mean, std, fitted, channels=3, own=(transforms.mean, transforms.std)
    )
    side = crop or transforms.crop_size[0]
    preprocessing = Preprocessing(
        crop=side,
        resize=resize or round(side * transforms.resize_size[0] / transforms.crop_size[0]),
        interpolation=transforms.interpolation.value,
    )
    return Network(
        module,
        name=name,
        mean=means,
        std=stds,
        preprocessing=preprocessing,
        class_names=tuple(entry.meta["categories"]) if weights is not None and n_classes is None else None,
        provenance={"source": f"torchvision:{name}", **provenance, **said, "preprocessing": str(entry)},
    )


@SOURCES.register("timm")
def timm(
    name: str,
    *,
    weights: str | None = None,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    crop: int | None = None,
    resize: int | None = None,
    n_classes: int | None = None,
    seed: int = 0,
) -> Network:
    """A classifier of timm's, with the preprocessing and normalisation of its pretrained configuration.

    `weights` is "DEFAULT" (the pretrained ones that the name stands for, downloaded) or a file. Needs the extra `timm`.
    """
    try:
        import timm as library
        from timm.data import config as data_config
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        raise ModelError(f"timm:{name} needs the library timm: pip install 'manifoldscope[timm]'") from None
    if not library.is_model(name):
        raise ModelError(f"timm: {unknown('network', name, library.list_models())}")
    arguments: dict[str, Any] = {} if n_classes is None else {"num_classes": n_classes}
    pretrained = weights == "DEFAULT"
    try:
        with seeded(seed, "weights", name):
            module: Any = library.create_model(name, pretrained=pretrained, **arguments)
    except Exception as error:  # the download, or a tag that timm does not know
        advice = "; download them elsewhere and give the file as weights" if pretrained else ""
        what = "its pretrained weights could not be had" if pretrained else "it could not be made"
        raise ModelError(f"timm:{name}: {what} ({brief(error)}){advice}") from error
    fitted: Fitted | None = None
    if weights is None:
        provenance: dict[str, Any] = {"weights": "random", "seed": seed}
    elif pretrained:
        provenance = {"weights": str(module.pretrained_cfg.get("hf_hub_id") or module.pretrained_cfg.get("tag"))}
    else:
        provenance, fitted = _from_file(module, weights, f"timm:{name}")
    resolve: Any = data_config.resolve_model_data_config
    config: dict[str, Any] = resolve(module)
    side = int(crop or config["input_size"][-1])
    imagenet = weights is not None and n_classes is None and module.num_classes == len(imagenet_class_names())
    interpolation: Interpolation = "bicubic" if config["interpolation"] == "bicubic" else "bilinear"
    channels = int(config["input_size"][0])
    means, stds, said = _normalisation(
        f"timm:{name}", mean, std, fitted, channels=channels, own=(config["mean"], config["std"])
    )
    return Network(
        module,
        name=name,
        mean=means,
        std=stds,
        preprocessing=Preprocessing(
            crop=side,
            resize=resize or math.floor(side / config["crop_pct"]),
            channels=channels,
            interpolation=interpolation,
        ),
        class_names=imagenet_class_names() if imagenet else None,
        provenance={"source": f"timm:{name}", **provenance, **said},
    )


@SOURCES.register("python")
def python(
    name: str,
    *,
    weights: str | None = None,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    channels: int | None = None,
    crop: int | None = None,
    resize: int | None = None,
    seed: int = 0,
) -> Network:
    """A network of your own: `python:package.module:function` or `python:path/to/file.py:function`.

    The function takes no arguments and gives a torch.nn.Module, or a Network, of which what is said here replaces its
    own. `weights` is a file. Say `mean` and `std` here rather than normalise in your data: images are in [0, 1].
    `channels` (1 or 3) is what the first layer takes if omitted.
    """
    function = name.rpartition(":")[2]
    made, shown, file = made_by(name, kind=ModelError, during=seeded(seed, "weights", function))
    module = made.module if isinstance(made, Network) else made
    if not isinstance(module, nn.Module):
        raise ModelError(f"{shown} gives {type(made).__name__}; expected a torch.nn.Module or a Network")
    provenance: dict[str, Any] = {"source": shown}
    if file is not None:
        provenance["code_sha256"] = file_digest(file)
    fitted: Fitted | None = None
    if weights is not None:
        loaded, fitted = _from_file(module, weights, shown)
        provenance |= loaded
    else:
        provenance |= {"weights": "as the function gives them", "seed": seed}
    if isinstance(made, Network):
        own = made.preprocessing
        if (*made.mean, *made.std) != (0.0, 1.0):  # what the function says counts as said here
            mean, std = mean or list(made.mean), std or list(made.std)
        means, stds, said = _normalisation(
            shown, mean, std, fitted, channels=own.channels or len(mean or std or (0.0,))
        )
        return replace(
            made,
            name=function,
            mean=means,
            std=stds,
            preprocessing=replace(
                own, crop=crop or own.crop, resize=resize or own.resize, channels=channels or own.channels
            ),
            provenance={**made.provenance, **provenance, **said},
        )
    preprocessing = Preprocessing(crop=crop, resize=resize, channels=channels)
    told = Network(module, name=function, preprocessing=preprocessing).preprocessing.channels
    means, stds, said = _normalisation(shown, mean, std, fitted, channels=told or len(mean or std or (0.0,)))
    return Network(
        module,
        name=function,
        mean=means,
        std=stds,
        preprocessing=preprocessing,
        provenance={**provenance, **said},
    )


@SOURCES.register("small")
def small(
    name: str,
    *,
    weights: str | None = None,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    channels: int | None = None,
    size: int | None = None,
    n_classes: int | None = None,
    seed: int = 0,
) -> Network:
    """One of the small networks that are trained here; `list models` names them.

    `channels`, `size` (the side of the images that it takes; others are brought to it) and `n_classes` have no
    default: a study takes them from its images. `weights` is a file, for example a checkpoint that a study trained.
    """
    if name not in SMALL.names():
        raise ModelError(f"small: {unknown('network', name, SMALL.names())}")
    if channels is None or size is None or n_classes is None:
        raise ModelError(
            f"small:{name} has no shape of its own; give channels, size and n_classes, for example "
            "channels=1, size=28, n_classes=10"
        )
    module = build(name, channels=channels, size=size, n_classes=n_classes, seed=seed)
    fitted: Fitted | None = None
    if weights is None:
        provenance: dict[str, Any] = {"weights": "random", "seed": seed}
    else:
        provenance, fitted = _from_file(module, weights, f"small:{name}")
    means, stds, said = _normalisation(f"small:{name}", mean, std, fitted, channels=channels)
    return Network(
        module,
        name=name,
        mean=means,
        std=stds,
        preprocessing=Preprocessing(crop=size, resize=size, channels=channels),
        provenance={"source": f"small:{name}", **provenance, **said},
    )


def _from_file(module: nn.Module, weights: str, where: str) -> tuple[dict[str, Any], Fitted]:
    """Fit a file's weights; its name, its digest as it was read, and never its folder, go into the provenance."""
    fitted = fit(module, weights, where)
    provenance: dict[str, Any] = {"weights": Path(weights).name, "weights_sha256": fitted.digest}
    if fitted.entry or fitted.prefix:
        provenance["weights_entry"] = ":".join(part for part in (fitted.entry, fitted.prefix) if part)
    if fitted.notes:
        provenance["weights_notes"] = list(fitted.notes)
    return provenance, fitted


def _torchvision_names() -> list[str]:
    from torchvision import models

    return [str(name) for name in models.list_models(module=models)]


def _normalisation(
    where: str,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    fitted: Fitted | None,
    *,
    channels: int,
    own: tuple[Sequence[float], Sequence[float]] | None = None,
) -> tuple[tuple[float, ...], tuple[float, ...], dict[str, Any]]:
    """Mean and std as said, else as they stand beside the weights, else the source's own; and what provenance says.

    One value becomes one per channel. Where nobody says anything, pixels are left as they are.
    """
    said: dict[str, Any] = {}
    given = (mean, std)
    found = fitted.normalisation if fitted is not None else None
    if found is not None:
        in_file = (list(found.mean), list(found.std))
        for what, told, stored in zip(("mean", "std"), given, in_file, strict=True):
            if told is not None and not _agree(told, stored):
                warnings.warn(
                    f"{where}: {what} = {list(told)} is used, but the file of weights normalises by {stored} "
                    f"({', '.join(found.names)})",
                    stacklevel=3,
                )
        if None in given:
            if not (0 <= min(in_file[0]) <= max(in_file[0]) <= 1 and 0 < min(in_file[1]) <= max(in_file[1]) <= 1):
                raise ModelError(
                    f"{where}: the file of weights normalises by mean {in_file[0]} and std {in_file[1]}, which are "
                    "not those of pixels in [0, 1]; give mean and std for such pixels"
                )
            own = in_file
            said = {"normalisation": f"{' and '.join(found.names)} of the file of weights"}
    n = len(mean if mean is not None else std if std is not None else [0.0])
    own = own or ([0.0] * n, [1.0] * n)
    means, stds = (tuple(own[i] if part is None else part) for i, part in enumerate(given))
    for what, told in (("mean", mean), ("std", std)):
        if told is not None and len(told) == 1 < channels:
            said[what] = f"the same for all {channels} channels"
    means, stds = (part * channels if len(part) == 1 else part for part in (means, stds))
    return means, stds, said


def _agree(one: Sequence[float], other: Sequence[float]) -> bool:
    """Equal but for rounding, where one value may stand for every channel."""
    n = max(len(one), len(other))
    pairs = zip(list(one) * (n // max(len(one), 1)), list(other) * (n // max(len(other), 1)), strict=False)
    return all(abs(a - b) <= 1e-3 for a, b in pairs)
