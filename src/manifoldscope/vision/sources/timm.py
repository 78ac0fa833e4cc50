"""The classifiers of timm."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from manifoldscope.errors import ModelError, unknown
from manifoldscope.vision.datasets import imagenet_class_names
from manifoldscope.vision.network import Network, seeded
from manifoldscope.vision.preprocessing import Interpolation, Preprocessing
from manifoldscope.vision.sources.files import from_file, normalisation
from manifoldscope.vision.sources.source import SOURCES
from manifoldscope.vision.usercode import brief
from manifoldscope.vision.weights import Fitted


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
    if weights not in (None, "DEFAULT") and not Path(weights).expanduser().is_file():
        raise ModelError(
            f"timm:{name}: weights = {weights!r} is neither a file nor 'DEFAULT', the pretrained ones that the name "
            "stands for"
        )
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
        provenance, fitted = from_file(module, weights, f"timm:{name}")
    resolve: Any = data_config.resolve_model_data_config
    config: dict[str, Any] = resolve(module)
    side = int(crop or config["input_size"][-1])
    imagenet = weights is not None and n_classes is None and module.num_classes == len(imagenet_class_names())
    interpolation: Interpolation = "bicubic" if config["interpolation"] == "bicubic" else "bilinear"
    channels = int(config["input_size"][0])
    means, stds, said = normalisation(
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
