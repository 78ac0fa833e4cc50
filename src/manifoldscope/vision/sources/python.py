"""Networks of your own, made by a function."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from manifoldscope.errors import ModelError
from manifoldscope.vision.network import Network, seeded
from manifoldscope.vision.preprocessing import Preprocessing
from manifoldscope.vision.sources.files import from_file, normalisation
from manifoldscope.vision.sources.source import SOURCES
from manifoldscope.vision.usercode import made_by
from manifoldscope.vision.weights import Fitted, file_digest


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
        what = f"the class {made.__name__}, and none that is made" if isinstance(made, type) else type(made).__name__
        raise ModelError(f"{shown} gives {what}; expected a torch.nn.Module or a Network")
    provenance: dict[str, Any] = {"source": shown}
    if file is not None:
        provenance["code_sha256"] = file_digest(file)
    fitted: Fitted | None = None
    if weights is not None:
        loaded, fitted = from_file(module, weights, shown)
        provenance |= loaded
    else:
        provenance |= {"weights": "as the function gives them", "seed": seed}
    if isinstance(made, Network):
        own = made.preprocessing
        if (*made.mean, *made.std) != (0.0, 1.0):  # what the function says counts as said here
            mean, std = mean or list(made.mean), std or list(made.std)
        means, stds, said = normalisation(shown, mean, std, fitted, channels=own.channels or len(mean or std or (0.0,)))
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
    means, stds, said = normalisation(shown, mean, std, fitted, channels=told or len(mean or std or (0.0,)))
    return Network(
        module,
        name=function,
        mean=means,
        std=stds,
        preprocessing=preprocessing,
        provenance={**provenance, **said},
    )
